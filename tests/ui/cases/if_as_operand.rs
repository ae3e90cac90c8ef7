kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [N] {
        let a = 1.0 + if N > 3 { 1.0 } else { 2.0 };
        let b = -if N > 3 { 1.0 } else { 2.0 };
    }
}

fn main() {}
