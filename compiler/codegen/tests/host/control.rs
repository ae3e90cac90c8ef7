//! Loops and branches with carried scalars and tiles, assertions, prints, the grid.

use kiln_ir::ops::*;
use kiln_ir::*;

use crate::harness::*;

const F32: ScalarType = ScalarType::F32;

/// `for iv in lo..hi step` whose body is made by `f(builder, iv, carried) -> next`.
pub fn for_loop(
    b: &mut Builder<'_>,
    bounds: [Value; 3],
    rev: bool,
    init: &[Value],
    f: impl FnOnce(&mut Builder<'_>, Value, &[Value]) -> Vec<Value>,
) -> Vec<Value> {
    let body = b.func.add_block();
    let counter = b.ty(bounds[0]);
    let iv = b.func.add_block_param(body, counter, None);
    let types: Vec<Type> = init.iter().map(|&v| b.ty(v)).collect();
    let params: Vec<Value> = types.iter().map(|&t| b.func.add_block_param(body, t, None)).collect();
    {
        let mut inner = Builder::new(b.func, body);
        let next = f(&mut inner, iv, &params);
        inner.yield_(&next);
    }
    let [lo, hi, step] = bounds;
    let inst = b.emit(
        InstData::For { lo, hi, step, rev, init: init.iter().copied().collect(), body, attrs: LoopAttrs::default() },
        &types,
    );
    b.func.results_of(inst).to_vec()
}

#[test]
fn tiles_and_scalars_are_carried() {
    // acc += x[k, ..] * k and a rotation of two tiles every trip, over dynamic bounds, forwards and backwards.
    for rev in [false, true] {
        for rows in [0i64, 1, 2, 5] {
            let n = 50u32;
            let mut k = Kernel::new("carry", 1);
            let (x, y) = (k.tensor("x", F32, 2, false), k.tensor("y", F32, 2, true));
            let mut b = k.body();
            let (zero, one) = (b.index(0), b.index(1));
            let hi = b.view_dim(x, 0);
            let tile = Type::tile(F32, &[n]);
            let (a0, c0) = (b.float(1.0, tile), b.float(2.0, tile));
            let acc0 = b.float(0.0, tile);
            let s0 = b.float(0.0, Type::scalar(F32));
            let r = for_loop(&mut b, [zero, hi, one], rev, &[acc0, a0, c0, s0], |b, iv, c| {
                let row = b.load_view(access(x, &[SliceIndex::At(iv), SliceIndex::Span { start: zero, len: n }]), None);
                let factor = b.cast(iv, F32);
                let factors = b.broadcast(factor, &[n]);
                let term = b.binary(BinaryOp::Mul, row, factors);
                let acc = b.binary(BinaryOp::Add, c[0], term);
                let half = b.float(0.5, b.ty(c[0]));
                let turned = b.binary(BinaryOp::Mul, c[1], half);
                let sum = b.reduce(&[row], 0, Combine::Add)[0];
                let s = b.binary(BinaryOp::Add, c[3], sum);
                // The second and third tile swap.
                vec![acc, c[2], turned, s]
            });
            for (i, &t) in r[..3].iter().enumerate() {
                let at = b.index(i as i64);
                b.store_view(access(y, &[SliceIndex::At(at), SliceIndex::Span { start: zero, len: n }]), t);
            }
            let s = b.broadcast(r[3], &[n]);
            let at = b.index(3);
            b.store_view(access(y, &[SliceIndex::At(at), SliceIndex::Span { start: zero, len: n }]), s);
            let cols = n as usize;
            let mut x = noise(rows as usize * cols, 4);
            let mut out = vec![0f32; 4 * cols];
            k.run(&[1], &[tensor(&mut x, &[rows, i64::from(n)]), tensor(&mut out, &[4, i64::from(n)])]);
            let (mut p, mut q) = (1f64, 2f64);
            let (mut acc, mut s) = (vec![0f64; cols], 0f64);
            let order: Vec<usize> = if rev { (0..rows as usize).rev().collect() } else { (0..rows as usize).collect() };
            for r in order {
                for j in 0..cols {
                    acc[j] += f64::from(x[r * cols + j]) * r as f64;
                    s += f64::from(x[r * cols + j]);
                }
                (p, q) = (q, p * 0.5);
            }
            close(&out[..cols], &acc, 1e-5);
            close(&out[cols..2 * cols], &vec![p; cols], 0.0);
            close(&out[2 * cols..3 * cols], &vec![q; cols], 0.0);
            close(&out[3 * cols..], &vec![s; cols], 1e-5);
        }
    }
}

#[test]
fn steps_and_counter_types() {
    // Sum of counters of `for i in lo..hi step s` for several types, none or one trip included.
    for (lo, hi, step) in [(0i64, 10i64, 1i64), (3, 20, 7), (5, 5, 1), (9, 2, 1), (0, 8, 0), (0, 7, -2), (-9, 9, 4)] {
        for rev in [false, true] {
            for elem in [ScalarType::Index, ScalarType::I32, ScalarType::I64] {
                let mut k = Kernel::new("steps", 1);
                let y = k.tensor("y", ScalarType::I64, 1, true);
                let mut b = k.body();
                let ty = Type::scalar(elem);
                let bounds = [b.int(lo, ty), b.int(hi, ty), b.int(step, ty)];
                let zero = b.int(0, Type::scalar(ScalarType::I64));
                let r = for_loop(&mut b, bounds, rev, &[zero], |b, iv, c| {
                    let v = b.cast(iv, ScalarType::I64);
                    let ten = b.int(10, Type::scalar(ScalarType::I64));
                    let shifted = b.binary(BinaryOp::Mul, c[0], ten);
                    vec![b.binary(BinaryOp::Add, shifted, v)]
                });
                let at = b.index(0);
                b.store_view(access(y, &[SliceIndex::At(at)]), r[0]);
                let mut out = [-1i64];
                k.run(&[1], &[tensor(&mut out, &[1])]);
                let mut counters: Vec<i64> = if step <= 0 { vec![] } else { (lo..hi).step_by(step as usize).collect() };
                if rev {
                    counters.reverse();
                }
                assert_eq!(out[0], counters.iter().fold(0i64, |s, &c| s * 10 + c), "{lo}..{hi} by {step} of {elem}, rev {rev}");
            }
        }
    }
}

#[test]
fn while_and_if_yield_tiles() {
    // Halve the tile while its sum is above a bound; then negate or keep it.
    for (bound, negate) in [(3.0f32, true), (1000.0, false), (0.5, false)] {
        let n = 20u32;
        let mut k = Kernel::new("halve", 1);
        let (x, y) = (k.tensor("x", F32, 1, false), k.tensor("y", F32, 1, true));
        let (limit, flag) = (k.scalar("limit", F32), k.scalar("flag", ScalarType::Bool));
        let mut b = k.body();
        let zero = b.index(0);
        let tile = Type::tile(F32, &[n]);
        let v = b.load_view(spans(x, &[(zero, n)]), None);
        let count0 = b.int(0, Type::scalar(ScalarType::I32));
        let (cond, body) = (b.func.add_block(), b.func.add_block());
        let types = [tile, Type::scalar(ScalarType::I32)];
        let cp: Vec<Value> = types.iter().map(|&t| b.func.add_block_param(cond, t, None)).collect();
        let bp: Vec<Value> = types.iter().map(|&t| b.func.add_block_param(body, t, None)).collect();
        {
            let mut c = Builder::new(b.func, cond);
            let s = c.reduce(&[cp[0]], 0, Combine::Add)[0];
            let go = c.cmp(CmpOp::Gt, s, limit);
            c.yield_(&[go, cp[0], cp[1]]);
        }
        {
            let mut i = Builder::new(b.func, body);
            let half = i.float(0.5, tile);
            let t = i.binary(BinaryOp::Mul, bp[0], half);
            let one = i.int(1, Type::scalar(ScalarType::I32));
            let n = i.binary(BinaryOp::Add, bp[1], one);
            i.yield_(&[t, n]);
        }
        let w = b.emit(InstData::While { init: [v, count0].into_iter().collect(), cond, body }, &types);
        let t = b.func.results_of(w)[0];
        let (then, otherwise) = (b.func.add_block(), b.func.add_block());
        {
            let mut i = Builder::new(b.func, then);
            let t = i.unary(UnaryOp::Neg, t);
            i.yield_(&[t]);
        }
        Builder::new(b.func, otherwise).yield_(&[t]);
        let r = b.emit1(InstData::If { cond: flag, then, otherwise }, tile);
        b.store_view(spans(y, &[(zero, n)]), r);
        let (mut x, mut y) = (vec![1.5f32; n as usize], vec![0f32; n as usize]);
        let len = i64::from(n);
        k.run(
            &[1],
            &[
                tensor(&mut x, &[len]),
                tensor(&mut y, &[len]),
                Arg::Bits(u64::from(bound.to_bits())),
                Arg::Bits(u64::from(negate)),
            ],
        );
        let mut v = 1.5f32;
        while v * n as f32 > bound {
            v *= 0.5;
        }
        assert!(y.iter().all(|&g| g == if negate { -v } else { v }), "{y:?} {v}");
    }
}

#[test]
fn programs_see_their_place_in_the_grid() {
    let mut k = Kernel::new("grid", 3);
    let y = k.tensor("y", ScalarType::I64, 1, true);
    let mut b = k.body();
    let id: Vec<Value> = (0..3).map(|axis| b.emit1(InstData::ProgramId { axis }, Type::index())).collect();
    let extent: Vec<Value> = (0..3).map(|axis| b.emit1(InstData::NumPrograms { axis }, Type::index())).collect();
    let t = b.binary(BinaryOp::Mul, id[2], extent[1]);
    let t = b.binary(BinaryOp::Add, t, id[1]);
    let t = b.binary(BinaryOp::Mul, t, extent[0]);
    let flat = b.binary(BinaryOp::Add, t, id[0]);
    let hundred = b.index(100);
    let p = b.binary(BinaryOp::Mul, id[0], hundred);
    let p = b.binary(BinaryOp::Add, p, id[1]);
    let p = b.binary(BinaryOp::Mul, p, hundred);
    let p = b.binary(BinaryOp::Add, p, id[2]);
    let value = b.cast(p, ScalarType::I64);
    b.store_view(access(y, &[SliceIndex::At(flat)]), value);
    let mut out = vec![-1i64; 60];
    k.run(&[5, 4, 3], &[tensor(&mut out, &[60])]);
    for (i, &got) in out.iter().enumerate() {
        let (a, b, c) = (i % 5, i / 5 % 4, i / 20);
        assert_eq!(got, (a * 10000 + b * 100 + c) as i64);
    }
}

#[test]
fn assertions_report_and_end_the_program() {
    let mut k = Kernel::new("asserts", 1);
    let (x, y) = (k.tensor("x", F32, 2, false), k.tensor("y", F32, 1, true));
    let mut b = k.body();
    let pid = b.emit1(InstData::ProgramId { axis: 0 }, Type::index());
    let zero = b.index(0);
    let row = b.load_view(access(x, &[SliceIndex::At(pid), SliceIndex::Span { start: zero, len: 30 }]), None);
    let limit = b.float(1.0, b.ty(row));
    let fine = b.cmp(CmpOp::Lt, row, limit);
    b.emit(InstData::Assert { cond: fine, message: "too large".into() }, &[]);
    let one = b.float(1.0, Type::scalar(F32));
    b.store_view(access(y, &[SliceIndex::At(pid)]), one);
    let (object, kernel) = k.compile().unwrap();
    assert_eq!(object.asserts.len(), 1);
    assert_eq!(object.asserts[0].message, "too large");
    let mut x = vec![0f32; 4 * 30];
    (x[30 + 29], x[2 * 30 + 3]) = (5.0, 1.0);
    let mut y = [0f32; 4];
    let reports = run(&kernel, &[4], &[tensor(&mut x, &[4, 30]), tensor(&mut y, &[4])]);
    assert_eq!(reports.asserts, [(0, 1), (0, 2)]);
    assert_eq!(y, [1.0, 0.0, 0.0, 1.0]);
}

#[test]
fn what_the_cpu_cannot_do_is_refused_with_a_code() {
    let mut k = Kernel::new("ptx", 1);
    let asm = InstData::InlineAsm { text: "trap;".into(), constraints: "".into(), args: Default::default(), pure_: false };
    k.body().emit(asm, &[]);
    let error = k.compile().err().unwrap();
    assert_eq!(error.code(), Some("K0901"));
}
