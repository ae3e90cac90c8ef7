//! Turns "this token does not fit, these would have" into something a user understands.
//!
//! Known mistakes are recognized first: `habits` knows what people bring from other languages, `structure` knows what goes wrong in Kiln's
//! own constructs. What remains is said in general words; terminals are never listed by the dozen.

mod habits;
mod structure;

use super::context::Unexpected;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::span::Span;
use crate::tokens::{Token, Tokens};

/// Where the parser stopped: a token and what could have stood in its place.
pub(crate) struct Site<'t> {
    tokens: &'t Tokens,
    at: usize,
    expected: Vec<&'t str>,
}

impl<'t> Site<'t> {
    /// The token `offset` away from the unexpected one.
    fn token(&self, offset: isize) -> Option<&'t Token> {
        self.tokens.tokens.get(self.at.checked_add_signed(offset)?)
    }

    /// The unexpected token; none at the end of the file.
    fn found(&self) -> Option<&'t Token> {
        self.token(0)
    }

    fn is(&self, offset: isize, token: &Token) -> bool {
        self.token(offset) == Some(token)
    }

    fn is_name(&self, offset: isize) -> bool {
        matches!(self.token(offset), Some(Token::Ident(_) | Token::Kernel | Token::Grid | Token::Requires))
    }

    /// The span of the token `offset` away.
    fn span_of(&self, offset: isize) -> Span {
        match self.at.checked_add_signed(offset).and_then(|i| self.tokens.spans.get(i)) {
            Some(span) => *span,
            None => self.tokens.file_span.end(),
        }
    }

    /// Whether the next token follows the unexpected one without a blank.
    fn touches_next(&self) -> bool {
        self.token(1).is_some() && self.span().hi == self.span_of(1).lo
    }

    /// The span of the unexpected token.
    fn span(&self) -> Span {
        self.span_of(0)
    }

    /// The empty span right behind the token in front.
    fn behind_previous(&self) -> Span {
        if self.at == 0 { self.span().start() } else { self.span_of(-1).end() }
    }

    fn expects(&self, terminal: &str) -> bool {
        self.expected.contains(&terminal)
    }

    /// Whether an expression could start here.
    fn expects_operand(&self) -> bool {
        self.expects("int") && self.expects("not")
    }

    /// Whether a complete expression stands in front. (On its way to the error the parser may have taken it for a part of an `||`.)
    fn expects_operator(&self) -> bool {
        self.expects("||") || (self.expects("*") && self.expects("+"))
    }

    fn expects_type(&self) -> bool {
        self.expects("mut") && self.expects("fn") && self.expects("(")
    }

    /// Whether an item could start here.
    fn expects_item(&self) -> bool {
        self.expects("kernel") && self.expects("use")
    }

    /// Whether a statement could start here.
    fn expects_statement(&self) -> bool {
        self.expects("let")
    }

    /// The opening delimiter around the unexpected token, as an offset.
    fn enclosing(&self) -> Option<(isize, &'t Token)> {
        let mut depth = 0usize;
        for i in (0..self.at).rev() {
            let token = &self.tokens.tokens[i];
            if token.is_closing() {
                depth += 1;
            } else if token.closing().is_some() {
                if depth == 0 {
                    return Some((i as isize - self.at as isize, token));
                }
                depth -= 1;
            }
        }
        None
    }

    /// The offsets of the tokens in front of this one, nearest first, that stand in the same delimiters and the same list entry or statement.
    fn back(&self) -> Vec<isize> {
        let mut list = vec![];
        let mut depth = 0usize;
        for i in (0..self.at).rev() {
            let token = &self.tokens.tokens[i];
            if token.is_closing() {
                if depth == 0 && *token == Token::CloseBrace {
                    break;
                }
                depth += 1;
            } else if token.closing().is_some() {
                if depth == 0 {
                    break;
                }
                depth -= 1;
            } else if depth == 0 {
                if matches!(token, Token::Comma | Token::Semi) {
                    break;
                }
                list.push(i as isize - self.at as isize);
            }
        }
        list
    }

    /// `error[code]: message` at the unexpected token.
    fn error(&self, code: codes::Code, message: impl Into<String>, label: impl Into<String>) -> Diagnostic {
        Diagnostic::error(code, message).primary(self.span(), label)
    }

    /// What was found, in words.
    fn found_text(&self) -> String {
        self.found().map_or("the end of the file".into(), |t| t.describe().into_owned())
    }
}

/// The diagnostic for a token that does not fit.
pub(crate) fn explain(tokens: &Tokens, unexpected: &Unexpected) -> Diagnostic {
    let expected = unexpected.expected.iter().map(|t| t.trim_matches('"')).collect();
    let site = Site { tokens, at: unexpected.at, expected };
    habits::explain(&site).or_else(|| structure::explain(&site)).unwrap_or_else(|| general(&site))
}

/// What could stand at the place, in words: the kind of construct, or a few tokens.
fn expected_words(site: &Site<'_>) -> String {
    let mut words: Vec<String> = vec![];
    let mut covered: Vec<&str> = vec![];
    if site.expects_item() && !site.expects("let") {
        return "an item (`kernel`, `fn`, `const` or `use`)".into();
    }
    if site.expects_statement() {
        return "a statement or `}`".into();
    }
    if site.expects_operand() {
        words.push("an expression".into());
        covered
            .extend(["int", "float", "string", "true", "false", "None", "name", "kernel", "grid", "requires", "not", "-", "("]);
        covered.extend(["[", "if", "|", "_"]);
    } else if site.expects_operator() {
        words.push("an operator".into());
        covered.extend(["+", "-", "*", "/", "%", "&", "|", "^", "<<", ">~", "==", "!=", "<", "<=", ">", ">=", "&&", "||", "as"]);
        covered.extend(["[", ".", "::", "(", "..", "=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="]);
    } else if site.expects_type() {
        words.push("a type".into());
        covered.extend(["_", "mut", "fn", "name", "kernel", "grid", "requires", "(", "[", "{", "int", "float", "string", "-"]);
        covered.extend(["true", "false"]);
    } else if site.expects("name") && site.expects("mut") && site.expects("_") {
        words.push("a name or a pattern such as `(a, b)`".into());
        covered.extend(["name", "kernel", "grid", "requires", "mut", "_", "("]);
    } else if site.expects("name") {
        words.push("a name".into());
        covered.extend(["name", "kernel", "grid", "requires", "doc", "#"]);
    }
    if site.expects("?") && !site.expects_operand() {
        // Behind a type: how it could go on is of no interest.
        covered.extend(["::", "?", "<"]);
    }
    // Behind a complete expression or type what ends it is of interest, else the tokens themselves.
    for terminal in &site.expected {
        let shown = match *terminal {
            t if covered.contains(&t) => continue,
            "not" => "`!`".to_string(),
            ">~" | "doc" | "innerdoc" | "error" => continue,
            "int" | "float" => "a number".to_string(),
            "string" => "a string".to_string(),
            "EOF" => "the end of the file".to_string(),
            t => format!("`{t}`"),
        };
        if !words.contains(&shown) {
            words.push(shown);
        }
    }
    if words.len() > 5 {
        words.truncate(4);
        words.push("more".into());
        return format!("{}, ..", words[..4].join(", "));
    }
    match words.as_slice() {
        [] => "nothing".into(),
        [one] => one.clone(),
        [init @ .., last] => format!("{} or {last}", init.join(", ")),
    }
}

fn general(site: &Site<'_>) -> Diagnostic {
    let found = site.found_text();
    let expected = expected_words(site);
    site.error(codes::UNEXPECTED_TOKEN, format!("expected {expected}, found {found}"), format!("expected {expected}"))
}
