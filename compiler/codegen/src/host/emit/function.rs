//! The kernel's entry point: arguments into scalars and views, the loop over programs, scratch memory, constant tables.

use std::sync::Arc;

use kiln_ir::abi::{HostContext, first_slot};
use kiln_ir::{Const, Elem, Inst, TypeData};

use super::{Emitter, Program, SLACK_BYTES, View};
use crate::CodegenError;
use crate::llvm::{IntPred, Val};

const GRID: i64 = std::mem::offset_of!(HostContext, grid) as i64;
const NUM_SMS: i64 = std::mem::offset_of!(HostContext, num_sms) as i64;

impl Emitter<'_> {
    /// Emits `void symbol(args, context, begin, end, scratch)`. Afterwards `scratch_peak` tells the arena's size.
    pub fn emit_kernel(&mut self, symbol: &str) -> Result<(), CodegenError> {
        let func = self.func;
        let l = &self.b;
        let (ptr, i64_ty) = (l.ptr(), l.i64());
        let function = l.add_function(symbol, l.fn_ty(l.void(), &[ptr, ptr, i64_ty, i64_ty, ptr]));
        l.add_fn_enum_attr(function, "nounwind");
        l.add_fn_attr(function, "prefer-vector-width", &(self.vector_bytes * 8).to_string());
        l.add_fn_attr(function, "min-legal-vector-width", &(self.vector_bytes * 8).to_string());
        let [args, context, begin, end, scratch] = [0, 1, 2, 3, 4].map(|i| l.param(function, i));
        let entry = l.block_in(function, "entry");
        l.at_end(entry);
        let (start, leave) = (l.block("start"), l.block("leave"));
        l.cond_br(l.icmp(IntPred::LLVMIntSLT, begin, end), start, leave);
        l.at_end(leave);
        l.ret_void();
        l.at_end(start);
        self.scratch = Some(scratch);
        self.parameters(args);
        self.begin_streams();

        // Program ids of `begin`; the loop counts them up like digits.
        let rank = usize::from(func.grid_rank);
        let l = &self.b;
        let field = |offset: i64| l.load(i64_ty, l.offset(context, offset), 8);
        let grid: Vec<Val> = (0..5).map(|i| field(GRID + 8 * i)).collect();
        let num_sms = field(NUM_SMS);
        let mut ids = Vec::new();
        let mut rest = begin;
        for (axis, &extent) in grid.iter().enumerate().take(rank) {
            if axis + 1 == rank {
                ids.push(rest);
            } else {
                ids.push(l.srem(rest, extent));
                rest = l.sdiv(rest, extent);
            }
        }
        let open = l.begin_loop(begin, l.const_i64(1), &ids);
        let next = l.block("next_program");
        let mut all = open.carried.clone();
        all.resize(5, l.const_i64(0));
        self.program = Some(Program { context, linear: open.iv, ids: all, grid: grid.clone(), num_sms, next });
        self.emit_steps(func.body)?;
        let l = &self.b;
        l.br(next);
        l.at_end(next);
        let mut carry = l.const_bool(true);
        let mut following = Vec::new();
        for (axis, &id) in open.carried.iter().enumerate() {
            let up = l.add_nsw(id, l.zext(carry, i64_ty));
            if axis + 1 == rank {
                following.push(up);
            } else {
                carry = l.icmp(IntPred::LLVMIntSGE, up, grid[axis]);
                following.push(l.select(carry, l.const_i64(0), up));
            }
        }
        l.end_loop(open, end, &following);
        self.end_streams();
        self.b.ret_void();
        Ok(())
    }

    /// Bytes of scratch memory that a call needs.
    pub fn scratch_bytes(&self) -> u64 {
        self.scratch_peak + SLACK_BYTES
    }

    fn parameters(&mut self, args: Val) {
        let func = self.func;
        for (number, &v) in func.param_values().iter().enumerate() {
            let first = first_slot(func, number) as i64;
            let ty = func.ty(v);
            match ty.data() {
                TypeData::Tile { elem, .. } => {
                    let at = self.b.offset(args, 8 * first);
                    let raw = self.b.load(self.mem_ty(*elem), at, 8);
                    let value = self.unpack(*elem, raw);
                    self.scalars.insert(v, value);
                }
                TypeData::View { elem, rank, .. } => {
                    let facts = func.params[number].tensor.as_ref();
                    let rank = i64::from(*rank);
                    let slot = |e: &Self, i: i64, known: Option<i64>| match known {
                        Some(k) => e.b.const_i64(k),
                        None => e.b.load(e.b.i64(), e.b.offset(args, 8 * (first + i)), 8),
                    };
                    let base = self.b.load(self.b.ptr(), self.b.offset(args, 8 * first), 8);
                    let dims = (0..rank)
                        .map(|i| slot(self, 1 + i, facts.and_then(|f| f.dims.get(i as usize)).and_then(|f| f.known)))
                        .collect();
                    let strides = (0..rank)
                        .map(|i| slot(self, 1 + rank + i, facts.and_then(|f| f.strides.get(i as usize)).and_then(|f| f.known)))
                        .collect();
                    self.views.insert(v, View { base, dims, strides, elem: *elem });
                }
            }
        }
    }

    /// A constant tile as a table in memory, with slack behind it for full-width loads.
    pub fn constant_table(&mut self, inst: Inst, elem: Elem, values: &Arc<[Const]>) -> Val {
        if let Some(&table) = self.constants.get(&inst) {
            return table;
        }
        let mem = self.mem_ty(elem);
        let slack = (512 / elem.bytes()) as usize;
        let mut elems: Vec<Val> = values
            .iter()
            .map(|&c| match (elem, c) {
                (Elem::Ptr { .. }, _) => self.b.zero(mem),
                (Elem::Scalar(s), Const::Float(f)) => self.constant_bits(s, f),
                (Elem::Scalar(_), Const::Int(i)) => self.b.int(mem, i),
            })
            .collect();
        elems.resize(elems.len() + slack, self.b.zero(mem));
        let init = self.b.const_array(mem, &elems);
        let table = self.b.const_global("table", init, 64);
        self.constants.insert(inst, table);
        table
    }

    /// A float constant in memory format.
    fn constant_bits(&mut self, s: kiln_ir::ScalarType, f: f64) -> Val {
        use kiln_ir::ScalarType::{F16, F32, F64};
        let mem = self.mem_ty(s.into());
        if matches!(s, F16 | F32 | F64) {
            return self.b.float(mem, f);
        }
        // The builder folds the conversion of a constant.
        let v = self.b.float(self.b.f32(), f);
        let rounded = self.round_to(s.into(), v);
        self.pack(s.into(), rounded)
    }
}
