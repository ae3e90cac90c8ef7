//! K09xx: limits of a target ("not supported on this target yet").

codes! {
    TARGET_OPERATION = "K0901", "operation not supported on this target", r#"
The target does not have this operation, and nothing is emulated silently: compile for another target, or write the operation differently.

`grid_sync` needs every program of the grid at once, which only a GPU (and the emulator) offers, and inline PTX runs where PTX does.

```kiln,error
#[schedule(cooperative = true)]
kernel twice(x: mut tensor<f32, [N]>) grid [N] {
    let i = program_id(0);
    x[i] = x[i] + 1.0;
    grid_sync();
    x[N - 1 - i] = x[N - 1 - i] * 2.0;
}
```
```kiln
kernel first(x: mut tensor<f32, [N]>) grid [N] {
    let i = program_id(0);
    x[i] = x[i] + 1.0;
}
kernel second(x: mut tensor<f32, [N]>) grid [N] {
    let i = program_id(0);
    x[N - 1 - i] = x[N - 1 - i] * 2.0;
}
```
"#;

    TARGET_SHARED_MEMORY = "K0903", "kernel needs more shared memory than the target has", r#"
Tiles that change their arrangement between threads (transposes, reshapes, gathers, concatenations) go through shared memory, of which a thread
block has 99 to 227 KiB; so does what products load ahead. The message says what the kernel needs, what for, and what the target has. Use smaller tiles.
"#;

    TARGET_SCHEDULE = "K0905", "schedule that the target cannot follow", r#"
A field of the schedule has a value that the target does not take: on the GPU, `warps` is 1, 2, 4, 8, 16 or 32; `cluster` is `[2, 1]`
or `[1, 2]`; `cluster`, `split_k` and `pdl` take compute capability 9.0; `persistent` and `cluster` go neither with `cooperative` nor with `print`, `pdl` not with `cooperative`.
`ping_pong` takes sm_90a; beside `persistent` 4 warps, and as many trips of the loop over products in each program; else 8 warps or more, and a loop whose second product takes what its first one gives. `split_k` goes with none of `persistent`, `cluster`, `cooperative` and `print`, and takes a loop over products in the kernel's body that carries nothing but sums.

```kiln,error
#[schedule(warps = 3)]
kernel copy(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 256)] {
    let i = program_id(0) * 256;
    y[i..+256] = x[i..+256];
}
```
```kiln
#[schedule(warps = 4)]
kernel copy(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 256)] {
    let i = program_id(0) * 256;
    y[i..+256] = x[i..+256];
}
```
"#;

    TARGET_MODE = "K0906", "mode that the target does not have yet", r#"
The code was asked for in a mode that the target's code generator does not have: the checked mode is for the CPU. Compile without it, or run the kernel on the emulator, which
checks every access of what a GPU would run.
"#;

    TARGET_TILE = "K0907", "tile too large for the registers of a thread block", r#"
Every element of a tile has a register of a thread. Tiles for which there are not enough of them are worked on in parts where that can be done: element by element, with
reductions, forward scans and histograms along the long axis. What needs the whole tile at once (a sort, a gather from it, a loop that carries it) cannot; then a tile may
take at most 512 registers of a thread. Use a smaller tile, a loop over parts of it, or more warps.
"#;

    TARGET_REGISTERS = "K0908", "schedule that needs more registers than a thread can have", r#"
The sums of a product stay in registers until the product is done, and so does whatever the code behind it still needs. A thread can have 255 registers, and fewer in blocks of many
threads: a multiprocessor has 65,536. A tile of 128 x 256 sums over 4 warps would take 256 of each thread. Such a kernel could only run with its sums going to memory and back
in every trip, so it is refused before any code is made; `kiln tune` lists such configurations with this reason. The message names what takes the registers, at the least: the machine code
needs some more. Use a smaller tile, or more warps, which share it.

```kiln,error
#[schedule(warps = 4)]
kernel product(a: tensor<f16, [M, K]>, b: tensor<f16, [K, N]>, c: mut tensor<f16, [M, N]>) grid [cdiv(M, 128), cdiv(N, 256)] {
    let (m, n) = (program_id(0) * 128, program_id(1) * 256);
    let mut acc = zeros::<f32>([128, 256]);
    for k in (0..K).step_by(64) {
        acc = dot(a[m..+128, k..+64], b[k..+64, n..+256], acc);
    }
    c[m..+128, n..+256] = acc as f16;
}
```
```kiln
#[schedule(warps = 8)]
kernel product(a: tensor<f16, [M, K]>, b: tensor<f16, [K, N]>, c: mut tensor<f16, [M, N]>) grid [cdiv(M, 128), cdiv(N, 256)] {
    let (m, n) = (program_id(0) * 128, program_id(1) * 256);
    let mut acc = zeros::<f32>([128, 256]);
    for k in (0..K).step_by(64) {
        acc = dot(a[m..+128, k..+64], b[k..+64, n..+256], acc);
    }
    c[m..+128, n..+256] = acc as f16;
}
```
"#;
}
