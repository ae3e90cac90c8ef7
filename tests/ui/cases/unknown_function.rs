kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        y[0..+64] = maximum(x[0..+64], 0.0);
    }
}

fn main() {}
