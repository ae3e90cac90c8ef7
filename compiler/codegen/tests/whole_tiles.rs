//! Kernels in IR text that multiply, sort, count and join whole tiles, compiled for this processor and checked against plain Rust.

use std::ffi::c_void;

use kiln_codegen::host::{HostOptions, compile, load};
use kiln_ir::abi::HostContext;
use kiln_ir::text::parse_module;

/// A tensor argument: base, extents, strides in elements.
struct Arg(Vec<u64>);

fn tensor<T>(data: &mut [T], dims: &[u64], strides: &[u64]) -> Arg {
    Arg([&[data.as_mut_ptr() as u64], dims, strides].concat())
}

fn matrix<T>(data: &mut [T], rows: u64, cols: u64) -> Arg {
    assert_eq!(data.len() as u64, rows * cols);
    tensor(data, &[rows, cols], &[cols, 1])
}

extern "C" fn no_assert(_: *mut c_void, _: u32, _: i64) {}
extern "C" fn no_print(_: *mut c_void, _: u32, _: i64, _: *const *const c_void) {}

/// Compiles the kernel in `text` and runs it over a grid.
fn run(text: &str, grid: [i64; 2], args: &[Arg]) {
    let module = parse_module(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let module = kiln_ir::verify::verify(module).unwrap_or_else(|(_, violations)| panic!("{violations:?}"));
    let object = compile(&module, &HostOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let kernel = load(&object).unwrap_or_else(|e| panic!("{e}"));
    let slots: Vec<u64> = args.iter().flat_map(|a| a.0.clone()).collect();
    let context = HostContext {
        grid: [grid[0], grid[1], 1, 1, 1],
        num_sms: 1,
        user: std::ptr::null_mut(),
        on_assert: no_assert,
        on_print: no_print,
        ..HostContext::default()
    };
    // SAFETY: the tests pass what their kernels declare.
    unsafe { kernel.call(slots.as_ptr(), &context, 0, grid[0] * grid[1]) };
}

/// Small integers as floats: products and sums of them are exact.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 40) % 17) as f32 - 8.0
    };
    std::iter::repeat_with(next).take(count).collect()
}

fn product(a: impl Fn(usize, usize) -> f32, b: impl Fn(usize, usize) -> f32, [m, n, k]: [usize; 3]) -> Vec<f32> {
    (0..m * n).map(|at| (0..k).map(|x| a(at / n, x) * b(x, at % n)).sum()).collect()
}

const ROW_MAJOR: &str = "dims [?, ?], strides [?, =1]";

/// The loop of a tiled matmul with tile extents that divide nothing.
fn matmul(a_facts: &str, b_facts: &str) -> String {
    format!(
        "kernel @0 matmul(v0.a: tensor<f32, 2> {{number 0, align 4, {a_facts}}}, v1.b: tensor<f32, 2> {{number 1, align 4, {b_facts}}}, \
         v2.c: mut tensor<f32, 2> {{number 2, align 4, {ROW_MAJOR}}}) grid 2 index 64 {{
    v3: index = program_id 0
    v4: index = program_id 1
    v5: index = const 24
    v6: index = const 40
    v7: index = const 20
    v8: index = const 0
    v9: index = mul v3, v5
    v10: index = mul v4, v6
    v11: index = view_dim v0 axis 1
    v12: tile<f32, [24, 40]> = const 0.0
    v13: tile<f32, [24, 40]> = for v8..v11 step v7 init [v12] (v14: index, v15: tile<f32, [24, 40]>) {{
        v16: tile<f32, [24, 20]> = load v0[v9..+24, v14..+20]
        v17: tile<f32, [20, 40]> = load v1[v14..+20, v10..+40]
        v18: tile<f32, [24, 40]> = dot v16, v17 acc v15
        yield v18
    }}
    store v2[v9..+24, v10..+40], v13
    yield
}}
"
    )
}

#[test]
fn tiled_matmul_with_tails_and_transposed_operands() {
    let [m, n, k] = [61usize, 87, 53];
    let (mut a, mut b) = (numbers(m * k, 1), numbers(k * n, 2));
    let column_major = "dims [?, ?], strides [=1, ?]";
    let unknown = "dims [?, ?], strides [?, ?]";
    for (a_facts, b_facts) in
        [(ROW_MAJOR, ROW_MAJOR), (column_major, column_major), (unknown, ROW_MAJOR), (column_major, unknown)]
    {
        let text = matmul(a_facts, b_facts);
        let view = |data: &mut [f32], rows: usize, cols: usize, facts: &str| {
            let strides = if facts == column_major { [1, rows as u64] } else { [cols as u64, 1] };
            tensor(data, &[rows as u64, cols as u64], &strides)
        };
        let (a_view, b_view) = (view(&mut a, m, k, a_facts), view(&mut b, k, n, b_facts));
        let mut c = vec![f32::NAN; m * n];
        run(&text, [3, 3], &[a_view, b_view, matrix(&mut c, m as u64, n as u64)]);
        let at = |data: &[f32], r: usize, c: usize, rows: usize, cols: usize, facts: &str| {
            if facts == column_major { data[c * rows + r] } else { data[r * cols + c] }
        };
        let expected = product(|r, x| at(&a, r, x, m, k, a_facts), |x, c| at(&b, x, c, k, n, b_facts), [m, n, k]);
        assert_eq!(c, expected, "{a_facts} / {b_facts}");
    }
}

#[test]
fn computed_operands_and_rescaled_accumulators() {
    // What an attention kernel does: both operands computed, the accumulator scaled lane by lane before it is added to, one operand transposed.
    let text = format!(
        "kernel @0 steps(v0.a: tensor<f32, 2> {{number 0, align 4, {ROW_MAJOR}}}, v1.b: tensor<f32, 2> {{number 1, align 4, {ROW_MAJOR}}}, \
         v2.c: mut tensor<f32, 2> {{number 2, align 4, {ROW_MAJOR}}}) grid 1 index 64 {{
    v3: index = const 0
    v4: index = const 3
    v5: index = const 1
    v6: tile<f32, [5, 19]> = const 1.0
    v7: tile<f32, [5, 19]> = const 2.0
    v8: tile<f32, [5, 19]> = for v3..v4 step v5 init [v6] (v9: index, v10: tile<f32, [5, 19]>) {{
        v11: tile<f32, [5, 7]> = load v0[v3..+5, v3..+7]
        v12: tile<f32, [5, 7]> = add v11, v11
        v13: tile<f32, [19, 7]> = load v1[v3..+19, v3..+7]
        v14: tile<f32, [7, 19]> = permute v13 [1, 0]
        v15: tile<f32, [5, 19]> = mul v10, v7
        v16: tile<f32, [5, 19]> = dot v12, v14 acc v15
        yield v16
    }}
    store v2[v3..+5, v3..+19], v8
    yield
}}
"
    );
    let (mut a, mut b, mut c) = (numbers(5 * 7, 3), numbers(19 * 7, 4), vec![0.0; 5 * 19]);
    run(&text, [1, 1], &[matrix(&mut a, 5, 7), matrix(&mut b, 19, 7), matrix(&mut c, 5, 19)]);
    let step = product(|r, x| 2.0 * a[r * 7 + x], |x, c| b[c * 7 + x], [5, 19, 7]);
    let expected: Vec<f32> = step.iter().map(|s| (0..3).fold(1.0, |acc, _| acc * 2.0 + s)).collect();
    assert_eq!(c, expected);
}

#[test]
fn batches_and_single_indexes_out_of_bounds() {
    // The batch axis reaches one past the tensor's, and `page` may be out of bounds: both read zeros.
    let facts = "dims [?, ?, ?], strides [?, ?, =1]";
    let paged = "dims [?, ?, ?, ?], strides [?, ?, ?, =1]";
    let text = format!(
        "kernel @0 batched(v0.a: tensor<f32, 4> {{number 0, align 4, {paged}}}, v1.b: tensor<f32, 3> {{number 1, align 4, {facts}}}, \
         v2.c: mut tensor<f32, 3> {{number 2, align 4, {facts}}}) grid 1 index 64 {{
    v3: index = program_id 0
    v4: index = const 0
    v5: tile<f32, [3, 4, 6]> = load v0[v3, v4..+3, v4..+4, v4..+6]
    v6: tile<f32, [3, 6, 9]> = load v1[v4..+3, v4..+6, v4..+9]
    v7: tile<f32, [3, 4, 9]> = dot v5, v6
    v8: index = const 3
    v9: index = mul v3, v8
    store v2[v9..+3, v4..+4, v4..+9], v7
    yield
}}
"
    );
    let (mut a, mut b, mut c) = (numbers(2 * 2 * 4 * 6, 5), numbers(3 * 6 * 9, 6), vec![f32::NAN; 9 * 4 * 9]);
    let args = [
        tensor(&mut a, &[2, 2, 4, 6], &[48, 24, 6, 1]),
        tensor(&mut b, &[3, 6, 9], &[54, 9, 1]),
        tensor(&mut c, &[9, 4, 9], &[36, 9, 1]),
    ];
    run(&text, [3, 1], &args);
    for page in 0..3 {
        for batch in 0..3 {
            let a_at = |r: usize, x: usize| if page < 2 && batch < 2 { a[page * 48 + batch * 24 + r * 6 + x] } else { 0.0 };
            let expected = product(a_at, |x, col| b[batch * 54 + x * 9 + col], [4, 9, 6]);
            let start = (page * 3 + batch) * 36;
            assert_eq!(c[start..start + 36], expected, "page {page} batch {batch}");
        }
    }
}

#[test]
fn scaled_products() {
    // 2 x 32 elements 0x38 (e4m3: 1.0) and 32 x 3 nibbles 0x2 (e2m1: 1.0), scales 2^1 and 2^-2 and 2^0.
    let text = "kernel @0 scaled(v0.a: tensor<f8e4m3, 2> {number 0, align 1, dims [?, ?], strides [?, =1]}, \
         v1.sa: tensor<u8, 2> {number 1, align 1, dims [?, ?], strides [?, =1]}, v2.b: tensor<u8, 2> {number 2, align 1, dims [?, ?], strides [?, =1]}, \
         v3.sb: tensor<u8, 2> {number 3, align 1, dims [?, ?], strides [?, =1]}, v4.c: mut tensor<f32, 2> {number 4, align 4, dims [?, ?], strides [?, =1]}) \
         grid 1 index 64 {
    v5: index = const 0
    v6: tile<f8e4m3, [2, 32]> = load v0[v5..+2, v5..+32]
    v7: tile<u8, [2, 1]> = load v1[v5..+2, v5..+1]
    v8: tile<u8, [16, 3]> = load v2[v5..+16, v5..+3]
    v9: tile<u8, [3, 1]> = load v3[v5..+3, v5..+1]
    v10: tile<f32, [2, 3]> = dot_scaled v6, v7 e4m3, v8, v9 e2m1
    store v4[v5..+2, v5..+3], v10
    yield
}
";
    let (mut a, mut sa, mut b, mut sb, mut c) =
        (vec![0x38u8; 64], vec![128u8, 125], vec![0x22u8; 48], vec![127u8, 128, 126], vec![0f32; 6]);
    let args = [matrix(&mut a, 2, 32), matrix(&mut sa, 2, 1), matrix(&mut b, 16, 3), matrix(&mut sb, 3, 1), matrix(&mut c, 2, 3)];
    run(text, [1, 1], &args);
    assert_eq!(c, [64.0, 128.0, 32.0, 8.0, 16.0, 4.0]);
}

#[test]
fn sorts_counts_and_joins_computed_tiles() {
    let text = "kernel @0 orders(v0.x: tensor<f32, 2> {number 0, align 4, dims [?, ?], strides [?, =1]}, \
         v1.y: mut tensor<f32, 2> {number 1, align 4, dims [?, ?], strides [?, =1]}, v2.p: mut tensor<i32, 2> {number 2, align 4, dims [?, ?], strides [?, =1]}, \
         v3.h: mut tensor<i32, 1> {number 3, align 4, dims [?], strides [=1]}) grid 1 index 64 {
    v4: index = const 0
    v5: tile<f32, [3, 11]> = load v0[v4..+3, v4..+11]
    v6: tile<f32, [3, 11]> = neg v5
    v7: tile<f32, [3, 11]> = sort [v6] axis 1
    v8: tile<f32, [3, 4]>, v9: tile<i32, [3, 4]> = topk v6 k 4
    v10: tile<f32, [3, 15]> = cat [v7, v8] axis 1
    v11: tile<f32, [6, 15]> = cat [v10, v10] axis 0
    store v1[v4..+6, v4..+15], v11
    store v2[v4..+3, v4..+4], v9
    v12: tile<i32, [3, 11]> = cast v6
    v13: tile<f32, [3, 11]> = const 0.0
    v14: tile<bool, [3, 11]> = cmp gt v6, v13
    v15: tile<i32, [9]> = histogram v12 bins 9 mask v14
    store v3[v4..+9], v15
    yield
}
";
    let (mut x, mut y, mut p, mut h) = (numbers(33, 9), vec![f32::NAN; 90], vec![-1i32; 12], vec![-1i32; 9]);
    let args = [matrix(&mut x, 3, 11), matrix(&mut y, 6, 15), matrix(&mut p, 3, 4), tensor(&mut h, &[9], &[1])];
    run(text, [1, 1], &args);
    for row in 0..3 {
        let negated: Vec<f32> = x[row * 11..][..11].iter().map(|v| -v).collect();
        let mut ascending = negated.clone();
        ascending.sort_by(f32::total_cmp);
        let mut order: Vec<usize> = (0..11).collect();
        order.sort_by(|&a, &b| negated[b].partial_cmp(&negated[a]).unwrap_or(std::cmp::Ordering::Equal));
        let expected: Vec<f32> = ascending.iter().copied().chain(order[..4].iter().map(|&i| negated[i])).collect();
        assert_eq!(y[row * 15..][..15], expected, "row {row}");
        assert_eq!(y[(row + 3) * 15..][..15], expected, "row {} of the joined tile", row + 3);
        assert_eq!(p[row * 4..][..4], order[..4].iter().map(|&i| i as i32).collect::<Vec<_>>());
    }
    let expected: Vec<i32> = (0..9).map(|bin| x.iter().filter(|&&v| -v > 0.0 && -v as i32 == bin).count() as i32).collect();
    assert_eq!(h, expected);
}
