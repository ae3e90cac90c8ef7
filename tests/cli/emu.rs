//! `kiln emu`: PTX files on the emulated GPU.

use crate::{Place, npy_f32, read_f32};

/// y = x * factor for n elements, one thread each; `off` more or fewer elements than n are touched.
fn scale(off: i32) -> String {
    format!(
        ".version 8.0
.target sm_80
.address_size 64
.visible .entry scale(.param .u64 x, .param .u64 y, .param .f32 factor, .param .u32 n) {{
    .reg .pred %p<2>; .reg .b32 %r<6>; .reg .f32 %f<4>; .reg .b64 %d<6>;
    ld.param.u64 %d1, [x];
    ld.param.u64 %d2, [y];
    ld.param.f32 %f1, [factor];
    ld.param.u32 %r1, [n];
    add.s32 %r1, %r1, {off};
    mov.u32 %r2, %ctaid.x;
    mov.u32 %r3, %ntid.x;
    mov.u32 %r4, %tid.x;
    mad.lo.s32 %r5, %r2, %r3, %r4;
    setp.ge.s32 %p1, %r5, %r1;
    @%p1 bra DONE;
    mul.wide.s32 %d3, %r5, 4;
    add.s64 %d4, %d1, %d3;
    add.s64 %d5, %d2, %d3;
    ld.global.f32 %f2, [%d4];
    mul.f32 %f3, %f2, %f1;
    st.global.f32 [%d5], %f3;
DONE:
    ret;
}}
"
    )
}

/// Spins until somebody writes what nobody writes.
const SPIN: &str = ".version 8.0
.target sm_80
.address_size 64
.visible .entry spin(.param .u64 flag) {
    .reg .pred %p<2>; .reg .b32 %r<2>; .reg .b64 %d<2>;
    ld.param.u64 %d1, [flag];
AGAIN:
    ld.volatile.global.u32 %r1, [%d1];
    setp.eq.u32 %p1, %r1, 0;
    @%p1 bra AGAIN;
    ret;
}
";

fn place() -> Place {
    let place = Place::new();
    place.file("scale.ptx", scale(0));
    place.file("over.ptx", scale(1));
    place.file("spin.ptx", SPIN);
    place
}

#[test]
fn kernels_run_on_made_data_and_on_files() {
    let place = place();
    let base = ["emu", "scale.ptx", "--grid", "2", "--block", "64"];
    let args = |more: &[&'static str]| base.iter().chain(more).copied().collect::<Vec<&str>>();
    let ran = place.ok(&args(&["--arg", "f32[5]=iota", "--arg", "out:f32[5]=none", "--arg", "f32:0.5", "--arg", "u32:5"]));
    assert_eq!(ran.out, "argument 1: 0 0.5 1 1.5 2\n");
    assert!(ran.err.contains("kernel `scale` on an emulated sm_90"), "{}", ran.err);

    let x: Vec<f32> = (0..100).map(|i| i as f32 - 50.0).collect();
    place.file("x.npy", npy_f32(&[10, 10], &x));
    place.ok(&args(&["-a", "@x.npy", "-a", "f32[100]=none", "-a", "f32:3", "-a", "u32:100", "--out", "1=y.npy", "-q"]));
    assert_eq!(read_f32(&place.path("y.npy")), x.iter().map(|v| v * 3.0).collect::<Vec<_>>());
    // A file's shape stays with its buffer.
    place.ok(&args(&["-a", "@x.npy", "-a", "@x.npy", "-a", "f32:3", "-a", "u32:100", "--out", "1=z.npy", "--arch", "sm_80"]));
    let bytes = std::fs::read(place.path("z.npy")).unwrap();
    assert!(String::from_utf8_lossy(&bytes[..100]).contains("(10,10"));
}

#[test]
fn counters_come_as_a_table_and_as_json() {
    let place = place();
    let args = [
        "emu",
        "scale.ptx",
        "-k",
        "scale",
        "-g",
        "2",
        "-b",
        "64",
        "--counters",
        "-a",
        "f32[128]=random:1",
        "-a",
        "f32[128]=none",
        "-a",
        "f32:2",
        "-a",
        "u32:128",
    ];
    let table = place.ok(&args).out;
    assert!(table.contains("ld.global.f32 %f2, [%d4]") && table.contains("total"), "{table}");
    let json = place.ok(&[&args[..], &["--message-format", "json", "--schedule", "random", "--seed", "3"]].concat()).out;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    // Four warps, four sectors each for 128 bytes, once in and once out.
    assert_eq!(json["counters"]["total"]["global_sectors"], 32);
    assert_eq!(json["counters"]["total"]["global_bytes"], 1024);
    assert_eq!(json["kernel"], "scale");
    assert!(json["counters"]["instructions"].as_array().expect("a list").iter().any(|i| i["place"]["ptx_line"] == 20));
}

#[test]
fn faults_end_with_a_place_and_exit_code_1() {
    let place = place();
    let over = ["emu", "over.ptx", "-b", "64", "-a", "f32[8]=iota", "-a", "f32[8]=none", "-a", "f32:1", "-a", "u32:8"];
    let ran = place.kiln(&over);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.err.contains("[E-bounds]") && ran.err.contains("PTX line 20") && ran.err.contains("lane 8"), "{}", ran.err);
    let ran = place.kiln(&[&over[..], &["--message-format", "json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!((ran.code, &json["fault"]["kind"], &json["fault"]["lane"]), (Some(1), &"out-of-bounds".into(), &8.into()));
    // Switched off, the overrun stays within the piece of memory that a device would give out.
    place.ok(&[&over[..], &["--without", "bounds,uninitialized"]].concat());
    // What the kernel reads nobody wrote.
    let blank = ["emu", "scale.ptx", "-b", "64", "-a", "f32[8]=none", "-a", "f32[8]=none", "-a", "f32:1", "-a", "u32:8"];
    place.fails(&blank, "[E-uninit]");
    place.ok(&[&blank[..], &["--without", "uninitialized"]].concat());
    let spin = ["emu", "spin.ptx", "-b", "32", "-a", "u32[1]=zero", "--max-instructions", "100000"];
    place.fails(&spin, "[E-limit]");
}

#[test]
fn bad_command_lines_are_refused_in_words() {
    let place = place();
    place.file("junk.ptx", "this is no PTX");
    let four = ["-a", "f32[8]=iota", "-a", "f32[8]=none", "-a", "f32:1", "-a", "u32:8"];
    let with = |first: &[&'static str]| [&["emu"], first, &four[..]].concat();
    place.fails(&with(&["missing.ptx"]), "cannot read `missing.ptx`");
    place.fails(&with(&["junk.ptx"]), "PTX line 1");
    place.fails(&with(&["scale.ptx", "-k", "other"]), "no kernel `other`");
    place.fails(&with(&["scale.ptx", "--grid", "a"]), "extent `a`");
    place.fails(&with(&["scale.ptx", "--arch", "sm_75"]), "no architecture");
    place.fails(&with(&["scale.ptx", "--block", "2000"]), "1 to 1024");
    place.fails(&with(&["scale.ptx", "-a", "u32:1"]), "takes 4 arguments, 5 given");
    place.fails(&["emu", "scale.ptx", "-a", "f32[8]=magic"], "does not fit");
    place.fails(&["emu", "scale.ptx", "-a", "u64:x"], "does not fit");
    place.fails(&["emu", "scale.ptx", "-a", "@nothing.npy"], "nothing.npy");
    place.fails(&with(&["scale.ptx", "--out", "y.npy"]), "counted from 0");
    place.fails(&with(&["scale.ptx", "--out", "2=y.npy"]), "argument 2 is no buffer");
    assert_eq!(place.kiln(&["emu"]).code, Some(2));
    assert_eq!(place.kiln(&["emu", "scale.ptx", "--schedule", "slow"]).code, Some(2));
    let help = place.ok(&["emu", "--help"]).out;
    for word in ["f32[1024]=random:1", "--schedule", "Exit codes", "deadlock", "Examples:"] {
        assert!(help.contains(word), "{word}");
    }
}
