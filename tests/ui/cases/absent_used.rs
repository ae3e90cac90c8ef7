kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, bias: tensor<f32, [N]>?, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        y[0..+64] = x[0..+64] + bias[0..+64];
    }
}

fn main() {}
