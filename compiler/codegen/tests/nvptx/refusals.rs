//! What the target cannot do is a coded error that names the operation, never wrong code.

use kiln_codegen::CodegenError;
use kiln_codegen::nvptx::GpuTarget;

use crate::support::{kernel, try_compile};

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
    assert_eq!(message, "the kernel needs 262144 bytes of shared memory, a thread block of sm_80 has at most 166912");
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
