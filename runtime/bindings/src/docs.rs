//! Documentation of generated items: the kernel's own comment, then what its signature says.

use std::fmt::Write as _;

use kiln_ir::signature::{DimPattern, ElemRef, HostExpr, KernelSignature, ParamKind, ParamSig, TypeRef};

use crate::names::{Names, is_required};

/// A type of the signature as the kernel writes it.
fn type_text(signature: &KernelSignature, ty: TypeRef) -> String {
    match ty {
        TypeRef::Concrete(ty) => ty.name().to_owned(),
        TypeRef::Param(i) => signature.type_params[i as usize].name.clone(),
        TypeRef::AccOf(i) => format!("{}::Acc", signature.type_params[i as usize].name),
    }
}

fn list(signature: &KernelSignature, exprs: &[HostExpr]) -> String {
    exprs.iter().map(|e| e.text(signature)).collect::<Vec<_>>().join(", ")
}

/// A parameter's type as the kernel writes it.
pub fn param_type(signature: &KernelSignature, param: &ParamSig) -> String {
    let text = match &param.kind {
        ParamKind::Tensor { elem, dims, mutable, .. } => {
            let elem = match *elem {
                ElemRef::Scalar(ty) => type_text(signature, ty),
                ElemRef::Ptr { pointee, mutable } => {
                    format!("{}ptr<{}>", if mutable { "mut " } else { "" }, type_text(signature, pointee))
                }
            };
            let dim = |dim: &DimPattern| match dim {
                DimPattern::Any => "_".to_owned(),
                DimPattern::Expr(expr) => expr.text(signature),
            };
            let dims = dims.iter().map(dim).collect::<Vec<_>>().join(", ");
            format!("{}tensor<{elem}, [{dims}]>", if *mutable { "mut " } else { "" })
        }
        ParamKind::Ptr { pointee, mutable } => {
            format!("{}ptr<{}>", if *mutable { "mut " } else { "" }, type_text(signature, *pointee))
        }
        ParamKind::Scalar { ty, .. } => type_text(signature, *ty),
    };
    text + if param.optional { "?" } else { "" }
}

/// A doc comment without the blank that stands behind `///` in every line.
fn comment(doc: &str) -> String {
    doc.lines().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// `: the comment` on one line, or nothing.
fn remark(doc: &str) -> String {
    let text = comment(doc).split_whitespace().collect::<Vec<_>>().join(" ");
    if text.is_empty() { text } else { format!(": {text}") }
}

/// Of the function.
pub fn function(signature: &KernelSignature, names: &Names) -> String {
    let mut out = comment(&signature.doc);
    if out.is_empty() {
        let _ = write!(out, "A launch of kernel `{}`.", signature.name);
    }
    let required: Vec<&ParamSig> = signature.params.iter().filter(|p| is_required(p)).collect();
    if !required.is_empty() {
        out.push_str("\n\n# Arguments\n");
        for param in required {
            let _ = write!(out, "\n- `{}`: `{}`{}", param.name, param_type(signature, param), remark(&param.doc));
        }
    }
    let methods = names.params.iter().chain(&names.consts).chain(&names.fns).flatten();
    let methods: Vec<String> = methods.map(|m| format!("[`{m}`]({}::Launch::{m})", signature.name)).collect();
    if !methods.is_empty() {
        let _ = write!(out, "\n\nA launch may also give {}.", methods.join(", "));
    }
    let _ = write!(out, "\n\nThe grid is `[{}]`.", list(signature, &signature.grid));
    for requirement in &signature.requires {
        let _ = write!(out, " It requires `{}`.", requirement.text);
    }
    out
}

/// Of the method of a parameter that may be left out.
pub fn optional_param(signature: &KernelSignature, param: &ParamSig) -> String {
    let left_out = match &param.kind {
        ParamKind::Scalar { default: Some(default), .. } => format!("`{}` unless given", default.text(signature)),
        _ => "absent unless given".to_owned(),
    };
    format!("`{}`: `{}`, {left_out}{}.", param.name, param_type(signature, param), remark(&param.doc).trim_end_matches('.'))
}

/// Of the method of a constant.
pub fn constant(signature: &KernelSignature, number: usize) -> String {
    let param = &signature.const_params[number];
    let default = param.default.as_ref().map_or(String::new(), |d| format!(", `{}` unless given", d.text(signature)));
    format!("Constant `{}`{default}. Every value is compiled once.", param.name)
}

/// Of the method of a function parameter.
pub fn function_param(signature: &KernelSignature, number: usize) -> String {
    let param = &signature.fn_params[number];
    let default = param.default.as_ref().map_or(String::new(), |d| format!(", `{d}` unless given"));
    format!("Function `{}`, by its path{default}.", param.name)
}

/// Of the method of a schedule field.
pub fn schedule(field: &str) -> &'static str {
    match field {
        "warps" => "Schedule: warps of a thread block.",
        "stages" => "Schedule: stages of software pipelines.",
        "group" => "Schedule: programs of axis 0 that run together for each step of axis 1.",
        "persistent" => "Schedule: one thread block a multiprocessor loops over programs.",
        "ping_pong" => {
            "Schedule: two groups of warps of a persistent thread block take turns with its programs, or warpgroups of a program with its products."
        }
        "cluster" => "Schedule: thread blocks of a cluster along the grid's axes.",
        "split_k" => "Schedule: thread blocks of a cluster that share one program's sum of products.",
        "specialize" => "Schedule: warps that load apart from warps that compute.",
        "max_regs" => "Schedule: the most registers of a thread.",
        "cooperative" => "Schedule: all programs resident at once.",
        _ => "Schedule: programmatic dependent launch.",
    }
}
