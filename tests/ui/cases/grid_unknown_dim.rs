kiln::kernels! {
    kernel k(x: tensor<f32, [N]>) grid [cdiv(M, 64)] {}
}

fn main() {}
