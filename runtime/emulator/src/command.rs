//! The library side of `kiln emu FILE.ptx --kernel K --grid 4 --block 128 --arg ..`: text in, text out.
//!
//! An argument is a scalar, `u32:5`, `f32:1.5`, or a buffer, `f32[1024]=random:1`. A buffer's contents are `none`
//! (nothing has written it), `zero`, `iota`, `random:SEED`, a number, or `@FILE` (raw bytes). With `out:` in front the
//! buffer is printed afterwards.

use std::fmt::Write as _;
use std::path::PathBuf;

use half::{bf16, f16};

use crate::arch::Arch;
use crate::error::Error;
use crate::machine::{Arg, Launch, Machine};
use crate::options::Options;

/// What to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// The PTX file.
    pub file: PathBuf,
    /// The kernel; may be left out when the module has one.
    pub kernel: Option<String>,
    /// `4`, `4,2` or `4,2,1`.
    pub grid: String,
    /// As `grid`.
    pub block: String,
    /// As `grid`.
    pub cluster: Option<String>,
    /// Dynamic shared memory, in bytes.
    pub smem: u32,
    /// Arguments, see the module's description.
    pub args: Vec<String>,
    /// The architecture; by default the newest that the file's target allows.
    pub arch: Option<Arch>,
    /// Schedule, sanitizers, limits.
    pub options: Options,
    /// Print the counters as a table.
    pub counters: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Scalar {
    U8,
    U16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

impl Scalar {
    fn parse(word: &str) -> Option<Scalar> {
        Some(match word {
            "u8" => Scalar::U8,
            "u16" => Scalar::U16,
            "u32" => Scalar::U32,
            "i32" | "s32" => Scalar::I32,
            "u64" => Scalar::U64,
            "i64" | "s64" => Scalar::I64,
            "f16" => Scalar::F16,
            "bf16" => Scalar::Bf16,
            "f32" => Scalar::F32,
            "f64" => Scalar::F64,
            _ => return None,
        })
    }

    fn bytes(self) -> usize {
        match self {
            Scalar::U8 => 1,
            Scalar::U16 | Scalar::F16 | Scalar::Bf16 => 2,
            Scalar::U32 | Scalar::I32 | Scalar::F32 => 4,
            _ => 8,
        }
    }

    /// Bytes of a number written in decimal; `None` if it does not fit.
    fn encode(self, text: &str) -> Option<Vec<u8>> {
        Some(match self {
            Scalar::U8 => text.parse::<u8>().ok()?.to_le_bytes().to_vec(),
            Scalar::U16 => text.parse::<u16>().ok()?.to_le_bytes().to_vec(),
            Scalar::U32 => text.parse::<u32>().ok()?.to_le_bytes().to_vec(),
            Scalar::I32 => text.parse::<i32>().ok()?.to_le_bytes().to_vec(),
            Scalar::U64 => text.parse::<u64>().ok()?.to_le_bytes().to_vec(),
            Scalar::I64 => text.parse::<i64>().ok()?.to_le_bytes().to_vec(),
            Scalar::F16 => f16::from_f64(text.parse().ok()?).to_le_bytes().to_vec(),
            Scalar::Bf16 => bf16::from_f64(text.parse().ok()?).to_le_bytes().to_vec(),
            Scalar::F32 => text.parse::<f32>().ok()?.to_le_bytes().to_vec(),
            Scalar::F64 => text.parse::<f64>().ok()?.to_le_bytes().to_vec(),
        })
    }

    fn show(self, b: &[u8]) -> String {
        let bits = b.iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b));
        match self {
            Scalar::I32 => (bits as i32).to_string(),
            Scalar::I64 => (bits as i64).to_string(),
            Scalar::F16 => f16::from_bits(bits as u16).to_string(),
            Scalar::Bf16 => bf16::from_bits(bits as u16).to_string(),
            Scalar::F32 => f32::from_bits(bits as u32).to_string(),
            Scalar::F64 => f64::from_bits(bits).to_string(),
            _ => bits.to_string(),
        }
    }
}

/// A buffer to print afterwards.
struct Shown {
    index: usize,
    ptr: u64,
    scalar: Scalar,
    count: usize,
}

fn bad(what: &str, text: &str) -> Error {
    Error::Launch(format!("{what} `{text}` is not understood"))
}

fn extent(text: &str) -> Result<[u32; 3], Error> {
    let mut out = [1; 3];
    let parts: Vec<&str> = text.split([',', 'x']).collect();
    if parts.len() > 3 {
        return Err(bad("extent", text));
    }
    for (o, p) in out.iter_mut().zip(parts) {
        *o = p.trim().parse().map_err(|_| bad("extent", text))?;
    }
    Ok(out)
}

/// Runs a PTX file and returns what to print: the kernel's output, the buffers asked for, a summary.
///
/// # Errors
/// Everything that [`Machine`] refuses, an unreadable file, or an argument that is not understood.
pub fn run(command: &Command) -> Result<String, Error> {
    let path = command.file.display();
    let source = std::fs::read_to_string(&command.file).map_err(|e| Error::Host(format!("cannot read {path}: {e}")))?;
    let arch = match command.arch {
        Some(arch) => arch,
        None if source.contains("sm_90a") => Arch::Sm90a,
        None => Arch::Sm90,
    };
    let mut machine = Machine::new(arch);
    let module = machine.load_ptx(&source)?;
    let kernel = match &command.kernel {
        Some(name) => name.clone(),
        None => match machine.kernels(module)[..] {
            [one] => one.to_owned(),
            ref many => return Err(Error::Launch(format!("name one of the kernels: {}", many.join(", ")))),
        },
    };
    let mut shown = vec![];
    let mut params = vec![];
    for (index, text) in command.args.iter().enumerate() {
        params.push(argument(&mut machine, text, index, &mut shown)?);
    }
    let launch = Launch {
        grid: extent(&command.grid)?,
        block: extent(&command.block)?,
        cluster: command.cluster.as_deref().map(extent).transpose()?,
        smem: command.smem,
        params,
    };
    let report = machine.launch(module, &kernel, &launch, &command.options)?;
    let mut out = report.output.clone();
    for s in shown {
        let bytes = machine.read::<u8>(s.ptr, s.count * s.scalar.bytes())?;
        let values: Vec<String> = bytes.chunks(s.scalar.bytes()).map(|b| s.scalar.show(b)).collect();
        let _ = writeln!(out, "argument {}: {}", s.index, values.join(" "));
    }
    if command.counters
        && let Some(counters) = &report.counters
    {
        let _ = write!(out, "{counters}");
    }
    let _ = writeln!(out, "{kernel}: {} warp instructions, no fault", report.warp_instructions);
    Ok(out)
}

fn argument(machine: &mut Machine, text: &str, index: usize, shown: &mut Vec<Shown>) -> Result<Arg, Error> {
    let fail = || bad("argument", text);
    let (show, body) = match text.strip_prefix("out:") {
        Some(body) => (true, body),
        None => (false, text),
    };
    let Some((head, contents)) = body.split_once('=') else {
        let (ty, value) = body.split_once(':').ok_or_else(fail)?;
        let scalar = Scalar::parse(ty).ok_or_else(fail)?;
        return Ok(Arg::Bytes(scalar.encode(value).ok_or_else(fail)?));
    };
    let (ty, count) = head.strip_suffix(']').and_then(|h| h.split_once('[')).ok_or_else(fail)?;
    let scalar = Scalar::parse(ty).ok_or_else(fail)?;
    let count: usize = count.parse().map_err(|_| fail())?;
    let ptr = machine.alloc((count * scalar.bytes()) as u64)?;
    let each = |f: &dyn Fn(usize) -> String| -> Result<Vec<u8>, Error> {
        let mut bytes = vec![];
        for i in 0..count {
            bytes.extend(scalar.encode(&f(i)).ok_or_else(fail)?);
        }
        Ok(bytes)
    };
    let bytes = match contents.split_once(':') {
        None if contents == "none" => vec![],
        None if contents == "zero" => vec![0; count * scalar.bytes()],
        None if contents == "iota" => each(&|i| i.to_string())?,
        None if contents.starts_with('@') => {
            let file = &contents[1..];
            let bytes = std::fs::read(file).map_err(|e| Error::Host(format!("cannot read {file}: {e}")))?;
            if bytes.len() != count * scalar.bytes() {
                return Err(Error::Launch(format!("{file} has {} bytes, not {}", bytes.len(), count * scalar.bytes())));
            }
            bytes
        }
        None => each(&|_| contents.to_owned())?,
        Some(("random", seed)) => {
            let mut state: u64 = seed.parse::<u64>().map_err(|_| fail())?.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut bytes = vec![];
            for _ in 0..count {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                let float = matches!(scalar, Scalar::F16 | Scalar::Bf16 | Scalar::F32 | Scalar::F64);
                let word = if float {
                    ((state >> 40) as f64 / (1u64 << 23) as f64 - 1.0).to_string()
                } else {
                    (state >> 57).to_string()
                };
                bytes.extend(scalar.encode(&word).ok_or_else(fail)?);
            }
            bytes
        }
        Some(_) => return Err(fail()),
    };
    if !bytes.is_empty() {
        machine.write(ptr, &bytes)?;
    }
    if show {
        shown.push(Shown { index, ptr, scalar, count });
    }
    Ok(Arg::Ptr(ptr))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_understood_or_refused() {
        let mut machine = Machine::new(Arch::Sm80);
        let mut shown = vec![];
        assert_eq!(argument(&mut machine, "u32:7", 0, &mut shown).unwrap(), Arg::Bytes(vec![7, 0, 0, 0]));
        let Arg::Ptr(ptr) = argument(&mut machine, "out:f32[3]=iota", 1, &mut shown).unwrap() else {
            panic!("not a buffer");
        };
        assert_eq!(machine.read::<f32>(ptr, 3).unwrap(), [0.0, 1.0, 2.0]);
        assert_eq!(shown.len(), 1);
        for wrong in ["", "7", "u32:x", "u8:300", "f32[", "f32[2]=@/nonexistent", "f32[x]=zero", "f32[2]=magic:1"] {
            assert!(argument(&mut machine, wrong, 0, &mut shown).is_err(), "{wrong}");
        }
        assert_eq!(extent("4,2").unwrap(), [4, 2, 1]);
        assert!(extent("4,2,1,1").is_err());
    }
}
