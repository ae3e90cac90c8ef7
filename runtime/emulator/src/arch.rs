//! The architectures that are emulated and what they allow.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A GPU architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Arch {
    /// A100.
    Sm80,
    /// GA10x.
    Sm86,
    /// Ada.
    Sm89,
    /// Hopper, portable features.
    Sm90,
    /// Hopper with wgmma and setmaxnreg.
    Sm90a,
}

impl Arch {
    /// 80, 86, 89 or 90.
    pub fn sm(self) -> u32 {
        match self {
            Arch::Sm80 => 80,
            Arch::Sm86 => 86,
            Arch::Sm89 => 89,
            Arch::Sm90 | Arch::Sm90a => 90,
        }
    }

    /// Runs `sm_90a` code.
    pub fn accelerated(self) -> bool {
        self == Arch::Sm90a
    }

    /// Most shared memory of one CTA, static and dynamic, in bytes (CUDA programming guide, compute capabilities).
    pub fn max_shared(self) -> u32 {
        match self {
            Arch::Sm80 => 163 << 10,
            Arch::Sm86 | Arch::Sm89 => 99 << 10,
            Arch::Sm90 | Arch::Sm90a => 227 << 10,
        }
    }

    /// First shared-memory offset that a kernel may use: sm_90 reserves 1 KiB for the system.
    pub fn reserved_shared(self) -> u32 {
        if self.sm() >= 90 { 1024 } else { 0 }
    }

    /// Parses `sm_90a`.
    pub fn from_name(name: &str) -> Option<Arch> {
        [Arch::Sm80, Arch::Sm86, Arch::Sm89, Arch::Sm90, Arch::Sm90a].into_iter().find(|a| a.to_string() == name)
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sm_{}{}", self.sm(), if self.accelerated() { "a" } else { "" })
    }
}
