//! What a launch guarantees, written into the kernel as `assume`: dimensions that share a name are equal, the grid has the extents that its expressions
//! give, `requires` clauses hold.
//!
//! The runtime checks all of this before it launches anything, so the passes may rely on it (`analysis::numbers` reads it). Expressions over what the
//! kernel's code cannot see (a dimension named only by an absent tensor, floats, the device's shared memory) are left out.
//!
//! ```text
//! kernel k(a: tensor<f32, [M, K]>, b: tensor<f32, [K, N]>) grid [cdiv(M, 64)]
//! adds:  v2.M: index = view_dim v0 axis 0        ; where M is bound
//!        v3.K: index = view_dim v0 axis 1
//!        v4: index = view_dim v1 axis 0
//!        v5: bool = cmp eq v4, v3
//!        assume v5
//!        ..                                      ; v9 = (M + 63) / 64
//!        v10: index = num_programs 0
//!        v11: bool = cmp eq v10, v9
//!        assume v11
//! ```

use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::signature::{DimPattern, HostExpr, HostFn, KernelSignature, ParamKind, Specialization};
use kiln_ir::{Builder, InstData, Module, ScalarType, Type, Value};

/// Writes the guarantees of a launch into the module's kernel, which `signature` and `spec` belong to.
pub fn add_launch_facts(module: &mut Module, signature: &KernelSignature, spec: &Specialization) {
    let Some(kernel) = module.kernel() else { return };
    let func = &mut module.funcs[kernel];
    let params: Vec<(usize, Value)> =
        func.params.iter().map(|p| p.number as usize).zip(func.param_values().iter().copied()).collect();
    let (body, entry) = (func.body, func.add_block());
    let mut facts = LaunchFacts { b: Builder::new(func, entry), signature, spec, params, dims: vec![None; signature.dims.len()] };
    facts.bind_dims();
    facts.check_dims();
    for (axis, extent) in signature.grid.iter().enumerate() {
        if let Some(extent) = facts.number(extent) {
            let found = facts.b.emit1(InstData::NumPrograms { axis: axis as u8 }, Type::index());
            facts.assume_equal(found, extent);
        }
    }
    for clause in &signature.requires {
        if let Some(holds) = facts.condition(&clause.expr) {
            facts.b.emit(InstData::Assume { cond: holds }, &[]);
        }
    }
    let mut insts = std::mem::take(&mut func.blocks[entry].insts);
    insts.append(&mut func.blocks[body].insts);
    func.blocks[body].insts = insts;
}

struct LaunchFacts<'a> {
    b: Builder<'a>,
    signature: &'a KernelSignature,
    spec: &'a Specialization,
    /// Number in the signature and value of each parameter that is present.
    params: Vec<(usize, Value)>,
    /// The value of each named dimension, where a present tensor has it alone.
    dims: Vec<Option<Value>>,
}

impl LaunchFacts<'_> {
    /// The value of a parameter, when it is present.
    fn param(&self, number: usize) -> Option<Value> {
        self.params.iter().find(|(n, _)| *n == number).map(|(_, v)| *v)
    }

    /// Each present tensor with the patterns of its dimensions.
    fn tensors(&self) -> Vec<(Value, Vec<DimPattern>)> {
        let dims = |number: usize| match &self.signature.params.get(number)?.kind {
            ParamKind::Tensor { dims, .. } => Some(dims.clone()),
            _ => None,
        };
        self.params.iter().filter_map(|&(number, value)| Some((value, dims(number)?))).collect()
    }

    fn bind_dims(&mut self) {
        for (view, patterns) in self.tensors() {
            for (axis, pattern) in patterns.iter().enumerate() {
                if let DimPattern::Expr(HostExpr::Dim(n)) = pattern
                    && self.dims.get(*n as usize) == Some(&None)
                {
                    let dim = self.b.view_dim(view, axis);
                    self.b.func.values[dim].name = Some(self.signature.dims[*n as usize].as_str().into());
                    self.dims[*n as usize] = Some(dim);
                }
            }
        }
    }

    fn check_dims(&mut self) {
        for (view, patterns) in self.tensors() {
            for (axis, pattern) in patterns.iter().enumerate() {
                let DimPattern::Expr(expr) = pattern else { continue };
                let Some(expected) = self.number(expr) else { continue };
                let itself = matches!(self.b.func.def_data(expected), Some(InstData::ViewDim { view: v, axis: a })
                    if *v == view && usize::from(*a) == axis);
                if !itself {
                    let found = self.b.view_dim(view, axis);
                    self.assume_equal(found, expected);
                }
            }
        }
    }

    fn assume_equal(&mut self, a: Value, b: Value) {
        let cond = self.b.cmp(CmpOp::Eq, a, b);
        self.b.emit(InstData::Assume { cond }, &[]);
    }

    /// An integer expression as a scalar `index`.
    fn number(&mut self, expr: &HostExpr) -> Option<Value> {
        Some(match expr {
            HostExpr::Int(v) => self.b.index(*v),
            HostExpr::Dim(n) => (*self.dims.get(*n as usize)?)?,
            HostExpr::Const(n) => {
                let value = *self.spec.consts.get(*n as usize)?;
                self.b.index(value)
            }
            HostExpr::Scalar(n) => {
                let value = self.param(*n as usize)?;
                let ty = self.b.ty(value);
                // Wider ones saturate when `index` is narrow.
                if !ty.is_scalar()
                    || !matches!(
                        ty.scalar_elem()?,
                        ScalarType::I32 | ScalarType::I16 | ScalarType::I8 | ScalarType::U8 | ScalarType::U16
                    )
                {
                    return None;
                }
                self.b.cast(value, ScalarType::Index)
            }
            HostExpr::DimOf(n, axis) | HostExpr::StrideOf(n, axis) => {
                let view = self.param(*n as usize).filter(|&v| usize::from(*axis) < self.b.ty(v).rank())?;
                let data = match expr {
                    HostExpr::DimOf(..) => InstData::ViewDim { view, axis: *axis },
                    _ => InstData::ViewStride { view, axis: *axis },
                };
                self.b.emit1(data, Type::index())
            }
            HostExpr::BitsOf(n) => {
                let bits = self.spec.types.get(*n as usize)?.bits();
                self.b.index(i64::from(bits))
            }
            HostExpr::NumSms => self.b.emit1(InstData::NumSms, Type::index()),
            HostExpr::Binary(op, a, b) => {
                let known = matches!(
                    op,
                    BinaryOp::Add | BinaryOp::Sub | BinaryOp::Mul | BinaryOp::Div | BinaryOp::Rem | BinaryOp::Min | BinaryOp::Max
                );
                let (a, b) = (self.number(a)?, self.number(b)?);
                known.then(|| self.b.binary(*op, a, b))?
            }
            HostExpr::Call(HostFn::Cdiv, args) => {
                let [a, b] = &args[..] else { return None };
                // Only for a positive constant is rounding up this sum.
                let divisor = self.constant(b).filter(|&d| d >= 1)?;
                let (a, room, divisor) = (self.number(a)?, self.b.index(divisor - 1), self.b.index(divisor));
                let sum = self.b.binary(BinaryOp::Add, a, room);
                self.b.binary(BinaryOp::Div, sum, divisor)
            }
            HostExpr::Call(function @ (HostFn::Min | HostFn::Max), args) => {
                let [a, b] = &args[..] else { return None };
                let (a, b) = (self.number(a)?, self.number(b)?);
                self.b.binary(if *function == HostFn::Min { BinaryOp::Min } else { BinaryOp::Max }, a, b)
            }
            _ => return None,
        })
    }

    /// The number that an expression always is: what is written, or a constant parameter.
    fn constant(&self, expr: &HostExpr) -> Option<i64> {
        match expr {
            HostExpr::Int(v) => Some(*v),
            HostExpr::Const(n) => self.spec.consts.get(*n as usize).copied(),
            _ => None,
        }
    }

    /// A condition as a scalar bool.
    fn condition(&mut self, expr: &HostExpr) -> Option<Value> {
        match expr {
            HostExpr::Cmp(op, a, b) => {
                let (a, b) = (self.number(a)?, self.number(b)?);
                Some(self.b.cmp(*op, a, b))
            }
            HostExpr::And(a, b) => match (self.condition(a), self.condition(b)) {
                (Some(a), Some(b)) => Some(self.b.binary(BinaryOp::And, a, b)),
                (one, other) => one.or(other),
            },
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_ir::SrcLoc;
    use kiln_ir::signature::{ElemRef, ParamSig, Requirement, TypeRef};
    use kiln_ir::text::parse_module;

    use super::*;
    use crate::{PassOptions, Target, optimize};

    fn tensor(name: &str, dims: &[HostExpr]) -> ParamSig {
        let kind = ParamKind::Tensor {
            elem: ElemRef::Scalar(TypeRef::Concrete(ScalarType::F32)),
            dims: dims.iter().cloned().map(DimPattern::Expr).collect(),
            mutable: true,
            may_alias: false,
        };
        ParamSig { name: name.into(), doc: String::new(), optional: false, kind, loc: SrcLoc::UNKNOWN }
    }

    /// `kernel k<const B: int>(x: mut tensor<f32, [N]>, absent, y: mut tensor<f32, [2 * N]>) grid [cdiv(N, B)] requires N % B == 0`, B = 4.
    #[test]
    fn a_clause_and_the_grid_prove_an_access() {
        let (n, b) = (HostExpr::Dim(0), HostExpr::Const(0));
        let binary = |op, a: &HostExpr, b: &HostExpr| HostExpr::Binary(op, Box::new(a.clone()), Box::new(b.clone()));
        let zero = Box::new(HostExpr::Int(0));
        let signature = KernelSignature {
            name: "k".into(),
            doc: String::new(),
            type_params: vec![],
            const_params: vec![],
            fn_params: vec![],
            params: vec![
                tensor("x", std::slice::from_ref(&n)),
                tensor("absent", &[HostExpr::Dim(1)]),
                tensor("y", &[binary(BinaryOp::Mul, &HostExpr::Int(2), &n)]),
            ],
            dims: vec!["N".into(), "L".into()],
            grid: vec![HostExpr::Call(HostFn::Cdiv, vec![n.clone(), b.clone()])],
            requires: vec![
                Requirement {
                    expr: HostExpr::Cmp(CmpOp::Eq, Box::new(binary(BinaryOp::Rem, &n, &b)), zero.clone()),
                    text: String::new(),
                    loc: SrcLoc::UNKNOWN,
                },
                Requirement {
                    expr: HostExpr::Cmp(CmpOp::Ge, Box::new(HostExpr::Dim(1)), zero),
                    text: String::new(),
                    loc: SrcLoc::UNKNOWN,
                },
            ],
            schedule: Default::default(),
            tune: vec![],
            tune_key: vec![],
            loc: SrcLoc::UNKNOWN,
        };
        let spec = Specialization {
            types: vec![],
            consts: vec![4],
            fns: vec![],
            present: vec![true, false, true],
            tensors: vec![],
            fits_32_bit: true,
            schedule: Default::default(),
        };
        let text = "kernel @0 k(v0.x: mut tensor<f32, 1> {number 0, align 4, dims [?], strides [=1]}, v1.y: mut tensor<f32, 1> {number 2, align 4, dims [?], strides [=1]}) grid 1 index 64 {
            v2: index = program_id 0
            v3: index = const 4
            v4: index = mul v2, v3
            v5: tile<f32, [4]> = load v0[v4..+4]
            v6: index = view_dim v0 axis 0
            v7: index = add v4, v6
            store v1[v7..+4], v5
            yield
        }";
        let mut module = parse_module(text).unwrap();
        add_launch_facts(&mut module, &signature, &spec);
        let options = PassOptions { fits_32_bit: true, ..PassOptions::default() };
        let text = optimize(module, Target::Host, &options).unwrap().to_string();
        assert!(text.contains("..+4!]\n") && text.contains("store v1[") && !text.contains("..+4]"), "{text}");
        assert!(text.contains("index 32"), "{text}");
    }
}
