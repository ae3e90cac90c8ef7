//! Mistakes in Kiln's own constructs: heads of items, generics, types, lists, blocks and their punctuation.

use super::Site;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::tokens::Token;

type Rule = fn(&Site<'_>) -> Option<Diagnostic>;

const RULES: &[Rule] = &[
    stray_documentation,
    dangling_attribute,
    bare_attribute,
    glued_default,
    double_colon_index,
    kernel_result,
    grid_clause,
    missing_class,
    mut_place,
    missing_type,
    default_comparison,
    let_without_value,
    names_without_parentheses,
    semicolon_before_body,
    missing_body,
    type_brackets,
    branch_without_braces,
    stray_semicolon,
    lone_else,
    glob_import,
    missing_semicolon,
    missing_comma,
];

pub(super) fn explain(site: &Site<'_>) -> Option<Diagnostic> {
    RULES.iter().find_map(|rule| rule(site))
}

/// Documentation where nothing can be documented.
fn stray_documentation(site: &Site<'_>) -> Option<Diagnostic> {
    match site.found()? {
        Token::InnerDoc(_) => Some(
            site.error(
                codes::STRAY_DOC,
                "inner documentation stands only at the top of a file",
                "in front of it are items already",
            )
            .help("document an item with `///`, or write a plain comment `//`"),
        ),
        Token::Doc(_) => Some(
            site.error(codes::STRAY_DOC, "a documentation comment documents nothing here", "in the middle of a construct")
                .help("write a plain comment: `//` or `/* .. */`"),
        ),
        Token::Not if site.is(-1, &Token::Hash) => Some(
            site.error(codes::STRAY_DOC, "files have no inner attributes", "`#!` is not part of the language")
                .help("attributes stand in front of an item or a loop: `#[schedule(warps = 4)]`"),
        ),
        _ => None,
    }
}

/// An attribute or documentation at the end of a file or block.
fn dangling_attribute(site: &Site<'_>) -> Option<Diagnostic> {
    let at_end = matches!(site.found(), None | Some(Token::CloseBrace));
    if !at_end || !site.expects("doc") {
        return None;
    }
    match site.token(-1)? {
        Token::Doc(_) => Some(
            Diagnostic::error(codes::STRAY_DOC, "a documentation comment documents nothing here")
                .primary(site.span_of(-1), "nothing follows it")
                .help("write a plain comment: `//` or `/* .. */`"),
        ),
        Token::CloseBracket => Some(
            Diagnostic::error(codes::STRAY_DOC, "an attribute belongs to what follows it")
                .primary(site.span_of(-1), "nothing follows this attribute"),
        ),
        _ => None,
    }
}

/// `#tune(..)`.
fn bare_attribute(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(-1, &Token::Hash) && site.is_name(0)).then(|| {
        let diagnostic = site.error(codes::UNEXPECTED_TOKEN, "an attribute stands in brackets", "expected `[`");
        match site.found() {
            Some(Token::Ident(name)) if &**name == "include" => {
                diagnostic.help("other files are imported with `use path::to::file;`")
            }
            _ => diagnostic.help("write `#[tune(..)]`"),
        }
    })
}

/// `x: tensor<T, [N]>= v`.
fn glued_default(site: &Site<'_>) -> Option<Diagnostic> {
    let text = match site.found()? {
        token @ (Token::Ge | Token::ShrEq) if site.expects(">") && !site.expects_operand() => token.fixed_text()?,
        _ => return None,
    };
    // In the default of a constant generic the list is over, so the blank is not what is missing.
    let (closing, span) = (text.trim_end_matches('='), site.span());
    Some(site.error(codes::GLUED_DEFAULT, format!("`{text}` is one token"), format!("expected `{closing}`")).suggest(
        format!("put a blank between `{closing}` and `=`"),
        span,
        format!("{closing} ="),
    ))
}

/// `x[::]`.
fn double_colon_index(site: &Site<'_>) -> Option<Diagnostic> {
    let index = matches!(site.enclosing(), Some((_, Token::OpenBracket)));
    if index && site.is(0, &Token::PathSep) && site.expects(":") {
        return Some(
            site.error(codes::AXIS_COLONS, "`::` separates the names of a path", "expected an index")
                .help("a whole axis is `:`, so write `x[:, :]`; a step is not part of an index"),
        );
    }
    if index && site.is(0, &Token::Colon) && site.expects_operator() {
        return Some(site.error(codes::AXIS_COLONS, "the ends of a range are separated by `..`", "expected `..`").suggest(
            "write `..`",
            site.span(),
            "..",
        ));
    }
    if index && site.is(-1, &Token::Colon) && site.expects("]") && site.found()? != &Token::CloseBracket {
        return Some(
            site.error(codes::AXIS_COLONS, "`:` is a whole axis and takes no ends", "expected `,` or `]`")
                .secondary(site.span_of(-1), "the whole axis")
                .help("a part of an axis is `a..b` or `a..+LEN`"),
        );
    }
    None
}

/// `kernel k(..) -> T`.
fn kernel_result(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::Arrow) && site.expects("grid")).then(|| {
        site.error(codes::KERNEL_HEAD, "a kernel has no result", "expected `grid [..]`")
            .help("a kernel writes to `mut tensor` parameters; what returns a value is a `fn`")
    })
}

/// `grid` that is missing or stands behind `requires`, or whose entries lack their brackets.
fn grid_clause(site: &Site<'_>) -> Option<Diagnostic> {
    let head = site.expects("grid") && site.expected.len() == 1;
    match site.found()? {
        Token::Requires if head => Some(
            site.error(codes::KERNEL_HEAD, "`grid` comes before `requires`", "expected `grid [..]`")
                .help("write `kernel k(..) grid [..] requires .. { .. }`"),
        ),
        _ if head => Some(
            site.error(
                codes::KERNEL_HEAD,
                format!("expected `grid`, found {}", site.found_text()),
                "the kernel's grid is missing",
            )
            .help("say how many programs run, one entry an axis: `grid [cdiv(N, BLOCK)]`"),
        ),
        _ if site.is(-1, &Token::Grid) && site.expected.len() == 1 && site.expects("[") => Some(
            site.error(codes::KERNEL_HEAD, "the entries of a grid stand in brackets", "expected `[`")
                .help("write `grid [M]` or `grid [cdiv(M, BM), cdiv(N, BN)]`"),
        ),
        Token::Grid if site.expects("{") => Some(
            site.error(codes::KERNEL_HEAD, "a grid stands only in the head of a kernel, before `requires`", "not allowed here")
                .help("a `fn` has no grid: it runs inside the programs of the kernel that calls it"),
        ),
        _ => None,
    }
}

/// `kernel k<T>(..)`.
fn missing_class(site: &Site<'_>) -> Option<Diagnostic> {
    if site.expected.as_slice() != [":"] || !site.is_name(-1) {
        return None;
    }
    let constant = site.is(-2, &Token::Const);
    let generic = constant || in_generics(site);
    if !generic {
        return None;
    }
    let name = match site.token(-1) {
        Some(Token::Ident(name)) => name.to_string(),
        _ => "T".into(),
    };
    let place = site.behind_previous();
    Some(if constant {
        Diagnostic::error(codes::MISSING_TYPE, format!("the constant `{name}` needs its type"))
            .primary(place, "expected `: type`")
            .help(format!("write `const {name}: int`"))
    } else {
        Diagnostic::error(codes::MISSING_TYPE, format!("the type parameter `{name}` needs its class"))
            .primary(place, "expected `: class`")
            .help(format!("the classes are `float`, `int`, `num`, `any` and `shape`: `{name}: float`"))
    })
}

/// Whether the site stands in the generics of an item's head: behind `kernel name <` or `fn name <`, outside of delimiters.
fn in_generics(site: &Site<'_>) -> bool {
    let mut at = -1;
    while let Some(token) = site.token(at) {
        match token {
            Token::Lt if site.is_name(at - 1) && matches!(site.token(at - 2), Some(Token::Kernel | Token::Fn)) => {
                return true;
            }
            Token::OpenBrace | Token::CloseBrace | Token::Semi | Token::OpenParen => return false,
            _ => {}
        }
        at -= 1;
    }
    false
}

/// `mut x: tensor<..>`.
fn mut_place(site: &Site<'_>) -> Option<Diagnostic> {
    if !site.is(0, &Token::Mut) && !site.is(-1, &Token::Mut) {
        return None;
    }
    let parameter = site.is(0, &Token::Mut) && !site.is(-1, &Token::Mut);
    if parameter && site.expects("name") && !site.expects_type() && !site.expects_operand() {
        return Some(
            site.error(codes::MUT_PLACE, "`mut` belongs to the type of a parameter", "not in front of the name")
                .help("write `x: mut tensor<T, [N]>`; scalar parameters cannot change: copy one with `let mut`"),
        );
    }
    if site.is(-1, &Token::Mut) && site.is(0, &Token::OpenParen) && site.expects("name") {
        return Some(
            Diagnostic::error(codes::MUT_PLACE, "`mut` belongs to the single names of a pattern")
                .primary(site.span_of(-1), "not in front of a tuple")
                .help("write `let (mut a, mut b) = ..;`"),
        );
    }
    None
}

/// A parameter or constant without its type.
fn missing_type(site: &Site<'_>) -> Option<Diagnostic> {
    if site.expected.as_slice() != [":"] {
        return None;
    }
    let Some(Token::Ident(name)) = site.token(-1) else {
        return None;
    };
    let parameter = matches!(site.enclosing(), Some((_, Token::OpenParen)));
    let what = if parameter { "parameter" } else { "constant" };
    let named_first = matches!(site.found()?, Token::Ident(_));
    let diagnostic = Diagnostic::error(codes::MISSING_TYPE, format!("the {what} `{name}` needs its type"))
        .primary(site.behind_previous(), "expected `: type`");
    Some(match (site.found()?, named_first) {
        (Token::Ident(second), true) => diagnostic.help(format!("the name comes first: `{second}: {name}`")),
        _ => diagnostic.help(format!("write `{name}: f32` or `{name}: tensor<f32, [N]>`")),
    })
}

/// `const WIDE: bool = N > 1024` in a generics list: the `>` ended the list.
fn default_comparison(site: &Site<'_>) -> Option<Diagnostic> {
    let behind_generics =
        site.expects("(") && site.expected.len() == 1 && matches!(site.token(-1), Some(Token::Gt | Token::GtJoint));
    let in_default =
        matches!(site.found()?, Token::Lt | Token::Le | Token::EqEq | Token::Ne | Token::AndAnd | Token::OrOr | Token::Ge)
            && site.expects(">")
            && site.expects("+");
    if !(behind_generics || in_default) {
        return None;
    }
    let place = if behind_generics { site.span_of(-1) } else { site.span() };
    Some(
        Diagnostic::error(codes::DEFAULT_COMPARISON, "a comparison in a generic default needs parentheses")
            .primary(
                place,
                if behind_generics {
                    "this `>` ends the list of generics"
                } else {
                    "not allowed in a default without parentheses"
                },
            )
            .help("write `const WIDE: bool = (N > 1024)`"),
    )
}

/// `let x: f32;`.
fn let_without_value(site: &Site<'_>) -> Option<Diagnostic> {
    let found = site.is(0, &Token::Semi) && site.expects("=");
    (found && !site.expects_operator() && site.back().iter().any(|o| matches!(site.token(*o), Some(Token::Let | Token::Const))))
        .then(|| {
            site.error(codes::LET_WITHOUT_VALUE, "a binding needs its value", "expected `= value`")
                .help("write `let mut x = 0.0;` for a variable that is assigned later")
        })
}

/// `let a, b = x;`.
fn names_without_parentheses(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::Comma) && site.is(-2, &Token::Let) && site.expects("=")).then(|| {
        site.error(codes::UNEXPECTED_TOKEN, "several names stand in parentheses", "expected `:` or `=`")
            .help("write `let (a, b) = ..;`")
    })
}

/// `requires N > 0; {`.
fn semicolon_before_body(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::Semi) && site.is(1, &Token::OpenBrace) && site.expects("{")).then(|| {
        site.error(codes::STRAY_SEMICOLON, "no `;` stands between a head and its body", "expected `{`").suggest(
            "remove it",
            site.span(),
            "",
        )
    })
}

/// A head of an item without a body.
fn missing_body(site: &Site<'_>) -> Option<Diagnostic> {
    let head = site.expects("{") && site.expects("requires") && !site.expects_operand();
    (head && !matches!(site.found(), Some(Token::Grid))).then(|| {
        let found = site.found_text();
        site.error(codes::MISSING_BRACES, format!("expected a body, found {found}"), "expected `{`")
            .help("every kernel and function has a body in braces")
    })
}

/// `tensor[f32]`.
fn type_brackets(site: &Site<'_>) -> Option<Diagnostic> {
    let open = site.is(0, &Token::OpenBracket) || site.is(0, &Token::OpenParen);
    let compound = matches!(site.token(-1), Some(Token::Ident(n)) if matches!(&**n, "tensor" | "tile" | "ptr"));
    (open && compound && site.expects("<") && site.expects("?") && site.is_name(-1)).then(|| {
        site.error(codes::UNEXPECTED_TOKEN, "the arguments of a type stand in `<..>`", "expected `<`")
            .help("write `tensor<f32, [M, N]>`, `tile<f32, [16]>` or `ptr<f32>`")
    })
}

/// `if c x = 1;`, `if c then ..`, `while c: ..`.
fn branch_without_braces(site: &Site<'_>) -> Option<Diagnostic> {
    if !site.expects("{") || site.expects_operand() && !site.is(-1, &Token::Else) {
        return None;
    }
    let head =
        site.back().into_iter().find(|o| matches!(site.token(*o), Some(Token::If | Token::While | Token::For | Token::Else)));
    let (what, at) = match (site.token(-1), head) {
        (Some(Token::Else), _) => ("else", -1),
        (_, Some(at)) => (site.token(at)?.fixed_text()?, at),
        _ => return None,
    };
    Some(
        site.error(codes::MISSING_BRACES, format!("the body of `{what}` stands in braces"), "expected `{`")
            .secondary(site.span_of(at), format!("this `{what}`"))
            .help(format!(
                "write `{}`",
                match what {
                    "if" => "if cond { .. }",
                    "while" => "while cond { .. }",
                    "for" => "for i in 0..n { .. }`, or with a step `for i in (0..n).step_by(s) { .. }",
                    _ => "else { .. }",
                }
            )),
    )
}

/// `};`.
fn stray_semicolon(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::Semi) && (site.expects_statement() || site.expects_item())).then(|| {
        site.error(codes::STRAY_SEMICOLON, "there is nothing for this `;` to end", "stray `;`").suggest(
            "remove it",
            site.span(),
            "",
        )
    })
}

/// `else` without its `if`.
fn lone_else(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::Else) && (site.expects_statement() || site.expects("else") || site.expects_operator())).then(|| {
        site.error(codes::UNEXPECTED_TOKEN, "`else` without an `if`", "no `if` in front of it")
            .help("`else` follows the closing brace of an `if` at once, without `;`")
    })
}

/// `use a::*;`.
fn glob_import(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::Star) && site.is(-1, &Token::PathSep)).then(|| {
        site.error(codes::UNEXPECTED_TOKEN, "names are imported one by one", "expected a name or `{`")
            .help("write `use std::math::{exp, log};`")
    })
}

/// Two statements or items without `;` between them.
fn missing_semicolon(site: &Site<'_>) -> Option<Diagnostic> {
    if !site.expects(";") || matches!(site.enclosing(), Some((_, Token::OpenParen | Token::OpenBracket))) {
        return None;
    }
    let ends = matches!(site.found(), None | Some(Token::CloseBrace));
    let starts = site.found().is_some_and(|t| {
        let statement = matches!(t, Token::Let | Token::For | Token::While | Token::If | Token::Return | Token::Hash);
        let item = matches!(t, Token::Kernel | Token::Fn | Token::Const | Token::Use);
        statement || item || matches!(t, Token::Ident(_) | Token::OpenParen)
    });
    let new_statement = ends || starts;
    new_statement.then(|| {
        let place = site.behind_previous();
        Diagnostic::error(codes::MISSING_SEMICOLON, format!("missing `;` in front of {}", site.found_text()))
            .primary(place, "expected `;`")
            .suggest("insert `;`", place, ";")
    })
}

/// Two entries of a list without `,` between them.
fn missing_comma(site: &Site<'_>) -> Option<Diagnostic> {
    if !site.expects(",") {
        return None;
    }
    let list = match site.enclosing() {
        Some((_, Token::OpenParen)) => true,
        Some((_, Token::OpenBracket)) => true,
        _ => in_generics(site),
    };
    let type_list = site.expects(">") && site.expects("?");
    let list = list || site.expects("}") && !site.expects_operator();
    let starts_entry = type_list && site.is(0, &Token::OpenBracket)
        || matches!(
            site.found()?,
            Token::Ident(_)
                | Token::Int(..)
                | Token::Float(_)
                | Token::Str(_)
                | Token::Const
                | Token::OpenParen
                | Token::True
                | Token::False
                | Token::None
                | Token::Kernel
                | Token::Grid
                | Token::Requires
                | Token::Colon
                | Token::If
                | Token::Mut
        );
    ((list || type_list) && starts_entry).then(|| {
        let place = site.behind_previous();
        Diagnostic::error(codes::MISSING_COMMA, format!("missing `,` in front of {}", site.found_text()))
            .primary(place, "expected `,`")
            .suggest("insert `,`", place, ",")
    })
}
