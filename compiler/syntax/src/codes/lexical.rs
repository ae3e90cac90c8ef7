//! K00xx: characters and literals.

codes! {
    UNKNOWN_CHARACTER = "K0001", "unknown character", r#"
A character that no token of the language has, such as `@`, `~` or `$`.

```kiln,error
fn f(a: i32) -> i32 { ~a }
```

The bitwise complement is `!`, a matrix product is `dot(a, b)`:

```kiln
fn f(a: i32) -> i32 { !a }
```
"#;
    SINGLE_QUOTE = "K0002", "single quotes are not part of the language", r#"
There are no character literals, lifetimes or labels. This keeps every Kiln text valid as the input of a Rust macro.

```kiln,error
const LETTER: u8 = 'a';
```

A character's code is a number:

```kiln
const LETTER: u8 = 97;
```
"#;
    POINT_WITHOUT_DIGITS = "K0003", "a number needs a digit on both sides of its point", r#"
`1.` and `.5` are not numbers: one reads like a method call, the other like a range.

```kiln,error
const HALF: f32 = .5;
```

```kiln
const HALF: f32 = 0.5;
```
"#;
    EMPTY_EXPONENT = "K0004", "the exponent has no digits", r#"
Behind the `e` of a number stands its exponent.

```kiln,error
const SMALL: f32 = 1e;
```

```kiln
const SMALL: f32 = 1e-5;
```
"#;
    UNKNOWN_SUFFIX = "K0005", "unknown type suffix of a number", r#"
A number may end in the name of a numeric scalar type: `i8 i16 i32 i64 u8 u16 u32 u64 f16 bf16 f32 f64 f8e4m3 f8e5m2 index`.

```kiln,error
const HALF: f32 = 0.5f;
```

```kiln
const HALF: f32 = 0.5f32;
```
"#;
    INTEGER_SUFFIX = "K0006", "integer suffix on a number with a fraction", r#"
A number with a point or an exponent is a floating-point number and cannot have an integer type.

```kiln,error
const N: i32 = 1.5i32;
```

```kiln
const N: f32 = 1.5f32;
```
"#;
    NO_DIGITS = "K0007", "a number without digits", r#"
Behind `0x`, `0o` and `0b` stand digits of base 16, 8 or 2.

```kiln,error
const MASK: i32 = 0x;
```

```kiln
const MASK: i32 = 0xF;
```
"#;
    DIGIT_OUT_OF_BASE = "K0008", "a digit that the number's base does not have", r#"
A binary number has the digits 0 and 1, an octal one 0 to 7.

```kiln,error
const MASK: i32 = 0b102;
```

```kiln
const MASK: i32 = 0b101;
```
"#;
    INTEGER_TOO_LARGE = "K0009", "an integer too large for any type", r#"
The largest integer type has 64 bits.

```kiln,error
const BIG: f64 = 1000000000000000000000000000000000000000;
```

A large floating-point number is written with an exponent:

```kiln
const BIG: f64 = 1e39;
```
"#;
    UNTERMINATED_STRING = "K0010", "a string that does not end", r#"
A string ends in `"`. A quote inside it is written `\"`.

```kiln,error
kernel k() grid [1] {
    print("hello);
}
```

```kiln
kernel k() grid [1] {
    print("hello");
}
```
"#;
    UNTERMINATED_COMMENT = "K0011", "a block comment that does not end", r#"
Block comments nest, so every `/*` needs its own `*/`.

```kiln,error
/* outer /* inner */
const A: i32 = 1;
```

```kiln
/* outer /* inner */ */
const A: i32 = 1;
```
"#;
    BAD_ESCAPE = "K0012", "a bad escape in a string", r#"
The escapes are `\n`, `\r`, `\t`, `\0`, `\\`, `\"`, `\'`, `\x41` (two hexadecimal digits up to 7f) and `\u{1f600}`.

```kiln,error
kernel k() grid [1] {
    print("50\%");
}
```

```kiln
kernel k() grid [1] {
    print("50%");
}
```
"#;
    STRING_PREFIX = "K0013", "a string with a prefix", r#"
Raw strings, byte strings and C strings are not part of the language.

```kiln,error
kernel k() grid [1] {
    print(r"a\b");
}
```

```kiln
kernel k() grid [1] {
    print("a\\b");
}
```
"#;
    RAW_IDENTIFIER = "K0014", "a raw identifier", r#"
`r#name` is not a name: names of kernels, parameters and dimensions are used as Rust names as they are.

```kiln,error
const r#type: i32 = 1;
```

```kiln
const kind: i32 = 1;
```
"#;
}
