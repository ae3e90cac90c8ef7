kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let a = x[0..+64];
        let b = x[0..+32];
        y[0..+64] = a + b;
    }
}

fn main() {}
