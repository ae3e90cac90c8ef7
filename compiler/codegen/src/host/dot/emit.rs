//! Short names for the LLVM instructions that the dot generator is made of. No decisions here.

use inkwell::IntPredicate;
use inkwell::attributes::AttributeLoc;
use inkwell::basic_block::BasicBlock;
use inkwell::builder::{Builder, BuilderError};
use inkwell::context::Context;
use inkwell::intrinsics::Intrinsic;
use inkwell::module::Module;
use inkwell::types::{BasicType, BasicTypeEnum, IntType, VectorType};
use inkwell::values::{BasicMetadataValueEnum, BasicValue, BasicValueEnum, FunctionValue, IntValue, PointerValue, VectorValue};

/// What emitting gives.
pub type Result<T> = std::result::Result<T, BuilderError>;

/// A place in a function under construction. All indexes are `i64`.
pub struct Emit<'a, 'ctx> {
    /// The LLVM context.
    pub context: &'ctx Context,
    /// Where functions and intrinsics are declared.
    pub module: &'a Module<'ctx>,
    /// The cursor.
    pub builder: &'a Builder<'ctx>,
}

impl<'a, 'ctx> Emit<'a, 'ctx> {
    /// The type of indexes.
    pub fn index_type(&self) -> IntType<'ctx> {
        self.context.i64_type()
    }

    /// A constant index.
    pub fn index(&self, value: u64) -> IntValue<'ctx> {
        self.index_type().const_int(value, false)
    }

    /// `a + b`, which does not overflow.
    pub fn add(&self, a: IntValue<'ctx>, b: IntValue<'ctx>) -> Result<IntValue<'ctx>> {
        self.builder.build_int_nsw_add(a, b, "")
    }

    /// `a + b` for a constant `b`.
    pub fn add_const(&self, a: IntValue<'ctx>, b: u64) -> Result<IntValue<'ctx>> {
        if b == 0 { Ok(a) } else { self.add(a, self.index(b)) }
    }

    /// `a * b`, which does not overflow.
    pub fn mul(&self, a: IntValue<'ctx>, b: IntValue<'ctx>) -> Result<IntValue<'ctx>> {
        self.builder.build_int_nsw_mul(a, b, "")
    }

    /// `a * b` for a constant `b`.
    pub fn mul_const(&self, a: IntValue<'ctx>, b: u64) -> Result<IntValue<'ctx>> {
        if b == 1 { Ok(a) } else { self.mul(a, self.index(b)) }
    }

    /// The address of element `index` of an array of `elem` at `base`.
    pub fn at(&self, base: PointerValue<'ctx>, elem: BasicTypeEnum<'ctx>, index: IntValue<'ctx>) -> Result<PointerValue<'ctx>> {
        // SAFETY: building a GEP touches no memory; callers index inside the object `base` points into, or mask the access.
        unsafe { self.builder.build_gep(elem, base, &[index], "") }
    }

    /// The address of element `index`, a constant.
    pub fn at_const(&self, base: PointerValue<'ctx>, elem: BasicTypeEnum<'ctx>, index: u64) -> Result<PointerValue<'ctx>> {
        if index == 0 { Ok(base) } else { self.at(base, elem, self.index(index)) }
    }

    /// Loads a value aligned to `align` bytes.
    pub fn load(&self, ty: impl BasicType<'ctx>, ptr: PointerValue<'ctx>, align: u32) -> Result<BasicValueEnum<'ctx>> {
        let value = self.builder.build_load(ty, ptr, "")?;
        if let Some(inst) = value.as_instruction_value() {
            inst.set_alignment(align).expect("loads take alignments that are powers of two");
        }
        Ok(value)
    }

    /// Stores a value aligned to `align` bytes.
    pub fn store(&self, value: impl BasicValue<'ctx>, ptr: PointerValue<'ctx>, align: u32) -> Result<()> {
        let inst = self.builder.build_store(ptr, value)?;
        inst.set_alignment(align).expect("stores take alignments that are powers of two");
        Ok(())
    }

    /// Loads the lanes that `mask` names from memory and the others from `other`.
    pub fn masked_load(
        &self,
        ty: VectorType<'ctx>,
        ptr: PointerValue<'ctx>,
        align: u32,
        mask: VectorValue<'ctx>,
        other: VectorValue<'ctx>,
    ) -> Result<VectorValue<'ctx>> {
        let function = self.declare("llvm.masked.load", &[ty.into(), ptr.get_type().into()]);
        let call = self.builder.build_call(function, &[ptr.into(), mask.into(), other.into()], "")?;
        call.set_alignment_attribute(AttributeLoc::Param(0), align);
        Ok(call.try_as_basic_value().unwrap_basic().into_vector_value())
    }

    /// Stores the lanes that `mask` names.
    pub fn masked_store(
        &self,
        value: VectorValue<'ctx>,
        ptr: PointerValue<'ctx>,
        align: u32,
        mask: VectorValue<'ctx>,
    ) -> Result<()> {
        let function = self.declare("llvm.masked.store", &[value.get_type().into(), ptr.get_type().into()]);
        let call = self.builder.build_call(function, &[value.into(), ptr.into(), mask.into()], "")?;
        call.set_alignment_attribute(AttributeLoc::Param(1), align);
        Ok(())
    }

    /// Room for one value on the stack, allocated once a call of the function.
    pub fn slot(&self, ty: BasicTypeEnum<'ctx>) -> Result<PointerValue<'ctx>> {
        let (_, function) = self.here();
        let entry = function.get_first_basic_block().expect("a function with a body");
        let at_entry = self.context.create_builder();
        match entry.get_first_instruction() {
            Some(first) => at_entry.position_before(&first),
            None => at_entry.position_at_end(entry),
        }
        at_entry.build_alloca(ty, "")
    }

    fn declare(&self, name: &str, overload: &[BasicTypeEnum<'ctx>]) -> FunctionValue<'ctx> {
        Intrinsic::find(name)
            .and_then(|i| i.get_declaration(self.module, overload))
            .unwrap_or_else(|| panic!("LLVM has no intrinsic `{name}` for these types"))
    }

    /// Calls an LLVM intrinsic overloaded on `overload`.
    pub fn intrinsic(
        &self,
        name: &str,
        overload: &[BasicTypeEnum<'ctx>],
        args: &[BasicMetadataValueEnum<'ctx>],
    ) -> Result<Option<BasicValueEnum<'ctx>>> {
        self.call(self.declare(name, overload), args)
    }

    /// Calls a function with its own calling convention.
    pub fn call(
        &self,
        function: FunctionValue<'ctx>,
        args: &[BasicMetadataValueEnum<'ctx>],
    ) -> Result<Option<BasicValueEnum<'ctx>>> {
        let call = self.builder.build_call(function, args, "")?;
        call.set_call_convention(function.get_call_conventions());
        Ok(call.try_as_basic_value().basic())
    }

    /// A vector with `value` in all `lanes`.
    pub fn splat(&self, value: impl BasicValue<'ctx>, lanes: u32) -> Result<VectorValue<'ctx>> {
        let value = value.as_basic_value_enum();
        let one = vector_of(value.get_type(), lanes).get_poison();
        let one = self.builder.build_insert_element(one, value, self.context.i32_type().const_zero(), "")?;
        self.shuffle(one, one, (0..lanes).map(|_| 0))
    }

    /// Lanes of `a` and `b` by number: `b`'s lanes follow `a`'s.
    pub fn shuffle(
        &self,
        a: VectorValue<'ctx>,
        b: VectorValue<'ctx>,
        lanes: impl IntoIterator<Item = u32>,
    ) -> Result<VectorValue<'ctx>> {
        let i32_type = self.context.i32_type();
        let mask: Vec<_> = lanes.into_iter().map(|lane| i32_type.const_int(lane.into(), false)).collect();
        self.builder.build_shuffle_vector(a, b, VectorType::const_vector(&mask), "")
    }

    /// The first lanes of a vector, or the vector followed by zeros.
    pub fn resize(&self, v: VectorValue<'ctx>, lanes: u32) -> Result<VectorValue<'ctx>> {
        let have = v.get_type().get_size();
        if have == lanes {
            return Ok(v);
        }
        self.shuffle(v, v.get_type().const_zero(), (0..lanes).map(|lane| lane.min(have)))
    }

    /// `a0 b0 a1 b1 ..`.
    pub fn interleave(&self, a: VectorValue<'ctx>, b: VectorValue<'ctx>) -> Result<VectorValue<'ctx>> {
        let lanes = a.get_type().get_size();
        self.shuffle(a, b, (0..lanes).flat_map(|lane| [lane, lane + lanes]))
    }

    /// The same bits as a vector of another type.
    pub fn bitcast(&self, v: VectorValue<'ctx>, to: VectorType<'ctx>) -> Result<VectorValue<'ctx>> {
        Ok(self.builder.build_bit_cast(v, to, "")?.into_vector_value())
    }

    /// `for i in (0..count).step_by(step)` at run time; `count` and `step` are constants and `step` divides `count`. One trip or none makes no loop.
    pub fn repeat(&self, count: u64, step: u64, mut body: impl FnMut(IntValue<'ctx>) -> Result<()>) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        if count == step {
            return body(self.index(0));
        }
        let (before, function) = self.here();
        let body_block = self.context.append_basic_block(function, "");
        let after = self.context.append_basic_block(function, "");
        self.builder.build_unconditional_branch(body_block)?;
        self.builder.position_at_end(body_block);
        let phi = self.builder.build_phi(self.index_type(), "")?;
        let i = phi.as_basic_value().into_int_value();
        body(i)?;
        let next = self.add_const(i, step)?;
        let more = self.builder.build_int_compare(IntPredicate::ULT, next, self.index(count), "")?;
        phi.add_incoming(&[(&self.index(0), before), (&next, self.here().0)]);
        self.builder.build_conditional_branch(more, body_block, after)?;
        self.builder.position_at_end(after);
        Ok(())
    }

    /// `body(i)` for `i` in `0..count`, `unroll` of them straight-line in each trip of a run-time loop.
    pub fn unrolled(&self, count: u64, unroll: u64, mut body: impl FnMut(IntValue<'ctx>) -> Result<()>) -> Result<()> {
        let looped = count / unroll * unroll;
        self.repeat(looped, unroll, |base| (0..unroll).try_for_each(|i| body(self.add_const(base, i)?)))?;
        (looped..count).try_for_each(|i| body(self.index(i)))
    }

    /// Runs one of two pieces of code.
    pub fn if_else(
        &self,
        cond: IntValue<'ctx>,
        then: impl FnOnce() -> Result<()>,
        otherwise: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        let (_, function) = self.here();
        let then_block = self.context.append_basic_block(function, "");
        let else_block = self.context.append_basic_block(function, "");
        let after = self.context.append_basic_block(function, "");
        self.builder.build_conditional_branch(cond, then_block, else_block)?;
        self.builder.position_at_end(then_block);
        then()?;
        self.builder.build_unconditional_branch(after)?;
        self.builder.position_at_end(else_block);
        otherwise()?;
        self.builder.build_unconditional_branch(after)?;
        self.builder.position_at_end(after);
        Ok(())
    }

    /// The block and function the cursor is in.
    pub fn here(&self) -> (BasicBlock<'ctx>, FunctionValue<'ctx>) {
        let block = self.builder.get_insert_block().expect("the builder stands in a block");
        (block, block.get_parent().expect("blocks belong to functions"))
    }
}

/// `<lanes x elem>`.
pub fn vector_of(elem: BasicTypeEnum<'_>, lanes: u32) -> VectorType<'_> {
    match elem {
        BasicTypeEnum::IntType(t) => t.vec_type(lanes),
        BasicTypeEnum::FloatType(t) => t.vec_type(lanes),
        BasicTypeEnum::PointerType(t) => t.vec_type(lanes),
        other => panic!("no vectors of {other}"),
    }
}
