kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let a = if x[0] > 0.0 { x[0] } else { false };
        y[0] = a;
    }
}

fn main() {}
