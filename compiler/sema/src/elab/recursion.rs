//! Functions that call themselves, found on the syntax tree: generic checks do not look into callees.

use kiln_syntax::ast::{Arg, Block, ClosureBody, Else, Expr, ExprKind, Fn, If, IndexKind, Item, Path, StmtKind};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::Diagnostic;
use kiln_syntax::span::Span;
use rustc_hash::FxHashSet;

use super::Elab;
use crate::names::{Def, ItemId, Modules};

/// Reports a function that reaches itself, and tells whether it does.
pub fn check<'p>(elab: &mut Elab<'p>, id: ItemId, function: &'p Fn) -> bool {
    let mut seen = FxHashSet::default();
    let first = callees(elab.modules, id, function);
    for (callee, span) in first {
        if reaches(elab.modules, callee, id, &mut seen) {
            let name = &function.name.name;
            elab.report(
                Diagnostic::error(codes::RECURSION, format!("`{name}` calls itself"))
                    .primary(span, if callee == id { "called here".to_owned() } else { format!("this leads back to `{name}`") })
                    .secondary(function.name.span, "declared here")
                    .help("functions are expanded where they are called, so they cannot recur: use a loop"),
            );
            return true;
        }
    }
    false
}

fn reaches(modules: &Modules, from: ItemId, target: ItemId, seen: &mut FxHashSet<ItemId>) -> bool {
    // A worklist: chains of calls may be long.
    let mut work = vec![from];
    while let Some(id) = work.pop() {
        if id == target {
            return true;
        }
        if !seen.insert(id) {
            continue;
        }
        if let Item::Fn(function) = modules.item(id) {
            work.extend(callees(modules, id, function).into_iter().map(|(callee, _)| callee));
        }
    }
    false
}

fn callees(modules: &Modules, id: ItemId, function: &Fn) -> Vec<(ItemId, Span)> {
    let mut walk = Walk { modules, id, out: Vec::new() };
    walk.block(&function.body);
    walk.out
}

struct Walk<'p> {
    modules: &'p Modules,
    id: ItemId,
    out: Vec<(ItemId, Span)>,
}

impl Walk<'_> {
    fn path(&mut self, path: &Path) {
        let segments: Vec<_> = path.segments.iter().map(|s| s.name.clone()).collect();
        if let Some(Def::Item(id)) = self.modules.resolve(self.id.module, &segments)
            && matches!(self.modules.item(id), Item::Fn(_))
        {
            self.out.push((id, path.span));
        }
    }

    fn block(&mut self, block: &Block) {
        for stmt in &block.stmts {
            match &stmt.kind {
                StmtKind::Let { value, .. } => self.expr(value),
                StmtKind::Expr(e) => self.expr(e),
                StmtKind::Assign { target, value, .. } => {
                    self.expr(target);
                    self.expr(value);
                }
                StmtKind::Return(Some(e)) => self.expr(e),
                StmtKind::For { iter, body, .. } => {
                    self.expr(iter);
                    self.block(body);
                }
                StmtKind::While { cond, body } => {
                    self.expr(cond);
                    self.block(body);
                }
                StmtKind::If(value) => self.if_(value),
                StmtKind::Return(None) | StmtKind::Error => {}
            }
        }
        if let Some(tail) = &block.tail {
            self.expr(tail);
        }
    }

    fn if_(&mut self, value: &If) {
        self.expr(&value.cond);
        self.block(&value.then);
        match &value.otherwise {
            Some(Else::If(inner)) => self.if_(inner),
            Some(Else::Block(block)) => self.block(block),
            None => {}
        }
    }

    fn args(&mut self, args: &[Arg]) {
        args.iter().for_each(|a| self.expr(&a.value));
    }

    fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Call { path, args, .. } => {
                self.path(path);
                self.args(args);
            }
            ExprKind::MethodCall { receiver, name, args, .. } => {
                self.path(&Path { segments: vec![name.clone()], span: name.span });
                self.expr(receiver);
                self.args(args);
            }
            ExprKind::Index { base, indices } => {
                self.expr(base);
                for index in indices {
                    match &index.kind {
                        IndexKind::Expr(e) => self.expr(e),
                        IndexKind::Range { start: a, end: b } | IndexKind::Slice { start: a, len: b } => {
                            self.expr(a);
                            self.expr(b);
                        }
                        IndexKind::Full => {}
                    }
                }
            }
            ExprKind::Unary { operand: inner, .. } | ExprKind::Cast { value: inner, .. } | ExprKind::Paren(inner) => {
                self.expr(inner)
            }
            ExprKind::Binary { lhs: a, rhs: b, .. } | ExprKind::Range { start: a, end: b } => {
                self.expr(a);
                self.expr(b);
            }
            ExprKind::Tuple(list) | ExprKind::List(list) => list.iter().for_each(|e| self.expr(e)),
            ExprKind::If(value) => self.if_(value),
            ExprKind::Closure(closure) => match &closure.body {
                ClosureBody::Expr(e) => self.expr(e),
                ClosureBody::Block(block) => self.block(block),
            },
            ExprKind::Path { .. } | ExprKind::Literal(_) | ExprKind::None => {}
        }
    }
}
