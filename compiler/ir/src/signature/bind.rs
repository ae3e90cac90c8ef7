//! Binding: from a launch's arguments to what the kernel is compiled for and how far its grid reaches.
//!
//! Element types bind type parameters, extents bind dimensions and constants (a lone name binds, `X + c` and `c * X` are solved, the rest is checked), defaults
//! fill what is left, and then the grid, the `requires` clauses and the schedule are numbers. Nothing is launched unless all of it agrees; every
//! disagreement names both values and where they come from.

mod assume;
mod dims;
mod finish;
mod tuning;

pub use assume::Assumptions;
pub use tuning::{Candidate, Config, TuningKey};

use super::error::{ArgKind, BindError, BindErrorKind};
use super::eval::{Env, EvalError};
use super::scalar::Number;
use super::{ElemRef, HostExpr, KernelSignature, ParamKind, Schedule, Specialization, TypeRef, facts};
use crate::func::SrcLoc;
use crate::types::{Elem, ScalarType};

/// A tensor as a launch sees it.
#[derive(Clone, Copy, Debug)]
pub struct TensorDesc<'a> {
    /// Elements.
    pub elem: Elem,
    /// Address of the element with index 0.
    pub address: u64,
    /// Extents.
    pub dims: &'a [i64],
    /// Strides in elements, of either sign; 0 repeats.
    pub strides: &'a [i64],
    /// Whether the kernel may write it.
    pub writable: bool,
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub enum ArgDesc<'a> {
    /// A tensor.
    Tensor(TensorDesc<'a>),
    /// A tensor that is still to be made: [`KernelSignature::infer`] says what it has to be.
    Infer,
    /// A pointer.
    Ptr {
        /// What it points to.
        pointee: ScalarType,
        /// The address.
        address: u64,
    },
    /// A number; its type, where given, determines a type parameter that nothing else does.
    Number(Number, Option<ScalarType>),
    /// No argument.
    Absent,
}

impl ArgDesc<'_> {
    fn kind(&self) -> ArgKind {
        match self {
            ArgDesc::Tensor(_) | ArgDesc::Infer => ArgKind::Tensor,
            ArgDesc::Ptr { .. } => ArgKind::Pointer,
            ArgDesc::Number(..) => ArgKind::Number,
            ArgDesc::Absent => ArgKind::Nothing,
        }
    }
}

/// What a launch says besides its arguments, and what the device is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LaunchOptions {
    /// Type parameters by name.
    pub types: Vec<(String, ScalarType)>,
    /// Constant parameters by name (bools as 0 or 1).
    pub consts: Vec<(String, i64)>,
    /// Function parameters by name, with the function's path.
    pub fns: Vec<(String, String)>,
    /// Schedule fields by name, with their values.
    pub schedule: Vec<(String, Vec<i64>)>,
    /// Multiprocessors of the device; worker threads on the CPU.
    pub num_sms: i64,
    /// Bytes of shared memory a CTA can have; 0 on the CPU.
    pub shared_memory: i64,
}

/// A launch whose arguments agree with the signature.
#[derive(Clone, PartialEq, Debug)]
pub struct Bound {
    /// What to compile.
    pub spec: Specialization,
    /// Named dimensions; None for those that only absent tensors name.
    pub dims: Vec<Option<i64>>,
    /// Extents of the grid, 1 past its rank.
    pub grid: [i64; 5],
    /// One a parameter: the bits of a scalar in its type, 0 for tensors, pointers and absent ones.
    pub scalars: Vec<u64>,
}

/// What a tensor to be made has to be.
#[derive(Clone, PartialEq, Debug)]
pub struct Inferred {
    /// Elements.
    pub elem: ScalarType,
    /// Extents.
    pub dims: Vec<i64>,
}

/// Where a value comes from.
#[derive(Clone, Copy, PartialEq)]
enum Origin {
    Launch,
    Tensor { param: usize, axis: usize },
    Elements(usize),
    Scalar(usize),
    Default,
}

type Result<T> = std::result::Result<T, Box<BindError>>;

pub(super) struct Binder<'a> {
    sig: &'a KernelSignature,
    args: &'a [ArgDesc<'a>],
    options: &'a LaunchOptions,
    types: Vec<Option<(ScalarType, Origin)>>,
    consts: Vec<Option<(i64, Origin)>>,
    dims: Vec<Option<(i64, Origin)>>,
    /// Bits and value of present scalars.
    scalars: Vec<Option<(u64, Number)>>,
}

impl KernelSignature {
    /// Binds a launch: one argument a parameter, in order.
    ///
    /// # Errors
    /// The first disagreement, in the order: arguments, types, dimensions and constants, grid, `requires`, overlap, schedule.
    pub fn bind(&self, args: &[ArgDesc<'_>], options: &LaunchOptions) -> Result<Bound> {
        let mut binder = Binder::new(self, args, options);
        binder.resolve()?;
        if let Some(param) = args.iter().position(|arg| matches!(arg, ArgDesc::Infer)) {
            return Err(binder.at_param(param, BindErrorKind::Missing { param: self.params[param].name.clone() }));
        }
        binder.finish()
    }

    /// What the tensors given as [`ArgDesc::Infer`] have to be, one entry a parameter, given the other arguments.
    ///
    /// # Errors
    /// As [`KernelSignature::bind`], and where an element type or extent does not follow from the other arguments.
    pub fn infer(&self, args: &[ArgDesc<'_>], options: &LaunchOptions) -> Result<Vec<Option<Inferred>>> {
        let mut binder = Binder::new(self, args, options);
        binder.resolve()?;
        args.iter().enumerate().map(|(i, arg)| matches!(arg, ArgDesc::Infer).then(|| binder.infer(i)).transpose()).collect()
    }
}

impl Env for Binder<'_> {
    fn dim(&self, number: u32) -> Option<i64> {
        self.dims.get(number as usize)?.map(|(v, _)| v)
    }
    fn constant(&self, number: u32) -> Option<i64> {
        self.consts.get(number as usize)?.map(|(v, _)| v)
    }
    fn scalar(&self, param: u32) -> Option<Number> {
        self.scalars.get(param as usize)?.map(|(_, v)| v)
    }
    fn dim_of(&self, param: u32, axis: u8) -> Option<i64> {
        let ArgDesc::Tensor(tensor) = self.args.get(param as usize)? else { return None };
        tensor.dims.get(usize::from(axis)).copied()
    }
    fn stride_of(&self, param: u32, axis: u8) -> Option<i64> {
        let ArgDesc::Tensor(tensor) = self.args.get(param as usize)? else { return None };
        tensor.strides.get(usize::from(axis)).copied()
    }
    fn is_some(&self, param: u32) -> bool {
        self.args.get(param as usize).is_some_and(|arg| !matches!(arg, ArgDesc::Absent)) || self.scalar(param).is_some()
    }
    fn bits_of(&self, number: u32) -> Option<u32> {
        self.types.get(number as usize)?.map(|(ty, _)| ty.bits())
    }
    fn num_sms(&self) -> i64 {
        self.options.num_sms
    }
    fn shared_memory(&self) -> i64 {
        self.options.shared_memory
    }
    fn schedule_field(&self, number: u8) -> Option<i64> {
        let name = *Schedule::FIELDS.get(usize::from(number))?;
        if let Some((_, values)) = self.options.schedule.iter().find(|(field, _)| field == name) {
            return values.first().copied().filter(|_| values.len() == 1);
        }
        let (_, values) = self.sig.schedule.fields.iter().find(|(field, _)| field == name)?;
        let [value] = &values[..] else { return None };
        value.eval_int(self).ok()
    }
}

impl<'a> Binder<'a> {
    fn new(sig: &'a KernelSignature, args: &'a [ArgDesc<'a>], options: &'a LaunchOptions) -> Self {
        Binder {
            sig,
            args,
            options,
            types: vec![None; sig.type_params.len()],
            consts: vec![None; sig.const_params.len()],
            dims: vec![None; sig.dims.len()],
            scalars: vec![None; sig.params.len()],
        }
    }

    fn error(&self, kind: BindErrorKind, labels: Vec<(SrcLoc, String)>) -> Box<BindError> {
        let labels = if labels.is_empty() { vec![(self.sig.loc, String::new())] } else { labels };
        Box::new(BindError { kernel: self.sig.name.clone(), kind, labels, help: None })
    }

    fn at_param(&self, param: usize, kind: BindErrorKind) -> Box<BindError> {
        self.error(kind, vec![(self.sig.params[param].loc, String::new())])
    }

    fn place(&self, origin: Origin) -> String {
        let name = |param: usize| &self.sig.params[param].name;
        match origin {
            Origin::Launch => "the launch".to_owned(),
            Origin::Tensor { param, axis } => format!("`{}` (axis {axis})", name(param)),
            Origin::Elements(param) | Origin::Scalar(param) => format!("`{}`", name(param)),
            Origin::Default => "its default".to_owned(),
        }
    }

    fn labels(&self, origins: &[(Origin, String)]) -> Vec<(SrcLoc, String)> {
        origins
            .iter()
            .filter_map(|(origin, text)| match *origin {
                Origin::Tensor { param, .. } | Origin::Elements(param) | Origin::Scalar(param) => {
                    Some((self.sig.params[param].loc, text.clone()))
                }
                Origin::Launch | Origin::Default => None,
            })
            .collect()
    }

    fn resolve(&mut self) -> Result<()> {
        self.check_kinds()?;
        self.check_names()?;
        self.bind_types()?;
        self.bind_given_scalars()?;
        self.bind_dims()?;
        self.default_scalars()
    }

    fn check_kinds(&self) -> Result<()> {
        let (expected, found) = (self.sig.params.len(), self.args.len());
        if expected != found {
            return Err(self.error(BindErrorKind::Count { expected, found }, vec![]));
        }
        for (i, (param, arg)) in self.sig.params.iter().zip(self.args).enumerate() {
            let name = || param.name.clone();
            let kind = match (&param.kind, arg) {
                (ParamKind::Scalar { default: Some(_), .. }, ArgDesc::Absent) => continue,
                (_, ArgDesc::Absent) if param.optional => continue,
                (_, ArgDesc::Absent) => BindErrorKind::Missing { param: name() },
                (ParamKind::Tensor { elem, dims, mutable, .. }, ArgDesc::Tensor(tensor)) => {
                    if dims.len() != tensor.dims.len() || tensor.strides.len() != tensor.dims.len() {
                        BindErrorKind::Rank {
                            param: name(),
                            expected: dims.len(),
                            found: tensor.dims.len(),
                            shape: tensor.dims.to_vec(),
                        }
                    } else if *mutable && !tensor.writable {
                        BindErrorKind::ReadOnly { param: name() }
                    } else if matches!(elem, ElemRef::Scalar(_)) != matches!(tensor.elem, Elem::Scalar(_)) {
                        BindErrorKind::Elem { param: name(), expected: self.elem_text(*elem), found: tensor.elem }
                    } else if let Some(kind) = facts::check_memory(&param.name, tensor) {
                        kind
                    } else {
                        continue;
                    }
                }
                (ParamKind::Tensor { .. }, ArgDesc::Infer)
                | (ParamKind::Ptr { .. }, ArgDesc::Ptr { .. })
                | (ParamKind::Scalar { .. }, ArgDesc::Number(..)) => continue,
                (ParamKind::Tensor { .. }, _) => {
                    BindErrorKind::Kind { param: name(), expected: ArgKind::Tensor, found: arg.kind() }
                }
                (ParamKind::Ptr { .. }, _) => {
                    BindErrorKind::Kind { param: name(), expected: ArgKind::Pointer, found: arg.kind() }
                }
                (ParamKind::Scalar { .. }, _) => {
                    BindErrorKind::Kind { param: name(), expected: ArgKind::Number, found: arg.kind() }
                }
            };
            return Err(self.at_param(i, kind));
        }
        Ok(())
    }

    fn elem_text(&self, elem: ElemRef) -> String {
        let ty = |ty: TypeRef| match ty {
            TypeRef::Concrete(ty) => ty.name().to_owned(),
            TypeRef::Param(i) => self.sig.type_params[i as usize].name.clone(),
            TypeRef::AccOf(i) => format!("{}::Acc", self.sig.type_params[i as usize].name),
        };
        match elem {
            ElemRef::Scalar(scalar) => ty(scalar),
            ElemRef::Ptr { pointee, mutable } => format!("{}ptr<{}>", if mutable { "mut " } else { "" }, ty(pointee)),
        }
    }

    /// Every name that the launch gives exists.
    fn check_names(&self) -> Result<()> {
        let unknown = |what: &'static str, name: &str, known: Vec<&str>| {
            let mut error = self.error(BindErrorKind::UnknownName { what, name: name.to_owned() }, vec![]);
            error.help = Some(if known.is_empty() {
                format!("`{}` has no {what}", self.sig.name)
            } else {
                format!("it has: {}", known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", "))
            });
            Err(error)
        };
        let types = || self.sig.type_params.iter().map(|t| t.name.as_str()).collect::<Vec<_>>();
        let consts = || self.sig.const_params.iter().map(|c| c.name.as_str()).collect::<Vec<_>>();
        let fns = || self.sig.fn_params.iter().map(|c| c.name.as_str()).collect::<Vec<_>>();
        if let Some((name, _)) = self.options.types.iter().find(|(name, _)| !types().contains(&name.as_str())) {
            return unknown("type parameter", name, types());
        }
        if let Some((name, _)) = self.options.consts.iter().find(|(name, _)| !consts().contains(&name.as_str())) {
            return unknown("constant parameter", name, consts());
        }
        if let Some((name, _)) = self.options.fns.iter().find(|(name, _)| !fns().contains(&name.as_str())) {
            return unknown("function parameter", name, fns());
        }
        if let Some((name, _)) = self.options.schedule.iter().find(|(name, _)| !Schedule::FIELDS.contains(&name.as_str())) {
            return unknown("schedule field", name, Schedule::FIELDS.to_vec());
        }
        Ok(())
    }

    fn bind_types(&mut self) -> Result<()> {
        for (name, ty) in &self.options.types {
            let number = self.sig.type_params.iter().position(|t| t.name == *name).expect("names are checked");
            self.bind_type(number, *ty, Origin::Launch)?;
        }
        for (i, (param, arg)) in self.sig.params.iter().zip(self.args).enumerate() {
            let found = match (&param.kind, arg) {
                (ParamKind::Tensor { elem: ElemRef::Scalar(ty), .. }, ArgDesc::Tensor(tensor)) => {
                    Some((*ty, tensor.elem.scalar()))
                }
                (ParamKind::Tensor { elem: ElemRef::Ptr { pointee, .. }, .. }, ArgDesc::Tensor(tensor)) => match tensor.elem {
                    Elem::Ptr { pointee: found, .. } => Some((*pointee, Some(found))),
                    Elem::Scalar(_) => None,
                },
                (ParamKind::Ptr { pointee, .. }, ArgDesc::Ptr { pointee: found, .. }) => Some((*pointee, Some(*found))),
                _ => None,
            };
            if let Some((TypeRef::Param(number), Some(found))) = found {
                self.bind_type(number as usize, found, Origin::Elements(i))?;
            }
        }
        // Typed numbers decide what is still open, then defaults.
        for (i, (param, arg)) in self.sig.params.iter().zip(self.args).enumerate() {
            if let (ParamKind::Scalar { ty: TypeRef::Param(number), .. }, ArgDesc::Number(_, Some(ty))) = (&param.kind, arg)
                && self.types[*number as usize].is_none()
            {
                self.bind_type(*number as usize, *ty, Origin::Scalar(i))?;
            }
        }
        for (number, param) in self.sig.type_params.iter().enumerate() {
            if self.types[number].is_none()
                && let Some(default) = param.default
            {
                self.bind_type(number, default, Origin::Default)?;
            }
        }
        if let Some(number) = self.types.iter().position(Option::is_none) {
            let name = self.sig.type_params[number].name.clone();
            let mut error = self.error(BindErrorKind::Undetermined { what: "type", name }, vec![]);
            error.help = Some("name it at the launch".to_owned());
            return Err(error);
        }
        self.check_elements()
    }

    fn bind_type(&mut self, number: usize, ty: ScalarType, origin: Origin) -> Result<()> {
        let param = &self.sig.type_params[number];
        if !param.class.contains(ty) {
            let kind = BindErrorKind::TypeClass {
                name: param.name.clone(),
                class: param.class.name(),
                found: ty,
                place: self.place(origin),
            };
            return Err(self.error(kind, self.labels(&[(origin, format!("this is {ty}"))])));
        }
        match self.types[number] {
            Some((first, from)) if first != ty => {
                let kind = BindErrorKind::TypeConflict {
                    name: param.name.clone(),
                    first,
                    first_place: self.place(from),
                    second: ty,
                    second_place: self.place(origin),
                };
                Err(self.error(kind, self.labels(&[(origin, format!("{ty} here")), (from, format!("{first} here"))])))
            }
            Some(_) => Ok(()),
            None => {
                self.types[number] = Some((ty, origin));
                Ok(())
            }
        }
    }

    fn type_args(&self) -> Vec<ScalarType> {
        self.types.iter().map(|ty| ty.expect("every type is bound").0).collect()
    }

    /// Concrete element types and `T::Acc` agree with what is given.
    fn check_elements(&self) -> Result<()> {
        let types = self.type_args();
        for (i, (param, arg)) in self.sig.params.iter().zip(self.args).enumerate() {
            let (expected, found) = match (&param.kind, arg) {
                (ParamKind::Tensor { elem: ElemRef::Scalar(ty), .. }, ArgDesc::Tensor(tensor)) => {
                    (Elem::Scalar(ty.resolve(&types)), tensor.elem)
                }
                (ParamKind::Tensor { elem: ElemRef::Ptr { pointee, mutable }, .. }, ArgDesc::Tensor(tensor)) => {
                    (Elem::Ptr { pointee: pointee.resolve(&types), mutable: *mutable }, tensor.elem)
                }
                (ParamKind::Ptr { pointee, .. }, ArgDesc::Ptr { pointee: found, .. }) => {
                    (Elem::Scalar(pointee.resolve(&types)), Elem::Scalar(*found))
                }
                _ => continue,
            };
            let same = match (expected, found) {
                (Elem::Ptr { pointee: a, mutable: need }, Elem::Ptr { pointee: b, mutable: have }) => a == b && (have || !need),
                (a, b) => a == b,
            };
            if !same {
                let kind = BindErrorKind::Elem { param: param.name.clone(), expected: expected.to_string(), found };
                return Err(self.at_param(i, kind));
            }
        }
        Ok(())
    }

    fn bind_given_scalars(&mut self) -> Result<()> {
        let types = self.type_args();
        for (i, (param, arg)) in self.sig.params.iter().zip(self.args).enumerate() {
            if let (ParamKind::Scalar { ty, .. }, ArgDesc::Number(number, _)) = (&param.kind, arg) {
                self.scalars[i] = Some(self.convert(i, *number, ty.resolve(&types))?);
            }
        }
        Ok(())
    }

    fn convert(&self, param: usize, number: Number, ty: ScalarType) -> Result<(u64, Number)> {
        number.to_type(ty).ok_or_else(|| {
            let kind = BindErrorKind::Number { param: self.sig.params[param].name.clone(), expected: ty, found: number };
            self.at_param(param, kind)
        })
    }

    fn default_scalars(&mut self) -> Result<()> {
        let types = self.type_args();
        for (i, param) in self.sig.params.iter().enumerate() {
            let ParamKind::Scalar { ty, default: Some(default) } = &param.kind else { continue };
            if self.scalars[i].is_some() {
                continue;
            }
            let ty = ty.resolve(&types);
            let value = match default.eval(self).map_err(|e| self.eval_error(e, default))? {
                super::eval::HostValue::Int(v) if ty == ScalarType::Bool => Number::Bool(v != 0),
                super::eval::HostValue::Int(v) => Number::Int(v),
                super::eval::HostValue::Float(v) => Number::Float(v),
            };
            self.scalars[i] = Some(self.convert(i, value, ty)?);
        }
        Ok(())
    }

    /// ` (N = 4 from x, B = 2)`: the values of an expression's names.
    fn because(&self, expr: &HostExpr) -> String {
        let mut parts: Vec<String> = Vec::new();
        expr.visit(&mut |part| {
            let bound = match part {
                HostExpr::Dim(i) => self.dims[*i as usize].map(|(v, from)| (v.to_string(), Some(from))),
                HostExpr::Const(i) => self.consts[*i as usize].map(|(v, from)| (v.to_string(), Some(from))),
                HostExpr::Scalar(i) => self.scalars[*i as usize].map(|(_, v)| (v.to_string(), None)),
                HostExpr::DimOf(i, axis) => self.dim_of(*i, *axis).map(|v| (v.to_string(), None)),
                HostExpr::StrideOf(i, axis) => self.stride_of(*i, *axis).map(|v| (v.to_string(), None)),
                HostExpr::NumSms => Some((self.options.num_sms.to_string(), None)),
                HostExpr::SharedMemory => Some((self.options.shared_memory.to_string(), None)),
                HostExpr::ScheduleField(i) => self.schedule_field(*i).map(|v| (v.to_string(), None)),
                _ => None,
            };
            if let Some((value, from)) = bound {
                let from = match from {
                    Some(origin @ Origin::Tensor { .. }) => format!(" from {}", self.place(origin)),
                    Some(Origin::Launch) => " from the launch".to_owned(),
                    _ => String::new(),
                };
                let part = format!("{} = {value}{from}", part.text(self.sig));
                if !parts.contains(&part) {
                    parts.push(part);
                }
            }
        });
        if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) }
    }

    fn eval_error(&self, error: EvalError, expr: &HostExpr) -> Box<BindError> {
        let text = expr.text(self.sig);
        let kind = match error {
            EvalError::UnknownDim(i) => {
                BindErrorKind::Undetermined { what: "dimension", name: self.sig.dims[i as usize].clone() }
            }
            EvalError::UnknownConst(i) => {
                BindErrorKind::Undetermined { what: "constant", name: self.sig.const_params[i as usize].name.clone() }
            }
            EvalError::UnknownType(i) => {
                BindErrorKind::Undetermined { what: "type", name: self.sig.type_params[i as usize].name.clone() }
            }
            EvalError::UnknownField(i) => {
                BindErrorKind::Undetermined { what: "schedule field", name: Schedule::FIELDS[usize::from(i)].to_owned() }
            }
            EvalError::Absent(i) => BindErrorKind::Absent { text, name: self.sig.params[i as usize].name.clone() },
            EvalError::Overflow => BindErrorKind::TooBig { what: format!("`{text}`"), because: self.because(expr) },
            EvalError::IllTyped => BindErrorKind::IllTyped { text },
        };
        self.error(kind, vec![])
    }
}

#[cfg(test)]
mod tests;
