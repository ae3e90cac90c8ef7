kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let unused = x[0];
        let mut fixed = x[1];
        y[0] = fixed;
    }
}

fn main() {}
