kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [N] {
        let m = 0 < 1 < 2;
    }
}

fn main() {}
