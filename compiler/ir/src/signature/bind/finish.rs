//! What follows once everything is bound: tensors to be made, the grid, `requires`, overlap, the schedule, and the specialization.

use super::{ArgDesc, BindErrorKind, Binder, Bound, Inferred, Origin, Result};
use crate::signature::eval::Env;
use crate::signature::overlap::{Region, overlap};
use crate::signature::{DimPattern, ElemRef, HostExpr, ParamKind, Schedule, Specialization, facts};

impl<'a> Binder<'a> {
    pub(super) fn infer(&self, param: usize) -> Result<Inferred> {
        let ParamKind::Tensor { elem, dims, .. } = &self.sig.params[param].kind else {
            unreachable!("only tensors are inferred: the kinds are checked")
        };
        let ElemRef::Scalar(ty) = elem else {
            let what = "element of the pointer tensor";
            let kind = BindErrorKind::Undetermined { what, name: self.sig.params[param].name.clone() };
            return Err(self.at_param(param, kind));
        };
        let dims = dims
            .iter()
            .enumerate()
            .map(|(axis, pattern)| match pattern {
                DimPattern::Expr(expr) => match expr.eval_int(self).map_err(|e| self.eval_error(e, expr))? {
                    extent if extent < 0 => {
                        let place = self.place(Origin::Tensor { param, axis });
                        let kind = BindErrorKind::DimMismatch {
                            place,
                            found: 0,
                            text: expr.text(self.sig),
                            expected: extent,
                            because: self.because(expr),
                        };
                        Err(self.at_param(param, kind))
                    }
                    extent => Ok(extent),
                },
                DimPattern::Any => {
                    let name = format!("{}.dim({axis})", self.sig.params[param].name);
                    Err(self.at_param(param, BindErrorKind::Undetermined { what: "extent", name }))
                }
            })
            .collect::<Result<_>>()?;
        Ok(Inferred { elem: ty.resolve(&self.type_args()), dims })
    }

    pub(super) fn finish(self) -> Result<Bound> {
        let grid = self.grid()?;
        for requirement in &self.sig.requires {
            if !requirement.expr.eval(&self).map_err(|e| self.eval_error(e, &requirement.expr))?.is_true() {
                let kind = BindErrorKind::Requires { text: requirement.text.clone(), because: self.because(&requirement.expr) };
                return Err(self.error(kind, vec![(requirement.loc, String::new())]));
            }
        }
        self.check_overlap()?;
        let schedule = self.schedule()?;
        let known = |expr: &HostExpr| {
            let mut constant = true;
            expr.visit(&mut |part| {
                constant &= !matches!(
                    part,
                    HostExpr::Dim(_)
                        | HostExpr::Scalar(_)
                        | HostExpr::DimOf(..)
                        | HostExpr::StrideOf(..)
                        | HostExpr::NumSms
                        | HostExpr::SharedMemory
                )
            });
            constant
        };
        let tensors = self
            .sig
            .params
            .iter()
            .zip(self.args)
            .map(|(param, arg)| match (&param.kind, arg) {
                (ParamKind::Tensor { dims, may_alias, .. }, ArgDesc::Tensor(tensor)) => {
                    Some(facts::tensor(tensor, |axis| matches!(&dims[axis], DimPattern::Expr(expr) if known(expr)), *may_alias))
                }
                _ => None,
            })
            .collect();
        let fits_32_bit = facts::fits_32_bit(self.args, &grid, self.scalars.iter().flatten().map(|(_, v)| *v));
        let spec = Specialization {
            types: self.type_args(),
            consts: self.consts.iter().map(|c| c.expect("every constant is bound").0).collect(),
            fns: self.fns()?,
            present: (0..self.sig.params.len()).map(|i| self.is_some(i as u32)).collect(),
            tensors,
            fits_32_bit,
            schedule,
        };
        Ok(Bound {
            spec,
            dims: self.dims.iter().map(|d| d.map(|(v, _)| v)).collect(),
            grid,
            scalars: self.scalars.iter().map(|s| s.map_or(0, |(bits, _)| bits)).collect(),
        })
    }

    fn grid(&self) -> Result<[i64; 5]> {
        let mut grid = [1; 5];
        let mut programs = 1i64;
        for (axis, expr) in self.sig.grid.iter().enumerate() {
            let value = expr.eval_int(self).map_err(|e| self.eval_error(e, expr))?;
            let because = || self.because(expr);
            if value < 0 {
                let kind = BindErrorKind::NegativeGrid { axis, text: expr.text(self.sig), value, because: because() };
                return Err(self.error(kind, vec![]));
            }
            grid[axis] = value;
            programs = programs.checked_mul(value.max(1)).ok_or_else(|| {
                self.error(BindErrorKind::TooBig { what: "the number of programs".to_owned(), because: because() }, vec![])
            })?;
        }
        Ok(grid)
    }

    pub(super) fn fns(&self) -> Result<Vec<String>> {
        self.sig
            .fn_params
            .iter()
            .map(|param| {
                let given = self.options.fns.iter().find(|(name, _)| *name == param.name).map(|(_, path)| path.clone());
                given
                    .or_else(|| param.default.clone())
                    .ok_or_else(|| self.error(BindErrorKind::Undetermined { what: "function", name: param.name.clone() }, vec![]))
            })
            .collect()
    }

    pub(super) fn schedule(&self) -> Result<Schedule> {
        let mut schedule = Schedule::default();
        let mut set = |name: &str, values: &[i64]| {
            schedule.set(name, values).map_err(|expected| {
                let found = values.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
                self.error(BindErrorKind::Schedule { field: name.to_owned(), expected, found }, vec![])
            })
        };
        for (name, exprs) in &self.sig.schedule.fields {
            let values = exprs
                .iter()
                .map(|e| e.eval_int(self).map_err(|error| self.eval_error(error, e)))
                .collect::<Result<Vec<i64>>>()?;
            set(name, &values)?;
        }
        for (name, values) in &self.options.schedule {
            set(name, values)?;
        }
        Ok(schedule)
    }

    /// A written tensor shares no element with another parameter, unless both may alias.
    fn check_overlap(&self) -> Result<()> {
        let tensors = || {
            self.sig.params.iter().zip(self.args).enumerate().filter_map(|(i, (param, arg))| match (&param.kind, arg) {
                (ParamKind::Tensor { mutable, may_alias, .. }, ArgDesc::Tensor(tensor)) => {
                    Some((i, *mutable, *may_alias, tensor))
                }
                _ => None,
            })
        };
        for (i, i_mut, i_alias, a) in tensors() {
            for (j, j_mut, j_alias, b) in tensors().filter(|(j, ..)| *j > i) {
                if (i_mut || j_mut) && !(i_alias && j_alias) && overlap(Region::of(a), Region::of(b)) {
                    let name = |k: usize| self.sig.params[k].name.clone();
                    let kind =
                        BindErrorKind::Overlap { first: name(i), second: name(j), written: name(if i_mut { i } else { j }) };
                    let labels =
                        vec![(self.sig.params[i].loc, String::new()), (self.sig.params[j].loc, "overlaps this".to_owned())];
                    let mut error = self.error(kind, labels);
                    error.help = Some(format!(
                        "pass one `mut` tensor to work in place, or declare `#[may_alias({}, {})]`",
                        name(i),
                        name(j)
                    ));
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
