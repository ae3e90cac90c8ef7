//! The checked mode of the CPU: what every access of a kernel is held against.
//!
//! A kernel compiled with checks calls back before each load, store and atomic with the addresses of all lanes. Each has to lie inside a tensor of the launch and be a multiple
//! of its element's size; and no element may be written by one program and touched by another, unless both do it atomically. Programs run one after the other in
//! this mode, so that the same launch gives the same report.
//!
//! Not looked at: what lies behind raw pointers (nobody says how long it is), and races in kernels whose programs order their accesses themselves (`grid_sync`, atomics that
//! acquire or release).

use kiln_ir::abi::AccessKind;
use kiln_ir::artifact::AccessInfo;

use crate::args::Arg;

/// A tensor of the launch.
#[derive(Debug)]
struct Region {
    name: String,
    /// Address of the first element.
    base: u64,
    dims: Vec<i64>,
    /// In elements.
    strides: Vec<i64>,
    /// Bytes of an element.
    size: u64,
    /// Lowest byte, and one past the highest.
    reach: (u64, u64),
    /// Who touched each element of the reach; made at the first access.
    cells: Vec<Cell>,
}

/// Programs that touched an element: linear number + 1, 0 for none.
#[derive(Clone, Copy, Debug, Default)]
struct Cell {
    writer: u32,
    reader: u32,
    atomic: u32,
}

/// Several programs.
const SEVERAL: u32 = u32::MAX;

/// The memory of a launch.
#[derive(Debug)]
pub(crate) struct Memory {
    regions: Vec<Region>,
    /// There are pointers to memory that is not known.
    open: bool,
    races: bool,
    /// The first mistake: number of the access, linear number of the program, what is wrong.
    pub fault: Option<(u32, i64, String)>,
}

impl Memory {
    /// The memory of some arguments with the names of their parameters. `races`: whether to look for them.
    pub fn new<'a>(args: impl Iterator<Item = (&'a str, &'a Arg<'a>)>, races: bool) -> Memory {
        let mut memory = Memory { regions: vec![], open: false, races, fault: None };
        for (name, arg) in args {
            match arg {
                Arg::Tensor(tensor, _) => {
                    memory.open |= tensor.scalar_type().is_none();
                    let size = u64::from(tensor.elem().bytes());
                    let (mut low, mut high) = (0i64, 0i64);
                    for (&d, &s) in tensor.dims().iter().zip(tensor.strides()) {
                        let last = (d - 1).max(0) * s;
                        if last < 0 { low += last } else { high += last }
                    }
                    if tensor.is_empty() {
                        continue;
                    }
                    let at = |elements: i64| tensor.address().wrapping_add_signed(elements * size as i64);
                    memory.regions.push(Region {
                        name: name.to_owned(),
                        base: tensor.address(),
                        dims: tensor.dims().to_vec(),
                        strides: tensor.strides().to_vec(),
                        size,
                        reach: (at(low), at(high) + size),
                        cells: vec![],
                    });
                }
                Arg::Pointer { .. } => memory.open = true,
                Arg::Infer | Arg::Number(..) | Arg::Absent => {}
            }
        }
        memory
    }

    /// Looks at an access of a program. False where it is wrong, which is noted.
    pub fn allows(&mut self, number: u32, info: &AccessInfo, program: i64, addresses: &[u64], mask: &[bool]) -> bool {
        for (lane, (&address, _)) in addresses.iter().zip(mask).enumerate().filter(|(_, (_, live))| **live) {
            if let Some(problem) = self.problem(info, program, address) {
                if self.fault.is_none() {
                    self.fault = Some((number, program, format!("{}{problem}", lane_text(lane, &info.shape))));
                }
                return false;
            }
        }
        true
    }

    fn problem(&mut self, info: &AccessInfo, program: i64, address: u64) -> Option<String> {
        let bytes = u64::from(info.bytes);
        if !address.is_multiple_of(bytes.max(1)) {
            return Some(format!("the address {address:#x} is not a multiple of {bytes} bytes{}", self.near(address)));
        }
        let verb = match info.kind {
            AccessKind::Read => "reads",
            AccessKind::Write => "writes",
            AccessKind::Atomic => "updates",
            AccessKind::Aligned => return None,
        };
        let inside = |r: &Region| r.reach.0 <= address && address + bytes <= r.reach.1;
        let Some(region) = self.regions.iter_mut().find(|r| inside(r)) else {
            let outside = || format!("{verb} {bytes} bytes outside of every tensor{}", self.near(address));
            return (!self.open).then(outside);
        };
        if !self.races {
            return None;
        }
        if region.cells.is_empty() {
            region.cells = vec![Cell::default(); ((region.reach.1 - region.reach.0) / region.size) as usize];
        }
        let me = u32::try_from(program + 1).ok().filter(|&me| me != SEVERAL)?;
        let first = (address - region.reach.0) / region.size;
        let last = (address + bytes - 1 - region.reach.0) / region.size;
        for element in first..=last {
            if let Some((did, who)) = region.cells[element as usize].touch(info.kind, me) {
                let who = if who == SEVERAL { "other programs".to_owned() } else { format!("program number {}", who - 1) };
                let place = region.element(region.reach.0 + element * region.size);
                return Some(format!("{verb} {place}, which {who} {did}, and not both do it atomically"));
            }
        }
        None
    }

    /// Where an address lies, in terms of the nearest tensor.
    fn near(&self, address: u64) -> String {
        let distance = |r: &Region| match address {
            a if a < r.reach.0 => r.reach.0 - a,
            a if a >= r.reach.1 => a - r.reach.1,
            _ => 0,
        };
        let Some(region) = self.regions.iter().min_by_key(|r| distance(r)) else { return String::new() };
        let (name, away) = (&region.name, distance(region));
        if address == region.reach.1 {
            format!(": right behind the end of `{name}`")
        } else if address < region.reach.0 {
            format!(": {away} bytes before the beginning of `{name}`")
        } else if address >= region.reach.1 {
            format!(": {away} bytes behind the end of `{name}`")
        } else {
            format!(", in {}", region.element(address))
        }
    }
}

impl Cell {
    /// Notes an access. Gives back what another program did that it is in conflict with, and which.
    fn touch(&mut self, kind: AccessKind, me: u32) -> Option<(&'static str, u32)> {
        let other = |who: u32| who != 0 && who != me;
        let conflict = match kind {
            _ if other(self.writer) => Some(("wrote", self.writer)),
            AccessKind::Write if other(self.reader) => Some(("read", self.reader)),
            AccessKind::Write | AccessKind::Read if other(self.atomic) => Some(("updated", self.atomic)),
            AccessKind::Atomic if other(self.reader) => Some(("read", self.reader)),
            _ => None,
        };
        let slot = match kind {
            AccessKind::Write => &mut self.writer,
            AccessKind::Read => &mut self.reader,
            AccessKind::Atomic => &mut self.atomic,
            AccessKind::Aligned => return None,
        };
        *slot = if other(*slot) { SEVERAL } else { me };
        conflict
    }
}

impl Region {
    /// `x[3, 5]`, by the tensor's strides.
    fn element(&self, address: u64) -> String {
        let mut rest = (address as i64).wrapping_sub(self.base as i64).div_euclid(self.size as i64);
        let mut axes: Vec<usize> = (0..self.dims.len()).collect();
        axes.sort_by_key(|&a| std::cmp::Reverse(self.strides[a].abs()));
        let mut index = vec![0; self.dims.len()];
        for axis in axes {
            let (extent, stride) = (self.dims[axis], self.strides[axis]);
            if extent > 1 && stride != 0 {
                index[axis] = (rest / stride).clamp(0, extent - 1);
                rest -= index[axis] * stride;
            }
        }
        let index: Vec<String> = index.iter().map(i64::to_string).collect();
        format!("`{}[{}]`", self.name, index.join(", "))
    }
}

/// `lane [3, 5] `; nothing for accesses of one element.
fn lane_text(lane: usize, shape: &[u32]) -> String {
    if shape.is_empty() {
        return String::new();
    }
    let mut rest = lane;
    let mut index: Vec<String> = shape
        .iter()
        .rev()
        .map(|&d| {
            let i = rest % d as usize;
            rest /= d as usize;
            i.to_string()
        })
        .collect();
    index.reverse();
    format!("lane [{}] ", index.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::{AnyTensor, Tensor};

    fn info(kind: AccessKind, bytes: u32) -> AccessInfo {
        AccessInfo { kind, bytes, shape: vec![2], place: String::new(), loc: kiln_ir::SrcLoc::UNKNOWN }
    }

    /// Accesses of two lanes, the second masked off: kind, bytes, program, element of `x` (which has 2 x 3).
    fn fault(accesses: &[(AccessKind, u32, i64, i64)]) -> Option<String> {
        let x: AnyTensor = Tensor::<f32>::zeros(&[2, 3]).unwrap().into();
        let arg = Arg::Tensor(&x, true);
        let mut memory = Memory::new([("x", &arg)].into_iter(), true);
        for &(kind, bytes, program, element) in accesses {
            let address = x.address().wrapping_add_signed(4 * element);
            let fine = memory.allows(0, &info(kind, bytes), program, &[address, 0], &[true, false]);
            assert_eq!(fine, memory.fault.is_none());
        }
        memory.fault.map(|(_, _, message)| message)
    }

    #[test]
    fn memory_outside_is_refused() {
        use AccessKind::{Aligned, Read, Write};
        assert_eq!(fault(&[(Read, 4, 0, 0), (Write, 4, 0, 5), (Read, 8, 0, 4)]), None);
        assert_eq!(
            fault(&[(Read, 4, 0, 6)]).unwrap(),
            "lane [0] reads 4 bytes outside of every tensor: right behind the end of `x`"
        );
        assert!(fault(&[(Write, 4, 0, -2)]).unwrap().ends_with("8 bytes before the beginning of `x`"));
        assert!(fault(&[(Read, 8, 0, 5)]).unwrap().contains("is not a multiple of 8 bytes, in `x[1, 2]`"));
        // The tensor begins at a multiple of 64.
        assert_eq!(fault(&[(Aligned, 16, 0, 4)]), None);
        assert!(fault(&[(Aligned, 16, 0, 3)]).is_some());
    }

    #[test]
    fn races_are_found_in_either_order() {
        use AccessKind::{Atomic, Read, Write};
        for (first, second, race) in [
            (Read, Read, false),
            (Read, Write, true),
            (Write, Read, true),
            (Write, Write, true),
            (Atomic, Atomic, false),
            (Atomic, Read, true),
            (Read, Atomic, true),
            (Atomic, Write, true),
            (Write, Atomic, true),
        ] {
            assert_eq!(fault(&[(first, 4, 0, 4), (second, 4, 0, 4)]), None, "one program");
            assert_eq!(fault(&[(first, 4, 0, 4), (second, 4, 1, 3)]), None, "other elements");
            assert_eq!(fault(&[(first, 4, 0, 4), (second, 4, 1, 4)]).is_some(), race, "{first:?} {second:?}");
        }
        let message = fault(&[(Read, 4, 2, 4), (Read, 4, 3, 4), (Write, 4, 4, 4)]).unwrap();
        assert_eq!(message, "lane [0] writes `x[1, 1]`, which other programs read, and not both do it atomically");
    }
}
