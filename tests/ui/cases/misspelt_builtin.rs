kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let n = progam_id(0) * 64;
        y[n..+64] = x[n..+64];
    }
}

fn main() {}
