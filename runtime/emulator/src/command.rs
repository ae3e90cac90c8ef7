//! The library side of `kiln emu FILE.ptx --kernel K --grid 4 --block 128 --arg ..`: arguments as text, one launch, what came of it.
//!
//! An argument is a scalar, `u32:5`, `f32:1.5`, or a buffer, `f32[1024]=random:1`. A buffer's contents are `none`
//! (nothing has written it), `zero`, `iota`, `random:SEED`, a number, or `@FILE` (raw bytes). With `out:` in front the
//! buffer is asked for afterwards.

use std::fmt::Write as _;
use std::str::FromStr;

use half::{bf16, f16};

use crate::arch::Arch;
use crate::error::Error;
use crate::machine::{Arg, Launch, Machine, Report};
use crate::options::Options;

/// What to run.
#[derive(Clone, Debug)]
pub struct Command {
    /// The PTX.
    pub source: String,
    /// The kernel; may be left out when the module has one.
    pub kernel: Option<String>,
    /// CTAs in x, y, z.
    pub grid: [u32; 3],
    /// Threads of a CTA.
    pub block: [u32; 3],
    /// CTAs of a cluster.
    pub cluster: Option<[u32; 3]>,
    /// Dynamic shared memory, in bytes.
    pub smem: u32,
    /// Arguments in order.
    pub args: Vec<Argument>,
    /// The architecture; by default the newest that the file's target allows.
    pub arch: Option<Arch>,
    /// Schedule, sanitizers, limits.
    pub options: Options,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The kernel that ran.
    pub kernel: String,
    /// On what.
    pub arch: Arch,
    /// Counters and what `printf` wrote.
    pub report: Report,
    /// For each argument that is a buffer, its bytes afterwards.
    pub buffers: Vec<Option<Vec<u8>>>,
}

/// An argument of the kernel.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// Bytes of a number.
    Scalar(Vec<u8>),
    /// The address of device memory.
    Buffer(Buffer),
}

/// Device memory made for an argument.
#[derive(Clone, Debug, PartialEq)]
pub struct Buffer {
    /// Type of the elements.
    pub scalar: Scalar,
    /// How many there are.
    pub count: usize,
    /// Contents; `None` for memory that nothing has written.
    pub bytes: Option<Vec<u8>>,
    /// To be shown afterwards.
    pub shown: bool,
}

/// Types of elements and of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Scalar {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F16,
    Bf16,
    F32,
    F64,
}

/// Every type and its name.
const SCALARS: [(&str, Scalar); 12] = [
    ("u8", Scalar::U8),
    ("i8", Scalar::I8),
    ("u16", Scalar::U16),
    ("i16", Scalar::I16),
    ("u32", Scalar::U32),
    ("i32", Scalar::I32),
    ("u64", Scalar::U64),
    ("i64", Scalar::I64),
    ("f16", Scalar::F16),
    ("bf16", Scalar::Bf16),
    ("f32", Scalar::F32),
    ("f64", Scalar::F64),
];

impl FromStr for Scalar {
    type Err = Error;

    fn from_str(word: &str) -> Result<Scalar, Error> {
        let found = SCALARS.iter().find(|(name, _)| *name == word);
        found.map(|(_, scalar)| *scalar).ok_or_else(|| {
            let names: Vec<&str> = SCALARS.iter().map(|(name, _)| *name).collect();
            Error::Launch(format!("`{word}` is no type; there are {}", names.join(", ")))
        })
    }
}

impl Scalar {
    /// Bytes of a value.
    pub fn bytes(self) -> usize {
        match self {
            Scalar::U8 | Scalar::I8 => 1,
            Scalar::U16 | Scalar::I16 | Scalar::F16 | Scalar::Bf16 => 2,
            Scalar::U32 | Scalar::I32 | Scalar::F32 => 4,
            Scalar::U64 | Scalar::I64 | Scalar::F64 => 8,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, Scalar::F16 | Scalar::Bf16 | Scalar::F32 | Scalar::F64)
    }

    /// Bytes of a number written in decimal; `None` if it does not fit.
    fn encode(self, text: &str) -> Option<Vec<u8>> {
        Some(match self {
            Scalar::U8 => text.parse::<u8>().ok()?.to_le_bytes().to_vec(),
            Scalar::I8 => text.parse::<i8>().ok()?.to_le_bytes().to_vec(),
            Scalar::U16 => text.parse::<u16>().ok()?.to_le_bytes().to_vec(),
            Scalar::I16 => text.parse::<i16>().ok()?.to_le_bytes().to_vec(),
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

    /// A value in decimal.
    pub fn show(self, bytes: &[u8]) -> String {
        let bits = bytes.iter().rev().fold(0u64, |v, b| v << 8 | u64::from(*b));
        match self {
            Scalar::I8 => (bits as i8).to_string(),
            Scalar::I16 => (bits as i16).to_string(),
            Scalar::I32 => (bits as i32).to_string(),
            Scalar::I64 => (bits as i64).to_string(),
            Scalar::F16 => f16::from_bits(bits as u16).to_string(),
            Scalar::Bf16 => bf16::from_bits(bits as u16).to_string(),
            Scalar::F32 => f32::from_bits(bits as u32).to_string(),
            Scalar::F64 => f64::from_bits(bits).to_string(),
            Scalar::U8 | Scalar::U16 | Scalar::U32 | Scalar::U64 => bits.to_string(),
        }
    }
}

/// Reads `4`, `4,2` or `4x2x1`.
///
/// # Errors
/// [`Error::Launch`] for anything else.
pub fn extent(text: &str) -> Result<[u32; 3], Error> {
    let bad = || Error::Launch(format!("extent `{text}` is not one to three numbers such as `16,4`"));
    let mut out = [1; 3];
    let parts: Vec<&str> = text.split([',', 'x']).collect();
    if parts.len() > 3 {
        return Err(bad());
    }
    for (o, p) in out.iter_mut().zip(parts) {
        *o = p.trim().parse().map_err(|_| bad())?;
    }
    Ok(out)
}

impl FromStr for Argument {
    type Err = Error;

    fn from_str(text: &str) -> Result<Argument, Error> {
        let bad = |why: &str| Error::Launch(format!("argument `{text}`: {why}"));
        let (shown, body) = match text.strip_prefix("out:") {
            Some(body) => (true, body),
            None => (false, text),
        };
        let Some((head, contents)) = body.split_once('=') else {
            let (ty, value) = body.split_once(':').ok_or_else(|| bad("neither `TYPE:VALUE` nor `TYPE[COUNT]=CONTENTS`"))?;
            if shown {
                return Err(bad("only buffers come out"));
            }
            let scalar: Scalar = ty.parse()?;
            return Ok(Argument::Scalar(scalar.encode(value).ok_or_else(|| bad("the value does not fit the type"))?));
        };
        let (ty, count) = head
            .strip_suffix(']')
            .and_then(|h| h.split_once('['))
            .ok_or_else(|| bad("a buffer begins with its type and count, as in `f32[1024]`"))?;
        let scalar: Scalar = ty.parse()?;
        let count: usize = count.parse().map_err(|_| bad("the count is no number"))?;
        let size = count.checked_mul(scalar.bytes()).filter(|n| *n <= 1 << 32).ok_or_else(|| bad("more than 4 GiB"))?;
        let bytes = match contents {
            "none" => None,
            _ => Some(contents_of(scalar, count, size, contents, &bad)?),
        };
        Ok(Argument::Buffer(Buffer { scalar, count, bytes, shown }))
    }
}

fn contents_of(scalar: Scalar, count: usize, size: usize, contents: &str, bad: &dyn Fn(&str) -> Error) -> Result<Vec<u8>, Error> {
    let each = |f: &mut dyn FnMut(usize) -> String| -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::with_capacity(size);
        for i in 0..count {
            bytes.extend(scalar.encode(&f(i)).ok_or_else(|| bad("a value does not fit the type"))?);
        }
        Ok(bytes)
    };
    if let Some(file) = contents.strip_prefix('@') {
        let bytes = std::fs::read(file).map_err(|e| Error::Host(format!("cannot read {file}: {e}")))?;
        if bytes.len() != size {
            return Err(bad(&format!("{file} has {} bytes, not {size}", bytes.len())));
        }
        return Ok(bytes);
    }
    match contents.split_once(':') {
        None if contents == "zero" => Ok(vec![0; size]),
        None if contents == "iota" => each(&mut |i| i.to_string()),
        None => each(&mut |_| contents.to_owned()),
        Some(("random", seed)) => {
            let seed: u64 = seed.parse().map_err(|_| bad("the seed is no number"))?;
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            each(&mut |_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                // Between -1 and 1, or 0 to 127.
                if scalar.is_float() {
                    ((state >> 40) as f64 / (1u64 << 23) as f64 - 1.0).to_string()
                } else {
                    (state >> 57).to_string()
                }
            })
        }
        Some(_) => Err(bad("contents are `none`, `zero`, `iota`, `random:SEED`, a number or `@FILE`")),
    }
}

/// Loads the PTX, makes the buffers and launches the kernel.
///
/// # Errors
/// Everything that [`Machine`] refuses or finds.
pub fn run(command: &Command) -> Result<Outcome, Error> {
    let arch = match command.arch {
        Some(arch) => arch,
        None if command.source.contains("sm_90a") => Arch::Sm90a,
        None => Arch::Sm90,
    };
    let mut machine = Machine::new(arch);
    let module = machine.load_ptx(&command.source)?;
    let kernel = match &command.kernel {
        Some(name) => name.clone(),
        None => match machine.kernels(module)[..] {
            [one] => one.to_owned(),
            [] => return Err(Error::Launch("the module has no kernel".to_owned())),
            ref many => return Err(Error::Launch(format!("name one of the kernels: {}", many.join(", ")))),
        },
    };
    let mut params = vec![];
    let mut pointers = vec![];
    for argument in &command.args {
        match argument {
            Argument::Scalar(bytes) => {
                params.push(Arg::Bytes(bytes.clone()));
                pointers.push(None);
            }
            Argument::Buffer(buffer) => {
                let size = buffer.count * buffer.scalar.bytes();
                let ptr = machine.alloc(size as u64)?;
                if let Some(bytes) = &buffer.bytes {
                    machine.write(ptr, bytes)?;
                }
                params.push(Arg::Ptr(ptr));
                pointers.push(Some((ptr, size)));
            }
        }
    }
    let (grid, block, cluster) = (command.grid, command.block, command.cluster);
    let launch = Launch { grid, block, cluster, smem: command.smem, params };
    let report = machine.launch(module, &kernel, &launch, &command.options)?;
    let read = |at: &Option<(u64, usize)>| at.map(|(ptr, size)| machine.read::<u8>(ptr, size)).transpose();
    let buffers = pointers.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Outcome { kernel, arch, report, buffers })
}

impl Outcome {
    /// The buffers that were to be shown, a line each.
    pub fn shown(&self, args: &[Argument]) -> String {
        let mut out = String::new();
        for (index, (argument, bytes)) in args.iter().zip(&self.buffers).enumerate() {
            if let (Argument::Buffer(Buffer { scalar, shown: true, .. }), Some(bytes)) = (argument, bytes) {
                let values: Vec<String> = bytes.chunks(scalar.bytes()).map(|b| scalar.show(b)).collect();
                let _ = writeln!(out, "argument {index}: {}", values.join(" "));
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_understood_or_refused() {
        assert_eq!("u32:7".parse::<Argument>().unwrap(), Argument::Scalar(vec![7, 0, 0, 0]));
        assert_eq!("i8:-1".parse::<Argument>().unwrap(), Argument::Scalar(vec![255]));
        let Argument::Buffer(buffer) = "out:f32[3]=iota".parse().unwrap() else { panic!("not a buffer") };
        assert!(buffer.shown && buffer.count == 3);
        let values: Vec<String> = buffer.bytes.unwrap().chunks(4).map(|b| buffer.scalar.show(b)).collect();
        assert_eq!(values, ["0", "1", "2"]);
        let Argument::Buffer(buffer) = "bf16[5]=none".parse().unwrap() else { panic!("not a buffer") };
        assert_eq!((buffer.bytes, buffer.shown), (None, false));
        let wrong = [
            "",
            "7",
            "u32:x",
            "u8:300",
            "f32[",
            "f32[2]=@/nonexistent",
            "f32[x]=zero",
            "f32[2]=magic:1",
            "q[2]=zero",
            "out:u32:7",
            "f64[999999999999999999]=zero",
            "u8[3]=iota:1",
        ];
        for wrong in wrong {
            assert!(wrong.parse::<Argument>().is_err(), "{wrong}");
        }
        assert_eq!(extent("4,2").unwrap(), [4, 2, 1]);
        assert!(extent("4,2,1,1").is_err() && extent("").is_err());
    }
}
