//! Writes the body of one LLVM function as text, folding constants on the way.
//!
//! Text, not the builder API, because LLVM's parser then checks every line and answers with an error where the API would stop
//! the process, and because some of what is needed exists only in text (`DebugDirectivesOnly`, `range`, `or disjoint`). Values
//! are small and `Copy`. Layout arithmetic is mostly constants, so folding here keeps the module short: LLVM's time goes by
//! the number of instructions.

use std::fmt::Write as _;

use rustc_hash::FxHashMap;
use smallvec::SmallVec;

pub(super) use super::value::{ARENA, SHARED, STRIDE, Ty, Val, int_of};
use super::value::{Repr, unsigned, wrap};
use super::words::Part;

/// A basic block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Label(u32);

/// A phi whose incoming values are still to come.
#[derive(Debug)]
pub(super) struct OpenPhi {
    line: usize,
    name: u32,
    ty: Ty,
}

/// The body being written.
#[derive(Debug)]
pub(super) struct Writer {
    lines: Vec<String>,
    /// Instructions at the head of the entry block: thread coordinates and what they need.
    prologue: Vec<String>,
    pub(super) in_prologue: bool,
    values: u32,
    labels: u32,
    current: Label,
    /// Number of the metadata node of the current source line.
    pub(super) location: Option<u32>,
    declarations: std::collections::BTreeSet<String>,
    /// Elements that came out of words.
    pub(super) parts: FxHashMap<Val, Part>,
    /// Words of elements in the current block.
    pub(super) joined: FxHashMap<SmallVec<[Val; 4]>, Val>,
    /// Lines of instructions that are only needed where something reads their results; ascending.
    pub(super) optional: Vec<usize>,
}

impl Writer {
    pub(super) fn new() -> Self {
        Writer {
            lines: Vec::new(),
            prologue: Vec::new(),
            in_prologue: false,
            values: 0,
            labels: 1,
            current: Label(0),
            location: None,
            declarations: std::collections::BTreeSet::new(),
            parts: FxHashMap::default(),
            joined: FxHashMap::default(),
            optional: Vec::new(),
        }
    }

    pub(super) fn line_count(&self) -> usize {
        self.lines.len()
    }

    pub(super) fn value_count(&self) -> usize {
        self.values as usize
    }

    pub(super) fn all_lines(&self) -> impl Iterator<Item = &str> {
        self.prologue.iter().chain(&self.lines).map(String::as_str)
    }

    pub(super) fn line_mut(&mut self, at: usize) -> &mut String {
        &mut self.lines[at]
    }

    /// What was written since line `start` is only needed where something reads it.
    pub(super) fn optional_since(&mut self, start: usize) {
        self.optional.extend(start..self.lines.len());
    }

    /// The text of the body and the declarations it needs.
    pub(super) fn finish(mut self) -> (String, String) {
        self.drop_unused();
        let mut body = String::from("b0:\n");
        for line in self.all_lines().filter(|line| !line.is_empty()) {
            body.push_str(line);
            body.push('\n');
        }
        let mut declarations = String::new();
        for line in &self.declarations {
            let _ = writeln!(declarations, "declare {line}");
        }
        (body, declarations)
    }

    /// Runs `f` with instructions going to the head of the function, where they dominate everything. Operands must be
    /// arguments, constants or other values of the prologue.
    pub(super) fn at_entry<R>(&mut self, f: impl FnOnce(&mut Self) -> R) -> R {
        let outer = std::mem::replace(&mut self.in_prologue, true);
        let result = f(self);
        self.in_prologue = outer;
        result
    }

    fn push(&mut self, line: String) {
        if self.in_prologue { self.prologue.push(line) } else { self.lines.push(line) }
    }

    fn debug(&self) -> String {
        match self.location {
            Some(node) if !self.in_prologue => format!(", !dbg !{node}"),
            _ => String::new(),
        }
    }

    /// An instruction with a result.
    pub(super) fn value(&mut self, ty: Ty, instruction: &str) -> Val {
        let name = self.values;
        self.values += 1;
        let line = format!("  %v{name} = {instruction}{}", self.debug());
        self.push(line);
        Val { ty, repr: Repr::Name(name) }
    }

    /// An instruction without a result.
    pub(super) fn effect(&mut self, instruction: &str) {
        let line = format!("  {instruction}{}", self.debug());
        self.push(line);
    }

    /// A place for an instruction that may turn out to be needed: nothing stands there until it is [filled](Self::fill).
    pub(super) fn hole(&mut self) -> usize {
        self.lines.push(String::new());
        self.lines.len() - 1
    }

    /// Moves the one line written since hole `from` was made into hole `to`; `from` is no more.
    pub(super) fn move_line(&mut self, from: usize, to: usize) {
        debug_assert_eq!(self.lines.len(), from + 2, "a hole takes one instruction");
        if let Some(line) = self.lines.pop() {
            self.lines.truncate(from);
            self.lines[to] = line;
        }
    }

    // ---- blocks ----

    pub(super) fn new_label(&mut self) -> Label {
        self.labels += 1;
        Label(self.labels - 1)
    }

    pub(super) fn current(&self) -> Label {
        self.current
    }

    pub(super) fn start(&mut self, label: Label) {
        self.lines.push(format!("b{}:", label.0));
        self.joined.clear();
        self.current = label;
    }

    pub(super) fn jump(&mut self, to: Label) {
        self.effect(&format!("br label %b{}", to.0));
    }

    pub(super) fn branch(&mut self, cond: Val, then: Label, otherwise: Label) {
        self.effect(&format!("br i1 {}, label %b{}, label %b{}", cond.text(), then.0, otherwise.0));
    }

    pub(super) fn phi(&mut self, ty: Ty, incoming: &[(Val, Label)]) -> Val {
        let text = phi_text(ty, incoming);
        self.value(ty, &text)
    }

    pub(super) fn open_phi(&mut self, ty: Ty) -> (Val, OpenPhi) {
        let value = self.value(ty, "");
        let Repr::Name(name) = value.repr else { unreachable!("instructions have names") };
        (value, OpenPhi { line: self.lines.len() - 1, name, ty })
    }

    pub(super) fn close_phi(&mut self, phi: OpenPhi, incoming: &[(Val, Label)]) {
        self.lines[phi.line] = format!("  %v{} = {}", phi.name, phi_text(phi.ty, incoming));
    }

    // ---- integers ----

    fn binary(&mut self, op: &str, a: Val, b: Val) -> Val {
        debug_assert_eq!(a.ty, b.ty, "{op} of {a:?} and {b:?}");
        let text = format!("{op} {} {}, {}", a.ty.llvm(), a.text(), b.text());
        self.value(a.ty, &text)
    }

    pub(super) fn add(&mut self, a: Val, b: Val) -> Val {
        match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => Val::int(a.ty, x.wrapping_add(y)),
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.binary("add", a, b),
        }
    }

    /// A sum that does not wrap, as index arithmetic never does.
    pub(super) fn add_nsw(&mut self, a: Val, b: Val) -> Val {
        match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => Val::int(a.ty, x.wrapping_add(y)),
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.binary("add nsw", a, b),
        }
    }

    pub(super) fn sub(&mut self, a: Val, b: Val) -> Val {
        match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => Val::int(a.ty, x.wrapping_sub(y)),
            (_, Some(0)) => a,
            _ => self.binary("sub", a, b),
        }
    }

    pub(super) fn mul(&mut self, a: Val, b: Val) -> Val {
        self.mul_as("mul", a, b)
    }

    pub(super) fn mul_nsw(&mut self, a: Val, b: Val) -> Val {
        self.mul_as("mul nsw", a, b)
    }

    fn mul_as(&mut self, op: &str, a: Val, b: Val) -> Val {
        match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => Val::int(a.ty, x.wrapping_mul(y)),
            (Some(0), _) | (_, Some(1)) => a,
            (_, Some(0)) | (Some(1), _) => b,
            _ => self.binary(op, a, b),
        }
    }

    pub(super) fn and(&mut self, a: Val, b: Val) -> Val {
        let ones = wrap(a.ty, -1);
        match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => Val::int(a.ty, x & y),
            (Some(0), _) => a,
            (_, Some(0)) => b,
            (Some(x), _) if x == ones => b,
            (_, Some(y)) if y == ones => a,
            _ if a == b => a,
            _ => self.binary("and", a, b),
        }
    }

    pub(super) fn or(&mut self, a: Val, b: Val) -> Val {
        match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => Val::int(a.ty, x | y),
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ if a == b => a,
            _ => self.binary("or", a, b),
        }
    }

    /// An `or` of numbers without common bits, which LLVM may also read as a sum.
    pub(super) fn or_disjoint(&mut self, a: Val, b: Val) -> Val {
        match (a.as_int(), b.as_int()) {
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.binary("or disjoint", a, b),
        }
    }

    pub(super) fn xor(&mut self, a: Val, b: Val) -> Val {
        match (a.as_int(), b.as_int()) {
            (Some(x), Some(y)) => Val::int(a.ty, x ^ y),
            (Some(0), _) => b,
            (_, Some(0)) => a,
            _ => self.binary("xor", a, b),
        }
    }

    pub(super) fn not(&mut self, a: Val) -> Val {
        self.xor(a, Val::int(a.ty, -1))
    }

    /// `a << bits`, for a constant below the width.
    pub(super) fn shl(&mut self, a: Val, bits: u32) -> Val {
        match a.as_int() {
            Some(x) => Val::int(a.ty, x << bits),
            None if bits == 0 => a,
            None => self.binary("shl", a, Val::int(a.ty, i64::from(bits))),
        }
    }

    /// Logical `a >> bits`, for a constant below the width.
    pub(super) fn lshr(&mut self, a: Val, bits: u32) -> Val {
        match a.as_int() {
            Some(x) => Val::int(a.ty, (unsigned(a.ty, x) >> bits) as i64),
            None if bits == 0 => a,
            None => self.binary("lshr", a, Val::int(a.ty, i64::from(bits))),
        }
    }

    /// Any two-operand instruction without folding.
    pub(super) fn raw(&mut self, op: &str, a: Val, b: Val) -> Val {
        self.binary(op, a, b)
    }

    pub(super) fn icmp(&mut self, predicate: &str, a: Val, b: Val) -> Val {
        debug_assert_eq!(a.ty, b.ty, "icmp {predicate} of {a:?} and {b:?}");
        if let (Some(x), Some(y)) = (a.as_int(), b.as_int()) {
            let (ux, uy) = (unsigned(a.ty, x), unsigned(b.ty, y));
            return Val::bool(match predicate {
                "eq" => x == y,
                "ne" => x != y,
                "slt" => x < y,
                "sle" => x <= y,
                "sgt" => x > y,
                "sge" => x >= y,
                "ult" => ux < uy,
                "ule" => ux <= uy,
                "ugt" => ux > uy,
                _ => ux >= uy,
            });
        }
        let text = format!("icmp {predicate} {} {}, {}", a.ty.llvm(), a.text(), b.text());
        self.value(Ty::I1, &text)
    }

    pub(super) fn fcmp(&mut self, predicate: &str, a: Val, b: Val) -> Val {
        let text = format!("fcmp {predicate} {} {}, {}", a.ty.llvm(), a.text(), b.text());
        self.value(Ty::I1, &text)
    }

    pub(super) fn select(&mut self, cond: Val, a: Val, b: Val) -> Val {
        if cond.is_true() || a == b {
            return a;
        }
        if cond.is_false() {
            return b;
        }
        let text = format!("select i1 {}, {}, {}", cond.text(), a.typed(), b.typed());
        self.value(a.ty, &text)
    }

    /// A conversion instruction (`zext`, `fptrunc`, ..).
    pub(super) fn cast(&mut self, op: &str, a: Val, to: Ty) -> Val {
        if let Some(x) = a.as_int() {
            match op {
                "zext" | "zext nneg" => return Val::int(to, unsigned(a.ty, x) as i64),
                "sext" if a.ty == Ty::I1 => return Val::int(to, -x),
                "sext" | "trunc" => return Val::int(to, x),
                _ => {}
            }
        }
        let text = format!("{op} {} to {}", a.typed(), to.llvm());
        self.value(to, &text)
    }

    /// The same bits as another type of the same width; pointers count as 64-bit integers.
    pub(super) fn bitcast(&mut self, a: Val, to: Ty) -> Val {
        match (a.ty.is_pointer(), to.is_pointer()) {
            _ if a.ty == to => a,
            (true, _) => {
                let bits = self.cast("ptrtoint", a, Ty::I64);
                self.bitcast(bits, to)
            }
            (_, true) => {
                let bits = self.bitcast(a, Ty::I64);
                self.cast("inttoptr", bits, to)
            }
            _ => self.cast("bitcast", a, to),
        }
    }

    /// Sign extension or truncation to another integer type.
    pub(super) fn resize_signed(&mut self, a: Val, to: Ty) -> Val {
        match a.ty.bits().cmp(&to.bits()) {
            std::cmp::Ordering::Equal => a,
            std::cmp::Ordering::Less => self.cast("sext", a, to),
            std::cmp::Ordering::Greater => self.cast("trunc", a, to),
        }
    }

    /// Extension or truncation to another integer type.
    pub(super) fn cast_int(&mut self, a: Val, to: Ty, signed: bool) -> Val {
        if signed || a.ty.bits() >= to.bits() { self.resize_signed(a, to) } else { self.cast("zext", a, to) }
    }

    // ---- memory, calls ----

    /// `pointer + index` elements of `elem_bytes`.
    pub(super) fn offset(&mut self, pointer: Val, index: Val, elem_bytes: u32) -> Val {
        match index.as_int() {
            Some(0) => pointer,
            Some(i) => {
                let text = format!("getelementptr i8, {}, i64 {}", pointer.typed(), i.wrapping_mul(i64::from(elem_bytes)));
                self.value(pointer.ty, &text)
            }
            None => {
                let text = format!("getelementptr [{elem_bytes} x i8], {}, {}", pointer.typed(), index.typed());
                self.value(pointer.ty, &text)
            }
        }
    }

    pub(super) fn call(&mut self, result: Ty, name: &str, args: &[Val]) -> Val {
        self.call_with(result, "", name, args)
    }

    /// A call whose result has attributes (`range(..)`).
    pub(super) fn call_with(&mut self, result: Ty, attributes: &str, name: &str, args: &[Val]) -> Val {
        let text = self.call_text(result.llvm(), attributes, name, args);
        self.value(result, &text)
    }

    /// Declares an external function.
    pub(super) fn declare(&mut self, declaration: &str) {
        self.declarations.insert(declaration.to_owned());
    }

    pub(super) fn call_void(&mut self, name: &str, args: &[Val]) {
        let text = self.call_text("void", "", name, args);
        self.effect(&text);
    }

    fn call_text(&mut self, result: &str, attributes: &str, name: &str, args: &[Val]) -> String {
        let types: Vec<&str> = args.iter().map(|a| a.ty.llvm()).collect();
        self.declarations.insert(format!("{result} @{name}({})", types.join(", ")));
        let operands: Vec<String> = args.iter().map(|a| a.typed()).collect();
        format!("call {attributes} {result} @{name}({})", operands.join(", "))
    }

    /// Inline PTX with results of the given types. `attributes` is one of the groups of [`attribute_groups`].
    pub(super) fn asm(&mut self, results: &[Ty], attributes: Asm, ptx: &str, constraints: &str, args: &[Val]) -> Vec<Val> {
        let operands: Vec<String> = args.iter().map(|a| a.typed()).collect();
        let result_text = match results {
            [] => "void".to_owned(),
            [one] => one.llvm().to_owned(),
            many => format!("{{{}}}", many.iter().map(|t| t.llvm()).collect::<Vec<_>>().join(", ")),
        };
        let call = format!(
            "call {result_text} asm {}\"{}\", \"{constraints}\"({}) #{}",
            if attributes == Asm::Pure { "" } else { "sideeffect " },
            ptx.replace('\\', "\\5C").replace('"', "\\22").replace('\n', "\\0A"),
            operands.join(", "),
            attributes as u32,
        );
        match results {
            [] => {
                self.effect(&call);
                Vec::new()
            }
            [one] => vec![self.value(*one, &call)],
            many => {
                let name = self.values;
                self.values += 1;
                let line = format!("  %v{name} = {call}{}", self.debug());
                self.push(line);
                let parts = many.iter().enumerate();
                parts.map(|(i, &ty)| self.value(ty, &format!("extractvalue {result_text} %v{name}, {i}"))).collect()
            }
        }
    }
}

/// What inline PTX does, as a function attribute group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Asm {
    /// A function of its operands.
    Pure = 1,
    /// Reads or writes memory.
    Memory = 2,
    /// Done by all lanes of a warp together.
    Warp = 4,
}

/// The attribute groups that calls of inline PTX refer to; 3 is for functions of numbers.
pub(super) fn attribute_groups() -> &'static str {
    "attributes #1 = { nounwind memory(none) }\nattributes #2 = { nounwind }\nattributes #3 = { noinline nounwind memory(none) }\n\
     attributes #4 = { convergent nounwind }\n"
}

fn phi_text(ty: Ty, incoming: &[(Val, Label)]) -> String {
    let parts: Vec<String> = incoming.iter().map(|(v, l)| format!("[ {}, %b{} ]", v.text(), l.0)).collect();
    format!("phi {} {}", ty.llvm(), parts.join(", "))
}
