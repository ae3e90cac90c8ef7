//! Bad arguments of `kiln run`: each a mistake somebody makes, with the message it has to get.

use crate::{KERNELS, Place, npy, npy_f32};

/// Arguments behind `run k.kiln`, and what standard error has to contain.
const CASES: &[(&[&str], &str)] = &[
    // Which kernel.
    (&[], "has several kernels"),
    (&["--kernel", "scael", "--arg", "x=ones(3)"], "did you mean `scale`?"),
    (&["--kernel", "softmax"], "has no kernel `softmax`"),
    (&["--kernel", ""], "has no kernel"),
    // Form of arguments.
    (&["-k", "scale", "--arg", "x"], "is not of the form NAME=VALUE"),
    (&["-k", "scale", "--arg", "=ones(3)"], "is not of the form NAME=VALUE"),
    (&["-k", "scale", "--arg", "x="], "is not of the form NAME=VALUE"),
    (&["-k", "scale", "--arg", "x=hello"], "is neither a number, nor a file"),
    (&["-k", "scale", "--arg", "x=ones(3"], "a `)` is missing"),
    (&["-k", "scale", "--arg", "x=onse(3)"], "did you mean `ones`?"),
    (&["-k", "scale", "--arg", "x=ones(3):f17"], "there is no element type `f17`"),
    (&["-k", "scale", "--arg", "x=ones(-3)"], "is not an extent"),
    (&["-k", "scale", "--arg", "x=ones(1e3)"], "is not an extent"),
    (&["-k", "scale", "--arg", "x=ones(99999999999999999999)"], "is not an extent"),
    (&["-k", "scale", "--arg", "x=zeros(4611686018427387904)"], "does not fit in memory"),
    (&["-k", "scale", "--arg", "x=zeros(9223372036854775807,9223372036854775807)"], "does not fit in memory"),
    (&["-k", "scale", "--arg", "x=zeros(1000000000000000)"], "no memory"),
    (&["-k", "scale", "--arg", "x=randn(3):i32"], "random floats cannot be of type i32"),
    (&["-k", "scale", "--arg", "x=arange(3,4)"], "takes a length or a range"),
    (&["-k", "scale", "--arg", "x=randint(5..5,3)"], "is empty"),
    (&["-k", "scale", "--arg", "x=full(3)"], "needs a value"),
    (&["-k", "scale", "--arg", "x=f32[3]"], "a shape has no data"),
    (&["-k", "scale", "--arg", "x=ones(3)", "--arg", "x=ones(3)"], "is given twice"),
    (&["-k", "scale", "--arg", "z=ones(3)"], "the kernel has no parameter `z`"),
    (&["-k", "scale", "--arg", "x=ones(3)", "--arg", "facter=2"], "did you mean `factor`?"),
    // Files.
    (&["-k", "scale", "--arg", "x=@missing.npy"], "cannot read `missing.npy`"),
    (&["-k", "scale", "--arg", "x=@k.kiln"], "is not a .npy, .npz or .safetensors file"),
    (&["-k", "scale", "--arg", "x=@"], "a file's name is missing"),
    (&["-k", "scale", "--arg", "x=@short.npy"], "not a whole and valid file"),
    (&["-k", "scale", "--arg", "x=@empty.npy"], "not a whole and valid file"),
    (&["-k", "scale", "--arg", "x=@garbage.npy"], "not a whole and valid file"),
    (&["-k", "scale", "--arg", "x=@garbage.npz"], "not a whole and valid file"),
    (&["-k", "scale", "--arg", "x=@garbage.safetensors"], "not a whole and valid file"),
    (&["-k", "scale", "--arg", "x=@empty.safetensors:x"], "not a whole and valid file"),
    (&["-k", "scale", "--arg", "x=@complex.npy"], "are not supported"),
    (&["-k", "scale", "--arg", "x=@huge.npy"], "error"),
    (&["-k", "scale", "--arg", "x=@."], "is not a .npy"),
    // Arguments against the signature.
    (&["-k", "scale"], "argument `x` is missing"),
    (&["-k", "scale", "--arg", "x=3"], "takes a tensor, but a number is given"),
    (&["-k", "scale", "--arg", "x=ones(3)", "--arg", "factor=ones(3)"], "takes a number, but a tensor is given"),
    (&["-k", "scale", "--arg", "x=ones(3,3)"], "has 1 dimensions, but the tensor given has 2"),
    (&["-k", "scale", "--arg", "x=ones(3):i32"], "type `T` has to be float, but is i32"),
    (&["-k", "scale", "--arg", "x=ones(3):f16", "--arg", "y=ones(3):f32"], "type `T` is f16 in `x`, but f32 in `y`"),
    (&["-k", "scale", "--arg", "x=ones(3)", "--arg", "y=ones(4)"], "dimension `N` is 3 in `x` (axis 0), but 4 in `y` (axis 0)"),
    (&["-k", "scale", "--arg", "x=ones(3)", "--arg", "factor=true"], "does not fit `factor`"),
    (&["-k", "scale", "--arg", "x=ones(3)", "--arg", "factor=1e300"], "does not fit `factor`, which is of type f32"),
    (&["-k", "shift", "--arg", "x=ones(3)"], "`requires N % 2 == 0` does not hold"),
    (&["-k", "shift", "--arg", "x=ones(4)", "--arg", "amount=1.5"], "does not fit `amount`, which is of type i32"),
    (&["-k", "shift", "--arg", "x=ones(4)", "--arg", "amount=3000000000"], "does not fit `amount`, which is of type i32"),
    (&["-k", "shift", "--arg", "x=ones(4):f32"], "the elements of `x` are i32"),
    (&["-k", "shift", "--arg", "x=ones(4)", "--arg", "by=ones(6)"], "dimension `N`"),
    (&["-k", "halves", "--arg", "ab=ones(7)"], "which is not `2 * N` for any `N`"),
    (&["-k", "add", "--arg", "a=ones(3,4)", "--arg", "b=ones(4,3)"], "dimension `M` is 3 in `a`"),
    (&["-k", "add", "--arg", "a=ones(3,4):bool", "--arg", "b=ones(3,4):bool"], "has to be num, but is bool"),
    // Constants, types, functions, schedule.
    (&["-k", "needs", "--arg", "x=ones(4)", "--type", "T=f32"], "constant `K` is not determined"),
    (&["-k", "needs", "--arg", "x=ones(4)", "--const", "K=2"], "type `T` is not determined"),
    (&["-k", "needs", "--arg", "x=ones(4)", "--const", "K=-2", "--type", "T=f32"], "axis 0 of the grid, `K`, is -2"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--const", "BLOCK=2"], "the kernel has no constant `BLOCK`"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--const", "B"], "is not of the form NAME=VALUE"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--const", "B=big"], "is no value of constant `B`"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--const", "B=1.5"], "is no value of constant `B`"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--const", "B=2", "--const", "B=2"], "is given twice"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--type", "T=f31"], "there is no element type `f31`"),
    (&["-k", "scale", "--arg", "x=ones(4):f32", "--type", "T=f16"], "type `T` is f16 in the launch, but f32 in `x`"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--type", "T=i32"], "has to be float"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--fn", "F=exp"], "the kernel has no function parameter `F`"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--schedule", "wraps=4"], "did you mean `warps`?"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--schedule", "warps=3"], "takes a power of two from 1 to 32"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--schedule", "warps=many"], "is no value of schedule field"),
    // Results.
    (&["-k", "scale", "--arg", "x=ones(4)", "--out", "z=z.npy"], "the kernel has no parameter `z`"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--out", "y=y.txt"], "is not a .npy, .npz or .safetensors file"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--out", "y="], "a file's name is missing"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--out", "factor=y.npy"], "this is no tensor"),
    (&["-k", "scale", "--arg", "x=ones(4):bf16", "--out", "y=y.npy"], "numpy files cannot hold bf16"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--out", "y=no/such/place/y.npy"], "cannot write"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--out", "x=a.npy", "--out", "y=a.npy"], "is to hold several tensors"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--check", "missing.npy"], "cannot read `missing.npy`"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--check", "ones.npy"], "differs from ones.npy in 4 of 4 elements"),
    (&["-k", "scale", "--arg", "x=ones(5)", "--check", "ones.npy"], "the result has shape [5], the reference [4]"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--check", "factor=ones.npy"], "is no tensor"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--flops", "2*Q"], "has no dimension or constant `Q`"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--flops", "2*("], "is missing"),
    (&["-k", "asserting", "--arg", "x=ones(8)"], "three is not allowed"),
    (&["-k", "asserting", "--arg", "x=ones(8)", "--checked", "--device", "emulator"], "`checked` is for the CPU"),
    // Options.
    (&["-k", "scale", "--arg", "x=ones(4)", "--device", "gpu"], "there is no device `gpu`"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--device", "cuda:99"], "error"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--repeat", "0"], "0"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--repeat", "x"], "invalid value"),
    (&["-k", "scale", "--arg", "x=ones(4)", "-O", "7"], "7"),
    (&["-k", "scale", "--arg", "x=ones(4)", "--frobnicate"], "unexpected argument"),
];

#[test]
fn every_mistake_gets_its_message() {
    let place = Place::new();
    place.file("k.kiln", KERNELS);
    let good = npy_f32(&[4], &[1.0; 4]);
    place.file("ones.npy", &good);
    place.file("short.npy", &good[..good.len() - 1]);
    place.file("empty.npy", "");
    place.file("empty.safetensors", "");
    for name in ["garbage.npy", "garbage.npz", "garbage.safetensors"] {
        place.file(name, "PK\u{3}\u{4} this is not what its name says, at any length that a header might ask for");
    }
    place.file("complex.npy", npy("<c8", &[1], &[0; 8]));
    place.file("huge.npy", npy("<f4", &[i64::MAX, 3], &[]));
    for (args, expected) in CASES {
        let args: Vec<&str> = ["run", "k.kiln"].iter().chain(*args).copied().collect();
        place.fails(&args, expected);
    }
}

#[test]
fn files_that_are_no_kernels_are_refused() {
    let place = Place::new();
    place.fails(&["run"], "required");
    place.fails(&["run", "missing.kiln"], "cannot read `missing.kiln`");
    place.fails(&["run", "."], "cannot read");
    place.file("empty.kiln", "");
    place.fails(&["run", "empty.kiln"], "has no kernels");
    place.file("binary.kiln", [0xff, 0xfe, 0x00, 0x41]);
    place.fails(&["run", "binary.kiln"], "cannot read `binary.kiln`");
    place.file("broken.kiln", "kernel k(x: mut tensor<f32, [N]>) grid [N] { x[program_id(0)] = ; }");
    place.fails(&["run", "broken.kiln", "--arg", "x=ones(3)"], "error[K01");
    place.file("wrong.kiln", "kernel k(x: mut tensor<f32, [N]>) grid [N] { x[program_id(0)] = nothing; }");
    place.fails(&["run", "wrong.kiln", "--arg", "x=ones(3)"], "error[K02");
    place.file("many.kiln", "kernel k(x: mut tensor<f32, [N]>) grid [N] {".repeat(2000));
    place.fails(&["run", "many.kiln", "--arg", "x=ones(3)"], "error[K");
}

#[test]
fn bad_environments_are_refused() {
    let place = Place::new();
    place.file("k.kiln", KERNELS);
    let args = ["run", "k.kiln", "-k", "scale", "--arg", "x=ones(4)"];
    for (variable, value, expected) in [
        ("KILN_DEVICE", "tpu", "there is no device `tpu`"),
        ("KILN_NUM_THREADS", "0", "is not a number from 1 to 4096"),
        ("KILN_NUM_THREADS", "many", "is not a number from 1 to 4096"),
        ("KILN_CACHE_SIZE", "lots", "KILN_CACHE_SIZE is `lots`"),
        ("KILN_CACHE_DIR", "k.kiln", "cannot use k.kiln as cache"),
    ] {
        let ran = crate::ran(place.command(&args).env(variable, value).output().expect("starts"), &args);
        assert_eq!(ran.code, Some(1), "{variable}={value}: {}", ran.err);
        assert!(ran.err.contains(expected), "{variable}={value}: {}", ran.err);
    }
}
