kiln::kernels! {
    const r#type: i32 = 1;
}

fn main() {}
