kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [cdiv(N, 64)] {
        let acc = 0.0;
        for i in 0..N { acc += x[i]; }
        y[0] = acc;
    }
}

fn main() {}
