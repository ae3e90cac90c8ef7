//! K05xx: memory, slices, views.

codes! {
    INDEX_COUNT = "K0500", "an index list that does not cover every dimension", r#"
An index list has one entry for each dimension of a tensor or axis of a tile. `:` keeps a whole one (a view of a tensor), `None` makes a new axis of a tile and covers nothing.

```kiln,error
kernel k(x: tensor<f32, [M, N]>, y: mut tensor<f32, [M]>) grid [1] {
    y[0] = x[0];
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [M, N]>, y: mut tensor<f32, [M]>) grid [1] {
    y[0] = x[0, 0];
}
```
"#;
    SLICE_LENGTH = "K0501", "the length of a slice", r#"
`start..+LEN` makes a tile, so LEN is a constant of at least 1. Lanes past the end of the tensor read 0 and are never written: take a constant that is large enough, or loop over blocks.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let row = x[0..+N];
}
```

Instead:

```kiln
kernel k<const BLOCK: int = next_pow2(N)>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] requires BLOCK >= N {
    let row = x[0..+BLOCK];
    y[0] = sum(row);
}
```
"#;
    VIEW_MIX = "K0502", "a view and a slice in one index list", r#"
`lo..hi` and `:` make a smaller tensor without touching memory, `start..+LEN` and index tiles read a tile. One list does one of the two.

```kiln,error
kernel k(x: tensor<f32, [M, N]>) grid [1] {
    let t = x[:, 0..+64];
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [M, N]>) grid [1] {
    let t = x[0, :][0..+64];
    let _ = t;
}
```
"#;
    NOT_MUT = "K0503", "a write to something that is not `mut`", r#"
Tensors and pointers are read-only unless they are declared `mut`. That tells callers and the scheduler what a kernel writes.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    x[0] = 1.0;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = 1.0;
}
```
"#;
    ABSENT = "K0504", "a use of a parameter that may be absent", r#"
A parameter declared with `?` may be missing at launch. Ask first: `p.is_some()` is a constant, and the branch it rules out is not compiled. A dimension named only by absent tensors is unknown too.

```kiln,error
kernel k(b: tensor<f32, [N]>?, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = b[0];
}
```

Instead:

```kiln
kernel k(b: tensor<f32, [N]>?, y: mut tensor<f32, [N]>) grid [1] {
    if b.is_some() { y[0] = b[0]; }
}
```
"#;
    BAD_TARGET = "K0505", "an assignment to something that is not a place", r#"
Places are `let mut` variables, elements and slices of `mut` tensors, and tuples of them. Tiles are values: they are not changed, new ones are made.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let mut t = x[0..+64];
    t[0] = 1.0;
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = x[0..+64];
    y[0..+64] = select(arange(0, 64) == 0, 1.0, t);
}
```
"#;
    BAD_INDEX = "K0506", "something that is not an index", r#"
An index is an integer, or a tile of integers. `None` makes axes of tiles only, and only tensors and tiles are indexed.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = x[1.5];
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = x[1];
}
```
"#;
    TILE_INDEX = "K0507", "an index of a tile", r#"
Parts of tiles are selected by constants within the tile: `t[0..+64, :]`, `t[3, :]`. Values select with `gather`, and tensors take any index.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = x[0..+64];
    y[0] = t[64];
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = x[0..+64];
    y[0] = t[63];
}
```
"#;
    ACCESS_METHOD = "K0508", "a method of an access at the wrong place", r#"
`.or(v)`, `.mask(m)`, `.cache(..)` and `.evict(..)` belong to one access and stand directly behind its index list. A store takes no `.or`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let t = x[0..+64];
    let u = t.or(1.0);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let u = x[0..+64].or(1.0);
    y[0] = sum(u);
}
```
"#;
    VIEW_ESCAPES = "K0509", "a view that depends on run-time control flow", r#"
A view is a name for memory, not a value: it cannot be one of two views chosen at run time, nor change from trip to trip of a loop. Carry the bounds and make the view where it is used.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let v = if x[0] > 0.0 { x[0..4] } else { x[4..8] };
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let lo = if x[0] > 0.0 { 0 } else { 4 };
    let v = x[lo..lo + 4];
    y[0] = v[0];
}
```
"#;
    SLICE_AS_VIEW = "K0510", "a slice where a tensor is expected", r#"
A function that takes a tensor is given a view: `x[i, :]`, `x[lo..hi]`. `x[i, 0..+B]` is a tile, which is read at once.

```kiln,error
fn first(v: tensor<f32, [N]>) -> f32 { v[0] }

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = first(x[0..+64]);
}
```

Instead:

```kiln
fn first(v: tensor<f32, [N]>) -> f32 { v[0] }

kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    y[0] = first(x[0..64]);
}
```
"#;
    POINTER = "K0511", "a pointer is needed", r#"
`load`, `store`, `prefetch`, atomics and `view` take pointers (or slices of tensors): `p`, `p + offsets`.

```kiln,error
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let v = load(1.0);
}
```

Instead:

```kiln
kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [1] {
    let v = load(x.ptr());
    y[0] = v;
}
```
"#;
}
