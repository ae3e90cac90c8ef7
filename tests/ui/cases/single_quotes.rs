kiln::kernels! {
    const A: u8 = 'a';
    fn f<'a>(x: f32) -> f32 { x }
}

fn main() {}
