kiln::kernels! {
    fn scale(x: f32) -> f32 { x }
    fn scale(x: f32) -> f32 { x * 2.0 }
}

fn main() {}
