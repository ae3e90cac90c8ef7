kiln::kernels! {
    #[autotune(warps = [4])]
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        y[0] = x[0];
    }
}

fn main() {}
