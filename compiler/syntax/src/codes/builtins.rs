//! K08xx: arguments of builtins.

codes! {
    ARG_COUNT = "K0800", "the wrong number of arguments", r#"
An argument is missing, given twice, or one too many. The message shows how the function is called.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = select(x[0] > 0.0, 1.0);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = select(x[0] > 0.0, 1.0, 0.0);
}
```
"#;
    UNKNOWN_ARG = "K0801", "an argument of a name that the function does not have", r#"
Arguments may be given by name; the names are those of the parameters.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = sum(x[0..+64], dim = 0);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = sum(x[0..+64], axis = 0);
}
```
"#;
    BUILTIN_TYPE = "K0802", "an argument of a type that the function does not take", r#"
The message names the types the function takes. Integers become floats with `as`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = sqrt(2);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = sqrt(2.0);
}
```
"#;
    BUILTIN_SHAPE = "K0803", "an argument of a shape that the function does not take", r#"
The message names the shapes found and the rule they break.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = reshape(x[0..+64], [8, 9]);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = sum(reshape(x[0..+64], [8, 8]));
}
```
"#;
    BAD_AXIS = "K0804", "an axis that the tile does not have", r#"
Axes count from 0; negative ones from the end.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = sum(x[0..+64], axis = 1);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = sum(x[0..+64], axis = 0);
}
```
"#;
    DOT_TYPE = "K0805", "operands that `dot` does not take", r#"
Both operands have one type: f16, bf16, f8e4m3, f8e5m2, i8, f32 or f64. The accumulator and the result have its `T::Acc`: f32, i32 for i8, f64 for f64.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = zeros::<i32>([16, 16]);
    let b = dot(a, a);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = zeros::<i8>([16, 16]);
    let b = dot(a, a);
    let _ = b;
}
```
"#;
    DOT_SHAPE = "K0806", "shapes that `dot` does not take", r#"
`dot` multiplies [M, K] and [K, N], both with a leading batch axis or neither; the accumulator has the shape of the result.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = zeros::<f32>([16, 32]);
    let b = dot(a, a);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = zeros::<f32>([16, 32]);
    let b = dot(a, trans(a));
    let _ = b;
}
```
"#;
    ATOMIC_TYPE = "K0807", "an atomic that the element type does not have", r#"
`atomic_add` takes integers and floats of at least 16 bits, `atomic_max` and `atomic_min` integers, f32 and f64, `atomic_and`, `or`, `xor` and `cas` integers.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = atomic_or(y[0], 1.0);
}
```

Instead:

```kiln
kernel k(y: mut tensor<i32, [N]>) grid [1] {
    let a = atomic_or(y[0], 1);
    let _ = a;
}
```
"#;
    ORDER_REQUIRED = "K0808", "an atomic without its memory order", r#"
`atomic_cas` and `atomic_xchg` make locks and flags, so what they order must be written: `acquire` to take a lock, `release` to give it back, `relaxed` for nothing.

```kiln,error
kernel k(y: mut tensor<i32, [N]>) grid [1] {
    let a = atomic_cas(y[0], 0, 1);
}
```

Instead:

```kiln
kernel k(y: mut tensor<i32, [N]>) grid [1] {
    while atomic_cas(y[0], 0, 1, order = acquire) != 0 {}
}
```
"#;
    BAD_OPTION = "K0809", "a word that the option does not know", r#"
Options such as the memory order, the cache operator or the precision of `dot` are words out of a list, which the message shows.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = x[0..+64].cache(l2);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = sum(x[0..+64].cache(cg));
}
```
"#;
    FORMAT = "K0810", "a format whose holes do not fit its values", r#"
`print` fills each `{}` of its first string with one value.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    print("x = {} {}", x[0]);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    print("x = {}", x[0]);
}
```
"#;
}
