//! What can go wrong: PTX that is refused, launches that are refused, and faults found while a kernel runs.

use std::fmt;

use serde::Serialize;

/// Any failure of the emulator's API.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The text is not PTX.
    #[error("PTX line {line}: {message}")]
    Parse {
        /// Line in the PTX text, from 1.
        line: u32,
        /// What is wrong.
        message: String,
    },
    /// The PTX is well formed but asks for something this machine does not do, or that its target does not have.
    #[error("PTX line {line}: {message}")]
    Unsupported {
        /// Line in the PTX text, from 1.
        line: u32,
        /// The instruction or directive, and why.
        message: String,
    },
    /// A launch whose configuration or arguments do not fit the kernel.
    #[error("launch refused: {0}")]
    Launch(String),
    /// A host access outside an allocation, a failed allocation, or a bad tensor map.
    #[error("{0}")]
    Host(String),
    /// The kernel did something wrong, or exceeded a limit.
    #[error("{0}")]
    Fault(Box<Fault>),
}

impl Error {
    /// The fault, when a kernel was stopped by one.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Error::Fault(fault) => Some(fault),
            _ => None,
        }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error::Fault(Box::new(fault))
    }
}

/// The kinds of fault. [`FaultKind::code`] is stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// An access outside every allocation, or past the end of one.
    OutOfBounds,
    /// An address that is not a multiple of the access size.
    Misaligned,
    /// A read of memory that nothing wrote.
    Uninitialized,
    /// Two unordered accesses to shared memory, one of them a write.
    SharedRace,
    /// Two unordered accesses to global memory from different CTAs, one of them a plain write.
    GlobalRace,
    /// An asynchronous-proxy access not separated by a proxy fence from a generic-proxy write.
    MissingProxyFence,
    /// Threads of a warp or CTA disagree at a barrier or another convergent instruction.
    BarrierDivergence,
    /// Wrong use of an mbarrier: not initialized, too many arrivals, overwritten.
    MbarrierMisuse,
    /// A register of an unfinished wgmma was touched.
    AccumulatorInFlight,
    /// Every warp waits for something that cannot happen.
    Deadlock,
    /// `trap` or a failed `assert`.
    Trap,
    /// A limit of [`crate::Limits`] was reached.
    Limit,
    /// An operand value that the manual forbids: bad descriptor, bad tensor map, bad mask.
    InvalidOperand,
    /// A store to read-only memory.
    ReadOnly,
    /// Something this machine refuses only once it is reached.
    Unsupported,
}

impl FaultKind {
    /// A stable code for scripts and tests.
    pub fn code(self) -> &'static str {
        match self {
            FaultKind::OutOfBounds => "E-bounds",
            FaultKind::Misaligned => "E-align",
            FaultKind::Uninitialized => "E-uninit",
            FaultKind::SharedRace => "E-race-shared",
            FaultKind::GlobalRace => "E-race-global",
            FaultKind::MissingProxyFence => "E-proxy-fence",
            FaultKind::BarrierDivergence => "E-divergence",
            FaultKind::MbarrierMisuse => "E-mbarrier",
            FaultKind::AccumulatorInFlight => "E-in-flight",
            FaultKind::Deadlock => "E-deadlock",
            FaultKind::Trap => "E-trap",
            FaultKind::Limit => "E-limit",
            FaultKind::InvalidOperand => "E-operand",
            FaultKind::ReadOnly => "E-read-only",
            FaultKind::Unsupported => "E-unsupported",
        }
    }
}

/// A place in the program: PTX line and, where `.loc` says so, source file and line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Line in the PTX text, from 1.
    pub ptx_line: u32,
    /// The instruction as written.
    pub text: String,
    /// Source file and line from `.loc`.
    pub source: Option<(String, u32)>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PTX line {} `{}`", self.ptx_line, self.text)?;
        if let Some((file, line)) = &self.source {
            write!(f, " ({file}:{line})")?;
        }
        Ok(())
    }
}

/// A fault: what, where, and by whom.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// What kind of fault.
    pub kind: FaultKind,
    /// One sentence.
    pub message: String,
    /// The kernel.
    pub kernel: String,
    /// The instruction, absent for faults of the whole launch.
    pub place: Option<Place>,
    /// The other instruction of a race.
    pub other: Option<Place>,
    /// CTA coordinates.
    pub cta: [u32; 3],
    /// Warp within the CTA.
    pub warp: u32,
    /// Lane within the warp, where one lane is to blame.
    pub lane: Option<u32>,
    /// The address, where there is one.
    pub address: Option<u64>,
    /// More lines, such as the state of every warp at a deadlock.
    pub notes: Vec<String>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}", self.kind.code(), self.message)?;
        if let Some(place) = &self.place {
            write!(f, "\n  at {place}")?;
        }
        if let Some(other) = &self.other {
            write!(f, "\n  with {other}")?;
        }
        let [x, y, z] = self.cta;
        write!(f, "\n  in kernel {}, CTA ({x}, {y}, {z}), warp {}", self.kernel, self.warp)?;
        if let Some(lane) = self.lane {
            write!(f, ", lane {lane}")?;
        }
        if let Some(address) = self.address {
            write!(f, ", address {address:#x}")?;
        }
        for note in &self.notes {
            write!(f, "\n  {note}")?;
        }
        Ok(())
    }
}
