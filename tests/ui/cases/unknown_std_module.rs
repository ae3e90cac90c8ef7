kiln::kernels! {
    use std::maths::exp;
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        y[0] = exp(x[0]);
    }
}

fn main() {}
