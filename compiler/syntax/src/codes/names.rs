//! K02xx: names, items, modules.

codes! {
    UNKNOWN_NAME = "K0200", "a name that means nothing here", r#"
A value is named that is neither a variable, parameter, constant or dimension in scope, nor an item of the file. Names of the caller are not visible in a function; what a block binds ends with the block.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = x[0] * scael;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let scale = 2.0;
    y[0] = x[0] * scale;
}
```
"#;
    UNKNOWN_FUNCTION = "K0201", "a function that does not exist", r#"
What is called is neither a builtin, nor a function of the standard library or of this file. The most common functions of other languages have other names here: `select` for `where`, `cdiv` for `ceil_div`, `trans` for `transpose`, `dot` for `matmul`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = maximum(x[0], 0.0);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = max(x[0], 0.0);
}
```
"#;
    UNKNOWN_TYPE = "K0202", "a type that does not exist", r#"
Scalar types are bool, i8 to i64, u8 to u64, f16, bf16, f32, f64, f8e4m3, f8e5m2 and index, and the type parameters in scope, with their `T::Acc`. The others are `tile<T, [..]>`, `tensor<T, [..]>` and `ptr<T>`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = x[0] as float;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = x[0] as f32;
}
```
"#;
    UNKNOWN_MODULE = "K0203", "a file that cannot be loaded", r#"
`use a::b;` reads `a/b.kiln` beside the file it stands in; `use std::math::exp;` is the standard library. The label says why there was nothing to read.
"#;
    UNKNOWN_IMPORT = "K0204", "an import that the file does not have", r#"
The file named by a `use` exists, but it has no item of that name. Only items that a file defines itself can be imported from it.

```kiln,error
use std::math::expp;
```

Instead:

```kiln
use std::math::exp;

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = exp(x[0]);
}
```
"#;
    DUPLICATE_ITEM = "K0205", "one name for two items", r#"
One name is one item of a file: kernels, functions, constants and imports share their names.

```kiln,error
const A: i32 = 1;
const A: i32 = 2;
```

Instead:

```kiln
const A: i32 = 1;
const B: i32 = 2;
```
"#;
    DUPLICATE_PARAM = "K0206", "one name for two parameters", r#"
Parameters and generic parameters of an item have different names.

```kiln,error
kernel k(x: tensor<f32, [N]>, x: mut tensor<f32, [N]>) grid [1] {
    
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    
}
```
"#;
    RECURSION = "K0207", "a function that calls itself", r#"
Functions are expanded where they are called: every kernel is one piece of code without a call stack. A function that reaches itself, directly or through others, would have no end.

```kiln,error
fn f(n: i32) -> i32 { f(n - 1) }
```

Write a loop:

```kiln
fn f(n: i32) -> i32 {
    let mut sum = 0;
    for i in 0..n { sum += i; }
    sum
}
```
"#;
    NOT_A_VALUE = "K0208", "something that is not a value", r#"
A type, a kernel, a file, a range or `None` stands where a value is needed.

```kiln,error
fn f<T: float>(x: T) -> T { T }
```

Instead:

```kiln
fn f<T: float>(x: T) -> T { T::MAX }
```
"#;
    NOT_A_FUNCTION = "K0209", "something called that is not a function", r#"
Only functions can be called. A kernel is launched by the host; what two kernels share belongs in a `fn`.

```kiln,error
const A: i32 = 1;

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let b = A(2);
}
```

Instead:

```kiln
const A: i32 = 1;

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = A as f32;
}
```
"#;
}
