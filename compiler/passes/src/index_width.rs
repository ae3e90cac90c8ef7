//! `index-width`: compiles `index` as 32 bits where that cannot be told apart from 64.
//!
//! The launch must fit (`fits_32_bit`: every element offset, dimension and grid extent), and every number of type `index` that the function computes must
//! provably lie in a signed 32-bit range; strides count too where they are read or make a view. Numbers converted from wider integers saturate, so they
//! fit by themselves, but not what is computed from them. One value in doubt keeps the whole function at 64 bits.
//!
//! ```text
//! before: kernel @0 k(v0.x: tensor<f32, 1> {..}) grid 1 index 64 {
//! after:  kernel @0 k(v0.x: tensor<f32, 1> {..}) grid 1 index 32 {
//! ```

use kiln_ir::{Function, InstData, ScalarType};

use crate::analysis::numbers::Numbers;
use crate::manager::{PassContext, PassResult};

/// Runs the pass.
pub(crate) fn run(func: &mut Function, context: &PassContext) -> PassResult {
    if !context.fits_32_bit {
        return Ok(());
    }
    let numbers = Numbers::new(func, true);
    let mut fits = true;
    func.walk(|_, inst| {
        // Saturating, and read from memory the launch has measured.
        if matches!(func.insts[inst], InstData::Cast { .. } | InstData::ViewDim { .. }) {
            return;
        }
        let blocks = func.insts[inst].blocks();
        let params = blocks.iter().flat_map(|&b| &func.blocks[b].params);
        for &value in func.results_of(inst).iter().chain(params) {
            if func.ty(value).scalar_elem() == Some(ScalarType::Index) && func.ty(value).is_tile() {
                fits = fits && numbers.within(func, value, i64::from(i32::MIN), i64::from(i32::MAX));
            }
        }
    });
    if fits {
        func.index_bits = 32;
    }
    Ok(())
}
