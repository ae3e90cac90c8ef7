//! What a launch does, counted in the kernel's IR without running it: floating-point operations and bytes.
//!
//! One program in the middle of the grid is walked with the launch's numbers: loops whose bounds follow from them count as often as they run, elements out of bounds
//! do not count. What depends on data (a `while`, a branch on a loaded value) counts once, or half. Figures are exact for dense kernels and estimates for others.

use std::collections::HashMap;

use kiln_ir::entity::{Block, Value};
use kiln_ir::inst::{Const, InstData, Place, SliceIndex, ViewIndex};
use kiln_ir::ops::{BinaryOp, CmpOp};
use kiln_ir::signature::{ArgDesc, Bound};
use kiln_ir::{Function, Module};

use crate::report::Report;
use crate::session::{CompileError, Session};

/// Counts of a whole launch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// Floating-point operations of matrix products; a multiply-add counts as two.
    pub dot_flops: f64,
    /// Floating-point operations lane by lane, and those of reductions.
    pub lane_flops: f64,
    /// Bytes that programs load, each as often as it is loaded.
    pub loaded: f64,
    /// Bytes that programs store.
    pub stored: f64,
    /// IR instructions that programs execute.
    pub steps: f64,
    /// Rows of tiles that they go through: each instruction as often as its largest tile has rows (runs of its last axis).
    pub rows: f64,
    /// Programs.
    pub programs: f64,
}

impl Work {
    /// All floating-point operations.
    pub fn flops(&self) -> f64 {
        self.dot_flops + self.lane_flops
    }
}

impl Session {
    /// Counts what a launch does: `args` as they were bound.
    ///
    /// # Errors
    /// Where the kernel cannot be instantiated for the launch.
    pub fn work(&self, kernel: &str, bound: &Bound, args: &[ArgDesc<'_>], num_sms: i64) -> Result<Work, CompileError> {
        let (module, _) = self
            .guard(&format!("counting `{kernel}`"), || self.program.instantiate(kernel, &bound.spec))?
            .map_err(|diagnostics| CompileError::Refused(Report { diagnostics, sources: self.sources.clone() }))?;
        self.guard("counting work", || count(&module, bound, args, num_sms))
    }
}

fn count(module: &Module, bound: &Bound, args: &[ArgDesc<'_>], num_sms: i64) -> Work {
    let Some(kernel) = module.kernel() else { return Work::default() };
    let func = &module.funcs[kernel];
    let mut counter = Counter { func, bound, num_sms, known: HashMap::new(), work: Work::default() };
    for (info, &value) in func.params.iter().zip(func.param_values()) {
        let number = info.number as usize;
        let known = match args.get(number) {
            Some(ArgDesc::Tensor(tensor)) => Some(Known::View(tensor.dims.to_vec())),
            Some(ArgDesc::Number(number, _)) => match *number {
                kiln_ir::signature::Number::Int(v) => Some(Known::Int(v)),
                kiln_ir::signature::Number::UInt(v) => i64::try_from(v).ok().map(Known::Int),
                kiln_ir::signature::Number::Bool(v) => Some(Known::Int(i64::from(v))),
                kiln_ir::signature::Number::Float(_) => None,
            },
            _ => None,
        };
        counter.set(value, known);
    }
    counter.block(func.body, 1.0);
    let programs: f64 = bound.grid.iter().map(|&extent| extent as f64).product();
    let one = counter.work;
    Work {
        dot_flops: one.dot_flops * programs,
        lane_flops: one.lane_flops * programs,
        loaded: one.loaded * programs,
        stored: one.stored * programs,
        steps: one.steps * programs,
        rows: one.rows * programs,
        programs,
    }
}

/// What is known of a value in the program that is walked.
#[derive(Clone)]
enum Known {
    Int(i64),
    /// Extents.
    View(Vec<i64>),
}

struct Counter<'a> {
    func: &'a Function,
    bound: &'a Bound,
    num_sms: i64,
    known: HashMap<Value, Known>,
    work: Work,
}

impl Counter<'_> {
    fn set(&mut self, value: Value, known: Option<Known>) {
        match known {
            Some(known) => drop(self.known.insert(value, known)),
            None => drop(self.known.remove(&value)),
        }
    }

    fn int(&self, value: Value) -> Option<i64> {
        match self.known.get(&value) {
            Some(Known::Int(v)) => Some(*v),
            _ => None,
        }
    }

    fn view(&self, value: Value) -> Option<Vec<i64>> {
        match self.known.get(&value) {
            Some(Known::View(dims)) => Some(dims.clone()),
            _ => None,
        }
    }

    fn lanes(&self, value: Value) -> f64 {
        let ty = self.func.values[value].ty;
        if ty.is_tile() { ty.num_elements() as f64 } else { 1.0 }
    }

    /// Rows of a tile; none of a number.
    fn rows(&self, value: Value) -> f64 {
        let ty = self.func.values[value].ty;
        match ty.is_tile().then(|| ty.shape().last()).flatten() {
            Some(&last) => ty.num_elements() as f64 / f64::from(last.max(1)),
            None => 0.0,
        }
    }

    fn is_float(&self, value: Value) -> bool {
        let ty = self.func.values[value].ty;
        ty.is_tile() && ty.scalar_elem().is_some_and(|e| e.is_float())
    }

    /// Bytes of an access, given a value of its shape: what is in bounds of it.
    fn bytes(&self, place: &Place, shaped: Value) -> f64 {
        let ty = self.func.values[shaped].ty;
        let all = ty.num_elements() as f64 * f64::from(ty.elem().bytes());
        let Place::View(access) = place else { return all };
        let Some(dims) = self.view(access.view) else { return all };
        let inside = access.index.iter().zip(dims).map(|(index, extent)| match index {
            SliceIndex::Span { start, len } => match self.int(*start) {
                Some(start) => (extent.min(start.saturating_add(i64::from(*len))) - start.max(0)).max(0) as f64 / f64::from(*len),
                None => 1.0,
            },
            SliceIndex::At(_) | SliceIndex::Gather(_) => 1.0,
        });
        all * inside.product::<f64>()
    }

    /// Walks a block that runs `times` times. Gives back what it yields, as far as known.
    fn block(&mut self, block: Block, times: f64) -> Vec<Option<Known>> {
        for &inst in &self.func.blocks[block].insts {
            if let InstData::Yield { args } = &self.func.insts[inst] {
                return args.iter().map(|v| self.known.get(v).cloned()).collect();
            }
            self.work.steps += times;
            let results = self.func.inst_results[inst].clone();
            let operands = self.func.insts[inst].operands();
            let rows = results.iter().chain(&operands).map(|v| self.rows(*v)).fold(0.0, f64::max);
            self.work.rows += rows * times;
            let known = self.inst(&self.func.insts[inst], results.first().copied(), times);
            for (i, &result) in results.iter().enumerate() {
                let known = known.get(i).cloned().flatten();
                self.set(result, known);
            }
        }
        vec![]
    }

    fn inst(&mut self, data: &InstData, result: Option<Value>, times: f64) -> Vec<Option<Known>> {
        let lanes = result.map_or(1.0, |r| self.lanes(r)) * times;
        let float = result.is_some_and(|r| self.is_float(r));
        let one = |known: Option<Known>| vec![known];
        match data {
            InstData::Const { value: Const::Int(v) } => return one(Some(Known::Int(*v))),
            InstData::ProgramId { axis } => return one(Some(Known::Int(self.bound.grid[usize::from(*axis)] / 2))),
            InstData::NumPrograms { axis } => return one(Some(Known::Int(self.bound.grid[usize::from(*axis)]))),
            InstData::NumSms => return one(Some(Known::Int(self.num_sms))),
            InstData::Binary { op, a, b } => {
                self.work.lane_flops += if float { lanes } else { 0.0 };
                return one(self.binary(*op, *a, *b));
            }
            InstData::Cmp { op, a, b } => {
                let holds = self.int(*a).zip(self.int(*b)).map(|(a, b)| match op {
                    CmpOp::Eq => a == b,
                    CmpOp::Ne => a != b,
                    CmpOp::Lt => a < b,
                    CmpOp::Le => a <= b,
                    CmpOp::Gt => a > b,
                    CmpOp::Ge => a >= b,
                });
                return one(holds.map(|h| Known::Int(i64::from(h))));
            }
            InstData::Cast { arg } if !float => return one(self.int(*arg).map(Known::Int)),
            InstData::Unary { .. } | InstData::Select { .. } if float => self.work.lane_flops += lanes,
            InstData::Fma { .. } => self.work.lane_flops += 2.0 * lanes,
            InstData::MakeView { dims, .. } => {
                return one(dims.iter().map(|d| self.int(*d)).collect::<Option<Vec<_>>>().map(Known::View));
            }
            InstData::SubView { view, index } => return one(self.sub_view(*view, index)),
            InstData::PermuteView { view, perm } => {
                let dims = self.view(*view).map(|dims| perm.iter().map(|&p| dims[usize::from(p)]).collect());
                return one(dims.map(Known::View));
            }
            InstData::ViewDim { view, axis } => {
                return one(self.view(*view).and_then(|dims| dims.get(usize::from(*axis)).copied()).map(Known::Int));
            }
            InstData::Load { place, .. } | InstData::AtomicLoad { place, .. } => {
                if let Some(result) = result {
                    self.work.loaded += self.bytes(place, result) * times;
                }
            }
            InstData::Store { place, value, .. } | InstData::AtomicStore { place, value, .. } => {
                self.work.stored += self.bytes(place, *value) * times;
            }
            InstData::AtomicRmw { place, value, .. } | InstData::AtomicCas { place, value, .. } => {
                let bytes = self.bytes(place, *value) * times;
                self.work.loaded += bytes;
                self.work.stored += bytes;
            }
            InstData::Dot { a, .. } => {
                let k = self.func.values[*a].ty.shape().last().copied().unwrap_or(1);
                self.work.dot_flops += 2.0 * lanes * f64::from(k);
            }
            InstData::DotScaled { b, .. } => {
                let shape = self.func.values[*b].ty.shape();
                let k = shape.get(shape.len().saturating_sub(2)).copied().unwrap_or(1);
                self.work.dot_flops += 2.0 * lanes * f64::from(k);
            }
            InstData::Reduce { args, .. } | InstData::Scan { args, .. } => {
                let operands: f64 = args.iter().filter(|v| self.is_float(**v)).map(|v| self.lanes(*v)).sum();
                self.work.lane_flops += operands * times;
            }
            InstData::For { lo, hi, step, init, body, .. } => {
                self.for_loop([*lo, *hi, *step], init, *body, times);
            }
            InstData::While { cond, body, .. } => {
                self.block(*cond, times);
                self.block(*body, times);
            }
            InstData::If { cond, then, otherwise } => {
                return match self.int(*cond) {
                    Some(0) => self.block(*otherwise, times),
                    Some(_) => self.block(*then, times),
                    None => {
                        self.block(*then, times / 2.0);
                        self.block(*otherwise, times / 2.0);
                        vec![]
                    }
                };
            }
            _ => {}
        }
        vec![]
    }

    /// The first trips as one, and the last, which may hang over an edge.
    fn for_loop(&mut self, [lo, hi, step]: [Value; 3], init: &[Value], body: Block, times: f64) {
        let params = self.func.blocks[body].params.clone();
        let bounds = self.int(lo).zip(self.int(hi)).zip(self.int(step));
        let trips = bounds.map(|((lo, hi), step)| {
            if step <= 0 { (lo, 0, 1) } else { (lo, (hi - lo).max(0).unsigned_abs().div_ceil(step.unsigned_abs()) as i64, step) }
        });
        for (carried, first) in params.iter().skip(1).zip(init) {
            // Views and numbers that a loop carries change from trip to trip.
            let keeps = matches!(self.known.get(first), Some(Known::View(_)));
            let known = self.known.get(first).filter(|_| keeps).cloned();
            self.set(*carried, known);
        }
        let Some((lo, trips, step)) = trips else {
            self.set(params[0], None);
            self.block(body, times);
            return;
        };
        for (at, count) in [(0, trips - 1), (trips - 1, 1)] {
            if trips > 0 && count > 0 {
                self.set(params[0], Some(Known::Int(lo + at * step)));
                self.block(body, times * count as f64);
            }
        }
    }

    fn binary(&self, op: BinaryOp, a: Value, b: Value) -> Option<Known> {
        let (a, b) = (self.int(a)?, self.int(b)?);
        let value = match op {
            BinaryOp::Add => a.checked_add(b)?,
            BinaryOp::Sub => a.checked_sub(b)?,
            BinaryOp::Mul => a.checked_mul(b)?,
            BinaryOp::Div => a.checked_div(b).unwrap_or(0),
            BinaryOp::Rem => a.checked_rem(b).unwrap_or(a),
            BinaryOp::Min => a.min(b),
            BinaryOp::Max => a.max(b),
            BinaryOp::And => a & b,
            BinaryOp::Or => a | b,
            _ => return None,
        };
        Some(Known::Int(value))
    }

    fn sub_view(&self, view: Value, index: &[ViewIndex]) -> Option<Known> {
        let dims = self.view(view)?;
        let mut rest = vec![];
        for (index, extent) in index.iter().zip(dims) {
            match index {
                ViewIndex::At(_) => {}
                ViewIndex::Full => rest.push(extent),
                ViewIndex::Range { lo, hi } => {
                    let (lo, hi) = (self.int(*lo)?.clamp(0, extent), self.int(*hi)?.clamp(0, extent));
                    rest.push((hi - lo).max(0));
                }
            }
        }
        Some(Known::View(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln_ir::ScalarType;
    use kiln_ir::signature::{LaunchOptions, TensorDesc};

    fn work(source: &str, shapes: &[&[i64]]) -> Work {
        let session = Session::from_source("k.kiln", source).unwrap();
        let signature = session.kernel("k").unwrap();
        let strides: Vec<Vec<i64>> =
            shapes.iter().map(|dims| (0..dims.len()).map(|i| dims[i + 1..].iter().product()).collect()).collect();
        let args: Vec<ArgDesc<'_>> = shapes
            .iter()
            .zip(&strides)
            .enumerate()
            .map(|(i, (dims, strides))| {
                let address = (i as u64 + 1) << 32;
                ArgDesc::Tensor(TensorDesc { elem: ScalarType::F32.into(), address, dims, strides, writable: true })
            })
            .collect();
        let bound = signature.bind(&args, &LaunchOptions { num_sms: 2, ..Default::default() }).unwrap();
        session.work("k", &bound, &args, 2).unwrap()
    }

    #[test]
    fn a_product_is_counted_exactly() {
        let source = "kernel k<const B: int = 32>(a: tensor<f32, [M, K]>, b: tensor<f32, [K, N]>, c: mut tensor<f32, [M, N]>)
            grid [cdiv(M, B), cdiv(N, B)] {
            let (m, n) = (program_id(0) * B, program_id(1) * B);
            let mut acc = zeros::<f32>([B, B]);
            for k in (0..K).step_by(B) { acc = dot(a[m..+B, k..+B], b[k..+B, n..+B], acc); }
            c[m..+B, n..+B] = acc;
        }";
        let found = work(source, &[&[64, 128], &[128, 96], &[64, 96]]);
        assert_eq!(found.dot_flops, 2.0 * 64.0 * 96.0 * 128.0);
        assert_eq!(found.stored, 64.0 * 96.0 * 4.0);
        // Every tile of `a` is loaded by three programs, every tile of `b` by two.
        assert_eq!(found.loaded, 4.0 * (3.0 * 64.0 * 128.0 + 2.0 * 128.0 * 96.0));
        assert_eq!(found.programs, 6.0);
        // Rows, 32 a tile: of four trips of a program (K / B) those of two loads and a product, and those of the zeros, the loop that carries the sum, and the store.
        assert_eq!(found.rows, 6.0 * 32.0 * (4.0 * 3.0 + 3.0));
    }

    #[test]
    fn what_hangs_over_an_edge_does_not_count() {
        let source = "kernel k<const B: int = 64>(x: tensor<f32, [M, N]>, y: mut tensor<f32, [M, N]>) grid [M] {
            let m = program_id(0);
            for n in (0..N).step_by(B) { y[m, n..+B] = x[m, n..+B] * 2.0; }
        }";
        let found = work(source, &[&[10, 100], &[10, 100]]);
        assert_eq!((found.loaded, found.stored), (4000.0, 4000.0));
        // Lanes beyond the edge are computed all the same.
        assert_eq!(found.lane_flops, 10.0 * 128.0);
    }
}
