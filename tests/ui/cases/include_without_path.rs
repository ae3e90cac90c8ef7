kiln::include_kernels!(softmax);

fn main() {}
