//! Compiles where the libraries fit each other.

kiln::kernels! {
    kernel fill(x: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        x[program_id(0) * 64..+64] = 1.0;
    }
}

fn main() {
    let _ = kiln::Device::cpu();
}
