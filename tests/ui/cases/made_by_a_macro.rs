macro_rules! scaled {
    ($name:ident, $factor:expr) => {
        kiln::kernels! {
            kernel $name(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
                let n = program_id(0) * 64;
                y[n..+64] = x[n..+64] * $factor;
            }
        }
    };
}

scaled!(by_two, 2.0);
scaled!(by_bool, true);

fn main() {}
