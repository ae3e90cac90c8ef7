//! From a macro's tokens to the text they come from, and from places in that text back to tokens.
//!
//! The text is that of the Rust file, comments and layout included, whenever the compiler can give it and the tokens are found in it one after the other.
//! Tokens that another macro made, and editors that keep no text, leave only the tokens: then they are printed, one blank between two.

use std::ops::Range;

use proc_macro2::{Delimiter, Spacing, Span, TokenStream, TokenTree};

/// A token without others in it.
#[derive(Clone, Debug)]
pub struct Leaf {
    /// Its text.
    text: String,
    /// Whether the next one follows at once.
    joint: bool,
    span: Span,
}

/// The macro's input as text.
#[derive(Debug)]
pub struct Input {
    /// The text.
    pub text: String,
    /// Lines of the file above it; 0 where the text was printed.
    pub lines_above: usize,
    /// Characters in front of it on its first line.
    pub columns_before: usize,
    /// The tokens' places in the text.
    places: Vec<(Range<usize>, Span)>,
}

/// Reads the input of the macro call that is being expanded.
pub fn read(tokens: TokenStream) -> Input {
    let mut leaves = vec![];
    flatten(tokens, &mut leaves);
    let call = Span::call_site();
    if let Some(source) = call.source_text()
        && let Some(inner) = inside(&source)
        && let Some(places) = align(&source[inner.clone()], &leaves)
    {
        let before = &source[..inner.start];
        let start = call.unwrap();
        let lines = before.matches('\n').count();
        let columns = match before.rsplit_once('\n') {
            Some((_, last)) => last.chars().count(),
            None => start.column().saturating_sub(1) + before.chars().count(),
        };
        return Input {
            text: source[inner].to_owned(),
            lines_above: start.line().saturating_sub(1) + lines,
            columns_before: columns,
            places: places.into_iter().zip(leaves).map(|(range, leaf)| (range, leaf.span)).collect(),
        };
    }
    let (text, places) = print(&leaves);
    let places = places.into_iter().zip(leaves).map(|(range, leaf)| (range, leaf.span)).collect();
    Input { text, lines_above: 0, columns_before: 0, places }
}

impl Input {
    /// First and last token of a range of the text; the nearest ones for a range between tokens.
    pub fn tokens(&self, range: Range<usize>) -> (Span, Span) {
        let call = Span::call_site();
        if self.places.is_empty() {
            return (call, call);
        }
        let first = self.places.partition_point(|(place, _)| place.end <= range.start);
        let behind = self.places.partition_point(|(place, _)| place.start < range.end);
        // Nothing in between: a place behind a token is that token's.
        let (first, last) = if first < behind {
            (first, behind - 1)
        } else if first > 0 {
            (first - 1, first - 1)
        } else {
            (0, 0)
        };
        (self.places[first].1, self.places[last].1)
    }
}

/// What stands between the outermost delimiters of a macro call.
fn inside(source: &str) -> Option<Range<usize>> {
    let bang = source.find('!')?;
    let open = bang + source[bang..].find(['{', '(', '['])?;
    let close = source.rfind(['}', ')', ']'])?;
    (open < close).then_some(open + 1..close)
}

fn flatten(tokens: TokenStream, leaves: &mut Vec<Leaf>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => ("", ""),
                };
                if !open.is_empty() {
                    leaves.push(Leaf { text: open.to_owned(), joint: false, span: group.span_open() });
                }
                flatten(group.stream(), leaves);
                if !close.is_empty() {
                    leaves.push(Leaf { text: close.to_owned(), joint: false, span: group.span_close() });
                }
            }
            TokenTree::Punct(punct) => {
                // A documentation comment arrives as the attribute it stands for, whose tokens all have the comment's place.
                let comment = (punct.as_char() == '#').then(|| punct.span().source_text()).flatten();
                if let Some(text) = comment.filter(|text| text.starts_with("//") || text.starts_with("/*")) {
                    leaves.push(Leaf { text, joint: false, span: punct.span() });
                    tokens.next_if(|t| matches!(t, TokenTree::Punct(p) if p.as_char() == '!'));
                    tokens.next_if(|t| matches!(t, TokenTree::Group(_)));
                    continue;
                }
                let joint = punct.spacing() == Spacing::Joint;
                leaves.push(Leaf { text: punct.as_char().to_string(), joint, span: punct.span() });
            }
            TokenTree::Ident(ident) => {
                leaves.push(Leaf { text: ident.to_string(), joint: false, span: ident.span() });
            }
            TokenTree::Literal(literal) => {
                leaves.push(Leaf { text: literal.to_string(), joint: false, span: literal.span() });
            }
        }
    }
}

/// Where each token stands in the text, if they stand there one after the other with nothing but blanks and comments between.
fn align(text: &str, leaves: &[Leaf]) -> Option<Vec<Range<usize>>> {
    let mut at = 0;
    let mut places = Vec::with_capacity(leaves.len());
    for leaf in leaves {
        at += blank_len(&text[at..]);
        if leaf.text.is_empty() || !text[at..].starts_with(&leaf.text) {
            return None;
        }
        places.push(at..at + leaf.text.len());
        at += leaf.text.len();
    }
    (blank_len(&text[at..]) == text.len() - at).then_some(places)
}

/// Bytes of blanks and comments at the start of a text. Documentation comments are tokens.
fn blank_len(text: &str) -> usize {
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let is_doc = (rest.starts_with("///") && !rest.starts_with("////"))
            || rest.starts_with("//!")
            || rest.starts_with("/*!")
            || (rest.starts_with("/**") && !rest.starts_with("/***") && !rest.starts_with("/**/"));
        if is_doc {
            return at;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
        } else if rest.starts_with("/*") {
            let Some(len) = comment_len(rest) else { return at };
            at += len;
        } else {
            match rest.chars().next() {
                Some(c) if c.is_whitespace() || matches!(c, '\u{200e}' | '\u{200f}') => at += c.len_utf8(),
                _ => return at,
            }
        }
    }
}

/// Length of the block comment at the start of a text.
fn comment_len(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut depth, mut at) = (0usize, 0);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return Some(at);
                }
            }
            _ => at += 1,
        }
    }
    None
}

/// The tokens as text, and where each stands in it.
fn print(leaves: &[Leaf]) -> (String, Vec<Range<usize>>) {
    let mut text = String::new();
    let places = leaves
        .iter()
        .map(|leaf| {
            let start = text.len();
            text.push_str(&leaf.text);
            let end = text.len();
            let ends_line = matches!(leaf.text.as_str(), "{" | "}" | ";") || leaf.text.starts_with("//");
            if ends_line {
                text.push('\n');
            } else if !leaf.joint {
                text.push(' ');
            }
            start..end
        })
        .collect();
    (text, places)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(text: &str) -> Vec<Leaf> {
        let mut leaves = vec![];
        flatten(text.parse().unwrap(), &mut leaves);
        leaves
    }

    #[test]
    fn tokens_are_found_between_blanks_and_comments() {
        let text = " /* a /* nested */ one */ kernel k() // grid\n  grid [1]\t{ x[0..+B] >>= 1.5f32; } // end";
        let found = align(text, &leaves(text)).unwrap();
        let words: Vec<&str> = found.into_iter().map(|range| &text[range]).collect();
        assert_eq!(words.join(" "), "kernel k ( ) grid [ 1 ] { x [ 0 . . + B ] > > = 1.5f32 ; }");
    }

    #[test]
    fn other_tokens_are_not_found() {
        for (text, tokens) in [("kernel k", "kernel j"), ("a b c", "a b"), ("a b", "a b c"), ("a", "")] {
            assert!(align(text, &leaves(tokens)).is_none(), "{text} | {tokens}");
        }
        assert_eq!(align(" // nothing\n", &[]).map(|p| p.len()), Some(0));
    }

    #[test]
    fn printed_tokens_are_the_same_tokens() {
        let text =
            "kernel k<T: float>(x: mut tensor<T, [N]>) grid [cdiv(N, 64)] { let a = x[0..+64]; x[0..+64] = a >> 1 != -2.0e3; }";
        let (printed, places) = print(&leaves(text));
        assert_eq!(places.len(), leaves(text).len());
        let texts = |text: &str| leaves(text).into_iter().map(|l| (l.text, l.joint)).collect::<Vec<_>>();
        assert_eq!(texts(&printed), texts(text));
    }

    #[test]
    fn the_inside_of_a_call() {
        let source = "kiln::kernels! { a [b] }";
        assert_eq!(&source[inside(source).unwrap()], " a [b] ");
        let source = "include_kernels!(\"x{.kiln\")";
        assert_eq!(&source[inside(source).unwrap()], "\"x{.kiln\"");
        assert_eq!(inside("{}"), None);
    }

    #[test]
    fn places_without_tokens_lead_to_the_nearest() {
        let places = [(0..3, Span::call_site()), (5..6, Span::call_site())].to_vec();
        let input = Input { text: "abc  d".to_owned(), lines_above: 0, columns_before: 0, places };
        // All spans are alike here: what is tested is that no range is out of bounds.
        for range in [0..0, 3..3, 4..4, 6..6, 0..6, 100..100] {
            let _ = input.tokens(range);
        }
        let empty = Input { text: String::new(), lines_above: 0, columns_before: 0, places: vec![] };
        let _ = empty.tokens(0..0);
    }
}
