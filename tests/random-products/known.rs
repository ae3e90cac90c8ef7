//! Kernels that random ones have found mistakes with, each with what the mistake was.

use kiln::{OwnedArg, ScalarType};

use super::generate::{Case, tensor};

/// `tensors`: type, extents, and by how much rows are longer in memory. The last one is written.
fn case(text: &str, tensors: &[(ScalarType, &[i64], i64)], schedule: &[(&'static str, &[i64])], order: &str) -> Case {
    let arg = |(number, &(ty, extents, pad)): (usize, &(ScalarType, &[i64], i64))| {
        OwnedArg::Tensor(tensor(ty, extents, pad, |i| ((i * 7 + number) % 3) as f64 - 1.0))
    };
    Case {
        text: text.to_owned(),
        args: tensors.iter().enumerate().map(arg).collect(),
        written: vec![tensors.len() - 1],
        schedule: schedule.iter().map(|&(field, values)| (field, values.to_vec())).collect(),
        device: format!("emulator:sm_90a,sms=3,{order}"),
    }
}

/// Two groups of consumers, and a ring that threads fill: one group's ring lay where the other one's exchange did.
pub fn groups_with_rings_of_their_own() -> Case {
    case(
        "kernel k(a: tensor<f16, [M, K]>, b: tensor<f16, [K, N]>, c: mut tensor<bf16, [N, M]>) grid [cdiv(M, 128), cdiv(N, 96)] {
    let (m, n) = (program_id(0) * 128, program_id(1) * 96);
    let mut acc = zeros::<f32>([128, 96]);
    for k in (0..K).step_by(32) {
        acc = dot(a[m..+128, k..+32], b[k..+32, n..+96], acc);
    }
    c[n..+96, m..+128] = trans(acc) as bf16;
}
",
        &[(ScalarType::F16, &[392, 160], 1), (ScalarType::F16, &[160, 199], 1), (ScalarType::BF16, &[199, 392], 0)],
        &[("warps", &[4]), ("stages", &[5]), ("persistent", &[1]), ("ping_pong", &[1])],
        "eager",
    )
}

/// Two products under way, whose right operands threads load: the second one's ring lay where the first product still read.
pub fn rings_of_products_under_way() -> Case {
    case(
        "kernel k(a: tensor<bf16, [K, M]>, b: tensor<bf16, [K, N]>, b2: tensor<bf16, [K, N]>, c: mut tensor<f16, [M, N]>) grid [cdiv(M, 64), cdiv(N, 64)] {
    let (m, n) = (program_id(0) * 64, program_id(1) * 64);
    let mut acc = zeros::<f32>([64, 64]);
    let mut gate = zeros::<f32>([64, 64]);
    for k in (min(128, K)..K).step_by(128) {
        acc = dot(trans(a[k..+128, m..+64]), b[k..+128, n..+64], acc);
        gate = dot(trans(a[k..+128, m..+64]), b2[k..+128, n..+64], gate);
    }
    c[m..+64, n..+64] = (acc + max(gate, 0.0)) as f16;
}
",
        &[
            (ScalarType::BF16, &[653, 72], 0),
            (ScalarType::BF16, &[653, 69], 0),
            (ScalarType::BF16, &[653, 69], 16),
            (ScalarType::F16, &[72, 69], 16),
        ],
        &[("warps", &[8]), ("stages", &[1]), ("cluster", &[2, 1])],
        "random=567",
    )
}

/// Two groups of consumers, and a slot that a program fills once: a group could wait for it a phase too early, and read what the other group's program had there.
pub fn slots_of_one_program() -> Case {
    case(
        "kernel k(a: tensor<f16, [D, M]>, b: tensor<f16, [K, D]>, v: tensor<f16, [K, N]>, c: mut tensor<f16, [M, N]>) grid [cdiv(M, 64), cdiv(N, 96)] {
    let (m, n) = (program_id(0) * 64, program_id(1) * 96);
    let mut acc = zeros::<f32>([64, 96]);
    let q = trans(a[0..+16, m..+64]);
    for k in (0..K).step_by(128) {
        let s = dot(q, trans(b[k..+128, 0..+16]), zeros::<f32>([64, 128]));
        acc = dot(max(s, 0.0) as f16, -v[k..+128, n..+96], acc);
    }
    c[m..+64, n..+96] = acc as f16;
}
",
        &[
            (ScalarType::F16, &[16, 200], 0),
            (ScalarType::F16, &[520, 16], 8),
            (ScalarType::F16, &[520, 80], 1),
            (ScalarType::F16, &[200, 80], 1),
        ],
        &[("warps", &[4]), ("stages", &[2]), ("persistent", &[1]), ("ping_pong", &[1])],
        "eager",
    )
}

/// An operand of bytes that a product of warpgroups and one of warps read: it lay as the latter like it, in a swizzle that warpgroups do not know.
pub fn one_operand_for_warps_and_warpgroups() -> Case {
    case(
        "kernel k(a: tensor<i8, [M, K]>, b: tensor<i8, [N, K]>, b2: tensor<i8, [K, N]>, c: mut tensor<i32, [M, N]>) grid [cdiv(M, 64), cdiv(N, 128)] {
    let (m, n) = (program_id(0) * 64, program_id(1) * 128);
    let mut acc = zeros::<i32>([64, 128]);
    let mut gate = zeros::<i32>([64, 128]);
    for k in (0..K).step_by(32) {
        acc = dot(a[m..+64, k..+32], trans(b[n..+128, k..+32]), acc);
        gate = dot(a[m..+64, k..+32], b2[k..+32, n..+128], gate);
    }
    c[m..+64, n..+128] = acc + max(gate, 0);
}
",
        &[
            (ScalarType::I8, &[200, 167], 0),
            (ScalarType::I8, &[112, 167], 0),
            (ScalarType::I8, &[167, 112], 8),
            (ScalarType::I32, &[200, 112], 0),
        ],
        &[("warps", &[4]), ("stages", &[1])],
        "lazy-random=483",
    )
}

/// Products of 8-bit floats in a loop in a loop: the roles' outer loops were played to different ends, since the one inside stands behind a branch for one of them.
pub fn loops_behind_branches() -> Case {
    case(
        "kernel k(a: tensor<f8e4m3, [E, M, K]>, b: tensor<f8e4m3, [E, N, K]>, c: mut tensor<f32, [M, N]>) grid [cdiv(M, 64), cdiv(N, 96)] {
    let (m, n) = (program_id(0) * 64, program_id(1) * 96);
    let mut acc = zeros::<f32>([64, 96]);
    for e in 0..E {
        for k in (0..min(K, m + 64)).step_by(64) {
            acc = dot(a[e, m..+64, k..+64], trans(b[e, n..+96, k..+64]), acc);
        }
    }
    c[m..+64, n..+96] = acc;
}
",
        &[(ScalarType::F8E4M3, &[3, 131, 176], 0), (ScalarType::F8E4M3, &[3, 200, 176], 0), (ScalarType::F32, &[131, 200], 0)],
        &[("warps", &[4]), ("stages", &[4])],
        "random=580",
    )
}

/// A loop of single steps over products of 8-bit floats, two trips at a time for one role: longer than what is played of it.
pub fn loops_of_single_steps() -> Case {
    case(
        "kernel k(a: tensor<f8e4m3, [E, M, K]>, b: tensor<f8e4m3, [E, N, K]>, c: mut tensor<f32, [M, N]>) grid [cdiv(M, 64), cdiv(N, 64)] {
    let (m, n) = (program_id(0) * 64, program_id(1) * 64);
    let mut acc = zeros::<f32>([64, 64]);
    for e in 0..E {
        acc = dot(a[e, m..+64, 0..+64], trans(b[e, n..+64, 0..+64]), acc);
    }
    c[m..+64, n..+64] = acc;
}
",
        &[(ScalarType::F8E4M3, &[7, 96, 64], 0), (ScalarType::F8E4M3, &[7, 80, 64], 0), (ScalarType::F32, &[96, 80], 0)],
        &[("warps", &[4]), ("stages", &[3])],
        "lazy-random=3",
    )
}

/// Loops in a row, of products of warps and of warpgroups: the sum changed registers while the latter was under way.
pub fn one_sum_of_warps_and_warpgroups() -> Case {
    case(
        "kernel k(a: tensor<i8, [M, K]>, b: tensor<i8, [K, N]>, a2: tensor<i8, [M, J]>, b2: tensor<i8, [N, J]>, c: mut tensor<i32, [M, N]>) grid [cdiv(M, 64), cdiv(N, 64)] {
    let (m, n) = (program_id(0) * 64, program_id(1) * 64);
    let mut acc = zeros::<i32>([64, 64]);
    for k in (0..K).step_by(64) {
        acc = dot(a[m..+64, k..+64], b[k..+64, n..+64], acc);
    }
    for j in (0..J).step_by(64) {
        acc = dot(a2[m..+64, j..+64], trans(b2[n..+64, j..+64]), acc);
    }
    c[m..+64, n..+64] = acc;
}
",
        &[
            (ScalarType::I8, &[200, 256], 0),
            (ScalarType::I8, &[256, 128], 0),
            (ScalarType::I8, &[200, 192], 0),
            (ScalarType::I8, &[128, 192], 0),
            (ScalarType::I32, &[200, 128], 0),
        ],
        &[("warps", &[8]), ("stages", &[3]), ("cluster", &[1, 2])],
        "lazy",
    )
}
