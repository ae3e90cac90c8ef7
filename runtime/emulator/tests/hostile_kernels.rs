//! Kernels that mean harm end with an error, within the limits set: loops, deep calls, wild addresses, much too much of anything.

use kiln_emulator::{Arch, Arg, Error, FaultKind, Launch, Limits, Machine, Options, Sanitizers, Schedule};

/// Loads a kernel `k(.u64 p)` with `body`, where %d1 is p and %p3 holds for thread 0, and `before` in front of it.
fn load(before: &str, body: &str) -> Result<(Machine, kiln_emulator::ModuleId), Error> {
    let text = format!(
        ".version 8.0\n.target sm_90a\n.address_size 64\n{before}\n.visible .entry k(.param .u64 p) {{\n\
         .reg .pred %p<4>; .reg .b16 %h<4>; .reg .b32 %r<8>; .reg .b64 %d<8>; .reg .f32 %f<8>;\nld.param.u64 %d1, [p];\n\
         mov.u32 %r7, %tid.x; setp.eq.u32 %p3, %r7, 0;\n{body}\nret;\n}}\n"
    );
    let mut machine = Machine::new(Arch::Sm90a);
    let module = machine.load_ptx(&text)?;
    Ok((machine, module))
}

fn options(sanitizers: Sanitizers) -> Options {
    let limits = Limits { instructions: 200_000, memory: 1 << 28, ..Limits::default() };
    Options { limits, sanitizers, schedule: Schedule::Lazy, ..Options::default() }
}

/// What a kernel ends with, its argument being 256 bytes of zeros.
fn end(before: &str, body: &str, grid: u32, sanitizers: Sanitizers) -> Result<(), Error> {
    let (mut machine, module) = load(before, body)?;
    let p = machine.upload(&[0u32; 64])?;
    let launch = Launch { grid: [grid, 1, 1], block: [64, 1, 1], cluster: None, smem: 4096, params: vec![Arg::Ptr(p)] };
    machine.launch(module, "k", &launch, &options(sanitizers)).map(drop)
}

fn kind(before: &str, body: &str) -> FaultKind {
    let mut found = vec![];
    for sanitizers in [Sanitizers::ALL, Sanitizers::NONE] {
        match end(before, body, 2, sanitizers) {
            Err(Error::Fault(f)) => found.push(f.kind),
            other => panic!("{body}: {other:?}"),
        }
    }
    assert_eq!(found[0], found[1], "{body}");
    found[0]
}

#[test]
fn loops_end() {
    assert_eq!(kind("", "L: bra L;"), FaultKind::Limit);
    assert_eq!(kind("", "L: ld.volatile.global.u32 %r1, [%d1]; setp.eq.u32 %p1, %r1, 0; @%p1 bra L;"), FaultKind::Limit);
    assert_eq!(kind("", "L: nanosleep.u32 1000; bar.sync 0; bra L;"), FaultKind::Limit);
    // Half of each warp spins on what the other half would do behind it.
    let spin = "mov.u32 %r1, %tid.x; and.b32 %r1, %r1, 1; setp.eq.u32 %p1, %r1, 0; L: @%p1 bra L;";
    assert_eq!(kind("", spin), FaultKind::Limit);
    let huge = end("", "add.u32 %r1, %r1, 1;", i32::MAX as u32, Sanitizers::NONE);
    assert!(matches!(huge, Err(Error::Fault(f)) if f.kind == FaultKind::Limit));
}

#[test]
fn waits_for_nothing_end() {
    let wait = "mov.u32 %r1, 2048; @%p3 mbarrier.init.shared.b64 [%r1], 3; bar.sync 0; L: mbarrier.try_wait.parity.shared.b64 %p1, [%r1], 0; @!%p1 bra L;";
    assert!(matches!(kind("", wait), FaultKind::Deadlock | FaultKind::Limit));
    assert_eq!(
        kind("", "mov.u32 %r1, %tid.x; setp.lt.u32 %p1, %r1, 32; @%p1 barrier.sync 1, 64; @!%p1 barrier.sync 2, 64;"),
        FaultKind::Deadlock
    );
}

#[test]
fn calls_end() {
    let endless = ".func f() { .local .align 8 .b8 a[64]; call f, (); ret; }";
    assert_eq!(kind(endless, "call f, ();"), FaultKind::Limit);
    // Every frame takes much of every thread.
    let deep = ".func f() { .local .align 8 .b8 a[400000]; call f, (); ret; }";
    assert_eq!(kind(deep, "call f, ();"), FaultKind::Limit);
}

#[test]
fn wild_addresses_are_refused() {
    for body in [
        "st.global.u32 [0], %r1;",
        "mov.u64 %d2, -8; st.global.u64 [%d2], %d1;",
        "mov.u64 %d2, 0xfffffffffffffff8; ld.u64 %d3, [%d2+8];",
        "ld.global.u32 %r1, [%d1+9223372036854775804];",
        "shl.b64 %d2, %d1, 7; ld.global.v4.u32 {%r1,%r2,%r3,%r4}, [%d2];",
        "mov.u32 %r1, 0xfffffffc; ld.shared.u32 %r2, [%r1];",
        "mov.u32 %r1, 0x00fffffc; st.shared.u32 [%r1], %r2;",
        "mov.u64 %d2, 0x50000000; ld.u32 %r1, [%d2];",
        "mov.u64 %d2, 0x30000000; st.u32 [%d2], %r1;",
        "ld.local.u32 %r1, [1048576];",
        "ld.const.u32 %r1, [285212672];",
        "ld.param.u32 %r1, [p+4096];",
        "mov.u64 %d2, 64; atom.global.add.u32 %r1, [%d2], 1;",
        "mov.u64 %d2, 4; atom.add.u32 %r1, [%d2], 1;",
        "mov.u32 %r1, 2048; mov.u64 %d2, 128; cp.async.ca.shared.global [%r1], [%d2], 16;",
        "mov.u32 %r1, 0xffff0; cp.async.ca.shared.global [%r1], [%d1], 16;",
        "mov.u32 %r1, 0x7ffff000; mbarrier.init.shared.b64 [%r1], 1;",
        "mov.u32 %r1, 0xfffffff0; ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%r2}, [%r1];",
        "mov.u32 %r1, 2048; @%p3 mbarrier.init.shared.b64 [%r1], 1; mov.u32 %r2, 1048576; @%p3 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r1+16], [%d1], %r2, [%r1];",
    ] {
        assert_eq!(kind("", body), FaultKind::OutOfBounds, "{body}");
    }
    for (body, expected) in [
        ("mov.u64 %d2, 0x12345678; call %d2, (), P;", FaultKind::InvalidOperand),
        ("mov.u32 %r1, 9; barrier.sync %r1, 7;", FaultKind::InvalidOperand),
        ("mov.u32 %r1, 99; barrier.sync %r1;", FaultKind::InvalidOperand),
        ("shfl.sync.idx.b32 %r1, %r2, 0, 31, 0;", FaultKind::InvalidOperand),
        ("mov.u32 %r2, 77; mapa.shared::cluster.u32 %r1, %r1, %r2;", FaultKind::InvalidOperand),
        ("mov.u32 %r1, 2048; @%p3 mbarrier.init.shared.b64 [%r1], 0;", FaultKind::InvalidOperand),
        ("trap;", FaultKind::Trap),
    ] {
        let before = if body.contains("call") { "P: .callprototype _ ();" } else { "" };
        let body = format!("{before} {body}");
        assert_eq!(kind("", &body), expected, "{body}");
    }
}

#[test]
fn garbage_for_a_tensor_map_is_refused() {
    let body = "mov.u32 %r1, 2048; @%p3 mbarrier.init.shared.b64 [%r1], 1; \
                @%p3 cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%r1+1024], [%d1, {%r2, %r2}], [%r1];";
    assert_eq!(kind("", body), FaultKind::InvalidOperand);
}

#[test]
fn too_much_is_refused_before_it_starts() {
    for (before, body) in [
        (".visible .global .align 8 .b8 big[1099511627776];", ""),
        (".visible .global .align 8 .b8 big[18446744073709551615];", ""),
        ("", ".local .align 8 .b8 stack[4294967295];"),
        ("", ".shared .align 8 .b8 tile[4294967295]; st.shared.u32 [tile], %r1;"),
        ("", ".shared .align 8 .b8 tile[1073741824]; st.shared.u32 [tile], %r1;"),
        (".const .align 8 .b8 table[1099511627776];", ""),
        ("", ".local .align 8 .b8 stack[16777216]; st.local.u32 [stack], %r1;"),
    ] {
        let error = end(before, body, 1, Sanitizers::ALL).expect_err(before);
        assert!(!matches!(error, Error::Fault(_)), "{before}{body}: {error}");
    }
    let (mut machine, module) = load("", "").expect("fine");
    let p = machine.upload(&[0u32]).expect("room");
    let mut refused = |grid: [u32; 3], block: [u32; 3], cluster, smem, params: Vec<Arg>| {
        let launch = Launch { grid, block, cluster, smem, params };
        let result = machine.launch(module, "k", &launch, &options(Sanitizers::ALL));
        assert!(matches!(result, Err(Error::Launch(_))), "{launch:?}: {result:?}");
    };
    let one = || vec![Arg::Ptr(p)];
    refused([0, 1, 1], [1; 3], None, 0, one());
    refused([1, 70_000, 1], [1; 3], None, 0, one());
    refused([1; 3], [u32::MAX, u32::MAX, 1], None, 0, one());
    refused([1; 3], [1; 3], Some([u32::MAX; 3]), 0, one());
    refused([1; 3], [1; 3], None, u32::MAX, one());
    refused([1; 3], [1; 3], None, 0, vec![]);
    refused([1; 3], [1; 3], None, 0, vec![Arg::U32(1)]);
    assert!(machine.alloc(u64::MAX).is_err() && machine.alloc(1 << 40).is_err());
}
