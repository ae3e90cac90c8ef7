//! Diagnostics as errors and warnings of the Rust compiler.
//!
//! An error is a `compile_error!` whose tokens stand where the diagnostic's first place is. A warning is the use of a constant that is deprecated for the warning's
//! reason: on stable Rust, a macro has no other way to warn.

use kiln_syntax::diagnostic::{Diagnostic, Label, Severity};
use kiln_syntax::render::{Color, render};
use kiln_syntax::source::SourceMap;
use kiln_syntax::span::Span as Place;
use proc_macro2::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};
use quote::quote_spanned;

/// Where a diagnostic is shown, and how.
pub enum Shown<'a> {
    /// The root file's text is Rust source: at its tokens.
    Tokens(&'a dyn Fn(Place) -> Option<(Span, Span)>),
    /// All of it at one token, with the source it is about.
    At(Span),
}

/// A diagnostic as Rust.
pub fn tokens(diagnostic: &Diagnostic, sources: &SourceMap, shown: &Shown<'_>) -> TokenStream {
    let place = match shown {
        Shown::Tokens(find) => diagnostic.span().and_then(find),
        Shown::At(_) => None,
    };
    let (message, (first, last)) = match (place, shown) {
        (Some(place), _) => (message(diagnostic, sources), place),
        (None, Shown::At(span)) => (rendered(diagnostic, sources), (*span, *span)),
        (None, Shown::Tokens(_)) => (rendered(diagnostic, sources), (Span::call_site(), Span::call_site())),
    };
    match diagnostic.severity {
        Severity::Error => error(&message, first, last),
        Severity::Warning => warning(&message, first),
        Severity::Note => TokenStream::new(),
    }
}

/// `compile_error!` over the tokens from `first` to `last`.
pub fn error(message: &str, first: Span, last: Span) -> TokenStream {
    let at = |mut token: TokenTree, span: Span| {
        token.set_span(span);
        token
    };
    let colon = |spacing| TokenTree::Punct(Punct::new(':', spacing));
    let mut literal = Literal::string(message);
    literal.set_span(last);
    let body = TokenStream::from(TokenTree::Literal(literal));
    // The compiler shows an error of a macro from the first to the last token of its call.
    [
        at(colon(Spacing::Joint), first),
        at(colon(Spacing::Alone), first),
        Ident::new("core", first).into(),
        at(colon(Spacing::Joint), first),
        at(colon(Spacing::Alone), first),
        Ident::new("compile_error", first).into(),
        at(TokenTree::Punct(Punct::new('!', Spacing::Alone)), first),
        at(TokenTree::Group(Group::new(Delimiter::Brace, body)), last),
    ]
    .into_iter()
    .collect()
}

fn warning(message: &str, at: Span) -> TokenStream {
    quote_spanned! { at =>
        const _: () = {
            #[deprecated(note = #message)]
            const KERNEL_WARNING: () = ();
            KERNEL_WARNING
        };
    }
}

/// The message for a reader who sees the place in Rust source: what the labels, notes and helps say in words.
fn message(diagnostic: &Diagnostic, sources: &SourceMap) -> String {
    let mut lines = vec![format!("{} [{}]", diagnostic.message, diagnostic.code)];
    let main = diagnostic.span();
    for label in diagnostic.labels.iter().filter(|label| !label.message.is_empty()) {
        lines.push(match Some(label.span) == main {
            true => format!("= {}", label.message),
            false => format!("= {}: {}", place(label, sources), label.message),
        });
    }
    lines.extend(diagnostic.notes.iter().map(|note| format!("= note: {note}")));
    for help in &diagnostic.helps {
        let change = help.suggestion.as_ref().filter(|s| !s.replacement.is_empty() && !help.message.contains(&s.replacement));
        lines.push(match change {
            Some(suggestion) => format!("= help: {}: `{}`", help.message, suggestion.replacement.trim()),
            None => format!("= help: {}", help.message),
        });
    }
    lines.join("\n")
}

/// Another place of a diagnostic, in words.
fn place(label: &Label, sources: &SourceMap) -> String {
    let snippet = sources.snippet(label.span);
    let line = snippet.lines().next().unwrap_or_default();
    let dots = if line.len() < snippet.len() { " .." } else { "" };
    format!("`{line}{dots}` ({})", sources.place(label.span))
}

/// The message for a reader who does not see the source.
fn rendered(diagnostic: &Diagnostic, sources: &SourceMap) -> String {
    let text = render(diagnostic, sources, Color::Never);
    let text = text.trim_end();
    // The Rust compiler says `error: ` itself.
    let prefix = format!("{}[{}]: ", diagnostic.severity.word(), diagnostic.code);
    match text.strip_prefix(&prefix) {
        Some(rest) => {
            let (first, rest) = rest.split_once('\n').unwrap_or((rest, ""));
            format!("{first} [{}]\n{rest}", diagnostic.code).trim_end().to_owned()
        }
        None => text.to_owned(),
    }
}
