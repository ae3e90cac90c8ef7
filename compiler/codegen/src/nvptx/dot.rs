//! `dot` without tensor cores: both operands in shared memory, a loop over k, one multiply-add a register and step.
//!
//! Products are summed in f32 for floats up to 32 bits (every reduced precision that `dot` may be asked for allows more), in f64
//! for f64, and in the result's integer type for integers.

use kiln_ir::{Elem, Inst, ScalarType, Shape, Value};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::emit::{Emitter, from_memory};
use super::error::{Result, internal};
use super::params::memory_type;
use super::shared_tile::SharedTile;
use super::spread::Spread;
use super::text::{Ty, Val};

/// One operand in shared memory as `[batch, K, X]`, where X is M or N: a k step reads consecutive elements.
struct Operand {
    tile: SharedTile,
    /// The result's dimension that X is.
    dim: usize,
    extent: u32,
    /// Elements between batches.
    batch: u32,
    /// Registers along X in runs of this length are consecutive elements in every thread.
    width: u32,
}

impl Emitter<'_> {
    pub(super) fn dot(&mut self, inst: Inst, a: Value, b: Value, acc: Option<Value>) -> Result<()> {
        let elem = self.func.ty(a).elem();
        let (a_shape, b_shape) = (self.shape(a), self.shape(b));
        let rank = a_shape.len();
        let [m, k, n] = [a_shape[rank - 2], a_shape[rank - 1], b_shape[rank - 1]];
        let result = self.func.ty(self.func.result(inst));
        let spread = self.spread_of(result).ok_or_else(|| internal("a dot has a tile as its result"))?;
        let batches: u32 = a_shape[..rank - 2].iter().product();
        let tiles = self.tiles([(elem, batches * k * m), (elem, batches * k * n)]);
        let [a_tile, b_tile]: [SharedTile; 2] = tiles.try_into().map_err(|_| internal("two operands"))?;
        // A is transposed on its way, so that rows of one k step lie side by side.
        self.write_tile(&a_tile, a, |e, spread, r| {
            let transposed: Shape = a_shape[..rank - 2].iter().copied().chain([k, m]).collect();
            Ok(e.flatten_with(&transposed, |e, d| {
                e.coord(
                    spread,
                    r,
                    if d == rank - 2 {
                        rank - 1
                    } else if d == rank - 1 {
                        rank - 2
                    } else {
                        d
                    },
                )
            }))
        })?;
        self.write_tile(&b_tile, b, |e, spread, r| Ok(e.flat_index(spread, r, &b_shape)))?;
        self.barrier();
        let left = self.operand(a_tile, &spread, rank - 2, m, k);
        let right = self.operand(b_tile, &spread, rank - 1, n, k);
        let sum = sum_type(elem, result.elem());
        let start: Vec<Val> = match acc {
            Some(acc) => {
                let regs = self.regs(acc);
                regs.iter().map(|&v| self.convert(v, result.elem(), sum)).collect()
            }
            None => vec![Val::zero(self.value_type(sum)); spread.registers.len()],
        };
        let total = self.multiply(&spread, &left, &right, k, sum, start)?;
        let regs = total.into_iter().map(|v| self.convert(v, sum, result.elem())).collect();
        self.define(inst, regs);
        Ok(())
    }

    fn operand(&mut self, tile: SharedTile, spread: &Spread, dim: usize, extent: u32, k: u32) -> Operand {
        let padded = (0..spread.layout.rank()).any(|d| spread.layout.physical()[d] > extent && d == dim);
        let run = spread.layout.unit().register_run(dim).len() as u32;
        let widest = (16 / tile.elem.bytes()).min(1 << run);
        let width = if padded || !spread.layout.registers_add() { 1 } else { widest.min(1 << extent.trailing_zeros()) };
        Operand { tile, dim, extent, batch: k * extent, width }
    }

    /// The loop over k.
    fn multiply(
        &mut self,
        spread: &Spread,
        left: &Operand,
        right: &Operand,
        k: u32,
        sum: Elem,
        start: Vec<Val>,
    ) -> Result<Vec<Val>> {
        let ty = self.value_type(sum);
        let (head, done) = (self.w.new_label(), self.w.new_label());
        let before = self.w.current();
        self.w.jump(head);
        self.w.start(head);
        let (step, open_step) = self.w.open_phi(Ty::I32);
        let (sums, open): (Vec<Val>, Vec<_>) = start.iter().map(|_| self.w.open_phi(ty)).unzip();
        let a = self.step_elements(spread, left, step, sum)?;
        let b = self.step_elements(spread, right, step, sum)?;
        let next: Vec<Val> = (0..sums.len())
            .map(|r| {
                if ty.is_float() {
                    let name = format!("llvm.fma.{}", super::arith::suffix(ty));
                    self.w.call(ty, &name, &[a[r], b[r], sums[r]])
                } else {
                    let product = self.w.mul(a[r], b[r]);
                    self.w.add(product, sums[r])
                }
            })
            .collect();
        let more = self.w.add(step, Val::i32(1));
        let again = self.w.icmp("ult", more, Val::i32(k));
        let latch = self.w.current();
        self.w.branch(again, head, done);
        self.w.close_phi(open_step, &[(Val::i32(0), before), (more, latch)]);
        for (phi, (&first, &value)) in open.into_iter().zip(start.iter().zip(&next)) {
            self.w.close_phi(phi, &[(first, before), (value, latch)]);
        }
        self.w.start(done);
        Ok(next)
    }

    /// For each register of the result, the element of an operand in this k step, in the type of the sum.
    fn step_elements(&mut self, spread: &Spread, operand: &Operand, step: Val, sum: Elem) -> Result<Vec<Val>> {
        let rank = spread.layout.rank();
        let elem = operand.tile.elem;
        let bytes = elem.bytes();
        let row = self.w.mul_nsw(step, Val::i32(operand.extent));
        // Registers that differ only in the other dimension read the same.
        let mut loaded: FxHashMap<SmallVec<[u32; 5]>, Vec<Val>> = FxHashMap::default();
        let mut elements = Vec::with_capacity(spread.registers.len());
        for (r, coords) in spread.registers.iter().enumerate() {
            let mut key: SmallVec<[u32; 5]> = SmallVec::from_slice(&coords[..rank - 2]);
            let within = coords[operand.dim] % operand.width;
            key.push(coords[operand.dim] - within);
            if !loaded.contains_key(&key) {
                let first = spread
                    .register(&{
                        let mut at = coords.clone();
                        at[operand.dim] -= within;
                        at
                    })
                    .ok_or_else(|| internal("a run of registers has a first one"))?;
                let x = self.coord(spread, first, operand.dim);
                // Padding reads what is there.
                let last = Val::i32(operand.extent - 1);
                let x = if spread.layout.physical()[operand.dim] > operand.extent {
                    let beyond = self.w.icmp("ugt", x, last);
                    self.w.select(beyond, last, x)
                } else {
                    x
                };
                let mut at = self.w.add_nsw(row, x);
                if rank == 3 {
                    let batch = self.coord(spread, first, 0);
                    let offset = self.w.mul_nsw(batch, Val::i32(operand.batch));
                    at = self.w.add_nsw(at, offset);
                }
                let address = self.w.offset(operand.tile.base, at, bytes);
                let fill = vec![Val::zero(memory_type(elem)); operand.width as usize];
                let raw = self.load_vector(address, &fill, Val::bool(true), Self::no_hints());
                let values = raw
                    .into_iter()
                    .map(|v| {
                        let value = from_memory(&mut self.w, v, elem, self.index);
                        self.convert(value, elem, sum)
                    })
                    .collect();
                loaded.insert(key.clone(), values);
            }
            debug_assert!(r < spread.registers.len());
            elements.push(loaded[&key][within as usize]);
        }
        Ok(elements)
    }

    fn convert(&mut self, v: Val, from: Elem, to: Elem) -> Val {
        match (from, to) {
            (Elem::Scalar(from), Elem::Scalar(to)) => self.cast_one(v, from, to),
            _ => v,
        }
    }
}

/// What products are summed in.
fn sum_type(elem: Elem, result: Elem) -> Elem {
    match elem {
        Elem::Scalar(ScalarType::F64) => elem,
        Elem::Scalar(s) if s.is_float() && result == Elem::Scalar(ScalarType::F64) => result,
        Elem::Scalar(s) if s.is_float() => Elem::Scalar(ScalarType::F32),
        _ => result,
    }
}
