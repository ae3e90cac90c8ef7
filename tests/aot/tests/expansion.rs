//! The generated Rust, which is what `include_kernels!` and `kernels!` expand to as well: light for editors, documented, and not to be dropped unused.

use proc_macro2::{TokenStream, TokenTree};

const GENERATED: &str = include_str!(concat!(env!("OUT_DIR"), "/softmax.rs"));

/// Bytes of a kernel's documentation at most; nothing else comes near.
const MAX_TOKEN: usize = 2000;

fn longest(tokens: TokenStream) -> usize {
    let length = |token| match token {
        TokenTree::Group(group) => longest(group.stream()),
        other => other.to_string().len(),
    };
    tokens.into_iter().map(length).max().unwrap_or(0)
}

fn count(tokens: TokenStream) -> usize {
    let count_of = |token| if let TokenTree::Group(group) = token { count(group.stream()) } else { 1 };
    tokens.into_iter().map(count_of).sum()
}

#[test]
fn no_token_is_large_and_there_are_few() {
    let tokens: TokenStream = GENERATED.parse().unwrap();
    let longest = longest(tokens.clone());
    assert!((20..MAX_TOKEN).contains(&longest), "a token of {longest} bytes");
    // Two kernels. Compiled code is in files beside it, whatever its size.
    let count = count(tokens);
    assert!(count < 4000, "{count} tokens");
}

#[test]
fn comments_of_kernels_are_documentation() {
    for part in ["y[m, :] = softmax(x[m, :])", "y = x * factor + bias", "`x`: `tensor<T, [M, N]>`"] {
        assert!(GENERATED.contains(part), "`{part}` is not in\n{GENERATED}");
    }
    assert_eq!(GENERATED.matches("#[must_use").count(), 2);
}
