//! `print`: records in a buffer that the host reads after the launch, and shows as the CPU's prints are shown.
//!
//! The buffer starts with a 64-bit count of bytes claimed and a 64-bit capacity; records follow. A record is claimed whole by
//! one atomic add, so records of different programs never mix: 64 bits of the print's number plus 1, 64 bits of
//! the program's number, then each operand, row-major in memory format, at multiples of 8. A record that does not fit is left
//! out, and the count says how much is missing.

use kiln_ir::{Inst, Value};

use super::emit::{Emitter, to_memory};
use super::error::Result;
use super::shared_tile::SharedTile;
use super::text::{Asm, Ty, Val};
use crate::host::{PrintInfo, PrintOperand};
use kiln_ir::artifact::PtxParam;

/// Bytes in front of the records.
const HEAD: i64 = 16;
/// Bytes in front of a record's operands.
const RECORD_HEAD: u32 = 16;

impl Emitter<'_> {
    pub(super) fn print(&mut self, inst: Inst, format: &str, args: &[Value]) -> Result<()> {
        let number = self.prints.len() as u32;
        let mut size = RECORD_HEAD;
        let mut starts = Vec::with_capacity(args.len());
        let mut operands = Vec::with_capacity(args.len());
        for &arg in args {
            let ty = self.func.ty(arg);
            starts.push(size);
            size += (ty.num_elements() as u32 * ty.elem().bytes()).next_multiple_of(8);
            operands.push(PrintOperand { elem: ty.elem(), shape: ty.shape().to_vec() });
        }
        let loc = self.func.locs[inst];
        self.prints.push(PrintInfo { format: format.to_owned(), operands, place: self.module.describe(loc), loc });

        let buffer = self.params.value(PtxParam::PrintBuffer);
        let first = self.first_thread();
        let claim = "atom.relaxed.gpu.global.add.u64 %r, [%a], %0;";
        let claimed = self.predicated(claim, 64, buffer, &[Val::int(Ty::I64, i64::from(size))], first);
        let at = self.share_first(claimed);
        let end = self.w.add(at, Val::int(Ty::I64, i64::from(size)));
        let capacity_at = self.w.offset(buffer, Val::int(Ty::I64, 8), 1);
        let capacity = self.w.value(Ty::I64, &format!("load i64, {}, align 8", capacity_at.typed()));
        let fits = self.w.icmp("ule", end, capacity);
        let at = self.w.add(at, Val::int(Ty::I64, HEAD));
        let record = self.w.offset(buffer, at, 1);

        let writes = self.w.and(first, fits);
        // One more than the number: memory that no record was written to is 0.
        self.store_vector(record, &[Val::int(Ty::I64, i64::from(number) + 1)], writes, Self::no_hints());
        let program = self.linear_program();
        let program_at = self.w.offset(record, Val::int(Ty::I64, 8), 1);
        self.store_vector(program_at, &[program], writes, Self::no_hints());
        for (&arg, start) in args.iter().zip(starts) {
            self.print_operand(arg, record, start, fits);
        }
        Ok(())
    }

    fn print_operand(&mut self, arg: Value, record: Val, start: u32, fits: Val) {
        let elem = self.func.ty(arg).elem();
        let base = self.w.offset(record, Val::int(Ty::I64, i64::from(start)), 1);
        let regs = self.regs(arg);
        let Some(spread) = self.spread_of(self.func.ty(arg)) else {
            let first = self.first_thread();
            let writes = self.w.and(first, fits);
            let raw = to_memory(&mut self.w, regs[0], elem);
            return self.store_vector(base, &[raw], writes, Self::no_hints());
        };
        let shape = self.shape(arg);
        for r in spread.layout.owning_registers() {
            let owns = self.owns(&spread, r, &shape);
            let writes = self.w.and(owns, fits);
            let at = self.flat_index(&spread, r, &shape);
            let address = self.w.offset(base, at, elem.bytes());
            let raw = to_memory(&mut self.w, regs[r as usize], elem);
            self.store_vector(address, &[raw], writes, Self::no_hints());
        }
    }

    /// A 64-bit value of the first thread, in all threads.
    fn share_first(&mut self, value: Val) -> Val {
        if self.threads.warps == 1 {
            return self.shuffle("idx", value, Val::i32(0));
        }
        let base = self.scratch(8);
        let tile = SharedTile { base, elem: kiln_ir::ScalarType::I64.into() };
        let first = self.first_thread();
        self.shared_store(&tile, Val::i32(0), value, first);
        self.barrier();
        self.shared_load(&tile, Val::i32(0))
    }

    /// The number of the program, axis 0 fastest (i64).
    fn linear_program(&mut self) -> Val {
        let register = |e: &mut Self, name: &str| {
            e.w.at_entry(|w| {
                let v = w.call_with(Ty::I32, "noundef", &format!("llvm.nvvm.read.ptx.sreg.{name}"), &[]);
                w.cast("zext", v, Ty::I64)
            })
        };
        // In a linear launch y and z are 0.
        let mut linear = Val::int(Ty::I64, 0);
        for (id, extent) in [("ctaid.z", "nctaid.z"), ("ctaid.y", "nctaid.y"), ("ctaid.x", "nctaid.x")] {
            let extent = register(self, extent);
            let id = register(self, id);
            linear = self.w.mul(linear, extent);
            linear = self.w.add(linear, id);
        }
        linear
    }

    /// All programs of the launch wait for each other. The counter starts at 0 and only grows: each round adds one a program.
    pub(super) fn grid_sync(&mut self) {
        let counter = self.params.value(PtxParam::GridCounter);
        self.barrier();
        let first = self.first_thread();
        let (arrive, spin, done) = (self.w.new_label(), self.w.new_label(), self.w.new_label());
        self.w.branch(first, arrive, done);
        self.w.start(arrive);
        let mut programs = Val::int(Ty::I64, 1);
        for axis in ["x", "y", "z"] {
            let extent = self.w.call(Ty::I32, &format!("llvm.nvvm.read.ptx.sreg.nctaid.{axis}"), &[]);
            let extent = self.w.cast("zext", extent, Ty::I64);
            programs = self.w.mul(programs, extent);
        }
        let add = "atom.acq_rel.gpu.global.add.u64 %r, [%a], %0;";
        let before = self.predicated(add, 64, counter, &[Val::int(Ty::I64, 1)], Val::bool(true));
        let round = self.w.raw("udiv", before, programs);
        let next = self.w.add(round, Val::int(Ty::I64, 1));
        let target = self.w.mul(next, programs);
        self.w.jump(spin);
        self.w.start(spin);
        let seen = self.w.asm(&[Ty::I64], Asm::Memory, "ld.acquire.gpu.global.u64 $0, [$1];", "=l,l", &[counter])[0];
        let all = self.w.icmp("uge", seen, target);
        self.w.branch(all, done, spin);
        self.w.start(done);
        self.barrier();
    }
}
