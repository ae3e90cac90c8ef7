//! What a kernel's tuning results hold for: a fingerprint of its code that formatting, comments, other kernels and its own `#[tune]` do not change.

use kiln_syntax::ast::Item;
use kiln_syntax::lex::lex;
use kiln_syntax::parse::parse;
use kiln_syntax::source::SourceMap;
use kiln_syntax::span::Span;
use kiln_syntax::tokens::Token;

use crate::session::{SourceFile, std_source};

/// The fingerprint of a kernel of the first of these files: its tokens without `#[tune]`, and those of all functions, constants and imports of the
/// program's own files.
pub fn kernel_content(files: &[SourceFile], kernel: &str) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    for (number, file) in files.iter().enumerate().filter(|(_, f)| std_source(&f.name).is_none()) {
        let mut sources = SourceMap::new();
        let id = sources.add(file.name.as_str(), file.text.clone());
        let (tree, _) = parse(&sources, id);
        let mut left_out: Vec<Span> = vec![];
        for item in &tree.items {
            let Item::Kernel(k) = item else { continue };
            let wanted = number == 0 && k.name.as_str() == kernel;
            if !wanted {
                left_out.push(k.span);
            }
            left_out.extend(k.outer.attrs.iter().filter(|a| !wanted || a.path.to_string() == "tune").map(|a| a.span));
        }
        let (tokens, _) = lex(&sources, id);
        for (i, (token, span)) in tokens.tokens.iter().zip(&tokens.spans).enumerate() {
            let text = &file.text[span.range()];
            // A comma in front of a closing bracket is the formatter's.
            let idle = matches!(token, Token::Comma) && tokens.tokens.get(i + 1).is_some_and(Token::is_closing);
            if idle || matches!(token, Token::Doc(_) | Token::InnerDoc(_)) || left_out.iter().any(|out| out.contains(*span)) {
                continue;
            }
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
    }
    *hasher.finalize().as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(text: &str) -> [u8; 32] {
        kernel_content(&[SourceFile { name: "a.kiln".to_owned(), text: text.into() }], "k")
    }

    #[test]
    fn only_code_counts() {
        let base = content("fn f(x: f32) -> f32 { x }\n#[tune(B = [1, 2])]\nkernel k<const B: int = 1>() grid [1] {}");
        for same in [
            "fn f(x: f32) -> f32 { x }\nkernel k<const B: int = 1>() grid [1] {}",
            "//! Doc.\nfn f(x: f32,)   -> f32 { x } // comment\n/// k.\n#[tune(B = [1, 4, 8], key = [B])]\nkernel k<const B: int = 1>() grid [1] {\n}",
            "fn f(x: f32) -> f32 { x }\n#[schedule(warps = 2)]\nkernel other() grid [2] {}\nkernel k<const B: int = 1>() grid [1] {}",
        ] {
            assert_eq!(content(same), base, "{same}");
        }
        for other in [
            "fn f(x: f32) -> f32 { x + x }\nkernel k<const B: int = 1>() grid [1] {}",
            "fn f(x: f32) -> f32 { x }\nkernel k<const B: int = 2>() grid [1] {}",
            "fn f(x: f32) -> f32 { x }\n#[schedule(warps = 2)]\nkernel k<const B: int = 1>() grid [1] {}",
        ] {
            assert_ne!(content(other), base, "{other}");
        }
    }
}
