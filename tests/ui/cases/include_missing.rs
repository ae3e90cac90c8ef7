kiln::include_kernels!("nowhere.kiln");

fn main() {}
