//! Launch signatures: what a kernel's head says, as data for the host.

mod attrs;
mod host;

use kiln_ir::SrcLoc;
use kiln_ir::signature::*;
use kiln_syntax::ast::{self, Dim, Generic, Ident, TypeExpr};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::{Diagnostic, Diagnostics};
use kiln_syntax::span::Span;

use crate::elab::Elab;
use crate::elab::call::is_tensor;
use crate::elab::generics::{GenericKind, kinds_of, solvable};
use crate::elab::item::{names_in, tensor_parts};
use crate::elab::sink::Sink;
use crate::names::{ItemId, Modules};
use host::{Host, HostType};

/// The signature of a kernel, with what is wrong about its head.
pub fn build(modules: &Modules, id: ItemId, kernel: &ast::Kernel) -> (Option<KernelSignature>, Diagnostics) {
    let (kinds, broken) = kinds_of(&kernel.generics);
    // Generic declarations are reported by the check of the body.
    if !broken.is_empty() {
        return (None, Diagnostics::new());
    }
    let kinds: Vec<GenericKind> = kinds.into_iter().flatten().collect();
    let mut build = Build { modules, id, kernel, kinds, dims: Vec::new(), diagnostics: Diagnostics::new() };
    let signature = build.run();
    let failed = build.diagnostics.has_errors();
    (signature.filter(|_| !failed), build.diagnostics)
}

/// Where a name of the source is, for the IR.
pub fn loc(span: Span) -> SrcLoc {
    SrcLoc { file: span.file.0, lo: span.lo, hi: span.hi }
}

struct Build<'p> {
    modules: &'p Modules,
    id: ItemId,
    kernel: &'p ast::Kernel,
    kinds: Vec<GenericKind>,
    dims: Vec<&'p Ident>,
    diagnostics: Diagnostics,
}

impl<'p> Build<'p> {
    fn run(&mut self) -> Option<KernelSignature> {
        let kernel = self.kernel;
        self.collect_dims();
        let params = self.params();
        let (type_params, const_params, fn_params) = self.generics();
        if !(1..=5).contains(&kernel.grid.len()) {
            self.diagnostics.push(
                Diagnostic::error(codes::GRID, format!("a grid of {} entries", kernel.grid.len()))
                    .primary(kernel.grid_span, "a grid has 1 to 5 entries")
                    .help("`grid [1]` runs one program"),
            );
        }
        let grid = kernel.grid.iter().filter_map(|e| self.host(e, HostType::Int, "an entry of the grid")).collect();
        let requires = kernel
            .requires
            .iter()
            .filter_map(|e| {
                let expr = self.host(e, HostType::Bool, "a condition behind `requires`")?;
                let text = self.modules.module(self.id.module).text.get(e.span.range()).unwrap_or("").to_owned();
                Some(Requirement { expr, text, loc: loc(e.span) })
            })
            .collect();
        let attributes = self.attributes();
        Some(KernelSignature {
            name: kernel.name.name.to_string(),
            doc: kernel.outer.doc_text().unwrap_or_default(),
            type_params,
            const_params,
            fn_params,
            params: params?,
            dims: self.dims.iter().map(|d| d.name.to_string()).collect(),
            grid,
            requires,
            schedule: attributes.schedule,
            tune: attributes.tune,
            tune_key: attributes.tune_key,
            loc: loc(kernel.name.span),
        })
    }

    fn error(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    /// A host expression of a type.
    fn host(&mut self, e: &'p ast::Expr, want: HostType, what: &str) -> Option<HostExpr> {
        Host::new(self.modules, self.id, self.kernel, &self.kinds, &self.dims, &mut self.diagnostics).expr_of(e, want, what)
    }

    fn is_generic(&self, name: &Ident) -> bool {
        self.kernel.generics.iter().any(|g| g.name().name == name.name)
    }

    /// Names of dimensions by first appearance; every one must be determined by some tensor.
    fn collect_dims(&mut self) {
        let mut elab = Elab::new(self.modules, Sink::off(), true);
        elab.push_frame(self.id.module, crate::elab::FrameKind::Const, self.kernel.name.name.clone(), None);
        let kernel = self.kernel;
        for param in &kernel.params {
            let Some((_, dims)) = tensor_parts(&param.ty).filter(|_| is_tensor(&param.ty)) else { continue };
            for dim in dims {
                let Dim::Expr(e) = dim else { continue };
                for name in names_in(e) {
                    let known = self.dims.iter().any(|d| d.name == name.name);
                    if !known && !self.is_generic(name) && !elab.is_const_item(&name.name) {
                        self.dims.push(name);
                    }
                }
            }
        }
        for name in self.dims.clone() {
            if !self.determined(&name.name) {
                self.error(
                    Diagnostic::error(
                        codes::DIM_UNSOLVABLE,
                        format!("the dimension `{}` cannot be found from the tensors", name.name),
                    )
                    .primary(name.span, "only part of larger expressions")
                    .note("a name is bound where it stands alone, or solved from `X + c`, `X - c` or `c * X`")
                    .help("let it stand alone in one tensor, or make it a constant parameter"),
                );
            }
        }
    }

    /// Whether some tensor determines a name.
    fn determined(&self, name: &str) -> bool {
        self.kernel.params.iter().filter(|p| is_tensor(&p.ty)).filter_map(|p| tensor_parts(&p.ty)).flat_map(|(_, dims)| dims).any(
            |dim| match dim {
                Dim::Expr(e) => e.as_ident().is_some_and(|i| &*i.name == name) || solvable(e, name).is_some(),
                Dim::Any(_) => false,
            },
        )
    }

    fn generics(&mut self) -> (Vec<TypeParam>, Vec<ConstParam>, Vec<FnParam>) {
        let (mut types, mut consts, mut fns) = (Vec::new(), Vec::new(), Vec::new());
        let kernel = self.kernel;
        for (generic, kind) in kernel.generics.iter().zip(self.kinds.clone()) {
            let name = generic.name().name.to_string();
            match (kind, generic) {
                (GenericKind::Type(class), Generic::Type(g)) => {
                    let default = g.default.as_ref().and_then(|te| self.concrete(te));
                    if let (Some(found), Some(te)) = (default, &g.default)
                        && !class.contains(found)
                    {
                        self.error(
                            Diagnostic::error(codes::CLASS, format!("the default of `{name}` is not of its class"))
                                .primary(te.span, format!("`{found}` is not `{}`", class.name())),
                        );
                    }
                    types.push(TypeParam { name, class, default });
                }
                (GenericKind::Shape, g) => self.error(
                    Diagnostic::error(codes::BAD_GENERIC, "a kernel cannot be generic over a shape")
                        .primary(g.span(), "only functions can")
                        .help("name the extents: `const M: int, const N: int`"),
                ),
                (GenericKind::Int | GenericKind::Bool, Generic::Const(g)) => {
                    let (ty, want) = if kind == GenericKind::Int {
                        (ConstType::Int, HostType::Int)
                    } else {
                        (ConstType::Bool, HostType::Bool)
                    };
                    let default = g.default.as_ref().and_then(|e| self.host(e, want, "the default of a constant parameter"));
                    let from_dims = self.determined(&g.name.name);
                    consts.push(ConstParam { name, ty, default, from_dims });
                }
                (GenericKind::Fn, Generic::Const(g)) => {
                    let default = g.default.as_ref().and_then(|e| match &e.unparen().kind {
                        ast::ExprKind::Path { path, .. } => Some(path.to_string()),
                        _ => {
                            self.error(
                                Diagnostic::error(
                                    codes::BAD_GENERIC,
                                    "the default of a function parameter is the name of a function",
                                )
                                .primary(e.span, "not a name"),
                            );
                            None
                        }
                    });
                    fns.push(FnParam { name, default });
                }
                _ => {}
            }
        }
        (types, consts, fns)
    }

    fn concrete(&mut self, te: &'p TypeExpr) -> Option<kiln_ir::ScalarType> {
        match self.type_ref(te)? {
            TypeRef::Concrete(s) => Some(s),
            _ => {
                self.error(
                    Diagnostic::error(codes::BAD_GENERIC, "the default of a type parameter is a type")
                        .primary(te.span, "depends on a parameter"),
                );
                None
            }
        }
    }

    /// A scalar type; mistakes are reported by the check of the body.
    fn type_ref(&self, te: &TypeExpr) -> Option<TypeRef> {
        let ast::TypeKind::Path { path, args: None } = &te.kind else { return None };
        let number = |name: &Ident| {
            let types = self.kernel.generics.iter().zip(&self.kinds).filter(|(_, k)| matches!(k, GenericKind::Type(_)));
            types.map(|(g, _)| g.name()).position(|n| n.name == name.name).map(|n| n as u32)
        };
        match path.segments.as_slice() {
            [name] => match number(name) {
                Some(n) => Some(TypeRef::Param(n)),
                None => kiln_ir::ScalarType::from_name(&name.name).map(TypeRef::Concrete),
            },
            [name, acc] if acc.as_str() == "Acc" => match number(name) {
                Some(n) => Some(TypeRef::AccOf(n)),
                None => kiln_ir::ScalarType::from_name(&name.name).map(|s| TypeRef::Concrete(s.acc())),
            },
            _ => None,
        }
    }

    fn elem_ref(&self, te: &TypeExpr) -> Option<ElemRef> {
        match &te.kind {
            ast::TypeKind::Path { path, args: Some(args) } if path.to_string() == "ptr" => match args.as_slice() {
                [ast::TypeArg { kind: ast::TypeArgKind::Type(inner), .. }] => {
                    Some(ElemRef::Ptr { pointee: self.type_ref(inner)?, mutable: te.mutable.is_some() })
                }
                _ => None,
            },
            _ => self.type_ref(te).map(ElemRef::Scalar),
        }
    }

    fn params(&mut self) -> Option<Vec<ParamSig>> {
        let kernel = self.kernel;
        let aliases = self.may_alias();
        let mut out = Vec::new();
        let mut whole = true;
        for param in &kernel.params {
            match self.kind(param, aliases.contains(&param.name.name)) {
                Some(kind) => out.push(ParamSig {
                    name: param.name.name.to_string(),
                    doc: param.outer.doc_text().unwrap_or_default(),
                    optional: param.ty.optional.is_some(),
                    kind,
                    loc: loc(param.name.span),
                }),
                None => whole = false,
            }
        }
        whole.then_some(out)
    }

    fn kind(&mut self, param: &'p ast::Param, may_alias: bool) -> Option<ParamKind> {
        if let Some(attr) = param.outer.attrs.first() {
            self.error(
                Diagnostic::error(codes::UNKNOWN_ATTRIBUTE, "parameters take no attributes").primary(attr.span, "remove this"),
            );
        }
        if is_tensor(&param.ty) {
            if let Some(default) = &param.default {
                self.error(
                    Diagnostic::error(codes::BAD_TYPE, "a tensor parameter has no default")
                        .primary(default.span, "only scalars have defaults")
                        .help("a parameter that may be left out is written with `?`"),
                );
            }
            let (elem, dims) = tensor_parts(&param.ty)?;
            let ast::TypeArgKind::Type(elem) = &elem.kind else { return None };
            let elem = self.elem_ref(elem)?;
            let mut patterns = Vec::new();
            for dim in dims {
                patterns.push(match dim {
                    Dim::Any(_) => DimPattern::Any,
                    Dim::Expr(e) => DimPattern::Expr(self.host(e, HostType::Int, "a dimension")?),
                });
            }
            return Some(ParamKind::Tensor { elem, dims: patterns, mutable: param.ty.mutable.is_some(), may_alias });
        }
        match self.elem_ref(&param.ty)? {
            ElemRef::Ptr { pointee, mutable } => {
                if let Some(default) = &param.default {
                    self.error(
                        Diagnostic::error(codes::BAD_TYPE, "a pointer parameter has no default")
                            .primary(default.span, "only scalars have defaults"),
                    );
                }
                Some(ParamKind::Ptr { pointee, mutable })
            }
            ElemRef::Scalar(ty) => {
                if ty == TypeRef::Concrete(kiln_ir::ScalarType::Index) {
                    self.error(
                        Diagnostic::error(codes::BAD_TYPE, "a kernel parameter cannot be `index`")
                            .primary(param.ty.span, "has no size of its own")
                            .suggest("pass an `i64`", param.ty.span, "i64"),
                    );
                    return None;
                }
                let default = match &param.default {
                    Some(e) => Some(self.host(e, HostType::Any, "the default of a parameter")?),
                    None => None,
                };
                Some(ParamKind::Scalar { ty, default })
            }
        }
    }
}
