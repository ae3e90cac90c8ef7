//! `name=value` arguments as text: files, generated data, shapes, numbers.

use std::path::PathBuf;

use anyhow::{Result, bail};
use kiln_ir::ScalarType;
use kiln_ir::signature::Number;

/// What stands behind `name=`.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgSpec {
    /// `@file.npy`, `@file.npz:entry`, `@file.safetensors:entry`.
    File {
        /// The file.
        path: PathBuf,
        /// Entry of a file that holds several.
        entry: Option<String>,
    },
    /// `@text.txt:u8`, `@image.raw:f32[480, 640]`: a file's bytes as they are.
    Raw {
        /// The file.
        path: PathBuf,
        /// Elements, little-endian.
        ty: ScalarType,
        /// Extents; without them one, as long as the file.
        dims: Option<Vec<i64>>,
    },
    /// `randn(64, 64):f16`.
    Generate(Generated),
    /// `f16[64, 64]`: a type and a shape, without data.
    Shape {
        /// Elements.
        ty: ScalarType,
        /// Extents.
        dims: Vec<i64>,
    },
    /// `1e-5`, `3`, `true`.
    Number(Number),
}

/// A call of a generator.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// Which one.
    pub kind: Generator,
    /// Extents.
    pub dims: Vec<i64>,
    /// Element type, where one is named.
    pub ty: Option<ScalarType>,
}

/// Generators with their parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Generator {
    /// One value everywhere.
    Full(f64),
    /// `start, start + 1, ..`
    Arange(i64),
    /// Uniform in `lo..hi`.
    Rand(f64, f64),
    /// Normal with mean and standard deviation.
    Randn(f64, f64),
    /// Uniform integers in `lo..hi`.
    Randint(i64, i64),
}

/// How data is written, for error messages and help.
pub const GENERATORS: &str = "zeros(DIMS), ones(DIMS), full(DIMS, value=V), arange(N) or arange(LO..HI), rand(DIMS[, lo=0, hi=1]), \
                              randn(DIMS[, mean=0, std=1]), randint(LO..HI, DIMS)";

/// Splits `name=value`.
pub fn split(text: &str) -> Result<(&str, &str)> {
    match text.split_once('=') {
        Some((name, value)) if !name.trim().is_empty() && !value.trim().is_empty() => Ok((name.trim(), value.trim())),
        _ => bail!("`{text}` is not of the form NAME=VALUE"),
    }
}

impl ArgSpec {
    /// Reads the text behind `name=`.
    pub fn parse(text: &str) -> Result<ArgSpec> {
        if let Some(file) = text.strip_prefix('@') {
            return file_spec(file);
        }
        if let Some(number) = number(text) {
            return Ok(ArgSpec::Number(number));
        }
        if let Some((name, rest)) = text.split_once('(') {
            return generated(name.trim(), rest).map(ArgSpec::Generate);
        }
        if text.contains('[') {
            let (ty, dims) = typed_shape(text)?;
            return Ok(ArgSpec::Shape { ty, dims });
        }
        bail!("`{text}` is neither a number, nor a file (`@x.npy`), nor generated data ({GENERATORS})")
    }
}

/// `f16[64, 64]`.
fn typed_shape(text: &str) -> Result<(ScalarType, Vec<i64>)> {
    let (ty, rest) = text.split_once('[').unwrap_or((text, ""));
    let Some(dims) = rest.trim_end().strip_suffix(']') else { bail!("`{text}`: a `]` is missing") };
    Ok((scalar_type(ty)?, split_list(dims).map(extent).collect::<Result<_>>()?))
}

fn file_spec(text: &str) -> Result<ArgSpec> {
    let lower = text.to_ascii_lowercase();
    // Names of entries may hold colons, names of files in front of them too: the ending of the file's name tells where it ends.
    let named = [".npz:", ".safetensors:"].iter().find_map(|end| Some(lower.find(end)? + end.len()));
    let is_array = [".npy", ".npz", ".safetensors"].iter().any(|end| lower.ends_with(end));
    let (path, entry) = match (named, text.rsplit_once(':')) {
        (Some(at), _) => (&text[..at - 1], Some(text[at..].to_owned())),
        (None, Some((path, ty))) if !is_array && !path.is_empty() => {
            let (ty, dims) = match ty.contains('[') {
                true => typed_shape(ty).map(|(ty, dims)| (ty, Some(dims)))?,
                false => (scalar_type(ty)?, None),
            };
            return Ok(ArgSpec::Raw { path: path.into(), ty, dims });
        }
        _ => (text, None),
    };
    if path.is_empty() {
        bail!("a file's name is missing behind `@`");
    }
    Ok(ArgSpec::File { path: path.into(), entry })
}

/// An integer (decimal or hexadecimal, `_` allowed), a float (`1e-5`, `inf`, `-inf`, `nan`) or a bool.
pub fn number(text: &str) -> Option<Number> {
    match text {
        "true" => return Some(Number::Bool(true)),
        "false" => return Some(Number::Bool(false)),
        _ => {}
    }
    let digits = text.replace('_', "");
    let (negative, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.as_str()),
    };
    let unsigned = match magnitude.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => magnitude.parse::<u64>().ok().filter(|_| magnitude.starts_with(|c: char| c.is_ascii_digit())),
    };
    if let Some(value) = unsigned {
        return if negative {
            i64::try_from(-i128::from(value)).ok().map(Number::Int)
        } else {
            Some(i64::try_from(value).map_or(Number::UInt(value), Number::Int))
        };
    }
    let float_like = magnitude.starts_with(|c: char| c.is_ascii_digit() || c == '.') || magnitude == "inf" || magnitude == "nan";
    if float_like { digits.parse::<f64>().ok().map(Number::Float) } else { None }
}

/// A scalar type by name.
pub fn scalar_type(name: &str) -> Result<ScalarType> {
    let name = name.trim();
    match ScalarType::from_name(name) {
        Some(ty) if ty != ScalarType::Index => Ok(ty),
        _ => {
            let known: Vec<&str> = ScalarType::ALL.iter().filter(|t| **t != ScalarType::Index).map(|t| t.name()).collect();
            bail!("there is no element type `{name}`; there are {}", known.join(", "))
        }
    }
}

fn split_list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn extent(text: &str) -> Result<i64> {
    match number(text) {
        Some(Number::Int(v @ 0..)) => Ok(v),
        _ => bail!("`{text}` is not an extent: extents are integers of at least 0"),
    }
}

fn int(text: &str) -> Result<i64> {
    match number(text) {
        Some(Number::Int(v)) => Ok(v),
        _ => bail!("`{text}` is not an integer"),
    }
}

fn float(text: &str) -> Result<f64> {
    match number(text) {
        Some(Number::Int(v)) => Ok(v as f64),
        Some(Number::Float(v)) => Ok(v),
        _ => bail!("`{text}` is not a number"),
    }
}

fn range(text: &str) -> Result<(i64, i64)> {
    let Some((lo, hi)) = text.split_once("..") else { bail!("`{text}` is not a range such as `0..10`") };
    let (lo, hi) = (int(lo.trim())?, int(hi.trim())?);
    if lo >= hi {
        bail!("the range `{text}` is empty");
    }
    Ok((lo, hi))
}

/// `rest` is what follows `name(`.
fn generated(name: &str, rest: &str) -> Result<Generated> {
    let Some((args, tail)) = rest.split_once(')') else { bail!("`{name}({rest}`: a `)` is missing") };
    let ty = match tail.trim().strip_prefix(':') {
        Some(ty) => Some(scalar_type(ty)?),
        None if tail.trim().is_empty() => None,
        None => bail!("`{tail}` cannot follow `{name}(..)`; an element type is written `:f16`"),
    };
    let mut dims = vec![];
    let mut ranges = vec![];
    let mut named: Vec<(&str, f64)> = vec![];
    for part in split_list(args) {
        if let Some((key, value)) = part.split_once('=') {
            named.push((key.trim(), float(value.trim())?));
        } else if part.contains("..") {
            ranges.push(range(part)?);
        } else {
            dims.push(extent(part)?);
        }
    }
    let mut option = |key: &str, default: f64| match named.iter().position(|(k, _)| *k == key) {
        Some(i) => named.swap_remove(i).1,
        None => default,
    };
    let kind = match (name, ranges.as_slice(), dims.as_slice()) {
        ("zeros", [], _) => Generator::Full(0.0),
        ("ones", [], _) => Generator::Full(1.0),
        ("full", [], _) => Generator::Full(option("value", f64::NAN)),
        ("arange", [], [_]) => Generator::Arange(0),
        ("arange", [(lo, hi)], []) => {
            dims.push(hi - lo);
            Generator::Arange(*lo)
        }
        ("arange", ..) => bail!("`arange` takes a length or a range: `arange(10)`, `arange(5..10)`"),
        ("rand", [], _) => Generator::Rand(option("lo", 0.0), option("hi", 1.0)),
        ("randn", [], _) => Generator::Randn(option("mean", 0.0), option("std", 1.0)),
        ("randint", [(lo, hi)], _) => Generator::Randint(*lo, *hi),
        ("randint", ..) => bail!("`randint` takes a range and extents: `randint(0..10, 64, 64)`"),
        ("zeros" | "ones" | "full" | "rand" | "randn", ..) => bail!("`{name}` takes extents, not a range"),
        _ => {
            let known = ["zeros", "ones", "full", "arange", "rand", "randn", "randint"];
            let hint = crate::suggest::closest(name, known).map_or(String::new(), |k| format!("; did you mean `{k}`?"));
            bail!("there is no generator `{name}`{hint}\nthere are {GENERATORS}")
        }
    };
    if let Some((key, _)) = named.first() {
        bail!("`{name}` does not take `{key}`");
    }
    if name == "full" && matches!(kind, Generator::Full(v) if v.is_nan()) && !args.contains("value") {
        bail!("`full` needs a value: `full(64, 64, value=2.5)`");
    }
    Ok(Generated { kind, dims, ty })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_every_form() {
        let parse = |text: &str| ArgSpec::parse(text).unwrap();
        assert_eq!(parse("1e-5"), ArgSpec::Number(Number::Float(1e-5)));
        assert_eq!(parse("-3"), ArgSpec::Number(Number::Int(-3)));
        assert_eq!(parse("0xff_ff"), ArgSpec::Number(Number::Int(65535)));
        assert_eq!(parse("18446744073709551615"), ArgSpec::Number(Number::UInt(u64::MAX)));
        assert_eq!(parse("-inf"), ArgSpec::Number(Number::Float(f64::NEG_INFINITY)));
        assert_eq!(parse("true"), ArgSpec::Number(Number::Bool(true)));
        assert_eq!(parse("@a/b.npy"), ArgSpec::File { path: "a/b.npy".into(), entry: None });
        assert_eq!(parse("@a.npz:w:1"), ArgSpec::File { path: "a.npz".into(), entry: Some("w:1".into()) });
        assert_eq!(parse("@a.npz:w"), ArgSpec::File { path: "a.npz".into(), entry: Some("w".into()) });
        let raw = |path: &str, dims: Option<&[i64]>| ArgSpec::Raw {
            path: path.into(),
            ty: ScalarType::U8,
            dims: dims.map(<[i64]>::to_vec),
        };
        assert_eq!(parse("@LICENSE:u8"), raw("LICENSE", None));
        assert_eq!(parse("@a.b/c.raw:u8[4, 3]"), raw("a.b/c.raw", Some(&[4, 3])));
        assert_eq!(parse("f16[64, 8]"), ArgSpec::Shape { ty: ScalarType::F16, dims: vec![64, 8] });
        let call = |kind, dims: &[i64], ty| ArgSpec::Generate(Generated { kind, dims: dims.to_vec(), ty });
        assert_eq!(parse("randn(4096, 4_096):bf16"), call(Generator::Randn(0.0, 1.0), &[4096, 4096], Some(ScalarType::BF16)));
        assert_eq!(parse("rand(3, lo=-1, hi=2.5)"), call(Generator::Rand(-1.0, 2.5), &[3], None));
        assert_eq!(parse("arange(5..9):i64"), call(Generator::Arange(5), &[4], Some(ScalarType::I64)));
        assert_eq!(parse("randint(-2..3,7)"), call(Generator::Randint(-2, 3), &[7], None));
        assert_eq!(parse("full(2,value=7)"), call(Generator::Full(7.0), &[2], None));
    }

    #[test]
    fn mistakes_have_messages() {
        for (text, expected) in [
            ("randm(3)", "did you mean `rand"),
            ("randn(3", "`)` is missing"),
            ("randn(3):f17", "no element type `f17`"),
            ("randn(3)f16", "an element type is written `:f16`"),
            ("randn(-3)", "not an extent"),
            ("randn(3.5)", "not an extent"),
            ("randint(3)", "takes a range and extents"),
            ("randint(3..3, 4)", "is empty"),
            ("rand(3, low=1)", "does not take `low`"),
            ("full(3)", "needs a value"),
            ("arange(1,2)", "takes a length or a range"),
            ("f16[3", "`]` is missing"),
            ("index[3]", "no element type `index`"),
            ("@", "file's name is missing"),
            ("@text.txt:byte", "no element type `byte`"),
            ("@text.txt:u8[3", "`]` is missing"),
            ("hello", "neither a number"),
            ("", "neither a number"),
            ("--3", "neither a number"),
            ("1e", "neither a number"),
            ("99999999999999999999(3)", "no generator"),
            ("(", "`)` is missing"),
        ] {
            let error = ArgSpec::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(split("x").is_err() && split("=3").is_err() && split("x=").is_err());
        assert_eq!(split(" x = a=b ").unwrap(), ("x", "a=b"));
    }
}
