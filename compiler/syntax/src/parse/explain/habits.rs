//! Mistakes brought from other languages: reserved words, foreign operators, C, Python and Rust constructs.

use super::Site;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::tokens::Token;

type Rule = fn(&Site<'_>) -> Option<Diagnostic>;

const RULES: &[Rule] = &[
    reserved_word,
    cast_to_compound,
    turbofish,
    comparison_chain,
    inclusive_range,
    increment,
    power,
    ternary,
    word_operator,
    named_by_colon,
    assignment_as_value,
    reference,
    value_before_if,
    if_let,
    comprehension,
    block_as_value,
    if_as_operand,
    closure_place,
    no_fields,
    half_number,
    repeated_list,
    fat_arrow,
    walrus,
    c_for,
    nested_item,
    foreign_item,
    else_if_word,
];

pub(super) fn explain(site: &Site<'_>) -> Option<Diagnostic> {
    RULES.iter().find_map(|rule| rule(site))
}

/// `break`, `match` and the other words of Rust that Kiln has no use for.
fn reserved_word(site: &Site<'_>) -> Option<Diagnostic> {
    let Some(Token::Reserved(word)) = site.found() else {
        return None;
    };
    let base = |what: &str| site.error(codes::RESERVED_WORD, format!("`{word}` is {what}"), "not part of the language");
    let named = site.expects("name") && !site.expects_operand() && !site.expects_item();
    if named {
        return Some(
            site.error(codes::RESERVED_WORD, format!("`{word}` is a reserved word and cannot be a name"), "reserved word")
                .note("names of kernels, parameters and dimensions become Rust names, so the keywords of Rust are reserved")
                .help(format!("choose another name, such as `{word}_` or a longer word")),
        );
    }
    Some(match &**word {
        "break" => base("reserved: loops have no `break`")
            .help("put the condition into the loop's head: `let mut open = true; while open && i < n { .. open = false; .. }`"),
        "continue" => base("reserved: loops have no `continue`")
            .help("put the rest of the body under the opposite condition: `if !skip { .. }`"),
        "loop" => base("reserved: there is no endless loop").help(
            "write `while cond { .. }`; a loop that ends inside its body keeps a flag: `let mut open = true; while open { .. }`",
        ),
        "do" => base("reserved: there is no `do` loop").help("write `let mut open = true; while open { .. open = cond; }`"),
        "match" => {
            base("reserved: there is no `match`").help("write a chain of `if x == 0 { .. } else if x == 1 { .. } else { .. }`")
        }
        "struct" | "enum" | "union" => base("reserved: there are no user-defined types")
            .help("bundle values in a tuple: `(a, b)`, taken apart by `let (a, b) = ..`"),
        "type" => base("reserved: there are no type aliases")
            .help("make the item generic over the type: `kernel k<T: float>(..)`, or write the type out"),
        "static" => base("reserved: there are no globals").help("a value known at compile time is a `const`"),
        "pub" => base("reserved: every item can be used from other files").suggest("remove it", site.span(), ""),
        "impl" | "trait" | "where" => base("reserved: there are no traits")
            .help("a type parameter has one of the classes `float`, `int`, `num`, `any`, `shape`: `fn f<T: num>(..)`"),
        "mod" | "extern" | "crate" | "super" | "self" | "Self" => {
            base("reserved").help("other kernel files and the library are imported by `use path::to::file;`")
        }
        "ref" | "move" | "box" => base("reserved: values are passed without marks").suggest("remove it", site.span(), ""),
        "unsafe" | "async" | "await" | "yield" | "dyn" | "try" => base("reserved"),
        _ => base("a reserved word of Rust").help("choose another name: names of parameters and dimensions become Rust names"),
    })
}

/// `x as ptr<f32>`.
fn cast_to_compound(site: &Site<'_>) -> Option<Diagnostic> {
    let back = site.back();
    let less = *back.iter().find(|o| site.is(**o, &Token::Lt))?;
    let compound = matches!(site.token(less - 1), Some(Token::Ident(n)) if matches!(&**n, "ptr" | "tile" | "tensor"));
    (compound && site.is(less - 2, &Token::As)).then(|| {
        Diagnostic::error(codes::TURBOFISH, "`as` takes the name of a scalar type")
            .primary(site.span_of(less), "read as a comparison")
            .secondary(site.span_of(less - 2), "this cast")
            .help("casts of pointers and tiles are `bitcast::<ptr<f32>>(x)`; on a tile, `as f32` converts every element")
    })
}

/// `zeros<f32>(..)`: read as comparisons, where generic arguments were meant.
fn turbofish(site: &Site<'_>) -> Option<Diagnostic> {
    let named = site.is(0, &Token::Eq) && site.is(-2, &Token::Lt);
    if !named && !matches!(site.found(), Some(Token::Lt | Token::Gt | Token::GtJoint)) {
        return None;
    }
    let less = *site.back().iter().find(|o| site.is(**o, &Token::Lt))?;
    // What generic arguments hold, up to the `>` that a call follows.
    let call = (less + 1..).find_map(|o| match site.token(o) {
        Some(Token::Gt) => (site.is(o + 1, &Token::OpenParen)).then_some(true).or(Some(false)),
        Some(Token::GtJoint | Token::Lt | Token::Comma | Token::PathSep | Token::Eq) => None,
        Some(Token::OpenBracket | Token::CloseBracket) => None,
        Some(Token::Ident(_) | Token::Int(..) | Token::True | Token::False | Token::Mut) => None,
        _ => Some(false),
    });
    let declared = matches!(site.token(less - 2), Some(Token::Kernel | Token::Fn));
    (site.is_name(less - 1) && !declared && call == Some(true)).then(|| {
        site.error(codes::TURBOFISH, "generic arguments of a call need `::`", "read as a comparison")
            .secondary(site.span_of(less), "this `<` is read as a comparison")
            .suggest("write `::<..>`", site.span_of(less).start(), "::")
    })
}

/// `a < b < c`, and `a < n & b < m`, which is the same to the parser.
fn comparison_chain(site: &Site<'_>) -> Option<Diagnostic> {
    let found = site.found()?;
    if !is_comparison(found) || !site.expects_operator() {
        return None;
    }
    let back = site.back();
    let first = back.iter().position(|o| site.token(*o).is_some_and(is_comparison))?;
    let between = back[..first].iter().find(|o| matches!(site.token(**o), Some(Token::And | Token::Or)));
    let text = found.fixed_text().unwrap_or(">");
    if let Some(&mask) = between {
        let (op, meant) = if site.is(mask, &Token::And) { ("&", "&&") } else { ("|", "||") };
        return Some(
            Diagnostic::error(codes::BITWISE_MASK, format!("`{op}` binds stronger than `{text}`"))
                .primary(site.span_of(mask), format!("this `{op}` takes the operands next to it, not the two comparisons"))
                .secondary(site.span_of(back[first]), "first comparison")
                .secondary(site.span(), "second comparison")
                .suggest(format!("write `{meant}`, which works lane by lane on bool tiles"), site.span_of(mask), meant),
        );
    }
    Some(
        site.error(codes::COMPARISON_CHAIN, "comparisons cannot be chained", "second comparison")
            .secondary(site.span_of(back[first]), "first comparison")
            .help("write `a < b && b < c`; to compare a result of type bool put it in parentheses: `(a < b) == c`"),
    )
}

fn is_comparison(token: &Token) -> bool {
    matches!(token, Token::EqEq | Token::Ne | Token::Lt | Token::Le | Token::Gt | Token::Ge)
}

/// `a..=b`, `a..`, `..b`.
fn inclusive_range(site: &Site<'_>) -> Option<Diagnostic> {
    let indexed = matches!(site.enclosing(), Some((_, Token::OpenBracket)));
    match site.found()? {
        Token::DotDotEq => {
            Some(site.error(codes::RANGE_FORM, "there are no inclusive ranges", "`..=` is not part of the language").suggest(
                "the end of a range is excluded: write `a..b + 1`",
                site.span(),
                "..",
            ))
        }
        Token::DotDot if site.expects_operand() => {
            let help = if indexed {
                "write `0..end` for a view, `0..+LEN` for a tile, `:` for the whole axis"
            } else {
                "write `0..end`"
            };
            Some(site.error(codes::RANGE_FORM, "a range needs its start", "nothing stands in front of `..`").help(help))
        }
        Token::CloseBracket | Token::Comma if site.is(-1, &Token::Plus) && site.is(-2, &Token::DotDot) => Some(
            Diagnostic::error(codes::RANGE_FORM, "a slice `start..+LEN` needs its length")
                .primary(site.span_of(-2).merge(site.span_of(-1)), "nothing stands behind `..+`")
                .help("the length is a constant: `x[i..+BLOCK]`"),
        ),
        Token::CloseBracket | Token::CloseParen | Token::Comma | Token::OpenBrace if site.is(-1, &Token::DotDot) => {
            let help = if indexed {
                "write `a..x.dim(0)` for a view up to the end, `a..+LEN` for a tile of constant length"
            } else {
                "write both ends: `a..b`"
            };
            Some(
                Diagnostic::error(codes::RANGE_FORM, "a range needs its end")
                    .primary(site.span_of(-1), "nothing stands behind `..`")
                    .help(help),
            )
        }
        Token::DotDot if site.is(-2, &Token::DotDot) || site.back().iter().any(|o| site.is(*o, &Token::DotDot)) => Some(
            site.error(codes::RANGE_FORM, "a range has two ends", "a second `..`").help("a step is written `(a..b).step_by(s)`"),
        ),
        Token::DotDot if site.expects_operator() && !site.expects("..") => Some(
            site.error(codes::RANGE_FORM, "a range cannot stand here", "not a range")
                .note("ranges stand in an index, in the head of a `for`, as an argument and in parentheses"),
        ),
        _ => None,
    }
}

/// `i++`, `i--`.
fn increment(site: &Site<'_>) -> Option<Diagnostic> {
    // The parser stops behind `i--`, at the second `+` of `i++` and at the first one of `++i`.
    let first = [-2, -1, 0]
        .into_iter()
        .find(|o| matches!(site.token(*o), Some(Token::Plus | Token::Minus)) && site.token(*o) == site.token(o + 1))?;
    let adjacent = site.span_of(first).hi == site.span_of(first + 1).lo;
    let ends = first == 0 || matches!(site.token(first + 2)?, Token::Semi | Token::CloseParen | Token::CloseBrace);
    (adjacent && ends && site.expects_operand()).then(|| {
        let op = site.token(first).and_then(Token::fixed_text).unwrap_or("+");
        let span = site.span_of(first).merge(site.span_of(first + 1));
        Diagnostic::error(codes::FOREIGN_OPERATOR, format!("there is no `{op}{op}`"))
            .primary(span, "not an operator of the language")
            .help(format!("write `i {op}= 1;`"))
    })
}

/// `a ** b`.
fn power(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::Star) && site.is(-1, &Token::Star)).then(|| {
        Diagnostic::error(codes::FOREIGN_OPERATOR, "there is no `**`")
            .primary(site.span_of(-1).merge(site.span()), "not an operator of the language")
            .help("a power is `pow(a, b)`, a square `a * a`")
    })
}

/// `c ? a : b`.
fn ternary(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::Question) && site.expects_operator()).then(|| {
        site.error(codes::FOREIGN_OPERATOR, "there is no `?` on values", "not an operator of the language").help(
            "write `if c { a } else { b }` for a scalar condition, `select(c, a, b)` for a tile; `?` makes the type of a parameter optional",
        )
    })
}

/// `a and b`, `not a`.
fn word_operator(site: &Site<'_>) -> Option<Diagnostic> {
    let word = |offset| match site.token(offset) {
        Some(Token::Ident(name)) => Some(&**name),
        _ => None,
    };
    if site.expects_operator() {
        if let Some((name, op)) = word(0).and_then(|w| {
            Some((
                w,
                match w {
                    "and" => "&&",
                    "or" => "||",
                    _ => return None,
                },
            ))
        }) {
            return Some(
                site.error(codes::FOREIGN_OPERATOR, format!("`{name}` is no operator"), "a name, where an operator is expected")
                    .suggest(format!("write `{op}`"), site.span(), op),
            );
        }
        if word(-1) == Some("not") {
            return Some(
                Diagnostic::error(codes::FOREIGN_OPERATOR, "`not` is no operator")
                    .primary(site.span_of(-1), "a name, where an operator is expected")
                    .suggest("write `!`", site.span_of(-1).merge(site.span().start()), "!"),
            );
        }
        if word(-1) == Some("lambda") {
            return Some(
                Diagnostic::error(codes::FOREIGN_OPERATOR, "`lambda` is no part of the language")
                    .primary(site.span_of(-1), "a name, where a closure is meant")
                    .help("a closure is written `|a, b| a + b`"),
            );
        }
    }
    None
}

/// `sum(x, axis: 1)`.
fn named_by_colon(site: &Site<'_>) -> Option<Diagnostic> {
    let argument =
        matches!(site.enclosing(), Some((_, Token::OpenParen))) && matches!(site.token(-2)?, Token::Comma | Token::OpenParen);
    (argument && site.is(0, &Token::Colon) && site.is_name(-1) && site.expects_operator()).then(|| {
        site.error(codes::FOREIGN_OPERATOR, "arguments are named with `=`", "expected `=`").suggest(
            "write `=`",
            site.span(),
            " =",
        )
    })
}

/// `a if c else b`.
fn value_before_if(site: &Site<'_>) -> Option<Diagnostic> {
    if !site.is(0, &Token::If) || !site.expects_operator() {
        return None;
    }
    let otherwise = (1..).map(|o| site.token(o)).find(|t| matches!(t, None | Some(Token::Else | Token::Semi | Token::OpenBrace)));
    (otherwise == Some(Some(&Token::Else))).then(|| {
        site.error(codes::FOREIGN_OPERATOR, "the condition comes before the value", "an operator is expected here")
            .help("write `if c { a } else { b }` for a scalar condition, `select(c, a, b)` for a tile")
    })
}

/// `if let p = x`.
fn if_let(site: &Site<'_>) -> Option<Diagnostic> {
    let head = site.is(-1, &Token::If) || site.is(-1, &Token::While);
    (head && site.is(0, &Token::Let)).then(|| {
        site.error(codes::FOREIGN_OPERATOR, "there are no patterns in conditions", "a condition is a value of type bool")
            .help("whether a parameter is there is asked by `x.is_some()`")
    })
}

/// `[i for i in x]`.
fn comprehension(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::For) && matches!(site.enclosing(), Some((_, Token::OpenBracket | Token::OpenParen)))).then(|| {
        site.error(codes::FOREIGN_OPERATOR, "there are no comprehensions", "a loop is a statement")
            .help("compute with whole tiles: `arange(0, N) * 2`")
    })
}

/// `let a = { .. };`, `Point { x: 1 }`.
fn block_as_value(site: &Site<'_>) -> Option<Diagnostic> {
    if !site.is(0, &Token::OpenBrace) || site.expects("{") {
        return None;
    }
    let message = if site.is_name(-1) && site.expects_operator() {
        "there are no struct literals"
    } else if site.expects_operand() && !matches!(site.token(-1), Some(Token::If | Token::While | Token::In)) {
        "a block is no value"
    } else {
        return None;
    };
    Some(
        site.error(codes::FOREIGN_OPERATOR, message, "not allowed here")
            .help("bundle values in a tuple: `(a, b)`; code that computes one value is a `fn`"),
    )
}

/// `if a = b {`, `f(a.x = 1)`.
fn assignment_as_value(site: &Site<'_>) -> Option<Diagnostic> {
    if !site.is(0, &Token::Eq) || !site.expects_operator() {
        return None;
    }
    let condition = site.back().iter().any(|o| matches!(site.token(*o), Some(Token::If | Token::While)));
    let diagnostic = site.error(codes::ASSIGNMENT_AS_VALUE, "an assignment is no expression", "`=` assigns");
    let argument = matches!(site.enclosing(), Some((_, Token::OpenParen)));
    Some(if condition || site.expects("{") {
        diagnostic.suggest("to compare, write `==`", site.span(), "==")
    } else if argument {
        diagnostic.help("to compare, write `==`; an argument's name is a single name: `f(axis = 1)`")
    } else {
        diagnostic.help("to compare, write `==`; two places are assigned in two statements")
    })
}

/// `&x`, `*p`.
fn reference(site: &Site<'_>) -> Option<Diagnostic> {
    if !site.expects_operand() && !site.expects_type() {
        return None;
    }
    match site.found()? {
        Token::And | Token::AndAnd if site.touches_next() => Some(
            site.error(codes::FOREIGN_OPERATOR, "there are no references", "`&` takes two operands")
                .help("pass the value itself; a tensor that is written to is a `mut tensor<..>` parameter"),
        ),
        Token::Star if site.touches_next() => Some(
            site.error(codes::FOREIGN_OPERATOR, "there is no dereferencing `*`", "`*` takes two operands")
                .help("read through a pointer with `load(p)`, write with `store(p, value)`; the type is `ptr<T>`"),
        ),
        Token::Plus if site.touches_next() => {
            Some(site.error(codes::FOREIGN_OPERATOR, "there is no sign `+`", "`+` takes two operands").suggest(
                "remove it",
                site.span(),
                "",
            ))
        }
        _ => None,
    }
}

/// `1 + if c { a } else { b }`.
fn if_as_operand(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::If) && site.expects_operand()).then(|| {
        site.error(codes::IF_AS_OPERAND, "an `if` cannot be an operand", "not allowed here")
            .help("put it in parentheses: `1 + (if c { a } else { b })`, or give it a name with `let`")
    })
}

/// A closure that is no argument, or one without parameters.
fn closure_place(site: &Site<'_>) -> Option<Diagnostic> {
    match site.found()? {
        Token::Or if site.expects_operand() => Some(
            site.error(codes::CLOSURE_PLACE, "a closure can only be an argument", "not allowed here")
                .help("pass it where it is used: `reduce(x, axis = 1, |a, b| a + b)`, or write a `fn`"),
        ),
        Token::OrOr if site.expects_operand() => Some(
            site.error(codes::CLOSURE_PLACE, "a closure has at least one parameter", "`||` is logical or")
                .help("write `|a, b| a + b`"),
        ),
        _ => None,
    }
}

/// `t.0`, `x.shape`.
fn no_fields(site: &Site<'_>) -> Option<Diagnostic> {
    if site.is(-1, &Token::Dot) && matches!(site.found()?, Token::Int(..) | Token::Float(_)) && site.expects("name") {
        return Some(
            site.error(codes::NO_FIELDS, "a tuple's parts have no numbers", "not a method")
                .help("take it apart with a pattern: `let (a, b) = t;`"),
        );
    }
    if site.is(-2, &Token::Dot) && site.is_name(-1) && site.expects("(") && site.expects("::") && !site.expects_operator() {
        let Some(Token::Ident(name)) = site.token(-1) else {
            return None;
        };
        let diagnostic = Diagnostic::error(codes::NO_FIELDS, format!("values have no field `{name}`"))
            .primary(site.span_of(-1), "a method needs its `(..)`");
        return Some(match &**name {
            "T" => diagnostic.help("a transposed tensor or tile is `trans(x)`"),
            "shape" => diagnostic
                .help("a tensor's dimensions have names, given in its type: `x: tensor<T, [M, N]>`; a view has `x.dim(0)`"),
            _ => diagnostic.suggest(format!("to call it, write `.{name}()`"), site.span_of(-1).end(), "()"),
        });
    }
    None
}

/// `.5`.
fn half_number(site: &Site<'_>) -> Option<Diagnostic> {
    let Some(Token::Int(..)) = site.token(1) else {
        return None;
    };
    let adjacent = site.span().hi == site.span_of(1).lo;
    (site.is(0, &Token::Dot) && site.expects_operand() && adjacent).then(|| {
        Diagnostic::error(codes::POINT_WITHOUT_DIGITS, "a number needs a digit on both sides of its point")
            .primary(site.span().merge(site.span_of(1)), "no digit in front of the point")
            .suggest("write a `0` in front", site.span().start(), "0")
    })
}

/// `[0; 4]`.
fn repeated_list(site: &Site<'_>) -> Option<Diagnostic> {
    (site.is(0, &Token::Semi) && matches!(site.enclosing(), Some((_, Token::OpenBracket))) && site.expects("]")).then(|| {
        site.error(codes::FOREIGN_OPERATOR, "there are no repeated lists", "`;` cannot stand in a list")
            .help("a tile of one value is `full([4], 0)` or `zeros::<f32>([4])`")
    })
}

/// `=>`.
fn fat_arrow(site: &Site<'_>) -> Option<Diagnostic> {
    site.is(0, &Token::FatArrow).then(|| {
        site.error(codes::FOREIGN_OPERATOR, "there is no `=>`", "not an operator of the language")
            .help("`>=` compares, `->` gives the result type of a `fn`, a closure is `|x| value`")
    })
}

/// `x := 1`.
fn walrus(site: &Site<'_>) -> Option<Diagnostic> {
    let colon = if site.is(0, &Token::Colon) { 0 } else { -1 };
    let pair = site.is(colon, &Token::Colon) && site.is(colon + 1, &Token::Eq) && site.is_name(colon - 1);
    let adjacent = site.span_of(colon).hi == site.span_of(colon + 1).lo;
    (pair && adjacent && (site.expects_operator() || site.expects_type())).then(|| {
        Diagnostic::error(codes::FOREIGN_OPERATOR, "there is no `:=`")
            .primary(site.span_of(colon).merge(site.span_of(colon + 1)), "not an operator of the language")
            .help("a new name is bound by `let x = ..;`, an old one assigned by `x = ..;`")
    })
}

/// `for (i = 0; ..)`, `for i = 0..n`.
fn c_for(site: &Site<'_>) -> Option<Diagnostic> {
    let head = site.back().into_iter().find(|o| site.is(*o, &Token::For));
    let paren = site.enclosing().filter(|(o, t)| **t == Token::OpenParen && site.is(o - 1, &Token::For)).map(|(o, _)| o - 1);
    let at = head.or(paren)?;
    let in_pattern = site.expects("in") || paren.is_some() || (at == -1 && !site.is(0, &Token::OpenParen));
    in_pattern.then(|| {
        site.error(codes::FOR_HEAD, "a `for` counts over a range", "expected `in`")
            .secondary(site.span_of(at), "this loop")
            .help("write `for i in 0..n { .. }` or `for i in (0..n).step_by(s) { .. }`")
    })
}

/// `fn`, `const` or `use` within a block.
fn nested_item(site: &Site<'_>) -> Option<Diagnostic> {
    let place = |what: &str| site.error(codes::ITEM_PLACE, format!("{what} cannot stand in a block"), "not a statement");
    if !site.expects_statement() {
        return None;
    }
    match site.found()? {
        Token::Fn => Some(place("a `fn`").help("move it out to the top level of the file")),
        Token::Const => {
            Some(place("a `const`").suggest("an immutable `let` of a constant is a constant: write `let`", site.span(), "let"))
        }
        Token::Use => Some(place("a `use`").help("move it to the top of the file")),
        _ => None,
    }
}

/// A statement, a foreign declaration or a stray word where an item should be.
fn foreign_item(site: &Site<'_>) -> Option<Diagnostic> {
    if site.expects_statement() || !site.expects_item() {
        return None;
    }
    match site.found()? {
        Token::Let => Some(
            site.error(codes::ITEM_PLACE, "a `let` cannot stand outside of a body", "not an item")
                .help("a value for the whole file is a constant: `const NAME: f32 = 1.0;`"),
        ),
        Token::For | Token::While | Token::If | Token::Return => Some(
            site.error(codes::ITEM_PLACE, "a statement cannot stand outside of a body", "not an item")
                .help("statements stand in the body of a `kernel` or a `fn`"),
        ),
        Token::Ident(name) => {
            let help = match &**name {
                "def" | "function" | "func" | "fun" | "void" | "device" | "__device__" => {
                    "a function is declared with `fn name(x: f32) -> f32 { .. }`"
                }
                "__global__" | "global" => "a kernel is declared with `kernel name(..) grid [..] { .. }`",
                "import" | "from" | "include" => "other files are imported with `use path::to::file;`",
                "var" | "auto" | "constexpr" | "int" | "float" => "a constant is declared with `const NAME: f32 = 1.0;`",
                _ => return None,
            };
            Some(site.error(codes::ITEM_PLACE, format!("expected an item, found name `{name}`"), "not an item").help(help))
        }
        _ => None,
    }
}

/// `elif`, `elseif`.
fn else_if_word(site: &Site<'_>) -> Option<Diagnostic> {
    let word = |offset| match site.token(offset) {
        Some(Token::Ident(name)) if matches!(&**name, "elif" | "elseif" | "elsif") => Some(name),
        _ => None,
    };
    // The word itself is a good start of a statement: the parser stops behind it.
    let offset = if word(0).is_some() { 0 } else { -1 };
    let name = word(offset)?;
    site.is(offset - 1, &Token::CloseBrace).then(|| {
        Diagnostic::error(codes::FOREIGN_OPERATOR, format!("there is no `{name}`"))
            .primary(site.span_of(offset), "not a keyword of the language")
            .suggest("write `else if`", site.span_of(offset), "else if")
    })
}
