//! K04xx: constants and generics.

codes! {
    NOT_CONSTANT = "K0400", "a value that must be constant", r#"
Shapes, lengths of slices, axes and generic arguments are known when the kernel is compiled. Constants are literals, `const` items and parameters, dimensions that are constant parameters, and arithmetic on them.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = zeros::<f32>([N]);
}
```

Take the dimension as a constant:

```kiln
kernel k<const N: int>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = zeros::<f32>([N]);
    y[0..+N] = t;
}
```
"#;
    CONST_OVERFLOW = "K0401", "a constant that overflows", r#"
Constants are computed exactly and must fit 64 bits.

```kiln,error
const A: int = 9223372036854775807 * 4;
```

Instead:

```kiln
const A: int = 9223372036854775807;
```
"#;
    CANNOT_INFER = "K0402", "a generic argument that nothing determines", r#"
Generic arguments follow from the types of arguments, else they are written: `zeros::<f32>([M, N])`, `mainloop::<BM = 64>(a, b)`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = zeros([64]);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = zeros::<f32>([64]);
    y[0..+64] = t;
}
```
"#;
    GENERIC_ARGS = "K0403", "wrong generic arguments", r#"
A turbofish gives arguments in order or by name. Types stand for type parameters, constants (in braces where computed) for constant parameters, names of functions for function parameters.

```kiln,error
fn f<const B: int>() -> i32 { B }

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = f::<C = 4>();
}
```

Instead:

```kiln
fn f<const B: int>() -> i32 { B }

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = f::<B = 4>();
    let _ = a;
}
```
"#;
    CLASS = "K0404", "a type that is not of the class", r#"
The classes are `float`, `int`, `num` (both) and `any` (bool too). A type argument must belong to its parameter's class.

```kiln,error
fn half<T: float>(x: T) -> T { x / 2.0 as T }

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = half(3i32);
}
```

Instead:

```kiln
fn half<T: float>(x: T) -> T { x / 2.0 as T }

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = half(3.0);
}
```
"#;
    STATIC_ASSERT = "K0405", "a static assertion failed", r#"
`static_assert(cond, "message")` states what must hold for the constants a kernel is compiled with.

```kiln,error
const B: int = 100;

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    static_assert(B % 64 == 0, "whole blocks");
}
```

Instead:

```kiln
const B: int = 128;

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    static_assert(B % 64 == 0, "whole blocks");
}
```
"#;
    REQUIRES = "K0406", "a condition of a function does not hold", r#"
A `requires` clause of a function is checked where the function is called, when its constants are known.

```kiln,error
fn half<const B: int>(x: tile<f32, [B]>) -> tile<f32, [B]> requires B % 2 == 0 { x }

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = half(x[0..+3]);
}
```

Instead:

```kiln
fn half<const B: int>(x: tile<f32, [B]>) -> tile<f32, [B]> requires B % 2 == 0 { x }

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0..+4] = half(x[0..+4]);
}
```
"#;
    TOO_LARGE = "K0407", "a kernel that grows too large", r#"
Functions are expanded where they are called. Calls that double at every level, or constants that unroll too far, make code without end; it is given up at a fixed size.
"#;
    BAD_GENERIC = "K0408", "a malformed generic parameter", r#"
Generic parameters are `T: float|int|num|any`, `S: shape` (functions only), `const N: int`, `const B: bool` and `const F: fn(..) -> ..`.

```kiln,error
fn f<const N: i32>() -> i32 { N }
```

Instead:

```kiln
fn f<const N: int>() -> i32 { N }
```
"#;
    DIM_UNSOLVABLE = "K0409", "a dimension that the tensors do not determine", r#"
A dimension's name is bound where it stands alone in a tensor's type, or solved from `X + c`, `X - c` or `c * X`. A name that occurs only in larger expressions has no value.

```kiln,error
kernel k(x: tensor<f32, [cdiv(N, 4)]>) grid [1] {}
```

Instead:

```kiln
kernel k(x: tensor<f32, [cdiv(N, 4)]>, y: tensor<f32, [N]>) grid [1] {}
```
"#;
    HOST_EXPR = "K0410", "an expression that the host cannot compute", r#"
Grids, `requires`, defaults over dimensions, schedules and tuning spaces are computed at launch, without the kernel: from dimensions, constants, scalar parameters, arithmetic, comparisons, `cdiv`, `next_pow2`, `min`, `max`, `abs` and `num_sms()`.

```kiln,error
kernel k(x: tensor<f32, [N]>) grid [sqrt(N)] {}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>) grid [cdiv(N, 128)] {}
```
"#;
    CONST_CYCLE = "K0411", "a constant that depends on itself", r#"
The values of constants are computed when they are needed; one that needs itself has none.

```kiln,error
const A: int = B;
const B: int = A;
```

Instead:

```kiln
const A: int = 1;
const B: int = A;
```
"#;
    BAD_EXTENT = "K0412", "an extent that a tile cannot have", r#"
The extents of a tile are at least 1, and are written as a list: `[M, N]`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = arange(4, 4);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = arange(0, 4);
    let _ = t;
}
```
"#;
    STATIC_PRINT = "K0413", "what `static_print` shows", r#"
Not a mistake: `static_print` shows constants, and the types of other values, each time a kernel is compiled.
"#;
    BAD_SPECIALIZATION = "K0414", "a specialization that does not fit the kernel", r#"
A kernel is compiled for types, constants, functions and the presence of its parameters. What was asked for does not fit its signature. From the command line and the runtime this cannot happen; tools that make specializations themselves see it.
"#;
    INTERNAL = "K0499", "the compiler failed", r#"
The compiler could not translate a kernel that it had accepted. This is a bug of Kiln, never of the kernel: please report it with the source.
"#;
}
