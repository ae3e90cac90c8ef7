//! Kernels in Rust: what `kernels!` and `include_kernels!` generate runs, and says what is wrong.

use kiln::{Device, Tensor};

kiln::kernels! {
    use kernels::shared::twice;

    /// y = a * x + y
    kernel axpy<T: float, const B: int = 256>(a: T, x: tensor<T, [N]>, y: mut tensor<T, [N]>) grid [cdiv(N, B)] {
        let n = program_id(0) * B; // a comment of the kernel
        y[n..+B] = a * x[n..+B] + y[n..+B];
    }

    /// y = act(x * factor + bias), where there is a bias.
    kernel affine<const B: int = 64, const ACT: fn(tile<f32, [B]>) -> tile<f32, [B]> = identity>(
        /// What is mapped.
        x: tensor<f32, [N]>,
        bias: tensor<f32, [N]>?,
        y: mut tensor<f32, [N]>,
        factor: f32 = 1.0,
    ) grid [cdiv(N, B)] {
        let n = program_id(0) * B;
        let mut v = x[n..+B] * factor;
        if bias.is_some() { v += bias[n..+B]; }
        y[n..+B] = ACT(v);
    }

    kernel sums<T: num, const WIDE: bool, const B: int>(x: tensor<T, [N]>, out: mut tensor<T::Acc, [1]>) grid [1] {
        let mut acc = zeros::<T::Acc>([B]);
        for n in (0..N).step_by(B) {
            acc += x[n..+B] as T::Acc;
        }
        out[0] = sum(acc) as T::Acc;
    }

    kernel doubled<T: float>(p: ptr<T>, q: mut ptr<T>, count: i64) grid [cdiv(count, 64)] {
        let i = program_id(0) * 64 + arange(0, 64);
        store(q + i, twice(load(p + i, mask = i < count) as f32) as T, mask = i < count);
    }

    kernel checked(x: tensor<i32, [N]>, y: mut tensor<i32, [N]>) grid [N] requires N % 2 == 0 {
        let i = program_id(0);
        assert(x[i] >= 0, "negative");
        y[i] = x[i] + 1;
    }
}

kiln::include_kernels!("kernels/scaled.kiln");

/// Cargo reads there what this program was built from, and builds it anew when one of the files is newer.
#[test]
fn a_kernel_file_and_what_it_uses_are_what_the_program_is_built_from() {
    let told = std::env::current_exe().unwrap().with_extension("d");
    let told = std::fs::read_to_string(&told).unwrap();
    let rule = told.lines().next().unwrap();
    for file in ["kernels/scaled.kiln", "kernels/shared.kiln"] {
        assert!(rule.contains(file), "{file} is not in {rule}");
    }
}

fn cpu() -> Device {
    Device::cpu().unwrap()
}

fn ramp(n: i64) -> Tensor<f32> {
    Tensor::from_fn(&[n], |i| i as f32 - 3.0).unwrap()
}

#[test]
fn an_inline_kernel_runs() {
    let x = ramp(1000);
    let mut y = Tensor::<f32>::from_fn(&[1000], |_| 1.0).unwrap();
    let launched = axpy(2.0, &x, &mut y).launch(&cpu()).unwrap();
    assert_eq!(launched.grid()[0], 4);
    assert!(y.read().unwrap().iter().enumerate().all(|(i, v)| *v == 2.0 * (i as f32 - 3.0) + 1.0));
    // A constant by its method; a type that is not the first; the same kernel again.
    let h = Tensor::<kiln::f16>::from_fn(&[100], |i| kiln::f16::from_f32(i as f32)).unwrap();
    let mut g = Tensor::<kiln::f16>::zeros(&[100]).unwrap();
    for round in 1..3 {
        let launched = axpy(kiln::f16::from_f32(0.5), &h, &mut g).b(32).warps(2).launch(&cpu()).unwrap();
        assert_eq!((launched.grid()[0], launched.consts()), (4, [32].as_slice()));
        assert_eq!(g.read().unwrap()[10].to_f32(), 5.0 * round as f32);
    }
}

#[test]
fn what_may_be_left_out_is_a_method() {
    let x = ramp(100);
    let bias = Tensor::<f32>::from_fn(&[100], |_| 10.0).unwrap();
    let mut y = Tensor::<f32>::zeros(&[100]).unwrap();
    affine(&x, &mut y).launch(&cpu()).unwrap();
    assert_eq!(y.read().unwrap()[0], -3.0);
    affine(&x, &mut y).bias(&bias).factor(2.0).launch(&cpu()).unwrap();
    assert_eq!(y.read().unwrap()[0], 4.0);
    affine(&x, &mut y).act("std::activation::relu").b(16).launch(&cpu()).unwrap();
    assert_eq!(y.read().unwrap()[..5], [0.0, 0.0, 0.0, 0.0, 1.0]);
    let error = affine(&x, &mut y).act("nothing_such").launch(&cpu()).unwrap_err();
    assert!(error.to_string().contains("nothing_such"), "{error}");
}

#[test]
fn constants_without_default_are_arguments() {
    let x = Tensor::<i8>::from_fn(&[1000], |_| 100).unwrap();
    let mut out = Tensor::<i32>::zeros(&[1]).unwrap();
    sums(&x, &mut out, true, 128).launch(&cpu()).unwrap();
    assert_eq!(out.read().unwrap()[0], 100_000);
}

#[test]
fn names_that_differ_in_case_are_two_arguments() {
    kiln::kernels! {
        kernel scaled<const N: int>(x: mut tensor<f32, [X]>, n: f32) grid [X] { x[program_id(0)] = n * N as f32; }
    }
    let mut x = ramp(3);
    scaled(&mut x, 2.0, 21).launch(&cpu()).unwrap();
    assert_eq!(x.to_vec().unwrap(), [42.0; 3]);
}

#[test]
fn raw_pointers() {
    let (p, mut q) = (vec![1.5f64; 100], vec![0f64; 100]);
    // SAFETY: both have 100 elements and live through the launch.
    unsafe { doubled(p.as_ptr(), q.as_mut_ptr(), 99) }.launch(&cpu()).unwrap();
    assert_eq!((q[98], q[99]), (3.0, 0.0));
}

#[test]
fn kernels_of_a_file() {
    let x = ramp(50);
    let mut y = Tensor::<f32>::zeros(&[50]).unwrap();
    double(&x, &mut y).shift(1.0).launch(&cpu()).unwrap();
    assert_eq!(y.read().unwrap()[0], -5.0);
}

#[test]
fn in_the_body_of_a_function() {
    kiln::kernels! {
        kernel first(x: mut tensor<f32, [N]>) grid [N] { x[program_id(0)] = 1.0; }
        kernel second(x: mut tensor<f32, [N]>) grid [N] { x[program_id(0)] = 2.0; }
    }
    let mut x = Tensor::<f32>::zeros(&[3]).unwrap();
    second(&mut x).launch(&cpu()).unwrap();
    assert_eq!(x.read().unwrap()[..], [2.0; 3]);
    first(&mut x).launch(&cpu()).unwrap();
    assert_eq!(x.read().unwrap()[..], [1.0; 3]);
}

/// Tokens from another macro have no text of their own.
#[test]
fn made_by_another_macro() {
    macro_rules! scale_by {
        ($name:ident, $factor:literal) => {
            kiln::kernels! {
                kernel $name(x: mut tensor<f32, [N]>) grid [cdiv(N, 16)] {
                    let n = program_id(0) * 16;
                    x[n..+16] = x[n..+16] * $factor;
                    if N >= 2 && N != 7 { x[0] += 1.0; }
                }
            }
        };
    }
    scale_by!(by_three, 3.0);
    let mut x = ramp(10);
    by_three(&mut x).launch(&cpu()).unwrap();
    assert_eq!(x.read().unwrap()[..2], [-8.0, -6.0]);
}

#[test]
fn errors_name_the_line_of_this_file() {
    let text = include_str!("macros.rs");
    let line = |part: &str| text.lines().position(|l| l.contains(part)).unwrap() + 1;
    let x = Tensor::<i32>::from_fn(&[4], |i| 1 - i as i32).unwrap();
    let mut y = Tensor::<i32>::zeros(&[4]).unwrap();
    let error = checked(&x, &mut y).launch(&cpu()).unwrap_err().to_string();
    let place = format!("macros.rs:{}:9", line("assert(x[i] >= 0"));
    assert!(error.contains("negative") && error.contains(&place), "{error}\nexpected {place}");
    let odd = Tensor::<i32>::zeros(&[3]).unwrap();
    let mut y = Tensor::<i32>::zeros(&[3]).unwrap();
    let error = checked(&odd, &mut y).launch(&cpu()).unwrap_err().to_string();
    let place = format!("macros.rs:{}:", line("kernel checked("));
    assert!(
        error.contains("K1008") && error.contains("requires N % 2 == 0") && error.contains(&place),
        "{error}\nexpected {place}"
    );
}

#[test]
fn builders_can_be_sent_and_shared() {
    fn is_send_and_sync<T: Send + Sync>(_: &T) {}
    let x = ramp(10);
    let mut y = ramp(10);
    let launch = axpy(1.0, &x, &mut y);
    is_send_and_sync(&launch);
    std::thread::scope(|scope| scope.spawn(|| launch.launch(&cpu()).map(|_| ())).join()).unwrap().unwrap();
    assert_eq!(y.read().unwrap()[3], 0.0);
}
