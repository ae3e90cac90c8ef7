kiln::kernels! {
    kernel k(a: tensor<f16, [M, K]>, b: tensor<f16, [K, N]>, c: mut tensor<f16, [M, N]>) grid [1] {
        let t = a[:, 0..+64];
        c[0, 0] = sum(t) as f16;
    }
}

fn main() {}
