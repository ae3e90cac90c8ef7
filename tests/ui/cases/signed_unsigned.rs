kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let a = 1u32;
        let b = 2i32;
        y[0] = (a + b) as f32;
    }
}

fn main() {}
