//! Evaluation, printing and inspection of host expressions.
//!
//! Integers are checked: a launch whose sizes do not fit in 64 bits is an error, never a wrapped number.

use serde::{Deserialize, Serialize};

use super::expr::{HostExpr, HostFn};
use super::{KernelSignature, Number, Schedule};
use crate::ops::{BinaryOp, CmpOp};

/// The value of a host expression; a bool is 0 or 1.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
#[allow(missing_docs)]
pub enum HostValue {
    Int(i64),
    Float(f64),
}

impl HostValue {
    /// Whether the value, as a condition, holds.
    pub fn is_true(self) -> bool {
        match self {
            HostValue::Int(v) => v != 0,
            HostValue::Float(v) => v != 0.0,
        }
    }

    fn as_f64(self) -> f64 {
        match self {
            HostValue::Int(v) => v as f64,
            HostValue::Float(v) => v,
        }
    }
}

impl std::fmt::Display for HostValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HostValue::Int(v) => write!(f, "{v}"),
            HostValue::Float(v) => write!(f, "{v:?}"),
        }
    }
}

/// Why an expression has no value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EvalError {
    /// Named dimension number `0` is not known: only absent tensors name it.
    UnknownDim(u32),
    /// Constant parameter number `0` is not known.
    UnknownConst(u32),
    /// Type parameter number `0` is not known.
    UnknownType(u32),
    /// Parameter number `0` is absent.
    Absent(u32),
    /// Schedule field number `0` has no value.
    UnknownField(u8),
    /// The value does not fit in 64 bits.
    Overflow,
    /// An operator met an operand it does not take: the signature is wrong.
    IllTyped,
}

/// What names in host expressions stand for.
pub trait Env {
    /// Named dimension.
    fn dim(&self, number: u32) -> Option<i64>;
    /// Constant parameter.
    fn constant(&self, number: u32) -> Option<i64>;
    /// Scalar parameter, if it is present.
    fn scalar(&self, param: u32) -> Option<Number>;
    /// Extent of a tensor parameter, if it is present.
    fn dim_of(&self, param: u32, axis: u8) -> Option<i64>;
    /// Stride of a tensor parameter, if it is present.
    fn stride_of(&self, param: u32, axis: u8) -> Option<i64>;
    /// Whether a parameter is given.
    fn is_some(&self, param: u32) -> bool;
    /// Bits of a type parameter.
    fn bits_of(&self, number: u32) -> Option<u32>;
    /// Multiprocessors.
    fn num_sms(&self) -> i64;
    /// Bytes of shared memory a CTA can have.
    fn shared_memory(&self) -> i64;
    /// Field of `Schedule::FIELDS`, if it has one value.
    fn schedule_field(&self, number: u8) -> Option<i64>;
}

type Result<T> = std::result::Result<T, EvalError>;

impl HostExpr {
    /// The expression's value.
    ///
    /// # Errors
    /// Where a name has no value, or the result does not fit.
    pub fn eval(&self, env: &impl Env) -> Result<HostValue> {
        use HostValue::{Float, Int};
        Ok(match self {
            HostExpr::Int(v) => Int(*v),
            HostExpr::Bool(v) => Int(i64::from(*v)),
            HostExpr::Float(v) => Float(*v),
            HostExpr::Dim(i) => Int(env.dim(*i).ok_or(EvalError::UnknownDim(*i))?),
            HostExpr::Const(i) => Int(env.constant(*i).ok_or(EvalError::UnknownConst(*i))?),
            HostExpr::Scalar(i) => match env.scalar(*i).ok_or(EvalError::Absent(*i))? {
                Number::Int(v) => Int(v),
                Number::UInt(v) => Int(i64::try_from(v).map_err(|_| EvalError::Overflow)?),
                Number::Bool(v) => Int(i64::from(v)),
                Number::Float(v) => Float(v),
            },
            HostExpr::DimOf(i, axis) => Int(env.dim_of(*i, *axis).ok_or(EvalError::Absent(*i))?),
            HostExpr::StrideOf(i, axis) => Int(env.stride_of(*i, *axis).ok_or(EvalError::Absent(*i))?),
            HostExpr::IsSome(i) => Int(i64::from(env.is_some(*i))),
            HostExpr::BitsOf(i) => Int(i64::from(env.bits_of(*i).ok_or(EvalError::UnknownType(*i))?)),
            HostExpr::NumSms => Int(env.num_sms()),
            HostExpr::SharedMemory => Int(env.shared_memory()),
            HostExpr::ScheduleField(i) => Int(env.schedule_field(*i).ok_or(EvalError::UnknownField(*i))?),
            HostExpr::Neg(a) => match a.eval(env)? {
                Int(v) => Int(v.checked_neg().ok_or(EvalError::Overflow)?),
                Float(v) => Float(-v),
            },
            HostExpr::Not(a) => Int(i64::from(!a.eval(env)?.is_true())),
            HostExpr::Binary(op, a, b) => binary(*op, a.eval(env)?, b.eval(env)?)?,
            HostExpr::Cmp(op, a, b) => Int(i64::from(compare(*op, a.eval(env)?, b.eval(env)?))),
            HostExpr::And(a, b) => Int(i64::from(a.eval(env)?.is_true() && b.eval(env)?.is_true())),
            HostExpr::Or(a, b) => Int(i64::from(a.eval(env)?.is_true() || b.eval(env)?.is_true())),
            HostExpr::If(c, a, b) => {
                if c.eval(env)?.is_true() {
                    a.eval(env)?
                } else {
                    b.eval(env)?
                }
            }
            HostExpr::Call(function, args) => call(*function, args, env)?,
        })
    }

    /// The expression's value, which must be an integer.
    ///
    /// # Errors
    /// As [`HostExpr::eval`], and where the value is a float.
    pub fn eval_int(&self, env: &impl Env) -> Result<i64> {
        match self.eval(env)? {
            HostValue::Int(v) => Ok(v),
            HostValue::Float(_) => Err(EvalError::IllTyped),
        }
    }

    /// Calls `f` on this expression and every part of it.
    pub fn visit(&self, f: &mut impl FnMut(&HostExpr)) {
        f(self);
        match self {
            HostExpr::Neg(a) | HostExpr::Not(a) => a.visit(f),
            HostExpr::Binary(_, a, b) | HostExpr::Cmp(_, a, b) | HostExpr::And(a, b) | HostExpr::Or(a, b) => {
                a.visit(f);
                b.visit(f);
            }
            HostExpr::If(c, a, b) => {
                c.visit(f);
                a.visit(f);
                b.visit(f);
            }
            HostExpr::Call(_, args) => args.iter().for_each(|a| a.visit(f)),
            _ => {}
        }
    }

    /// The expression as the source would have it.
    pub fn text(&self, sig: &KernelSignature) -> String {
        self.text_in(sig, 0)
    }

    /// `level`: how tightly the place binds (0 loosest).
    fn text_in(&self, sig: &KernelSignature, level: u8) -> String {
        let param = |i: &u32| sig.params.get(*i as usize).map_or("?", |p| p.name.as_str()).to_owned();
        let infix = |own: u8, op: &str, a: &HostExpr, b: &HostExpr| {
            let text = format!("{} {op} {}", a.text_in(sig, own), b.text_in(sig, own + 1));
            if own < level { format!("({text})") } else { text }
        };
        match self {
            HostExpr::Int(v) => v.to_string(),
            HostExpr::Bool(v) => v.to_string(),
            HostExpr::Float(v) => format!("{v:?}"),
            HostExpr::Dim(i) => sig.dims.get(*i as usize).map_or("?", String::as_str).to_owned(),
            HostExpr::Const(i) => sig.const_params.get(*i as usize).map_or("?", |c| c.name.as_str()).to_owned(),
            HostExpr::Scalar(i) => param(i),
            HostExpr::DimOf(i, axis) => format!("{}.dim({axis})", param(i)),
            HostExpr::StrideOf(i, axis) => format!("{}.stride({axis})", param(i)),
            HostExpr::IsSome(i) => format!("{}.is_some()", param(i)),
            HostExpr::BitsOf(i) => format!("{}::BITS", sig.type_params.get(*i as usize).map_or("?", |t| t.name.as_str())),
            HostExpr::NumSms => "num_sms()".to_owned(),
            HostExpr::SharedMemory => "smem".to_owned(),
            HostExpr::ScheduleField(i) => Schedule::FIELDS.get(usize::from(*i)).map_or("?", |f| f).to_owned(),
            HostExpr::Neg(a) => format!("-{}", a.text_in(sig, 10)),
            HostExpr::Not(a) => format!("!{}", a.text_in(sig, 10)),
            HostExpr::Binary(op, a, b) => {
                let (own, symbol) = match op {
                    BinaryOp::Mul => (8, "*"),
                    BinaryOp::Div | BinaryOp::FastDiv => (8, "/"),
                    BinaryOp::Rem => (8, "%"),
                    BinaryOp::Add => (7, "+"),
                    BinaryOp::Sub => (7, "-"),
                    BinaryOp::Shl => (6, "<<"),
                    BinaryOp::Shr => (6, ">>"),
                    BinaryOp::And => (5, "&"),
                    BinaryOp::Xor => (4, "^"),
                    BinaryOp::Or => (3, "|"),
                    BinaryOp::Min | BinaryOp::Max | BinaryOp::FMin | BinaryOp::FMax | BinaryOp::MulHi => {
                        return format!("{op}({}, {})", a.text_in(sig, 0), b.text_in(sig, 0));
                    }
                };
                infix(own, symbol, a, b)
            }
            HostExpr::Cmp(op, a, b) => {
                let symbol = match op {
                    CmpOp::Eq => "==",
                    CmpOp::Ne => "!=",
                    CmpOp::Lt => "<",
                    CmpOp::Le => "<=",
                    CmpOp::Gt => ">",
                    CmpOp::Ge => ">=",
                };
                infix(2, symbol, a, b)
            }
            HostExpr::And(a, b) => infix(1, "&&", a, b),
            HostExpr::Or(a, b) => infix(0, "||", a, b),
            HostExpr::If(c, a, b) => {
                format!("(if {} {{ {} }} else {{ {} }})", c.text_in(sig, 0), a.text_in(sig, 0), b.text_in(sig, 0))
            }
            HostExpr::Call(function, args) => {
                let name = match function {
                    HostFn::Cdiv => "cdiv",
                    HostFn::NextPow2 => "next_pow2",
                    HostFn::Min => "min",
                    HostFn::Max => "max",
                    HostFn::Abs => "abs",
                };
                format!("{name}({})", args.iter().map(|a| a.text_in(sig, 0)).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn binary(op: BinaryOp, a: HostValue, b: HostValue) -> Result<HostValue> {
    let (HostValue::Int(x), HostValue::Int(y)) = (a, b) else {
        return float_binary(op, a.as_f64(), b.as_f64()).map(HostValue::Float);
    };
    let fits = |v: Option<i64>| v.ok_or(EvalError::Overflow);
    Ok(HostValue::Int(match op {
        BinaryOp::Add => fits(x.checked_add(y))?,
        BinaryOp::Sub => fits(x.checked_sub(y))?,
        BinaryOp::Mul => fits(x.checked_mul(y))?,
        BinaryOp::Div if y == 0 => 0,
        BinaryOp::Div => fits(x.checked_div(y))?,
        BinaryOp::Rem if y == 0 => x,
        BinaryOp::Rem => x.wrapping_rem(y),
        BinaryOp::Min | BinaryOp::FMin => x.min(y),
        BinaryOp::Max | BinaryOp::FMax => x.max(y),
        BinaryOp::And => x & y,
        BinaryOp::Or => x | y,
        BinaryOp::Xor => x ^ y,
        BinaryOp::Shl if !(0..64).contains(&y) => 0,
        BinaryOp::Shl => fits(i64::try_from(i128::from(x) << y).ok())?,
        BinaryOp::Shr if !(0..64).contains(&y) => x >> 63,
        BinaryOp::Shr => x >> y,
        BinaryOp::MulHi => ((i128::from(x) * i128::from(y)) >> 64) as i64,
        BinaryOp::FastDiv => return Err(EvalError::IllTyped),
    }))
}

fn float_binary(op: BinaryOp, x: f64, y: f64) -> Result<f64> {
    let nan = x.is_nan() || y.is_nan();
    Ok(match op {
        BinaryOp::Add => x + y,
        BinaryOp::Sub => x - y,
        BinaryOp::Mul => x * y,
        BinaryOp::Div | BinaryOp::FastDiv => x / y,
        BinaryOp::Rem => x % y,
        BinaryOp::Min | BinaryOp::Max if nan => f64::NAN,
        BinaryOp::Min | BinaryOp::FMin => x.min(y),
        BinaryOp::Max | BinaryOp::FMax => x.max(y),
        BinaryOp::And | BinaryOp::Or | BinaryOp::Xor | BinaryOp::Shl | BinaryOp::Shr | BinaryOp::MulHi => {
            return Err(EvalError::IllTyped);
        }
    })
}

fn compare(op: CmpOp, a: HostValue, b: HostValue) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = match (a, b) {
        (HostValue::Int(x), HostValue::Int(y)) => Some(x.cmp(&y)),
        _ => a.as_f64().partial_cmp(&b.as_f64()),
    };
    match op {
        CmpOp::Eq => order == Some(Equal),
        CmpOp::Ne => order != Some(Equal),
        CmpOp::Lt => order == Some(Less),
        CmpOp::Le => matches!(order, Some(Less | Equal)),
        CmpOp::Gt => order == Some(Greater),
        CmpOp::Ge => matches!(order, Some(Greater | Equal)),
    }
}

fn call(function: HostFn, args: &[HostExpr], env: &impl Env) -> Result<HostValue> {
    let arg = |i: usize| args.get(i).ok_or(EvalError::IllTyped)?.eval(env);
    let int = |i: usize| match arg(i)? {
        HostValue::Int(v) => Ok(v),
        HostValue::Float(_) => Err(EvalError::IllTyped),
    };
    Ok(match function {
        HostFn::Cdiv => {
            let (a, b) = (int(0)?, int(1)?);
            if b == 0 {
                return Ok(HostValue::Int(0));
            }
            let quotient = a.checked_div(b).ok_or(EvalError::Overflow)?;
            let up = a % b != 0 && (a < 0) == (b < 0);
            HostValue::Int(quotient + i64::from(up))
        }
        HostFn::NextPow2 => {
            let v = int(0)?.max(1) as u64;
            HostValue::Int(i64::try_from(v.next_power_of_two()).map_err(|_| EvalError::Overflow)?)
        }
        HostFn::Min => binary(BinaryOp::Min, arg(0)?, arg(1)?)?,
        HostFn::Max => binary(BinaryOp::Max, arg(0)?, arg(1)?)?,
        HostFn::Abs => match arg(0)? {
            HostValue::Int(v) => HostValue::Int(v.checked_abs().ok_or(EvalError::Overflow)?),
            HostValue::Float(v) => HostValue::Float(v.abs()),
        },
    })
}
