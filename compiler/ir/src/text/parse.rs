//! Parses modules and functions; instructions are in `parse_inst`.

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::TextError;
use super::lex::{Token, error_at, tokens};
use crate::entity::{Block, LayoutId, Value};
use crate::func::{Function, IntFact, ParamInfo, SrcLoc, TensorFacts};
use crate::inst::InstData;
use crate::module::{Module, SourceFile};
use crate::types::{Elem, ScalarType, Type, TypeData};

/// Reads a module in the text form. The result is unchecked.
///
/// # Errors
/// Where the text first departs from the form: line, column, what was expected.
pub fn parse_module(text: &str) -> Result<Module, TextError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0, func: Function::new("", false), values: FxHashMap::default() };
    let mut module = Module::default();
    while *parser.peek() != Token::End {
        if parser.eat_word("file") {
            let number: usize = parser.number()?;
            if number != module.files.len() {
                return Err(parser.error(format!("files are numbered in order; expected {}", module.files.len())));
            }
            let name = parser.string()?;
            let line_starts: Vec<u32> = parser.bracketed(Parser::number)?;
            module.files.push(SourceFile { name: name.into(), line_starts: line_starts.into() });
        } else {
            parser.function(module.funcs.len())?;
            module.funcs.push(std::mem::replace(&mut parser.func, Function::new("", false)));
        }
    }
    Ok(module)
}

/// A result, block parameter or function parameter: number in the text, name, type.
pub(super) struct Definition {
    number: u32,
    name: Option<String>,
    ty: Type,
}

pub(super) type Parse<T> = Result<T, TextError>;

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<(usize, Token<'a>)>,
    at: usize,
    pub(super) func: Function,
    values: FxHashMap<u32, Value>,
}

impl<'a> Parser<'a> {
    // ---- tokens ----

    pub(super) fn peek(&self) -> &Token<'a> {
        &self.tokens[self.at].1
    }

    fn advance(&mut self) -> Token<'a> {
        let token = self.tokens[self.at].1.clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    /// An error at the next token.
    pub(super) fn error(&self, message: String) -> TextError {
        error_at(self.text, self.tokens[self.at].0, message)
    }

    fn expected<T>(&self, what: &str) -> Parse<T> {
        let found = match self.peek() {
            Token::Ident(t) | Token::Number(t) => format!("`{t}`"),
            Token::Str(s) => format!("{s:?}"),
            Token::Punct(p) => format!("`{p}`"),
            Token::End => "the end".to_owned(),
        };
        Err(self.error(format!("expected {what}, found {found}")))
    }

    pub(super) fn eat(&mut self, punct: &str) -> bool {
        let found = matches!(self.peek(), Token::Punct(p) if *p == punct);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect(&mut self, punct: &str) -> Parse<()> {
        if self.eat(punct) { Ok(()) } else { self.expected(&format!("`{punct}`")) }
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Ident(w) if *w == word);
        if found {
            self.advance();
        }
        found
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Parse<()> {
        if self.eat_word(word) { Ok(()) } else { self.expected(&format!("`{word}`")) }
    }

    pub(super) fn word(&mut self, what: &str) -> Parse<&'a str> {
        match *self.peek() {
            Token::Ident(w) => {
                self.advance();
                Ok(w)
            }
            _ => self.expected(what),
        }
    }

    pub(super) fn string(&mut self) -> Parse<String> {
        match self.peek() {
            Token::Str(s) => {
                let s = s.clone();
                self.advance();
                Ok(s)
            }
            _ => self.expected("a string"),
        }
    }

    /// An identifier or a string.
    fn name(&mut self) -> Parse<String> {
        match self.peek() {
            Token::Str(_) => self.string(),
            _ => self.word("a name").map(str::to_owned),
        }
    }

    /// A decimal integer that fits `T`.
    pub(super) fn number<T: std::str::FromStr>(&mut self) -> Parse<T> {
        if let Token::Number(text) = *self.peek()
            && let Ok(value) = text.parse()
        {
            self.advance();
            return Ok(value);
        }
        self.expected("an integer in range")
    }

    /// The number as written.
    pub(super) fn number_text(&mut self) -> Parse<&'a str> {
        match *self.peek() {
            Token::Number(text) => {
                self.advance();
                Ok(text)
            }
            _ => self.expected("a number"),
        }
    }

    /// `[x, y, ..]`.
    pub(super) fn bracketed<T, L: FromIterator<T>>(&mut self, item: impl FnMut(&mut Self) -> Parse<T>) -> Parse<L> {
        self.expect("[")?;
        self.separated("]", item)
    }

    /// `x, y, ..` and the closing punctuation.
    pub(super) fn separated<T, L: FromIterator<T>>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Parse<T>,
    ) -> Parse<L> {
        let mut first = true;
        std::iter::from_fn(|| {
            if self.eat(close) {
                return None;
            }
            if !std::mem::take(&mut first)
                && let Err(error) = self.expect(",")
            {
                return Some(Err(error));
            }
            Some(item(self))
        })
        .collect()
    }

    // ---- values and types ----

    fn value_number(&mut self) -> Parse<u32> {
        if let Token::Ident(word) = *self.peek()
            && let Some(number) = word.strip_prefix('v').and_then(|n| n.parse().ok())
        {
            self.advance();
            return Ok(number);
        }
        self.expected("a value such as `v0`")
    }

    /// A value that was defined above.
    pub(super) fn value(&mut self) -> Parse<Value> {
        let at = self.at;
        let number = self.value_number()?;
        self.values.get(&number).copied().ok_or_else(|| {
            self.at = at;
            self.error(format!("v{number} is not defined above"))
        })
    }

    fn definition(&mut self) -> Parse<Definition> {
        let number = self.value_number()?;
        let name = if self.eat(".") { Some(self.name()?) } else { None };
        self.expect(":")?;
        Ok(Definition { number, name, ty: self.ty()? })
    }

    fn define(&mut self, definition: Definition, value: Value) -> Parse<()> {
        self.func.values[value].name = definition.name.map(Into::into);
        match self.values.insert(definition.number, value) {
            None => Ok(()),
            Some(_) => Err(self.error(format!("v{} is defined twice", definition.number))),
        }
    }

    fn ty(&mut self) -> Parse<Type> {
        if self.eat_word("tile") {
            self.expect("<")?;
            let elem = self.elem()?;
            self.expect(",")?;
            let shape = self.bracketed(Self::number)?;
            let layout = if self.eat(",") { Some(self.layout()?) } else { None };
            self.expect(">")?;
            return Ok(Type::new(TypeData::Tile { elem, shape, layout }));
        }
        let mutable = self.eat_word("mut");
        if self.eat_word("tensor") {
            self.expect("<")?;
            let elem = self.elem()?;
            self.expect(",")?;
            let rank = self.number()?;
            self.expect(">")?;
            return Ok(Type::view(elem, rank, mutable));
        }
        Ok(Type::scalar(self.elem_after_mut(mutable)?))
    }

    pub(super) fn layout(&mut self) -> Parse<LayoutId> {
        self.expect("#")?;
        if let Token::Ident(word) = *self.peek()
            && let Some(number) = word.strip_prefix("layout").and_then(|n| n.parse().ok())
        {
            self.advance();
            return Ok(LayoutId::from_u32(number));
        }
        self.expected("a layout such as `#layout0`")
    }

    fn elem(&mut self) -> Parse<Elem> {
        let mutable = self.eat_word("mut");
        self.elem_after_mut(mutable)
    }

    fn elem_after_mut(&mut self, mutable: bool) -> Parse<Elem> {
        if self.eat_word("ptr") {
            self.expect("<")?;
            let pointee = self.scalar_type()?;
            self.expect(">")?;
            return Ok(Elem::Ptr { pointee, mutable });
        }
        if mutable {
            return self.expected("`tensor` or `ptr` after `mut`");
        }
        Ok(Elem::Scalar(self.scalar_type()?))
    }

    fn scalar_type(&mut self) -> Parse<ScalarType> {
        match *self.peek() {
            Token::Ident(word) if ScalarType::from_name(word).is_some() => {
                self.advance();
                Ok(ScalarType::from_name(word).unwrap_or(ScalarType::Bool))
            }
            _ => self.expected("a type"),
        }
    }

    // ---- functions ----

    fn function(&mut self, position: usize) -> Parse<()> {
        let is_kernel = match self.word("`kernel`, `fn` or `file`")? {
            "kernel" => true,
            "fn" => false,
            other => return Err(self.error(format!("expected `kernel`, `fn` or `file`, found `{other}`"))),
        };
        self.values.clear();
        self.expect("@")?;
        let number: usize = self.number()?;
        if number != position {
            return Err(self.error(format!("functions are numbered in order; expected @{position}")));
        }
        let name = self.name()?;
        self.func = Function::new(&name, is_kernel);
        self.expect("(")?;
        self.separated::<(), Vec<()>>(")", |p| {
            let definition = p.definition()?;
            let info = p.param_info(&definition)?;
            let value = p.func.add_param(info, definition.ty);
            p.define(definition, value)
        })?;
        if self.eat("->") {
            self.expect("(")?;
            self.func.results = self.separated(")", Self::ty)?;
        }
        if self.eat_word("grid") {
            self.func.grid_rank = self.number()?;
        }
        self.expect_word("index")?;
        self.func.index_bits = self.number()?;
        if self.eat_word("schedule") {
            self.schedule()?;
        }
        self.func.loc = self.loc()?;
        self.expect("{")?;
        let body = self.func.body;
        self.insts(body)
    }

    fn param_info(&mut self, definition: &Definition) -> Parse<ParamInfo> {
        let mut info = ParamInfo { name: definition.name.as_deref().unwrap_or("").into(), number: 0, tensor: None };
        let mut facts = TensorFacts::unknown(definition.ty.rank(), definition.ty.elem().bytes());
        let mut has_facts = false;
        self.expect("{")?;
        self.separated::<(), Vec<()>>("}", |p| {
            let word = p.word("an attribute")?;
            has_facts |= matches!(word, "align" | "dims" | "strides" | "may_alias");
            match word {
                "number" => info.number = p.number()?,
                "align" => facts.align = p.number()?,
                "dims" => facts.dims = p.bracketed(Self::fact)?,
                "strides" => facts.strides = p.bracketed(Self::fact)?,
                "may_alias" => facts.may_alias = true,
                "name" => info.name = p.string()?.into(),
                other => return Err(p.error(format!("`{other}` is no attribute of a parameter"))),
            }
            Ok(())
        })?;
        info.tensor = has_facts.then_some(facts);
        Ok(info)
    }

    fn fact(&mut self) -> Parse<IntFact> {
        let known = if self.eat("=") {
            Some(self.number()?)
        } else {
            self.expect("?")?;
            None
        };
        let divisor = if self.eat("%") { self.number()? } else { 1 };
        let max = match self.eat("<=") {
            false => known,
            true if self.eat_word("none") => None,
            true => Some(self.number()?),
        };
        Ok(IntFact { known, divisor, max })
    }

    fn schedule(&mut self) -> Parse<()> {
        self.expect("{")?;
        self.separated::<(), Vec<()>>("}", |p| {
            let word = p.word("a schedule field")?;
            match word {
                "warps" => p.func.schedule.warps = Some(p.number()?),
                "stages" => p.func.schedule.stages = Some(p.number()?),
                "group" => p.func.schedule.group = Some(p.number()?),
                "split_k" => p.func.schedule.split_k = Some(p.number()?),
                "max_regs" => p.func.schedule.max_regs = Some(p.number()?),
                "cluster" => {
                    let list: SmallVec<[u32; 3]> = p.bracketed(Self::number)?;
                    let sizes = <[u32; 3]>::try_from(&list[..]).map_err(|_| p.error("a cluster has three sizes".into()))?;
                    p.func.schedule.cluster = Some(sizes);
                }
                "persistent" => p.func.schedule.persistent = true,
                "ping_pong" => p.func.schedule.ping_pong = true,
                "specialize" => p.func.schedule.specialize = true,
                "cooperative" => p.func.schedule.cooperative = true,
                "pdl" => p.func.schedule.pdl = true,
                other => return Err(p.error(format!("`{other}` is no field of a schedule"))),
            }
            Ok(())
        })?;
        Ok(())
    }

    pub(super) fn loc(&mut self) -> Parse<SrcLoc> {
        if !self.eat_word("loc") {
            return Ok(SrcLoc::UNKNOWN);
        }
        let file = self.number()?;
        self.expect(":")?;
        let lo = self.number()?;
        self.expect("..")?;
        Ok(SrcLoc { file, lo, hi: self.number()? })
    }

    /// A block's parameters and instructions.
    pub(super) fn block(&mut self) -> Parse<Block> {
        let block = self.func.add_block();
        if self.eat("(") {
            self.separated::<(), Vec<()>>(")", |p| {
                let definition = p.definition()?;
                let value = p.func.add_block_param(block, definition.ty, None);
                p.define(definition, value)
            })?;
        }
        self.expect("{")?;
        self.insts(block)?;
        Ok(block)
    }

    /// Instructions up to the closing brace.
    fn insts(&mut self, block: Block) -> Parse<()> {
        while !self.eat("}") {
            let is_definition =
                matches!(self.peek(), Token::Ident(w) if w.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok()));
            let mut definitions: SmallVec<[Definition; 2]> = SmallVec::new();
            if is_definition {
                definitions.push(self.definition()?);
                while self.eat(",") {
                    definitions.push(self.definition()?);
                }
                self.expect("=")?;
            }
            // The results come first so that values are numbered as in the text; the data follows.
            let types: SmallVec<[Type; 2]> = definitions.iter().map(|d| d.ty).collect();
            let inst = self.func.make_inst(InstData::GridSync, &types, SrcLoc::UNKNOWN);
            self.func.insts[inst] = self.inst_data(inst)?;
            for (number, definition) in definitions.into_iter().enumerate() {
                let value = self.func.results_of(inst)[number];
                self.define(definition, value)?;
            }
            self.func.blocks[block].insts.push(inst);
        }
        Ok(())
    }
}
