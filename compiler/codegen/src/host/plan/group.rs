//! Steps of a block: roots are gathered into groups in program order, expensive values with a second use are materialized, and loop-carried tiles get their
//! destinations.

use kiln_ir::{Block, Function, Inst, InstData, Shape, Value};
use rustc_hash::FxHashMap;

use super::alias::{Object, Order, place_object, written};
use super::cost::CHEAP;
use super::forms::{Analysis, Form, can_inline, keeps_lanes};
use super::{Dest, Group, Plan, Root, Step};

/// What a root reads: every value reached through inline values, and whether only lane by lane.
type Reads = FxHashMap<Value, bool>;

struct Planner<'a> {
    func: &'a Function,
    order: &'a Order,
    analysis: &'a Analysis,
    forms: FxHashMap<Value, Form>,
    steps: Vec<Step>,
    open: Option<Open>,
}

/// The group that roots are being added to.
struct Open {
    group: Group,
    /// Reduction results, not available inside the group.
    outputs: Vec<Value>,
    /// Values materialized by the group.
    kept: Vec<Value>,
    reads: Reads,
    loads: Vec<Object>,
    stores: Vec<Object>,
}

/// Plans a block and the blocks inside it.
pub(crate) fn plan_block(func: &Function, order: &Order, analysis: &Analysis, block: Block, plan: &mut Plan) {
    let mut p = Planner { func, order, analysis, forms: analysis.forms.clone(), steps: Vec::new(), open: None };
    for &inst in &func.blocks[block].insts {
        if matches!(func.insts[inst], InstData::For { .. } | InstData::While { .. } | InstData::If { .. }) {
            for inner in func.insts[inst].blocks() {
                plan_block(func, order, analysis, inner, plan);
            }
        }
        p.inst(inst, block, plan);
    }
    p.flush();
    p.keep_second_uses(block);
    for (v, form) in p.forms {
        if form == Form::Buffer {
            plan.forms.insert(v, form);
        }
    }
    plan.steps.insert(block, p.steps);
}

impl Planner<'_> {
    fn is_tile(&self, v: Value) -> bool {
        self.func.ty(v).is_tile() && self.func.ty(v).rank() > 0
    }

    fn inst(&mut self, inst: Inst, block: Block, plan: &mut Plan) {
        let func = self.func;
        let data = &func.insts[inst];
        let results = func.results_of(inst);
        let tile_result = results.iter().any(|&v| self.is_tile(v));
        match data {
            InstData::Yield { .. } => self.yields(inst, block, plan),
            InstData::For { .. } | InstData::While { .. } | InstData::If { .. } => {
                self.flush();
                self.steps.push(Step::Control(inst));
            }
            InstData::Store { value, .. } if self.is_tile(*value) => self.join(Root::Store(inst)),
            InstData::Assert { cond, .. } if self.is_tile(*cond) => self.join(Root::Assert(inst)),
            InstData::Reduce { .. } => self.join(Root::Reduce(inst)),
            _ if tile_result && can_inline(data) => {
                for &v in results {
                    if self.forms[&v] == Form::Buffer {
                        self.join(Root::Materialize(v, Dest::Own));
                    }
                }
            }
            InstData::ConstTile { .. } => {}
            InstData::Assume { .. } | InstData::AssumeAligned { .. } => {}
            InstData::Prefetch { .. } => {}
            _ if tile_result || self.touches_tiles(inst) && !can_inline(data) => {
                self.flush();
                self.steps.push(Step::Whole(inst));
            }
            _ => self.scalar(inst),
        }
    }

    fn touches_tiles(&self, inst: Inst) -> bool {
        let mut any = false;
        self.func.insts[inst].visit_operands(|v| any |= self.is_tile(v));
        any
    }

    fn scalar(&mut self, inst: Inst) {
        let effects = self.func.insts[inst].own_effects();
        let reads = self.reads_of(self.func.insts[inst].operands().as_slice());
        if let Some(open) = &self.open {
            let depends = reads.keys().any(|v| open.outputs.contains(v) || open.kept.contains(v));
            let memory = effects.writes
                || effects.pinned
                || (effects.reads && !open.stores.is_empty())
                || self.loads(&reads).iter().any(|l| open.stores.iter().any(|s| s.may_alias(*l)));
            if depends || memory {
                self.flush();
            }
        }
        self.steps.push(Step::Scalar(inst));
    }

    fn flush(&mut self) {
        if let Some(open) = self.open.take() {
            self.steps.push(Step::Loop(open.group));
        }
    }

    /// Values a root evaluates directly.
    fn direct(&self, root: Root) -> Vec<Value> {
        match root {
            Root::Materialize(v, _) => vec![v],
            Root::Store(inst) | Root::Reduce(inst) | Root::Assert(inst) => self.func.insts[inst].operands().to_vec(),
        }
    }

    fn shape(&self, root: Root) -> Shape {
        let v = match root {
            Root::Materialize(v, _) => v,
            Root::Store(inst) => match &self.func.insts[inst] {
                InstData::Store { value, .. } => *value,
                _ => unreachable!("a store root is a store"),
            },
            Root::Reduce(inst) | Root::Assert(inst) => self.func.insts[inst].operands()[0],
        };
        Shape::from_slice(self.func.ty(v).shape())
    }

    fn reads_of(&self, values: &[Value]) -> Reads {
        let mut reads = Reads::default();
        for &v in values {
            self.visit(v, true, true, &mut reads);
        }
        reads
    }

    /// `top`: the value itself is looked into even when it lives in memory (it is being materialized).
    fn visit(&self, v: Value, identity: bool, top: bool, reads: &mut Reads) {
        match reads.get_mut(&v) {
            Some(known) if !*known || identity => return,
            Some(known) => *known = false,
            None => {
                reads.insert(v, identity);
            }
        }
        let inline = self.forms.get(&v) == Some(&Form::Inline) || top;
        if let Some(inst) = self.func.def_inst(v)
            && inline
            && self.is_tile(v)
            && can_inline(&self.func.insts[inst])
        {
            let identity = identity && keeps_lanes(&self.func.insts[inst]);
            self.func.insts[inst].visit_operands(|o| self.visit(o, identity, false, reads));
        }
    }

    fn loads(&self, reads: &Reads) -> Vec<Object> {
        let mut objects = Vec::new();
        for v in reads.keys() {
            if let Some(InstData::Load { place, .. }) = self.func.def_data(*v)
                && self.forms.get(v) == Some(&Form::Inline)
            {
                let object = place_object(self.func, place);
                if !self.order.read_only(object) {
                    objects.push(object);
                }
            }
        }
        objects
    }

    fn join(&mut self, root: Root) {
        let shape = self.shape(root);
        let is_materialize = matches!(root, Root::Materialize(..));
        let mut reads = Reads::default();
        for v in self.direct(root) {
            self.visit(v, true, is_materialize, &mut reads);
        }
        let mut loads = self.loads(&reads);
        if let Root::Materialize(v, _) = root
            && let Some(InstData::Load { place, .. }) = self.func.def_data(v)
        {
            loads.push(place_object(self.func, place));
        }
        let store = match root {
            Root::Store(inst) => written(self.func, inst),
            _ => None,
        };
        let axis = match root {
            Root::Reduce(inst) => match &self.func.insts[inst] {
                InstData::Reduce { axis, .. } => Some(usize::from(*axis)),
                _ => None,
            },
            _ => None,
        };
        let slot = matches!(root, Root::Materialize(_, Dest::Slot(_)));
        let fits = self.open.as_ref().is_some_and(|open| {
            open.group.shape == shape
                && (axis.is_none() || open.group.reduce_axis.is_none() || open.group.reduce_axis == axis)
                && !reads.keys().any(|v| open.outputs.contains(v))
                && !reads.iter().any(|(v, &identity)| !identity && open.kept.contains(v))
                && !loads.iter().any(|l| open.stores.iter().any(|s| s.may_alias(*l)))
                && !store.is_some_and(|s| open.loads.iter().chain(&open.stores).any(|o| o.may_alias(s)))
                // A carried tile updated in place may be read only lane by lane in the same loop.
                && !(slot && open.reads.iter().any(|(v, &identity)| !identity && self.is_param(*v)))
                && open.group.roots.len() < 12
        });
        if !fits {
            self.flush();
            self.open = Some(Open {
                group: Group { shape, reduce_axis: None, roots: Vec::new() },
                outputs: Vec::new(),
                kept: Vec::new(),
                reads: Reads::default(),
                loads: Vec::new(),
                stores: Vec::new(),
            });
        }
        let Some(open) = &mut self.open else { unreachable!("a group was just opened") };
        open.group.reduce_axis = open.group.reduce_axis.or(axis);
        match root {
            Root::Reduce(inst) => open.outputs.extend(self.func.results_of(inst)),
            Root::Materialize(v, _) => open.kept.push(v),
            Root::Store(_) | Root::Assert(_) => {}
        }
        for (v, identity) in reads {
            let entry = open.reads.entry(v).or_insert(identity);
            *entry &= identity;
        }
        open.loads.extend(loads);
        open.stores.extend(store);
        open.group.roots.push(root);
    }

    fn is_param(&self, v: Value) -> bool {
        self.is_tile(v) && self.func.def_inst(v).is_none()
    }

    /// The yield of a loop body or branch: every yielded tile gets into its slot.
    fn yields(&mut self, inst: Inst, block: Block, plan: &mut Plan) {
        let InstData::Yield { args } = &self.func.insts[inst] else { return };
        if block == self.func.body {
            return;
        }
        let owner = self.func.insts.iter().find(|(_, d)| d.blocks().contains(&block)).map(|(_, d)| d);
        let (params, skip): (Vec<Option<Value>>, usize) = match owner {
            Some(InstData::For { .. }) => (self.func.blocks[block].params[1..].iter().map(|&v| Some(v)).collect(), 0),
            Some(InstData::While { cond, .. }) if *cond == block => {
                (self.func.blocks[block].params.iter().map(|&v| Some(v)).collect(), 1)
            }
            Some(InstData::While { .. }) => (self.func.blocks[block].params.iter().map(|&v| Some(v)).collect(), 0),
            Some(InstData::If { .. }) => (vec![None; args.len()], 0),
            _ => return,
        };
        let args: Vec<Value> = args[skip..].to_vec();
        let position = self.order.position[&inst];
        let reads: Vec<Reads> =
            args.iter().map(|&v| if self.is_tile(v) { self.reads_of(&[v]) } else { Reads::default() }).collect();
        let mut in_place = vec![false; args.len()];
        for (i, &y) in args.iter().enumerate() {
            if !self.is_tile(y) {
                continue;
            }
            let param = params[i];
            if param == Some(y) {
                in_place[i] = true;
                continue;
            }
            let no_later_use =
                |limit: u32| param.is_none_or(|p| self.analysis.uses.get(&p).is_none_or(|u| u.iter().all(|&at| at <= limit)));
            // Another slot's value must not read this slot's old tile at the yield.
            let untouched = param.is_none_or(|p| reads.iter().enumerate().all(|(j, r)| j == i || !r.contains_key(&p)));
            let producer = self.func.def_inst(y).filter(|d| self.analysis.block_of[d] == block);
            let first = args.iter().position(|&o| o == y) == Some(i);
            match producer.map(|d| (d, &self.func.insts[d])) {
                Some((d, InstData::Dot { acc, .. } | InstData::DotScaled { acc, .. })) if first => {
                    let at = self.order.position[&d];
                    let acc_lanes = acc.is_none_or(|acc| {
                        let reads = self.reads_of(&[acc]);
                        param.is_none_or(|p| reads.get(&p).is_none_or(|&identity| identity))
                    });
                    let exclusive = param.is_none_or(|p| {
                        // No use of the old tile at the dot other than through `acc`.
                        self.analysis.uses.get(&p).is_none_or(|u| u.iter().all(|&u| u <= at)) && !self.operand_reads(d, p)
                    });
                    in_place[i] = acc_lanes && exclusive && untouched && self.acc_is_private(d, *acc, param);
                    plan.dests.insert(y, Dest::Slot(i as u16));
                }
                Some((_, data))
                    if first
                        && !can_inline(data)
                        && !matches!(
                            data,
                            InstData::ConstTile { .. } | InstData::For { .. } | InstData::While { .. } | InstData::If { .. }
                        ) =>
                {
                    plan.dests.insert(y, Dest::Slot(i as u16));
                }
                _ => {
                    let lanes = param.is_none_or(|p| reads[i].get(&p).is_none_or(|&identity| identity));
                    in_place[i] = lanes && untouched && no_later_use(position);
                    self.join(Root::Materialize(y, Dest::Slot(i as u16)));
                }
            }
        }
        self.flush();
        plan.in_place.insert(block, in_place);
    }

    /// Whether operand tiles of a dot, other than its accumulator, read `param` when the dot runs.
    fn operand_reads(&self, dot: Inst, param: Value) -> bool {
        let operands: Vec<Value> = match &self.func.insts[dot] {
            InstData::Dot { a, b, .. } => vec![*a, *b],
            InstData::DotScaled { a, a_scale, b, b_scale, .. } => vec![*a, *a_scale, *b, *b_scale],
            _ => Vec::new(),
        };
        operands.contains(&param) || self.reads_of(&operands).contains_key(&param)
    }

    /// Whether the accumulator is the carried tile itself or an inline value that only this dot uses.
    fn acc_is_private(&self, dot: Inst, acc: Option<Value>, param: Option<Value>) -> bool {
        acc.is_none_or(|acc| {
            Some(acc) == param
                || self.forms.get(&acc) == Some(&Form::Inline)
                    && self.analysis.users.get(&acc).is_some_and(|u| u.iter().all(|&u| u == dot))
        })
    }

    /// Materializes inline values that several steps would compute again at more than a load's cost.
    fn keep_second_uses(&mut self, block: Block) {
        let func = self.func;
        // Steps that evaluate each inline value; a step is named by its number now, insertions come at the end.
        let mut demand: FxHashMap<Value, Vec<(usize, bool)>> = FxHashMap::default();
        let note = |demand: &mut FxHashMap<Value, Vec<(usize, bool)>>, v: Value, step: usize, identity: bool| {
            let list = demand.entry(v).or_default();
            match list.iter_mut().find(|(s, _)| *s == step) {
                Some((_, known)) => *known &= identity,
                None => list.push((step, identity)),
            }
        };
        for (number, step) in self.steps.iter().enumerate() {
            match step {
                Step::Loop(group) => {
                    for &root in &group.roots {
                        match root {
                            Root::Materialize(v, Dest::Own) => {
                                if let Some(d) = func.def_inst(v) {
                                    let identity = keeps_lanes(&func.insts[d]);
                                    func.insts[d].visit_operands(|o| note(&mut demand, o, number, identity));
                                }
                            }
                            _ => {
                                for v in self.direct(root) {
                                    note(&mut demand, v, number, true);
                                }
                            }
                        }
                    }
                }
                Step::Whole(inst) => {
                    let dot_acc = match &func.insts[*inst] {
                        InstData::Dot { acc, .. } | InstData::DotScaled { acc, .. } => *acc,
                        _ => None,
                    };
                    func.insts[*inst].visit_operands(|v| note(&mut demand, v, number, Some(v) == dot_acc));
                }
                // One element, or whatever the blocks inside read: the value must exist by then if it is to be kept at all.
                Step::Scalar(inst) => func.insts[*inst].visit_operands(|v| note(&mut demand, v, number, false)),
                Step::Control(inst) => inner_operands(func, *inst, &mut |v| note(&mut demand, v, number, false)),
            }
        }
        let mut added: Vec<(usize, Value)> = Vec::new();
        for &inst in func.blocks[block].insts.iter().rev() {
            if !can_inline(&func.insts[inst]) {
                continue;
            }
            for &v in func.results_of(inst) {
                if self.forms.get(&v) != Some(&Form::Inline) {
                    continue;
                }
                let Some(mut steps) = demand.get(&v).cloned() else { continue };
                steps.sort_unstable();
                let steps = if steps.len() > 1 && self.analysis.cost[&v] > CHEAP && !super::forms::is_direct(func, v) {
                    self.forms.insert(v, Form::Buffer);
                    added.push((steps[0].0, v));
                    vec![steps[0]]
                } else {
                    steps
                };
                let lanes = keeps_lanes(&func.insts[inst]);
                func.insts[inst].visit_operands(|o| {
                    for &(s, identity) in &steps {
                        note(&mut demand, o, s, identity && lanes);
                    }
                });
            }
        }
        // Into the first group that needs the value where the domain is the same and it is read lane by lane there, else in front of that step.
        added.sort_by_key(|&(step, v)| (step, self.func.def_inst(v).map(|d| self.order.position[&d])));
        let mut before: Vec<(usize, Group)> = Vec::new();
        for (number, v) in added {
            let shape = self.shape(Root::Materialize(v, Dest::Own));
            let identity = demand[&v].iter().any(|&(s, identity)| s == number && identity);
            match &mut self.steps[number] {
                Step::Loop(group) if group.shape == shape && identity => group.roots.insert(0, Root::Materialize(v, Dest::Own)),
                _ => before.push((number, Group { shape, reduce_axis: None, roots: vec![Root::Materialize(v, Dest::Own)] })),
            }
        }
        for (number, group) in before.into_iter().rev() {
            self.steps.insert(number, Step::Loop(group));
        }
    }
}

/// Calls `f` on every operand of an instruction and of the instructions in its blocks.
fn inner_operands(func: &Function, inst: Inst, f: &mut impl FnMut(Value)) {
    func.insts[inst].visit_operands(&mut *f);
    for block in func.insts[inst].blocks() {
        for &inner in &func.blocks[block].insts {
            inner_operands(func, inner, f);
        }
    }
}
