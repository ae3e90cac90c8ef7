//! Items: generic checks of kernels and functions, values of constants, and kernels for one specialization.

use kiln_ir::signature::Specialization;
use kiln_ir::{ParamInfo, SrcLoc, Type};
use kiln_syntax::ast::{self, Dim, Generic, Item, Param, TypeArg, TypeArgKind, TypeExpr, TypeKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use smallvec::SmallVec;

use super::call::is_tensor;
use super::generics::{GenericKind, kinds_of, solvable};
use super::type_expr::TyVal;
use super::value::{DimVal, FnVal, TileVal, Val, ViewVal};
use super::vars::VarKind;
use super::{Binding, ConstState, Elab, FrameKind, Poison, R};
use crate::consts::{Konst, Num};
use crate::names::ItemId;
use crate::types::{Scalar, Shape, Symbol, TileTy, TypeVar};

/// The arguments of the generics of an item: open, or those of a specialization.
enum Source<'s> {
    Open,
    Given(&'s Specialization),
}

impl<'p> Elab<'p> {
    /// Checks a function by itself.
    pub fn check_fn(&mut self, id: ItemId, function: &'p ast::Fn) {
        self.push_frame(id.module, FrameKind::Fn, function.name.name.clone(), None);
        let _ = self.check_fn_body(function);
        self.leave_item();
    }

    fn leave_item(&mut self) {
        self.frames.clear();
        self.regions.clear();
        self.vars.clear();
    }

    fn check_fn_body(&mut self, function: &'p ast::Fn) -> R<()> {
        let generics = self.bind_item_generics(&function.generics, &Source::Open);
        generics?;
        self.bind_fn_params(&function.params)?;
        self.fn_requires(&function.requires, function.name.span)?;
        let result_ty = match &function.result {
            Some(te) => self.type_of(te),
            None => Ok(TyVal::Tuple(vec![])),
        };
        let value = self.block_value(&function.body);
        let (value, result_ty) = (value?, result_ty?);
        let at = function.body.tail.as_ref().map_or(function.body.span, |t| t.span);
        self.fit_result(value, &result_ty, function, at).map(|_| ())
    }

    fn bind_item_generics(&mut self, generics: &'p [Generic], source: &Source<'_>) -> R<()> {
        let (kinds, broken) = kinds_of(generics);
        let mut result = Ok(());
        for d in broken {
            result = Err(self.report(d));
        }
        let (mut types, mut consts, mut fns) = (0, 0, 0);
        let mut seen: Vec<&ast::Ident> = Vec::new();
        for (generic, kind) in generics.iter().zip(kinds) {
            let name = generic.name();
            if let Some(first) = seen.iter().find(|s| s.name == name.name) {
                let first = first.span;
                result = Err(self.report(
                    Diagnostic::error(codes::DUPLICATE_PARAM, format!("`{}` is declared twice", name.name))
                        .primary(name.span, "again here")
                        .secondary(first, "first here"),
                ));
            }
            seen.push(name);
            let Some(kind) = kind else { continue };
            match kind {
                GenericKind::Type(class) => {
                    let scalar = match source {
                        Source::Open => Scalar::Param(TypeVar { number: types as u32, class, name: Symbol::new(&name.name) }),
                        Source::Given(spec) => Scalar::Known(*spec.types.get(types).ok_or(Poison)?),
                    };
                    types += 1;
                    self.bind(&name.name, Binding::Type(scalar));
                }
                GenericKind::Shape => self.bind(&name.name, Binding::Shape(Shape::Param(Symbol::new(&name.name)))),
                GenericKind::Int | GenericKind::Bool => {
                    let tile = match (source, kind) {
                        (Source::Open, GenericKind::Int) => TileVal::int(Num::name(&name.name)),
                        (Source::Open, _) => TileVal::bool(None),
                        (Source::Given(spec), kind) => {
                            let v = *spec.consts.get(consts).ok_or(Poison)?;
                            if kind == GenericKind::Int { TileVal::int(i128::from(v)) } else { TileVal::bool(Some(v != 0)) }
                        }
                    };
                    consts += 1;
                    self.define(name, None, Some(Val::Tile(tile)), VarKind::ConstParam);
                }
                GenericKind::Fn => {
                    let f = match (source, generic) {
                        (Source::Open, Generic::Const(g)) => FnVal::Opaque { name: name.name.clone(), ty: &g.ty },
                        (Source::Given(spec), _) => {
                            let path = spec.fns.get(fns).ok_or(Poison)?;
                            match self.function_by_name(path) {
                                Some(f) => f,
                                None => {
                                    return Err(self.report(
                                        Diagnostic::error(
                                            codes::UNKNOWN_FUNCTION,
                                            format!("there is no function `{path}` for `{}`", name.name),
                                        )
                                        .primary(name.span, "given at launch"),
                                    ));
                                }
                            }
                        }
                        (Source::Open, Generic::Type(_)) => continue,
                    };
                    fns += 1;
                    self.define(name, None, Some(Val::Fn(f)), VarKind::ConstParam);
                }
            }
        }
        // Defaults are checked with the names before them; those over dimensions belong to the signature.
        result
    }

    fn bind_fn_params(&mut self, params: &'p [Param]) -> R<()> {
        let mut result = self.duplicate_params(params);
        let mut views: Vec<(usize, ViewVal)> = Vec::new();
        for (at, param) in params.iter().enumerate() {
            if !is_tensor(&param.ty) {
                continue;
            }
            match self.param_view(param) {
                Ok(view) => views.push((at, view)),
                Err(p) => result = Err(p),
            }
        }
        for (at, param) in params.iter().enumerate() {
            let present = self.given.has(at, param);
            let val = if let Some((_, view)) = views.iter().find(|(v, _)| *v == at) {
                let dims = self.dims_of(&param.ty, view.dims.len());
                Ok(Val::View(ViewVal { dims, ..view.clone() }))
            } else if is_tensor(&param.ty) {
                Err(Poison)
            } else {
                self.type_of(&param.ty).and_then(|ty| match self.sample(&ty) {
                    Some(val) => Ok(val),
                    None => Err(self.error(
                        codes::BAD_TYPE,
                        param.ty.span,
                        "a parameter needs a type",
                        "write a scalar, tile, tensor, pointer or tuple type",
                    )),
                })
            };
            let val = match val {
                Ok(val) if present => Some(val),
                Ok(_) => Some(Val::Absent(param.name.name.clone())),
                Err(p) => {
                    result = Err(p);
                    None
                }
            };
            self.define(&param.name, None, val, VarKind::Param);
            if let Some(default) = &param.default {
                let ok = self.type_of(&param.ty).and_then(|ty| {
                    let val = self.expr(default)?;
                    self.fit(val, &ty, default.span, "the default of a parameter")
                });
                result = ok.map(|_| ()).and(result);
            }
        }
        result
    }

    fn duplicate_params(&mut self, params: &'p [Param]) -> R<()> {
        let mut result = Ok(());
        for (at, param) in params.iter().enumerate() {
            if let Some(first) = params[..at].iter().find(|p| p.name.name == param.name.name) {
                result = Err(self.report(
                    Diagnostic::error(codes::DUPLICATE_PARAM, format!("two parameters are called `{}`", param.name.name))
                        .primary(param.name.span, "again here")
                        .secondary(first.name.span, "first here"),
                ));
            }
        }
        result
    }

    /// Elements and rank of a tensor parameter; its lone dimension names become variables without a value of the IR.
    fn param_view(&mut self, param: &'p Param) -> R<ViewVal> {
        let (elem, dims) = tensor_parts(&param.ty).ok_or(Poison).or_else(|p| {
            // The general check reports what is wrong.
            self.type_of(&param.ty).and(Err(p))
        })?;
        let elem = self.elem_arg(elem)?;
        if !(1..=5).contains(&dims.len()) {
            return Err(self.error(
                codes::BAD_TYPE,
                param.ty.span,
                format!("a tensor of rank {}", dims.len()),
                "tensors have 1 to 5 dimensions",
            ));
        }
        for dim in dims {
            if let Dim::Expr(e) = dim
                && let Some(name) = e.as_ident()
                && self.lookup(&name.name).is_none()
                && !self.is_const_item(&name.name)
            {
                let value = TileVal::new(TileTy::scalar(Scalar::INDEX), None);
                self.define(name, None, Some(Val::Tile(value)), VarKind::Dim);
            }
        }
        Ok(ViewVal {
            elem,
            dims: SmallVec::from_elem(DimVal::Dyn, dims.len()),
            mutable: param.ty.mutable.is_some(),
            ir: None,
            origin: Some((param.name.name.clone(), param.name.span)),
        })
    }

    /// Which dimensions of a tensor type are constants.
    fn dims_of(&mut self, te: &'p TypeExpr, rank: usize) -> SmallVec<[DimVal; 5]> {
        let Some((_, dims)) = tensor_parts(te) else { return SmallVec::from_elem(DimVal::Dyn, rank) };
        dims.iter()
            .map(|dim| match dim {
                Dim::Expr(e) => match self.dry(|s| s.tile(e)) {
                    Ok(TileVal { konst: Some(Konst::Int(n)), .. }) => DimVal::Const(n),
                    _ => DimVal::Dyn,
                },
                Dim::Any(_) => DimVal::Dyn,
            })
            .collect()
    }

    /// Checks a kernel for every specialization at once.
    pub fn check_kernel(&mut self, id: ItemId, kernel: &'p ast::Kernel) {
        self.push_frame(id.module, FrameKind::Kernel, kernel.name.name.clone(), None);
        self.grid_rank = kernel.grid.len() as u32;
        let generics = self.bind_item_generics(&kernel.generics, &Source::Open);
        if generics.is_ok() && self.bind_kernel_params(kernel, None).is_ok() {
            let _ = self.kernel_body(kernel);
        }
        self.leave_item();
    }

    fn kernel_body(&mut self, kernel: &'p ast::Kernel) -> R<()> {
        let ends_in_value = kernel.body.tail.as_ref().filter(|t| !matches!(t.kind, ast::ExprKind::If(_)));
        let result = self.block_stmts(&kernel.body);
        if let Some(tail) = ends_in_value
            && let Ok(val) = self.dry(|s| s.scoped(|s| s.expr(tail)))
            && !matches!(val, Val::Unit)
        {
            self.report(
                Diagnostic::error(codes::RETURN_PLACE, "a kernel returns nothing")
                    .primary(tail.span, format!("this value, {}, goes nowhere", super::expr::describe(&val)))
                    .help("store it in a `mut` tensor, or end the statement with `;`"),
            );
            return Err(Poison);
        }
        result.map(|_| ())
    }

    /// Binds parameters and dimensions. With a specialization, IR parameters are made.
    fn bind_kernel_params(&mut self, kernel: &'p ast::Kernel, spec: Option<&Specialization>) -> R<()> {
        let mut result = self.duplicate_params(&kernel.params);
        let mut views: Vec<(&'p Param, ViewVal)> = Vec::new();
        let mut absent: Vec<&'p Param> = Vec::new();
        for (number, param) in kernel.params.iter().enumerate() {
            let present = match spec {
                Some(spec) => spec.present.get(number).copied().unwrap_or(true),
                None => self.given.has(number, param),
            };
            if !present {
                absent.push(param);
                self.define(&param.name, None, Some(Val::Absent(param.name.name.clone())), VarKind::Param);
                continue;
            }
            let bound = if is_tensor(&param.ty) {
                self.tensor_param(param, number, spec, &mut views)
            } else {
                self.plain_param(param, number, spec)
            };
            if let Err(p) = bound {
                result = Err(p);
                self.define(&param.name, None, None, VarKind::Param);
            }
        }
        // Names are bound where they stand alone, then solved.
        for (param, view) in &views {
            self.bind_kernel_dims(param, view, false);
        }
        for (param, view) in &views {
            self.bind_kernel_dims(param, view, true);
        }
        for param in &absent {
            for name in lone_dims(&param.ty) {
                if self.lookup(&name.name).is_none() && !self.is_const_item(&name.name) {
                    self.define(name, None, Some(Val::Absent(name.name.clone())), VarKind::Dim);
                }
            }
        }
        for (param, view) in views {
            let dims = self.dims_of(&param.ty, view.dims.len());
            self.define(&param.name, None, Some(Val::View(ViewVal { dims, ..view })), VarKind::Param);
        }
        result
    }

    fn tensor_param(
        &mut self,
        param: &'p Param,
        number: usize,
        spec: Option<&Specialization>,
        views: &mut Vec<(&'p Param, ViewVal)>,
    ) -> R<()> {
        let Some((elem, dims)) = tensor_parts(&param.ty) else {
            self.type_of(&param.ty)?;
            return Err(Poison);
        };
        let elem = self.elem_arg(elem)?;
        if !(1..=5).contains(&dims.len()) {
            return Err(self.error(
                codes::BAD_TYPE,
                param.ty.span,
                format!("a tensor of rank {}", dims.len()),
                "tensors have 1 to 5 dimensions",
            ));
        }
        let mutable = param.ty.mutable.is_some();
        let ir = match (spec, TileTy::scalar(elem).ir()) {
            (Some(spec), Some(ty)) if self.sink.is_live() => {
                let tensor = spec.tensors.get(number).cloned().flatten();
                let info = ParamInfo { name: param.name.name.clone(), number: number as u32, tensor };
                Some(self.sink.func().add_param(info, Type::view(ty.elem(), dims.len() as u8, mutable)))
            }
            _ => None,
        };
        let origin = Some((param.name.name.clone(), param.name.span));
        views.push((param, ViewVal { elem, dims: SmallVec::from_elem(DimVal::Dyn, dims.len()), mutable, ir, origin }));
        Ok(())
    }

    fn plain_param(&mut self, param: &'p Param, number: usize, spec: Option<&Specialization>) -> R<()> {
        let ty = match self.type_of(&param.ty)? {
            TyVal::Tile(ty) if ty.shape.is_scalar() => ty,
            other => {
                return Err(self.report(
                    Diagnostic::error(codes::BAD_TYPE, format!("a kernel cannot take `{other}`"))
                        .primary(param.ty.span, "not a tensor, pointer or scalar")
                        .help("tiles exist inside kernels; what a launch passes is a `tensor<T, [M, N]>`"),
                ));
            }
        };
        let ir = match (spec, ty.ir()) {
            (Some(_), Some(ir_ty)) if self.sink.is_live() => {
                let info = ParamInfo { name: param.name.name.clone(), number: number as u32, tensor: None };
                Some(self.sink.func().add_param(info, ir_ty))
            }
            _ => None,
        };
        if let Some(default) = &param.default {
            let val = self.expr(default)?;
            self.fit(val, &TyVal::Tile(ty.clone()), default.span, "the default of a parameter")?;
        }
        self.define(&param.name, None, Some(Val::Tile(TileVal::new(ty, ir))), VarKind::Param);
        Ok(())
    }

    fn bind_kernel_dims(&mut self, param: &'p Param, view: &ViewVal, solve: bool) {
        let Some((_, dims)) = tensor_parts(&param.ty) else { return };
        for (axis, dim) in dims.iter().enumerate() {
            let Dim::Expr(e) = dim else { continue };
            if let Some(name) = e.as_ident() {
                if !solve && self.lookup(&name.name).is_none() && !self.is_const_item(&name.name) {
                    let value = self.view_dim(view, axis);
                    self.define(name, None, Some(Val::Tile(value)), VarKind::Dim);
                }
                continue;
            }
            if !solve {
                continue;
            }
            for name in names_in(e) {
                if self.lookup(&name.name).is_some() || self.is_const_item(&name.name) {
                    continue;
                }
                let Some((op, constant)) = solvable(e, &name.name) else { continue };
                let have = super::ops::Operand { tile: self.view_dim(view, axis), span: e.span };
                let Ok(tile) = self.tile(constant) else { continue };
                let inverse = match op {
                    ast::BinaryOp::Mul => ast::BinaryOp::Div,
                    ast::BinaryOp::Add => ast::BinaryOp::Sub,
                    _ => ast::BinaryOp::Add,
                };
                let constant = super::ops::Operand { tile, span: constant.span };
                if let Ok(value) = self.binary(inverse, e.span, &have, &constant) {
                    self.define(name, None, Some(Val::Tile(value)), VarKind::Dim);
                }
            }
        }
    }

    /// A kernel for one specialization. The sink must be live; the function is taken from it.
    pub fn instantiate(&mut self, id: ItemId, kernel: &'p ast::Kernel, spec: &Specialization) -> R<()> {
        self.push_frame(id.module, FrameKind::Kernel, kernel.name.name.clone(), None);
        self.grid_rank = kernel.grid.len() as u32;
        let func = self.sink.func();
        func.grid_rank = kernel.grid.len() as u8;
        func.schedule = spec.schedule.clone();
        func.loc = SrcLoc { file: kernel.name.span.file.0, lo: kernel.name.span.lo, hi: kernel.name.span.hi };
        self.sink.set_loc(kernel.name.span);
        self.bind_item_generics(&kernel.generics, &Source::Given(spec))?;
        self.bind_kernel_params(kernel, Some(spec))?;
        self.kernel_body(kernel)?;
        self.sink.yield_(Default::default());
        if self.has_errors() { Err(Poison) } else { Ok(()) }
    }

    /// The value of a constant item.
    pub fn const_item(&mut self, id: ItemId) -> R<Val<'p>> {
        let modules = self.modules;
        let Item::Const(item) = modules.item(id) else { return Err(Poison) };
        match self.consts.get(&id) {
            Some(ConstState::Done(val)) => return val.clone(),
            Some(ConstState::Running) => {
                return Err(self.error(
                    codes::CONST_CYCLE,
                    item.name.span,
                    format!("the value of `{}` depends on itself", item.name.name),
                    "defined here",
                ));
            }
            None => {}
        }
        self.consts.insert(id, ConstState::Running);
        self.push_frame(id.module, FrameKind::Const, item.name.name.clone(), None);
        let val = self.const_value(item);
        self.frames.pop();
        self.consts.insert(id, ConstState::Done(val.clone()));
        val
    }

    fn const_value(&mut self, item: &'p ast::Const) -> R<Val<'p>> {
        let ty = match &item.ty.kind {
            // `const N: int`: adapts like a literal.
            TypeKind::Path { path, args: None } if path.to_string() == "int" && item.ty.mutable.is_none() => None,
            _ => Some(self.type_of(&item.ty)),
        };
        let val = self.expr(&item.value);
        let (ty, val) = (ty.transpose()?, val?);
        let tile = self.tile_of(val, item.value.span)?;
        if tile.konst.is_none() {
            return Err(self.report(
                Diagnostic::error(codes::NOT_CONSTANT, format!("the value of `{}` is not constant", item.name.name))
                    .primary(item.value.span, "known only at run time"),
            ));
        }
        let what = "the constant's type is written";
        match ty {
            None => Ok(Val::Tile(TileVal::int(self.const_int_of(&tile, item.value.span, "an `int` constant")?))),
            Some(TyVal::Tile(ty)) if ty.shape == tile.ty.shape => {
                Ok(Val::Tile(self.convert(&tile, ty.elem, item.value.span, what)?))
            }
            Some(TyVal::Tile(ty)) => {
                let spread = spread(&tile, &ty);
                match spread {
                    Some(tile) => Ok(Val::Tile(self.convert(&tile, ty.elem, item.value.span, what)?)),
                    None => self.fit(Val::Tile(tile), &TyVal::Tile(ty), item.value.span, what),
                }
            }
            Some(other) => self.fit(Val::Tile(tile), &other, item.value.span, what),
        }
    }
}

/// A scalar constant in every lane of a constant tile.
fn spread(tile: &TileVal, ty: &TileTy) -> Option<TileVal> {
    let konst = tile.konst.clone().filter(|_| tile.is_scalar())?;
    let total: u64 = ty.shape.ir()?.iter().map(|d| u64::from(*d)).product();
    let list: Vec<Konst> = (0..total.min(super::ops::MAX_ELEMENTS as u64)).map(|_| konst.clone()).collect();
    Some(TileVal { konst: Some(Konst::List(list.into())), ..TileVal::new(TileTy::new(tile.ty.elem, ty.shape.clone()), None) })
}

/// Element and dimensions of `tensor<T, [..]>`.
pub fn tensor_parts(te: &TypeExpr) -> Option<(&TypeArg, &[Dim])> {
    let TypeKind::Path { args: Some(args), .. } = &te.kind else { return None };
    let [elem, TypeArg { kind: TypeArgKind::Dims(dims), .. }] = args.as_slice() else { return None };
    Some((elem, dims))
}

fn lone_dims(te: &TypeExpr) -> Vec<&ast::Ident> {
    let Some((_, dims)) = tensor_parts(te) else { return vec![] };
    dims.iter().filter_map(|d| if let Dim::Expr(e) = d { e.as_ident() } else { None }).collect()
}

/// The names in an expression of dimensions.
pub fn names_in(e: &ast::Expr) -> Vec<&ast::Ident> {
    use ast::ExprKind;
    match &e.kind {
        ExprKind::Paren(inner) => names_in(inner),
        ExprKind::Unary { operand, .. } => names_in(operand),
        ExprKind::Cast { value, .. } => names_in(value),
        ExprKind::Binary { lhs, rhs, .. } => names_in(lhs).into_iter().chain(names_in(rhs)).collect(),
        ExprKind::Call { args, .. } => args.iter().flat_map(|a| names_in(&a.value)).collect(),
        _ => e.as_ident().into_iter().collect(),
    }
}
