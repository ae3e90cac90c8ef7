kiln::include_kernels!("a.kiln", "b.kiln");

fn main() {}
