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

/// A kernel of one instruction in line 2 of its source.
fn one(elem: &str, line: &str) -> String {
    format!(
        "file 0 \"k.kiln\" [0, 10, 50]\n\
         kernel @0 k(v0.x: mut tensor<{elem}, 2> {{number 0, align 16, dims [?, ?], strides [?, =1]}}) grid 1 index 32 {{\n\
         v1: index = const 0\n\
         v2: tile<{elem}, [32, 32]> = load v0[v1..+32, v1..+32]\n\
         {line} loc 0:14..20\n\
         yield\n}}\n"
    )
}

#[test]
fn operations() {
    for (elem, line, name) in
        [("f32", "v3: tile<f32, [32, 32]> = rem v2, v2", "`%` on f32"), ("f32", "print \"{}\" [v2]", "`print`")]
    {
        let (code, message, place) = refused(&one(elem, line), "sm_90a");
        assert_eq!(code, "K0901", "{message}");
        assert!(message.contains(name), "{message}");
        assert_eq!(place, "k.kiln:2:5");
    }
}

#[test]
fn grid_sync() {
    let text = one("f32", "grid_sync").replace("grid 1 index 32", "grid 1 index 32 schedule {cooperative}");
    assert_eq!(refused(&text, "sm_90a").0, "K0901");
}

#[test]
fn element_types() {
    for (elem, line, name) in [
        ("f8e4m3", "v3: tile<f32, [32, 32]> = cast v2", "f8e4m3"),
        ("f8e5m2", "v3: tile<f32, [32, 32]> = dot v2, v2", "f8e5m2"),
        ("f8e5m2", "v3: tile<f8e5m2, [32, 32]> = add v2, v2", "f8e5m2"),
        ("i8", "v3: tile<i8, [32, 32]> = atomic add v0[v1..+32, v1..+32], v2 relaxed device", "i8"),
    ] {
        let (code, message, _) = refused(&one(elem, line), "sm_80");
        assert_eq!(code, "K0902", "{message}");
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn architectures() {
    let text = one("bf16", "v3: tile<bf16, [32, 32]> = atomic add v0[v1..+32, v1..+32], v2 relaxed device");
    let (code, message, _) = refused(&text, "sm_80");
    assert_eq!(code, "K0904");
    assert_eq!(message, "atomic_add on bf16 needs sm_90, the target is sm_80");
    assert!(try_compile(&text, "sm_90a").is_ok());
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
