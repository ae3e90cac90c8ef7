#![deny(unused_must_use)]

kiln::kernels! {
    kernel fill(x: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        x[program_id(0) * 64..+64] = 1.0;
    }
}

fn main() {
    let mut x = kiln::Tensor::<f32>::zeros(&[10]).unwrap();
    fill(&mut x).warps(4);
}
