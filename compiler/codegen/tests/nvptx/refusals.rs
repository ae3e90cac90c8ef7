//! What the target cannot do is a coded error that names the operation, never wrong code.

use kiln_codegen::CodegenError;
use kiln_codegen::nvptx::GpuTarget;

use crate::epilogue::{PRODUCT, Product};
use crate::support::{kernel, ptx, try_compile};

fn refused(text: &str, target: &str) -> (&'static str, String, String) {
    match try_compile(text, target) {
        Err(CodegenError::Unsupported { code, message, place, .. }) => (code, message, place),
        Err(other) => panic!("not a refusal: {other}"),
        Ok(_) => panic!("compiled: {text}"),
    }
}

/// A transpose of 256 x 256 f32 would need 256 KiB of shared memory.
#[test]
fn shared_memory() {
    let text = "kernel @0 k(v0.x: tensor<f32, 2> {number 0, align 16, dims [?, ?%16], strides [?%16, =1]}, v1.y: mut tensor<f32, 2> {number 1, align 16, dims [?, ?%16], strides [?%16, =1]}) grid 1 index 32 schedule {warps 16} {\n\
                v2: index = const 0\n\
                v3: tile<f32, [256, 256]> = load v0[v2..+256, v2..+256]\n\
                v4: tile<f32, [256, 256]> = flip v3 axis 0\n\
                store v1[v2..+256, v2..+256], v4\n\
                yield\n}\n";
    let (code, message, _) = refused(text, "sm_80");
    assert_eq!(code, "K0903");
    assert_eq!(
        message,
        "the kernel needs 262144 bytes of shared memory, a thread block of sm_80 has at most 166912: 262144 for an exchange of [256, 256] between threads"
    );
}

/// Rings that do not fit with one slot each are named by the tensors that fill them.
#[test]
fn shared_memory_of_rings() {
    let text = Product { tile: [128, 64, 512], warps: 8, ..PRODUCT }.text();
    let (code, message, _) = refused(&text, "sm_86");
    assert_eq!(code, "K0903");
    assert_eq!(
        message,
        "the kernel needs 196608 bytes of shared memory, a thread block of sm_86 has at most 101376: 131072 for one slot of `a` ([128, 512] f16), \
         65536 for one slot of `b` ([512, 64] f16)"
    );
}

/// Sums that no thread has registers for: at once, and with what to do about it.
#[test]
fn registers() {
    let product = Product { tile: [128, 256, 32], warps: 4, ..PRODUCT };
    for (target, schedule, expected) in [
        ("sm_80", "", "each of 128 threads needs at least 260 registers at this product and can have 255: 256 for "),
        ("sm_90a", "", "each of 160 threads needs at least 260 registers at this product and can have 255: 256 for "),
        ("sm_90a", ", max_regs 128", "can have 128: 256 for "),
    ] {
        let (code, message, _) = refused(&Product { schedule, ..product }.text(), target);
        assert_eq!(code, "K0908");
        assert!(message.contains(expected) && message.contains("([128, 256] f32)"), "{target}: {message}");
    }
    for target in ["sm_80", "sm_90a"] {
        let fits = ptx(&Product { warps: 8, ..product }.text(), target).registers.expect("a product");
        assert!((132..=168).contains(&fits.least) && fits.least < fits.most, "{fits:?}");
    }
}

/// More stages than fit: as many as do, and a warning that says so.
#[test]
fn stages() {
    for (target, stages, expected) in [
        ("sm_90a", 8, "8 stages are asked for and 4 fit: one takes 49152 bytes of shared memory, and they can have "),
        ("sm_90a", 4, ""),
        ("sm_80", 8, "8 stages are asked for and 3 fit: one takes 49152 bytes of shared memory, and they can have 166912"),
        ("sm_86", 3, "3 stages are asked for and 2 fit: one takes 49152 bytes of shared memory, and they can have 101376"),
    ] {
        let text = Product { tile: [128, 256, 64], warps: 8, ..PRODUCT }.text().replace("stages 2", &format!("stages {stages}"));
        let artifact = ptx(&text, target);
        let found: Vec<&str> = artifact.remarks.iter().filter(|r| r.code == "K2008").map(|r| &*r.message).collect();
        match expected {
            "" => assert_eq!(found, [""; 0], "{target}"),
            _ => assert!(found.len() == 1 && found[0].starts_with(expected), "{target}: {found:?}"),
        }
    }
    // Nobody asked.
    let text = Product { tile: [128, 256, 64], warps: 8, schedule: "", ..PRODUCT }.text();
    assert_eq!(ptx(&text, "sm_86").remarks, []);
}

#[test]
fn schedules() {
    let (code, message, _) = refused(&kernel("softmax").replace("warps 4", "warps 3"), "sm_80");
    assert_eq!(code, "K0905");
    assert_eq!(message, "warps = 3: the GPU takes 1, 2, 4, 8, 16 or 32 warps");
}

#[test]
fn targets() {
    let name = |text: &str| GpuTarget::from_name(text).map(GpuTarget::name);
    for known in ["sm_80", "sm_86", "sm_89", "sm_90", "sm_90a"] {
        assert_eq!(name(known).as_deref(), Some(known));
    }
    for unknown in ["sm_70", "sm_80a", "sm_900", "sm_", "90", "sm_9x"] {
        assert_eq!(name(unknown), None, "{unknown}");
    }
}
