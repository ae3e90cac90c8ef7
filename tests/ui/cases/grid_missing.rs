kiln::kernels! {
    kernel k(x: tensor<f32, [N]>) {
        let a = 1;
    }
    kernel l(x: tensor<f32, [N]>) grid N {
        let a = 1;
    }
}

fn main() {}
