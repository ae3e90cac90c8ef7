kiln::kernels! {
    fn fact(n: i32) -> i32 { if n < 2 { 1 } else { n * fact(n - 1) } }
}

fn main() {}
