//! K03xx: types and shapes.

codes! {
    MISMATCHED_SHAPES = "K0300", "shapes that do not fit together", r#"
Operands of lane-by-lane operations are broadcast as in numpy: shapes are aligned at the last axis, extents must be equal or 1. A value that is stored or passed must fit the shape it goes to.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = arange(0, 64) + arange(0, 32);
}
```

An axis of length 1 stretches:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = arange(0, 64)[:, None] + arange(0, 32)[None, :];
    let _ = a;
}
```
"#;
    MISMATCHED_TYPES = "K0301", "another type than expected", r#"
A value has a type that does not become the expected one. Widening conversions happen by themselves, everything else is written with `as`; literals take the type they meet.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = true;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = 1.0;
}
```
"#;
    INT_FLOAT_MIX = "K0302", "an operation that mixes integers and floats", r#"
Integers never become floats by themselves. Write constants with a point, and convert values with `as`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = x[0] * 2;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = x[0] * 2.0;
}
```
"#;
    NARROWING = "K0303", "a conversion that may lose values", r#"
Only conversions that keep every value are implicit: f16 to f32, u8 to i32, any integer to index. One that rounds or wraps is written with `as`, so that it can be seen.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f16, [N]>) grid [1] { y[0] = x[0]; }
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f16, [N]>) grid [1] { y[0] = x[0] as f16; }
```
"#;
    NO_COMMON_TYPE = "K0304", "operands without a common type", r#"
Two operands meet in the type of one of them, to which the other widens. i32 and u32, or f16 and bf16, have no such type: each has values that the other lacks.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = 1u32 + 1i32;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = 1u32 as i64 + 1i32;
    let _ = a;
}
```
"#;
    BAD_OPERAND = "K0305", "an operator that the type does not have", r#"
Arithmetic and order are for numbers, `&` `|` `^` `!` for integers and bools, shifts for integers, `&&` and `||` for bools. In generic code the class of a type parameter decides: an operation must exist for every type of the class.

```kiln,error
fn f<T: any>(x: T) -> T { x + x }
```

Instead:

```kiln
fn f<T: num>(x: T) -> T { x + x }
```
"#;
    BAD_CAST = "K0306", "a conversion that `as` does not do", r#"
`as` converts between numbers, and from bool to numbers. A number becomes a bool by a comparison, a pointer an integer by `bitcast`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let flag = x[0] as bool;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let flag = x[0] != 0.0;
    let _ = flag;
}
```
"#;
    CONDITION = "K0307", "a condition that is not a scalar bool", r#"
`if`, `while`, `requires` and `assume` decide for the whole program: their condition is one bool. A tile of bools selects lane by lane with `select`, or is folded by `any` and `all`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let v = x[0..+64];
    if v > 0.0 { y[0..+64] = v; }
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let v = x[0..+64];
    y[0..+64] = select(v > 0.0, v, 0.0);
}
```
"#;
    BAD_PATTERN = "K0308", "a pattern that does not fit its value", r#"
A tuple pattern has as many names as the tuple has values; what is not a tuple cannot be taken apart.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let (a, b, c) = (x[0], x[1]);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let (a, b) = (x[0], x[1]);
    y[0] = a + b;
}
```
"#;
    TILE_TOO_LARGE = "K0309", "a tile that is too large", r#"
A tile is what one program holds at a time. More than 2^24 elements, or 8 axes, are refused: loop over blocks.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = zeros::<f32>([8192, 8192]);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = zeros::<f32>([64, 64]);
    let _ = t;
}
```
"#;
    LITERAL_RANGE = "K0310", "a constant that its type cannot hold", r#"
An integer literal takes the type of what it meets, and must be one of its values.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = 300u8;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = 300u16;
    let _ = a;
}
```
"#;
    BAD_TYPE = "K0311", "a malformed type", r#"
Types are `f32`, `tile<f32, [M, N]>`, `tensor<f32, [M, N]>` (1 to 5 dimensions), `ptr<f32>`, tuples of them; `mut` stands before tensors and pointers, `?` behind parameters of kernels and functions. A kernel takes tensors, pointers and scalars.

```kiln,error
kernel k(x: tile<f32, [64]>) grid [1] {}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>) grid [1] {}
```
"#;
    NOT_A_TILE = "K0312", "something that is not a scalar or tile", r#"
A tensor, tuple, function or nothing at all stands where a scalar or tile is needed. A tensor is read by an index list.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let s = sum(x);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = sum(x[0..+64]);
}
```
"#;
    FN_RESULT = "K0313", "the result of a function", r#"
A function that promises a result with `->` ends in an expression without `;`. One that promises none ends in a statement. `-> _` infers the type.

```kiln,error
fn twice(x: f32) -> f32 { x * 2.0; }
```

Instead:

```kiln
fn twice(x: f32) -> f32 { x * 2.0 }
```
"#;
    IF_VALUE = "K0314", "an `if` whose branches disagree", r#"
An `if` that is used as a value has an `else`, and both branches give the same type and shape. So do both values of a variable that the branches assign.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = if x[0] > 0.0 { 1.0 } else { true };
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = if x[0] > 0.0 { 1.0 } else { 0.0 };
    y[0] = a;
}
```
"#;
}
