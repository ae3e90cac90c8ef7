kiln::kernels! {
    const BIG: int = 9223372036854775807 * 9223372036854775807;
}

fn main() {}
