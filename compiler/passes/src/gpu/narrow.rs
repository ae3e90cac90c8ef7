//! Loads and stores that go one element at a time although threads have several: what `kiln build` and launches warn of, with the reason.
//!
//! Runs on a function whose tiles have layouts; changes nothing. Scattered accesses (gathers, atomics) are as they are meant, and 8-byte elements lose little.

use kiln_ir::artifact::Remark;
use kiln_ir::{Function, Inst, InstData, Place, SliceIndex};

use super::access::access_of;
use super::facts::{Facts, fact_divisor};

/// Bytes of elements from which on an access of one is wide enough.
const WIDE_ENOUGH: u32 = 8;
/// The code of the warning.
const NARROW: &str = "K2007";

/// The accesses of `func` over `warps` warps that could not be made wide, one a place in the source.
pub fn narrow_accesses(func: &Function, warps: u32) -> Vec<Remark> {
    let facts = Facts::of(func);
    let mut remarks: Vec<Remark> = Vec::new();
    func.walk(|_, inst| {
        let (what, place) = match &func.insts[inst] {
            InstData::Load { place, .. } | InstData::RingFill { place, .. } => ("load", place),
            InstData::Store { place, .. } => ("store", place),
            _ => return,
        };
        let loc = func.locs[inst];
        if loc.is_known()
            && remarks.iter().all(|r| r.loc != loc)
            && is_narrow(func, &facts, inst, warps)
            && let Some(reason) = reason(func, &facts, place)
        {
            remarks.push(Remark { code: NARROW, loc, message: format!("this {what} goes one element at a time: {reason}") });
        }
    });
    remarks
}

/// One element at a time, and more than one of them a thread.
fn is_narrow(func: &Function, facts: &Facts, inst: Inst, warps: u32) -> bool {
    access_of(func, facts, inst).is_some_and(|access| {
        let elements: u64 = access.shape.iter().map(|&e| u64::from(e)).product();
        access.width == 1 && access.element_bytes < WIDE_ENOUGH && elements >= 2 * 32 * u64::from(warps)
    })
}

/// The first thing that keeps two neighbours from one access; None for accesses that are scattered by nature.
fn reason(func: &Function, facts: &Facts, place: &Place) -> Option<String> {
    let Place::View(access) = place else {
        return Some("its pointers are not known to be consecutive and aligned; slices of tensors are".to_owned());
    };
    if access.index.iter().any(|index| matches!(index, SliceIndex::Gather(_))) {
        return None;
    }
    let view = facts.view(func, access.view);
    let bytes = u64::from(func.ty(access.view).elem().bytes());
    let unit_stride = |d: &usize| view.strides[*d].known == Some(1) && matches!(access.index[*d], SliceIndex::Span { .. });
    let Some(fast) = (0..view.strides.len()).rfind(unit_stride) else {
        return Some("no dimension that it spans is known to have stride 1".to_owned());
    };
    if view.align / bytes < 2 {
        return Some(format!("its memory is not known to be aligned to more than {} bytes", view.align));
    }
    for (d, index) in access.index.iter().enumerate() {
        let odd_stride = || Some(format!("the stride of dimension {d} is not known to be even"));
        match index {
            SliceIndex::Span { start, len } if d == fast => {
                if facts.lanes(func, *start).divisor < 2 {
                    return Some(format!("its start along dimension {d} is not known to be even"));
                }
                if len % 2 != 0 {
                    return Some(format!("its extent along dimension {d} is odd"));
                }
                if access.in_bounds & (1 << d) == 0 && fact_divisor(view.dims[d]) < 2 {
                    return Some(format!(
                        "the length of dimension {d} is not known to be even, so that the last element may stand alone"
                    ));
                }
            }
            SliceIndex::Span { .. } if fact_divisor(view.strides[d]) < 2 => return odd_stride(),
            SliceIndex::At(at) if fact_divisor(view.strides[d]) * facts.lanes(func, *at).divisor < 2 => return odd_stride(),
            _ => {}
        }
    }
    None
}
