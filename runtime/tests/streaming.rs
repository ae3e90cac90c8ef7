//! Outputs beyond the caches are written around them: the results are the same, at any alignment, and only where nothing reads them back.

use kiln::{Device, Program, ProgramOptions, Tensor};

const SCALE: &str = "
kernel scale(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 4096)] {
    let i = program_id(0) * 4096;
    y[i..+4096] = x[i..+4096] * 2.0 + 1.0;
}
";

const TWICE: &str = "
kernel twice(y: mut tensor<f32, [N]>) grid [cdiv(N, 4096)] {
    let i = program_id(0) * 4096;
    y[i..+4096] = y[i..+4096] * 2.0;
}
";

#[test]
fn large_outputs_are_right_at_any_alignment() {
    let kernel =
        Program::from_source_with("scale.kiln", SCALE, ProgramOptions::without_cache()).unwrap().kernel("scale").unwrap();
    let device = Device::cpu().unwrap();
    // 32 MiB and some elements.
    let count = (8 << 20) + 77;
    let x = Tensor::from_fn(&[count], |i| (i % 1021) as f32).unwrap();
    for shift in [0, 1, 16] {
        let whole = Tensor::<f32>::zeros(&[count + 32]).unwrap();
        let mut y = whole.slice(0, shift..shift + count).unwrap();
        kernel.on(&device).arg(&x).arg(&mut y).run().unwrap();
        drop(y);
        let whole = whole.read().unwrap();
        let shift = shift as usize;
        for (i, &got) in whole.iter().enumerate() {
            let inside = (shift..shift + count as usize).contains(&i);
            let expected = if inside { ((i - shift) % 1021) as f32 * 2.0 + 1.0 } else { 0.0 };
            assert_eq!(got, expected, "element {i} of an output shifted by {shift}");
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
fn only_what_is_not_read_is_streamed() {
    use kiln::compiler::{CompileOptions, Emit, Session, Target};
    use kiln_ir::signature::{Assumptions, LaunchOptions};

    let llvm = |source: &str, name: &str| {
        let session = Session::from_source("test.kiln", source).unwrap();
        let signature = session.kernel(name).unwrap();
        let spec = signature.assume(&Assumptions::default(), &LaunchOptions::default()).unwrap();
        let options = CompileOptions { emit: Emit { llvm: true, ..Emit::default() }, ..CompileOptions::new(Target::Host) };
        match session.compile(name, &spec, &options).unwrap().artifact {
            kiln::compiler::Artifact::Host(object) => object.llvm.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    let scale = llvm(SCALE, "scale");
    assert!(scale.contains("!nontemporal") && scale.contains("llvm.x86.sse.sfence"), "{scale}");
    let twice = llvm(TWICE, "twice");
    assert!(!twice.contains("!nontemporal") && !twice.contains("sfence"), "{twice}");
}
