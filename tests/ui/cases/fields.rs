kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [N] {
        let t = (1, 2);
        let a = t.0;
        let b = x.shape;
        let c = x.T + 1.0;
    }
}

fn main() {}
