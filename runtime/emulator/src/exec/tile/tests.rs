//! Tensor copies that reduce into global memory: every operation and type, boxes that reach out of the tensor, and what the sanitizers say of them.

use half::{bf16, f16};

use crate::{Arch, Arg, Error, FaultKind, Launch, Machine, Options, Schedule, Swizzle};
use crate::{ElementType, TensorMap};

const SCHEDULES: [Schedule; 4] = [Schedule::Eager, Schedule::Lazy, Schedule::LazyRandom(3), Schedule::Random(5)];
/// Extents of the tensor, elements from one row to the next, and of the box.
const DIMS: [u64; 2] = [20, 6];
const PITCH: u64 = 24;
const BOX: [u32; 2] = [16, 8];

/// A kernel of thread blocks that each reduce the box at (x, y), whose elements come from `from` as words; the second block does `other` besides, %d1 being `to`.
fn text(op: &str, other: &str) -> String {
    format!(
        ".version 8.0\n.target sm_90a\n.address_size 64\n\
         .visible .entry k(.param .align 64 .b8 m[128], .param .u32 x, .param .u32 y, .param .u64 from, .param .u64 to, .param .u32 words) {{\n\
         .reg .pred %p<4>; .reg .b32 %r<8>; .reg .b64 %d<8>; .shared .align 1024 .b8 s[4096];\n\
         ld.param.u64 %d1, [to]; ld.param.u64 %d2, [from]; ld.param.u32 %r3, [x]; ld.param.u32 %r4, [y]; ld.param.u32 %r5, [words];\n\
         mov.u32 %r6, s; mov.u32 %r1, %tid.x;\n\
         L: setp.ge.u32 %p1, %r1, %r5; @%p1 bra DONE;\n\
         mul.wide.u32 %d3, %r1, 4; add.u64 %d3, %d2, %d3; ld.global.u32 %r2, [%d3]; shl.b32 %r7, %r1, 2; add.u32 %r7, %r6, %r7; st.shared.u32 [%r7], %r2;\n\
         add.u32 %r1, %r1, 32; bra L;\n\
         DONE: fence.proxy.async.shared::cta; bar.sync 0;\n\
         mov.u32 %r1, %tid.x; setp.ne.u32 %p1, %r1, 0; @%p1 bra END;\n\
         mov.u32 %r1, %ctaid.x; setp.ne.u32 %p2, %r1, 1; @%p2 bra REDUCE;\n\
         {other}\n\
         REDUCE: mov.b64 %d4, m; cvta.param.u64 %d4, %d4;\n\
         cp.reduce.async.bulk.tensor.2d.global.shared::cta.{op}.tile.bulk_group [%d4, {{%r3, %r4}}], [%r6];\n\
         cp.async.bulk.commit_group; cp.async.bulk.wait_group 0;\n\
         END: ret;\n}}\n"
    )
}

/// What is in memory, rows of [`PITCH`] elements, after three blocks have reduced a box at `start`.
fn run<T: bytemuck::Pod>(
    (op, other): (&str, &str),
    element: ElementType,
    swizzle: Swizzle,
    start: [i32; 2],
    (memory, values): (Option<&[T]>, &[T]),
    schedule: Schedule,
) -> Result<Vec<T>, Error> {
    let mut machine = Machine::new(Arch::Sm90a);
    let module = machine.load_ptx(&text(op, other))?;
    let bytes = size_of::<T>() as u64;
    let from = machine.upload(values)?;
    let to = match memory {
        Some(memory) => machine.upload(memory)?,
        None => machine.alloc(PITCH * DIMS[1] * bytes)?,
    };
    let map = TensorMap {
        element,
        address: to,
        dims: DIMS.to_vec(),
        strides: vec![PITCH * bytes],
        tile: BOX.to_vec(),
        swizzle,
        nan_fill: false,
    };
    let words = size_of_val(values) as u32 / 4;
    let params = vec![
        Arg::Bytes(map.encode_tiled()?.to_vec()),
        Arg::I32(start[0]),
        Arg::I32(start[1]),
        Arg::Ptr(from),
        Arg::Ptr(to),
        Arg::U32(words),
    ];
    let launch = Launch { grid: [3, 1, 1], block: [32, 1, 1], cluster: None, smem: 0, params };
    machine.launch(module, "k", &launch, &Options { schedule, deterministic: true, ..Options::default() })?;
    machine.read(to, (PITCH * DIMS[1]) as usize)
}

/// Each element of a box that is inside the tensor is reduced once by each block, at corners that reach out of it too; nothing else changes.
fn reduces<T: bytemuck::Pod + PartialEq + std::fmt::Debug>(
    op: &str,
    element: ElementType,
    number: impl Fn(u32) -> T,
    combine: impl Fn(T, T) -> T,
) {
    let memory: Vec<T> = (0..(PITCH * DIMS[1]) as u32).map(|i| number(i * 7 + 1)).collect();
    let values: Vec<T> = (0..BOX[0] * BOX[1]).map(|i| number(i * 5 + 2)).collect();
    for (number, start) in [[0, 0], [7, 3], [-3, -2], [-16, 0], [19, 5], [20, 0], [4, -8]].into_iter().enumerate() {
        let mut want = memory.clone();
        for (i, &value) in values.iter().enumerate() {
            let (x, y) = (start[0] + i as i32 % BOX[0] as i32, start[1] + i as i32 / BOX[0] as i32);
            if (0..DIMS[0] as i32).contains(&x) && (0..DIMS[1] as i32).contains(&y) {
                let at = &mut want[y as usize * PITCH as usize + x as usize];
                *at = (0..3).fold(*at, |sum, _| combine(sum, value));
            }
        }
        let schedule = SCHEDULES[number % SCHEDULES.len()];
        let got =
            run((op, ""), element, Swizzle::None, start, (Some(&memory), &values), schedule).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(got, want, "{op} of {element:?} at {start:?}, {schedule:?}");
    }
}

#[test]
fn every_operation_and_type() {
    // Numbers of both signs whose sums are exact.
    let small = |i: u32| (i % 64) as f32 - 31.5;
    reduces("add", ElementType::F32, small, |a, b| a + b);
    reduces("add", ElementType::F64, |i| f64::from(small(i)), |a, b| a + b);
    let half = |i: u32| f16::from_f32(small(i)).to_bits();
    reduces("add", ElementType::F16, half, |a, b| (f16::from_bits(a) + f16::from_bits(b)).to_bits());
    let brain = |i: u32| bf16::from_f32(small(i)).to_bits();
    reduces("add", ElementType::Bf16, brain, |a, b| {
        bf16::from_f32(bf16::from_bits(a).to_f32() + bf16::from_bits(b).to_f32()).to_bits()
    });
    reduces("max", ElementType::F16, half, |a, b| f16::from_bits(a).max(f16::from_bits(b)).to_bits());
    reduces("min", ElementType::Bf16, brain, |a, b| bf16::from_bits(a).min(bf16::from_bits(b)).to_bits());
    let mixed = |i: u32| i.wrapping_mul(0x9e37_79b9);
    let signed = move |i: u32| mixed(i) as i32;
    reduces("add", ElementType::U32, mixed, u32::wrapping_add);
    reduces("add", ElementType::S32, signed, i32::wrapping_add);
    reduces("min", ElementType::S32, signed, i32::min);
    reduces("max", ElementType::S32, signed, i32::max);
    reduces("min", ElementType::U32, mixed, u32::min);
    reduces("max", ElementType::U32, mixed, u32::max);
    reduces("and", ElementType::U32, mixed, |a, b| a & b);
    reduces("or", ElementType::S32, signed, |a, b| a | b);
    reduces("xor", ElementType::U32, mixed, |a, b| a ^ b);
    let wide = move |i: u32| u64::from(mixed(i)) << 32 | u64::from(mixed(i + 3));
    reduces("add", ElementType::U64, wide, u64::wrapping_add);
    reduces("min", ElementType::S64, move |i| wide(i) as i64, i64::min);
    reduces("max", ElementType::U64, wide, u64::max);
    reduces("xor", ElementType::U64, wide, |a, b| a ^ b);
}

/// What the manual does not list is refused.
#[test]
fn other_types_are_refused() {
    let refused = |op: &str, element: ElementType| {
        let done = run((op, ""), element, Swizzle::None, [0, 0], (Some(&[0u64; 144]), &[0u64; 128]), Schedule::Lazy);
        assert!(matches!(done, Err(Error::Fault(f)) if f.kind == FaultKind::InvalidOperand), "{op} of {element:?}");
    };
    for (op, element) in [
        ("min", ElementType::F32),
        ("max", ElementType::F64),
        ("and", ElementType::F32),
        ("add", ElementType::S64),
        ("add", ElementType::U8),
        ("add", ElementType::U16),
        ("inc", ElementType::S32),
    ] {
        refused(op, element);
    }
}

/// Rows of 32 bytes lie in shared memory as their swizzle says.
#[test]
fn swizzled_boxes() {
    let memory = vec![0u16; (PITCH * DIMS[1]) as usize];
    let one = |i: u32| f16::from_f32(i as f32).to_bits();
    // The element at offset i of the box is i: where it lies is what the swizzle makes of its address.
    let mut values = vec![0u16; 128];
    for i in 0..128u32 {
        values[Swizzle::B32.apply(u64::from(2 * i)) as usize / 2] = one(i);
    }
    let got = run(("add", ""), ElementType::F16, Swizzle::B32, [0, 0], (Some(&memory), &values), Schedule::Lazy).expect("runs");
    for (y, row) in got.chunks(PITCH as usize).enumerate() {
        for (x, &found) in row.iter().enumerate() {
            let want = if x < 16 { 3.0 * (16 * y + x) as f32 } else { 0.0 };
            assert_eq!(f16::from_bits(found).to_f32(), want, "{x}, {y}");
        }
    }
}

/// Reductions are atomics: among themselves and with others they do not race; with plain accesses they do. There must be something to add to.
#[test]
fn sanitizers() {
    let memory = vec![0f32; (PITCH * DIMS[1]) as usize];
    let values = vec![1f32; 128];
    let with = |other: &str, schedule: Schedule| {
        run(("add", other), ElementType::F32, Swizzle::None, [0, 0], (Some(memory.as_slice()), &values), schedule)
    };
    for schedule in SCHEDULES {
        let sum = with("red.relaxed.gpu.global.add.f32 [%d1], 0f40000000;", schedule).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((sum[0], sum[1]), (5.0, 3.0));
        // Behind the tensor's rows there is nothing that is reduced.
        assert_eq!(with("st.global.u32 [%d1+80], %r1;", schedule).expect("runs")[1], 3.0);
        for plain in ["st.global.u32 [%d1+4], %r1;", "ld.global.u32 %r1, [%d1+4];"] {
            let raced = with(plain, schedule);
            assert!(matches!(raced, Err(Error::Fault(f)) if f.kind == FaultKind::GlobalRace), "{plain} {schedule:?}");
        }
    }
    let nothing = run(("add", ""), ElementType::F32, Swizzle::None, [0, 0], (None, &values), Schedule::Lazy);
    assert!(matches!(nothing, Err(Error::Fault(f)) if f.kind == FaultKind::Uninitialized));
}
