kiln::include_kernels!("mistake.kiln");

fn main() {}
