//! Tiles wider than registers: their PTX is short, and ptxas has registers for it.

use kiln_compiler::{Artifact, CompileOptions, GpuTarget, Session, Target};
use kiln_ir::signature::{Assumptions, LaunchOptions};
use kiln_tests::wide::{WIDE, Wide};

use super::{assemble_text, ptxas};

/// Lines of PTX of a row of any width: a loop's body is that of one slice.
const LINES: usize = 6000;

fn ptx(wide: &Wide, target: &str) -> String {
    let session = Session::from_source("k.kiln", &wide.source()).unwrap_or_else(|e| panic!("{}: {e}", wide.name));
    let sig = *session.kernels().first().expect("a kernel");
    let dims = vec![("M".into(), wide.rows as i64), ("N".into(), wide.width as i64)];
    let options = LaunchOptions { num_sms: 132, ..LaunchOptions::default() };
    let spec = sig.assume(&Assumptions { dims, present: vec![] }, &options).unwrap_or_else(|e| panic!("{}: {e:?}", wide.name));
    let target = GpuTarget::from_name(target).expect("a target");
    match session.compile("k", &spec, &CompileOptions::new(Target::Gpu(target))) {
        Ok(compiled) => match compiled.artifact {
            Artifact::Ptx(artifact) => artifact.ptx,
            _ => panic!("{}: no PTX", wide.name),
        },
        Err(e) => panic!("{}: {e}", wide.name),
    }
}

#[test]
fn wide_tiles_take_neither_many_lines_nor_spills() {
    let ptxas = ptxas();
    for (i, wide) in WIDE.iter().enumerate() {
        let target = ["sm_90a", "sm_80"][i % 2];
        let text = ptx(wide, target);
        assert!(text.lines().count() < LINES, "{}: {} lines", wide.name, text.lines().count());
        if let Some(ptxas) = &ptxas {
            assemble_text(ptxas, wide.name, target, &text, true).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}
