kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let a = x[0..+64] + 1;
        let b = maximum(a, 0.0);
        y[0..+32] = x[0..+64];
        x[0] = 2.0;
        let c = undefined_name + 1.0;
    }
}

fn main() {}
