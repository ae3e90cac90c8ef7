//! Constructs that the acceptance list does not reach: each kernel checks without a diagnostic, instantiates, and passes the verifier.

use kiln_ir::signature::{Assumptions, LaunchOptions};
use kiln_ir::verify::verify;
use kiln_ir::{InstData, Module};
use kiln_sema::{LoadedFile, ModuleLoader, Program};
use kiln_syntax::render::{Color, render_all};
use kiln_syntax::source::SourceMap;

/// One other file, `lib/helpers.kiln`.
struct OneFile;

impl ModuleLoader for OneFile {
    fn load(&self, from: &str, path: &[String]) -> Result<LoadedFile, String> {
        match path.join("/").as_str() {
            "lib/helpers" => Ok(LoadedFile {
                name: "lib/helpers.kiln".to_owned(),
                text: "fn twice<S: shape>(x: tile<f32, S>) -> tile<f32, S> { x + x }\nconst SIX: int = 6;\n".to_owned(),
            }),
            other => Err(format!("{other} is not there, seen from {from}")),
        }
    }
}

/// The IR of the only kernel of a text.
fn module(text: &str, fns: &[(&str, &str)]) -> Module {
    let mut sources = SourceMap::new();
    let root = sources.add("feature.kiln", text);
    let (program, mut diagnostics) = Program::load(&mut sources, root, &OneFile);
    diagnostics.extend(program.check());
    assert!(diagnostics.is_empty(), "{}", render_all(&diagnostics, &sources, Color::Never));
    let signature = program.kernels().next().expect("a kernel");
    let assumptions = Assumptions { dims: signature.dims.iter().map(|d| (d.clone(), 64)).collect(), present: vec![] };
    let options =
        LaunchOptions { fns: fns.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect(), ..LaunchOptions::default() };
    let spec = signature.assume(&assumptions, &options).expect("a specialization");
    let (module, diagnostics) = match program.instantiate(&signature.name, &spec) {
        Ok(done) => done,
        Err(diagnostics) => panic!("{}", render_all(&diagnostics, &sources, Color::Never)),
    };
    assert!(!diagnostics.has_errors());
    verify(module).unwrap_or_else(|(_, violations)| panic!("{violations:#?}\n{text}")).into_inner()
}

fn body(text: &str) -> Module {
    module(
        &format!(
            "kernel k(x: tensor<f32, [M, N]>, i: tensor<i32, [N]>, y: mut tensor<f32, [M, N]>, z: mut tensor<i32, [N]>) grid [M] {{\n{text}\n}}\n"
        ),
        &[],
    )
}

fn count(module: &Module, test: impl Fn(&InstData) -> bool) -> usize {
    let func = &module.funcs[module.kernel().expect("one kernel")];
    let mut n = 0;
    func.walk(|_, inst| n += usize::from(test(&func.insts[inst])));
    n
}

#[test]
fn returns_become_structured() {
    let nested = body(
        "let m = program_id(0);\nlet mut s = 0.0;\nif m > 3 {\n    if x[m, 0] > 0.0 { s += 1.0; return; }\n    s += 2.0;\n} else if m == 2 { return; }\ny[m, 0] = s;\nif s > 1.0 { return; }\ny[m, 1] = s;",
    );
    assert!(count(&nested, |i| matches!(i, InstData::If { .. })) >= 4);
    // After a plain early return everything stands in the other branch: no flag.
    let plain = body("let m = program_id(0);\nif m > 3 { return; }\ny[m, 0] = 1.0;");
    assert_eq!(count(&plain, |i| matches!(i, InstData::If { .. })), 1);
    assert_eq!(count(&plain, |i| matches!(i, InstData::Store { .. })), 1);
}

#[test]
fn loops_carry_what_they_assign() {
    let module = body(
        "let m = program_id(0);\nlet (mut a, mut b) = (0.0, 0);\nlet mut t = zeros::<f32>([8]);\nlet mut pair = (0.0, 1u8);\nfor j in (0..N).step_by(8).rev() {\n    t += x[m, j..+8];\n    if j > 3 { a += sum(t); } else { b += 1; }\n    let (p, q) = pair;\n    pair = (p + a, q + 1);\n}\nlet (p, q) = pair;\nwhile a > 0.0 && b < 10 { a -= 1.0; b += q as i32; }\ny[m, 0] = a + p + sum(t);\nz[m] = b;",
    );
    let func = &module.funcs[module.kernel().expect("one kernel")];
    let mut carried = Vec::new();
    func.walk(|_, inst| match &func.insts[inst] {
        InstData::For { init, rev, .. } => carried.push((init.len(), *rev)),
        InstData::While { init, .. } => carried.push((init.len(), false)),
        _ => {}
    });
    assert_eq!(carried, [(5, true), (2, false)]);
}

#[test]
fn short_circuits_only_where_it_matters() {
    // A bounds-checked read may happen early; an atomic may not.
    let harmless = body("let m = program_id(0);\nif m > 1 && x[m, 0] > 0.0 { y[m, 0] = 1.0; }");
    assert_eq!(count(&harmless, |i| matches!(i, InstData::If { .. })), 1);
    let guarded = body("let m = program_id(0);\nif m > 1 && atomic_add(z[0], 1) == 0 { y[m, 0] = 1.0; }");
    assert_eq!(count(&guarded, |i| matches!(i, InstData::If { .. })), 2);
}

#[test]
fn builtins_lower_for_ranks_and_types() {
    body(
        "let m = program_id(0);\nlet t = reshape(x[m, 0..+24], [2, 3, 4]);\nlet (a, b) = (sum(t), max(t, axis = -1));\nlet (p, q) = (argmax(t), argmin(t, axis = 1));\nlet r = reduce(t, |a, b| { let s = a * b; s + 1.0 });\nlet c = cumsum(b, axis = 1, reverse = true);\nlet (u, v) = split(join(b, c));\nlet w = interleave(u, v, axis = 0);\nlet f = flip(cat(w, w, axis = 1), axis = 0);\nlet g = gather(f, f as i32, axis = 1);\nlet (s, pos) = sort((sum(g, axis = 0), arange(0, 6)), descending = true);\nlet (best, at) = topk(s, 3);\ny[m, 0..+3] = best + at as f32 + a + r + p as f32 + sum(q) as f32;\nz[0..+6] = pos as i32 + histogram(at, 6);\nlet any_up = any(t > 0.0) || all(t < 0.0);\nassert(!any_up || a == a, \"never\");\nprint(\"{} {}\", a, best);",
    );
    body(
        "let m = program_id(0);\nlet v = i[0..+16];\nlet w = (v << 40i64) >> (v as u8) ^ -v | !v & 0x7F;\nlet h = umulhi(v as u32, 3u32) % 7 + cdiv(v, 3) as u32;\nlet k = clamp(v, -3, 300) as i8;\nlet f = bitcast::<f32>(w) + k as f32 + h as f32;\ny[m, 0..+16] = fma(f, 2.0, 1.0) + abs(f) + floor(f) + round(f) + fast::sigmoid(f) + fast::div(f, 2.0);\nz[0..+16] = select(v > 0 && f > 0.0, w, 7);",
    );
}

#[test]
fn functions_take_what_calls_give() {
    module(
        "use lib::helpers;\nuse lib::helpers::twice as double;\n\
         fn pair<T: num>(a: T, b: T) -> (T, T) { (b, a) }\n\
         fn with_default(x: f32, scale: f32 = 2.0, bias: f32?) -> f32 { if bias.is_some() { x * scale + bias } else { x * scale } }\n\
         fn apply<const F: fn(f32) -> f32, S: shape>(x: tile<f32, S>) -> _ { F(sum(x)) }\n\
         fn square(x: f32) -> f32 { x * x }\n\
         fn row_sum(v: tensor<f32, [K]>) -> f32 {\n    let mut s = 0.0;\n    for k in 0..K { s += v[k]; }\n    s\n}\n\
         kernel k(x: tensor<f32, [M, N]>, y: mut tensor<f32, [M, N]>) grid [M] {\n    let m = program_id(0);\n    let (a, b) = pair(1, 2.max(3));\n    let v = x[m, 0..+helpers::SIX];\n    let c = with_default(bias = None, x = 1.0) + with_default(1.0, 3.0, 4.0) + v.double().sum(axis = 0);\n    let d = apply::<square>(v) + apply::<F = abs>(helpers::twice(v));\n    y[m, 0] = c + d + (a + b) as f32 + row_sum(trans(x)[:, m]) + row_sum(x[m, 1..5]);\n}\n",
        &[],
    );
}

#[test]
fn function_parameters_come_from_the_launch() {
    let text = "kernel k<const ACT: fn(tile<f32, [8]>) -> tile<f32, [8]> = identity>(y: mut tensor<f32, [N]>) grid [1] { y[0..+8] = ACT(y[0..+8]); }\n";
    let plain = module(text, &[]);
    let gelu = module(text, &[("ACT", "std::activation::gelu")]);
    let abs = module(text, &[("ACT", "abs")]);
    let size = |m: &Module| count(m, |_| true);
    assert!(size(&plain) < size(&abs) && size(&abs) < size(&gelu));
}

#[test]
fn constants_fold_and_prune() {
    let module = body(
        "const_part();\nlet m = program_id(0);\nif TILE % 8 == 0 && TABLE_LEN == 4 { y[m, 0..+TILE / 2] = zeros::<f32>([TILE / 2]); } else { y[m, 0..+TILE] = full([TILE], -inf); }\nlet t = gather(TABLE, i[0..+4]);\ny[m, 0..+4] = t;\n}\nconst TILE: int = 16;\nconst TABLE_LEN: int = 4;\nconst TABLE: tile<f32, [4]> = [0.5, -1.0, inf, 1e-3];\nfn const_part() {\n    static_assert(f8e4m3::MAX as f32 == 448.0 && i8::MIN == -128 && f16::BITS == 16);\n    static_assert(300 as u8 == 44 && (1u8 << 9) == 0 && 7 / 0 == 0 && 7 % 0 == 7 && -7 / 2 == -3);",
    );
    assert_eq!(count(&module, |i| matches!(i, InstData::If { .. })), 0);
    assert_eq!(count(&module, |i| matches!(i, InstData::ConstTile { .. })), 1);
}
