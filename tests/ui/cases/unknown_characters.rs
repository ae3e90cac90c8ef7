kiln::kernels! {
    const A: i32 = 1 @ 2;
    const B: i32 = ~1;
    const C: i32 = 2 × 3;
    const D: i32 = 行列 + 中文！;
}

fn main() {}
