//! K09xx: limits of a target ("not supported on this target yet").

codes! {
    TARGET_OPERATION = "K0901", "operation not supported on this target yet", r#"
The target's code generator does not have this operation. Nothing is emulated silently: compile for another target, or write the operation
differently.

Today the GPU has no `dot_scaled`, `print` and `grid_sync`, and no `%` on floats.

```kiln,error
kernel last_digits(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 256)] {
    let i = program_id(0) * 256;
    y[i..+256] = x[i..+256] % 10.0;
}
```
```kiln
kernel last_digits(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 256)] {
    let i = program_id(0) * 256;
    let v = x[i..+256];
    y[i..+256] = v - 10.0 * floor(v / 10.0);
}
```
"#;

    TARGET_ELEMENT_TYPE = "K0902", "element type not supported by an operation on this target", r#"
The operation exists on the target, but not for this element type. On the GPU, 8-bit floats can be loaded and stored but not yet converted or
computed with, and atomics exist for 32- and 64-bit integers and some floats only. Convert to a wider type first.

```kiln,error
kernel count(x: tensor<i8, [N]>, total: mut tensor<i8, [1]>) grid [cdiv(N, 256)] {
    atomic_add(total[0], sum(x[program_id(0) * 256..+256]) as i8);
}
```
```kiln
kernel count(x: tensor<i8, [N]>, total: mut tensor<i32, [1]>) grid [cdiv(N, 256)] {
    atomic_add(total[0], sum(x[program_id(0) * 256..+256]));
}
```
"#;

    TARGET_SHARED_MEMORY = "K0903", "kernel needs more shared memory than the target has", r#"
Tiles that change their arrangement between threads (transposes, reshapes, gathers, concatenations) go through shared memory, of which a thread
block has 99 to 227 KiB. The message says what the kernel needs and what the target has. Use smaller tiles.
"#;

    TARGET_ARCHITECTURE = "K0904", "operation needs a newer architecture", r#"
The instruction exists only from a certain architecture on, which the message names: `atomic_add` on bf16, for example, needs sm_90. Compile for that
architecture, or use a type that the older one has.
"#;

    TARGET_SCHEDULE = "K0905", "schedule that the target cannot follow", r#"
A field of the schedule has a value that the target does not take: on the GPU, `warps` is 1, 2, 4, 8, 16 or 32.

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
}
