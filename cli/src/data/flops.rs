//! `--flops`: a small expression over dimensions and constants.

use anyhow::{Result, bail};

/// The expression's value. `names` gives the value of a name.
pub fn evaluate(text: &str, names: &dyn Fn(&str) -> Option<f64>) -> Result<f64> {
    let mut parser = Parser { rest: text.trim_start(), whole: text, names, depth: 0 };
    let value = parser.sum()?;
    if !parser.rest.is_empty() {
        bail!("`{text}`: `{}` is not understood; an expression has numbers, names, + - * / and parentheses", parser.rest);
    }
    if !value.is_finite() || value < 0.0 {
        bail!("`{text}` is {value}, which is no number of operations");
    }
    Ok(value)
}

struct Parser<'a> {
    rest: &'a str,
    whole: &'a str,
    names: &'a dyn Fn(&str) -> Option<f64>,
    depth: u32,
}

impl<'a> Parser<'a> {
    fn eat(&mut self, symbol: char) -> bool {
        match self.rest.strip_prefix(symbol) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    /// The longest prefix of characters that fit.
    fn word(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start();
        word
    }

    fn sum(&mut self) -> Result<f64> {
        let mut value = self.product()?;
        loop {
            if self.eat('+') {
                value += self.product()?;
            } else if self.eat('-') {
                value -= self.product()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn product(&mut self) -> Result<f64> {
        let mut value = self.atom()?;
        loop {
            if self.eat('*') {
                value *= self.atom()?;
            } else if self.eat('/') {
                value /= self.atom()?;
            } else {
                return Ok(value);
            }
        }
    }

    fn atom(&mut self) -> Result<f64> {
        if self.eat('(') {
            self.depth += 1;
            if self.depth > 100 {
                bail!("`{}` is nested too deeply", self.whole);
            }
            let value = self.sum()?;
            self.depth -= 1;
            if !self.eat(')') {
                bail!("`{}`: a `)` is missing", self.whole);
            }
            return Ok(value);
        }
        match self.rest.chars().next() {
            Some(c) if c.is_ascii_digit() || c == '.' => {
                let word = self.word(|c| c.is_ascii_digit() || c == '.');
                word.parse().map_err(|_| anyhow::anyhow!("`{word}` is not a number"))
            }
            Some(c) if c.is_alphabetic() || c == '_' => {
                let name = self.word(|c| c.is_alphanumeric() || c == '_');
                match (self.names)(name) {
                    Some(value) => Ok(value),
                    None => bail!("`{}`: the kernel has no dimension or constant `{name}`", self.whole),
                }
            }
            _ => bail!("`{}`: a number or name is missing", self.whole),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_computed_or_refused() {
        let names = |name: &str| (name == "M").then_some(10.0);
        let eval = |text: &str| evaluate(text, &names);
        assert_eq!(eval("2*M*(M+1)/4 - 5").unwrap(), 50.0);
        assert_eq!(eval(" 1.5 ").unwrap(), 1.5);
        for bad in ["", "N", "2*", "(1", "1)", "1 2", "1/0", "-1", "M-11", "1..2", "2^3", &"(".repeat(5000)] {
            assert!(eval(bad).is_err(), "{bad}");
        }
    }
}
