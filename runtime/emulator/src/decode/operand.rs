//! Operands of instructions to register slots.

use super::body::{Body, Sym};
use super::inst::*;
use super::types::*;
use crate::error::Error;
use crate::ptx::ast::*;

/// Operands of one instruction.
pub type Ops<'o, 's> = &'o [Operand<'s>];

impl<'s> Body<'_, 's> {
    /// Refuses a module whose target is older than `sm`.
    pub fn need(&self, sm: u32, what: &str) -> Result<(), Error> {
        if self.globals.sm < sm {
            return Err(self.fail(format!("{what} needs .target sm_{sm} or newer")));
        }
        Ok(())
    }

    /// Refuses a module whose target is not `sm_90a`.
    pub fn need_accelerated(&self, what: &str) -> Result<(), Error> {
        if !self.globals.accelerated {
            return Err(self.fail(format!("{what} needs .target sm_90a")));
        }
        Ok(())
    }

    /// Operand `i`, or an error that it is missing.
    pub fn operand<'o>(&self, ops: Ops<'o, 's>, i: usize) -> Result<&'o Operand<'s>, Error> {
        ops.get(i).ok_or_else(|| self.fail(format!("operand {} is missing", i + 1)))
    }

    /// Refuses more than `n` operands.
    pub fn arity(&self, ops: Ops<'_, 's>, n: usize) -> Result<(), Error> {
        if ops.len() != n {
            return Err(self.fail(format!("{n} operands expected, {} found", ops.len())));
        }
        Ok(())
    }

    /// Slot of a source of `bits` bits.
    pub fn atom(&mut self, atom: Atom<'s>, bits: u32) -> Result<R, Error> {
        let r = match atom {
            Atom::Int(v) => self.constant(v as u64, bits),
            Atom::Float(f) => {
                let value = match bits {
                    64 => f.to_bits(),
                    16 => u64::from(half::f16::from_f64(f).to_bits()),
                    _ => u64::from((f as f32).to_bits()),
                };
                self.constant(value, bits)
            }
            Atom::Bits32(b) => {
                let value = if bits == 64 { f64::from(f32::from_bits(b)).to_bits() } else { u64::from(b) };
                self.constant(value, bits)
            }
            Atom::Bits64(b) => {
                let value = if bits == 64 { b } else { u64::from((f64::from_bits(b) as f32).to_bits()) };
                self.constant(value, bits)
            }
            Atom::Name(name) => self.named(name, 0, bits)?,
            Atom::Offset(name, offset) => self.named(name, offset, bits)?,
        };
        let fits = match r.file() {
            File::W64 => bits == 64,
            File::W32 => bits <= 32 && bits > 1,
            File::Pred => bits == 1,
        };
        if !fits {
            return Err(self.fail(format!("an operand is not {bits} bits wide")));
        }
        Ok(r)
    }

    fn named(&mut self, name: &'s str, offset: i64, bits: u32) -> Result<R, Error> {
        if name == "WARP_SZ" {
            return Ok(self.constant(32, bits));
        }
        if let Some(special) = special_register(name) {
            return Ok(self.special(special, bits));
        }
        let base = self.globals.shared_base;
        match self.lookup(name) {
            Some(Sym::Static(target)) => Ok(self.address(target, offset, bits == 64)),
            Some(Sym::Shared(at)) => Ok(self.constant((i64::from(at + base) + offset) as u64, bits)),
            Some(Sym::KernelParam(at)) => Ok(self.constant((i64::from(at) + offset) as u64, bits)),
            Some(Sym::DynamicShared(align)) if offset == 0 => Ok(self.special(Special::DynamicSmemBase(align), bits)),
            Some(Sym::Local(at) | Sym::CallParam(at, _)) if offset == 0 => Ok(self.special(Special::LocalBase(at), bits)),
            Some(Sym::DynamicShared(_) | Sym::Local(_) | Sym::CallParam(..)) => {
                Err(self.fail(format!("`{name}+{offset}` is not supported as a value")))
            }
            Some(Sym::Label(_)) => Err(self.fail(format!("label `{name}` cannot be a value"))),
            _ if offset == 0 => self.register(name, false),
            _ => Err(self.fail(format!("`{name}` is not a variable"))),
        }
    }

    /// Source operand `i` of `bits` bits.
    pub fn src(&mut self, ops: Ops<'_, 's>, i: usize, bits: u32) -> Result<R, Error> {
        match self.operand(ops, i)? {
            Operand::Atom(a) => self.atom(*a, bits),
            _ => Err(self.fail(format!("operand {} must be a register or a constant", i + 1))),
        }
    }

    /// 32-bit source slot.
    pub fn s32(&mut self, ops: Ops<'_, 's>, i: usize) -> Result<u32, Error> {
        self.src(ops, i, 32).map(R::index)
    }

    /// 64-bit source slot.
    pub fn s64(&mut self, ops: Ops<'_, 's>, i: usize) -> Result<u32, Error> {
        self.src(ops, i, 64).map(R::index)
    }

    /// Predicate source: slot and negation.
    pub fn sp(&mut self, ops: Ops<'_, 's>, i: usize) -> Result<(u32, bool), Error> {
        match self.operand(ops, i)? {
            Operand::Not(name) => {
                let r = self.register(name, false)?;
                self.pred_slot(r).map(|p| (p, true))
            }
            Operand::Atom(Atom::Int(v)) => Ok((self.const_pred(*v != 0), false)),
            Operand::Atom(a) => {
                let r = self.atom(*a, 1)?;
                Ok((r.index(), false))
            }
            _ => Err(self.fail(format!("operand {} must be a predicate", i + 1))),
        }
    }

    fn pred_slot(&self, r: R) -> Result<u32, Error> {
        if r.file() == File::Pred { Ok(r.index()) } else { Err(self.fail("a predicate is expected")) }
    }

    /// Whether `name` is a predicate register.
    pub fn is_pred(&self, name: &str) -> bool {
        self.declared_bits(name) == Some(1)
    }

    /// Destination named `name`, of `bits` bits, with its declared width.
    pub fn dst_name(&mut self, name: &'s str, bits: u32) -> Result<(R, u32), Error> {
        let (r, declared) = self.register_bits(name, true)?;
        let fits = match r.file() {
            File::W64 => bits == 64,
            File::W32 => bits <= 32 && bits > 1,
            File::Pred => bits == 1,
        };
        if !fits {
            return Err(self.fail(format!("destination {name} is not {bits} bits wide")));
        }
        Ok((r, declared))
    }

    /// Destination operand `i`.
    pub fn dst(&mut self, ops: Ops<'_, 's>, i: usize, bits: u32) -> Result<R, Error> {
        match self.operand(ops, i)? {
            Operand::Atom(Atom::Name(name)) => self.dst_name(name, bits).map(|d| d.0),
            _ => Err(self.fail(format!("operand {} must be a register", i + 1))),
        }
    }

    /// 32-bit destination slot.
    pub fn d32(&mut self, ops: Ops<'_, 's>, i: usize) -> Result<u32, Error> {
        self.dst(ops, i, 32).map(R::index)
    }

    /// Destination of the width of its register, whatever the instruction's type: `(slot, declared bits)`.
    pub fn dst_any(&mut self, ops: Ops<'_, 's>, i: usize) -> Result<(R, u32), Error> {
        match self.operand(ops, i)? {
            Operand::Atom(Atom::Name(name)) => self.register_bits(name, true),
            _ => Err(self.fail(format!("operand {} must be a register", i + 1))),
        }
    }

    /// Source that may be wider than the type, as `st` and `cvt` allow.
    pub fn src_any(&mut self, atom: Atom<'s>, bits: u32) -> Result<R, Error> {
        if let Atom::Name(name) = atom
            && special_register(name).is_none()
            && name != "WARP_SZ"
            && matches!(self.lookup(name), None | Some(Sym::Reg { .. }))
        {
            return self.register(name, false);
        }
        self.atom(atom, bits)
    }

    /// `d|p` or `d`, either part `_`.
    pub fn dst_pair(&mut self, ops: Ops<'_, 's>, i: usize, bits: u32) -> Result<(Option<u32>, Option<u32>), Error> {
        let one = |body: &mut Self, name: &'s str, bits| match name {
            "_" => Ok(None),
            name => body.dst_name(name, bits).map(|(r, _)| Some(r.index())),
        };
        match self.operand(ops, i)? {
            Operand::Atom(Atom::Name(name)) => Ok((one(self, name, bits)?, None)),
            Operand::Pair(a, b) => Ok((one(self, a, bits)?, one(self, b, 1)?)),
            _ => Err(self.fail(format!("operand {} must be a register", i + 1))),
        }
    }

    /// Names or constants of a vector operand; a scalar is a vector of one.
    pub fn vector(&self, ops: Ops<'_, 's>, i: usize) -> Result<Vec<Atom<'s>>, Error> {
        match self.operand(ops, i)? {
            Operand::Vector(v) => Ok(v.clone()),
            Operand::Atom(a) => Ok(vec![*a]),
            _ => Err(self.fail(format!("operand {} must be a register or a vector", i + 1))),
        }
    }

    /// Destination vector; `_` is `None`.
    pub fn dst_vector(&mut self, ops: Ops<'_, 's>, i: usize) -> Result<Vec<Option<(R, u32)>>, Error> {
        let mut out = vec![];
        for atom in self.vector(ops, i)? {
            out.push(match atom {
                Atom::Name("_") => None,
                Atom::Name(name) => Some(self.register_bits(name, true)?),
                _ => return Err(self.fail(format!("operand {} must hold registers", i + 1))),
            });
        }
        Ok(out)
    }

    /// Destination vector of exactly `n` 32-bit (or 64-bit) registers.
    pub fn dst_regs(&mut self, ops: Ops<'_, 's>, i: usize, n: usize, bits: u32) -> Result<Box<[R]>, Error> {
        let mut out = vec![];
        for atom in self.vector(ops, i)? {
            let Atom::Name(name) = atom else {
                return Err(self.fail(format!("operand {} must hold registers", i + 1)));
            };
            out.push(self.dst_name(name, bits)?.0);
        }
        if out.len() != n {
            return Err(self.fail(format!("operand {} must have {n} registers, not {}", i + 1, out.len())));
        }
        Ok(out.into())
    }

    /// Source vector of exactly `n` registers or constants.
    pub fn src_regs(&mut self, ops: Ops<'_, 's>, i: usize, n: usize, bits: u32) -> Result<Box<[R]>, Error> {
        let mut out = vec![];
        for atom in self.vector(ops, i)? {
            out.push(self.atom(atom, bits)?);
        }
        if out.len() != n {
            return Err(self.fail(format!("operand {} must have {n} registers, not {}", i + 1, out.len())));
        }
        Ok(out.into())
    }

    /// Base slot, offset and the space that the base itself implies (call parameters are local).
    pub fn base(&mut self, atom: Atom<'s>) -> Result<(R, i64, Option<Space>), Error> {
        let shared = i64::from(self.globals.shared_base);
        let (name, offset) = match atom {
            Atom::Name(name) => (name, 0),
            Atom::Offset(name, offset) => (name, offset),
            Atom::Int(v) => return Ok((self.constant(v as u64, 64), 0, None)),
            _ => return Err(self.fail("an address must be a register, a variable or an integer")),
        };
        Ok(match self.lookup(name) {
            Some(Sym::Shared(at)) => (self.constant(0, 32), i64::from(at) + shared + offset, None),
            Some(Sym::DynamicShared(align)) => (self.special(Special::DynamicSmemBase(align), 32), offset, None),
            Some(Sym::KernelParam(at)) => (self.constant(0, 32), i64::from(at) + offset, None),
            Some(Sym::Local(at)) => (self.special(Special::LocalBase(0), 32), i64::from(at) + offset, None),
            Some(Sym::CallParam(at, _)) => (self.special(Special::LocalBase(0), 32), i64::from(at) + offset, Some(Space::Local)),
            Some(Sym::Static(target)) => (self.address(target, offset, true), 0, None),
            _ => {
                let r = self.register(name, false)?;
                if r.file() == File::Pred {
                    return Err(self.fail("a predicate cannot be an address"));
                }
                (r, offset, None)
            }
        })
    }

    /// Address operand `i`: base, offset, implied space; nothing else in the brackets.
    pub fn address_of(&mut self, ops: Ops<'_, 's>, i: usize) -> Result<(R, i64, Option<Space>), Error> {
        match self.operand(ops, i)? {
            Operand::Address(atom, rest) if rest.is_empty() => self.base(*atom),
            _ => Err(self.fail(format!("operand {} must be an address", i + 1))),
        }
    }
}

/// Special registers that are constant for a thread.
fn special_register(name: &str) -> Option<Special> {
    let name = name.strip_prefix('%')?;
    let (head, axis) = match name.split_once('.') {
        Some((head, "x")) => (head, 0),
        Some((head, "y")) => (head, 1),
        Some((head, "z")) => (head, 2),
        Some(_) => return None,
        None => (name, 0xff),
    };
    if axis != 0xff {
        return Some(match head {
            "tid" => Special::Tid(axis),
            "ntid" => Special::Ntid(axis),
            "ctaid" => Special::Ctaid(axis),
            "nctaid" => Special::Nctaid(axis),
            "cluster_ctaid" => Special::ClusterCtaid(axis),
            "cluster_nctaid" => Special::ClusterNctaid(axis),
            "clusterid" => Special::Clusterid(axis),
            "nclusterid" => Special::Nclusterid(axis),
            _ => return None,
        });
    }
    Some(match head {
        "laneid" => Special::Laneid,
        "warpid" => Special::Warpid,
        "nwarpid" => Special::Nwarpid,
        "smid" => Special::Smid,
        "nsmid" => Special::Nsmid,
        "gridid" => Special::Gridid,
        "lanemask_eq" => Special::LanemaskEq,
        "lanemask_le" => Special::LanemaskLe,
        "lanemask_lt" => Special::LanemaskLt,
        "lanemask_ge" => Special::LanemaskGe,
        "lanemask_gt" => Special::LanemaskGt,
        "cluster_ctarank" => Special::ClusterCtarank,
        "cluster_nctarank" => Special::ClusterNctarank,
        "is_explicit_cluster" => Special::IsExplicitCluster,
        "dynamic_smem_size" => Special::DynamicSmemSize,
        "total_smem_size" => Special::TotalSmemSize,
        "aggr_smem_size" => Special::AggrSmemSize,
        h if h.starts_with("envreg") => Special::Zero,
        _ => return None,
    })
}
