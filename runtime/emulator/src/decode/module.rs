//! Module scope: variables are laid out, functions numbered, then every body is decoded.

use rustc_hash::{FxHashMap, FxHashSet};

use super::body::{Body, Sym};
use super::program::{GlobalVar, Program, Target};
use crate::arch::Arch;
use crate::error::Error;
use crate::ptx::ast::*;
use crate::ptx::{line_of, parse};

/// Largest module variable, in bytes.
const MAX_VAR: u64 = 1 << 32;
/// Size of the constant bank, in bytes.
const MAX_CONST: u64 = 64 << 10;

/// Names every function sees.
pub struct Globals<'s> {
    /// Module-scope meaning of names.
    pub names: FxHashMap<&'s str, Sym>,
    /// Parameters of each entry.
    pub kernel_params: FxHashMap<&'s str, Vec<KernelParam<'s>>>,
    /// `.shared` variables declared inside a function.
    pub shared_locals: Vec<(u32, Vec<(&'s str, Sym)>)>,
    /// Function names in order.
    pub functions: Vec<&'s str>,
    /// Whether a function has a body here.
    pub defined: Vec<bool>,
    /// Target architecture of the module: 80, 90 ...
    pub sm: u32,
    /// The target is an `a` architecture.
    pub accelerated: bool,
    /// First usable shared-memory address.
    pub shared_base: u32,
}

/// A parameter of an entry.
pub struct KernelParam<'s> {
    /// Name in the PTX.
    pub key: &'s str,
    /// Byte offset.
    pub offset: u32,
    /// Bytes.
    pub size: u32,
}

/// Rounds up to a multiple of `align` (a power of two or anything positive).
pub fn align_up(value: u64, align: u64) -> u64 {
    value.div_ceil(align.max(1)).saturating_mul(align.max(1))
}

/// Width in bits of a fundamental type such as `.f32`.
pub fn type_bits(ty: &str) -> Option<u32> {
    Some(match ty.trim_start_matches('.') {
        "pred" => 1,
        "b8" | "u8" | "s8" => 8,
        "b16" | "u16" | "s16" | "f16" | "bf16" | "e4m3x2" | "e5m2x2" => 16,
        "b32" | "u32" | "s32" | "f32" | "f16x2" | "bf16x2" | "tf32" | "u16x2" | "s16x2" => 32,
        "b64" | "u64" | "s64" | "f64" | "f32x2" => 64,
        "b128" => 128,
        _ => return None,
    })
}

/// Size and alignment of a declared variable, in bytes.
pub fn var_layout(quals: &[Qual], dims: &[Option<u64>]) -> Result<(u64, u64), String> {
    let mut align = None;
    let mut element = None;
    let mut vector = 1;
    let mut pointer = false;
    for qual in quals {
        match qual {
            // `.ptr .global .align 16` describes what is pointed to.
            Qual::Align(a) if !pointer => align = Some(*a),
            Qual::Dot(".ptr") => pointer = true,
            Qual::Dot(".v2") => vector = 2,
            Qual::Dot(".v4") => vector = 4,
            Qual::Dot(d) if element.is_none() => element = type_bits(d).map(|b| u64::from(b / 8).max(1)),
            _ => {}
        }
    }
    let element = element.ok_or("a variable without a fundamental type")?;
    let mut size = element * vector;
    let natural = size;
    for d in dims {
        size = size.checked_mul(d.unwrap_or(0)).filter(|s| *s <= MAX_VAR).ok_or("a variable larger than 4 GiB")?;
    }
    let align = align.unwrap_or(natural);
    if !align.is_power_of_two() || align > 1 << 20 {
        return Err(format!("alignment {align} is not a power of two up to 1 MiB"));
    }
    Ok((size, align))
}

/// Loads a PTX text for a machine of architecture `arch`.
///
/// # Errors
/// [`Error::Parse`] or [`Error::Unsupported`] with the PTX line.
pub fn load(source: &str, arch: Arch) -> Result<Program, Error> {
    let module = parse(source)?;
    let fail = |at: usize, message: String| Error::Unsupported { line: line_of(source, at), message };
    let (sm, accelerated) = target(&module, arch)?;
    let mut program = Program::default();
    for (index, path) in &module.files {
        program.files.insert(*index as u32, path.clone());
    }
    let mut globals = Globals {
        names: FxHashMap::default(),
        kernel_params: FxHashMap::default(),
        shared_locals: vec![],
        functions: vec![],
        defined: vec![],
        sm,
        accelerated,
        shared_base: arch.reserved_shared(),
    };

    // Functions: a later definition fills an earlier declaration.
    let mut bodies: Vec<&Function> = vec![];
    for function in &module.functions {
        match program.by_name.get(function.name) {
            Some(&i) => {
                if function.body.is_some() {
                    if globals.defined[i as usize] {
                        return Err(fail(function.at, format!("`{}` is defined twice", function.name)));
                    }
                    globals.defined[i as usize] = true;
                    bodies[i as usize] = function;
                }
            }
            None => {
                let index = bodies.len() as u32;
                program.by_name.insert(function.name.to_owned(), index);
                globals.functions.push(function.name);
                globals.defined.push(function.body.is_some());
                globals.names.insert(function.name, Sym::Static(Target::Function(index)));
                bodies.push(function);
            }
        }
    }
    for (alias, name) in &module.aliases {
        if let Some(sym) = globals.names.get(name).copied() {
            globals.names.insert(alias, sym);
        }
    }
    for function in bodies.iter().filter(|f| f.is_entry) {
        let mut offset = 0u64;
        let mut list = vec![];
        for param in &function.params {
            let (size, align) = var_layout(&param.quals, &param.dims).map_err(|m| fail(param.at, m))?;
            offset = align_up(offset, align);
            list.push(KernelParam { key: param.name, offset: offset as u32, size: size as u32 });
            offset += size;
            if offset > 32764 {
                return Err(fail(param.at, "more than 32764 bytes of kernel parameters".to_owned()));
            }
        }
        globals.kernel_params.insert(function.name, list);
    }

    let mut inits: Vec<(&Var, &Declarator, Target)> = vec![];
    let inner = bodies.iter().flat_map(|f| f.body.iter()).flat_map(|b| variables(b));
    for var in module.vars.iter().chain(inner) {
        for d in &var.names {
            if matches!(var.space, ".shared" | ".local" | ".param") {
                continue;
            }
            let (size, align) = var_layout(&var.quals, &d.dims).map_err(|m| fail(var.at, m))?;
            let size = match &d.init {
                // `name[] = {..}` takes its size from the list.
                Some(init) if size == 0 => {
                    let mut bytes = vec![];
                    fill(init, &var.quals, &globals, &mut bytes, &mut vec![]).map_err(|m| fail(var.at, m))?;
                    bytes.len() as u64
                }
                _ => size,
            };
            let target = match var.space {
                ".global" => {
                    if var.is_extern {
                        return Err(fail(var.at, format!("extern .global `{}` is defined nowhere", d.name)));
                    }
                    program.globals.push(GlobalVar { name: d.name.to_owned(), size, align, init: vec![], relocs: vec![] });
                    Target::Global(program.globals.len() as u32 - 1)
                }
                ".const" => {
                    let offset = align_up(program.constants.len() as u64, align);
                    if offset + size > MAX_CONST {
                        return Err(fail(var.at, "more than 64 KiB of .const memory".to_owned()));
                    }
                    program.constants.resize((offset + size) as usize, 0);
                    Target::Constant(offset as u32)
                }
                other => return Err(fail(var.at, format!("{other} variables are not supported"))),
            };
            globals.names.insert(d.name, Sym::Static(target));
            inits.push((var, d, target));
        }
    }
    // Initializers may name variables declared later.
    for (var, d, target) in inits {
        let Some(init) = &d.init else { continue };
        let mut bytes = vec![];
        let mut relocs = vec![];
        fill(init, &var.quals, &globals, &mut bytes, &mut relocs).map_err(|m| fail(var.at, m))?;
        match target {
            Target::Global(i) => {
                let global = &mut program.globals[i as usize];
                bytes.truncate(global.size as usize);
                global.init = bytes;
                global.relocs = relocs;
            }
            Target::Constant(offset) => {
                let room = &mut program.constants[offset as usize..];
                let n = bytes.len().min(room.len());
                room[..n].copy_from_slice(&bytes[..n]);
                program.constant_relocs.extend(relocs.into_iter().map(|(o, t, a)| (o + offset, t, a)));
            }
            Target::Function(_) => {}
        }
    }

    let smem = shared(&module, &bodies, &mut globals).map_err(|(at, m)| fail(at, m))?;
    for (i, function) in bodies.iter().enumerate() {
        let mut decoded = if function.body.is_some() {
            Body::decode(&globals, i as u32, function, source)?
        } else {
            super::program::Function { name: function.name.to_owned(), ..Default::default() }
        };
        decoded.static_smem = smem[i];
        program.functions.push(decoded);
    }
    Ok(program)
}

/// Checks `.target` against the machine: returns the number and whether it is an `a` target.
fn target(module: &Module, arch: Arch) -> Result<(u32, bool), Error> {
    let fail = |message: String| Err(Error::Unsupported { line: 1, message });
    let Some(name) = module.targets.first() else {
        return fail("the module has no .target".to_owned());
    };
    let digits = name.strip_prefix("sm_").unwrap_or_default();
    let accelerated = digits.ends_with('a');
    let Ok(sm) = digits.trim_end_matches('a').parse::<u32>() else {
        return fail(format!(".target {name} is not supported: sm_50 to sm_90a are"));
    };
    if sm > arch.sm() || (accelerated && (sm != arch.sm() || !arch.accelerated())) {
        return fail(format!(".target {name} does not run on {arch}"));
    }
    Ok((sm, accelerated))
}

/// All variables declared in a body, blocks included.
fn variables<'m, 's>(body: &'m [Stmt<'s>]) -> Vec<&'m Var<'s>> {
    let mut found = vec![];
    let mut stack = vec![body];
    while let Some(list) = stack.pop() {
        for statement in list {
            match &statement.kind {
                StmtKind::Var(v) => found.push(v),
                StmtKind::Block(inner) => stack.push(inner),
                _ => {}
            }
        }
    }
    found
}

/// Names that a body mentions in operands.
fn mentioned<'s>(body: &[Stmt<'s>]) -> FxHashSet<&'s str> {
    let mut names = FxHashSet::default();
    let mut stack = vec![body];
    while let Some(list) = stack.pop() {
        for statement in list {
            match &statement.kind {
                StmtKind::Block(inner) => stack.push(inner),
                StmtKind::Instr(instr) => {
                    for operand in &instr.operands {
                        if let Operand::Atom(a) | Operand::Address(a, _) = operand
                            && let Atom::Name(n) | Atom::Offset(n, _) = a
                        {
                            names.insert(*n);
                        }
                    }
                }
                _ => {}
            }
        }
    }
    names
}

/// Lays out shared memory: what only one entry uses overlaps with what only another uses. Returns the static size
/// of each function.
fn shared<'s>(module: &Module<'s>, bodies: &[&Function<'s>], globals: &mut Globals<'s>) -> Result<Vec<u32>, (usize, String)> {
    struct Slot<'s> {
        name: &'s str,
        owner: Option<u32>,
        only: Option<u32>,
        size: u64,
        align: u64,
    }
    let mut slots: Vec<Slot<'s>> = vec![];
    let names: Vec<FxHashSet<&'s str>> = bodies.iter().map(|f| mentioned(f.body.as_deref().unwrap_or_default())).collect();
    let mut locals: Vec<(u32, Vec<(&'s str, Sym)>)> = vec![];
    let inner = bodies
        .iter()
        .enumerate()
        .flat_map(|(i, f)| variables(f.body.as_deref().unwrap_or_default()).into_iter().map(move |v| (Some(i as u32), v)));
    for (owner, var) in module.vars.iter().map(|v| (None, v)).chain(inner) {
        if var.space != ".shared" {
            continue;
        }
        for d in &var.names {
            let (size, align) = var_layout(&var.quals, &d.dims).map_err(|m| (var.at, m))?;
            if size == 0 {
                globals.names.insert(d.name, Sym::DynamicShared(align as u32));
                continue;
            }
            let users: Vec<u32> = match owner {
                Some(f) => vec![f],
                None => (0..bodies.len() as u32).filter(|&f| names[f as usize].contains(d.name)).collect(),
            };
            let only = match users[..] {
                [f] if bodies[f as usize].is_entry => Some(f),
                _ => None,
            };
            slots.push(Slot { name: d.name, owner, only, size, align });
        }
    }
    let mut common = 0u64;
    let mut ends = vec![0u64; bodies.len()];
    for pass in 0..2 {
        if pass == 1 {
            ends.fill(common);
        }
        for slot in slots.iter().filter(|s| s.only.is_some() == (pass == 1)) {
            let end = match slot.only {
                Some(f) => &mut ends[f as usize],
                None => &mut common,
            };
            let offset = align_up(*end, slot.align);
            *end = offset + slot.size;
            if *end > 1 << 24 {
                return Err((0, format!("`{}`: more than 16 MiB of shared memory", slot.name)));
            }
            let sym = Sym::Shared(offset as u32);
            match slot.owner {
                None => {
                    globals.names.insert(slot.name, sym);
                }
                Some(f) => match locals.iter_mut().find(|(owner, _)| *owner == f) {
                    Some((_, list)) => list.push((slot.name, sym)),
                    None => locals.push((f, vec![(slot.name, sym)])),
                },
            }
        }
    }
    globals.shared_locals = locals;
    Ok(ends.iter().map(|&e| e as u32).collect())
}

/// Bytes and address places of an initializer.
fn fill(
    init: &Init,
    quals: &[Qual],
    globals: &Globals,
    bytes: &mut Vec<u8>,
    relocs: &mut Vec<(u32, Target, i64)>,
) -> Result<(), String> {
    let ty = quals
        .iter()
        .find_map(|q| match q {
            Qual::Dot(d) => type_bits(d).map(|bits| (*d, bits)),
            _ => None,
        })
        .ok_or("a variable without a fundamental type")?;
    let size = (ty.1 / 8).max(1) as usize;
    let mut address = |name: &str, addend: i64, bytes: &mut Vec<u8>| match globals.names.get(name) {
        Some(Sym::Static(target)) if size == 8 => {
            relocs.push((bytes.len() as u32, *target, addend));
            bytes.extend([0; 8]);
            Ok(())
        }
        _ => Err(format!("`{name}` cannot be an initializer of type {}", ty.0)),
    };
    match init {
        Init::List(items) => {
            for item in items {
                fill(item, quals, globals, bytes, relocs)?;
            }
            Ok(())
        }
        Init::Call("generic", name, addend) => address(name, *addend, bytes),
        Init::Call(function, ..) => Err(format!("initializer `{function}(..)` is not supported")),
        Init::Value(Atom::Name(name)) => address(name, 0, bytes),
        Init::Value(Atom::Offset(name, addend)) => address(name, *addend, bytes),
        Init::Value(atom) => {
            let value = match (atom, ty.0) {
                (Atom::Int(i), ".f32") => u64::from((*i as f32).to_bits()),
                (Atom::Int(i), ".f64") => (*i as f64).to_bits(),
                (Atom::Int(i), _) => *i as u64,
                (Atom::Float(f), ".f64") => f.to_bits(),
                (Atom::Float(f), _) => u64::from((*f as f32).to_bits()),
                (Atom::Bits32(b), ".f64") => f64::from(f32::from_bits(*b)).to_bits(),
                (Atom::Bits32(b), _) => u64::from(*b),
                (Atom::Bits64(b), ".f32") => u64::from((f64::from_bits(*b) as f32).to_bits()),
                (Atom::Bits64(b), _) => *b,
                (Atom::Name(_) | Atom::Offset(..), _) => 0,
            };
            bytes.extend(&value.to_le_bytes()[..size]);
            Ok(())
        }
    }
}
