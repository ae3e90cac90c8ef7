kiln::kernels! {
    kernel k(a: tensor<f16, [M, K]>, b: tensor<f16, [K, N]>, c: mut tensor<f16, [M, N]>) grid [1] {
        let p = dot(a[0..+64, 0..+32], a[0..+64, 0..+32]);
        c[0..+64, 0..+64] = p as f16;
    }
}

fn main() {}
