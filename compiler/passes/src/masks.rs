//! `masks`: drops bounds checks and comparisons whose outcome the facts prove.
//!
//! A dimension of an access whose every lane is certainly inside the view gets its `in_bounds` bit; a load with all bits and no mask needs no
//! `other`. A comparison of integers (an explicit mask `i < n`, a causal mask) that has one outcome for all lanes of all launches becomes a
//! constant; `canonicalize` then removes the selects and masks it fed. What is known comes from `analysis::numbers`.
//!
//! ```text
//! ; v0: tensor<f32, 1> {.. dims [?%128] ..}, K is v1 = view_dim v0 axis 0
//! before: for v2..v1 step v3 init [] (v4: index) {            ; 0..K step 128
//!             v5: tile<f32, [128]> = load v0[v4..+128]
//! after:      v5: tile<f32, [128]> = load v0[v4..+128!]
//! ```

use kiln_ir::ops::BinaryOp;
use kiln_ir::{Const, Function, Inst, InstData, Place, SliceIndex, Value};

use crate::analysis::numbers::Numbers;
use crate::manager::{PassContext, PassResult};

/// Runs the pass.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    let numbers = Numbers::new(func, context.fits_32_bit);
    let mut insts: Vec<Inst> = Vec::new();
    // What is assumed is true by itself; it must stay for those who look for it.
    let mut assumed: Vec<Value> = Vec::new();
    func.walk(|_, inst| {
        insts.push(inst);
        if let InstData::Assume { cond } = func.insts[inst] {
            assumed.push(cond);
        }
    });
    let mut next = 0;
    while let Some(&cond) = assumed.get(next) {
        next += 1;
        if let Some(&InstData::Binary { op: BinaryOp::And, a, b }) = func.def_data(cond) {
            assumed.extend([a, b]);
        }
    }
    for inst in insts {
        if let InstData::Cmp { op, a, b } = func.insts[inst] {
            if !assumed.contains(&func.result(inst))
                && let Some(holds) = numbers.compare(func, op, a, b)
            {
                func.insts[inst] = InstData::Const { value: Const::Int(holds.into()) };
            }
            continue;
        }
        let proved = match place(&func.insts[inst]) {
            Some(Place::View(_)) => prove(func, &numbers, inst),
            _ => continue,
        };
        let Some(Place::View(access)) = place_mut(&mut func.insts[inst]) else { continue };
        access.in_bounds |= proved;
        let all = u32::from(access.in_bounds) == (1 << access.index.len()) - 1;
        // A mask that this walk has found to be true is as good as none.
        let unmasked = match &func.insts[inst] {
            InstData::Load { mask, .. } => mask.is_none_or(|m| is_true(func, m)),
            _ => false,
        };
        if let InstData::Load { other, .. } = &mut func.insts[inst]
            && all
            && unmasked
        {
            *other = None;
        }
    }
    Ok(())
}

fn is_true(func: &Function, value: Value) -> bool {
    matches!(func.def_data(value), Some(InstData::Const { value: Const::Int(1) }))
}

/// How many bounds checks of an access, or outcomes of a comparison, are open.
pub(crate) fn undecided(func: &Function, numbers: &Numbers, inst: Inst) -> u32 {
    match &func.insts[inst] {
        &InstData::Cmp { op, a, b } => u32::from(numbers.compare(func, op, a, b).is_none()),
        data => match place(data) {
            Some(Place::View(access)) => {
                let checked = access.index.len() as u32 - u32::from(access.in_bounds).count_ones();
                checked - prove(func, numbers, inst).count_ones()
            }
            _ => 0,
        },
    }
}

/// A bit for each dimension of an access that is certainly in bounds.
fn prove(func: &Function, numbers: &Numbers, inst: Inst) -> u8 {
    let Some(Place::View(access)) = place(&func.insts[inst]) else { return 0 };
    let mut proved = 0;
    for (dim, index) in access.index.iter().enumerate() {
        let (value, len) = match *index {
            SliceIndex::At(at) | SliceIndex::Gather(at) => (at, 1),
            SliceIndex::Span { start, len } => (start, i64::from(len)),
        };
        if access.in_bounds >> dim & 1 == 0 && numbers.in_bounds(func, access.view, dim, value, len) {
            proved |= 1 << dim;
        }
    }
    proved
}

fn place(data: &InstData) -> Option<&Place> {
    match data {
        InstData::Load { place, .. }
        | InstData::Store { place, .. }
        | InstData::Prefetch { place, .. }
        | InstData::AtomicRmw { place, .. }
        | InstData::AtomicCas { place, .. }
        | InstData::AtomicLoad { place, .. }
        | InstData::AtomicStore { place, .. } => Some(place),
        _ => None,
    }
}

fn place_mut(data: &mut InstData) -> Option<&mut Place> {
    match data {
        InstData::Load { place, .. }
        | InstData::Store { place, .. }
        | InstData::Prefetch { place, .. }
        | InstData::AtomicRmw { place, .. }
        | InstData::AtomicCas { place, .. }
        | InstData::AtomicLoad { place, .. }
        | InstData::AtomicStore { place, .. } => Some(place),
        _ => None,
    }
}
