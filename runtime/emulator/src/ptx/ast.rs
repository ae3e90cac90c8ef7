//! PTX as written: names unresolved, every node with its byte offset in the source.

/// A whole PTX file.
#[derive(Debug, Default)]
pub struct Module<'s> {
    /// `.version` as (major, minor).
    pub version: (u32, u32),
    /// `.target` words, the architecture first.
    pub targets: Vec<&'s str>,
    /// `.file` directives: index and path.
    pub files: Vec<(u64, String)>,
    /// Module-scope variables.
    pub vars: Vec<Var<'s>>,
    /// Entries and functions, declarations included.
    pub functions: Vec<Function<'s>>,
    /// `.alias a, b`: a is another name of b.
    pub aliases: Vec<(&'s str, &'s str)>,
}

/// One item of a module, as the grammar yields them.
#[derive(Debug)]
pub enum Item<'s> {
    Version(&'s str),
    Target(Vec<&'s str>),
    AddressSize(u64),
    File(u64, &'s str),
    Var(Var<'s>),
    Function(Function<'s>),
    Alias(&'s str, &'s str),
    /// A `.pragma` or `.loc` outside functions: nothing to keep.
    Ignored,
}

/// A variable declaration: `.shared .align 16 .b8 tile[4096], other[16];`.
#[derive(Debug)]
pub struct Var<'s> {
    pub at: usize,
    pub is_extern: bool,
    /// `.global`, `.shared`, `.const`, `.local`, `.param`, `.tex`...
    pub space: &'s str,
    pub quals: Vec<Qual<'s>>,
    pub names: Vec<Declarator<'s>>,
}

/// Part of a declaration between the space and the name.
#[derive(Debug, Clone, Copy)]
pub enum Qual<'s> {
    Align(u64),
    /// A type, vector or pointer word: `.b8`, `.v4`, `.ptr`.
    Dot(&'s str),
    /// `.attribute(.managed)`.
    Attribute(&'s str),
}

/// `name`, `name[4][2] = {..}`.
#[derive(Debug)]
pub struct Declarator<'s> {
    pub name: &'s str,
    /// Array extents; `None` for `[]`.
    pub dims: Vec<Option<u64>>,
    pub init: Option<Init<'s>>,
}

/// An initializer.
#[derive(Debug)]
pub enum Init<'s> {
    Value(Atom<'s>),
    /// `generic(name)+8` or another function-like form: function, argument, offset.
    Call(&'s str, &'s str, i64),
    List(Vec<Init<'s>>),
}

/// An entry or a device function.
#[derive(Debug)]
pub struct Function<'s> {
    pub at: usize,
    pub is_entry: bool,
    pub is_extern: bool,
    pub name: &'s str,
    pub returns: Vec<Param<'s>>,
    pub params: Vec<Param<'s>>,
    /// `.maxntid 128, 1, 1` and the like.
    pub directives: Vec<(&'s str, Vec<u64>)>,
    /// `None` for a declaration.
    pub body: Option<Vec<Stmt<'s>>>,
}

/// A formal parameter.
#[derive(Debug)]
pub struct Param<'s> {
    pub at: usize,
    /// `.reg` rather than `.param`.
    pub in_register: bool,
    pub quals: Vec<Qual<'s>>,
    pub name: &'s str,
    pub dims: Vec<Option<u64>>,
}

/// A statement of a body.
#[derive(Debug)]
pub struct Stmt<'s> {
    pub at: usize,
    pub kind: StmtKind<'s>,
}

#[derive(Debug)]
pub enum StmtKind<'s> {
    Label(&'s str),
    Instr(Instr<'s>),
    /// `.loc file line column`.
    Loc(u64, u64, u64),
    /// `.reg .b32 %r<10>, %a;` as type and (name, count).
    Reg(Vec<Qual<'s>>, Vec<(&'s str, Option<u64>)>),
    Var(Var<'s>),
    Block(Vec<Stmt<'s>>),
    BranchTargets(Vec<&'s str>),
    CallTargets(Vec<&'s str>),
    CallPrototype(Vec<Param<'s>>, Vec<Param<'s>>),
    Pragma,
}

/// An instruction.
#[derive(Debug)]
pub struct Instr<'s> {
    /// Guard predicate and whether it is negated.
    pub guard: Option<(&'s str, bool)>,
    /// `ld.global.v4.f32`.
    pub opcode: &'s str,
    pub operands: Vec<Operand<'s>>,
}

/// A name or a literal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Atom<'s> {
    /// Register, variable, label, function or special register.
    Name(&'s str),
    /// `name+8`.
    Offset(&'s str, i64),
    Int(i128),
    /// Decimal float literal.
    Float(f64),
    Bits32(u32),
    Bits64(u64),
}

/// An instruction operand.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand<'s> {
    Atom(Atom<'s>),
    /// `%p|%q`.
    Pair(&'s str, &'s str),
    /// `!%p`.
    Not(&'s str),
    /// `{%r1, %r2}`.
    Vector(Vec<Atom<'s>>),
    /// `[%rd1+16]`, `[map, {%r1, %r2}]`.
    Address(Atom<'s>, Vec<Operand<'s>>),
    /// `(a, b)` of a call.
    List(Vec<Atom<'s>>),
}
