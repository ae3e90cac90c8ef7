//! The tree as text: what groups with what, in the order of the precedence table, and every kind of node once.

use kiln_syntax::ast::Item;
use kiln_syntax::dump::{dump, dump_expr};
use kiln_syntax::parse::parse;
use kiln_syntax::source::SourceMap;

fn expr(text: &str) -> String {
    let mut sources = SourceMap::new();
    let file = sources.add("expr.kiln", format!("const A: i32 = {text};"));
    let (tree, diagnostics) = parse(&sources, file);
    assert!(diagnostics.is_empty(), "{text}: {:?}", diagnostics.into_vec());
    match &tree.items[..] {
        [Item::Const(c)] => dump_expr(&c.value),
        other => panic!("{text}: {other:?}"),
    }
}

/// Each operator beside the next weaker one, both ways, and grouping to the left.
#[test]
fn precedence() {
    let table = [
        ("-x[0]", "(- x[0])"),
        ("-f(x).g(y)", "(- f(x).g(y))"),
        ("!-x", "(! (- x))"),
        ("-x as u32", "(as (- x) u32)"),
        ("x as f32 as f16", "(as (as x f32) f16)"),
        ("x as f32 * y", "(* (as x f32) y)"),
        ("a * b / c % d", "(% (/ (* a b) c) d)"),
        ("a + b * c - d", "(- (+ a (* b c)) d)"),
        ("a - b - c", "(- (- a b) c)"),
        ("a << b + c", "(<< a (+ b c))"),
        ("a >> b << c", "(<< (>> a b) c)"),
        ("a & b << c & d", "(& (& a (<< b c)) d)"),
        ("a ^ b & c", "(^ a (& b c))"),
        ("a | b ^ c", "(| a (^ b c))"),
        ("a < b | c", "(< a (| b c))"),
        ("a == b && c != d", "(&& (== a b) (!= c d))"),
        ("a && b || c && d || e", "(|| (|| (&& a b) (&& c d)) e)"),
        ("(a < b) == c", "(== (paren (< a b)) c)"),
        ("x as i32 < y", "(< (as x i32) y)"),
        ("x as u64 << 32", "(<< (as x u64) 32)"),
        ("a >= b", "(>= a b)"),
        ("!CAUSAL || a[None, :] <= b[:, None]", "(|| (! CAUSAL) (<= a[None, :] b[:, None]))"),
    ];
    for (text, tree) in table {
        assert_eq!(expr(text), tree, "{text}");
    }
}

#[test]
fn postfix_and_primary() {
    let table = [
        ("x[m..+2 * B, 0..n, :, i]", "x[(..+ m (* 2 B)), (.. 0 n), :, i]"),
        ("x[a..  + B, c .. +  D]", "x[(..+ a B), (..+ c D)]"),
        ("(0..K).step_by(BK)", "(paren (.. 0 K)).step_by(BK)"),
        ("unroll(0..4)", "unroll((.. 0 4))"),
        ("f(a | b, |a| -a)", "f((| a b), (|a| (- a)))"),
        ("f(|(a, b), mut c: f32| { let d = a; d + b })", "f((|(a, b), mut c: f32| {let d = a; tail (+ d b)}))"),
        ("f(axis = 1, x, y == z)", "f(axis=1, x, (== y z))"),
        ("f::<T::Acc, [A, _], -1, { N + 1 }, BM = 64>(x)", "f::<T::Acc, [A, _], {(- 1)}, {(+ N 1)}, BM = {64}>(x)"),
        ("x.g::<f32>()", "x.g::<f32>()"),
        ("if a { 1 } else if b { 2 } else { 3 }", "(if a {tail 1} (if b {tail 2} {tail 3}))"),
        ("((), (a,), (a, b), [a, b,], None)", "(tuple (tuple) (tuple a) (tuple a b) (list a b) None)"),
        (
            "(1u8, 1e-5f32, 0.5bf16, 0xFF_u16, 0b1_01, 1_000, 1e3, \"a\\n\\u{e9}\", true)",
            "(tuple 1u8 1e-5f32 0.5bf16 255u16 5 1000 1e3 \"a\\né\" true)",
        ),
        ("kernel + grid::requires", "(+ kernel grid::requires)"),
    ];
    for (text, tree) in table {
        assert_eq!(expr(text), tree, "{text}");
    }
}

#[test]
fn whole_file() {
    let text = include_str!("dump/every_node.kiln");
    let mut sources = SourceMap::new();
    let file = sources.add("every_node.kiln", text);
    let (tree, diagnostics) = parse(&sources, file);
    assert!(diagnostics.is_empty(), "{:?}", diagnostics.into_vec());
    insta::assert_snapshot!(dump(&tree));
}
