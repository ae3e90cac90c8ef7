//! K07xx: attributes, schedules, tuning.

codes! {
    UNKNOWN_ATTRIBUTE = "K0700", "an attribute that does not exist here", r#"
Kernels take `#[schedule(..)]`, `#[tune(..)]` and `#[may_alias(..)]`; `for` loops take `#[stages(n)]` and `#[specialize]`.

```kiln,error
#[shedule(warps = 4)]
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    
}
```

Instead:

```kiln
#[schedule(warps = 4)]
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    
}
```
"#;
    BAD_ATTRIBUTE = "K0701", "a malformed attribute", r#"
`#[schedule(warps = 4, persistent)]` is a list of fields; `#[tune(BM = [64, 128], warps = [4, 8], key = [M, N])]` gives a list of values for each name, with `;` between spaces, and conditions behind `if`, which know the schedule's fields and `smem`: `if stages * (BM + BN) * BK * 2 <= smem`.

```kiln,error
#[tune(warps = 4)]
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    
}
```

Instead:

```kiln
#[tune(warps = [4, 8])]
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    
}
```
"#;
    UNKNOWN_FIELD = "K0702", "a field that a schedule does not have", r#"
The fields are `warps`, `stages`, `group`, `persistent`, `ping_pong`, `cluster`, `split_k`, `specialize`, `max_regs`, `cooperative` and `pdl`. `#[tune]` sweeps them and the constant parameters of the kernel.

```kiln,error
#[schedule(num_warps = 4)]
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    
}
```

Instead:

```kiln
#[schedule(warps = 4)]
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    
}
```
"#;
}
