"""cuTile on a machine where its compiler is not installed: machine code made beforehand, launched by cuTile itself.

usage: cutile_carried.py DIR    (where cuda-tile and tileiras can be imported, but needs neither a GPU nor torch)

fills DIR with a cubin for each kernel, size and tile shape that is measured, and `index.json`, which says for which signature each is. The bundle adds cuda-tile's wheels for some versions of
Python. `install(DIR)`, on the machine with the GPU, makes cuda.tile importable from there and has its launches take those cubins; arguments and launches are cuTile's own. It does nothing
where cuda-tile is installed. What was not carried is refused by name, as a compilation that fails.
"""

import glob
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import zipfile

ARCHITECTURE = "sm_90"


class Array:
    """Shape and type of a dense tensor at an address that 16 divides, as torch makes them."""

    def __init__(self, shape, ty):
        self.shape, self.ty = tuple(shape), ty

    def constraint(self):
        """What cuTile supposes of such an argument when it compiles just in time: 32-bit indexes, rows of whole 16 bytes, extents that 16 divides."""
        import cuda.tile as ct
        from cuda.tile.compilation import ArrayConstraint

        types = {"bf16": (ct.bfloat16, 2), "f16": (ct.float16, 2), "f32": (ct.float32, 4)}
        dtype, width = types[self.ty]
        strides, inner = [], 1
        for extent in reversed(self.shape):
            strides.insert(0, inner)
            inner *= extent
        unit = [stride == 1 for stride in strides]
        return ArrayConstraint(
            dtype,
            len(self.shape),
            index_dtype=ct.int32,
            stride_lower_bound_incl=[None if one else 0 for one in unit],
            alias_groups=(),
            may_alias_internally=False,
            stride_constant=[1 if one else None for one in unit],
            stride_divisible_by=[1 if one or stride * width % 16 else 16 // width for one, stride in zip(unit, strides)],
            shape_divisible_by=[16 if extent % 16 == 0 else 1 for extent in self.shape],
            base_addr_divisible_by=16,
        )


def signature(kernel, arguments):
    """A kernel's signature for arguments in the order of its parameters. Numbers are constants where the kernel says so."""
    import cuda.tile as ct
    from cuda.tile.compilation import CallingConvention, ConstantConstraint, KernelSignature, ScalarConstraint

    def constraint(value, annotation):
        if isinstance(value, Array):
            return value.constraint()
        if annotation.constant:
            return ConstantConstraint(value)
        return ScalarConstraint(ct.float32 if isinstance(value, float) else ct.int32)

    function = kernel._annotated_function
    parameters = [constraint(*pair) for pair in zip(arguments, function.parameter_annotations, strict=True)]
    return KernelSignature(parameters, CallingConvention.cutile_python_v1()).with_mangled_symbol(function.pyfunc.__name__)


def launches():
    """Every launch of cuTile's that the list of works has, as (kernel, arguments)."""
    import by_cutile
    from work import all_work

    for work in all_work(True) + all_work(False):
        if "cutile" not in work.peers:
            continue
        arrays = {name: Array(*tensor) for name, tensor in work.tensors.items()}
        if work.name == "matmul":
            made = by_cutile.launches_of_matmul(arrays["a"], arrays["b"], arrays["c"])
        else:
            scale = work.steps[0].scalars["scale"]
            made = by_cutile.launches_of_attention(*(arrays[name] for name in "qkvo"), scale, work.name.endswith("causal"))
        for _, kernel, arguments in made:
            yield kernel, arguments


def pack(folder):
    """Compiles them, each signature once."""
    from cuda.tile.compilation import export_kernel

    index = {}
    for kernel, arguments in launches():
        made = signature(kernel, arguments)
        if made.symbol in index:
            continue
        name = hashlib.sha256(made.symbol.encode()).hexdigest()[:16] + ".cubin"
        export_kernel(kernel, [made], os.path.join(folder, name), gpu_code=ARCHITECTURE, output_format="cubin")
        index[made.symbol] = name
    with open(os.path.join(folder, "index.json"), "w") as file:
        json.dump(index, file, indent=1, sort_keys=True)
    print(f"{len(index)} cubins of cuTile's")


def install(folder):
    """Makes cuda.tile of what was carried. Gives whether that is what later imports find."""
    if importlib.util.find_spec("cuda") is not None and importlib.util.find_spec("cuda.tile") is not None:
        return False
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    wheels = glob.glob(os.path.join(folder, f"cuda_tile-*-{tag}-{tag}-*.whl"))
    if not wheels:
        return False
    site = tempfile.mkdtemp(prefix="cutile-")
    with zipfile.ZipFile(wheels[0]) as wheel:
        wheel.extractall(site)
    sys.path.insert(0, site)
    if "cuda" in sys.modules:
        # Other packages have a part of this namespace and may have been imported before.
        sys.modules["cuda"].__path__.append(os.path.join(site, "cuda"))
    from cuda.tile import _compile

    with open(os.path.join(folder, "index.json")) as file:
        index = json.load(file)

    def compile_tile(function, signatures, arch=None, *rest, **more):
        [wanted] = [s if s.symbol else s.with_mangled_symbol(function.pyfunc.__name__) for s in signatures]
        if arch is None or not arch.startswith(ARCHITECTURE) or wanted.symbol not in index:
            raise ImportError(f"no machine code of cuTile's was carried for {wanted.symbol} on {arch}")
        with open(os.path.join(folder, index[wanted.symbol]), "rb") as cubin:
            return _compile.CompilationResult([wanted], cubin=cubin.read())

    _compile.compile_tile = compile_tile
    return True


if __name__ == "__main__":
    pack(sys.argv[1])
