//! The micro-kernel: a few rows by a few vectors of the product, held in registers over the whole depth of a block. An internal LLVM function for each
//! shape that a dot needs, called in loops, so that code stays small.
//!
//! ```text
//! acc[r][v] = c[r][v]                                   (or 0)
//! for k in 0..depth { for r, v { acc[r][v] += splat(a[r * a_row + k * a_step]) * b[k * b_step + v] } }
//! c[r][v] = acc[r][v]
//! ```

use inkwell::AddressSpace;
use inkwell::attributes::{Attribute, AttributeLoc};
use inkwell::module::Linkage;
use inkwell::types::VectorType;
use inkwell::values::{FunctionValue, PointerValue, VectorValue};

use super::compute::Compute;
use super::emit::{Emit, Result};

/// `fastcc` in LLVM's numbering.
const FAST_CALL: u32 = 8;

/// Steps of k in one trip of the loop.
const UNROLL: u32 = 4;

/// A micro-kernel's shape and its operands' strides, in units.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Micro {
    /// What it computes in.
    pub compute: Compute,
    /// Lanes of a vector.
    pub lanes: u32,
    /// Rows of the product.
    pub rows: u32,
    /// Columns of the product: whole vectors, and a last one that may be partly used.
    pub cols: u32,
    /// Units along k, at least 1.
    pub depth: u32,
    /// Distance of A's rows.
    pub a_row: u32,
    /// Distance of A's units along k.
    pub a_step: u32,
    /// Distance of B's units along k.
    pub b_step: u32,
    /// Distance of the accumulator's rows.
    pub c_row: u32,
    /// Start from zero rather than from what the accumulator holds.
    pub fresh: bool,
}

impl Micro {
    /// The micro-kernel `fn(a, b, c)`; made on first use in a module.
    pub fn function<'ctx>(&self, e: &Emit<'_, 'ctx>) -> Result<FunctionValue<'ctx>> {
        let name = format!(
            "kiln.dot.{:?}.{}x{}.k{}.a{}.{}.b{}.c{}{}",
            self.compute,
            self.rows,
            self.cols,
            self.depth,
            self.a_row,
            self.a_step,
            self.b_step,
            self.c_row,
            if self.fresh { ".fresh" } else { "" }
        );
        if let Some(function) = e.module.get_function(&name) {
            return Ok(function);
        }
        let ptr = e.context.ptr_type(AddressSpace::default());
        let ty = e.context.void_type().fn_type(&[ptr.into(); 3], false);
        let function = e.module.add_function(&name, ty, Some(Linkage::Internal));
        function.set_call_conventions(FAST_CALL);
        for attribute in ["noinline", "nounwind"] {
            let kind = Attribute::get_named_enum_kind_id(attribute);
            function.add_attribute(AttributeLoc::Function, e.context.create_enum_attribute(kind, 0));
        }
        let noalias = e.context.create_enum_attribute(Attribute::get_named_enum_kind_id("noalias"), 0);
        for param in 0..3 {
            function.add_attribute(AttributeLoc::Param(param), noalias);
        }
        let builder = e.context.create_builder();
        builder.position_at_end(e.context.append_basic_block(function, "entry"));
        self.body(&Emit { context: e.context, module: e.module, builder: &builder }, function)?;
        Ok(function)
    }

    fn vectors(&self) -> u32 {
        self.cols.div_ceil(self.lanes)
    }

    fn body<'ctx>(&self, e: &Emit<'_, 'ctx>, function: FunctionValue<'ctx>) -> Result<()> {
        let param = |n| function.get_nth_param(n).expect("three parameters").into_pointer_value();
        let [a, b, c] = [param(0), param(1), param(2)];
        let mut acc = self.start(e, c)?;
        let trips = self.depth / UNROLL;
        let (mut a, mut b) = (a, b);
        if trips > 1 {
            let (before, _) = e.here();
            let body = e.context.append_basic_block(function, "depth");
            let after = e.context.append_basic_block(function, "rest");
            e.builder.build_unconditional_branch(body)?;
            e.builder.position_at_end(body);
            let count = e.builder.build_phi(e.index_type(), "")?;
            let ptr = e.context.ptr_type(AddressSpace::default());
            let (a_phi, b_phi) = (e.builder.build_phi(ptr, "a")?, e.builder.build_phi(ptr, "b")?);
            let phis =
                acc.iter().map(|v| e.builder.build_phi(v.get_type(), "acc")).collect::<std::result::Result<Vec<_>, _>>()?;
            let (a_now, b_now) = (a_phi.as_basic_value().into_pointer_value(), b_phi.as_basic_value().into_pointer_value());
            let mut sums: Vec<_> = phis.iter().map(|phi| phi.as_basic_value().into_vector_value()).collect();
            for k in 0..UNROLL {
                self.step(e, a_now, b_now, k, &mut sums)?;
            }
            let unit = self.compute.unit(e);
            let a_next = e.at_const(a_now, unit, (UNROLL * self.a_step).into())?;
            let b_next = e.at_const(b_now, unit, (UNROLL * self.b_step).into())?;
            let now = count.as_basic_value().into_int_value();
            let left = e.builder.build_int_sub(now, e.index(1), "")?;
            let more = e.builder.build_int_compare(inkwell::IntPredicate::NE, left, e.index(0), "")?;
            e.builder.build_conditional_branch(more, body, after)?;
            count.add_incoming(&[(&e.index(trips.into()), before), (&left, body)]);
            a_phi.add_incoming(&[(&a, before), (&a_next, body)]);
            b_phi.add_incoming(&[(&b, before), (&b_next, body)]);
            for ((phi, first), next) in phis.iter().zip(&acc).zip(&sums) {
                phi.add_incoming(&[(first, before), (next, body)]);
            }
            e.builder.position_at_end(after);
            (a, b, acc) = (a_next, b_next, sums);
        }
        let done = if trips > 1 { trips * UNROLL } else { 0 };
        for k in 0..self.depth - done {
            self.step(e, a, b, k, &mut acc)?;
        }
        self.finish(e, c, &acc)?;
        e.builder.build_return(None)?;
        Ok(())
    }

    /// One unit of k, `k` units past `a` and `b`.
    fn step<'ctx>(
        &self,
        e: &Emit<'_, 'ctx>,
        a: PointerValue<'ctx>,
        b: PointerValue<'ctx>,
        k: u32,
        acc: &mut [VectorValue<'ctx>],
    ) -> Result<()> {
        let unit = self.compute.unit(e);
        let ty = self.compute.vector(e, self.lanes);
        let vectors = self.vectors();
        let b_row = (0..vectors)
            .map(|v| {
                let ptr = e.at_const(b, unit, (k * self.b_step + v * self.lanes).into())?;
                Ok(e.load(ty, ptr, self.lanes * self.compute.bytes())?.into_vector_value())
            })
            .collect::<Result<Vec<_>>>()?;
        for (r, sums) in acc.chunks_mut(vectors as usize).enumerate() {
            let ptr = e.at_const(a, unit, (r as u32 * self.a_row + k * self.a_step).into())?;
            let value = e.splat(e.load(unit, ptr, self.compute.bytes())?, self.lanes)?;
            for (sum, &b) in sums.iter_mut().zip(&b_row) {
                *sum = self.compute.multiply_add(e, value, b, *sum)?;
            }
        }
        Ok(())
    }

    fn start<'ctx>(&self, e: &Emit<'_, 'ctx>, c: PointerValue<'ctx>) -> Result<Vec<VectorValue<'ctx>>> {
        let ty = self.compute.vector(e, self.lanes);
        self.places(e, c, |ptr, used| {
            if self.fresh {
                return Ok(ty.const_zero());
            }
            match used {
                None => Ok(e.load(ty, ptr, self.compute.bytes())?.into_vector_value()),
                Some(mask) => e.masked_load(ty, ptr, self.compute.bytes(), mask, ty.const_zero()),
            }
        })
    }

    fn finish<'ctx>(&self, e: &Emit<'_, 'ctx>, c: PointerValue<'ctx>, acc: &[VectorValue<'ctx>]) -> Result<()> {
        let mut values = acc.iter();
        self.places(e, c, |ptr, used| {
            let value = *values.next().expect("a sum for each place");
            match used {
                None => e.store(value, ptr, self.compute.bytes()),
                Some(mask) => e.masked_store(value, ptr, self.compute.bytes(), mask),
            }
        })?;
        Ok(())
    }

    /// Calls `f` with the address of each vector of the accumulator, and the mask of its lanes where not all are used.
    fn places<'ctx, T>(
        &self,
        e: &Emit<'_, 'ctx>,
        c: PointerValue<'ctx>,
        mut f: impl FnMut(PointerValue<'ctx>, Option<VectorValue<'ctx>>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut result = Vec::new();
        for r in 0..self.rows {
            for v in 0..self.vectors() {
                let ptr = e.at_const(c, self.compute.unit(e), (r * self.c_row + v * self.lanes).into())?;
                let used = self.cols - v * self.lanes;
                let lane = |l| e.context.bool_type().const_int((l < used).into(), false);
                let mask = || VectorType::const_vector(&(0..self.lanes).map(lane).collect::<Vec<_>>());
                result.push(f(ptr, (used < self.lanes).then(mask))?);
            }
        }
        Ok(result)
    }
}
