kiln::kernels! {
    #[tune(BLOCK = [64, 128])]
    kernel k<const B: int = 64>(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        y[0..+B] = x[0..+B];
    }
}

fn main() {}
