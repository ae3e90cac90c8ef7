kiln::kernels! {
    kernel copy<T: any>(x: tensor<T, [N]>, y: mut tensor<T, [N]>) grid [cdiv(N, 64)] {
        let n = program_id(0) * 64;
        y[n..+64] = x[n..+64];
    }
}

fn main() {
    let x = kiln::Tensor::<f32>::zeros(&[10]).unwrap();
    let mut y = kiln::Tensor::<f64>::zeros(&[10]).unwrap();
    let _ = copy(&x, &mut y);
}
