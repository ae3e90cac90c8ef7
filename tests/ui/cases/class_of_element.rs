kiln::kernels! {
    kernel scale<T: float, const B: int = 64>(x: mut tensor<T, [N]>) grid [cdiv(N, B)] {
        let n = program_id(0) * B;
        x[n..+B] = x[n..+B] + x[n..+B];
    }
}

fn main() {
    let mut x = kiln::Tensor::<i32>::zeros(&[10]).unwrap();
    let _ = scale(&mut x);
}
