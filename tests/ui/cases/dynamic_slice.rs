kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let row = x[0..+N];
        y[0] = sum(row);
    }
}

fn main() {}
