kiln::kernels! {
    fn half<T: float>(x: T) -> T { x / 2.0 as T }
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        y[0] = half(program_id(0)) as f32;
    }
}

fn main() {}
