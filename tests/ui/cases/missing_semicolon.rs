kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [N] {
        let a = 1.0
        let b = 2.0;
        y[0] = a
    }
}

fn main() {}
