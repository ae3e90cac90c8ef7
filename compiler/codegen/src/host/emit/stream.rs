//! Streaming stores: tensors that a kernel only writes, and that are too large to stay in a cache, go around it.
//!
//! An ordinary store of a line that is not cached reads the line first; a row kernel then moves three bytes for every two that it is asked to. Streaming stores
//! (`movnt*`) write whole lines without that. They are worth it only for outputs that nobody finds in the cache afterwards, so the size decides at run time:
//!
//! ```text
//! before the programs:  mask = bytes of y >= STREAM_BYTES ? bytes of a vector - 1 : -1
//! for each full vector: if address & mask == 0 { store nontemporal } else { store }
//! after the programs:   sfence                      ; streaming stores are not ordered with what follows
//! ```

use kiln_ir::{Elem, InstData, Place, TypeData, Value, ViewAccess};
use rustc_hash::FxHashMap;

use super::Emitter;
use crate::llvm::{IntPred, Val};

/// From this size on an output is streamed: beyond what last-level caches keep beside the input it was made from.
const STREAM_BYTES: i64 = 24 << 20;

impl Emitter<'_> {
    /// Finds the tensors that may be streamed and computes their masks, in front of the loop over programs.
    pub fn begin_streams(&mut self) {
        if !cfg!(target_arch = "x86_64") {
            return;
        }
        let l = &self.b;
        let mut masks = FxHashMap::default();
        for v in self.written_only() {
            let view = &self.views[&v];
            let mut bytes = l.const_i64(i64::from(view.elem.bytes()));
            for &dim in &view.dims {
                bytes = l.mul(bytes, dim);
            }
            let large = l.icmp(IntPred::LLVMIntSGE, bytes, l.const_i64(STREAM_BYTES));
            let mask = l.select(large, l.const_i64(i64::from(self.vector_bytes) - 1), l.const_i64(-1));
            masks.insert(v, mask);
        }
        self.streams = masks;
    }

    /// Orders streaming stores before whatever the caller does next.
    pub fn end_streams(&self) {
        if self.streamed {
            self.b.intrinsic("llvm.x86.sse.sfence", &[], &[]);
        }
    }

    /// Stores consecutive elements of `view`, around the cache where that pays.
    pub fn stream(&mut self, view: Option<Value>, elem: Elem, raw: Val, ptr: Val) {
        let align = elem.bytes();
        let full = self.b.lanes(raw) * align == self.vector_bytes;
        let Some(&mask) = view.filter(|_| full).and_then(|view| self.streams.get(&view)) else {
            self.b.store(raw, ptr, align);
            return;
        };
        self.streamed = true;
        let l = &self.b;
        let address = l.ptrtoint(ptr, l.i64());
        let around = l.icmp(IntPred::LLVMIntEQ, l.and(address, mask), l.const_i64(0));
        let (stream, plain, done) = (l.block("stream"), l.block("plain"), l.block("stored"));
        l.cond_br(around, stream, plain);
        l.at_end(stream);
        let store = l.store(raw, ptr, self.vector_bytes);
        l.set_nontemporal(store);
        l.br(done);
        l.at_end(plain);
        l.store(raw, ptr, align);
        l.br(done);
        l.at_end(done);
    }

    /// Tensors of a kernel without synchronization that nothing but stores touches.
    fn written_only(&self) -> Vec<Value> {
        let func = self.func;
        let mut written: Vec<Value> = func
            .param_values()
            .iter()
            .copied()
            .filter(|&v| matches!(func.ty(v).data(), TypeData::View { mutable: true, .. }))
            .collect();
        let mut synchronizes = false;
        func.walk(|_, inst| match &func.insts[inst] {
            InstData::ViewDim { .. } => {}
            InstData::Store { place: Place::View(ViewAccess { view, .. }), .. } => {
                // The tensor itself may be stored to; it is no operand otherwise.
                let mut uses = 0;
                func.insts[inst].visit_operands(|v| uses += usize::from(v == *view));
                if uses != 1 {
                    written.retain(|v| v != view);
                }
            }
            InstData::AtomicRmw { .. }
            | InstData::AtomicCas { .. }
            | InstData::AtomicLoad { .. }
            | InstData::AtomicStore { .. }
            | InstData::GridSync
            | InstData::InlineAsm { .. }
            | InstData::Call { .. } => synchronizes = true,
            data => data.visit_operands(|v| written.retain(|w| *w != v)),
        });
        if synchronizes { vec![] } else { written }
    }
}
