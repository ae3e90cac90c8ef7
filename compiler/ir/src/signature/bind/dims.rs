//! Dimensions and constants: lone names bind, `X + c` and `c * X` are solved, defaults fill what is left, and everything is checked.

use super::{ArgDesc, BindError, BindErrorKind, Binder, Origin, Result};
use crate::ops::BinaryOp;
use crate::signature::eval::{Env, EvalError};
use crate::signature::{ConstType, DimPattern, HostExpr, ParamKind};

#[derive(Clone, Copy)]
enum Unknown {
    Dim(u32),
    Const(u32),
}

enum Solved {
    /// The expression has no single unknown of a form that is solved.
    Not,
    Value(Unknown, i64),
    /// There is no such number.
    Never(Unknown),
}

impl<'a> Binder<'a> {
    /// Every extent with the pattern it has to fit.
    fn sites(&self) -> impl Iterator<Item = (usize, usize, &'a HostExpr, i64)> + use<'a> {
        let (sig, args) = (self.sig, self.args);
        sig.params.iter().zip(args).enumerate().flat_map(|(param, (p, arg))| {
            let (dims, actual): (&[DimPattern], &[i64]) = match (&p.kind, arg) {
                (ParamKind::Tensor { dims, .. }, ArgDesc::Tensor(tensor)) => (dims, tensor.dims),
                _ => (&[], &[]),
            };
            dims.iter().zip(actual).enumerate().filter_map(move |(axis, (pattern, &actual))| match pattern {
                DimPattern::Any => None,
                DimPattern::Expr(expr) => Some((param, axis, expr, actual)),
            })
        })
    }

    pub(super) fn bind_dims(&mut self) -> Result<()> {
        for (name, value) in &self.options.consts {
            let number = self.sig.const_params.iter().position(|c| c.name == *name).expect("names are checked");
            self.bind_const(number, *value, Origin::Launch)?;
        }
        // Lone names first, so that errors speak of them and not of what was solved with a wrong one.
        for (param, axis, expr, actual) in self.sites() {
            let origin = Origin::Tensor { param, axis };
            match expr {
                HostExpr::Dim(number) => self.bind_dim(*number as usize, actual, origin)?,
                HostExpr::Const(number) => self.bind_const(*number as usize, actual, origin)?,
                _ => {}
            }
        }
        loop {
            let mut progress = false;
            for (param, axis, expr, actual) in self.sites() {
                let origin = Origin::Tensor { param, axis };
                match self.solve(expr, actual) {
                    Solved::Not => continue,
                    Solved::Value(Unknown::Dim(number), value) if value >= 0 => self.bind_dim(number as usize, value, origin)?,
                    Solved::Value(Unknown::Const(number), value) => self.bind_const(number as usize, value, origin)?,
                    Solved::Value(unknown, _) | Solved::Never(unknown) => {
                        let name = match unknown {
                            Unknown::Dim(number) => self.sig.dims[number as usize].clone(),
                            Unknown::Const(number) => self.sig.const_params[number as usize].name.clone(),
                        };
                        let kind = BindErrorKind::DimUnsolvable {
                            place: self.place(origin),
                            found: actual,
                            text: expr.text(self.sig),
                            name,
                        };
                        return Err(self.at_param(param, kind));
                    }
                }
                progress = true;
            }
            if !progress && !self.default_one_const()? {
                break;
            }
        }
        if let Some(number) = self.consts.iter().position(Option::is_none) {
            let name = self.sig.const_params[number].name.clone();
            return Err(self.error(BindErrorKind::Undetermined { what: "constant", name }, vec![]));
        }
        for (param, axis, expr, actual) in self.sites() {
            let expected = expr.eval_int(self).map_err(|e| self.eval_error(e, expr))?;
            if expected != actual {
                let kind = BindErrorKind::DimMismatch {
                    place: self.place(Origin::Tensor { param, axis }),
                    found: actual,
                    text: expr.text(self.sig),
                    expected,
                    because: self.because(expr),
                };
                return Err(self.at_param(param, kind));
            }
        }
        Ok(())
    }

    fn bind_dim(&mut self, number: usize, value: i64, origin: Origin) -> Result<()> {
        match self.dims[number] {
            None => self.dims[number] = Some((value, origin)),
            Some((first, from)) if first != value => {
                return Err(self.dim_conflict(self.sig.dims[number].clone(), (first, from), (value, origin)));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn bind_const(&mut self, number: usize, value: i64, origin: Origin) -> Result<()> {
        let param = &self.sig.const_params[number];
        if param.ty == ConstType::Bool && !(0..=1).contains(&value) {
            let kind = BindErrorKind::ConstType { name: param.name.clone(), expected: "true or false", found: value };
            return Err(self.error(kind, vec![]));
        }
        match self.consts[number] {
            None => self.consts[number] = Some((value, origin)),
            Some((first, from)) if first != value => {
                return Err(self.dim_conflict(param.name.clone(), (first, from), (value, origin)));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn dim_conflict(&self, name: String, (first, from): (i64, Origin), (second, origin): (i64, Origin)) -> Box<BindError> {
        let labels = self.labels(&[(origin, format!("`{name}` is {second} here")), (from, format!("`{name}` is {first} here"))]);
        let kind =
            BindErrorKind::DimConflict { name, first, first_place: self.place(from), second, second_place: self.place(origin) };
        self.error(kind, labels)
    }

    /// Binds the first constant whose default has a value by now.
    fn default_one_const(&mut self) -> Result<bool> {
        for (number, param) in self.sig.const_params.iter().enumerate() {
            if self.consts[number].is_some() {
                continue;
            }
            let Some(default) = &param.default else { continue };
            match default.eval_int(self) {
                Ok(value) => {
                    self.bind_const(number, value, Origin::Default)?;
                    return Ok(true);
                }
                Err(EvalError::UnknownDim(_) | EvalError::UnknownConst(_)) => {}
                Err(error) => return Err(self.eval_error(error, default)),
            }
        }
        Ok(false)
    }

    /// The single unknown of `expr == target`, where its form is one that is solved.
    fn solve(&self, expr: &HostExpr, target: i64) -> Solved {
        match expr {
            HostExpr::Dim(number) if self.dim(*number).is_none() => Solved::Value(Unknown::Dim(*number), target),
            HostExpr::Const(number) if self.constant(*number).is_none() => Solved::Value(Unknown::Const(*number), target),
            HostExpr::Binary(op, a, b) => match (a.eval_int(self), b.eval_int(self)) {
                (Err(_), Ok(c)) => self.undo(*op, a, c, target, false),
                (Ok(c), Err(_)) => self.undo(*op, b, c, target, true),
                _ => Solved::Not,
            },
            _ => Solved::Not,
        }
    }

    /// Solves `x op c == target` (`c op x` where `flipped`).
    fn undo(&self, op: BinaryOp, x: &HostExpr, c: i64, target: i64, flipped: bool) -> Solved {
        let next = match (op, flipped) {
            (BinaryOp::Add, _) | (BinaryOp::Sub, true) => {
                if op == BinaryOp::Add {
                    target.checked_sub(c)
                } else {
                    c.checked_sub(target)
                }
            }
            (BinaryOp::Sub, false) => target.checked_add(c),
            (BinaryOp::Mul, _) if c != 0 && target % c == 0 => Some(target / c),
            (BinaryOp::Mul, _) if c != 0 => None,
            _ => return Solved::Not,
        };
        match (next, self.solve(x, next.unwrap_or(0))) {
            (Some(_), solved) => solved,
            (None, Solved::Value(unknown, _) | Solved::Never(unknown)) => Solved::Never(unknown),
            (None, Solved::Not) => Solved::Not,
        }
    }
}
