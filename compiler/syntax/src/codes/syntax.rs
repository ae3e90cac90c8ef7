//! K01xx: syntax.

codes! {
    UNEXPECTED_TOKEN = "K0100", "unexpected token", r#"
The parser met something that cannot stand at this place. The message names what was found and what could stand there instead.

```kiln,error
const A: i32 = 1 + * ;
```

Complete the construct:

```kiln
const A: i32 = 1 + 2;
```
"#;
    RESERVED_WORD = "K0101", "a reserved word", r#"
Every keyword of Rust is reserved, because names of kernels, parameters and dimensions become Rust names in the generated interface. Some of
these words stand for constructs that Kiln does without: there is no `break`, `continue`, `loop` or `match`.

```kiln,error
fn first(x: tensor<i32, [N]>, v: i32) -> index {
    let mut i = 0 as index;
    while i < N {
        if x[i] == v { break; }
        i += 1;
    }
    i
}
```

The condition goes into the head of the loop (or a flag, `while open && i < N`); what follows a `continue` goes under the opposite condition:

```kiln
fn first(x: tensor<i32, [N]>, v: i32) -> index {
    let mut i = 0 as index;
    while i < N && x[i] != v {
        i += 1;
    }
    i
}
```
"#;
    COMPARISON_CHAIN = "K0102", "chained comparisons", r#"
`a < b < c` has no meaning of its own, so it is refused.

```kiln,error
fn within(a: i32, b: i32, c: i32) -> bool { a < b < c }
```

```kiln
fn within(a: i32, b: i32, c: i32) -> bool { a < b && b < c }
```
"#;
    BITWISE_MASK = "K0103", "a bitwise operator between comparisons", r#"
As in Rust, `&` and `|` bind stronger than the comparisons, so `a < n & b < m` is `a < (n & b) < m`. Masks are combined with `&&` and `||`,
which work lane by lane on tiles.

```kiln,error
fn mask(a: index, n: index, b: index, m: index) -> bool { a < n & b < m }
```

```kiln
fn mask(a: index, n: index, b: index, m: index) -> bool { a < n && b < m }
```
"#;
    MISSING_SEMICOLON = "K0104", "a missing semicolon", r#"
Statements end in `;`. Only the closing expression of a block, its value, has none.

```kiln,error
fn f(x: f32) -> f32 {
    let y = x * x
    y + 1.0
}
```

```kiln
fn f(x: f32) -> f32 {
    let y = x * x;
    y + 1.0
}
```
"#;
    GLUED_DEFAULT = "K0105", "a default glued to a closing `>`", r#"
`>=` is one token, so a default value behind `<..>` needs a blank in front of its `=`.

```kiln,error
kernel k<T: any, S: any = tile<T>>(x: tensor<T, [N]>= y) grid [N] {}
```

```kiln
fn f(x: tile<f32, [4]> = y) {}
```
"#;
    IF_AS_OPERAND = "K0106", "an `if` as an operand", r#"
An `if` gives a value, but it is no operand: `if c { a } else { b } - x` would have two readings at the start of a statement.

```kiln,error
fn f(c: bool) -> i32 { 1 + if c { 1 } else { 2 } }
```

```kiln
fn f(c: bool) -> i32 { 1 + (if c { 1 } else { 2 }) }
```
"#;
    MISSING_COMMA = "K0107", "a missing comma", r#"
The entries of a list are separated by commas; one behind the last entry is allowed.

```kiln,error
const LUT: tile<f32, [2]> = [1.0 2.0];
```

```kiln
const LUT: tile<f32, [2]> = [1.0, 2.0];
```
"#;
    KERNEL_HEAD = "K0108", "a malformed head of a kernel", r#"
The head of a kernel is `kernel name<generics>(parameters) grid [..] requires .. { body }`: the grid is always there and comes before
`requires`; there is no result.

```kiln,error
kernel k(y: mut tensor<f32, [N]>) requires N > 0 grid [N] { y[program_id(0)] = 0.0; }
```

```kiln
kernel k(y: mut tensor<f32, [N]>) grid [N] requires N > 0 { y[program_id(0)] = 0.0; }
```
"#;
    TOO_DEEP = "K0109", "nested too deeply", r#"
Expressions, types and blocks may be nested some 250 levels deep; a chain of operators counts as one level an operator. Code that needs more
is generated code: let the generator give parts of it names with `let`, or put them into functions.

```kiln
fn f(x: f32) -> f32 {
    let low = x + 1.0;
    let high = low * x;
    high + low
}
```
"#;
    UNCLOSED_DELIMITER = "K0110", "a delimiter that is not closed", r#"
Every `(`, `[` and `{` needs its partner. The message shows the opening one, and the place where the closing one is missed.

```kiln,error
fn f(x: f32) -> f32 { max(x, 1.0 }
```

```kiln
fn f(x: f32) -> f32 { max(x, 1.0) }
```
"#;
    STRAY_CLOSING = "K0111", "a closing delimiter without partner", r#"
Nothing is open that this `)`, `]` or `}` could close, or something else is.

```kiln,error
fn f(x: f32) -> f32 { max(x, 1.0)) }
```

```kiln
fn f(x: f32) -> f32 { max(x, 1.0) }
```
"#;
    ATTRIBUTE_BEFORE_TAIL = "K0112", "something in front of a closing expression", r#"
Attributes and documentation belong to items and statements. The closing expression of a block is neither.

```kiln,error
fn f(x: f32) -> f32 {
    #[stages(2)]
    x
}
```

```kiln
fn f(x: f32) -> f32 {
    x
}
```
"#;
    EMPTY_ATTRIBUTE_GROUP = "K0113", "an empty group in an attribute", r#"
`;` separates groups of arguments, such as the spaces of `#[tune]`. Only the last group may be empty.

```kiln,error
#[tune(; B = [1, 2])] kernel k<const B: int = 1>() grid [1] {}
```

```kiln
#[tune(B = [1, 2];)] kernel k<const B: int = 1>() grid [1] {}
```
"#;
    CLOSURE_PLACE = "K0114", "a closure that is no argument", r#"
A closure is passed to the function that calls it; it cannot be stored, and it has at least one parameter. What is used twice is a `fn`.

```kiln,error
fn f(x: tile<f32, [8]>) -> f32 {
    let add = |a, b| a + b;
    reduce(x, axis = 0, add)
}
```

```kiln
fn f(x: tile<f32, [8]>) -> f32 { reduce(x, axis = 0, |a, b| a + b) }
```
"#;
    STRAY_DOC = "K0115", "documentation or an attribute that belongs to nothing", r#"
`///` documents the item, parameter or statement behind it, `//!` the file, at its very top. Comments that explain code are `//`.

```kiln,error
fn f(x: f32) -> f32 { x + /// the rest
 1.0 }
```

```kiln
fn f(x: f32) -> f32 { x + // the rest
 1.0 }
```
"#;
    NO_FIELDS = "K0116", "a field of a value", r#"
Values have no fields, only methods: `x.dim(0)`. A tuple is taken apart by a pattern.

```kiln,error
fn f(t: (f32, f32)) -> f32 { t.0 }
```

```kiln
fn f(t: (f32, f32)) -> f32 {
    let (a, _) = t;
    a
}
```
"#;
    RANGE_FORM = "K0117", "a range of a form that does not exist", r#"
A range has two ends, the second excluded: `a..b`. In an index there is also `start..+LEN` for a tile of constant length and `:` for a whole axis.
Ranges stand in indexes, heads of `for`, arguments and parentheses.

```kiln,error
fn f(n: i32) { for i in 0..=n { print(i); } }
```

```kiln
fn f(n: i32) { for i in 0..n + 1 { print(i); } }
```
"#;
    FOREIGN_OPERATOR = "K0118", "an operator or a word of another language", r#"
Kiln has Rust's operators on numbers: no `++`, `**`, `?:`, `:=`, `=>`, `and`, `or`, `not`, no references and no `*p`.

```kiln,error
fn f(x: f32) -> f32 { x ** 2.0 }
```

```kiln
fn f(x: f32) -> f32 { pow(x, 2.0) }
```
"#;
    ASSIGNMENT_AS_VALUE = "K0119", "an assignment used as a value", r#"
`=` assigns and is a statement; `==` compares.

```kiln,error
fn f(x: i32) -> i32 { if x = 1 { 2 } else { 3 } }
```

```kiln
fn f(x: i32) -> i32 { if x == 1 { 2 } else { 3 } }
```
"#;
    ITEM_PLACE = "K0120", "an item or statement at the wrong place", r#"
A file consists of items: `kernel`, `fn`, `const`, `use`. Bodies consist of statements. Items do not nest.

```kiln,error
let scale: f32 = 2.0;
```

```kiln
const SCALE: f32 = 2.0;
```
"#;
    MISSING_TYPE = "K0121", "a parameter without its type or class", r#"
Parameters and constants are written `name: type`, type parameters `T: class`.

```kiln,error
fn f<T>(x: T) -> T { x }
```

```kiln
fn f<T: num>(x: T) -> T { x }
```
"#;
    MISSING_BRACES = "K0122", "a body without braces", r#"
The body of an `if`, `else`, `for` or `while` stands in braces.

```kiln,error
fn f(x: i32) -> i32 { if x > 0 return 1; 0 }
```

```kiln
fn f(x: i32) -> i32 { if x > 0 { 1 } else { 0 } }
```
"#;
    TURBOFISH = "K0123", "generic arguments read as comparisons", r#"
In an expression, `<` compares. Generic arguments of a call stand in `::<..>`; `as` takes a scalar type only.

```kiln,error
fn f() -> tile<f32, [4]> { zeros<f32>([4]) }
```

```kiln
fn f() -> tile<f32, [4]> { zeros::<f32>([4]) }
```
"#;
    MUT_PLACE = "K0124", "`mut` at the wrong place", r#"
Of a parameter, the type is `mut` (it may be written to): `x: mut tensor<T, [N]>`. Of a pattern, single names are: `(mut a, b)`.

```kiln,error
kernel k(mut x: tensor<f32, [N]>) grid [N] { x[program_id(0)] = 0.0; }
```

```kiln
kernel k(x: mut tensor<f32, [N]>) grid [N] { x[program_id(0)] = 0.0; }
```
"#;
    LET_WITHOUT_VALUE = "K0125", "a binding without a value", r#"
Every name has a value from the start.

```kiln,error
fn f(c: bool) -> i32 { let x: i32; if c { x = 1; } else { x = 2; } x }
```

```kiln
fn f(c: bool) -> i32 { let x = if c { 1 } else { 2 }; x }
```
"#;
    FOR_HEAD = "K0126", "a malformed head of a `for`", r#"
A `for` counts over a range: `for i in a..b`, `(a..b).step_by(s)`, `(a..b).rev()` or `unroll(a..b)`.

```kiln,error
fn f(n: i32) { for (i = 0; i < n; i += 1) { print(i); } }
```

```kiln
fn f(n: i32) { for i in 0..n { print(i); } }
```
"#;
    AXIS_COLONS = "K0127", "colons in an index", r#"
`:` alone is a whole axis. `::` separates the names of a path, and the ends of a range are separated by `..`.

```kiln,error
fn f(x: tensor<f32, [M, N]>) { let y = x[::]; }
```

```kiln
fn f(x: tensor<f32, [M, N]>) { let y = x[:, :]; }
```
"#;
    DEFAULT_COMPARISON = "K0128", "a comparison in a generic default", r#"
In `<..>` a `>` ends the list, so a default is a sum at most; anything else goes in parentheses.

```kiln,error
kernel k<const N: int, const WIDE: bool = N > 1024>() grid [1] {}
```

```kiln
kernel k<const N: int, const WIDE: bool = (N > 1024)>() grid [1] {}
```
"#;
    STRAY_SEMICOLON = "K0129", "a stray semicolon", r#"
Blocks of `for`, `while` and `if` and the bodies of kernels and functions are not followed by `;`, and there are no empty statements.

```kiln,error
fn f(n: i32) { for i in 0..n { print(i); }; }
```

```kiln
fn f(n: i32) { for i in 0..n { print(i); } }
```
"#;
    MORE_ERRORS = "K0130", "more errors than are shown", r#"
Of a file with very many lexical and syntax errors only the first hundred are shown. Mostly such a file is not a kernel file, or has one
mistake near its start that everything else follows from: mend the first errors and try again.

```kiln
const A: i32 = 1;
```
"#;
}
