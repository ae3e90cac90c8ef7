//! Assertions, prints, `grid_sync` and checked accesses: calls back into the runtime.

use kiln_ir::abi::{ACCESS_CHECK, AccessKind, HostContext};
use kiln_ir::{Elem, Inst, InstData, Value};

use super::nest::{Coords, GroupNest, Nest};
use super::{Buffer, Emitter};
use crate::CodegenError;
use crate::llvm::{IntPred, Val};
use kiln_ir::artifact::{AccessInfo, AssertInfo, PrintInfo, PrintOperand};

/// Byte offsets in `abi::HostContext`.
const USER: i64 = std::mem::offset_of!(HostContext, user) as i64;
const ON_ASSERT: i64 = std::mem::offset_of!(HostContext, on_assert) as i64;
const ON_PRINT: i64 = std::mem::offset_of!(HostContext, on_print) as i64;
const ON_SYNC: i64 = std::mem::offset_of!(HostContext, on_sync) as i64;
const ON_ACCESS: i64 = std::mem::offset_of!(HostContext, on_access) as i64;

impl Emitter<'_> {
    fn context_field(&self, offset: i64) -> Val {
        let field = self.b.offset(self.program().context, offset);
        self.b.load(self.b.ptr(), field, 8)
    }

    /// Reports and leaves the program unless `ok`.
    pub fn assert_scalar(&mut self, inst: Inst, ok: Val) {
        let InstData::Assert { message, .. } = &self.func.insts[inst] else { return };
        let number = self.asserts.len() as i64;
        let loc = self.func.locs[inst];
        self.asserts.push(AssertInfo { message: message.to_string(), place: self.module.describe(loc), loc });
        let (fail, go) = (self.b.block("assert_failed"), self.b.block("assert_ok"));
        self.b.cond_br(ok, go, fail);
        self.b.at_end(fail);
        let (callee, user) = (self.context_field(ON_ASSERT), self.context_field(USER));
        let ty = self.b.fn_ty(self.b.void(), &[self.b.ptr(), self.b.i32(), self.b.i64()]);
        self.b.call(ty, callee, &[user, self.b.int(self.b.i32(), number), self.program().linear]);
        self.b.br(self.program().next);
        self.b.at_end(go);
    }

    /// Notes lanes that fail a tile assertion.
    pub fn assert_lanes(&mut self, n: &mut Nest, g: &GroupNest, inst: Inst, coords: &Coords) -> Result<(), CodegenError> {
        let InstData::Assert { cond, .. } = &self.func.insts[inst] else { return Ok(()) };
        let ok = self.eval(n, *cond, coords)?;
        let Some(&(_, flag)) = g.flags.iter().find(|(i, _)| *i == inst) else {
            return Err(CodegenError::internal("an assertion without a flag"));
        };
        let mut bad = self.b.not(self.b.splat(ok.v, n.lanes));
        if let Some(mask) = n.mask {
            bad = self.b.and(bad, mask);
        }
        if n.lanes > 1 {
            bad = self.b.intrinsic("llvm.vector.reduce.or", &[self.b.ty(bad)], &[bad]);
        }
        let i8_ty = self.b.i8();
        let old = self.b.load(i8_ty, flag, 1);
        self.b.store(self.b.or(old, self.b.zext(bad, i8_ty)), flag, 1);
        Ok(())
    }

    /// After a group: leaves the program if an assertion failed.
    pub fn finish_asserts(&mut self, g: &GroupNest) -> Result<(), CodegenError> {
        for &(inst, flag) in &g.flags {
            let bad = self.b.load(self.b.i8(), flag, 1);
            let ok = self.b.icmp(IntPred::LLVMIntEQ, bad, self.b.int(self.b.i8(), 0));
            self.assert_scalar(inst, ok);
        }
        Ok(())
    }

    /// Emits a `Print`: operands in memory, row-major, one pointer each.
    pub fn print(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::Print { format, args } = &func.insts[inst] else {
            return Err(CodegenError::internal("not a print"));
        };
        let mark = self.mark();
        let number = self.prints.len() as i64;
        let list = self.operands_in_memory(args)?;
        let operands = args.iter().map(|&arg| PrintOperand { elem: func.ty(arg).elem(), shape: func.ty(arg).shape().to_vec() });
        let operands = operands.collect();
        let loc = func.locs[inst];
        self.prints.push(PrintInfo { format: format.to_string(), operands, place: self.module.describe(loc), loc });
        let (callee, user) = (self.context_field(ON_PRINT), self.context_field(USER));
        let ty = self.b.fn_ty(self.b.void(), &[self.b.ptr(), self.b.i32(), self.b.i64(), self.b.ptr()]);
        self.b.call(ty, callee, &[user, self.b.int(self.b.i32(), number), self.program().linear, list]);
        self.release(mark);
        Ok(())
    }

    /// Values row-major in memory, and the list of pointers to them.
    fn operands_in_memory(&mut self, args: &[Value]) -> Result<Val, CodegenError> {
        let list = self.alloc_bytes(8 * args.len().max(1) as u64);
        for (i, &arg) in args.iter().enumerate() {
            let ty = self.func.ty(arg);
            let buffer = if self.is_tile(arg) {
                self.buffer(arg)?
            } else {
                let buffer: Buffer = self.alloc(ty.elem(), &[]);
                let v = self.scalar(arg)?;
                let raw = self.pack(ty.elem(), v);
                self.b.store(raw, buffer.ptr, ty.elem().bytes());
                buffer
            };
            let slot = self.b.offset(list, 8 * i as i64);
            self.b.store(buffer.ptr, slot, 8);
        }
        Ok(list)
    }

    /// Waits for the other programs.
    pub fn grid_sync(&mut self) {
        let (callee, user) = (self.context_field(ON_SYNC), self.context_field(USER));
        let ty = self.b.fn_ty(self.b.void(), &[self.b.ptr(), self.b.i64()]);
        self.b.call(ty, callee, &[user, self.program().linear]);
    }

    /// The one piece of inline assembly that the CPU knows: the check in front of an access. Leaves the program where the runtime refuses it.
    pub fn inline_asm(&mut self, inst: Inst) -> Result<(), CodegenError> {
        let func = self.func;
        let InstData::InlineAsm { text, constraints, args, .. } = &func.insts[inst] else {
            return Err(CodegenError::internal("not inline assembly"));
        };
        if **text != *ACCESS_CHECK {
            return Err(self.unsupported(inst, "inline PTX has no meaning on the CPU"));
        }
        let malformed = || CodegenError::internal("the check of an access is malformed");
        let (name, bytes) = match constraints.split_once(':') {
            Some((name, bytes)) => (name, Some(bytes.parse::<u32>().map_err(|_| malformed())?)),
            None => (&**constraints, None),
        };
        let kind = AccessKind::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(malformed)?;
        let [addresses, _] = args[..] else { return Err(malformed()) };
        let Elem::Ptr { pointee, .. } = func.ty(addresses).elem() else { return Err(malformed()) };
        let bytes = bytes.unwrap_or(pointee.bytes());
        let mark = self.mark();
        let number = self.accesses.len() as i64;
        let list = self.operands_in_memory(args)?;
        let (shape, loc) = (func.ty(addresses).shape().to_vec(), func.locs[inst]);
        self.accesses.push(AccessInfo { kind, bytes, shape, place: self.module.describe(loc), loc });
        let (callee, user) = (self.context_field(ON_ACCESS), self.context_field(USER));
        let ty = self.b.fn_ty(self.b.i32(), &[self.b.ptr(), self.b.i32(), self.b.i64(), self.b.ptr()]);
        let stop = self.b.call(ty, callee, &[user, self.b.int(self.b.i32(), number), self.program().linear, list]);
        self.release(mark);
        let (refused, go) = (self.b.block("access_refused"), self.b.block("access_ok"));
        let fine = self.b.icmp(IntPred::LLVMIntEQ, stop, self.b.int(self.b.i32(), 0));
        self.b.cond_br(fine, go, refused);
        self.b.at_end(refused);
        self.b.br(self.program().next);
        self.b.at_end(go);
        Ok(())
    }
}
