//! K01xx: syntax.

codes! {
    UNEXPECTED_TOKEN = "K0100", "unexpected token", r#"
The parser met something that cannot stand at this place. The message names what was found and what could stand there instead.

```kiln,error
const A: i32 = 1 +;
```

Complete the construct:

```kiln
const A: i32 = 1 + 2;
```
"#;
}
