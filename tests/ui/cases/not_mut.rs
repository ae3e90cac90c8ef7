kiln::kernels! {
    kernel clear(x: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        x[program_id(0) * 64..+64] = 0.0;
    }
}

fn main() {
    let x = kiln::Tensor::<f32>::zeros(&[10]).unwrap();
    let _ = clear(&x);
}
