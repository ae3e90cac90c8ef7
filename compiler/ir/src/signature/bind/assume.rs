//! A specialization without a launch: for `kiln build`, which compiles a kernel that nothing is passed to.

use super::{ArgDesc, BindErrorKind, Binder, LaunchOptions, Origin, Result};
use crate::func::{IntFact, TensorFacts};
use crate::signature::{DimPattern, ElemRef, HostExpr, KernelSignature, ParamKind, Specialization, TypeClass};
use crate::types::ScalarType;

/// Alignment and divisor that a typical launch has.
const TYPICAL: u32 = 16;

/// What is assumed where nothing is said.
#[derive(Clone, Debug, Default)]
pub struct Assumptions {
    /// Named dimensions, so that constants with defaults over them have a value.
    pub dims: Vec<(String, i64)>,
    /// Optional parameters that are present.
    pub present: Vec<String>,
}

impl KernelSignature {
    /// The specialization of a typical launch: dense tensors, aligned to 16 bytes, extents and outer strides divisible by 16, sizes within 32 bits; type
    /// parameters that nothing names are f32 (`int` ones i32).
    ///
    /// # Errors
    /// As [`KernelSignature::bind`]; a constant without a value is one.
    pub fn assume(&self, assumptions: &Assumptions, options: &LaunchOptions) -> Result<Specialization> {
        let present = |param: &crate::signature::ParamSig| !param.optional || assumptions.present.contains(&param.name);
        // Tensors to be inferred stand for present ones; nothing is asked of them here.
        let args: Vec<ArgDesc<'_>> =
            self.params.iter().map(|param| if present(param) { ArgDesc::Infer } else { ArgDesc::Absent }).collect();
        let mut binder = Binder::new(self, &args, options);
        binder.check_names()?;
        for name in &assumptions.present {
            if !self.params.iter().any(|p| p.name == *name) {
                return Err(binder.error(BindErrorKind::UnknownName { what: "parameter", name: name.clone() }, vec![]));
            }
        }
        for (name, value) in &assumptions.dims {
            match self.dims.iter().position(|d| d == name) {
                Some(number) => binder.dims[number] = Some((*value, Origin::Launch)),
                None => return Err(binder.error(BindErrorKind::UnknownName { what: "dimension", name: name.clone() }, vec![])),
            }
        }
        for (number, param) in self.type_params.iter().enumerate() {
            let given = options.types.iter().find(|(name, _)| *name == param.name).map(|(_, ty)| (*ty, Origin::Launch));
            let (ty, origin) = given.unwrap_or_else(|| {
                let usual = if param.class == TypeClass::Int { ScalarType::I32 } else { ScalarType::F32 };
                (param.default.unwrap_or(usual), Origin::Default)
            });
            binder.bind_type(number, ty, origin)?;
        }
        binder.bind_dims().map_err(|mut error| {
            if matches!(error.kind, BindErrorKind::Undetermined { .. }) {
                error.help = Some("give its value, or the dimensions that it depends on".to_owned());
            }
            error
        })?;
        let tensors = self.params.iter().map(|param| if present(param) { binder.typical(&param.kind) } else { None }).collect();
        Ok(Specialization {
            types: binder.type_args(),
            consts: binder.consts.iter().map(|c| c.expect("every constant is bound").0).collect(),
            fns: binder.fns()?,
            present: self.params.iter().map(present).collect(),
            tensors,
            fits_32_bit: !self
                .params
                .iter()
                .any(|param| matches!(param.kind, ParamKind::Ptr { .. } | ParamKind::Tensor { elem: ElemRef::Ptr { .. }, .. })),
            schedule: binder.schedule()?,
        })
    }
}

impl Binder<'_> {
    fn typical(&self, kind: &ParamKind) -> Option<TensorFacts> {
        let ParamKind::Tensor { elem, dims, may_alias, .. } = kind else { return None };
        let bytes = match elem {
            ElemRef::Scalar(ty) => ty.resolve(&self.type_args()).bytes(),
            ElemRef::Ptr { .. } => 8,
        };
        let constant = |pattern: &DimPattern| match pattern {
            DimPattern::Any => None,
            DimPattern::Expr(expr) => {
                let mut over_constants = true;
                expr.visit(&mut |part| over_constants &= !matches!(part, HostExpr::Dim(_)));
                if over_constants { expr.eval_int(self).ok() } else { None }
            }
        };
        let typical = IntFact { known: None, divisor: TYPICAL, max: None };
        let known: Vec<Option<i64>> = dims.iter().map(constant).collect();
        let mut strides = smallvec::SmallVec::from_elem(typical, dims.len());
        let mut dense = Some(1i64);
        for axis in (0..dims.len()).rev() {
            if let Some(stride) = dense {
                strides[axis] = IntFact::exact(stride);
            }
            dense = dense.and_then(|stride| known[axis].and_then(|d| stride.checked_mul(d)));
        }
        Some(TensorFacts {
            align: TYPICAL.max(bytes),
            dims: known.iter().map(|d| d.map_or(typical, IntFact::exact)).collect(),
            strides,
            may_alias: *may_alias,
        })
    }
}
