//! `propagate`: every tile takes the layout of what it works on, and conversions stand only where two layouts meet.
//!
//! Forward, each value gets a *natural* layout: loads their coalesced one, reductions a slice of their operand's,
//! lane-by-lane instructions that of their operands. Constants, iotas and broadcasts have none: they are cheap and made in
//! every layout somebody asks for. Backward, each use asks for a layout by the rule of its instruction (`rules`); a load, or
//! what is computed from loads alone, adopts the one layout it is asked for where that is as good for memory, and a store takes
//! its value as it comes unless converting pays. What is then asked for in a layout that is not its own gets a `ConvertLayout` right behind its definition, which is
//! outside of every loop the use is in.
//!
//! ```text
//! before: %x = load ..        : tile<f32, [8, 512]>       after: %x = load .. : tile<f32, [8, 512], #layout0>
//!         %s = reduce add %x  : tile<f32, [8]>                   %s = reduce add %x : tile<f32, [8], #layout1>   (a slice of #layout0)
//!         %b = broadcast (expand_dims %s)                        %b : tile<f32, [8, 512], #layout0>              no conversion
//! ```

use cranelift_entity::SecondaryMap;
use kiln_ir::layout::{Conversion, Layout, boxed, plan, staged, stays_in_threads};
use kiln_ir::{Block, Function, Inst, InstData, LayoutId, Value};
use rustc_hash::FxHashMap;
use smallvec::SmallVec;

use super::LayoutStats;
use super::access::access_of;
use super::coalesce::{self, Coalesced};
use super::facts::Facts;
use super::rules::{Kind, OperandLayouts, dot_layout, is_spread, joined, kind, operand_layouts, scan_layout};
use super::tensor_cores::{self, MmaDot};
use super::warps_of;
use crate::manager::{PassContext, PassResult};

/// Cycles of the shared-memory pipe that one more memory instruction is worth.
const INSTRUCTION_COST: u32 = 8;
/// A load adopts the layout of its only use while it takes at most this many instructions.
const ADOPTED_INSTRUCTIONS: u32 = 8;

/// Lays out every tile of `func`.
pub(crate) fn run(func: &mut Function, _: &PassContext) -> PassResult {
    let (facts, warps) = (Facts::of(func), warps_of(func));
    let mut pass = Propagate {
        facts: &facts,
        coalesced: coalesce::layouts(func, &facts, warps),
        dots: tensor_cores::choose(func, warps),
        asked: FxHashMap::default(),
        natural: SecondaryMap::new(),
        soft: SecondaryMap::new(),
        chosen: SecondaryMap::new(),
        wanted: SecondaryMap::new(),
        versions: FxHashMap::default(),
    };
    pass.forward_block(func, func.body);
    pass.backward_block(func, func.body);
    pass.rewrite_block(func, func.body);
    Ok(())
}

struct Propagate<'a> {
    facts: &'a Facts,
    coalesced: Coalesced,
    /// The products for tensor cores.
    dots: SecondaryMap<Inst, Option<MmaDot>>,
    /// What operands of instructions that exchange elements were asked to be laid out as.
    asked: FxHashMap<(Inst, usize), LayoutId>,
    /// The layout a value is made in; None while it is flexible.
    natural: SecondaryMap<Value, Option<LayoutId>>,
    /// The loads that a value is computed from, where there is nothing else with a layout: it may adopt another one.
    soft: SecondaryMap<Value, Option<SmallVec<[Inst; 2]>>>,
    /// The layout that decides the operands of an instruction (see `operand_layouts`).
    chosen: SecondaryMap<Inst, Option<LayoutId>>,
    /// Layouts that uses ask for.
    wanted: SecondaryMap<Value, SmallVec<[LayoutId; 2]>>,
    /// The value that holds a tile in a layout.
    versions: FxHashMap<(Value, LayoutId), Value>,
}

impl Propagate<'_> {
    // ---- forward: natural layouts ----

    fn forward_block(&mut self, func: &Function, block: Block) {
        for &inst in &func.blocks[block].insts {
            self.forward(func, inst);
        }
    }

    fn forward(&mut self, func: &Function, inst: Inst) {
        let data = &func.insts[inst];
        match data {
            InstData::For { init, body, .. } => {
                let body = *body;
                self.carry(func, init, &func.blocks[body].params[1..], &[(body, 0)], &[body], func.results_of(inst));
            }
            InstData::While { init, cond, body } => {
                let (cond, body) = (*cond, *body);
                let params = &func.blocks[cond].params;
                self.carry(func, init, params, &[(body, 0)], &[cond, body], func.results_of(inst));
            }
            InstData::If { then, otherwise, .. } => {
                self.forward_block(func, *then);
                self.forward_block(func, *otherwise);
                for (i, &result) in func.results_of(inst).iter().enumerate() {
                    if is_spread(func, result) {
                        let sides = [func.yielded(*then)[i], func.yielded(*otherwise)[i]];
                        self.natural[result] = Some(self.pick(func, &sides).unwrap_or_else(|| self.default_of(func, result)));
                    }
                }
            }
            _ => self.forward_plain(func, inst),
        }
    }

    /// A loop: what it carries has one layout, that of the initial value, else what the first trip yields, else the default.
    /// `yields` names blocks and the number of their yielded values before the carried ones.
    fn carry(
        &mut self,
        func: &Function,
        init: &[Value],
        params: &[Value],
        yields: &[(Block, usize)],
        blocks: &[Block],
        results: &[Value],
    ) {
        for (&param, &init) in params.iter().zip(init) {
            if is_spread(func, param) {
                self.natural[param] = self.natural[init];
            }
        }
        let open: SmallVec<[usize; 4]> =
            (0..params.len()).filter(|&i| is_spread(func, params[i]) && self.natural[params[i]].is_none()).collect();
        if !open.is_empty() {
            self.forward_loop_blocks(func, params, blocks);
            for &i in &open {
                let yielded = yields.iter().find_map(|&(block, skip)| self.natural[func.yielded(block)[skip + i]]);
                self.natural[params[i]] = Some(yielded.unwrap_or_else(|| self.default_of(func, params[i])));
            }
        }
        self.forward_loop_blocks(func, params, blocks);
        for (&result, &param) in results.iter().zip(params) {
            self.natural[result] = self.natural[param];
        }
    }

    /// The blocks of a loop, whose later blocks take the carried values over from `params`.
    fn forward_loop_blocks(&mut self, func: &Function, params: &[Value], blocks: &[Block]) {
        for (number, &block) in blocks.iter().enumerate() {
            if number > 0 {
                for (&own, &param) in func.blocks[block].params.iter().zip(params) {
                    self.natural[own] = self.natural[param];
                }
            }
            self.forward_block(func, block);
        }
    }

    fn forward_plain(&mut self, func: &Function, inst: Inst) {
        let data = &func.insts[inst];
        let results: SmallVec<[Value; 2]> = SmallVec::from_slice(func.results_of(inst));
        let operands = data.operands();
        // The layout of the first result, and what decides the operands' where that is not the result's.
        let (result, deciding) = match kind(data) {
            Kind::Flexible | Kind::Control => (None, None),
            Kind::Elementwise => {
                let layout = self.pick(func, &operands);
                (layout, layout)
            }
            Kind::Memory => (self.coalesced.layouts[inst], self.coalesced.layouts[inst]),
            Kind::Shape => {
                let layout = self.shape_layout(func, inst);
                (layout, layout)
            }
            Kind::Across => {
                let shape = func.ty(operands[0]).shape();
                match data {
                    InstData::Scan { axis, .. } => {
                        let layout = scan_layout(shape, usize::from(*axis), self.coalesced.warps).intern();
                        (Some(layout), Some(layout))
                    }
                    InstData::Reduce { axis, .. } => {
                        let source = self.pick(func, &operands).unwrap_or_else(|| self.default_of(func, operands[0]));
                        (Some(source.layout().slice(usize::from(*axis)).intern()), Some(source))
                    }
                    _ => (None, None),
                }
            }
            Kind::Exchange => match data {
                InstData::Flip { arg, .. } => (self.natural[*arg], None),
                InstData::Gather { index, .. } => (self.natural[*index], None),
                InstData::Dot { .. } | InstData::DotStart { .. } => {
                    let layout = match &self.dots[inst] {
                        Some(dot) => dot.acc.clone(),
                        None => dot_layout(func.ty(results[0]).shape(), self.coalesced.warps),
                    };
                    (Some(layout.intern()), None)
                }
                InstData::Sort { .. } => (self.pick(func, &operands), None),
                _ => (None, None),
            },
        };
        if let InstData::RingNew { .. } | InstData::RingRead { .. } = data
            && let Some(layout) = func.ty(results[0]).layout()
        {
            // Where a ring lies was decided when it was made. What is read into registers is made in whatever layout is asked for.
            self.natural[results[0]] = Some(layout);
            return;
        }
        self.chosen[inst] = deciding;
        for &value in &results {
            self.soft[value] = self.sources(func, inst, &operands);
        }
        let has_layout = !matches!(kind(data), Kind::Flexible | Kind::Control | Kind::Elementwise | Kind::Shape);
        for &value in results.iter().filter(|&&v| is_spread(func, v)) {
            self.natural[value] = match result {
                Some(layout) => Some(layout),
                None if has_layout => Some(self.default_of(func, value)),
                None => None,
            };
        }
    }

    fn shape_layout(&self, func: &Function, inst: Inst) -> Option<LayoutId> {
        Some(match &func.insts[inst] {
            InstData::ExpandDims { arg, axis } => self.natural[*arg]?.layout().expand_dims(usize::from(*axis)).intern(),
            InstData::Permute { arg, perm } => {
                let order: SmallVec<[usize; 5]> = perm.iter().map(|&p| usize::from(p)).collect();
                self.natural[*arg]?.layout().permute(&order).intern()
            }
            InstData::Join { a, b } => joined(self.pick(func, &[*a, *b])?.layout()).intern(),
            InstData::Split { arg } => {
                let from = self.natural[*arg].unwrap_or_else(|| self.default_of(func, *arg)).layout();
                from.slice(from.rank() - 1).intern()
            }
            // Free where the new dimensions cut between units and repetitions; else through shared memory.
            InstData::Reshape { arg } if self.is_flexible(func, *arg) => return None,
            InstData::Reshape { arg } => {
                let result = func.result(inst);
                let free = self.natural[*arg].and_then(|from| reshaped(func, from.layout(), *arg, result));
                free.map_or_else(|| self.default_of(func, result), Layout::intern)
            }
            other => unreachable!("not a shape instruction: {other:?}"),
        })
    }

    fn is_flexible(&self, func: &Function, value: Value) -> bool {
        is_spread(func, value) && self.natural[value].is_none()
    }

    /// Layouts of operand and result for a reshape of what can be made in any layout, asked for in `layout`: those that move nothing where there are
    /// such, else usual ones, from which a conversion leads to what was asked for.
    fn flexible_reshape(&self, func: &Function, arg: Value, result: Value, layout: LayoutId) -> [LayoutId; 2] {
        let asked = layout.layout();
        let free = if asked.is_shared() { None } else { reshaped(func, asked, result, arg) };
        match free {
            Some(source) => [source.intern(), layout],
            None => {
                let usual = self.default_of(func, arg);
                let free = reshaped(func, usual.layout(), arg, result);
                [usual, free.map_or_else(|| self.default_of(func, result), Layout::intern)]
            }
        }
    }

    /// The loads an instruction's results are computed from; None where other laid-out values take part.
    fn sources(&self, func: &Function, inst: Inst, operands: &[Value]) -> Option<SmallVec<[Inst; 2]>> {
        let data = &func.insts[inst];
        match kind(data) {
            Kind::Memory if matches!(data, InstData::Load { .. }) => Some(SmallVec::from_slice(&[inst])),
            Kind::Elementwise => {
                let mut loads = SmallVec::new();
                for &operand in operands.iter().filter(|&&v| self.natural[v].is_some()) {
                    loads.extend_from_slice(self.soft[operand].as_ref()?);
                }
                Some(loads)
            }
            _ => None,
        }
    }

    /// The layout several operands meet in: the first that nothing but a conversion could change.
    fn pick(&self, func: &Function, values: &[Value]) -> Option<LayoutId> {
        let with_layout = || values.iter().filter(|&&v| is_spread(func, v)).filter_map(|&v| Some((v, self.natural[v]?)));
        with_layout().find(|&(v, _)| self.soft[v].is_none()).or_else(|| with_layout().next()).map(|(_, layout)| layout)
    }

    /// The layout of an operand of an instruction that goes through shared memory: its own, unless its elements belong to those
    /// of the result (the indices of a gather, what a dot adds to) or of the first operand (what is sorted along, what a histogram counts).
    fn exchange_operand(&self, func: &Function, inst: Inst, number: usize, value: Value) -> LayoutId {
        // As it was asked for: the operand may have adopted another layout since.
        if let Some(&asked) = self.asked.get(&(inst, number)) {
            return asked;
        }
        if let (Some(dot), 0 | 1) = (&self.dots[inst], number) {
            return self.dot_operand(func, dot, number, value);
        }
        let like = match (&func.insts[inst], number) {
            (InstData::Gather { .. }, 1) | (InstData::Dot { .. } | InstData::DotStart { .. }, 2) | (InstData::Sort { .. }, _) => {
                func.results_of(inst)[0]
            }
            (&InstData::Histogram { arg, .. }, 1) => arg,
            _ => value,
        };
        self.natural[like].unwrap_or_else(|| self.default_of(func, value))
    }

    /// An operand of a product on tensor cores: fragments where its registers are such already (or it is made in any layout), else
    /// a tile in shared memory, from which fragments are read as they are needed.
    fn dot_operand(&self, func: &Function, dot: &MmaDot, number: usize, value: Value) -> LayoutId {
        let fragments = if number == 0 { &dot.a } else { &dot.b };
        let Some(natural) = self.natural[value] else { return fragments.clone().intern() };
        let from = natural.layout();
        if from.is_shared() {
            return natural;
        }
        if !fragments.is_shared() && stays_in_threads(from, fragments) {
            return fragments.clone().intern();
        }
        let run = |dim: usize| from.unit().register_run(dim).len();
        let bytes = func.ty(value).elem().bytes();
        // Warpgroups read all but 16-bit elements along k only.
        let fast = if dot.of_groups && bytes != 2 { 1 - number } else { usize::from(run(1) >= run(0)) };
        let (physical, arrange) = (fragments.physical(), if dot.of_groups { boxed } else { staged });
        arrange([physical[0], physical[1]], fast, bytes).intern()
    }

    fn default_of(&self, func: &Function, value: Value) -> LayoutId {
        self.coalesced.default_layout(func.ty(value).shape())
    }

    // ---- backward: which layouts are asked for ----

    fn ask(&mut self, value: Value, layout: LayoutId) {
        if !self.wanted[value].contains(&layout) {
            self.wanted[value].push(layout);
        }
    }

    fn ask_all(&mut self, operands: &[Value], layouts: &OperandLayouts) {
        for (&value, layout) in operands.iter().zip(layouts) {
            if let Some(layout) = layout {
                self.ask(value, *layout);
            }
        }
    }

    fn backward_block(&mut self, func: &Function, block: Block) {
        for &inst in func.blocks[block].insts.iter().rev() {
            self.backward(func, inst);
        }
    }

    fn backward(&mut self, func: &Function, inst: Inst) {
        let data = &func.insts[inst];
        let operands = data.operands();
        match data {
            InstData::For { init, body, .. } => {
                self.ask_like(func, func.yielded(*body), func.results_of(inst));
                self.backward_block(func, *body);
                self.ask_like(func, init, func.results_of(inst));
            }
            InstData::While { init, cond, body } => {
                let results = func.results_of(inst);
                self.ask_like(func, func.yielded(*body), results);
                self.backward_block(func, *body);
                self.ask_like(func, &func.yielded(*cond)[1..], results);
                self.backward_block(func, *cond);
                self.ask_like(func, init, results);
            }
            InstData::If { then, otherwise, .. } => {
                for block in [*otherwise, *then] {
                    self.ask_like(func, func.yielded(block), func.results_of(inst));
                    self.backward_block(func, block);
                }
            }
            _ => match kind(data) {
                Kind::Control => {}
                Kind::Exchange => {
                    for (number, &value) in operands.iter().enumerate().filter(|(_, v)| is_spread(func, **v)) {
                        let layout = self.exchange_operand(func, inst, number, value);
                        self.asked.insert((inst, number), layout);
                        self.ask(value, layout);
                    }
                }
                Kind::Memory => {
                    if let Some(layout) = self.memory_layout(func, inst) {
                        self.chosen[inst] = Some(layout);
                        for &result in func.results_of(inst) {
                            self.natural[result] = Some(layout);
                        }
                        self.ask_all(&operands, &operand_layouts(func, inst, layout));
                    }
                }
                Kind::Shape if matches!(data, InstData::Reshape { .. }) => {
                    let InstData::Reshape { arg } = data else { return };
                    if let Some(layout) = self.natural[*arg] {
                        self.ask(*arg, layout);
                    } else if is_spread(func, *arg) {
                        let result = func.result(inst);
                        for layout in self.wanted[result].clone() {
                            let [source, _] = self.flexible_reshape(func, *arg, result, layout);
                            self.ask(*arg, source);
                        }
                    }
                }
                Kind::Elementwise if self.adopted(func, inst).is_some() => {
                    let layout = self.adopted(func, inst);
                    self.chosen[inst] = layout;
                    for &result in func.results_of(inst) {
                        self.natural[result] = layout;
                    }
                    if let Some(layout) = layout {
                        self.ask_all(&operands, &operand_layouts(func, inst, layout));
                    }
                }
                Kind::Flexible | Kind::Elementwise | Kind::Shape | Kind::Across => match self.chosen[inst] {
                    Some(layout) => self.ask_all(&operands, &operand_layouts(func, inst, layout)),
                    None => {
                        let Some(&result) = func.results_of(inst).first() else { return };
                        for layout in self.wanted[result].clone() {
                            self.ask_all(&operands, &operand_layouts(func, inst, layout));
                        }
                    }
                },
            },
        }
    }

    fn ask_like(&mut self, func: &Function, values: &[Value], like: &[Value]) {
        for (&value, &like) in values.iter().zip(like) {
            if is_spread(func, value) {
                let layout = self.natural[like].expect("what blocks yield has a layout");
                self.ask(value, layout);
            }
        }
    }

    /// The one other layout that a value computed from loads alone is asked for, where the loads can have it.
    fn adopted(&self, func: &Function, inst: Inst) -> Option<LayoutId> {
        let [result] = *func.results_of(inst) else { return None };
        let [only] = self.wanted[result][..] else { return None };
        let loads = self.soft[result].as_ref()?;
        (!loads.is_empty() && loads.iter().all(|&load| self.load_adopts(func, load, only))).then_some(only)
    }

    /// Whether a load is as good for memory in `layout` as in its own.
    fn load_adopts(&self, func: &Function, load: Inst, layout: LayoutId) -> bool {
        let (Some(own), Some(access)) = (self.coalesced.layouts[load], access_of(func, self.facts, load)) else {
            return false;
        };
        if layout.layout().is_shared() {
            return false;
        }
        let as_wide = access.vector(layout.layout()).len() >= access.vector(own.layout()).len();
        as_wide && access.instructions(layout.layout()) <= ADOPTED_INSTRUCTIONS
    }

    /// The final layout of a memory operation.
    fn memory_layout(&self, func: &Function, inst: Inst) -> Option<LayoutId> {
        let own = self.coalesced.layouts[inst]?;
        let access = access_of(func, self.facts, inst)?;
        match &func.insts[inst] {
            InstData::Load { .. } => {
                let [only] = self.wanted[func.result(inst)][..] else { return Some(own) };
                Some(if self.load_adopts(func, inst, only) { only } else { own })
            }
            InstData::Store { value, .. } => {
                let Some(from) = self.natural[*value] else { return Some(own) };
                let conversion = plan(from.layout(), own.layout(), access.element_bytes);
                let converted =
                    access.instructions(own.layout()) * INSTRUCTION_COST + conversion.cost(access.element_bytes).cycles();
                let as_it_is = access.instructions(from.layout()) * INSTRUCTION_COST;
                Some(if as_it_is <= converted { from } else { own })
            }
            _ => Some(own),
        }
    }

    // ---- rewriting ----

    fn rewrite_block(&mut self, func: &mut Function, block: Block) {
        let old = std::mem::take(&mut func.blocks[block].insts);
        let mut new = Vec::with_capacity(old.len());
        let params = func.blocks[block].params.clone();
        for param in params {
            self.define(func, param, &mut new);
        }
        for inst in old {
            self.rewrite(func, inst, &mut new);
        }
        func.blocks[block].insts = new;
    }

    /// Gives a value its natural layout and makes the others asked for by conversion.
    fn define(&mut self, func: &mut Function, value: Value, new: &mut Vec<Inst>) {
        if !is_spread(func, value) {
            return;
        }
        let layout = self.natural[value].expect("a value that is not flexible has a layout");
        let ty = func.ty(value);
        func.values[value].ty = ty.with_layout(Some(layout));
        self.versions.insert((value, layout), value);
        let loc = func.def_inst(value).map(|inst| func.locs[inst]).unwrap_or_default();
        for wanted in self.wanted[value].clone() {
            if wanted != layout {
                let data = InstData::ConvertLayout { arg: value };
                let convert = func.make_inst(data, &[ty.with_layout(Some(wanted))], loc);
                self.versions.insert((value, wanted), func.result(convert));
                new.push(convert);
            }
        }
    }

    fn rewrite(&mut self, func: &mut Function, inst: Inst, new: &mut Vec<Inst>) {
        let data = func.insts[inst].clone();
        let results: SmallVec<[Value; 2]> = SmallVec::from_slice(func.results_of(inst));
        match &data {
            InstData::For { init, body, .. } => {
                let layouts = self.natural_of(&results);
                self.replace(func, inst, 3, init.len(), &layouts);
                self.rewrite_loop(func, &results, &[(*body, 1)]);
                self.replace_yield(func, *body, 0, &layouts);
            }
            InstData::While { init, cond, body } => {
                let layouts = self.natural_of(&results);
                self.replace(func, inst, 0, init.len(), &layouts);
                self.rewrite_loop(func, &results, &[(*cond, 0), (*body, 0)]);
                self.replace_yield(func, *cond, 1, &layouts);
                self.replace_yield(func, *body, 0, &layouts);
            }
            InstData::If { then, otherwise, .. } => {
                let layouts = self.natural_of(&results);
                for block in [*then, *otherwise] {
                    self.rewrite_block(func, block);
                    self.replace_yield(func, block, 0, &layouts);
                }
            }
            _ => {
                let flexible = results.first().is_some_and(|&r| is_spread(func, r) && self.natural[r].is_none());
                if flexible {
                    return self.rewrite_flexible(func, inst, results[0], new);
                }
                self.replace_operands(func, inst);
                if let InstData::RingFill { layout, .. } = &mut func.insts[inst] {
                    *layout = self.chosen[inst];
                }
            }
        }
        new.push(inst);
        for result in results {
            self.define(func, result, new);
        }
    }

    /// A cheap instruction is made once for each layout asked for, and not at all where nobody asks.
    fn rewrite_flexible(&mut self, func: &mut Function, inst: Inst, result: Value, new: &mut Vec<Inst>) {
        let ty = func.ty(result);
        let original = func.insts[inst].clone();
        for (number, layout) in self.wanted[result].clone().into_iter().enumerate() {
            // What a reshape comes out in where that is not what was asked for.
            let reshape = match original {
                InstData::Reshape { arg } => Some(self.flexible_reshape(func, arg, result, layout)),
                _ => None,
            };
            let own = reshape.map_or(layout, |[_, own]| own);
            let own_ty = ty.with_layout(Some(own));
            let made = if number == 0 {
                func.values[result].ty = own_ty;
                inst
            } else {
                func.make_inst(original.clone(), &[own_ty], func.locs[inst])
            };
            let operands = match reshape {
                Some([source, _]) => SmallVec::from_slice(&[Some(source)]),
                None => operand_layouts_of(func, &original, made, layout),
            };
            self.replace(func, made, 0, operands.len(), &operands);
            new.push(made);
            let mut version = func.result(made);
            if own != layout {
                let data = InstData::ConvertLayout { arg: version };
                let convert = func.make_inst(data, &[ty.with_layout(Some(layout))], func.locs[inst]);
                new.push(convert);
                version = func.result(convert);
            }
            self.versions.insert((result, layout), version);
        }
    }

    fn replace_operands(&mut self, func: &mut Function, inst: Inst) {
        let data = &func.insts[inst];
        let operands = data.operands();
        let layouts: OperandLayouts = match (kind(data), self.chosen[inst]) {
            (Kind::Exchange, _) => operands
                .iter()
                .enumerate()
                .map(|(number, &v)| is_spread(func, v).then(|| self.exchange_operand(func, inst, number, v)))
                .collect(),
            (Kind::Shape, _) if matches!(data, InstData::Reshape { .. }) => {
                operands.iter().map(|&v| self.natural[v].filter(|_| is_spread(func, v))).collect()
            }
            (_, Some(layout)) => operand_layouts(func, inst, layout),
            (_, None) => return,
        };
        self.replace(func, inst, 0, operands.len(), &layouts);
    }

    /// Replaces `count` operands from number `first` on by their versions in `layouts`.
    fn replace(&self, func: &mut Function, inst: Inst, first: usize, count: usize, layouts: &[Option<LayoutId>]) {
        let mut number = 0;
        let versions = &self.versions;
        func.insts[inst].visit_operands_mut(|value| {
            if (first..first + count).contains(&number)
                && let Some(layout) = layouts[number - first]
            {
                *value = *versions.get(&(*value, layout)).expect("every use has asked for its layout");
            }
            number += 1;
        });
    }

    fn replace_yield(&self, func: &mut Function, block: Block, first: usize, layouts: &[Option<LayoutId>]) {
        let last = *func.blocks[block].insts.last().expect("a block ends in a yield");
        self.replace(func, last, first, layouts.len(), layouts);
    }

    /// The blocks of a loop; parameters from number `skip` on have the results' layouts.
    fn rewrite_loop(&mut self, func: &mut Function, results: &[Value], blocks: &[(Block, usize)]) {
        for &(block, skip) in blocks {
            let params = func.blocks[block].params.clone();
            for (&param, &result) in params[skip..].iter().zip(results) {
                self.natural[param] = self.natural[result];
            }
            self.rewrite_block(func, block);
        }
    }

    fn natural_of(&self, values: &[Value]) -> OperandLayouts {
        values.iter().map(|&v| self.natural[v]).collect()
    }
}

fn operand_layouts_of(func: &Function, original: &InstData, made: Inst, layout: LayoutId) -> OperandLayouts {
    debug_assert_eq!(&func.insts[made], original);
    operand_layouts(func, made, layout)
}

/// The layout of a reshape that moves nothing, if there is one. Both tiles must fill their layouts.
fn reshaped(func: &Function, from: &Layout, arg: Value, result: Value) -> Option<Layout> {
    let exact = from.physical().as_slice() == func.ty(arg).shape();
    if exact { from.reshape(func.ty(result).shape()) } else { None }
}

/// What conversions between layouts a laid out kernel has.
pub fn layout_stats(func: &Function) -> LayoutStats {
    let mut stats = LayoutStats::default();
    func.walk(|_, inst| {
        if let InstData::ConvertLayout { arg } = func.insts[inst] {
            stats.conversions += 1;
            let (from, to) = (func.ty(arg), func.ty(func.result(inst)));
            if let (Some(a), Some(b)) = (from.layout(), to.layout()) {
                let moves =
                    b.layout().is_shared() || matches!(plan(a.layout(), b.layout(), from.elem().bytes()), Conversion::Shared(_));
                stats.through_shared += u32::from(moves);
            }
        }
    });
    stats
}
