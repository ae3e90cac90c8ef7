//! The syntax tree as text for `--emit ast`: items and statements as an indented tree, types and expressions as one-line s-expressions,
//! so that grouping is plain to see. Spans are left out; equal texts mean equal trees but for places and the
//! blanks at the end of documentation.

use crate::ast::*;
use std::fmt::Write;

/// The tree of a file. Ends in a newline.
pub fn dump(file: &File) -> String {
    let mut dump = Dump { out: String::new(), depth: 0 };
    dump.line("file");
    dump.nested(|d| {
        d.docs(&file.docs);
        for item in &file.items {
            d.item(item);
        }
    });
    dump.out
}

/// An expression as an s-expression, without the trailing newline.
pub fn dump_expr(expr: &Expr) -> String {
    expr_text(expr)
}

struct Dump {
    out: String,
    depth: usize,
}

impl Dump {
    fn line(&mut self, text: impl AsRef<str>) {
        self.out.extend(std::iter::repeat_n("  ", self.depth));
        self.out.push_str(text.as_ref());
        self.out.push('\n');
    }

    fn nested(&mut self, inner: impl FnOnce(&mut Self)) {
        self.depth += 1;
        inner(self);
        self.depth -= 1;
    }

    fn docs(&mut self, docs: &[Doc]) {
        for doc in docs {
            self.line(format!("doc {:?}", doc.text.trim_end()));
        }
    }

    fn outer(&mut self, outer: &Outer) {
        self.docs(&outer.docs);
        for attr in &outer.attrs {
            let args = match &attr.args {
                AttrArgs::None => String::new(),
                AttrArgs::Value(value) => format!(" = {}", expr_text(value)),
                AttrArgs::Groups(groups) => {
                    let groups: Vec<String> = groups.iter().map(|g| join(&g.args, attr_arg)).collect();
                    format!("({})", groups.join("; "))
                }
            };
            self.line(format!("attr {}{args}", attr.path));
        }
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Kernel(k) => {
                self.line(format!("kernel {}", k.name.name));
                self.nested(|d| {
                    d.outer(&k.outer);
                    d.signature(&k.generics, &k.params);
                    d.line(format!("grid {}", join(&k.grid, expr_text)));
                    d.requires(&k.requires);
                    d.block(&k.body);
                });
            }
            Item::Fn(f) => {
                self.line(format!("fn {}", f.name.name));
                self.nested(|d| {
                    d.outer(&f.outer);
                    d.signature(&f.generics, &f.params);
                    if let Some(result) = &f.result {
                        d.line(format!("result {}", type_text(result)));
                    }
                    d.requires(&f.requires);
                    d.block(&f.body);
                });
            }
            Item::Const(c) => {
                self.line(format!("const {}: {} = {}", c.name.name, type_text(&c.ty), expr_text(&c.value)));
                self.nested(|d| d.outer(&c.outer));
            }
            Item::Use(u) => {
                self.line(format!("use {}", use_text(&u.tree)));
                self.nested(|d| d.outer(&u.outer));
            }
            Item::Error(_) => self.line("error"),
        }
    }

    fn signature(&mut self, generics: &[Generic], params: &[Param]) {
        for generic in generics {
            match generic {
                Generic::Type(g) => {
                    let default = g.default.as_ref().map_or(String::new(), |t| format!(" = {}", type_text(t)));
                    self.line(format!("generic {}: {}{default}", g.name.name, g.class));
                }
                Generic::Const(g) => {
                    let default = default_text(&g.default);
                    self.line(format!("generic const {}: {}{default}", g.name.name, type_text(&g.ty)));
                }
            }
            self.nested(|d| d.outer(generic.outer()));
        }
        for param in params {
            self.line(format!("param {}: {}{}", param.name.name, type_text(&param.ty), default_text(&param.default)));
            self.nested(|d| d.outer(&param.outer));
        }
    }

    fn requires(&mut self, clauses: &[Expr]) {
        for clause in clauses {
            self.line(format!("requires {}", expr_text(clause)));
        }
    }

    fn block(&mut self, block: &Block) {
        self.line("block");
        self.nested(|d| {
            for stmt in &block.stmts {
                d.stmt(stmt);
            }
            match block.tail.as_deref() {
                Some(Expr { kind: ExprKind::If(branch), .. }) => {
                    d.line("tail");
                    d.nested(|d| d.branch(branch));
                }
                Some(tail) => d.line(format!("tail {}", expr_text(tail))),
                None => {}
            }
        });
    }

    fn stmt(&mut self, stmt: &Stmt) {
        self.outer(&stmt.outer);
        match &stmt.kind {
            StmtKind::Let { pattern, ty, value } => {
                let ty = ty.as_ref().map_or(String::new(), |t| format!(": {}", type_text(t)));
                self.line(format!("let {}{ty} = {}", pattern_text(pattern), expr_text(value)));
            }
            StmtKind::Expr(e) => self.line(format!("expr {}", expr_text(e))),
            StmtKind::Assign { target, op, value, .. } => {
                let op = op.map_or("", BinaryOp::symbol);
                self.line(format!("assign {} {op}= {}", expr_text(target), expr_text(value)));
            }
            StmtKind::Return(None) => self.line("return"),
            StmtKind::Return(Some(value)) => self.line(format!("return {}", expr_text(value))),
            StmtKind::For { pattern, iter, body } => {
                self.line(format!("for {} in {}", pattern_text(pattern), expr_text(iter)));
                self.nested(|d| d.block(body));
            }
            StmtKind::While { cond, body } => {
                self.line(format!("while {}", expr_text(cond)));
                self.nested(|d| d.block(body));
            }
            StmtKind::If(branch) => self.branch(branch),
            StmtKind::Error => self.line("error"),
        }
    }

    fn branch(&mut self, branch: &If) {
        self.line(format!("if {}", expr_text(&branch.cond)));
        self.nested(|d| d.block(&branch.then));
        match &branch.otherwise {
            Some(Else::If(inner)) => {
                self.line("else");
                self.nested(|d| d.branch(inner));
            }
            Some(Else::Block(block)) => {
                self.line("else");
                self.nested(|d| d.block(block));
            }
            None => {}
        }
    }
}

fn join<T>(list: &[T], text: impl std::ops::Fn(&T) -> String) -> String {
    list.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn default_text(default: &Option<Expr>) -> String {
    default.as_ref().map_or(String::new(), |e| format!(" = {}", expr_text(e)))
}

fn attr_arg(arg: &AttrArg) -> String {
    let name = arg.name.as_ref().map_or(String::new(), |n| format!("{} = ", n.name));
    format!("{name}{}", expr_text(&arg.value))
}

fn use_text(tree: &UseTree) -> String {
    match &tree.kind {
        UseKind::Leaf(None) => tree.path.to_string(),
        UseKind::Leaf(Some(alias)) => format!("{} as {}", tree.path, alias.name),
        UseKind::Group(trees) => format!("{}::{{{}}}", tree.path, join(trees, use_text)),
    }
}

fn type_text(ty: &TypeExpr) -> String {
    let kind = match &ty.kind {
        TypeKind::Infer => "_".to_string(),
        TypeKind::Path { path, args: None } => path.to_string(),
        TypeKind::Path { path, args: Some(args) } => format!("{path}<{}>", join(args, type_arg_text)),
        TypeKind::Tuple(types) => tuple_text(types, type_text),
        TypeKind::Fn { params, result } => format!("fn({}) -> {}", join(params, type_text), type_text(result)),
    };
    let mutable = if ty.mutable.is_some() { "mut " } else { "" };
    let optional = if ty.optional.is_some() { "?" } else { "" };
    format!("{mutable}{kind}{optional}")
}

fn tuple_text<T>(list: &[T], text: impl std::ops::Fn(&T) -> String) -> String {
    let comma = if list.len() == 1 { "," } else { "" };
    format!("({}{comma})", join(list, text))
}

fn type_arg_text(arg: &TypeArg) -> String {
    let name = arg.name.as_ref().map_or(String::new(), |n| format!("{} = ", n.name));
    let kind = match &arg.kind {
        TypeArgKind::Type(ty) => type_text(ty),
        TypeArgKind::Dims(dims) => format!("[{}]", join(dims, dim_text)),
        TypeArgKind::Const(e) => format!("{{{}}}", expr_text(e)),
    };
    format!("{name}{kind}")
}

fn dim_text(dim: &Dim) -> String {
    match dim {
        Dim::Expr(e) => expr_text(e),
        Dim::Any(_) => "_".into(),
    }
}

fn pattern_text(pattern: &Pattern) -> String {
    match &pattern.kind {
        PatternKind::Ident { mutable, name } => format!("{}{}", if mutable.is_some() { "mut " } else { "" }, name.name),
        PatternKind::Wildcard => "_".into(),
        PatternKind::Tuple(list) => tuple_text(list, pattern_text),
    }
}

fn literal_text(literal: &Literal) -> String {
    let suffix = literal.suffix.as_ref().map_or("", |s| s.as_str());
    match &literal.kind {
        LiteralKind::Int(value) => format!("{value}{suffix}"),
        LiteralKind::Float { digits, .. } => format!("{digits}{suffix}"),
        LiteralKind::Str(text) => format!("{text:?}"),
        LiteralKind::Bool(value) => value.to_string(),
    }
}

fn expr_text(expr: &Expr) -> String {
    let mut out = String::new();
    write_expr(&mut out, expr);
    out
}

/// A node `(head part part ..)`.
fn node(out: &mut String, head: &str, parts: &[String]) {
    let _ = write!(out, "({head}");
    for part in parts {
        let _ = write!(out, " {part}");
    }
    out.push(')');
}

fn turbofish(type_args: &Option<Vec<TypeArg>>) -> String {
    type_args.as_ref().map_or(String::new(), |args| format!("::<{}>", join(args, type_arg_text)))
}

fn arg_text(arg: &Arg) -> String {
    let name = arg.name.as_ref().map_or(String::new(), |n| format!("{}=", n.name));
    format!("{name}{}", expr_text(&arg.value))
}

fn index_text(index: &Index) -> String {
    match &index.kind {
        IndexKind::Expr(e) => expr_text(e),
        IndexKind::Range { start, end } => format!("(.. {} {})", expr_text(start), expr_text(end)),
        IndexKind::Slice { start, len } => format!("(..+ {} {})", expr_text(start), expr_text(len)),
        IndexKind::Full => ":".into(),
    }
}

/// A block as one line: `{stmt; stmt; tail}`.
fn inline_block(block: &Block) -> String {
    let mut dump = Dump { out: String::new(), depth: 0 };
    dump.block(block);
    let lines: Vec<&str> = dump.out.lines().skip(1).map(str::trim_start).collect();
    format!("{{{}}}", lines.join("; "))
}

fn branch_text(branch: &If) -> String {
    let otherwise = match &branch.otherwise {
        Some(Else::If(inner)) => format!(" {}", branch_text(inner)),
        Some(Else::Block(block)) => format!(" {}", inline_block(block)),
        None => String::new(),
    };
    format!("(if {} {}{otherwise})", expr_text(&branch.cond), inline_block(&branch.then))
}

fn write_expr(out: &mut String, expr: &Expr) {
    let text = |e: &Expr| expr_text(e);
    match &expr.kind {
        ExprKind::Literal(literal) => out.push_str(&literal_text(literal)),
        ExprKind::None => out.push_str("None"),
        ExprKind::Path { path, type_args } => {
            let _ = write!(out, "{path}{}", turbofish(type_args));
        }
        ExprKind::Call { path, type_args, args } => {
            let _ = write!(out, "{path}{}({})", turbofish(type_args), join(args, arg_text));
        }
        ExprKind::MethodCall { receiver, name, type_args, args } => {
            let _ = write!(out, "{}.{}{}({})", text(receiver), name.name, turbofish(type_args), join(args, arg_text));
        }
        ExprKind::Index { base, indices } => {
            let _ = write!(out, "{}[{}]", text(base), join(indices, index_text));
        }
        ExprKind::Unary { op, operand, .. } => node(out, op.symbol(), &[text(operand)]),
        ExprKind::Binary { op, lhs, rhs, .. } => node(out, op.symbol(), &[text(lhs), text(rhs)]),
        ExprKind::Cast { value, ty } => node(out, "as", &[text(value), ty.to_string()]),
        ExprKind::Paren(inner) => node(out, "paren", &[text(inner)]),
        ExprKind::Tuple(list) => node(out, "tuple", &list.iter().map(text).collect::<Vec<_>>()),
        ExprKind::List(list) => node(out, "list", &list.iter().map(text).collect::<Vec<_>>()),
        ExprKind::Range { start, end } => node(out, "..", &[text(start), text(end)]),
        ExprKind::If(branch) => out.push_str(&branch_text(branch)),
        ExprKind::Closure(closure) => {
            let params = join(&closure.params, |p| {
                let ty = p.ty.as_ref().map_or(String::new(), |t| format!(": {}", type_text(t)));
                format!("{}{ty}", pattern_text(&p.pattern))
            });
            let body = match &closure.body {
                ClosureBody::Expr(e) => text(e),
                ClosureBody::Block(block) => inline_block(block),
            };
            let _ = write!(out, "(|{params}| {body})");
        }
    }
}
