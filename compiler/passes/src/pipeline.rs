//! The table of contents of the compiler: every pipeline, in order.

use kiln_ir::Module;
use kiln_ir::verify::CheckedModule;

use crate::manager::{Pass, PassContext, PassError, PassOptions, Report, Target, run_passes};
use crate::{canonicalize, checks, cse, dce, dot_acc, gpu, index_width, inline, licm, masks, scaled_dots, split_loops};

/// Before anything that depends on a target.
const COMMON: &[Pass] = &[
    // From here on there are no calls.
    INLINE,
    // Constants of the specialization prune branches and unroll loops; most of what is left of a generic function goes here.
    CANONICALIZE,
    CSE,
    DCE,
    // The whole steps of loops apart from the rest, which alone will need masks.
    SPLIT_LOOPS,
    // Bounds and masks, while addresses still look like the source; what they fed folds away.
    MASKS,
    CANONICALIZE,
    DOT_ACC,
    SCALED_DOTS,
    LICM,
    // Loop invariants now stand beside equal ones outside.
    CSE,
    // Masks that are left where a product's tile is masked as a whole or not at all: what made them goes with the selects.
    WHOLE_TILES,
    DCE,
    INDEX_WIDTH,
];

/// Behind `INLINE`, for the checked mode.
const CHECKS: Pass = Pass::function("checks", checks::run);

const INLINE: Pass = Pass::module("inline", inline::run);
const CANONICALIZE: Pass = Pass::function("canonicalize", canonicalize::run);
const CSE: Pass = Pass::function("cse", cse::run);
const DCE: Pass = Pass::function("dce", dce::run);
const SPLIT_LOOPS: Pass = Pass::function("split-loops", split_loops::run);
const MASKS: Pass = Pass::function("masks", masks::run);
const DOT_ACC: Pass = Pass::function("dot-acc", dot_acc::run);
const SCALED_DOTS: Pass = Pass::function("scaled-dots", scaled_dots::run);
const LICM: Pass = Pass::function("licm", licm::run);
const WHOLE_TILES: Pass = Pass::function("whole-tiles", gpu::whole_tiles::run);
const INDEX_WIDTH: Pass = Pass::function("index-width", index_width::run);
const SUB_TILES: Pass = Pass::function("sub-tiles", gpu::sub_tiles::run);
const WARPS: Pass = Pass::function("warps", gpu::warps::run);
const WARPGROUPS: Pass = Pass::function("warpgroups", gpu::warpgroups::run);
const ROLES: Pass = Pass::function("roles", gpu::roles::run);
const OVERLAP: Pass = Pass::function("overlap", gpu::overlap::run);
const STAGE: Pass = Pass::function("stage", gpu::stage::run);
const PROPAGATE: Pass = Pass::function("propagate", gpu::propagate::run);
const SPLIT_K: Pass = Pass::function("split-k", gpu::split_k::run);
const PERSIST: Pass = Pass::function("persist", gpu::persist::run);
const EPILOGUE: Pass = Pass::function("epilogue", gpu::epilogue::run);

/// What only a GPU needs, behind the common passes: once nothing else changes the tiles, they get what registers there are. What slices load anew is no longer
/// needed as a whole.
const GPU: &[Pass] = &[SUB_TILES, DCE];

/// What gives the tiles of a GPU's kernel their layouts, behind all that. Code generation runs them: again with less memory for rings where the first time took too much.
///
/// - `split-k` comes first, as what it leaves to one thread block is any program's; then `persist`, so that each role inherits the loop over programs;
/// - `warpgroups`: products that warpgroups run decide what their operands' memory looks like;
/// - `roles` takes the loads for those that the TMA engine can do; `stage` leaves the rest to the threads that multiply;
/// - `overlap` rotates the consumers' loops in which each trip does two products in turn;
/// - `propagate` makes every layout final; `epilogue` then sends the sums out by the TMA engine where that can be.
pub const LAYOUTS: &[Pass] = &[SPLIT_K, PERSIST, WARPS, WARPGROUPS, ROLES, OVERLAP, STAGE, PROPAGATE, EPILOGUE];

/// The passes for a target, in order.
pub fn passes(target: Target) -> Vec<Pass> {
    match target {
        Target::Host => COMMON.to_vec(),
        Target::Gpu { .. } => [COMMON, GPU].concat(),
    }
}

/// Every pass, once, for filetests and reproducers.
pub fn all() -> Vec<Pass> {
    let mut list: Vec<Pass> = vec![CHECKS];
    for pass in [COMMON, GPU, LAYOUTS].concat() {
        if !list.iter().any(|p| p.name == pass.name) {
            list.push(pass);
        }
    }
    list
}

/// The pass of that name.
pub fn find(name: &str) -> Option<Pass> {
    all().into_iter().find(|p| p.name == name)
}

/// Runs the whole pipeline of a target on a module as `sema` made it.
///
/// # Errors
/// See [`PassError`].
pub fn optimize(module: Module, target: Target, options: &PassOptions) -> Result<CheckedModule, PassError> {
    optimize_with_report(module, target, options).0
}

/// [`optimize`] with the times and dumps that the options ask for, also when it fails. Options may name passes of [`LAYOUTS`], for
/// [`lay_out_with_report`].
pub fn optimize_with_report(module: Module, target: Target, options: &PassOptions) -> (Result<CheckedModule, PassError>, Report) {
    let context = PassContext::new(target, options.fits_32_bit);
    let mut list = passes(target);
    if options.checked {
        let at = list.iter().position(|pass| pass.name == INLINE.name).map_or(0, |inline| inline + 1);
        list.insert(at, CHECKS);
    }
    let layouts = if target == Target::Host { &[] } else { LAYOUTS };
    if let Some(error) = options.unknown(&[&list, layouts].concat()) {
        return (Err(error), Report::default());
    }
    run_passes(module, &list, &context, &options.about(&list))
}

/// Runs [`LAYOUTS`] on what [`optimize`] made for a GPU, with the dumps that the options ask for. Options may name passes of [`optimize`].
pub fn lay_out_with_report(module: Module, target: Target, options: &PassOptions) -> (Result<CheckedModule, PassError>, Report) {
    let context = PassContext::new(target, options.fits_32_bit);
    run_passes(module, LAYOUTS, &context, &options.about(LAYOUTS))
}
