kiln::kernels! {
    kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>) grid [N] {
        let a = x[0] ** 2.0;
        let b = N > 3 ? 1 : 2;
        let c = &x;
        let d = *x;
        let e = N > 3 and N < 5;
        let f = not N;
        let g = +1;
        h := 3;
    }
}

fn main() {}
