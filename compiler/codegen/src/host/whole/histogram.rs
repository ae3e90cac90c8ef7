//! `histogram`: counts of the values 0..bins of an integer tile, one element at a time.

use kiln_ir::ScalarType;

use crate::host::loops::Emit;
use crate::llvm::{IntPred, Val};

/// A histogram to generate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Histogram {
    /// Elements of the operand.
    pub elements: u64,
    /// Their type, an integer.
    pub elem: ScalarType,
    /// Number of bins.
    pub bins: u32,
}

impl Histogram {
    /// Emits the counts of `values` where `mask` (bytes, 0 or 1) allows into `counts`, i32.
    pub fn emit(&self, e: &Emit<'_>, values: Val, mask: Option<Val>, counts: Val) {
        e.repeat(self.bins.into(), 1, |bin| {
            e.store(e.int(e.i32(), 0), e.gep(e.i32(), counts, bin), 4);
        });
        let ty = e.int_ty(self.elem.bytes() * 8);
        e.repeat(self.elements, 1, |i| {
            let value = e.load(ty, e.gep(ty, values, i), self.elem.bytes());
            // As unsigned, negative values are past every bin.
            let bin = if self.elem.is_signed_int() { e.sext(value, e.i64()) } else { e.zext(value, e.i64()) };
            let mut counted = e.icmp(IntPred::LLVMIntULT, bin, e.index(self.bins.into()));
            if let Some(mask) = mask {
                let allowed = e.load(e.i8(), e.gep(e.i8(), mask, i), 1);
                counted = e.and(counted, e.icmp(IntPred::LLVMIntNE, allowed, e.int(e.i8(), 0)));
            }
            // What is not counted adds 0 to the first bin.
            let place = e.gep(e.i32(), counts, e.select(counted, bin, e.index(0)));
            let count = e.load(e.i32(), place, 4);
            e.store(e.add(count, e.zext(counted, e.i32())), place, 4);
        });
    }
}
