"""Kernels from Python: the library that the command line names, through ctypes."""
import ctypes
import sys
from array import array


class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("type", ctypes.c_int32), ("rank", ctypes.c_int32),
                ("dims", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64))]


F32 = 11
lib = ctypes.CDLL(sys.argv[1])
lib.kiln_kernels_last_error.restype = ctypes.c_char_p


def tensor(values, *dims):
    return ctypes.byref(Tensor(values.buffer_info()[0], F32, len(dims), (ctypes.c_int64 * len(dims))(*dims), None))


x, y = array("f", [i % 5 for i in range(2000)]), array("f", bytes(8000))
status = lib.kiln_softmax(tensor(x, 2, 1000), tensor(y, 2, 1000))
assert status == 0, lib.kiln_kernels_last_error()
assert abs(sum(y[:1000]) - 1) < 1e-5
assert lib.kiln_softmax(tensor(x, 2, 1000), tensor(y, 4, 500)) != 0
print(lib.kiln_kernels_last_error().decode())
