kiln::kernels! {
    const B: int = 96;
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        static_assert(B % 64 == 0, "B is a whole number of blocks");
        y[0] = x[0];
    }
}

fn main() {}
