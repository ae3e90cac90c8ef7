//! Decodes one function body: scopes, declarations, labels; operands become slots.

use rustc_hash::FxHashMap;

use super::inst::*;
use super::mods::Mods;
use super::module::{Globals, align_up, type_bits, var_layout};
use super::program::{Function, Origin, Target};
use super::types::*;
use crate::error::Error;
use crate::ptx::ast::*;
use crate::ptx::line_of;

/// Largest local frame of a function, in bytes.
const MAX_LOCAL: u64 = 512 << 10;
/// Most registers that one `.reg` range may declare.
const MAX_RANGE: u64 = 1 << 24;

/// What a name means inside a function.
#[derive(Clone, Copy, Debug)]
pub enum Sym {
    /// A register with its declared width; the slot is assigned at first use.
    Reg {
        bits: u32,
        slot: Option<R>,
    },
    /// Byte offset in the local frame: `.local` variables and call parameters.
    Local(u32),
    /// Bytes of a call parameter: offset and size in the local frame.
    CallParam(u32, u32),
    /// Shared memory offset.
    Shared(u32),
    /// An `extern .shared` array with its alignment.
    DynamicShared(u32),
    /// Kernel parameter offset.
    KernelParam(u32),
    /// Something with an address that is known at load time.
    Static(Target),
    Label(u32),
    /// Index in [`Body::target_lists`].
    Targets(u32),
    Prototype,
}

#[derive(Default)]
struct Scope<'s> {
    names: FxHashMap<&'s str, Sym>,
    /// `%r<10>`: prefix, count, bits.
    ranges: Vec<(&'s str, u64, u32)>,
}

/// State of the decoder within one function.
pub struct Body<'a, 's> {
    pub globals: &'a Globals<'s>,
    pub function: Function,
    scopes: Vec<Scope<'s>>,
    /// Instruction index of each label.
    labels: Vec<u32>,
    pub target_lists: Vec<Vec<&'s str>>,
    const32: FxHashMap<u32, u32>,
    const64: FxHashMap<u64, u32>,
    specials: FxHashMap<(Special, u32), R>,
    addresses: FxHashMap<(Target, i64, bool), R>,
    touched: Vec<(R, bool)>,
    location: (u32, u32),
    /// Line of the statement being decoded.
    pub line: u32,
    lines: LineIndex,
    /// Text of the statement being decoded.
    at: usize,
}

/// Byte offsets of line starts.
struct LineIndex(Vec<u32>);

impl LineIndex {
    fn new(source: &str) -> Self {
        let mut starts = vec![0];
        starts.extend(source.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(i, _)| i as u32 + 1));
        LineIndex(starts)
    }
    fn line(&self, at: usize) -> u32 {
        self.0.partition_point(|&s| s as usize <= at) as u32
    }
}

impl<'a, 's> Body<'a, 's> {
    /// Decodes `function`; `source` is the whole text, for line numbers.
    pub fn decode(globals: &'a Globals<'s>, index: u32, function: &Function_<'s>, source: &'s str) -> Result<Function, Error> {
        let mut body = Body {
            globals,
            function: Function { name: function.name.to_owned(), is_entry: function.is_entry, ..Function::default() },
            scopes: vec![Scope::default()],
            labels: vec![],
            target_lists: vec![],
            const32: FxHashMap::default(),
            const64: FxHashMap::default(),
            specials: FxHashMap::default(),
            addresses: FxHashMap::default(),
            touched: vec![],
            location: (0, 0),
            line: line_of(source, function.at),
            lines: LineIndex::new(source),
            at: function.at,
        };
        body.function.npred = 1;
        body.function.const_pred.push((0, true));
        body.directives(function)?;
        body.formals(function)?;
        if let Some((_, vars)) = globals.shared_locals.iter().find(|(f, _)| *f == index) {
            for (name, sym) in vars {
                body.scopes[0].names.insert(name, *sym);
            }
        }
        let statements = function.body.as_deref().unwrap_or_default();
        body.block(statements, source)?;
        // Falling off the end returns.
        body.push(Guard::default(), Op::Ret, source, None);
        body.patch()?;
        super::cfg::reconvergence(&mut body.function);
        Ok(body.function)
    }

    /// An error at the current statement.
    pub fn fail(&self, message: impl Into<String>) -> Error {
        Error::Unsupported { line: self.line, message: message.into() }
    }

    fn directives(&mut self, function: &Function_<'s>) -> Result<(), Error> {
        for (name, values) in &function.directives {
            let at = |i: usize| values.get(i).copied().unwrap_or(1).clamp(1, 1 << 20) as u32;
            match *name {
                ".maxntid" => self.function.maxntid = Some(at(0).saturating_mul(at(1)).saturating_mul(at(2))),
                ".reqntid" => self.function.reqntid = Some([at(0), at(1), at(2)]),
                ".reqnctapercluster" => self.function.cluster = Some([at(0), at(1), at(2)]),
                ".explicitcluster" | ".maxclusterrank" | ".minnctapersm" | ".maxnreg" | ".maxnctapersm" => {}
                ".noreturn" | ".pragma" | ".unique" | ".abi_preserve" | ".abi_preserve_control" => {}
                other => return Err(self.fail(format!("directive {other} is not supported"))),
            }
        }
        Ok(())
    }

    fn formals(&mut self, function: &Function_<'s>) -> Result<(), Error> {
        if function.is_entry {
            for param in &self.globals.kernel_params[function.name] {
                let sym = Sym::KernelParam(param.offset);
                self.scopes[0].names.insert(param.key, sym);
                self.function.params.push(super::program::ParamInfo {
                    name: param.key.to_owned(),
                    offset: param.offset,
                    size: param.size,
                });
                self.function.param_size = param.offset + param.size;
            }
            return Ok(());
        }
        for (list, returns) in [(&function.returns, true), (&function.params, false)] {
            for param in list {
                let formal = if param.in_register {
                    let bits = self.quals_bits(&param.quals)?;
                    let slot = self.new_slot(bits);
                    self.scopes[0].names.insert(param.name, Sym::Reg { bits, slot: Some(slot) });
                    Formal::Reg(slot)
                } else {
                    let (size, align) = var_layout(&param.quals, &param.dims).map_err(|m| self.fail(m))?;
                    let offset = self.local(size, align)?;
                    self.scopes[0].names.insert(param.name, Sym::CallParam(offset, size as u32));
                    Formal::Bytes { offset, size: size as u32 }
                };
                if returns { &mut self.function.returns } else { &mut self.function.formals }.push(formal);
            }
        }
        Ok(())
    }

    fn quals_bits(&self, quals: &[Qual]) -> Result<u32, Error> {
        let bits = quals.iter().find_map(|q| match q {
            Qual::Dot(d) => type_bits(d),
            _ => None,
        });
        match bits {
            Some(bits @ (1 | 8 | 16 | 32 | 64)) => Ok(bits),
            Some(bits) => Err(self.fail(format!("{bits}-bit registers are not supported"))),
            None => Err(self.fail("a register declaration without a type")),
        }
    }

    fn local(&mut self, size: u64, align: u64) -> Result<u32, Error> {
        let offset = align_up(u64::from(self.function.local_size), align);
        let end = offset.saturating_add(size);
        if end > MAX_LOCAL {
            return Err(self.fail(format!("more than {MAX_LOCAL} bytes of local memory in one function")));
        }
        self.function.local_size = end as u32;
        Ok(offset as u32)
    }

    fn new_slot(&mut self, bits: u32) -> R {
        let (file, counter) = match bits {
            1 => (File::Pred, &mut self.function.npred),
            64 => (File::W64, &mut self.function.n64),
            _ => (File::W32, &mut self.function.n32),
        };
        *counter += 1;
        R::new(file, *counter - 1)
    }

    fn block(&mut self, statements: &[Stmt<'s>], source: &'s str) -> Result<(), Error> {
        // Labels first: branches go forward too.
        for (i, statement) in statements.iter().enumerate() {
            let StmtKind::Label(name) = &statement.kind else { continue };
            let sym = match statements.get(i + 1).map(|s| &s.kind) {
                Some(StmtKind::BranchTargets(list)) => {
                    self.target_lists.push(list.clone());
                    Sym::Targets(self.target_lists.len() as u32 - 1)
                }
                Some(StmtKind::CallPrototype(..) | StmtKind::CallTargets(_)) => Sym::Prototype,
                _ => {
                    self.labels.push(u32::MAX);
                    Sym::Label(self.labels.len() as u32 - 1)
                }
            };
            self.scope().names.insert(name, sym);
        }
        for statement in statements {
            self.at = statement.at;
            self.line = self.lines.line(statement.at);
            match &statement.kind {
                StmtKind::Label(name) => {
                    if let Some(Sym::Label(id)) = self.lookup(name) {
                        self.labels[id as usize] = self.function.insts.len() as u32;
                    }
                }
                StmtKind::Loc(file, line, _) => self.location = (*file as u32, *line as u32),
                StmtKind::Reg(quals, names) => {
                    let bits = quals
                        .iter()
                        .find_map(|q| if let Qual::Dot(d) = q { type_bits(d) } else { None })
                        .ok_or_else(|| self.fail("a register declaration without a type"))?;
                    for (name, count) in names {
                        match count {
                            Some(count) if *count > MAX_RANGE => {
                                return Err(self.fail(format!("{count} registers in one declaration")));
                            }
                            Some(count) => self.scope().ranges.push((name, *count, bits)),
                            None => {
                                self.scope().names.insert(name, Sym::Reg { bits, slot: None });
                            }
                        }
                    }
                }
                StmtKind::Var(var) => self.variable(var)?,
                StmtKind::Block(inner) => {
                    if self.scopes.len() > 100 {
                        return Err(self.fail("blocks nested more than 100 deep"));
                    }
                    self.scopes.push(Scope::default());
                    self.block(inner, source)?;
                    self.scopes.pop();
                }
                StmtKind::Instr(instr) => self.instruction(instr, source)?,
                StmtKind::BranchTargets(_) | StmtKind::CallTargets(_) | StmtKind::CallPrototype(..) | StmtKind::Pragma => {}
            }
        }
        Ok(())
    }

    fn scope(&mut self) -> &mut Scope<'s> {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }

    fn variable(&mut self, var: &Var<'s>) -> Result<(), Error> {
        for d in &var.names {
            let (size, align) = var_layout(&var.quals, &d.dims).map_err(|m| self.fail(m))?;
            let sym = match var.space {
                // Laid out for the whole module; already in the outermost scope.
                ".shared" | ".global" | ".const" => continue,
                ".local" => Sym::Local(self.local(size, align)?),
                ".param" => Sym::CallParam(self.local(size, align)?, size as u32),
                other => return Err(self.fail(format!("{other} variables are not supported"))),
            };
            self.scope().names.insert(d.name, sym);
        }
        Ok(())
    }

    fn instruction(&mut self, instr: &Instr<'s>, source: &'s str) -> Result<(), Error> {
        self.touched.clear();
        let guard = match instr.guard {
            None => Guard::default(),
            Some((name, negate)) => {
                let r = self.register(name, false)?;
                if r.file() != File::Pred {
                    return Err(self.fail(format!("guard {name} is not a predicate")));
                }
                Guard { pred: r.index(), negate }
            }
        };
        let mut mods = Mods::new(instr.opcode);
        let op = super::opcode::decode(self, &mut mods, &instr.operands)?;
        if let Some(word) = mods.leftover() {
            return Err(self.fail(format!("`{}`: modifier .{word} is not supported", instr.opcode)));
        }
        self.push(guard, op, source, Some(self.at));
        Ok(())
    }

    fn push(&mut self, guard: Guard, op: Op, source: &str, at: Option<usize>) {
        let start = self.function.touched.len() as u32;
        self.function.touched.append(&mut self.touched);
        let end = self.function.touched.len() as u32;
        self.function.touched_at.push((start, end));
        self.function.insts.push(Inst { guard, op });
        let text = at.map_or("ret", |at| {
            let rest = &source[at..];
            rest[..rest.find(';').unwrap_or(rest.len())].trim()
        });
        let mut words = String::new();
        for word in text.split_whitespace() {
            if words.len() > 160 {
                words.push_str(" ...");
                break;
            }
            if !words.is_empty() {
                words.push(' ');
            }
            words.push_str(word);
        }
        self.function.origins.push(Origin {
            line: self.line,
            file: self.location.0,
            source_line: self.location.1,
            text: words.into(),
        });
    }

    /// Replaces label numbers by instruction indices.
    fn patch(&mut self) -> Result<(), Error> {
        let labels = &self.labels;
        let at = |id: u32| labels.get(id as usize).copied().filter(|&i| i != u32::MAX);
        let mut bad = false;
        for inst in &mut self.function.insts {
            match &mut inst.op {
                Op::Bra { target, .. } => match at(*target) {
                    Some(i) => *target = i,
                    None => bad = true,
                },
                Op::Brx { targets, .. } => {
                    for target in targets.iter_mut() {
                        match at(*target) {
                            Some(i) => *target = i,
                            None => bad = true,
                        }
                    }
                }
                _ => {}
            }
        }
        if bad { Err(self.fail("a branch to a label that is not in this function")) } else { Ok(()) }
    }

    /// Meaning of a name, innermost scope first.
    pub fn lookup(&self, name: &str) -> Option<Sym> {
        self.scopes.iter().rev().find_map(|s| s.names.get(name).copied()).or_else(|| self.globals.names.get(name).copied())
    }

    /// Label number of `name`.
    pub fn label(&self, name: &str) -> Result<u32, Error> {
        match self.lookup(name) {
            Some(Sym::Label(id)) => Ok(id),
            _ => Err(self.fail(format!("`{name}` is not a label of this function"))),
        }
    }

    /// Slot and declared width of a register; `None` if `name` is not a declared register.
    fn declared(&mut self, name: &'s str) -> Option<(R, u32)> {
        for depth in (0..self.scopes.len()).rev() {
            match self.scopes[depth].names.get(name) {
                Some(Sym::Reg { bits, slot: Some(slot) }) => return Some((*slot, *bits)),
                Some(Sym::Reg { bits, slot: None }) => {
                    let bits = *bits;
                    let slot = self.new_slot(bits);
                    self.scopes[depth].names.insert(name, Sym::Reg { bits, slot: Some(slot) });
                    return Some((slot, bits));
                }
                Some(_) => return None,
                None => {}
            }
            let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
            for taken in (1..=digits).rev() {
                let (prefix, number) = name.split_at(name.len() - taken);
                let Ok(number) = number.parse::<u64>() else { continue };
                let hit = self.scopes[depth].ranges.iter().find(|(p, count, _)| *p == prefix && number < *count);
                if let Some((_, _, bits)) = hit {
                    let bits = *bits;
                    let slot = self.new_slot(bits);
                    self.scopes[depth].names.insert(name, Sym::Reg { bits, slot: Some(slot) });
                    return Some((slot, bits));
                }
            }
        }
        None
    }

    /// Declared width of a register.
    pub fn declared_bits(&self, name: &str) -> Option<u32> {
        self.scopes.iter().rev().find_map(|scope| match scope.names.get(name) {
            Some(Sym::Reg { bits, .. }) => Some(*bits),
            Some(_) => None,
            None => {
                let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
                (1..=digits).rev().find_map(|taken| {
                    let (prefix, number) = name.split_at(name.len() - taken);
                    let number = number.parse::<u64>().ok()?;
                    scope.ranges.iter().find(|(p, n, _)| *p == prefix && number < *n).map(|r| r.2)
                })
            }
        })
    }

    /// Slot of a declared register, recorded as touched.
    pub fn register(&mut self, name: &'s str, write: bool) -> Result<R, Error> {
        self.register_bits(name, write).map(|(r, _)| r)
    }

    /// Slot and declared width of a declared register.
    pub fn register_bits(&mut self, name: &'s str, write: bool) -> Result<(R, u32), Error> {
        let Some((slot, bits)) = self.declared(name) else {
            return Err(self.fail(format!("`{name}` is not a declared register")));
        };
        if bits == 128 {
            return Err(self.fail("128-bit registers are not supported"));
        }
        self.touched.push((slot, write));
        Ok((slot, bits))
    }

    /// Slot of a 32-bit constant.
    pub fn const32(&mut self, value: u32) -> u32 {
        if let Some(&slot) = self.const32.get(&value) {
            return slot;
        }
        let slot = self.new_slot(32).index();
        self.const32.insert(value, slot);
        self.function.const32.push((slot, value));
        slot
    }

    /// Slot of a 64-bit constant.
    pub fn const64(&mut self, value: u64) -> u32 {
        if let Some(&slot) = self.const64.get(&value) {
            return slot;
        }
        let slot = self.new_slot(64).index();
        self.const64.insert(value, slot);
        self.function.const64.push((slot, value));
        slot
    }

    /// Slot of a constant in the file of `bits`.
    pub fn constant(&mut self, value: u64, bits: u32) -> R {
        match bits {
            64 => R::new(File::W64, self.const64(value)),
            8 => R::new(File::W32, self.const32(value as u32 & 0xff)),
            16 => R::new(File::W32, self.const32(value as u32 & 0xffff)),
            _ => R::new(File::W32, self.const32(value as u32)),
        }
    }

    /// Slot of a constant predicate.
    pub fn const_pred(&mut self, value: bool) -> u32 {
        if value {
            return 0;
        }
        if let Some((slot, _)) = self.function.const_pred.iter().find(|(_, v)| !*v) {
            return *slot;
        }
        let slot = self.new_slot(1).index();
        self.function.const_pred.push((slot, false));
        slot
    }

    /// Slot of a special register, read as `bits` bits. One of them is a predicate.
    pub fn special(&mut self, special: Special, bits: u32) -> R {
        let bits = match (bits, special) {
            (64, _) => 64,
            (1, Special::IsExplicitCluster) => 1,
            _ => 32,
        };
        if let Some(&r) = self.specials.get(&(special, bits)) {
            return r;
        }
        let r = self.new_slot(bits);
        self.specials.insert((special, bits), r);
        self.function.specials.push((r, special));
        r
    }

    /// Slot of an address constant.
    pub fn address(&mut self, target: Target, addend: i64, wide: bool) -> R {
        if let Some(&r) = self.addresses.get(&(target, addend, wide)) {
            return r;
        }
        let r = self.new_slot(if wide { 64 } else { 32 });
        self.addresses.insert((target, addend, wide), r);
        self.function.addresses.push((r, target, addend));
        r
    }
}

use crate::ptx::ast::Function as Function_;
