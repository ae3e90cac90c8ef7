kiln::kernels! {
    fn positive<S: shape>(x: tile<f32, S>) -> tile<f32, S> { x > 0.0 }
}

fn main() {}
