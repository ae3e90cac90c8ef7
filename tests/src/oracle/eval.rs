//! Runs one program: values, control flow, and the dispatch over instructions.

use cranelift_entity::SecondaryMap;
use kiln_ir::{Block, Elem, Function, Inst, InstData, Module, ScalarType, Type, Value};

use super::access::{View, elements};
use super::{Arg, Fault, Lane, Log, Memory, across, lanes, shapes};

/// A run-time value.
#[derive(Clone, Debug)]
enum Slot {
    Lanes(Vec<Lane>),
    View(View),
}

/// The values of one activation of a function.
pub struct Frame<'a> {
    pub func: &'a Function,
    slots: SecondaryMap<Value, Option<Slot>>,
}

impl Frame<'_> {
    pub fn lanes(&self, value: Value) -> &[Lane] {
        match &self.slots[value] {
            Some(Slot::Lanes(lanes)) => lanes,
            other => panic!("{value} is {other:?}"),
        }
    }

    pub fn view(&self, value: Value) -> &View {
        match &self.slots[value] {
            Some(Slot::View(view)) => view,
            other => panic!("{value} is {other:?}"),
        }
    }

    /// A scalar integer.
    pub fn int(&self, value: Value) -> i64 {
        match self.lanes(value)[0] {
            Lane::Int(v) => v,
            other => panic!("{value} is {other:?}"),
        }
    }

    pub fn set(&mut self, value: Value, lanes: Vec<Lane>) {
        self.slots[value] = Some(Slot::Lanes(lanes));
    }

    fn copy(&self, values: &[Value]) -> Vec<Slot> {
        values.iter().map(|&v| self.slots[v].clone().unwrap_or_else(|| panic!("{v} has no value"))).collect()
    }

    fn assign(&mut self, values: &[Value], slots: Vec<Slot>) {
        for (&value, slot) in values.iter().zip(slots) {
            self.slots[value] = Some(slot);
        }
    }
}

/// One program of a launch.
pub struct Program<'a> {
    pub module: &'a Module,
    pub memory: &'a mut Memory,
    pub log: &'a mut Log,
    pub ids: &'a [i64],
    pub extents: &'a [i64],
    pub num_sms: i64,
    pub steps: &'a mut u64,
}

const MAX_STEPS: u64 = 50_000_000;

impl Program<'_> {
    /// Runs a kernel. An assertion that fails ends the program, not the launch.
    pub fn launch(&mut self, func: &Function, args: &[Arg]) -> Result<(), Fault> {
        let mut frame = Frame { func, slots: SecondaryMap::new() };
        for (&param, arg) in func.param_values().iter().zip(args) {
            let slot = match arg {
                Arg::Scalar(lane) => Slot::Lanes(vec![*lane]),
                Arg::Tensor { buffer, offset, dims, strides } => {
                    if func.ty(param).rank() != dims.len() {
                        return Err(Fault::BadLaunch(format!("a tensor of rank {} for {}", dims.len(), func.ty(param))));
                    }
                    Slot::View(View { buffer: *buffer, offset: *offset, dims: dims.clone(), strides: strides.clone() })
                }
            };
            frame.slots[param] = Some(slot);
        }
        let failed = self.log.failed_asserts.len();
        match self.block(&mut frame, func.body) {
            Err(Fault::Unsupported(message)) if self.log.failed_asserts.len() > failed && message.is_empty() => Ok(()),
            other => other,
        }
    }

    /// Runs the instructions of a block; what it yields can then be read from the frame.
    pub fn block(&mut self, frame: &mut Frame<'_>, block: Block) -> Result<(), Fault> {
        let func = frame.func;
        for &inst in &func.blocks[block].insts {
            *self.steps += 1;
            if *self.steps > MAX_STEPS {
                return Err(Fault::TooLong);
            }
            self.inst(frame, inst)?;
        }
        Ok(())
    }

    fn inst(&mut self, frame: &mut Frame<'_>, inst: Inst) -> Result<(), Fault> {
        use InstData::*;
        let func = frame.func;
        let data = &func.insts[inst];
        let results = func.results_of(inst).to_vec();
        let types: Vec<Type> = results.iter().map(|&v| func.ty(v)).collect();
        let count = types.first().map_or(0, |ty| ty.num_elements() as usize);
        let elem = |v: &Value| func.ty(*v).scalar_elem().unwrap_or(ScalarType::I64);
        let one: Vec<Lane> = match data {
            Const { value } => vec![lanes::from_const(*value); count],
            ConstTile { values } => values.iter().map(|&v| lanes::from_const(v)).collect(),
            ProgramId { axis } => vec![Lane::Int(self.ids[usize::from(*axis)])],
            NumPrograms { axis } => vec![Lane::Int(self.extents[usize::from(*axis)])],
            NumSms => vec![Lane::Int(self.num_sms)],
            Iota { start } => {
                let ty = types[0].scalar_elem().unwrap_or(ScalarType::I64);
                (0..count as i64).map(|i| Lane::Int(lanes::wrap(ty, start.wrapping_add(i)))).collect()
            }
            Unary { op, arg } => frame.lanes(*arg).iter().map(|&a| lanes::unary(*op, elem(arg), a)).collect(),
            Binary { op, a, b } => {
                frame.lanes(*a).iter().zip(frame.lanes(*b)).map(|(&x, &y)| lanes::binary(*op, elem(a), x, y)).collect()
            }
            Fma { a, b, c } => {
                (0..count).map(|i| lanes::fma(elem(a), frame.lanes(*a)[i], frame.lanes(*b)[i], frame.lanes(*c)[i])).collect()
            }
            Cmp { op, a, b } => {
                let ty = func.ty(*a).scalar_elem();
                let holds = |(&x, &y): (&Lane, &Lane)| Lane::Int(lanes::cmp(*op, ty, x, y).into());
                frame.lanes(*a).iter().zip(frame.lanes(*b)).map(holds).collect()
            }
            Select { cond, a, b } => (0..count)
                .map(|i| if frame.lanes(*cond)[i] == Lane::Int(0) { frame.lanes(*b)[i] } else { frame.lanes(*a)[i] })
                .collect(),
            Cast { arg } => {
                let to = types[0].scalar_elem().unwrap_or(ScalarType::I64);
                frame.lanes(*arg).iter().map(|&a| lanes::cast(elem(arg), to, a)).collect()
            }
            Bitcast { arg } => match (func.ty(*arg).elem(), types[0].elem()) {
                (Elem::Scalar(from), Elem::Scalar(to)) => {
                    frame.lanes(*arg).iter().map(|&a| lanes::from_bits(to, lanes::to_bits(from, a))).collect()
                }
                _ => return Err(Fault::Unsupported("bitcast of pointers".into())),
            },
            PtrAdd { ptr, offset } => {
                let moved = |(&p, &o): (&Lane, &Lane)| match (p, o) {
                    (Lane::Ptr { buffer, offset }, Lane::Int(by)) => Lane::Ptr { buffer, offset: offset.wrapping_add(by) },
                    (null, _) => null,
                };
                frame.lanes(*ptr).iter().zip(frame.lanes(*offset)).map(moved).collect()
            }
            Broadcast { arg }
            | ExpandDims { arg, .. }
            | Reshape { arg }
            | Permute { arg, .. }
            | ExtractSlice { arg, .. }
            | Flip { arg, .. }
            | ConvertLayout { arg } => shapes::moved(data, types[0], func.ty(*arg), frame.lanes(*arg)),
            Join { a, b } => frame.lanes(*a).iter().zip(frame.lanes(*b)).flat_map(|(&x, &y)| [x, y]).collect(),
            Split { arg } => {
                let pairs = frame.lanes(*arg).to_vec();
                frame.set(results[1], pairs.iter().skip(1).step_by(2).copied().collect());
                pairs.into_iter().step_by(2).collect()
            }
            Cat { args, axis } => {
                let parts: Vec<(Type, Vec<Lane>)> = args.iter().map(|&v| (func.ty(v), frame.lanes(v).to_vec())).collect();
                shapes::cat(types[0], &parts, usize::from(*axis))
            }
            Gather { src, index, axis } => self.gather(frame, *src, *index, usize::from(*axis)),
            MakeView { ptr, dims, strides } => {
                let (buffer, offset) = match frame.lanes(*ptr)[0] {
                    Lane::Ptr { buffer, offset } => (buffer, offset),
                    _ => (u32::MAX, 0),
                };
                let numbers = |list: &[Value]| list.iter().map(|&v| frame.int(v)).collect();
                let view = View { buffer, offset, dims: numbers(dims), strides: numbers(strides) };
                frame.slots[results[0]] = Some(Slot::View(view));
                return Ok(());
            }
            SubView { view, index } => {
                let view = frame.view(*view).narrowed(index, frame);
                frame.slots[results[0]] = Some(Slot::View(view));
                return Ok(());
            }
            PermuteView { view, perm } => {
                let view = frame.view(*view);
                let order = |list: &[i64]| perm.iter().map(|&p| list[usize::from(p)]).collect();
                let view = View { dims: order(&view.dims), strides: order(&view.strides), ..view.clone() };
                frame.slots[results[0]] = Some(Slot::View(view));
                return Ok(());
            }
            ViewDim { view, axis } => vec![Lane::Int(frame.view(*view).dims[usize::from(*axis)])],
            ViewStride { view, axis } => vec![Lane::Int(frame.view(*view).strides[usize::from(*axis)])],
            ViewPtr { view } => {
                let view = frame.view(*view);
                vec![Lane::Ptr { buffer: view.buffer, offset: view.offset }]
            }
            Load { place, mask, other, .. } => {
                let absent = lanes::zero(types[0].scalar_elem());
                let mut out = Vec::with_capacity(count);
                for (i, element) in elements(func, frame, place, mask.map(|m| frame.lanes(m))).into_iter().enumerate() {
                    out.push(match element {
                        Some(element) => *self.cell(element)?,
                        None => other.map_or(absent, |o| frame.lanes(o)[i]),
                    });
                }
                out
            }
            AtomicLoad { place, mask, .. } => {
                let absent = lanes::zero(types[0].scalar_elem());
                let mut out = Vec::with_capacity(count);
                for element in elements(func, frame, place, mask.map(|m| frame.lanes(m))) {
                    out.push(element.map_or(Ok(absent), |e| self.cell(e).copied())?);
                }
                out
            }
            Store { place, value, mask, .. } | AtomicStore { place, value, mask, .. } => {
                let values = frame.lanes(*value).to_vec();
                for (element, value) in elements(func, frame, place, mask.map(|m| frame.lanes(m))).into_iter().zip(values) {
                    if let Some(element) = element {
                        *self.cell(element)? = value;
                    }
                }
                return Ok(());
            }
            Prefetch { .. } | Assume { .. } | AssumeAligned { .. } | Yield { .. } => return Ok(()),
            AtomicRmw { op, place, value, mask, .. } => {
                let (ty, values) = (elem(value), frame.lanes(*value).to_vec());
                let mut out = Vec::with_capacity(count);
                for (element, value) in elements(func, frame, place, mask.map(|m| frame.lanes(m))).into_iter().zip(values) {
                    out.push(match element {
                        Some(element) => {
                            let cell = self.cell(element)?;
                            std::mem::replace(cell, lanes::atomic(*op, ty, *cell, value))
                        }
                        None => lanes::zero(Some(ty)),
                    });
                }
                out
            }
            AtomicCas { place, expected, value, mask, .. } => {
                let (expected, values) = (frame.lanes(*expected).to_vec(), frame.lanes(*value).to_vec());
                let mut out = Vec::with_capacity(count);
                for (i, element) in elements(func, frame, place, mask.map(|m| frame.lanes(m))).into_iter().enumerate() {
                    out.push(match element {
                        Some(element) => {
                            let cell = self.cell(element)?;
                            let old = *cell;
                            if old == expected[i] {
                                *cell = values[i];
                            }
                            old
                        }
                        None => Lane::Int(0),
                    });
                }
                out
            }
            Dot { a, b, acc, precision } => {
                let types = [func.ty(*a), func.ty(*b), types[0]];
                across::dot(types, frame.lanes(*a), frame.lanes(*b), acc.map(|acc| frame.lanes(acc)), *precision)
            }
            DotScaled { .. } => across::dot_scaled(func, frame, data),
            Reduce { .. } | Scan { .. } => {
                let outputs = self.fold(frame, data)?;
                results.iter().zip(outputs).for_each(|(&r, lanes)| frame.set(r, lanes));
                return Ok(());
            }
            Sort { args, axis, descending } => {
                let inputs: Vec<Vec<Lane>> = args.iter().map(|&v| frame.lanes(v).to_vec()).collect();
                let mut outputs = inputs.clone();
                for line in across::lines(types[0], usize::from(*axis)) {
                    let order = across::sorted(elem(&args[0]), &inputs[0], &line, *descending);
                    for (out, input) in outputs.iter_mut().zip(&inputs) {
                        line.iter().zip(&order).for_each(|(&to, &from)| out[to] = input[from]);
                    }
                }
                results.iter().zip(outputs).for_each(|(&r, lanes)| frame.set(r, lanes));
                return Ok(());
            }
            TopK { arg, k } => {
                let ty = func.ty(*arg);
                let keys = frame.lanes(*arg).to_vec();
                let (mut best, mut at) = (Vec::new(), Vec::new());
                for line in across::lines(ty, ty.rank() - 1) {
                    for &p in &across::sorted(elem(arg), &keys, &line, true)[..*k as usize] {
                        best.push(keys[p]);
                        at.push(Lane::Int((p - line[0]) as i64));
                    }
                }
                frame.set(results[1], at);
                best
            }
            Histogram { arg, bins, mask } => {
                let mut counts = vec![0; *bins as usize];
                for (i, lane) in frame.lanes(*arg).iter().enumerate() {
                    let on = mask.is_none_or(|m| frame.lanes(m)[i] != Lane::Int(0));
                    if let Lane::Int(v) = lane
                        && on
                        && let Some(count) = usize::try_from(*v).ok().and_then(|v| counts.get_mut(v))
                    {
                        *count += 1;
                    }
                }
                counts.into_iter().map(Lane::Int).collect()
            }
            For { .. } | While { .. } | If { .. } => return self.control(frame, inst),
            Call { func: callee, args } => {
                let callee = &self.module.funcs[*callee];
                let mut inner = Frame { func: callee, slots: SecondaryMap::new() };
                inner.assign(callee.param_values(), frame.copy(args));
                self.block(&mut inner, callee.body)?;
                frame.assign(&results, inner.copy(callee.yielded(callee.body)));
                return Ok(());
            }
            Assert { cond, message } => {
                if frame.lanes(*cond).contains(&Lane::Int(0)) {
                    self.log.failed_asserts.push(message.to_string());
                    // Ends the program; `launch` tells it from a fault by its empty message.
                    return Err(Fault::Unsupported(String::new()));
                }
                return Ok(());
            }
            Print { format, args } => {
                let mut parts = format.split("{}");
                let mut line = parts.next().unwrap_or("").to_owned();
                for (part, &arg) in parts.zip(args) {
                    line.push_str(&format!("{:?}{part}", frame.lanes(arg)));
                }
                self.log.prints.push(line);
                return Ok(());
            }
            BlockId | NumBlocks | ClusterRank | ClusterSum { .. } | ConsumerGroup | TakeTurn | PassTurn => {
                return Err(Fault::Unsupported("thread blocks of a GPU".into()));
            }
            GridSync => return Err(Fault::Unsupported("grid_sync".into())),
            RingNew { .. } | RingAcquire { .. } | RingFill { .. } | RingCommit | RingWait { .. } | RingRead { .. } => {
                return Err(Fault::Unsupported("rings, which only layout assignment makes".into()));
            }
            DotStart { .. } | DotWait { .. } | Hold { .. } | TmaFill { .. } | TmaStore { .. } | TmaStoreWait | IsProducer => {
                return Err(Fault::Unsupported("instructions of warpgroups, which only layout assignment makes".into()));
            }
            BarrierNew { .. } | BarrierExpect { .. } | BarrierArrive { .. } | BarrierWait { .. } => {
                return Err(Fault::Unsupported("barriers in memory, which only layout assignment makes".into()));
            }
            InlineAsm { .. } => return Err(Fault::Unsupported("inline PTX".into())),
        };
        frame.set(results[0], one);
        Ok(())
    }

    fn gather(&self, frame: &Frame<'_>, src: Value, index: Value, axis: usize) -> Vec<Lane> {
        let func = frame.func;
        let (table, at) = (func.ty(src), func.ty(index));
        let dims = shapes::extents(table);
        let mut out = Vec::new();
        shapes::each_index(&shapes::extents(at), |place| {
            let chosen = match frame.lanes(index)[shapes::position(&shapes::extents(at), place)] {
                Lane::Int(v) => v,
                other => unreachable!("{other:?} as a position"),
            };
            if chosen < 0 || chosen >= dims[axis] {
                out.push(lanes::zero(table.scalar_elem()));
                return;
            }
            let mut source = if table.rank() == 1 { vec![0] } else { place.to_vec() };
            source[axis] = chosen;
            out.push(frame.lanes(src)[shapes::position(&dims, &source)]);
        });
        out
    }

    fn control(&mut self, frame: &mut Frame<'_>, inst: Inst) -> Result<(), Fault> {
        let func = frame.func;
        let results = func.results_of(inst).to_vec();
        match &func.insts[inst] {
            InstData::For { lo, hi, step, rev, init, body, .. } => {
                let unsigned = func.ty(*lo).scalar_elem() == Some(ScalarType::U64);
                let wide = |v: Value| if unsigned { i128::from(frame.int(v) as u64) } else { i128::from(frame.int(v)) };
                let (first, end, step) = (wide(*lo), wide(*hi), wide(*step));
                let trips = if step <= 0 || first >= end { 0 } else { (end - first - 1) / step + 1 };
                let mut carried = frame.copy(init);
                let params = func.blocks[*body].params.clone();
                for trip in 0..trips {
                    let trip = if *rev { trips - 1 - trip } else { trip };
                    frame.set(params[0], vec![Lane::Int((first + trip * step) as i64)]);
                    frame.assign(&params[1..], carried);
                    self.block(frame, *body)?;
                    carried = frame.copy(func.yielded(*body));
                }
                frame.assign(&results, carried);
            }
            InstData::While { init, cond, body } => {
                let mut carried = frame.copy(init);
                loop {
                    frame.assign(&func.blocks[*cond].params, carried);
                    self.block(frame, *cond)?;
                    let checked = func.yielded(*cond);
                    let passed = frame.copy(&checked[1..]);
                    if frame.int(checked[0]) == 0 {
                        frame.assign(&results, passed);
                        break;
                    }
                    frame.assign(&func.blocks[*body].params, passed);
                    self.block(frame, *body)?;
                    carried = frame.copy(func.yielded(*body));
                }
            }
            InstData::If { cond, then, otherwise } => {
                let taken = if frame.int(*cond) != 0 { *then } else { *otherwise };
                self.block(frame, taken)?;
                let yielded = frame.copy(func.yielded(taken));
                frame.assign(&results, yielded);
            }
            other => unreachable!("{other:?}"),
        }
        Ok(())
    }
}
