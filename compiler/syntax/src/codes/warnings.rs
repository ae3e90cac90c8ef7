//! K2xxx: warnings.

codes! {
    INDEX_PRODUCT = "K2000", "a 32-bit product that feeds an index", r#"
Index arithmetic never overflows silently, but a product of i32 values that was computed before may have wrapped. Convert a factor first: the product is then computed as `index`.

A product that does not wrap:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>, row: i32, ld: i32) grid [1] {
    let at = row as index * ld;
    y[0] = x[at];
}
```
"#;
    OR_NEG_INF = "K2001", "-inf goes into a function that maps it to an ordinary number", r#"
Lanes out of bounds that read -inf do not count in a maximum or a softmax. A function such as tanh or sigmoid makes -1 or 0 of them, which do count: mask after it.

Mask after the function:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let live = arange(0, 64) < N;
    y[0] = max(select(live, tanh(x[0..+64]), -inf));
}
```
"#;
    UNUSED_VARIABLE = "K2002", "a variable that is never read", r#"
What is bound and never read is probably a mistake. A name that starts with an underscore says that it is meant.

An underscore says that it is meant:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let (_unused, b) = (x[0], x[1]);
    y[0] = b;
}
```
"#;
    UNUSED_MUT = "K2003", "a `mut` without use", r#"
The variable is never assigned after it was bound, so it need not be mutable.

Without `mut`:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = x[0];
    y[0] = a;
}
```
"#;
    UNUSED_IMPORT = "K2004", "an import that is not used", r#"
Nothing in the file uses the imported name. Functions of the standard library such as `exp` need no import.
"#;
    UNREACHABLE = "K2005", "code that never runs", r#"
What follows an unconditional `return` in its block never runs.
"#;
    MANY_VALUES = "K2006", "a constant taken from a dimension that takes many values", r#"
A `const` generic that is used as a dimension is taken from the tensors: its value is part of the code, and every new value is compiled anew. That suits what is
the same in every launch, such as the size of a head. For lengths that vary, name the dimension and mask what lies over:

```kiln
kernel rows<const BLOCK: int = 1024>(x: tensor<f32, [M, N]>, y: mut tensor<f32, [M]>) grid [M] {
    let m = program_id(0);
    let mut total = 0.0;
    for n in (0..N).step_by(BLOCK) { total += sum(x[m, n..+BLOCK]); }
    y[m] = total;
}
```

The runtime says so when launches of one program have brought 16 values.
"#;
    NARROW_ACCESS = "K2007", "a load or store that goes one element at a time", r#"
A thread reads or writes up to 16 bytes with one instruction where it is known that they lie side by side, at an aligned address, and all inside the tensor. The message says what
is not known. It is a matter of speed alone. Mostly it is the length of the rows: a launch with rows of a multiple of 16 elements is compiled for that, and has no such warning.

```kiln
kernel twice(x: tensor<f32, [M, N]>, y: mut tensor<f32, [M, N]>) grid [M] {
    let m = program_id(0);
    y[m, 0..+1024] = 2.0 * x[m, 0..+1024];
}
```
"#;
    FEWER_STAGES = "K2008", "fewer stages than were asked for", r#"
What a loop loads ahead lies in shared memory, `stages` times, beside whatever else the kernel keeps there. Where that is too much, the loop has as many stages as fit. The message says how
many, what each of them takes and what there is for all of them. Ask for fewer, or use smaller tiles.

```kiln
#[schedule(warps = 8, stages = 3)]
kernel product(a: tensor<f16, [M, K]>, b: tensor<f16, [K, N]>, c: mut tensor<f16, [M, N]>) grid [cdiv(M, 128), cdiv(N, 128)] {
    let (m, n) = (program_id(0) * 128, program_id(1) * 128);
    let mut acc = zeros::<f32>([128, 128]);
    for k in (0..K).step_by(128) {
        acc = dot(a[m..+128, k..+128], b[k..+128, n..+128], acc);
    }
    c[m..+128, n..+128] = acc as f16;
}
```
"#;
}
