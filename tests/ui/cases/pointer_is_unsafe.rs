kiln::kernels! {
    kernel fill(x: mut ptr<f32>) grid [1] {
        store(x + arange(0, 64), 1.0);
    }
}

fn main() {
    let mut x = [0.0f32; 64];
    let _ = fill(x.as_mut_ptr());
}
