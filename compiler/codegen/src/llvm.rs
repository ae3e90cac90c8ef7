//! A thin layer over LLVM's C API for building one module: values of any width are one type, so that code that computes lanes is written once for scalars
//! and vectors. Every handle ([`Val`], [`Ty`], [`Bb`]) belongs to the [`Llvm`] that made it and must not outlive it.

use std::ffi::{CStr, CString};

mod arith;

use llvm_sys::core::*;
use llvm_sys::prelude::*;
use llvm_sys::{LLVMLinkage, LLVMTypeKind, LLVMUnnamedAddr};

pub(crate) use llvm_sys::LLVMAtomicOrdering as Ordering;
pub(crate) use llvm_sys::LLVMAtomicRMWBinOp as RmwOp;
pub(crate) use llvm_sys::LLVMIntPredicate as IntPred;
pub(crate) use llvm_sys::LLVMRealPredicate as FloatPred;

/// `fastcc` in LLVM's numbering.
const FAST_CONVENTION: u32 = 8;

/// An LLVM value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Val(pub LLVMValueRef);
/// An LLVM type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Ty(pub LLVMTypeRef);
/// A basic block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Bb(pub LLVMBasicBlockRef);

/// A module under construction: context, module and instruction builder.
pub(crate) struct Llvm {
    context: LLVMContextRef,
    pub(crate) module: LLVMModuleRef,
    builder: LLVMBuilderRef,
}

impl Drop for Llvm {
    fn drop(&mut self) {
        // SAFETY: made together in `new`, disposed of once, users before what they use.
        unsafe {
            LLVMDisposeBuilder(self.builder);
            LLVMDisposeModule(self.module);
            LLVMContextDispose(self.context);
        }
    }
}

/// An open counted loop: see [`Llvm::begin_loop`].
pub(crate) struct Loop {
    /// The counter.
    pub iv: Val,
    /// Carried values inside the body.
    pub carried: Vec<Val>,
    /// The branch into the loop: code of the enclosing level can be inserted before it.
    pub entry_branch: Val,
    body: Bb,
    header: Bb,
    exit: Bb,
    step: Val,
}

// SAFETY (whole impl): handles given to the C API come from this module's own context, as the type's contract says; LLVM's C API has no other precondition
// for building instructions than well-typed operands, which the IR verifier checks before code is generated (`llvm_target::finish`).
#[allow(dead_code, reason = "the seam serves two back ends; each uses its part")]
impl Llvm {
    /// An empty module.
    pub fn new(name: &str) -> Llvm {
        let name = CString::new(name.replace('\0', "")).unwrap_or_default();
        unsafe {
            let context = LLVMContextCreate();
            let module = LLVMModuleCreateWithNameInContext(name.as_ptr(), context);
            let builder = LLVMCreateBuilderInContext(context);
            Llvm { context, module, builder }
        }
    }

    /// A module from its text.
    ///
    /// # Errors
    /// LLVM's message, with line and column.
    pub fn parse(text: &str) -> Result<Llvm, String> {
        unsafe {
            let context = LLVMContextCreate();
            let builder = LLVMCreateBuilderInContext(context);
            // The copy has the terminating NUL that the parser asks for.
            let buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(text.as_ptr().cast(), text.len(), c"module".as_ptr());
            let (mut module, mut message) = (std::ptr::null_mut(), std::ptr::null_mut());
            let failed = llvm_sys::ir_reader::LLVMParseIRInContext2(context, buffer, &mut module, &mut message);
            LLVMDisposeMemoryBuffer(buffer);
            if failed == 0 {
                return Ok(Llvm { context, module, builder });
            }
            let text = CStr::from_ptr(message).to_string_lossy().into_owned();
            LLVMDisposeMessage(message);
            LLVMDisposeBuilder(builder);
            LLVMContextDispose(context);
            Err(text)
        }
    }

    // ---- types ----

    pub fn int_ty(&self, bits: u32) -> Ty {
        Ty(unsafe { LLVMIntTypeInContext(self.context, bits) })
    }
    pub fn i1(&self) -> Ty {
        self.int_ty(1)
    }
    pub fn i8(&self) -> Ty {
        self.int_ty(8)
    }
    pub fn i32(&self) -> Ty {
        self.int_ty(32)
    }
    pub fn i64(&self) -> Ty {
        self.int_ty(64)
    }
    pub fn f16(&self) -> Ty {
        Ty(unsafe { LLVMHalfTypeInContext(self.context) })
    }
    pub fn bf16(&self) -> Ty {
        Ty(unsafe { LLVMBFloatTypeInContext(self.context) })
    }
    pub fn f32(&self) -> Ty {
        Ty(unsafe { LLVMFloatTypeInContext(self.context) })
    }
    pub fn f64(&self) -> Ty {
        Ty(unsafe { LLVMDoubleTypeInContext(self.context) })
    }
    pub fn ptr(&self) -> Ty {
        Ty(unsafe { LLVMPointerTypeInContext(self.context, 0) })
    }
    pub fn void(&self) -> Ty {
        Ty(unsafe { LLVMVoidTypeInContext(self.context) })
    }
    /// `<n x ty>`, or `ty` itself for n = 1: one lane is a scalar everywhere.
    pub fn vec(&self, ty: Ty, n: u32) -> Ty {
        if n == 1 { ty } else { Ty(unsafe { LLVMVectorType(ty.0, n) }) }
    }
    pub fn array(&self, ty: Ty, n: u64) -> Ty {
        Ty(unsafe { LLVMArrayType2(ty.0, n) })
    }
    pub fn fn_ty(&self, result: Ty, params: &[Ty]) -> Ty {
        let mut raw: Vec<_> = params.iter().map(|t| t.0).collect();
        Ty(unsafe { LLVMFunctionType(result.0, raw.as_mut_ptr(), raw.len() as u32, 0) })
    }
    pub fn ty(&self, v: Val) -> Ty {
        Ty(unsafe { LLVMTypeOf(v.0) })
    }
    /// Number of lanes of a type: 1 for scalars.
    pub fn lanes_of(&self, ty: Ty) -> u32 {
        unsafe { if LLVMGetTypeKind(ty.0) == LLVMTypeKind::LLVMVectorTypeKind { LLVMGetVectorSize(ty.0) } else { 1 } }
    }
    /// Number of lanes of a value: 1 for scalars.
    pub fn lanes(&self, v: Val) -> u32 {
        self.lanes_of(self.ty(v))
    }
    pub fn elem_ty(&self, ty: Ty) -> Ty {
        if self.lanes_of(ty) == 1 { ty } else { Ty(unsafe { LLVMGetElementType(ty.0) }) }
    }
    /// `elem` with as many lanes as `like`.
    pub fn shaped(&self, elem: Ty, like: Val) -> Ty {
        self.vec(elem, self.lanes(like))
    }
    pub fn int_bits(&self, ty: Ty) -> u32 {
        unsafe { LLVMGetIntTypeWidth(self.elem_ty(ty).0) }
    }

    // ---- constants ----

    /// An integer constant, splat when `ty` is a vector.
    pub fn int(&self, ty: Ty, value: i64) -> Val {
        let n = self.lanes_of(ty);
        let scalar = Val(unsafe { LLVMConstInt(self.elem_ty(ty).0, value as u64, 1) });
        self.const_splat(scalar, n)
    }
    /// A float constant, splat when `ty` is a vector.
    pub fn float(&self, ty: Ty, value: f64) -> Val {
        let n = self.lanes_of(ty);
        let elem = self.elem_ty(ty);
        let scalar = if elem == self.f32() {
            // Through the bits, so that the payload and sign of NaN survive.
            let bits = self.int(self.i32(), i64::from((value as f32).to_bits()));
            Val(unsafe { LLVMConstBitCast(bits.0, elem.0) })
        } else {
            Val(unsafe { LLVMConstReal(elem.0, value) })
        };
        self.const_splat(scalar, n)
    }
    pub fn const_i64(&self, value: i64) -> Val {
        self.int(self.i64(), value)
    }
    pub fn const_bool(&self, value: bool) -> Val {
        self.int(self.i1(), i64::from(value))
    }
    fn const_splat(&self, scalar: Val, n: u32) -> Val {
        if n == 1 {
            return scalar;
        }
        self.const_vec(&vec![scalar; n as usize])
    }
    pub fn const_vec(&self, elems: &[Val]) -> Val {
        let mut raw: Vec<_> = elems.iter().map(|v| v.0).collect();
        Val(unsafe { LLVMConstVector(raw.as_mut_ptr(), raw.len() as u32) })
    }
    /// `<0, 1, .., n - 1>` (the scalar 0 for n = 1).
    pub fn iota(&self, elem: Ty, n: u32) -> Val {
        if n == 1 {
            return self.int(elem, 0);
        }
        let elems: Vec<_> = (0..n).map(|i| self.int(elem, i64::from(i))).collect();
        self.const_vec(&elems)
    }
    pub fn zero(&self, ty: Ty) -> Val {
        Val(unsafe { LLVMConstNull(ty.0) })
    }
    pub fn poison(&self, ty: Ty) -> Val {
        Val(unsafe { LLVMGetPoison(ty.0) })
    }
    /// The value of an integer constant.
    pub fn as_const_int(&self, v: Val) -> Option<i64> {
        unsafe {
            let c = LLVMIsAConstantInt(v.0);
            (!c.is_null()).then(|| LLVMConstIntGetSExtValue(c))
        }
    }
    /// A private constant in memory.
    pub fn const_global(&self, name: &str, init: Val, align: u32) -> Val {
        let name = CString::new(name).unwrap_or_default();
        unsafe {
            let g = LLVMAddGlobal(self.module, LLVMTypeOf(init.0), name.as_ptr());
            LLVMSetInitializer(g, init.0);
            LLVMSetGlobalConstant(g, 1);
            LLVMSetLinkage(g, LLVMLinkage::LLVMPrivateLinkage);
            LLVMSetUnnamedAddress(g, LLVMUnnamedAddr::LLVMGlobalUnnamedAddr);
            LLVMSetAlignment(g, align);
            Val(g)
        }
    }
    pub fn const_array(&self, elem: Ty, elems: &[Val]) -> Val {
        let mut raw: Vec<_> = elems.iter().map(|v| v.0).collect();
        Val(unsafe { LLVMConstArray2(elem.0, raw.as_mut_ptr(), raw.len() as u64) })
    }

    // ---- functions and blocks ----

    pub fn add_function(&self, name: &str, ty: Ty) -> Val {
        let name = CString::new(name).unwrap_or_default();
        Val(unsafe { LLVMAddFunction(self.module, name.as_ptr(), ty.0) })
    }
    /// Makes a function private to the module (so that it can be inlined away).
    pub fn set_internal(&self, func: Val) {
        unsafe { LLVMSetLinkage(func.0, LLVMLinkage::LLVMInternalLinkage) }
    }
    pub fn add_fn_attr(&self, func: Val, name: &str, value: &str) {
        unsafe {
            let attr = LLVMCreateStringAttribute(
                self.context,
                name.as_ptr().cast(),
                name.len() as u32,
                value.as_ptr().cast(),
                value.len() as u32,
            );
            LLVMAddAttributeAtIndex(func.0, u32::MAX, attr);
        }
    }
    /// Adds an enum attribute (`noinline`, `nounwind`, ..) to a function.
    pub fn add_fn_enum_attr(&self, func: Val, name: &str) {
        unsafe {
            let kind = LLVMGetEnumAttributeKindForName(name.as_ptr().cast(), name.len());
            LLVMAddAttributeAtIndex(func.0, u32::MAX, LLVMCreateEnumAttribute(self.context, kind, 0));
        }
    }
    /// Adds an enum attribute (`noalias`, `readonly`, ..) to parameter `index` of a function.
    pub fn add_param_attr(&self, func: Val, index: u32, name: &str) {
        unsafe {
            let kind = LLVMGetEnumAttributeKindForName(name.as_ptr().cast(), name.len());
            LLVMAddAttributeAtIndex(func.0, index + 1, LLVMCreateEnumAttribute(self.context, kind, 0));
        }
    }
    /// The function of that name, if the module has one.
    pub fn named_function(&self, name: &str) -> Option<Val> {
        let name = CString::new(name).unwrap_or_default();
        let func = unsafe { LLVMGetNamedFunction(self.module, name.as_ptr()) };
        (!func.is_null()).then_some(Val(func))
    }
    /// Gives a function the fast calling convention; [`Llvm::call_fast`] calls it.
    pub fn set_fast_convention(&self, func: Val) {
        unsafe { LLVMSetFunctionCallConv(func.0, FAST_CONVENTION) }
    }
    /// Room for one value on the stack, allocated once a call of the current function.
    pub fn stack_slot(&self, ty: Ty) -> Val {
        unsafe {
            let here = LLVMGetInsertBlock(self.builder);
            let entry = LLVMGetEntryBasicBlock(LLVMGetBasicBlockParent(here));
            match LLVMGetFirstInstruction(entry) {
                first if first.is_null() => LLVMPositionBuilderAtEnd(self.builder, entry),
                first => LLVMPositionBuilderBefore(self.builder, first),
            }
            let slot = LLVMBuildAlloca(self.builder, ty.0, c"".as_ptr());
            LLVMPositionBuilderAtEnd(self.builder, here);
            Val(slot)
        }
    }
    pub fn param(&self, func: Val, index: u32) -> Val {
        Val(unsafe { LLVMGetParam(func.0, index) })
    }
    /// A new block at the end of the current function.
    pub fn block(&self, name: &str) -> Bb {
        unsafe {
            let func = LLVMGetBasicBlockParent(LLVMGetInsertBlock(self.builder));
            self.block_in(Val(func), name)
        }
    }
    pub fn block_in(&self, func: Val, name: &str) -> Bb {
        let name = CString::new(name).unwrap_or_default();
        Bb(unsafe { LLVMAppendBasicBlockInContext(self.context, func.0, name.as_ptr()) })
    }
    pub fn current(&self) -> Bb {
        Bb(unsafe { LLVMGetInsertBlock(self.builder) })
    }
    pub fn at_end(&self, block: Bb) {
        unsafe { LLVMPositionBuilderAtEnd(self.builder, block.0) }
    }
    pub fn before(&self, inst: Val) {
        unsafe { LLVMPositionBuilderBefore(self.builder, inst.0) }
    }
    /// Whether the current block already ends in a branch.
    pub fn terminated(&self) -> bool {
        unsafe { !LLVMGetBasicBlockTerminator(LLVMGetInsertBlock(self.builder)).is_null() }
    }
    pub fn br(&self, to: Bb) -> Val {
        Val(unsafe { LLVMBuildBr(self.builder, to.0) })
    }
    pub fn cond_br(&self, cond: Val, then: Bb, otherwise: Bb) -> Val {
        Val(unsafe { LLVMBuildCondBr(self.builder, cond.0, then.0, otherwise.0) })
    }
    pub fn ret_void(&self) {
        unsafe { LLVMBuildRetVoid(self.builder) };
    }
    pub fn ret(&self, v: Val) {
        unsafe { LLVMBuildRet(self.builder, v.0) };
    }
    pub fn phi(&self, ty: Ty) -> Val {
        Val(unsafe { LLVMBuildPhi(self.builder, ty.0, c"".as_ptr()) })
    }
    pub fn incoming(&self, phi: Val, value: Val, from: Bb) {
        unsafe { LLVMAddIncoming(phi.0, &mut { value.0 }, &mut { from.0 }, 1) }
    }

    /// Opens `for iv in (lo..).step_by(step)` with carried values and leaves the builder in the body. The bound is given when the loop is closed
    /// (it must dominate the loop: computed before it, or inserted before `entry_branch`). Runs while `iv < hi`, signed.
    pub fn begin_loop(&self, lo: Val, step: Val, init: &[Val]) -> Loop {
        let pre = self.current();
        let (header, body, exit) = (self.block("loop"), self.block("body"), self.block("done"));
        let entry_branch = self.br(header);
        self.at_end(header);
        let iv = self.phi(self.ty(lo));
        self.incoming(iv, lo, pre);
        let carried = init
            .iter()
            .map(|&v| {
                let phi = self.phi(self.ty(v));
                self.incoming(phi, v, pre);
                phi
            })
            .collect();
        self.at_end(body);
        Loop { iv, carried, entry_branch, body, header, exit, step }
    }

    /// Closes a loop with the next carried values; returns those after the last trip and leaves the builder behind the loop.
    pub fn end_loop(&self, open: Loop, hi: Val, next: &[Val]) -> Vec<Val> {
        let next_iv = self.add_nsw(open.iv, open.step);
        let latch = self.current();
        self.br(open.header);
        self.incoming(open.iv, next_iv, latch);
        for (&phi, &v) in open.carried.iter().zip(next) {
            self.incoming(phi, v, latch);
        }
        self.at_end(open.header);
        let more = self.icmp(IntPred::LLVMIntSLT, open.iv, hi);
        self.cond_br(more, open.body, open.exit);
        self.at_end(open.exit);
        open.carried
    }

    // ---- lanes ----

    pub fn select(&self, cond: Val, a: Val, b: Val) -> Val {
        Val(unsafe { LLVMBuildSelect(self.builder, cond.0, a.0, b.0, c"".as_ptr()) })
    }
    /// A scalar in every one of `n` lanes.
    pub fn splat(&self, v: Val, n: u32) -> Val {
        if n == 1 || self.lanes(v) != 1 {
            return v;
        }
        let ty = self.vec(self.ty(v), n);
        let first = self.insert(self.poison(ty), v, 0);
        self.shuffle(first, first, &vec![0; n as usize])
    }
    /// Lane `i` of a vector (the value itself for a scalar).
    pub fn extract(&self, v: Val, i: u32) -> Val {
        if self.lanes(v) == 1 {
            return v;
        }
        Val(unsafe { LLVMBuildExtractElement(self.builder, v.0, self.int(self.i32(), i64::from(i)).0, c"".as_ptr()) })
    }
    pub fn insert(&self, v: Val, elem: Val, i: u32) -> Val {
        if self.lanes(v) == 1 {
            return elem;
        }
        Val(unsafe { LLVMBuildInsertElement(self.builder, v.0, elem.0, self.int(self.i32(), i64::from(i)).0, c"".as_ptr()) })
    }
    /// `shufflevector`: indices below n pick from `a`, the others from `b`; a single index gives a scalar.
    pub fn shuffle(&self, a: Val, b: Val, indices: &[u32]) -> Val {
        let n = self.lanes(a);
        if let [i] = *indices {
            return if i < n { self.extract(a, i) } else { self.extract(b, i - n) };
        }
        if n == 1 {
            let ty = self.vec(self.ty(a), indices.len() as u32);
            return indices
                .iter()
                .enumerate()
                .fold(self.poison(ty), |v, (at, &i)| self.insert(v, if i == 0 { a } else { b }, at as u32));
        }
        let mask: Vec<_> = indices.iter().map(|&i| self.int(self.i32(), i64::from(i))).collect();
        Val(unsafe { LLVMBuildShuffleVector(self.builder, a.0, b.0, self.const_vec(&mask).0, c"".as_ptr()) })
    }

    // ---- memory ----

    /// `ptr + index` elements of `elem`; a vector index gives a vector of pointers.
    pub fn gep(&self, elem: Ty, ptr: Val, index: Val) -> Val {
        Val(unsafe { LLVMBuildGEP2(self.builder, elem.0, ptr.0, &mut { index.0 }, 1, c"".as_ptr()) })
    }
    /// `ptr + bytes`.
    pub fn offset(&self, ptr: Val, bytes: i64) -> Val {
        if bytes == 0 { ptr } else { self.gep(self.i8(), ptr, self.const_i64(bytes)) }
    }
    pub fn load(&self, ty: Ty, ptr: Val, align: u32) -> Val {
        unsafe {
            let v = LLVMBuildLoad2(self.builder, ty.0, ptr.0, c"".as_ptr());
            LLVMSetAlignment(v, align);
            Val(v)
        }
    }
    pub fn store(&self, value: Val, ptr: Val, align: u32) -> Val {
        unsafe {
            let v = LLVMBuildStore(self.builder, value.0, ptr.0);
            LLVMSetAlignment(v, align);
            Val(v)
        }
    }
    /// Marks a load or store as non-temporal.
    pub fn set_nontemporal(&self, inst: Val) {
        self.set_unit_metadata(inst, "nontemporal", Some(self.int(self.i32(), 1)));
    }
    /// Marks a load whose memory nothing changes while the function runs.
    pub fn set_invariant(&self, inst: Val) {
        self.set_unit_metadata(inst, "invariant.load", None);
    }
    fn set_unit_metadata(&self, inst: Val, kind: &str, operand: Option<Val>) {
        unsafe {
            let kind = LLVMGetMDKindIDInContext(self.context, kind.as_ptr().cast(), kind.len() as u32);
            let mut md: Vec<_> = operand.iter().map(|v| LLVMValueAsMetadata(v.0)).collect();
            let node = LLVMMDNodeInContext2(self.context, md.as_mut_ptr(), md.len());
            LLVMSetMetadata(inst.0, kind, LLVMMetadataAsValue(self.context, node));
        }
    }
    /// `llvm.masked.load`; masked-off lanes give `other`. A scalar mask and type give a plain select over a guarded load: not for scalars.
    pub fn masked_load(&self, ty: Ty, ptr: Val, align: u32, mask: Val, other: Val) -> Val {
        let call = self.intrinsic("llvm.masked.load", &[ty, self.ptr()], &[ptr, mask, other]);
        self.set_arg_align(call, 0, align);
        call
    }
    pub fn masked_store(&self, value: Val, ptr: Val, align: u32, mask: Val) {
        let call = self.intrinsic("llvm.masked.store", &[self.ty(value), self.ptr()], &[value, ptr, mask]);
        self.set_arg_align(call, 1, align);
    }
    pub fn masked_gather(&self, ty: Ty, ptrs: Val, align: u32, mask: Val, other: Val) -> Val {
        let call = self.intrinsic("llvm.masked.gather", &[ty, self.ty(ptrs)], &[ptrs, mask, other]);
        self.set_arg_align(call, 0, align);
        call
    }
    pub fn masked_scatter(&self, value: Val, ptrs: Val, align: u32, mask: Val) {
        let call = self.intrinsic("llvm.masked.scatter", &[self.ty(value), self.ty(ptrs)], &[value, ptrs, mask]);
        self.set_arg_align(call, 1, align);
    }
    fn set_arg_align(&self, call: Val, arg: u32, align: u32) {
        unsafe {
            let kind = LLVMGetEnumAttributeKindForName(c"align".as_ptr(), 5);
            LLVMAddCallSiteAttribute(call.0, arg + 1, LLVMCreateEnumAttribute(self.context, kind, u64::from(align)));
        }
    }
    /// Brings a line close for reading: to the second-level cache, as the first is full of what is worked on. Any address is allowed.
    pub fn prefetch(&self, ptr: Val) {
        let (read, keep, data) = (self.int(self.i32(), 0), self.int(self.i32(), 2), self.int(self.i32(), 1));
        self.intrinsic("llvm.prefetch", &[self.ptr()], &[ptr, read, keep, data]);
    }
    pub fn memcpy(&self, dst: Val, src: Val, bytes: Val) {
        unsafe { LLVMBuildMemCpy(self.builder, dst.0, 1, src.0, 1, bytes.0) };
    }
    pub fn atomic_rmw(&self, op: RmwOp, ptr: Val, value: Val, order: Ordering) -> Val {
        Val(unsafe { LLVMBuildAtomicRMW(self.builder, op, ptr.0, value.0, order, 0) })
    }
    /// Compare and swap; the old value.
    pub fn atomic_cas(&self, ptr: Val, expected: Val, value: Val, success: Ordering, failure: Ordering) -> Val {
        unsafe {
            let pair = LLVMBuildAtomicCmpXchg(self.builder, ptr.0, expected.0, value.0, success, failure, 0);
            Val(LLVMBuildExtractValue(self.builder, pair, 0, c"".as_ptr()))
        }
    }
    pub fn set_ordering(&self, access: Val, order: Ordering) {
        unsafe { LLVMSetOrdering(access.0, order) }
    }
    pub fn fence(&self, order: Ordering) {
        unsafe { LLVMBuildFence(self.builder, order, 0, c"".as_ptr()) };
    }

    // ---- calls ----

    /// Calls intrinsic `name` with its overloaded types.
    pub fn intrinsic(&self, name: &str, overloads: &[Ty], args: &[Val]) -> Val {
        let mut types: Vec<_> = overloads.iter().map(|t| t.0).collect();
        let mut raw: Vec<_> = args.iter().map(|v| v.0).collect();
        unsafe {
            let id = LLVMLookupIntrinsicID(name.as_ptr().cast(), name.len());
            assert!(id != 0, "LLVM has no intrinsic {name}");
            let func = LLVMGetIntrinsicDeclaration(self.module, id, types.as_mut_ptr(), types.len());
            let ty = LLVMIntrinsicGetType(self.context, id, types.as_mut_ptr(), types.len());
            Val(LLVMBuildCall2(self.builder, ty, func, raw.as_mut_ptr(), raw.len() as u32, c"".as_ptr()))
        }
    }
    pub fn call(&self, ty: Ty, func: Val, args: &[Val]) -> Val {
        let mut raw: Vec<_> = args.iter().map(|v| v.0).collect();
        Val(unsafe { LLVMBuildCall2(self.builder, ty.0, func.0, raw.as_mut_ptr(), raw.len() as u32, c"".as_ptr()) })
    }
    /// Calls a function that has the fast calling convention.
    pub fn call_fast(&self, ty: Ty, func: Val, args: &[Val]) -> Val {
        let call = self.call(ty, func, args);
        unsafe { LLVMSetInstructionCallConv(call.0, FAST_CONVENTION) };
        call
    }
    /// The module as text.
    pub fn text(&self) -> String {
        unsafe {
            let raw = LLVMPrintModuleToString(self.module);
            let text = CStr::from_ptr(raw).to_string_lossy().into_owned();
            LLVMDisposeMessage(raw);
            text
        }
    }
}
