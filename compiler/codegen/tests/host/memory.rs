//! Memory: pointers with masks, gathers, scatters, views, strides, hazards between loads and stores, atomics.

use kiln_ir::ops::*;
use kiln_ir::*;

use crate::harness::*;

const F32: ScalarType = ScalarType::F32;

fn load_ptr(b: &mut Builder<'_>, ptr: Value, mask: Option<Value>, other: Option<Value>, ty: Type) -> Value {
    b.emit1(InstData::Load { place: Place::Ptr(ptr), mask, other, cache: CacheOp::Default, evict: Evict::Normal }, ty)
}

#[test]
fn pointers_and_masks() {
    for n in [1usize, 100, 1000, 1024, 3001] {
        let block = 512u32;
        let mut k = Kernel::new("add_raw", 1);
        let p = |m| Elem::Ptr { pointee: F32, mutable: m };
        let (x, z, count) = (k.scalar("x", p(false)), k.scalar("z", p(true)), k.scalar("n", ScalarType::I64));
        let mut b = k.body();
        let pid = b.emit1(InstData::ProgramId { axis: 0 }, Type::index());
        let size = b.index(i64::from(block));
        let start = b.binary(BinaryOp::Mul, pid, size);
        let iota = b.emit1(InstData::Iota { start: 0 }, Type::tile(ScalarType::Index, &[block]));
        let starts = b.broadcast(start, &[block]);
        let i = b.binary(BinaryOp::Add, starts, iota);
        let end = b.cast(count, ScalarType::Index);
        let ends = b.broadcast(end, &[block]);
        let mask = b.cmp(CmpOp::Lt, i, ends);
        let at = |b: &mut Builder<'_>, ptr| {
            let ptr = b.broadcast(ptr, &[block]);
            let ty = b.ty(ptr);
            b.emit1(InstData::PtrAdd { ptr, offset: i }, ty)
        };
        let from = at(&mut b, x);
        let ty = Type::tile(F32, &[block]);
        let v = load_ptr(&mut b, from, Some(mask), None, ty);
        let w = b.binary(BinaryOp::Add, v, v);
        let to = at(&mut b, z);
        b.emit(
            InstData::Store { place: Place::Ptr(to), value: w, mask: Some(mask), cache: CacheOp::Default, evict: Evict::Normal },
            &[],
        );
        let (mut x, mut z) = (noise(n, 3), vec![0f32; n + 700]);
        let blocks = n.div_ceil(block as usize) as i64;
        k.run(&[blocks], &[Arg::Bits(x.as_mut_ptr() as u64), Arg::Bits(z.as_mut_ptr() as u64), Arg::Bits(n as u64)]);
        for i in 0..n {
            assert_eq!(z[i], x[i] * 2.0);
        }
        assert!(z[n..].iter().all(|&v| v == 0.0));
    }
}

#[test]
fn rows_are_gathered_and_scattered() {
    // y[to[i], j] = x[from[i], j] with -1 and too large indexes taking no part.
    let (rows, cols) = (20i64, 37i64);
    let mut k = Kernel::new("gather", 1);
    let (x, y) = (k.tensor("x", F32, 2, false), k.tensor("y", F32, 2, true));
    let (from, to) = (k.tensor("from", ScalarType::I32, 1, false), k.tensor("to", ScalarType::I32, 1, false));
    let mut b = k.body();
    let zero = b.index(0);
    let index = |b: &mut Builder<'_>, t| {
        let v = b.load_view(spans(t, &[(zero, 8)]), None);
        b.cast(v, ScalarType::Index)
    };
    let (f, t) = (index(&mut b, from), index(&mut b, to));
    let nine = {
        let ty = Type::tile(F32, &[8, 40]);
        b.float(9.0, ty)
    };
    let v = b.load_view(access(x, &[SliceIndex::Gather(f), SliceIndex::Span { start: zero, len: 40 }]), Some(nine));
    b.store_view(access(y, &[SliceIndex::Gather(t), SliceIndex::Span { start: zero, len: 40 }]), v);
    let mut x = noise((rows * cols) as usize, 6);
    let mut y = vec![0f32; (rows * cols) as usize];
    let mut from = [3i32, -1, 19, 20, 0, 7, 7, 2];
    let mut to = [0i32, 1, 2, 3, -5, 20, 4, 19];
    k.run(&[1], &[tensor(&mut x, &[rows, cols]), tensor(&mut y, &[rows, cols]), tensor(&mut from, &[8]), tensor(&mut to, &[8])]);
    let mut want = vec![0f32; (rows * cols) as usize];
    for (&f, &t) in from.iter().zip(&to) {
        if (0..20).contains(&t) {
            for j in 0..cols {
                want[(i64::from(t) * cols + j) as usize] =
                    if (0..20).contains(&f) { x[(i64::from(f) * cols + j) as usize] } else { 9.0 };
            }
        }
    }
    assert_eq!(y, want);
}

#[test]
fn negative_starts_and_views_respect_their_bounds() {
    // z[..] = x[2..n - 3][-5..+64] with .or(7), and only lanes inside are written back shifted.
    let n = 50i64;
    let mut k = Kernel::new("views", 1);
    let (x, z) = (k.tensor("x", F32, 1, false), k.tensor("z", F32, 1, true));
    let mut b = k.body();
    let (zero, two, end, start) = (b.index(0), b.index(2), b.index(n - 3), b.index(-5));
    let v = b.emit1(
        InstData::SubView { view: x, index: [ViewIndex::Range { lo: two, hi: end }].into_iter().collect() },
        Type::view(F32, 1, false),
    );
    let seven = {
        let ty = Type::tile(F32, &[64]);
        b.float(7.0, ty)
    };
    let t = b.load_view(spans(v, &[(start, 64)]), Some(seven));
    b.store_view(spans(z, &[(zero, 64)]), t);
    let (mut x, mut z) = (noise(n as usize, 12), vec![0f32; 64]);
    k.run(&[1], &[tensor(&mut x, &[n]), tensor(&mut z, &[64])]);
    for (i, &got) in z.iter().enumerate() {
        let at = i as i64 - 5;
        assert_eq!(got, if (0..n - 5).contains(&at) { x[(at + 2) as usize] } else { 7.0 }, "lane {i}");
    }
}

#[test]
fn strided_tensors() {
    // y = x of a [33, 21] tile where x has rows 3 apart and columns 100 apart, and y is column-major.
    let mut k = Kernel::new("strides", 1);
    let x = k.tensor_with("x", F32, TensorFacts::unknown(2, 4), false);
    let y = k.tensor_with("y", F32, TensorFacts::unknown(2, 4), true);
    let mut b = k.body();
    let zero = b.index(0);
    let v = b.load_view(spans(x, &[(zero, 40), (zero, 24)]), None);
    b.store_view(spans(y, &[(zero, 40), (zero, 24)]), v);
    let mut data = noise(33 * 3 + 21 * 100, 5);
    let mut out = vec![0f32; 33 * 21];
    k.run(
        &[1],
        &[
            Arg::Tensor(data.as_mut_ptr().cast(), vec![33, 21], vec![3, 100]),
            Arg::Tensor(out.as_mut_ptr().cast(), vec![33, 21], vec![1, 33]),
        ],
    );
    for i in 0..33 {
        for j in 0..21 {
            assert_eq!(out[j * 33 + i], data[i * 3 + j * 100]);
        }
    }
}

#[test]
fn loads_see_memory_as_it_was_in_program_order() {
    // Two halves swapped in place and rotated: every load happens before the stores that follow it in the program.
    let half = 100u32;
    let mut k = Kernel::new("rotate", 1);
    let x = k.tensor("x", F32, 1, true);
    let mut b = k.body();
    let (zero, mid) = (b.index(0), b.index(i64::from(half)));
    let (lo, hi) = (b.load_view(spans(x, &[(zero, half)]), None), b.load_view(spans(x, &[(mid, half)]), None));
    let difference = b.binary(BinaryOp::Sub, lo, hi);
    b.store_view(spans(x, &[(zero, half)]), difference);
    let sum = b.binary(BinaryOp::Add, lo, hi);
    b.store_view(spans(x, &[(mid, half)]), sum);
    // Shifted by one: lane i reads what lane i - 1 wrote only if order breaks.
    let one = b.index(1);
    let all = b.load_view(spans(x, &[(zero, half)]), None);
    b.store_view(spans(x, &[(one, half)]), all);
    let before = noise(2 * half as usize, 21);
    let mut data = before.clone();
    k.run(&[1], &[tensor(&mut data, &[2 * i64::from(half)])]);
    let h = half as usize;
    let mut want: Vec<f32> = (0..h).map(|i| before[i] - before[i + h]).chain((0..h).map(|i| before[i] + before[i + h])).collect();
    let shifted = want[..h].to_vec();
    want[1..=h].copy_from_slice(&shifted);
    assert_eq!(data, want);
}

#[test]
fn atomics_return_old_values_and_skip_absent_lanes() {
    let mut k = Kernel::new("atomics", 1);
    let (ids, dst, old) =
        (k.tensor("ids", ScalarType::I32, 1, false), k.tensor("dst", F32, 1, true), k.tensor("old", F32, 1, true));
    let lock = k.tensor("lock", ScalarType::I32, 1, true);
    let mut b = k.body();
    let zero = b.index(0);
    let i = b.load_view(spans(ids, &[(zero, 10)]), None);
    let i = b.cast(i, ScalarType::Index);
    let one = {
        let ty = Type::tile(F32, &[10]);
        b.float(1.0, ty)
    };
    let place = Place::View(access(dst, &[SliceIndex::Gather(i)]));
    let add = InstData::AtomicRmw {
        op: AtomicOp::Add,
        place,
        value: one,
        mask: None,
        order: MemOrder::Relaxed,
        scope: MemScope::Device,
    };
    let before = b.emit1(add, Type::tile(F32, &[10]));
    b.store_view(spans(old, &[(zero, 10)]), before);
    // lock: 0 -> 5 by compare and swap, then max with 9.
    let i32_ty = Type::scalar(ScalarType::I32);
    let (expected, five, nine) = (b.int(0, i32_ty), b.int(5, i32_ty), b.int(9, i32_ty));
    let at = Place::View(access(lock, &[SliceIndex::At(zero)]));
    let cas = InstData::AtomicCas {
        place: at.clone(),
        expected,
        value: five,
        mask: None,
        order: MemOrder::Acquire,
        scope: MemScope::Device,
    };
    b.emit1(cas, i32_ty);
    let max = InstData::AtomicRmw {
        op: AtomicOp::Max,
        place: at,
        value: nine,
        mask: None,
        order: MemOrder::AcqRel,
        scope: MemScope::Device,
    };
    let seen = b.emit1(max, i32_ty);
    let one_at = b.index(1);
    let store = InstData::AtomicStore {
        place: Place::View(access(lock, &[SliceIndex::At(one_at)])),
        value: seen,
        mask: None,
        order: MemOrder::Release,
        scope: MemScope::Device,
    };
    b.emit(store, &[]);
    let mut ids = [0i32, 1, 0, -1, 4, 99, 0, 1, 2, 2];
    let (mut dst, mut old, mut lock) = (vec![10f32; 5], vec![-1f32; 10], [0i32, 0]);
    k.run(&[1], &[tensor(&mut ids, &[10]), tensor(&mut dst, &[5]), tensor(&mut old, &[10]), tensor(&mut lock, &[2])]);
    assert_eq!(dst, [13.0, 12.0, 12.0, 10.0, 11.0]);
    assert_eq!(old, [10.0, 10.0, 11.0, 0.0, 10.0, 0.0, 12.0, 11.0, 10.0, 11.0]);
    assert_eq!(lock, [9, 5]);
}

#[test]
fn tables_are_gathered_from_constants() {
    let mut k = Kernel::new("nf4", 1);
    let (q, y) = (k.tensor("q", ScalarType::U8, 1, false), k.tensor("y", F32, 1, true));
    let mut b = k.body();
    let zero = b.index(0);
    let values: Vec<Const> = (0..16).map(|i| Const::Float(f64::from(i) * 0.5 - 3.0)).collect();
    let table = b.emit1(InstData::ConstTile { values: values.into() }, Type::tile(F32, &[16]));
    let codes = b.load_view(spans(q, &[(zero, 100)]), None);
    let index = b.cast(codes, ScalarType::I32);
    let v = b.emit1(InstData::Gather { src: table, index, axis: 0 }, Type::tile(F32, &[100]));
    b.store_view(spans(y, &[(zero, 100)]), v);
    let mut q: Vec<u8> = (0..100).map(|i| (i * 7 % 20) as u8).collect();
    let mut y = vec![1f32; 100];
    k.run(&[1], &[tensor(&mut q, &[100]), tensor(&mut y, &[100])]);
    for (q, y) in q.iter().zip(y) {
        assert_eq!(y, if *q < 16 { f32::from(*q) * 0.5 - 3.0 } else { 0.0 });
    }
}
