//! Schedules that change which thread block runs which program, through the runtime: a product and its results, whatever the schedule says.

use kiln::{Device, Error, Kernel, Tensor, f16};

use super::{device, kernel};

fn product() -> Kernel {
    kernel(
        "kernel k(a: tensor<f16, [M, K]>, b: tensor<f16, [K, N]>, bias: tensor<f16, [N]>, c: mut tensor<f16, [M, N]>) grid [cdiv(M, 64), cdiv(N, 64)] {\n    \
         let (m, n) = (program_id(0) * 64, program_id(1) * 64);\n    \
         let mut acc = zeros::<f32>([64, 64]);\n    \
         for k in (0..K).step_by(32) { acc = dot(a[m..+64, k..+32], b[k..+32, n..+64], acc); }\n    \
         c[m..+64, n..+64] = (acc + bias[n..+64]) as f16;\n}\n",
    )
    .schedule("warps", &[4])
    .schedule("stages", &[3])
}

fn made(dims: &[i64], seed: i64) -> Tensor<f16> {
    let at = |i: i64| f16::from_f32(((i * 131 + seed * 977) % 257) as f32 / 128.0 - 1.0);
    Tensor::from_fn(dims, |i| at(i as i64)).expect("a tensor")
}

fn run(kernel: &Kernel, device: &Device, [m, n, k]: [i64; 3]) -> Result<Vec<f32>, Error> {
    let (a, b, bias) = (made(&[m, k], 1), made(&[k, n], 2), made(&[n], 3));
    let mut c = Tensor::<f16>::zeros(&[m, n]).expect("a tensor");
    kernel.on(device).arg(&a).arg(&b).arg(&bias).arg(&mut c).run()?;
    Ok(c.to_vec().expect("values").into_iter().map(f16::to_f32).collect())
}

/// A launch that changes the kernel's schedule.
type Change = fn(Kernel) -> Kernel;

/// Tails, sizes that no tensor map takes, one program and many; with and without warpgroups.
#[test]
fn results_do_not_depend_on_the_order_of_programs() {
    let changes: [(&str, Change); 9] = [
        ("group", |k| k.schedule("group", &[2])),
        ("persistent", |k| k.schedule("persistent", &[1])),
        ("persistent, group", |k| k.schedule("persistent", &[1]).schedule("group", &[4])),
        ("pdl", |k| k.schedule("pdl", &[1]).schedule("persistent", &[1])),
        ("cluster along rows", |k| k.schedule("cluster", &[2, 1])),
        ("ping_pong", |k| k.schedule("persistent", &[1]).schedule("ping_pong", &[1])),
        ("split_k", |k| k.schedule("split_k", &[2])),
        ("split_k, group", |k| k.schedule("split_k", &[3]).schedule("group", &[2])),
        ("persistent, cluster along columns", |k| k.schedule("persistent", &[1]).schedule("cluster", &[1, 2])),
    ];
    let cpu = Device::cpu().expect("the CPU");
    for sizes in [[240, 112, 80], [250, 90, 70], [128, 128, 0]] {
        let expected = run(&product(), &cpu, sizes).expect("the CPU runs it");
        for (name, change) in changes {
            for on in ["emulator:eager", "emulator", "emulator:random=1", "emulator:random=2", "emulator:sm_80,random=3"] {
                if ["cluster", "pdl", "ping_pong", "split_k"].iter().any(|new| name.contains(new)) && on.contains("sm_80") {
                    continue;
                }
                let found = run(&change(product()), &device(on), sizes).unwrap_or_else(|e| panic!("{name} on {on}: {e}"));
                for (a, b) in expected.iter().zip(found) {
                    assert!((a - b).abs() <= 2e-3 * (1.0 + a.abs()), "{name} on {on}, {sizes:?}: {a} {b}");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_had_is_refused() {
    let paired = product().schedule("cluster", &[2, 1]);
    let error = run(&paired, &device("emulator"), [150, 64, 32]).expect_err("three programs are no pairs").to_string();
    assert!(error.contains("along axis 0") && error.contains("an even number"), "{error}");
    let error = run(&paired, &device("emulator:sm_80"), [128, 64, 32]).expect_err("no clusters there").to_string();
    assert!(error.contains("9.0"), "{error}");
    for (field, value) in [("pdl", 1), ("split_k", 2)] {
        let error = run(&product().schedule(field, &[value]), &device("emulator:sm_80"), [64, 64, 32]).expect_err("not there");
        assert!(error.to_string().contains("9.0"), "{field}: {error}");
    }
}
