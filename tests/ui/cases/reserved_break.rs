kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [N] {
        let mut i = 0;
        while i < N {
            if x[i] > 0.0 { break; }
            if x[i] < 0.0 { continue; }
            i += 1;
        }
    }
}

fn main() {}
