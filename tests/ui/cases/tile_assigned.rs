kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let mut t = x[0..+64];
        t[0] = 1.0;
        y[0..+64] = t;
    }
}

fn main() {}
