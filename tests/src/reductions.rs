//! Kernels that add tiles up in memory, in parts that programs compute: on sm_90a their atomics leave by the TMA engine.

/// `gradient`: dw += trans(x) dy, a part of the rows in each program of the last axis.
///
/// `grouped`: y += 2 x, a part of the rows for each program of the last axis, with tiles that end in the next part.
///
/// `backward`: attention's gradients in one sweep, a block of keys a program: dk and dv are its own, dq is added up by all of them.
pub const SOURCE: &str = "
const LOG2E: f32 = 1.4426950408889634;

#[schedule(warps = 4, stages = 2)]
kernel gradient<T: float, const BM: int = 64, const BN: int = 64, const BK: int = 32>(
    x: tensor<f16, [R, M]>, dy: tensor<f16, [R, N]>, dw: mut tensor<T, [M, N]>, parts: i32,
) grid [cdiv(M, BM), cdiv(N, BN), parts] {
    let (m, n) = (program_id(0) * BM, program_id(1) * BN);
    let mut acc = zeros::<f32>([BM, BN]);
    for r in (program_id(2) * BK..R).step_by(BK * num_programs(2)) {
        acc = dot(trans(x[r..+BK, m..+BM]), dy[r..+BK, n..+BN], acc);
    }
    atomic_add(dw[m..+BM, n..+BN], acc as T);
}

#[schedule(warps = 4)]
kernel grouped(x: tensor<f32, [R, N]>, start: tensor<i32, [G + 1]>, y: mut tensor<f32, [R, N]>, longest: i32)
    grid [cdiv(longest, 64), cdiv(N, 32), G]
{
    let (m, n, g) = (program_id(0) * 64, program_id(1) * 32, program_id(2));
    let (xs, ys) = (x[start[g]..start[g + 1], :], y[start[g]..start[g + 1], :]);
    if m >= xs.dim(0) { return; }
    atomic_add(ys[m..+64, n..+32], xs[m..+64, n..+32] * 2.0);
}

#[schedule(warps = 4, stages = 2)]
kernel backward<const D: int, const BM: int = 64, const BN: int = 64>(
    q: tensor<f16, [L, D]>, k: tensor<f16, [S, D]>, v: tensor<f16, [S, D]>, dout: tensor<f16, [L, D]>,
    lse: tensor<f32, [L]>, delta: tensor<f32, [L]>,
    dq: mut tensor<f32, [L, D]>, dk: mut tensor<f16, [S, D]>, dv: mut tensor<f16, [S, D]>, scale: f32,
) grid [cdiv(S, BN)] {
    let n = program_id(0) * BN;
    let (kt, vt) = (k[n..+BN, 0..+D], v[n..+BN, 0..+D]);
    let (mut dkt, mut dvt) = (zeros::<f32>([BN, D]), zeros::<f32>([BN, D]));
    let cols = n + arange(0, BN);
    for m in (0..L).step_by(BM) {
        let rows = m + arange(0, BM);
        let (qt, g) = (q[m..+BM, 0..+D], dout[m..+BM, 0..+D]);
        let live = rows[None, :] < L && cols[:, None] < S;
        let s = select(live, dot(kt, trans(qt)), -inf);
        let p = fast::exp2(fma(s, scale * LOG2E, -(lse[m..+BM] * LOG2E)[None, :]));
        dvt = dot(p as f16, g, dvt);
        let ds = p * (dot(vt, trans(g)) - delta[m..+BM][None, :]);
        dkt = dot(ds as f16, qt, dkt);
        atomic_add(dq[m..+BM, 0..+D], dot(trans(ds as f16), kt) * scale);
    }
    dk[n..+BN, 0..+D] = (dkt * scale) as f16;
    dv[n..+BN, 0..+D] = dvt as f16;
}
";
