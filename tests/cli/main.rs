//! The real `kiln` binary, from the outside: what it does, and what it says to bad input. Nothing may panic, and nothing may end in success that is not.

mod bad_run;
mod bundle;
mod bundle_program;
mod commands;
mod emu;
mod gpu;
mod limits;
mod runs;
mod tune;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A directory of its own for one test, with a cache in it.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a run of the binary gave.
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Default for Place {
    fn default() -> Self {
        Place::new()
    }
}

impl Place {
    pub fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().expect("a temporary directory") };
        std::fs::create_dir(place.path("cache")).expect("a directory");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and gives back its name for the command line (relative to the directory, where commands run).
    pub fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), text).expect("writable");
        name.to_owned()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
        command.args(args).current_dir(self.dir.path());
        for variable in ["KILN_DEVICE", "KILN_CACHE_SIZE", "NO_COLOR", "RUST_BACKTRACE"] {
            command.env_remove(variable);
        }
        command.env("KILN_CACHE_DIR", self.path("cache")).env("KILN_NUM_THREADS", "2");
        command
    }

    /// Runs the binary; a panic or a signal fails the test at once.
    pub fn kiln(&self, args: &[&str]) -> Ran {
        ran(self.command(args).output().expect("the binary starts"), args)
    }

    /// Runs the binary, which must succeed.
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.kiln(args);
        assert_eq!(ran.code, Some(0), "kiln {}\n{}{}", args.join(" "), ran.out, ran.err);
        ran
    }

    /// Runs the binary, which must fail with an ordinary error that contains `expected`.
    pub fn fails(&self, args: &[&str], expected: &str) -> Ran {
        let ran = self.kiln(args);
        assert!(matches!(ran.code, Some(1 | 2)), "kiln {}: exit {:?}\n{}{}", args.join(" "), ran.code, ran.out, ran.err);
        assert!(ran.err.contains(expected), "kiln {}: `{expected}` is missing in\n{}", args.join(" "), ran.err);
        ran
    }
}

pub fn ran(output: Output, args: &[&str]) -> Ran {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    let ran = Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) };
    let what = args.join(" ");
    assert!(ran.code.is_some(), "kiln {what}: ended by a signal\n{}", ran.err);
    assert!(!ran.err.contains("panicked") && ran.code != Some(101), "kiln {what}: {}", ran.err);
    ran
}

/// A dense little-endian `.npy` file.
pub fn npy(descr: &str, dims: &[i64], data: &[u8]) -> Vec<u8> {
    let dims: String = dims.iter().map(|d| format!("{d},")).collect();
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims}), }}");
    header.push_str(&" ".repeat((64 - (11 + header.len()) % 64) % 64));
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend_from_slice(&(header.len() as u16).to_le_bytes());
    file.extend_from_slice(header.as_bytes());
    file.extend_from_slice(data);
    file
}

pub fn npy_f32(dims: &[i64], data: &[f32]) -> Vec<u8> {
    npy("<f4", dims, &data.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>())
}

/// The elements of an f32 `.npy` file.
pub fn read_f32(path: &Path) -> Vec<f32> {
    let bytes = std::fs::read(path).expect("written");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    bytes[10 + length..].chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Kernels that most tests use.
pub const KERNELS: &str = r#"//! Kernels for tests of the command.

/// y = x * factor
kernel scale<T: float, const B: int = 128>(x: tensor<T, [N]>, y: mut tensor<T, [N]>, factor: f32 = 2.0) grid [cdiv(N, B)] {
    let n = program_id(0) * B;
    y[n..+B] = (x[n..+B] as f32 * factor) as T;
}

/// c = a + b, of matrices that agree.
kernel add<T: num, const B: int = 64>(a: tensor<T, [M, N]>, b: tensor<T, [M, N]>, c: mut tensor<T, [M, N]>) grid [M, cdiv(N, B)] {
    let (m, n) = (program_id(0), program_id(1) * B);
    c[m, n..+B] = a[m, n..+B] + b[m, n..+B];
}

/// A clause, an optional tensor, an update in place, an integer.
kernel shift<const B: int = 64>(x: mut tensor<i32, [N]>, by: tensor<i32, [N]>?, amount: i32 = 1) grid [cdiv(N, B)] requires N % 2 == 0 {
    let n = program_id(0) * B;
    if by.is_some() { x[n..+B] = x[n..+B] + by[n..+B]; } else { x[n..+B] = x[n..+B] + amount; }
}

/// Halves of a packed tensor.
kernel halves(ab: tensor<f32, [2 * N]>, y: mut tensor<f32, [N]>) grid [N] {
    let n = program_id(0);
    y[n] = ab[n] + ab[N + n];
}

/// A constant that only the launch can give.
kernel needs<const K: int, T: float>(x: mut tensor<f32, [N]>) grid [K] { x[program_id(0)] = 1.0; }

/// An assertion that fails in program 3.
kernel asserting(x: mut tensor<f32, [N]>) grid [N] {
    let n = program_id(0);
    assert(n != 3, "three is not allowed");
    x[n] = 1.0;
}
"#;
