kiln::kernels! {
    fn f(x: f32 y: f32) -> f32 { x }
    const A: tile<f32, [3]> = [1.0 2.0, 3.0];
    kernel k<T: float const B: int>(x: tensor<T, [N M]>) grid [N] {
        let a = max(x[0, 1] 2.0);
    }
}

fn main() {}
