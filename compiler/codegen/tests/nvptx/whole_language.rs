//! Every instruction that the target supports, in every type it takes, through LLVM and ptxas: nothing may be refused late, nor
//! spill a register.

use crate::support::{TARGETS, assemble, ptx, try_compile};

/// A kernel that loads a tile of `elem` and `shape`, applies `body` (from `v10`, with fresh values from `v20`), and stores
/// `result` of type `out`.
fn through(elem: &str, shape: &str, body: &str, result: &str, out: &str, out_shape: &str, warps: u32) -> String {
    let rank = |shape: &str| shape.split(',').count();
    let facts = |shape: &str| {
        let one = |t: &str| vec![t; rank(shape)].join(", ");
        let strides: Vec<&str> = (0..rank(shape)).map(|d| if d + 1 == rank(shape) { "=1" } else { "?%16" }).collect();
        format!("dims [{}], strides [{}]", one("?"), strides.join(", "))
    };
    let index = |shape: &str| shape.split(',').map(|e| format!("v2..+{}", e.trim())).collect::<Vec<_>>().join(", ");
    format!(
        "kernel @0 k(v0.x: tensor<{elem}, {}> {{number 0, align 16, {}}}, v1.y: mut tensor<{out}, {}> {{number 1, align 16, {}}}) grid 1 index 32 schedule {{warps {warps}}} {{\n\
         v2: index = const 0\n\
         v10: tile<{elem}, [{shape}]> = load v0[{}]\n\
         {body}\n\
         store v1[{}], {result}\n\
         yield\n}}\n",
        rank(shape),
        facts(shape),
        rank(out_shape),
        facts(out_shape),
        index(shape),
        index(out_shape),
    )
}

fn accept(text: &str) {
    for target in TARGETS {
        assemble(&ptx(text, target));
    }
}

/// Many kernels would take ptxas minutes: the PTX of all is made for both targets, that of one kernel each is assembled.
fn accept_on(text: &str, target: &str) {
    assemble(&ptx(text, target));
}

pub const FLOATS: [&str; 4] = ["f16", "bf16", "f32", "f64"];
pub const INTS: [&str; 8] = ["i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64"];

/// One kernel with every lane-by-lane operator of a type, each combined into the result.
pub fn operators_of(elem: &str) -> String {
    let tile = format!("tile<{elem}, [256]>");
    let float = FLOATS.contains(&elem);
    let unary: &[&str] = if float { &["neg", "abs", "floor", "ceil", "round", "trunc", "sqrt"] } else { &["neg", "not", "abs"] };
    let binary: &[&str] = if float {
        &["add", "sub", "mul", "div", "min", "max", "fmin", "fmax"]
    } else {
        &["add", "sub", "mul", "div", "rem", "min", "max", "and", "or", "xor", "shl", "shr"]
    };
    let mut body = String::new();
    let mut last = 10;
    for op in unary {
        body.push_str(&format!("v{}: {tile} = {op} v{last}\n", last + 10));
        last += 10;
    }
    for op in binary {
        body.push_str(&format!("v{}: {tile} = {op} v{last}, v10\n", last + 10));
        last += 10;
    }
    for op in ["eq", "ne", "lt", "le", "gt", "ge"] {
        body.push_str(&format!("v{}: tile<bool, [256]> = cmp {op} v{last}, v10\n", last + 1));
        body.push_str(&format!("v{}: {tile} = select v{}, v{last}, v10\n", last + 10, last + 1));
        last += 10;
    }
    if float {
        body.push_str(&format!("v{}: {tile} = fma v{last}, v10, v10\n", last + 10));
        last += 10;
    }
    through(elem, "256", &body, &format!("v{last}"), elem, "256", 2)
}

#[test]
fn operators() {
    for elem in FLOATS.iter().chain(&INTS) {
        accept_on(&operators_of(elem), if elem.len() % 2 == 0 { "sm_90a" } else { "sm_80" });
    }
}

#[test]
fn approximations_and_high_products() {
    let mut body = String::new();
    let mut last = 10;
    for op in ["exp2", "log2", "sin", "cos", "tanh", "rcp", "rsqrt", "sqrt"] {
        body.push_str(&format!("v{}: tile<f32, [256]> = fast_{op} v{last}\n", last + 10));
        last += 10;
    }
    body.push_str(&format!("v{}: tile<f32, [256]> = fast_div v{last}, v10\n", last + 10));
    accept(&through("f32", "256", &body, &format!("v{}", last + 10), "f32", "256", 2));
    for elem in ["i32", "u32", "i64", "u64"] {
        let body = format!("v20: tile<{elem}, [256]> = mulhi v10, v10");
        accept_on(&through(elem, "256", &body, "v20", elem, "256", 2), "sm_80");
    }
}

/// One kernel with a conversion of `from` to every type; bool and index among them.
pub fn casts_of(from: &str) -> String {
    let mut body = String::new();
    let mut last = 10;
    for (i, to) in FLOATS.iter().chain(&INTS).chain(&["bool", "index"]).enumerate() {
        let at = 20 + 10 * i;
        body.push_str(&format!("v{at}: tile<{to}, [64]> = cast v10\n"));
        body.push_str(&format!("v{}: tile<f64, [64]> = cast v{at}\n", at + 1));
        if i > 0 {
            body.push_str(&format!("v{}: tile<f64, [64]> = add v{last}, v{}\n", at + 2, at + 1));
        }
        last = if i > 0 { at + 2 } else { at + 1 };
    }
    through(from, "64", &body, &format!("v{last}"), "f64", "64", 1)
}

#[test]
fn casts() {
    for from in FLOATS.iter().chain(&INTS).chain(&["bool"]) {
        accept_on(&casts_of(from), if from.len() % 2 == 0 { "sm_80" } else { "sm_90a" });
    }
}

/// Reductions along either axis, in layouts where the axis is in registers, lanes and warps; extents that are no powers of
/// two: (combination, element type, axis, kernel).
pub fn reductions_of() -> Vec<(&'static str, &'static str, usize, String)> {
    let mut kernels = Vec::new();
    for (combine, elem) in [("add", "f32"), ("max", "f16"), ("mul", "i64"), ("fmin", "f64"), ("xor", "u8"), ("and", "bool")] {
        for (axis, rest) in [(0, "96"), (1, "40")] {
            let body = format!("v20: tile<{elem}, [{rest}]> = reduce {combine} [v10] axis {axis}");
            kernels.push((combine, elem, axis, through(elem, "40, 96", &body, "v20", elem, rest, 4)));
        }
    }
    kernels
}

/// Positions of row maxima.
pub fn arg_max() -> String {
    let body = "v11: tile<i32, [96]> = iota 0\n\
                v12: tile<i32, [40, 96]> = broadcast v11\n\
                v20: tile<f32, [40]>, v21: tile<i32, [40]> = reduce argmax [v10, v12] axis 1";
    through("f32", "40, 96", body, "v21", "i32", "40", 4)
}

/// A reduction by a block that does not commute: affine maps x -> a x + b, composed in order.
pub fn affine() -> String {
    let body = "v20: f32, v21: f32 = reduce region [v10, v10] axis 0 (v30: f32, v31: f32, v32: f32, v33: f32) {\n\
                v40: f32 = mul v30, v32\n\
                v41: f32 = fma v32, v31, v33\n\
                yield v40, v41\n}\n\
                v50: tile<f32, [300]> = broadcast v21";
    through("f32", "300", body, "v50", "f32", "300", 4)
}

#[test]
fn reductions() {
    for (_, _, _, text) in reductions_of() {
        accept_on(&text, "sm_90a");
    }
    accept_on(&arg_max(), "sm_80");
    accept_on(&affine(), "sm_80");
}

/// Scans of rows and columns, forwards and backwards: (shape, kernel).
pub fn scans_of() -> Vec<(Vec<i64>, String)> {
    let mut kernels = Vec::new();
    for (shape, axis) in [("1000", 0), ("12, 70", 1), ("70, 12", 0)] {
        for reverse in ["", " reverse"] {
            let body = format!("v20: tile<f32, [{shape}]> = scan add [v10] axis {axis}{reverse}");
            let extents = shape.split(", ").map(|e| e.parse().expect("an extent")).collect();
            kernels.push((extents, through("f32", shape, &body, "v20", "f32", shape, 4)));
        }
    }
    kernels
}

#[test]
fn scans() {
    for (_, text) in scans_of() {
        accept_on(&text, "sm_90a");
    }
}

/// Instructions that move elements: (kernel, extents of the result).
pub fn shapes_of() -> Vec<(String, Vec<i64>)> {
    [
        ("v20: tile<f32, [96, 40]> = permute v10 [1, 0]", "v20", "96, 40"),
        ("v20: tile<f32, [3840]> = reshape v10", "v20", "3840"),
        ("v20: tile<f32, [60, 64]> = reshape v10", "v20", "60, 64"),
        ("v20: tile<f32, [40, 96]> = flip v10 axis 1", "v20", "40, 96"),
        ("v20: tile<f32, [8, 32]> = extract v10 at [5, 33]", "v20", "8, 32"),
        ("v20: tile<f32, [40, 192]> = cat [v10, v10] axis 1", "v20", "40, 192"),
        (
            "v20: tile<f32, [40, 96, 2]> = join v10, v10\n\
             v21: tile<f32, [40, 96]>, v22: tile<f32, [40, 96]> = split v20",
            "v22",
            "40, 96",
        ),
        ("v20: tile<f32, [40, 96, 2]> = join v10, v10", "v20", "40, 96, 2"),
        (
            "v20: tile<i32, [96]> = iota -3\n\
             v21: tile<i32, [40, 96]> = broadcast v20\n\
             v22: tile<f32, [40, 96]> = gather v10, v21 axis 1",
            "v22",
            "40, 96",
        ),
        (
            "v20: tile<f32, [40]> = reduce max [v10] axis 1\n\
             v21: tile<f32, [40, 1]> = expand_dims v20 axis 1\n\
             v22: tile<f32, [40, 96]> = broadcast v21",
            "v22",
            "40, 96",
        ),
        (
            "v20: tile<f32, [96]> = reduce max [v10] axis 0\n\
             v21: tile<f32, [40]> = reduce max [v10] axis 1\n\
             v22: tile<f32, [96, 40]> = broadcast v21\n\
             v23: tile<f32, [40, 96]> = permute v22 [1, 0]\n\
             v24: tile<f32, [40, 96]> = broadcast v20\n\
             v25: tile<f32, [40, 96]> = add v23, v24\n\
             v26: tile<f32, [40, 96]> = add v25, v10",
            "v26",
            "40, 96",
        ),
        (
            "v20: tile<f32, [4]> = const_tile [1.0, 2.0, 3.0, 4.0]\n\
             v21: tile<f32, [4, 1]> = expand_dims v20 axis 1\n\
             v22: tile<f32, [4, 96]> = broadcast v21",
            "v22",
            "4, 96",
        ),
    ]
    .into_iter()
    .map(|(body, result, out)| {
        let extents = out.split(", ").map(|e| e.parse().expect("an extent")).collect();
        (through("f32", "40, 96", body, result, "f32", out, 4), extents)
    })
    .collect()
}

#[test]
fn shapes() {
    for (text, _) in shapes_of() {
        accept_on(&text, "sm_90a");
    }
}

/// Products of every kind, with tails and batches: (kernel, element type, extents of a, b and c, type of c).
pub fn dots_of() -> Vec<(String, &'static str, [Vec<i64>; 3], &'static str)> {
    let mut kernels = Vec::new();
    for (elem, out) in [("f32", "f32"), ("f16", "f32"), ("bf16", "f32"), ("f64", "f64"), ("i8", "i32")] {
        for (batch, m, k, n) in [(None, 64, 32, 64), (None, 24, 20, 40), (Some(3), 16, 16, 8)] {
            let dims = |rows: i64, columns: i64| batch.into_iter().chain([rows, columns]).collect::<Vec<i64>>();
            let shape = |dims: &[i64]| dims.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
            let index = |dims: &[i64]| dims.iter().map(|d| format!("v3..+{d}")).collect::<Vec<_>>().join(", ");
            let facts = |dims: &[i64]| {
                let strides = vec!["?"; dims.len() - 1].join(", ");
                format!("{{number 0, align 16, dims [{}], strides [{strides}, =1]}}", vec!["?"; dims.len()].join(", "))
            };
            let (a, b, c) = (dims(m, k), dims(k, n), dims(m, n));
            let rank = a.len();
            let text = format!(
                "kernel @0 k(v0.a: tensor<{elem}, {rank}> {}, v1.b: tensor<{elem}, {rank}> {}, v2.c: mut tensor<{out}, {rank}> {}) grid 1 index 32 schedule {{warps 4}} {{\n\
                 v3: index = const 0\n\
                 v4: tile<{elem}, [{}]> = load v0[{}]\n\
                 v5: tile<{elem}, [{}]> = load v1[{}]\n\
                 v6: tile<{out}, [{}]> = load v2[{}]\n\
                 v7: tile<{out}, [{}]> = dot v4, v5 acc v6\n\
                 store v2[{}], v7\n\
                 yield\n}}\n",
                facts(&a),
                facts(&b).replace("number 0", "number 1"),
                facts(&c).replace("number 0", "number 2"),
                shape(&a),
                index(&a),
                shape(&b),
                index(&b),
                shape(&c),
                index(&c),
                shape(&c),
                index(&c),
            );
            kernels.push((text, elem, [a, b, c], out));
        }
    }
    kernels
}

/// Source, then name and extents of the operand and of the result.
pub type Whole = (String, &'static str, Vec<i64>, &'static str, Vec<i64>);

/// Sorts, top-k and counts: (kernel, element type, extents of the operand, type and extents of the result).
pub fn wholes_of() -> Vec<Whole> {
    let mut kernels = Vec::new();
    for descending in ["", " descending"] {
        let body = format!("v20: tile<f32, [12, 70]> = sort [v10] axis 1{descending}");
        kernels.push((through("f32", "12, 70", &body, "v20", "f32", "12, 70", 4), "f32", vec![12, 70], "f32", vec![12, 70]));
        // Few distinct keys: the payload shows that equal keys keep their order.
        let body = format!(
            "v11: tile<i32, [200]> = iota 0\n\
             v12: tile<i32, [200]> = const 3\n\
             v13: tile<i32, [200]> = rem v10, v12\n\
             v20: tile<i32, [200]>, v21: tile<i32, [200]> = sort [v13, v11] axis 0{descending}"
        );
        kernels.push((through("i32", "200", &body, "v21", "i32", "200", 2), "i32", vec![200], "i32", vec![200]));
    }
    for (result, out) in [("v20", "f32"), ("v21", "i32")] {
        let body = "v20: tile<f32, [12, 5]>, v21: tile<i32, [12, 5]> = topk v10 k 5";
        kernels.push((through("f32", "12, 70", body, result, out, "12, 5", 4), "f32", vec![12, 70], out, vec![12, 5]));
    }
    let body = "v20: tile<i32, [40]> = histogram v10 bins 40";
    kernels.push((through("i32", "900", body, "v20", "i32", "40", 4), "i32", vec![900], "i32", vec![40]));
    kernels
}

#[test]
fn products_and_whole_tiles() {
    for (number, (text, ..)) in dots_of().into_iter().enumerate() {
        accept_on(&text, TARGETS[number % 2]);
    }
    for (text, ..) in wholes_of() {
        accept_on(&text, "sm_90a");
    }
}

/// Loops that carry tiles and scalars, counted up, down and conditionally, with reductions inside.
pub fn nested_loops() -> String {
    let body = "v3: index = const 4\n\
                v4: index = const 1\n\
                v5: index = view_dim v0 axis 0\n\
                v20: tile<f32, [512]>, v21: f32 = for v2..v5 step v3 rev init [v10, v6] (v22: index, v23: tile<f32, [512]>, v24: f32) {\n\
                v25: f32 = reduce add [v23] axis 0\n\
                v26: tile<f32, [512]> = broadcast v25\n\
                v27: tile<f32, [512]> = sub v23, v26\n\
                v28: bool = cmp lt v25, v24\n\
                v29: tile<f32, [512]> = if v28 {\n\
                v30: f32 = reduce max [v27] axis 0\n\
                v31: tile<f32, [512]> = broadcast v30\n\
                yield v31\n\
                } else {\n\
                yield v27\n\
                }\n\
                yield v29, v25\n\
                }\n\
                v40: tile<f32, [512]> = while init [v20] (v41: tile<f32, [512]>) {\n\
                v42: f32 = reduce max [v41] axis 0\n\
                v43: bool = cmp gt v42, v21\n\
                yield v43, v41\n\
                } do (v44: tile<f32, [512]>) {\n\
                v45: tile<f32, [512]> = mul v44, v44\n\
                yield v45\n\
                }";
    let body = format!("v6: f32 = const 1.0\n{body}");
    through("f32", "512", &body, "v40", "f32", "512", 4)
}

#[test]
fn control_flow() {
    accept(&nested_loops());
}

/// Two exchanges a trip: the barrier of each keeps the other's memory from the next trip. A single one waits in front as well, and so does one of a
/// `while`'s condition, which may be the last thing of the loop.
#[test]
fn barriers_in_loops() {
    let count = |body: &str| {
        let looped = format!(
            "v3: index = const 8\n\
             v4: index = const 1\n\
             v20: tile<f32, [512]> = for v2..v3 step v4 init [v10] (v22: index, v23: tile<f32, [512]>) {{\n\
             v25: f32 = reduce add [v23] axis 0\n\
             v26: tile<f32, [512]> = broadcast v25\n\
             v27: tile<f32, [512]> = sub v23, v26\n\
             {body}\n}}"
        );
        let artifact = ptx(&through("f32", "512", &looped, "v20", "f32", "512", 4), "sm_80");
        artifact.ptx.matches("bar.sync").count()
    };
    let second = "v28: f32 = reduce max [v27] axis 0\n\
                  v29: tile<f32, [512]> = broadcast v28\n\
                  v30: tile<f32, [512]> = sub v27, v29";
    assert_eq!(count("yield v27"), 2);
    assert_eq!(count(&format!("{second}\nyield v30")), 2);
    // On some paths only: that is no protection.
    let sometimes = format!(
        "v31: f32 = const 0.0\n\
         v32: bool = cmp lt v25, v31\n\
         v33: tile<f32, [512]> = if v32 {{\n{second}\nyield v30\n}} else {{\nyield v27\n}}\n\
         yield v33"
    );
    assert_eq!(count(&sometimes), 3);
}

/// Pointers with masks, as in Triton.
#[test]
fn pointers() {
    let text = "kernel @0 k(v0.p: ptr<f32> {number 0}, v1.q: mut ptr<f32> {number 1}, v2.n: i32 {number 2}) grid 1 index 32 schedule {warps 4} {\n\
                assume_aligned v0 16\n\
                assume_aligned v1 16\n\
                v3: index = program_id 0\n\
                v4: index = const 1024\n\
                v5: index = mul v3, v4\n\
                v6: tile<index, [1024]> = iota 0\n\
                v7: tile<index, [1024]> = broadcast v5\n\
                v8: tile<index, [1024]> = add v7, v6\n\
                v9: index = cast v2\n\
                v10: tile<index, [1024]> = broadcast v9\n\
                v11: tile<bool, [1024]> = cmp lt v8, v10\n\
                v12: tile<ptr<f32>, [1024]> = broadcast v0\n\
                v13: tile<ptr<f32>, [1024]> = ptr_add v12, v8\n\
                v14: tile<f32, [1024]> = load *v13 mask v11\n\
                v15: tile<f32, [1024]> = mul v14, v14\n\
                v16: tile<mut ptr<f32>, [1024]> = broadcast v1\n\
                v17: tile<mut ptr<f32>, [1024]> = ptr_add v16, v8\n\
                store *v17, v15 mask v11\n\
                yield\n}\n";
    // The mask is not known to be uniform over four lanes, as n may be anything.
    let plain = ptx(text, "sm_80");
    assert_eq!(plain.ptx.matches("ld.global").count(), 8, "{}", plain.ptx);
    assemble(&plain);
    let assumed = text.replace(
        "assume_aligned v1 16",
        "assume_aligned v1 16\nv20: i32 = const 4\nv21: i32 = rem v2, v20\nv22: i32 = const 0\nv23: bool = cmp eq v21, v22\nassume v23",
    );
    let wide = ptx(&assumed, "sm_80");
    assert_eq!(wide.ptx.matches("ld.global.v4.b32").count(), 2, "{}", wide.ptx);
    assert_eq!(wide.ptx.matches("st.global.v4.b32").count(), 2, "{}", wide.ptx);
    assemble(&wide);
}

/// Gathered rows of a view of a view, of its transpose, scattered into a view of a pointer.
pub fn gathers_of() -> String {
    "kernel @0 k(v0.x: tensor<f32, 3> {number 0, align 16, dims [?, ?, ?%16], strides [?%16, ?%16, =1]}, v1.i: tensor<i64, 1> {number 1, align 16, dims [?%16], strides [=1]}, v2.y: mut tensor<f32, 2> {number 2, align 16, dims [?, ?%16], strides [?%16, =1]}) grid 2 index 64 schedule {warps 4} {\n\
                v3: index = program_id 1\n\
                v4: index = const 0\n\
                v5: tile<i64, [32]> = load v1[v4..+32]\n\
                v6: tile<index, [32]> = cast v5\n\
                v7: tensor<f32, 2> = subview v0[v3, :, :]\n\
                v8: index = view_dim v7 axis 0\n\
                v9: tensor<f32, 2> = subview v7[v3..v8, :]\n\
                v10: tile<f32, [32, 64]> = load v9[gather v6, v4..+64]\n\
                v11: tensor<f32, 2> = permute_view v9 [1, 0]\n\
                v12: tile<f32, [64, 32]> = load v11[v4..+64, gather v6]\n\
                v13: tile<f32, [32, 64]> = permute v12 [1, 0]\n\
                v14: tile<f32, [32, 64]> = add v10, v13\n\
                v15: mut ptr<f32> = view_ptr v2\n\
                v16: index = view_dim v2 axis 0\n\
                v17: index = view_stride v2 axis 0\n\
                v18: index = const 1\n\
                v19: mut tensor<f32, 2> = make_view v15 dims [v16, v16] strides [v17, v18]\n\
                store v19[gather v6, v4..+64], v14\n\
                yield\n}\n"
        .to_owned()
}

#[test]
fn gathers_and_views() {
    let artifact = ptx(&gathers_of(), "sm_90a");
    // Rows are gathered, but along a row the loads stay 128 bits wide.
    assert!(artifact.ptx.contains("ld.global.nc.v4.b32"), "{}", artifact.ptx);
    assemble(&artifact);
}

#[test]
fn atomics() {
    for (elem, ops) in [
        ("i32", &["add", "max", "min", "and", "or", "xor", "xchg"][..]),
        ("u64", &["add", "max", "min", "and", "or", "xor", "xchg"]),
        ("f32", &["add", "max", "min", "xchg"]),
        ("f64", &["add", "max"]),
        ("f16", &["add"]),
    ] {
        // One kernel a type: every operation on a tile and on one element, relaxed and ordered.
        let mut body = String::new();
        let mut next = 10;
        for op in ops {
            for order in ["relaxed device", "acq_rel system"] {
                body.push_str(&format!(
                    "v{next}: tile<{elem}, [100]> = atomic {op} v0[v1..+100], v2 {order}\n\
                     store v0[v1..+100], v{next}\n\
                     v{}: {elem} = load v0[v1]\n\
                     v{}: {elem} = atomic {op} v0[v1], v{} {order}\n\
                     store v0[v1], v{}\n",
                    next + 1,
                    next + 2,
                    next + 1,
                    next + 2
                ));
                next += 3;
            }
        }
        let text = format!(
            "kernel @0 k(v0.x: mut tensor<{elem}, 1> {{number 0, align 16, dims [?], strides [=1]}}) grid 1 index 32 schedule {{warps 2}} {{\n\
             v1: index = const 0\n\
             v2: tile<{elem}, [100]> = load v0[v1..+100]\n\
             {body}yield\n}}\n"
        );
        accept_on(&text, "sm_90a");
    }
    let lock = "kernel @0 k(v0.x: mut tensor<i32, 1> {number 0, align 16, dims [?], strides [=1]}) grid 1 index 32 schedule {warps 2} {\n\
                v1: index = const 0\n\
                v2: i32 = const 0\n\
                v3: i32 = const 1\n\
                while init [] () {\n\
                v4: i32 = atomic_cas v0[v1], v2, v3 acquire device\n\
                v5: bool = cmp ne v4, v2\n\
                yield v5\n\
                } do () {\n\
                yield\n\
                }\n\
                v6: index = const 1\n\
                v7: i32 = atomic_load v0[v6] relaxed device\n\
                v8: i32 = add v7, v3\n\
                atomic_store v0[v6], v8 relaxed device\n\
                atomic_store v0[v1], v2 release device\n\
                yield\n}\n";
    accept(lock);
}

#[test]
fn other_instructions() {
    let body = "v20: tile<f32, [256]> = asm \"tanh.approx.f32 $0, $1;\" \"=f,f\" [v10] pure\n\
                v21: tile<u32, [256]> = bitcast v20\n\
                v22: tile<f32, [256]> = bitcast v21\n\
                v23: tile<bool, [256]> = cmp ge v22, v10\n\
                assert v23 \"in \\\"range\\\"\"\n\
                v24: index = num_programs 0\n\
                v25: index = num_sms\n\
                v26: index = add v24, v25\n\
                v27: f32 = cast v26\n\
                v28: tile<f32, [256]> = broadcast v27\n\
                v29: tile<f32, [256]> = add v28, v22";
    accept(&through("f32", "256", body, "v29", "f32", "256", 4));
}

/// A program is one thread: what it wrote it reads, so a barrier separates accesses of different threads.
#[test]
fn stores_are_seen_by_later_loads_of_other_threads() {
    let shifted = "store v1[v2..+256], v10\n\
                   v20: index = const 1\n\
                   v21: tile<f32, [256]> = load v1[v20..+256]";
    let text = through("f32", "256", shifted, "v21", "f32", "256", 4);
    assert!(ptx(&text, "sm_80").ptx.contains("bar.sync"));
    // In place, each thread its own elements: no barrier.
    let in_place = "v20: tile<f32, [256]> = load v1[v2..+256]";
    let text = through("f32", "256", in_place, "v20", "f32", "256", 4);
    assert!(!ptx(&text, "sm_80").ptx.contains("bar.sync"));
}

/// Grids of rank 4 and 5 are launched in one dimension.
#[test]
fn large_grids_are_linear() {
    let text = through(
        "f32",
        "256",
        "v20: index = program_id 3\nv21: f32 = cast v20\nv22: tile<f32, [256]> = broadcast v21",
        "v22",
        "f32",
        "256",
        4,
    )
    .replace("grid 1", "grid 5");
    let artifact = try_compile(&text, "sm_80").unwrap();
    assert_eq!(artifact.grid, kiln_codegen::nvptx::GridMapping::Linear);
    assert!(artifact.params.contains(&kiln_codegen::nvptx::PtxParam::GridExtent(4)));
    assemble(&artifact);
}
