kiln::kernels! {
    kernel fill<const B: int = 64>(x: mut tensor<f32, [N]>) grid [cdiv(N, B)] {
        x[program_id(0) * B..+B] = 1.0;
    }
}

fn main() {
    let mut x = kiln::Tensor::<f32>::zeros(&[10]).unwrap();
    let _ = fill(&mut x).block(128);
}
