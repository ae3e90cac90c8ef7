//! Refuses sources nested so deeply that walking the tree recursively could overflow the stack.
//!
//! Counted on tokens, before there is a tree: along the open delimiters, every operator, call or index of the part of a list or statement
//! that is still open may be one level of the tree.

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::tokens::{Token, Tokens};

/// Levels a tree may have.
pub(crate) const MAX_DEPTH: usize = 256;

/// What is open at one delimiter.
#[derive(Default)]
struct Level {
    /// Levels of the tree opened by the outer delimiters.
    base: usize,
    /// Levels that the present segment (since the last `,` `;` or block) may have opened.
    own: usize,
    /// Branches of the present `else if` chain.
    chain: usize,
    /// Whether a block has just been closed.
    after_block: bool,
    /// Whether this level is the inside of a block, rather than of a list or a braced constant.
    block: bool,
}

/// The error for the first place that is too deep.
pub(crate) fn check(tokens: &Tokens) -> Option<Diagnostic> {
    let mut open: Vec<Level> = vec![];
    let mut level = Level::default();
    let mut previous = &Token::Semi;
    for (token, span) in tokens.tokens.iter().zip(&tokens.spans) {
        let braced_constant = matches!(previous, Token::Lt | Token::Comma | Token::Eq | Token::PathSep);
        previous = token;
        if std::mem::take(&mut level.after_block) && *token != Token::Else {
            level.own = 0;
            level.chain = 0;
        }
        match token {
            Token::Comma | Token::Semi => {
                level.own = 0;
                level.chain = 0;
            }
            Token::OpenBrace if !braced_constant => {
                // The head in front of a block is its neighbour, not its parent.
                let base = level.base + level.chain + 2;
                let inner = Level { base, block: true, ..Level::default() };
                open.push(std::mem::replace(&mut level, inner));
            }
            Token::OpenParen | Token::OpenBracket | Token::OpenBrace => {
                level.own += 1;
                let base = level.base + level.own;
                open.push(std::mem::replace(&mut level, Level { base, ..Level::default() }));
            }
            closing if closing.is_closing() => {
                let after_block = level.block;
                level = open.pop().unwrap_or_default();
                level.after_block = after_block;
            }
            Token::Else => {
                level.chain += 1;
                level.own = level.chain;
            }
            Token::Ident(_)
            | Token::Int(..)
            | Token::Float(_)
            | Token::Str(_)
            | Token::Doc(_)
            | Token::InnerDoc(_)
            | Token::PathSep
            | Token::Reserved(_)
            | Token::Bad => {}
            _ => level.own += 1,
        }
        if level.base + level.own > MAX_DEPTH {
            return Some(
                Diagnostic::error(codes::TOO_DEEP, format!("nested more than {MAX_DEPTH} levels deep"))
                    .primary(*span, "this is too deep")
                    .help("give parts of it a name with `let`, or move them to a `fn`"),
            );
        }
    }
    None
}
