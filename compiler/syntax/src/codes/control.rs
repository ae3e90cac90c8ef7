//! K06xx: control flow.

codes! {
    RETURN_PLACE = "K0600", "`return` where it cannot stand", r#"
`return;` ends a kernel early, outside of loops. A function ends in an expression, which is its result; a kernel gives no value.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    for i in 0..N { if x[i] > 0.0 { return; } }
}
```

A loop ends by its condition:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let mut i = 0 as index;
    while i < N && x[i] <= 0.0 { i += 1; }
    y[0] = i as f32;
}
```
"#;
    LOOP_HEAD = "K0601", "a malformed head of a loop", r#"
A `for` counts: `a..b`, `(a..b).step_by(s)` with s of at least 1, `(a..b).rev()`, `unroll(a..b)`. Bounds and step are scalar integers.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    for v in x { y[0] = 1.0; }
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    for i in 0..N { y[i] = x[i]; }
}
```
"#;
    IMMUTABLE = "K0602", "an assignment to something that is not mutable", r#"
Only variables bound with `let mut` are assigned. Parameters, dimensions and constants keep their values.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let a = 1.0;
    a = 2.0;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let mut a = 1.0;
    a = a + x[0];
    y[0] = a;
}
```
"#;
    GRID = "K0603", "the grid", r#"
A grid has 1 to 5 entries; `program_id` and `num_programs` take one of its axes.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let m = program_id(1);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [N] {
    let m = program_id(0);
    y[m] = x[m];
}
```
"#;
    CLOSURE = "K0604", "a closure", r#"
A closure is the combination of a `reduce` or `scan`: it takes two values of what is combined and gives one, as scalars. It may read what is around it, but not assign it.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let s = reduce(x[0..+64], |a| a);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = reduce(x[0..+64], |a, b| a + b);
}
```
"#;
}
