//! Runs the passes named at the head of each `tests/filetests/*/*.ir` and compares the result with its snapshot.
//!
//! The head is comments: `; passes: a, b` (required), `; fits_32_bit`, `; gpu` (sm_90a) or `; gpu: sm_80`, and any number of `; run: grid 4; x 8x16; n 5` (a value for each
//! parameter: extents of a tensor, or a number), each of which runs the program before and after in the reference evaluator and compares all
//! memory. The verifier runs after every pass, and running the passes again must change nothing (but for those that give layouts).

use kiln_ir::artifact::GpuTarget;
use kiln_ir::layout::dump;
use kiln_ir::text::parse_module;
use kiln_ir::{Elem, Module, TypeData};
use kiln_passes::manager::run_passes;
use kiln_passes::{PassContext, PassOptions, Target, pipeline};
use kiln_tests::oracle::{Arg, Lane, Launch, Memory};

const SM_90A: GpuTarget = GpuTarget { sm: 90, arch_specific: true };

/// The lines `; name: rest` (or `; name`) of a file's head.
fn directives<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("; ")?.strip_prefix(name));
    lines.map(|rest| rest.trim_start_matches(':').trim()).collect()
}

fn run(module: Module, passes: &[kiln_passes::Pass], context: &PassContext) -> Module {
    let options = PassOptions { verify_each: true, fits_32_bit: context.fits_32_bit, ..PassOptions::default() };
    run_passes(module, passes, context, &options).0.unwrap_or_else(|e| panic!("{e}")).into_inner()
}

/// Memory after a run with the arguments of a `run` directive, and what it logged.
fn evaluate(module: &Module, directive: &str) -> (Memory, String) {
    let mut grid = vec![1];
    let mut given = Vec::new();
    for part in directive.split(';') {
        let (name, value) = part.trim().split_once(' ').unwrap_or_else(|| panic!("`{part}` in `{directive}`"));
        match name {
            "grid" => grid = value.split('x').map(|n| n.parse().unwrap()).collect(),
            _ => given.push((name, value)),
        }
    }
    let func = &module.funcs[module.kernel().unwrap()];
    let mut memory = Memory::default();
    let args = func.params.iter().zip(func.param_values()).map(|(info, &param)| {
        let value = given.iter().find(|(name, _)| *name == &*info.name).unwrap_or_else(|| panic!("no value for {}", info.name)).1;
        let seed = f64::from(info.number);
        match (func.ty(param).data(), func.ty(param).elem()) {
            (TypeData::View { .. }, Elem::Scalar(elem)) => {
                let dims: Vec<i64> = value.split('x').map(|n| n.parse().unwrap()).collect();
                // Small whole numbers, so that sums are exact in any order.
                let values: Vec<f64> = (0..101).map(|i| f64::from((i * 37 + 11) % 19) - 6.0 + seed).collect();
                memory.tensor(elem, &dims, &values)
            }
            (TypeData::Tile { .. }, Elem::Scalar(elem)) if elem.is_float() => Arg::Scalar(Lane::Float(value.parse().unwrap())),
            (TypeData::Tile { .. }, Elem::Scalar(_)) => Arg::Scalar(Lane::Int(value.parse().unwrap())),
            (_, Elem::Ptr { pointee, .. }) => match memory.tensor(pointee, &[value.parse().unwrap()], &[1.0, 4.0, -2.0, 7.0]) {
                Arg::Tensor { buffer, .. } => Arg::Scalar(Lane::Ptr { buffer, offset: 0 }),
                scalar => scalar,
            },
        }
    });
    let args = args.collect();
    let log =
        Launch { grid, args, num_sms: 4 }.run(module, &mut memory).unwrap_or_else(|e| panic!("{directive}: {e:?}\n{module}"));
    (memory, format!("{log:?}"))
}

#[test]
fn filetests() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../tests/filetests/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| {
        insta::glob!("../../../tests/filetests", "*/*.ir", |path| {
            let text = std::fs::read_to_string(path).unwrap();
            let module = parse_module(&text).unwrap_or_else(|e| panic!("{}:{e}", path.display()));
            let fits_32_bit = !directives(&text, "fits_32_bit").is_empty();
            let target = match directives(&text, "gpu").first() {
                None => Target::Host,
                Some(&"") => Target::Gpu(SM_90A),
                Some(name) => Target::Gpu(GpuTarget::from_name(name).unwrap_or_else(|| panic!("no target `{name}`"))),
            };
            let context = PassContext::new(target, fits_32_bit);
            let names = directives(&text, "passes");
            let passes: Vec<_> = match names[0] {
                "all" => pipeline::passes(target),
                list => list.split(", ").map(|n| pipeline::find(n).unwrap_or_else(|| panic!("no pass `{n}`"))).collect(),
            };
            let after = run(module.clone(), &passes, &context);
            for directive in directives(&text, "run") {
                let (before, now) = (evaluate(&module, directive), evaluate(&after, directive));
                let differences = before.0.differences(&now.0);
                assert!(differences.is_empty() && before.1 == now.1, "{}: {directive}: {differences:?}\n{after}", path.display());
            }
            if passes.iter().any(|pass| pipeline::LAYOUTS.iter().any(|layouts| layouts.name == pass.name)) {
                // Tiles get layouts once, and are shown with them.
                insta::assert_snapshot!(dump(&after));
                return;
            }
            let again = run(after.clone(), &passes, &context);
            assert_eq!(again.to_string(), after.to_string(), "{}: not idempotent", path.display());
            insta::assert_snapshot!(after.to_string());
        });
    });
}
