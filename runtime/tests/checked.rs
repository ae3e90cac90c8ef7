//! The checked mode of the CPU, and programs that wait for their whole grid.

use std::num::NonZeroUsize;

use kiln::{Device, Error, Program, ProgramOptions, Tensor};

fn program(text: &str) -> Program {
    Program::from_source_with("k.kiln", text, ProgramOptions::without_cache()).unwrap_or_else(|e| panic!("{e}"))
}

fn checked() -> Device {
    Device::cpu_with_threads(NonZeroUsize::new(2).unwrap()).checked().unwrap()
}

/// Runs the kernel `k(x: [10] f32, y: [10] f32, n)` in the checked mode; x counts, y is zero.
fn run(body: &str, grid: i64, n: i32) -> Result<Vec<f32>, Error> {
    let head = "kernel k(x: tensor<f32, [N]>, y: mut tensor<f32, [N]>, n: i32)";
    let kernel = program(&format!("{head} grid [{grid}] {{\n{body}\n}}")).kernel("k")?;
    let x = Tensor::<f32>::from_fn(&[10], |i| i as f32)?;
    let mut y = Tensor::<f32>::zeros(&[10])?;
    let device = checked();
    kernel.on(&device).arg(&x).arg(&mut y).arg(n).run()?;
    Ok(y.to_vec()?)
}

fn message(result: Result<Vec<f32>, Error>) -> String {
    match result {
        Err(error @ (Error::Checked { .. } | Error::Assertion { .. })) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pointers_out_of_bounds_are_reported_with_line_program_and_lane() {
    let read = "let p = program_id(0) * 4;\ny[p..+4] = load(x.ptr() + p + arange(0, 4), mask = arange(0, 4) < n);";
    assert_eq!(run(read, 2, 3).unwrap(), [0.0, 1.0, 2.0, 0.0, 4.0, 5.0, 6.0, 0.0, 0.0, 0.0]);
    // Program 2 reads elements 8, 9 and 10.
    let error = message(run(read, 3, 3));
    assert!(error.contains("K1020") && error.contains("kernel `k`, program (2)"), "{error}");
    assert!(error.contains("lane [2] reads 4 bytes outside of every tensor: right behind the end of `x`"), "{error}");
    assert!(error.contains("--> k.kiln:3:"), "{error}");
    let write = "store(y.ptr() + n, x[0]);";
    assert_eq!(run(write, 1, 9).unwrap(), [0.0; 10]);
    let error = message(run(write, 1, -2));
    assert!(error.contains("writes 4 bytes outside of every tensor: 8 bytes before the beginning of `y`"), "{error}");
}

#[test]
fn views_made_from_pointers_are_checked() {
    let body = "let v = view(x.ptr(), [3, 4], strides = [n, 1]);\ny[0] = sum(v[0..+4, 0..+4]);";
    // Lanes out of the view's bounds touch nothing, whatever is there.
    assert_eq!(run(body, 1, 3).unwrap()[0], (0..3).map(|i| (0..4).map(|j| (3 * i + j) as f32).sum::<f32>()).sum::<f32>());
    assert!(message(run(body, 1, 4)).contains("lane [2, 2] reads 4 bytes outside"));
}

#[test]
fn indexes_out_of_bounds_are_no_mistake() {
    let y = run("let p = program_id(0) * 8;\ny[p..+8] = x[p..+8] + x[n] + x[arange(0, 8) - 4].or(1.0);", 2, 1000).unwrap();
    assert_eq!(y[..8], [1.0, 2.0, 3.0, 4.0, 4.0, 6.0, 8.0, 10.0]);
}

#[test]
fn races_between_programs_are_reported() {
    let write = "y[program_id(0) / n] = x[3];";
    assert_eq!(run(write, 4, 1).unwrap()[..5], [3.0, 3.0, 3.0, 3.0, 0.0]);
    let error = message(run(write, 4, 2));
    assert!(error.contains("program (1): writes `y[0]`, which program number 0 wrote"), "{error}");
    let read = "let i = program_id(0);\ny[i] = y[i + n] + 1.0;";
    assert_eq!(run(read, 4, 0).unwrap()[..5], [1.0, 1.0, 1.0, 1.0, 0.0]);
    let error = message(run(read, 4, 1));
    assert!(error.contains("program (1): writes `y[1]`, which program number 0 read"), "{error}");
    assert_eq!(run("atomic_add(y[n], 1.0);", 4, 7).unwrap()[7], 4.0);
}

#[test]
fn divisions_and_assumptions_are_checked() {
    let body = "let half = 10 / n;\ny[0] = half as f32;\nif n > 2 { assume(n % 4 == 0); y[1] = 1.0; }";
    assert_eq!(run(body, 1, 2).unwrap()[..2], [5.0, 0.0]);
    assert_eq!(run(body, 1, 4).unwrap()[..2], [2.0, 1.0]);
    let error = message(run(body, 1, 0));
    assert!(error.contains("integer division by zero") && error.contains("k.kiln:2:"), "{error}");
    let error = message(run(body, 1, 3));
    assert!(error.contains("what is assumed does not hold") && error.contains("k.kiln:4:"), "{error}");
    let aligned = "let p = x.ptr() + n;\nassume(aligned(p, 16));\ny[0] = load(p);";
    let mut failed = 0;
    for n in 0..4 {
        // Memory is aligned to its elements only: one of four neighbours is a multiple of 16.
        match run(aligned, 1, n) {
            Ok(y) => assert_eq!(y[0], n as f32),
            error => {
                failed += 1;
                assert!(message(error).contains(&format!("is not a multiple of 16 bytes, in `x[{n}]`")));
            }
        }
    }
    assert_eq!(failed, 3);
}

#[test]
fn a_good_kernel_gives_the_same_in_both_modes() {
    let text = "kernel k<const B: int = 16>(a: tensor<f32, [M, K]>, b: tensor<f32, [K, N]>, c: mut tensor<f32, [M, N]>)
    grid [cdiv(M, B), cdiv(N, B)]
{
    let (m, n) = (program_id(0) * B, program_id(1) * B);
    let bt = trans(b);
    let mut acc = zeros::<f32>([B, B]);
    for k in (0..K).step_by(B) { acc = dot(a[m..+B, k..+B], trans(bt[n..+B, k..+B]), acc); }
    c[m..+B, n..+B] = acc;
}";
    let kernel = program(text).kernel("k").unwrap();
    let a = Tensor::<f32>::from_fn(&[37, 50], |i| (i % 7) as f32).unwrap();
    let b = Tensor::<f32>::from_fn(&[29, 50], |i| (i % 5) as f32).unwrap().transpose().unwrap();
    let mut results = vec![];
    for device in [Device::cpu().unwrap(), checked()] {
        let mut c = Tensor::<f32>::zeros(&[37, 29]).unwrap();
        kernel.on(&device).arg(&a).arg(&b).arg(&mut c).run().unwrap();
        results.push(c.to_vec().unwrap());
    }
    assert_eq!(results[0], results[1]);
    assert!(results[0].iter().any(|v| *v != 0.0));
}

/// Each program writes its part, waits, and reads a neighbour's.
const SYNC: &str = "#[schedule(cooperative)]
kernel rounds(y: mut tensor<i32, [G]>, z: mut tensor<i32, [G]>, rounds: i32) grid [G] {
    let p = program_id(0);
    for _ in 0..rounds {
        y[p] = z[(p + 1) % G] + 1;
        grid_sync();
        z[p] = y[(p + 1) % G] + 1;
        grid_sync();
    }
}
#[schedule(cooperative)]
kernel failing(y: mut tensor<i32, [G]>) grid [G] {
    assert(program_id(0) != 2, \"two\");
    grid_sync();
    y[program_id(0)] = 1;
}";

#[test]
fn programs_wait_for_the_whole_grid() {
    let rounds = program(SYNC).kernel("rounds").unwrap();
    for device in [Device::cpu_with_threads(NonZeroUsize::MIN), Device::cpu().unwrap(), checked()] {
        for programs in [1i64, 2, 7, 64] {
            let mut y = Tensor::<i32>::zeros(&[programs]).unwrap();
            let mut z = Tensor::<i32>::zeros(&[programs]).unwrap();
            rounds.on(&device).arg(&mut y).arg(&mut z).arg(10).run().unwrap();
            assert_eq!(y.to_vec().unwrap(), vec![19; programs as usize]);
            assert_eq!(z.to_vec().unwrap(), vec![20; programs as usize]);
        }
        let mut y = Tensor::<i32>::zeros(&[1025]).unwrap();
        let mut z = Tensor::<i32>::zeros(&[1025]).unwrap();
        let error = rounds.on(&device).arg(&mut y).arg(&mut z).arg(1).run().unwrap_err();
        assert!(matches!(error, Error::TooManyToWait { programs: 1025, .. }), "{error}");
    }
}

#[test]
fn a_failed_program_is_not_waited_for() {
    let failing = program(SYNC).kernel("failing").unwrap();
    let mut y = Tensor::<i32>::zeros(&[5]).unwrap();
    let device = Device::cpu().unwrap();
    let error = failing.on(&device).arg(&mut y).run().unwrap_err();
    assert!(matches!(&error, Error::Assertion { program, .. } if program == "2"), "{error}");
    assert_eq!(y.to_vec().unwrap(), [1, 1, 0, 1, 1]);
}
