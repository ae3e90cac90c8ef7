//! Attributes of kernels: `#[schedule]`, `#[tune]`, `#[may_alias]`.

use std::sync::Arc;

use kiln_ir::signature::{HostExpr, ScheduleExpr, TuneAxis, TuneSpace};
use kiln_syntax::ast::{Attr, AttrArg, AttrArgs, Expr, ExprKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;

use super::Build;
use super::host::{Host, HostType};
use crate::names::closest;

/// Fields of a schedule and whether they are flags; the same as `Schedule::FIELDS`, in its order.
pub(super) const FIELDS: [(&str, bool); 11] = [
    ("warps", false),
    ("stages", false),
    ("group", false),
    ("persistent", true),
    ("ping_pong", true),
    ("cluster", false),
    ("split_k", false),
    ("specialize", true),
    ("max_regs", false),
    ("cooperative", true),
    ("pdl", true),
];

/// What the attributes say.
#[derive(Default)]
pub struct Attributes {
    pub schedule: ScheduleExpr,
    pub tune: Vec<TuneSpace>,
    pub tune_key: Vec<HostExpr>,
}

impl<'p> Build<'p> {
    pub(super) fn attributes(&mut self) -> Attributes {
        let mut out = Attributes::default();
        let kernel = self.kernel;
        for attr in &kernel.outer.attrs {
            match attr.path.to_string().as_str() {
                "schedule" => self.schedule(attr, &mut out),
                "tune" => self.tune(attr, &mut out),
                "may_alias" => {}
                other => {
                    let mut d = Diagnostic::error(codes::UNKNOWN_ATTRIBUTE, format!("a kernel has no attribute `{other}`"))
                        .primary(attr.path.span, "unknown")
                        .note("kernels take `#[schedule(..)]`, `#[tune(..)]` and `#[may_alias(..)]`");
                    if let Some(near) = closest(other, ["schedule", "tune", "may_alias"]) {
                        d = d.suggest(format!("did you mean `{near}`?"), attr.path.span, near);
                    }
                    self.error(d);
                }
            }
        }
        out
    }

    /// Names in `#[may_alias(..)]`.
    pub(super) fn may_alias(&mut self) -> Vec<Arc<str>> {
        let kernel = self.kernel;
        let mut out = Vec::new();
        for attr in kernel.outer.attrs.iter().filter(|a| a.path.to_string() == "may_alias") {
            for arg in self.group_args(attr) {
                match arg.value.as_ident() {
                    Some(ident) if kernel.params.iter().any(|p| p.name.name == ident.name) => out.push(ident.name.clone()),
                    _ => self.error(
                        Diagnostic::error(codes::BAD_ATTRIBUTE, "`may_alias` lists parameters")
                            .primary(arg.span, "not a parameter of this kernel"),
                    ),
                }
            }
        }
        out
    }

    /// The arguments of an attribute with one group.
    fn group_args(&mut self, attr: &'p Attr) -> &'p [AttrArg] {
        match &attr.args {
            AttrArgs::Groups(groups) if groups.len() == 1 => &groups[0].args,
            _ => {
                self.error(
                    Diagnostic::error(codes::BAD_ATTRIBUTE, format!("`#[{}]` takes a list", attr.path))
                        .primary(attr.span, "written differently")
                        .help(format!("`#[{}(..)]`", attr.path)),
                );
                &[]
            }
        }
    }

    fn schedule(&mut self, attr: &'p Attr, out: &mut Attributes) {
        for arg in self.group_args(attr) {
            let (name, value) = match (&arg.name, arg.value.as_ident()) {
                (Some(name), _) => (name, Some(&arg.value)),
                (None, Some(flag)) => (flag, None),
                (None, None) => {
                    self.error(
                        Diagnostic::error(codes::BAD_ATTRIBUTE, "a schedule is a list of `field = value`")
                            .primary(arg.span, "no field"),
                    );
                    continue;
                }
            };
            let Some((field, flag)) = FIELDS.iter().find(|(f, _)| *f == name.as_str()) else {
                self.unknown_field(name, "schedule");
                continue;
            };
            if out.schedule.fields.iter().any(|(f, _)| f == field) {
                self.error(
                    Diagnostic::error(codes::BAD_ATTRIBUTE, format!("`{field}` is given twice"))
                        .primary(name.span, "given before"),
                );
                continue;
            }
            let values = match value {
                None if *flag => vec![HostExpr::Bool(true)],
                None => {
                    self.error(
                        Diagnostic::error(codes::BAD_ATTRIBUTE, format!("`{field}` needs a value"))
                            .primary(arg.span, "")
                            .suggest("give it one", arg.span.end(), " = 4"),
                    );
                    continue;
                }
                Some(value) => self.field_values(field, *flag, value),
            };
            if !values.is_empty() {
                out.schedule.fields.push(((*field).to_owned(), values));
            }
        }
    }

    /// The value of a field: one, or up to three for `cluster`.
    fn field_values(&mut self, field: &str, flag: bool, value: &'p Expr) -> Vec<HostExpr> {
        let want = if flag { HostType::Bool } else { HostType::Int };
        match &value.unparen().kind {
            ExprKind::List(list) if field == "cluster" && (1..=3).contains(&list.len()) => {
                list.iter().filter_map(|e| self.host(e, want, "an extent of `cluster`")).collect()
            }
            _ => self.host(value, want, &format!("the schedule field `{field}`")).into_iter().collect(),
        }
    }

    fn unknown_field(&mut self, name: &kiln_syntax::ast::Ident, of: &str) {
        let consts = self.kernel.generics.iter().map(|g| g.name().as_str());
        let fields = FIELDS.iter().map(|(f, _)| *f);
        let candidates: Vec<&str> = if of == "tune" { fields.chain(consts).chain(["key"]).collect() } else { fields.collect() };
        let mut d = Diagnostic::error(codes::UNKNOWN_FIELD, format!("`{}` is nothing that `#[{of}]` knows", name.name))
            .primary(name.span, "unknown");
        d = match closest(&name.name, candidates.iter().copied()) {
            Some(near) => d.suggest(format!("did you mean `{near}`?"), name.span, near),
            None => d.note(format!(
                "schedule fields are {}",
                FIELDS.iter().map(|(f, _)| format!("`{f}`")).collect::<Vec<_>>().join(", ")
            )),
        };
        if of == "tune" {
            d = d.note("`#[tune]` sweeps constant parameters and schedule fields");
        }
        self.error(d);
    }

    fn tune(&mut self, attr: &'p Attr, out: &mut Attributes) {
        let AttrArgs::Groups(groups) = &attr.args else {
            self.error(
                Diagnostic::error(codes::BAD_ATTRIBUTE, "`#[tune]` takes a list")
                    .primary(attr.span, "written differently")
                    .help("`#[tune(BM = [64, 128], warps = [4, 8], key = [M, N])]`"),
            );
            return;
        };
        for group in groups {
            let mut space = TuneSpace::default();
            for arg in &group.args {
                self.tune_arg(arg, &mut space, &mut out.tune_key);
            }
            if !space.axes.is_empty() {
                out.tune.push(space);
            }
        }
    }

    fn tune_arg(&mut self, arg: &'p AttrArg, space: &mut TuneSpace, key: &mut Vec<HostExpr>) {
        let Some(name) = &arg.name else {
            let mut host =
                Host::new(self.modules, self.id, self.kernel, &self.kinds, &self.dims, &mut self.diagnostics).with_fields();
            if let Some(condition) = host.expr_of(&arg.value, HostType::Bool, "a condition of `#[tune]`") {
                space.condition = Some(match space.condition.take() {
                    Some(first) => HostExpr::And(first.into(), condition.into()),
                    None => condition,
                });
            }
            return;
        };
        let ExprKind::List(list) = &arg.value.unparen().kind else {
            self.error(
                Diagnostic::error(codes::BAD_ATTRIBUTE, format!("`{}` takes a list of values", name.name))
                    .primary(arg.value.span, "not a list")
                    .help(format!("`{} = [64, 128]`", name.name)),
            );
            return;
        };
        if name.as_str() == "key" {
            key.extend(list.iter().filter_map(|e| self.host(e, HostType::Any, "an entry of `key`")));
            return;
        }
        let field = FIELDS.iter().find(|(f, _)| *f == name.as_str());
        let constant = self
            .kernel
            .generics
            .iter()
            .zip(&self.kinds)
            .find(|(g, k)| g.name().name == name.name && matches!(k, super::GenericKind::Int | super::GenericKind::Bool));
        let want = match (field, constant) {
            (_, Some((_, super::GenericKind::Bool))) | (Some((_, true)), None) => HostType::Bool,
            (_, Some(_)) | (Some(_), None) => HostType::Int,
            (None, None) => return self.unknown_field(name, "tune"),
        };
        if space.axes.iter().any(|a| a.name == name.as_str()) {
            self.error(
                Diagnostic::error(codes::BAD_ATTRIBUTE, format!("`{}` is swept twice in one space", name.name))
                    .primary(name.span, "given before"),
            );
            return;
        }
        if list.is_empty() {
            self.error(
                Diagnostic::error(codes::BAD_ATTRIBUTE, format!("`{}` has no values to try", name.name))
                    .primary(arg.value.span, "empty"),
            );
            return;
        }
        let values: Vec<HostExpr> =
            list.iter().filter_map(|e| self.host(e, want, &format!("a value of `{}`", name.name))).collect();
        space.axes.push(TuneAxis { name: name.name.to_string(), values });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `HostExpr::ScheduleField` counts in both.
    #[test]
    fn fields_are_those_of_schedules() {
        let names: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, kiln_ir::signature::Schedule::FIELDS);
    }
}
