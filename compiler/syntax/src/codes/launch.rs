//! K10xx: launches.

codes! {
    LAUNCH_ARGUMENT_MISSING = "K1000", "a launch argument is missing", r#"
Every parameter of a kernel needs an argument, but for those declared with `?` (they may be absent) and scalars with a default.

```kiln
kernel scale(x: mut tensor<f32, [N]>, bias: tensor<f32, [N]>?, factor: f32 = 2.0) grid [1] {}
```

Here `x` has to be given; `bias` and `factor` may be left out. On the command line a tensor is given with `--arg x=@file.npy` or `--arg 'x=randn(1000):f32'`;
one that the kernel only writes may be named by `--out` alone when its dimensions follow from the other arguments.
"#;
    LAUNCH_UNKNOWN_NAME = "K1001", "a launch names something the kernel does not have", r#"
An argument, constant, type, function or schedule field of a launch has a name that the kernel does not declare. The message lists those it has.

Schedule fields are `warps`, `stages`, `group`, `persistent`, `ping_pong`, `cluster`, `split_k`, `specialize`, `max_regs`, `cooperative` and `pdl`.
"#;
    LAUNCH_DIMENSIONS = "K1002", "the dimensions of the arguments disagree", r#"
Dimension names unify across the parameters of a kernel. In

```kiln
kernel add<const B: int = 256>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    y[n..+B] = x[n..+B] + 1.0;
}
```

`x` and `y` must have the same number of elements. The message names the dimension, both values, and where each comes from. A name is bound where it stands alone,
or solved from `X + c` and `c * X`; what remains, such as `cdiv(N, B)`, is computed and compared.
"#;
    LAUNCH_RANK = "K1003", "an argument has the wrong number of dimensions", r#"
A parameter `tensor<T, [M, N]>` takes tensors with exactly two dimensions. Reshape the argument, or add a dimension of extent 1.
"#;
    LAUNCH_ELEMENT_TYPE = "K1004", "an argument has the wrong element type", r#"
The elements of a tensor must be of the type that its parameter declares, and a type parameter stands for one type in the whole launch. Nothing is converted
behind your back: convert the tensor, or make the parameter generic.
"#;
    LAUNCH_TYPE_CLASS = "K1005", "a type argument does not belong to the parameter's class", r#"
A type parameter declared `T: float` takes f8e4m3, f8e5m2, f16, bf16, f32 and f64; `int` takes the integers, `num` both, `any` also bool.
"#;
    LAUNCH_ARGUMENT_KIND = "K1006", "an argument is of the wrong kind", r#"
A tensor was given where the kernel takes a number, a number where it takes a tensor, or a pointer where it takes neither.
"#;
    LAUNCH_UNDETERMINED = "K1007", "something about the launch is not determined", r#"
A type parameter that no argument fixes, a constant without default, or a dimension that only absent tensors name is needed by the grid, a `requires` clause or
another dimension. Name types and constants at the launch (`--type T=f16`, `--const BLOCK=1024`).
"#;
    LAUNCH_REQUIRES = "K1008", "a `requires` clause does not hold", r#"
The kernel states what has to hold for its arguments:

```kiln
kernel pairs<const B: int = 64>(x: mut tensor<f32, [N]>) grid [cdiv(N, B)] requires N % 2 == 0 {
    let n = program_id(0) * B;
    x[n..+B] = x[n..+B] * 2.0;
}
```

A launch with an odd number of elements is refused; the message shows the clause and the values in it.
"#;
    LAUNCH_OVERLAP = "K1009", "arguments overlap in memory and one of them is written", r#"
A `mut` tensor must not share elements with another argument: the programs of a grid run in any order, so the result would depend on it. To work in place, take
one `mut` tensor and pass it once. Where overlap is meant, declare it: `#[may_alias(x, y)]`.
"#;
    LAUNCH_TOO_BIG = "K1010", "a size does not fit", r#"
An extent, the reach of a tensor in memory, or the number of programs is negative or does not fit in 64 bits.
"#;
    LAUNCH_NUMBER = "K1011", "a number does not fit its parameter", r#"
Numbers adapt to the type of their parameter: floats are rounded to nearest, integers have to be in range. A float is not taken for an integer, nor a number for a bool.
"#;
    LAUNCH_SCHEDULE = "K1012", "a schedule field has a value it cannot have", r#"
`warps` is a power of two up to 32, `stages` 1 to 16, `group` at least 1, `split_k` 1 to 8, `max_regs` 16 to 255, `cluster` one to three numbers whose product is at most 16; the others are
true or false.
"#;
    LAUNCH_READ_ONLY = "K1013", "the kernel writes a tensor that was given read-only", r#"
A parameter declared `mut` needs a tensor that may be written: `&mut` in Rust, or one that is not a read-only mapping.
"#;
    LAUNCH_MISALIGNED = "K1014", "a tensor is not aligned to its elements", r#"
The address of a tensor's first element must be a multiple of the element's size.
"#;
    LAUNCH_KERNEL_ASSERT = "K1015", "an `assert` in the kernel failed", r#"
A program of the grid found the condition of an `assert` false. The message has the text of the assertion and the program's number. Other programs may have run before or
after it, so what the kernel writes is incomplete.
"#;
    LAUNCH_DEVICE = "K1016", "the device cannot be used", r#"
There is no such device, its driver is missing, or the launch asks for more than it has. `kiln devices` lists what there is and why there is no GPU; `KILN_DEVICE=cpu` chooses
the CPU. A GPU needs NVIDIA's driver (R525 or newer) and compute capability 8.0 or newer; nothing else of CUDA has to be installed.
"#;
    LAUNCH_FAULT = "K1017", "the emulator stopped the kernel", r#"
The emulator checks every access of a kernel: bounds and alignment of memory, reads of what nothing wrote, races between programs without atomics, barriers that not
all threads reach. The message has the kernel, the program, the source line and the instruction. Tensors' own indexes cannot leave their bounds, so an access out of
bounds comes from a raw pointer or inline PTX. A race between programs is in the kernel: two programs write one element, or one reads what another writes, without
atomics. A race or a barrier inside one program is the compiler's business: please report it with the kernel.

No tensor is changed by a launch that was stopped.
"#;
    LAUNCH_TOOL = "K1018", "a tool of NVIDIA's was not found", r#"
Machine code of a GPU is made by NVIDIA's `ptxas` and shown by `nvdisasm`. Kiln does not contain them, and needs them for `--emit cubin` and `--emit sass` only. They
come with the CUDA toolkit and with the wheels `nvidia-cuda-nvcc` and `nvidia-cuda-nvdisasm`. They are looked for in the directory that `KILN_TOOLS` names, in
`CUDA_HOME/bin`, on the search path, and in `/usr/local/cuda/bin`.
"#;
    LAUNCH_TOO_MANY = "K1019", "too many programs wait for each other", r#"
`grid_sync` waits for every program of the grid, so all of them have to run at the same time. The CPU gives each a thread of its own, and no more than 1024. Make the
grid as large as the machine, `grid [num_sms()]`, and let each program do several parts of the work.
"#;
    LAUNCH_CHECKED = "K1020", "the checked mode stopped the kernel", r#"
In its checked mode (`--device cpu:checked`, `Device::checked`) the CPU looks at every load, store and atomic before it happens: it has to lie inside a tensor of the launch, at a
multiple of its element's size, and no element may be written by one program and touched by another unless both do it atomically. The message has the kernel, the program, the
source line, the lane and the element. Tensors' own indexes cannot leave their bounds (lanes out of bounds read 0 and are not written), so memory outside is reached
through pointers or views made from them. Divisions by a scalar that is zero and assumptions that do not hold are reported as failed assertions (K1015).

Not looked at: memory behind raw pointers that the launch was given, whose length nobody knows; and races in kernels whose programs order their accesses by `grid_sync` or by
atomics that acquire or release. Programs that ran before the mistake have written their results.
"#;
    LAUNCH_GPU_CALL = "K1021", "the GPU's driver refuses a call", r#"
The message has the driver's function, the name of its result and what the driver says of it. Memory that is used up by another process and a broken driver installation are the
usual causes.
"#;
    LAUNCH_GPU_FAULT = "K1022", "the GPU stopped a kernel", r#"
The kernel touched memory outside, used a misaligned address, or failed an assertion. The driver does not say where, and ends everything that the process does on the GPU. The same
launch with `--device emulator` (`Device::emulator()`) names the line, the program and the lane. Launches that are not waited for report this where the stream is waited for, with
the kernels that were launched last.
"#;
    LAUNCH_GPU_LOST = "K1023", "the GPU cannot be used any more in this process", r#"
An earlier kernel was stopped (K1022), and the driver refuses everything since. Start the process again.
"#;
    LAUNCH_GPU_CODE = "K1024", "the driver does not take a kernel's code", r#"
Kiln makes PTX. Where `ptxas` is installed (`KILN_PTXAS`, `KILN_TOOLS`, `CUDA_HOME`, the search path) it makes machine code of that, else the driver does. A driver that is older than
the PTX version a kernel needs refuses it: the message says which version that is. `KILN_PTXAS=off` leaves it to the driver always.
"#;
    LAUNCH_PLACE = "K1025", "a tensor is in the wrong memory", r#"
Tensors are in the host's memory or in a GPU's. `Tensor::to(&device)` and `Tensor::to_host()` copy between them. A launch that is waited for (`run`) takes tensors of the host on a GPU too,
and copies them in and back; a launch in a stream (`enqueue`) does not.
"#;
    LAUNCH_BUNDLE = "K1030", "the program has no code for a launch", r#"
A program whose kernels were compiled ahead of time (`kiln-build`) has no compiler. It can make the launches whose types, constants and functions were asked for when it was
built, on the targets that were asked for; any shapes, strides and alignments, as long as constants that are computed from extents come out the same. The message says
what this launch needs and what there is.

Add what is missing where the bundle is made: `.specialize("softmax", |s| s.type_param("T", "f16").constant("BLOCK", 2048))`, `.target("sm_90a")`. On a GPU the schedule
counts, too: `.schedule("warps", &[8])`.
"#;
    LAUNCH_INTERNAL = "K1099", "an internal error at a launch", r#"
The signature that the compiler made is inconsistent. This is a bug in Kiln: please report it with the kernel.
"#;
}
