kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let v = x[0..+64];
        if v > 0.0 { y[0..+64] = v; }
    }
}

fn main() {}
