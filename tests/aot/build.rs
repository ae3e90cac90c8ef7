//! Compiles the kernels.

fn main() {
    kiln_build::Bundle::new("kernels/softmax.kiln")
        .target("host")
        .target("sm_80")
        .specialize("softmax", |s| s.type_param("T", "f32").dim("N", 1000))
        .specialize("softmax", |s| s.type_param("T", "f16").dim("N", 1000))
        .specialize("affine", |s| s)
        .specialize("affine", |s| s.with("bias"))
        .c_api()
        .build();
}
