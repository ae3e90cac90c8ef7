kiln::kernels! {
    kernel fill(x: mut tensor<f32, [N]>, value: f32) grid [cdiv(N, 64)] {
        x[program_id(0) * 64..+64] = value;
    }
}

fn main() {
    let mut x = kiln::Tensor::<f32>::zeros(&[10]).unwrap();
    let _ = fill(&mut x);
}
