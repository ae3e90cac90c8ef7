//! The small attributes of the text form: constants, names, facts, schedules.

use std::fmt;

use crate::func::{IntFact, ParamInfo};
use crate::inst::{Combine, Const};
use crate::signature::Schedule;

/// A constant. Integers have no point; floats have a point, an exponent, or are `inf`, `nan` (the usual quiet one) or `float 0x..` (other NaN bits).
pub(super) struct ConstText(pub Const);

impl fmt::Display for ConstText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Const::Int(v) => write!(f, "{v}"),
            Const::Float(v) if v.to_bits() == f64::NAN.to_bits() => f.write_str("nan"),
            Const::Float(v) if v.is_nan() => write!(f, "float 0x{:016x}", v.to_bits()),
            Const::Float(v) => write!(f, "{v:?}"),
        }
    }
}

/// The name of a builtin combination, or `region`.
pub(super) fn combine_name(combine: Combine) -> &'static str {
    match combine {
        Combine::Add => "add",
        Combine::Mul => "mul",
        Combine::Max => "max",
        Combine::Min => "min",
        Combine::FMax => "fmax",
        Combine::FMin => "fmin",
        Combine::And => "and",
        Combine::Or => "or",
        Combine::Xor => "xor",
        Combine::ArgMax => "argmax",
        Combine::ArgMin => "argmin",
        Combine::Region(_) => "region",
    }
}

/// The builtin combination of that name.
pub(super) fn combine_from_name(name: &str) -> Option<Combine> {
    use Combine::*;
    [Add, Mul, Max, Min, FMax, FMin, And, Or, Xor, ArgMax, ArgMin].into_iter().find(|&c| combine_name(c) == name)
}

/// A name as it stands in the text: bare when it is an identifier, else quoted.
pub(super) fn name(text: &str) -> String {
    let mut chars = text.chars();
    let ident =
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_') && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
    if ident { text.to_owned() } else { quoted(text) }
}

/// A string literal with Rust's escapes.
pub(super) fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// `?`, `=128`, `?%16`, `?%16<=4096`: exact value or unknown, divisor, bound.
struct FactText(IntFact);

impl fmt::Display for FactText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IntFact { known, divisor, max } = self.0;
        match known {
            Some(v) => write!(f, "={v}")?,
            None => f.write_str("?")?,
        }
        if divisor != 1 {
            write!(f, "%{divisor}")?;
        }
        match max {
            _ if max == known => Ok(()),
            Some(max) => write!(f, "<={max}"),
            None => f.write_str("<=none"),
        }
    }
}

/// `{number 0, align 16, dims [?%16], strides [=1], may_alias, name "x"}`; the name only when the value's differs.
pub(super) struct ParamText<'a> {
    pub info: &'a ParamInfo,
    pub value_name: Option<&'a str>,
}

impl fmt::Display for ParamText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{number {}", self.info.number)?;
        if let Some(facts) = &self.info.tensor {
            write!(f, ", align {}", facts.align)?;
            for (label, list) in [("dims", &facts.dims), ("strides", &facts.strides)] {
                let list: Vec<String> = list.iter().map(|&fact| FactText(fact).to_string()).collect();
                write!(f, ", {label} [{}]", list.join(", "))?;
            }
            if facts.may_alias {
                f.write_str(", may_alias")?;
            }
        }
        if self.value_name != Some(&*self.info.name) {
            write!(f, ", name {}", quoted(&self.info.name))?;
        }
        f.write_str("}")
    }
}

/// ` schedule {warps 4, persistent}`, nothing for the default.
pub(super) struct ScheduleText<'a>(pub &'a Schedule);

impl fmt::Display for ScheduleText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = self.0;
        if *s == Schedule::default() {
            return Ok(());
        }
        let mut parts = Vec::new();
        let numbers =
            [("warps", s.warps), ("stages", s.stages), ("group", s.group), ("split_k", s.split_k), ("max_regs", s.max_regs)];
        for (label, value) in numbers {
            parts.extend(value.map(|v| format!("{label} {v}")));
        }
        parts.extend(s.cluster.map(|[x, y, z]| format!("cluster [{x}, {y}, {z}]")));
        let flags = [
            ("persistent", s.persistent),
            ("ping_pong", s.ping_pong),
            ("specialize", s.specialize),
            ("cooperative", s.cooperative),
            ("pdl", s.pdl),
        ];
        parts.extend(flags.into_iter().filter(|&(_, set)| set).map(|(label, _)| label.to_owned()));
        write!(f, " schedule {{{}}}", parts.join(", "))
    }
}
