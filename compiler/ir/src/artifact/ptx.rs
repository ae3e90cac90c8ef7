//! PTX and its tables: what the NVPTX back end makes, disk caches keep, and bundles carry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::host::{AssertInfo, PrintInfo};
use super::tensor_map::TensorMap;
use crate::SrcLoc;

/// A GPU architecture.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct GpuTarget {
    /// Compute capability as in `sm_90`: 80, 86, 89, 90.
    pub sm: u32,
    /// The `a` suffix: instructions of this one architecture (`sm_90a`).
    pub arch_specific: bool,
}

impl GpuTarget {
    /// The target called `sm_80`, `sm_90a` and so on, if it is supported.
    pub fn from_name(name: &str) -> Option<GpuTarget> {
        let number = name.strip_prefix("sm_")?;
        let (digits, arch_specific) = match number.strip_suffix('a') {
            Some(digits) => (digits, true),
            None => (number, false),
        };
        let sm = digits.parse().ok()?;
        let supported = matches!((sm, arch_specific), (80 | 86 | 87 | 89 | 90, false) | (90, true));
        supported.then_some(GpuTarget { sm, arch_specific })
    }

    /// `sm_90a`.
    pub fn name(self) -> String {
        format!("sm_{}{}", self.sm, if self.arch_specific { "a" } else { "" })
    }

    /// The lowest PTX version (times 10) that knows the target: older drivers load it.
    pub fn ptx_version(self) -> u32 {
        match (self.sm, self.arch_specific) {
            (80, _) => 70,
            (86, _) => 71,
            (87, _) => 74,
            (89 | 90, false) => 78,
            _ => 80,
        }
    }

    /// Whether warpgroups multiply (`wgmma`) and tensors are copied in boxes (TMA): sm_90a.
    pub fn has_warpgroups(self) -> bool {
        self.sm == 90 && self.arch_specific
    }

    /// Bytes of shared memory one thread block can have (CUDA programming guide, "Technical Specifications per Compute
    /// Capability").
    pub fn shared_bytes(self) -> u32 {
        1024 * match self.sm {
            80 | 87 => 163,
            86 | 89 => 99,
            _ => 227,
        }
    }
}

/// One parameter of the PTX entry, in order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum PtxParam {
    /// Base address of tensor parameter number `0` (of the function's).
    Base(u32),
    /// Extent of a tensor: i64.
    Dim {
        /// Parameter number.
        param: u32,
        /// Dimension.
        axis: u8,
    },
    /// Stride of a tensor in elements: i64.
    Stride {
        /// Parameter number.
        param: u32,
        /// Dimension.
        axis: u8,
    },
    /// A pointer or scalar; the type is that of the function's parameter, `bool` is one byte, `index` i64.
    Value {
        /// Parameter number.
        param: u32,
        /// Bytes of the parameter.
        bytes: u32,
    },
    /// Extent of the grid along an axis: i64. Only for grids of rank 4 and 5.
    GridExtent(u8),
    /// Number of multiprocessors: i64.
    NumSms,
    /// Where prints leave their records: an address, aligned to 8. The launch writes 64 bits of 0 and 64 bits of the capacity in bytes there, and gives that
    /// many bytes behind them. Records follow each other as `nvptx/print.rs` says; the first 64 bits then count the bytes that were asked for.
    PrintBuffer,
    /// A 64-bit counter in memory that `grid_sync` counts with: the address. The launch sets the counter to 0, and has all programs resident at once.
    GridCounter,
    /// 128 bytes that describe a tensor to the TMA engine, aligned to 64.
    TensorMap(TensorMap),
}

impl PtxParam {
    /// Bytes of the parameter.
    pub fn bytes(self) -> u32 {
        match self {
            PtxParam::Value { bytes, .. } => bytes,
            PtxParam::TensorMap(_) => 128,
            _ => 8,
        }
    }
}

/// How program ids follow from the launch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum GridMapping {
    /// Axis 0, 1, 2 of the grid are x, y, z of the launch grid.
    Direct,
    /// One-dimensional launch over all programs, axis 0 fastest; extents come in hidden parameters.
    Linear,
    /// One-dimensional launch over all programs in an order of their own; extents come in hidden parameters.
    Ordered {
        /// So many along axis 0 for each step along axis 1, then the next so many along axis 0, then the other axes. None: axis 0 fastest.
        group: Option<u32>,
        /// Two programs side by side along this axis are a cluster, which takes one place in the order. The extent is a multiple of 2.
        pairs: Option<u8>,
        /// So many thread blocks, a cluster, run each program together.
        split: Option<u32>,
    },
    /// One-dimensional launch of as many thread blocks as there are multiprocessors, or programs if those are fewer; each runs several programs. Extents come in
    /// hidden parameters.
    Persistent {
        /// As above.
        pairs: Option<u8>,
    },
}

impl GridMapping {
    /// The linear number, axis 0 fastest, of the program that thread block `block` runs in a grid of these extents; None where it runs several.
    pub fn program(self, block: [u32; 3], grid: &[i64; 5]) -> Option<i64> {
        let [x, y, z] = block.map(i64::from);
        let (group, pairs, place) = match self {
            GridMapping::Direct => return Some(x + grid[0] * (y + grid[1] * z)),
            GridMapping::Linear => return Some(x),
            GridMapping::Persistent { .. } => return None,
            GridMapping::Ordered { group, pairs, split } => {
                let place = x / split.map_or(1, i64::from);
                (group.map(i64::from), pairs.map(usize::from), place)
            }
        };
        // Places in the order: those of pairs are halved along their axis.
        let (mut extents, mut group, mut number) = (*grid, group, place);
        if let Some(axis) = pairs {
            extents[axis] /= 2;
            number /= 2;
            if axis == 0 {
                group = group.map(|n| (n / 2).max(1));
            }
        }
        let plane = extents[0] * extents[1];
        let (rest, within) = (number / plane, number % plane);
        let group = group.unwrap_or(extents[0]);
        let first = within / (group * extents[1]) * group;
        let rows = group.min(extents[0] - first);
        let in_group = within % (group * extents[1]);
        let mut ids = [first + in_group % rows, in_group / rows];
        if let Some(axis) = pairs {
            ids[axis] = 2 * ids[axis] + x % 2;
        }
        Some(ids[0] + grid[0] * (ids[1] + grid[1] * rest))
    }
}

/// What layout assignment did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct LayoutStats {
    /// `ConvertLayout` instructions left.
    pub conversions: u32,
    /// Those of them that go through shared memory.
    pub through_shared: u32,
}

/// How long the stages of a compilation took.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct PtxTimings {
    /// Layouts for every tile.
    pub layouts: Duration,
    /// Writing LLVM IR.
    pub build: Duration,
    /// LLVM reads and checks it.
    pub read: Duration,
    /// LLVM's optimization passes.
    pub optimize: Duration,
    /// LLVM makes PTX.
    pub codegen: Duration,
}

/// Registers (32 bits) of a thread that holds tiles, in a kernel with products.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RegisterUse {
    /// What tiles take at the least, with what every kernel needs beside them. ptxas needs more, never less.
    pub least: u32,
    /// What the thread can have.
    pub most: u32,
}

/// Something about a kernel that its author should know.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    /// Code of the registry, `K20xx`.
    pub code: &'static str,
    /// Where.
    pub loc: SrcLoc,
    /// What, without code and place.
    pub message: String,
}

/// A compiled kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PtxArtifact {
    /// PTX text with one entry.
    pub ptx: String,
    /// The entry's name.
    pub name: String,
    /// What it was compiled for.
    pub target: GpuTarget,
    /// The entry's parameters, in order.
    pub params: Vec<PtxParam>,
    /// How program ids follow from the launch.
    pub grid: GridMapping,
    /// Warps of a thread block; the block is one-dimensional, 32 threads each.
    pub num_warps: u32,
    /// Dynamic shared memory of a block in bytes.
    pub shared_bytes: u32,
    /// The kernel waits by itself for what the stream did before it, so that it may be launched while that still runs (programmatic dependent launch).
    pub early_launch: bool,
    /// The launch must first raise the kernel's limit of dynamic shared memory (it is over 48 KiB).
    pub needs_shared_opt_in: bool,
    /// Layout conversions in the kernel.
    #[serde(skip)]
    pub layouts: LayoutStats,
    /// The kernel's assertions. `__assertfail` gets their message, file and line.
    pub asserts: Vec<AssertInfo>,
    /// The kernel's prints, by the number in a record of the print buffer (see [`PtxParam::PrintBuffer`]).
    pub prints: Vec<PrintInfo>,
    /// LLVM text after optimization, where asked for.
    pub llvm: Option<String>,
    /// What there is to warn of; nothing for an artifact read from a cache.
    #[serde(skip)]
    pub remarks: Vec<Remark>,
    /// Registers of threads that hold tiles; None without products, and for an artifact read from a cache.
    #[serde(skip)]
    pub registers: Option<RegisterUse>,
    /// Stage times of this compilation (zero for an artifact read from a cache).
    #[serde(skip)]
    pub timings: PtxTimings,
}
