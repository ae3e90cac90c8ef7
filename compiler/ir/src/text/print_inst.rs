//! Prints one instruction: mnemonic, operands, attributes. `parse_inst` reads the same forms.

use super::attrs;
use super::print::Printer;
use crate::entity::{Inst, Value};
use crate::inst::{Combine, InstData, Place, SliceIndex, ViewIndex};
use crate::ops::{CacheOp, DotPrecision, Evict, MemOrder, MemScope};

impl Printer<'_> {
    /// Everything after the results.
    pub(super) fn inst_data(&mut self, inst: Inst) {
        use InstData::*;
        let func = self.func;
        let data = &func.insts[inst];
        match data {
            Const { value } => self.put(format_args!("const {}", attrs::ConstText(*value))),
            ConstTile { values } => {
                let values: Vec<String> = values.iter().map(|&v| attrs::ConstText(v).to_string()).collect();
                self.put(format_args!("const_tile [{}]", values.join(", ")));
            }
            ProgramId { axis } => self.put(format_args!("program_id {axis}")),
            NumPrograms { axis } => self.put(format_args!("num_programs {axis}")),
            NumSms => self.put_str("num_sms"),
            BlockId => self.put_str("block_id"),
            NumBlocks => self.put_str("num_blocks"),
            ClusterRank => self.put_str("cluster_rank"),
            TakeTurn => self.put_str("take_turn"),
            PassTurn => self.put_str("pass_turn"),
            ConsumerGroup => self.put_str("consumer_group"),
            Iota { start } => self.put(format_args!("iota {start}")),
            Unary { op, arg } => self.op(op.name(), &[*arg]),
            Binary { op, a, b } => self.op(op.name(), &[*a, *b]),
            Fma { a, b, c } => self.op("fma", &[*a, *b, *c]),
            Cmp { op, a, b } => {
                self.put_str("cmp ");
                self.op(op.name(), &[*a, *b]);
            }
            Select { cond, a, b } => self.op("select", &[*cond, *a, *b]),
            Cast { arg } => self.op("cast", &[*arg]),
            Bitcast { arg } => self.op("bitcast", &[*arg]),
            ConvertLayout { arg } => self.op("convert_layout", &[*arg]),
            PtrAdd { ptr, offset } => self.op("ptr_add", &[*ptr, *offset]),
            Broadcast { arg } => self.op("broadcast", &[*arg]),
            ExpandDims { arg, axis } => {
                self.op("expand_dims", &[*arg]);
                self.axis(*axis);
            }
            Reshape { arg } => self.op("reshape", &[*arg]),
            Permute { arg, perm } => {
                self.op("permute", &[*arg]);
                self.numbers(perm.iter().map(|&p| u32::from(p)));
            }
            Join { a, b } => self.op("join", &[*a, *b]),
            Split { arg } => self.op("split", &[*arg]),
            Cat { args, axis } => {
                self.list("cat", args);
                self.axis(*axis);
            }
            ExtractSlice { arg, starts } => {
                self.op("extract", &[*arg]);
                self.put_str(" at");
                self.numbers(starts.iter().copied());
            }
            Gather { src, index, axis } => {
                self.op("gather", &[*src, *index]);
                self.axis(*axis);
            }
            Flip { arg, axis } => {
                self.op("flip", &[*arg]);
                self.axis(*axis);
            }
            MakeView { ptr, dims, strides } => {
                self.op("make_view", &[*ptr]);
                self.list(" dims", dims);
                self.list(" strides", strides);
            }
            SubView { view, index } => {
                self.op("subview", &[*view]);
                self.put_str("[");
                for (i, index) in index.iter().enumerate() {
                    self.put_str(if i == 0 { "" } else { ", " });
                    match index {
                        ViewIndex::At(v) => self.value(*v),
                        ViewIndex::Range { lo, hi } => {
                            self.value(*lo);
                            self.put_str("..");
                            self.value(*hi);
                        }
                        ViewIndex::Full => self.put_str(":"),
                    }
                }
                self.put_str("]");
            }
            PermuteView { view, perm } => {
                self.op("permute_view", &[*view]);
                self.numbers(perm.iter().map(|&p| u32::from(p)));
            }
            ViewDim { view, axis } => {
                self.op("view_dim", &[*view]);
                self.axis(*axis);
            }
            ViewStride { view, axis } => {
                self.op("view_stride", &[*view]);
                self.axis(*axis);
            }
            ViewPtr { view } => self.op("view_ptr", &[*view]),
            Load { place, mask, other, cache, evict } => {
                self.place("load", place);
                self.optional(" mask ", *mask);
                self.optional(" other ", *other);
                self.hints(*cache, *evict);
            }
            Store { place, value, mask, cache, evict } => {
                self.place("store", place);
                self.optional(", ", Some(*value));
                self.optional(" mask ", *mask);
                self.hints(*cache, *evict);
            }
            Prefetch { place, mask } => {
                self.place("prefetch", place);
                self.optional(" mask ", *mask);
            }
            AtomicRmw { op, place, value, mask, order, scope } => {
                self.put_str("atomic ");
                self.place(op.name(), place);
                self.optional(", ", Some(*value));
                self.optional(" mask ", *mask);
                self.ordering(*order, *scope);
            }
            AtomicCas { place, expected, value, mask, order, scope } => {
                self.place("atomic_cas", place);
                self.optional(", ", Some(*expected));
                self.optional(", ", Some(*value));
                self.optional(" mask ", *mask);
                self.ordering(*order, *scope);
            }
            AtomicLoad { place, mask, order, scope } => {
                self.place("atomic_load", place);
                self.optional(" mask ", *mask);
                self.ordering(*order, *scope);
            }
            AtomicStore { place, value, mask, order, scope } => {
                self.place("atomic_store", place);
                self.optional(", ", Some(*value));
                self.optional(" mask ", *mask);
                self.ordering(*order, *scope);
            }
            Dot { a, b, acc, precision } | DotStart { a, b, acc, precision } => {
                self.op(if matches!(data, Dot { .. }) { "dot" } else { "dot_start" }, &[*a, *b]);
                self.optional(" acc ", *acc);
                if *precision != DotPrecision::Ieee {
                    self.put(format_args!(" precision {precision}"));
                }
            }
            DotScaled { a, a_scale, a_format, b, b_scale, b_format, acc } => {
                self.op("dot_scaled", &[*a, *a_scale]);
                self.put(format_args!(" {a_format}, "));
                self.values(&[*b, *b_scale]);
                self.put(format_args!(" {b_format}"));
                self.optional(" acc ", *acc);
            }
            Reduce { args, axis, combine } => {
                self.put_str("reduce ");
                self.list(attrs::combine_name(*combine), args);
                self.axis(*axis);
            }
            Scan { args, axis, reverse, combine } => {
                self.put_str("scan ");
                self.list(attrs::combine_name(*combine), args);
                self.axis(*axis);
                self.flag(" reverse", *reverse);
            }
            Sort { args, axis, descending } => {
                self.list("sort", args);
                self.axis(*axis);
                self.flag(" descending", *descending);
            }
            TopK { arg, k } => {
                self.op("topk", &[*arg]);
                self.put(format_args!(" k {k}"));
            }
            Histogram { arg, bins, mask } => {
                self.op("histogram", &[*arg]);
                self.put(format_args!(" bins {bins}"));
                self.optional(" mask ", *mask);
            }
            For { lo, hi, step, rev, init, attrs, .. } => {
                self.put_str("for ");
                self.value(*lo);
                self.optional("..", Some(*hi));
                self.optional(" step ", Some(*step));
                self.flag(" rev", *rev);
                if let Some(stages) = attrs.stages {
                    self.put(format_args!(" stages {stages}"));
                }
                self.flag(" specialize", attrs.specialize);
                self.flag(" unroll", attrs.unroll);
                self.flag(" programs", attrs.programs);
                self.list(" init", init);
            }
            While { init, .. } => self.list("while init", init),
            If { cond, .. } => self.op("if", &[*cond]),
            Yield { args } if args.is_empty() => self.put_str("yield"),
            Yield { args } => self.op("yield", args),
            Call { func, args } => {
                self.put(format_args!("call @{}(", func.as_u32()));
                self.values(args);
                self.put_str(")");
            }
            Assert { cond, message } => {
                self.op("assert", &[*cond]);
                self.put(format_args!(" {}", attrs::quoted(message)));
            }
            Print { format, args } => {
                self.put(format_args!("print {}", attrs::quoted(format)));
                self.list("", args);
            }
            Assume { cond } => self.op("assume", &[*cond]),
            AssumeAligned { ptr, bytes } => {
                self.op("assume_aligned", &[*ptr]);
                self.put(format_args!(" {bytes}"));
            }
            GridSync => self.put_str("grid_sync"),
            RingNew { slots } => self.put(format_args!("ring_new {slots}")),
            RingAcquire { ring } => self.op("ring_acquire", &[*ring]),
            RingFill { place, mask, ring, slot, enable, layout } => {
                self.op("ring_fill", &[*ring, *slot]);
                self.place(" from", place);
                self.optional(" mask ", *mask);
                self.optional(" if ", *enable);
                if let Some(layout) = layout {
                    self.put(format_args!(" by {layout}"));
                }
            }
            RingCommit => self.put_str("ring_commit"),
            RingWait { pending } => self.put(format_args!("ring_wait {pending}")),
            RingRead { ring, slot } => self.op("ring_read", &[*ring, *slot]),
            DotWait { arg, pending } => {
                self.put(format_args!("dot_wait {pending}"));
                self.optional(" of ", *arg);
            }
            ClusterSum { arg } => self.op("cluster_sum", &[*arg]),
            Hold { arg } => self.op("hold", &[*arg]),
            BarrierNew { count, arrivals } => self.put(format_args!("barrier_new {count} arrivals {arrivals}")),
            BarrierExpect { barrier, slot, bytes } => {
                self.op("barrier_expect", &[*barrier, *slot]);
                self.put(format_args!(" bytes {bytes}"));
            }
            BarrierArrive { barrier, slot, enable, cluster } => {
                self.op("barrier_arrive", &[*barrier, *slot]);
                self.optional(" if ", *enable);
                self.flag(" cluster", *cluster);
            }
            BarrierWait { barrier, slot, phase } => self.op("barrier_wait", &[*barrier, *slot, *phase]),
            TmaFill { place, ring, slot, barrier, share, tf32 } => {
                self.op("tma_fill", &[*ring, *slot, *barrier]);
                self.place(" from", place);
                self.optional(" share ", *share);
                self.flag(" tf32", *tf32);
            }
            TmaStore { place, value, reduce } => {
                match reduce {
                    None => self.place("tma_store", place),
                    Some(op) => {
                        self.put_str("tma_reduce ");
                        self.place(op.name(), place);
                    }
                }
                self.optional(", ", Some(*value));
            }
            TmaStoreWait => self.put_str("tma_store_wait"),
            IsProducer => self.put_str("is_producer"),
            InlineAsm { text, constraints, args, pure_ } => {
                self.put(format_args!("asm {} {}", attrs::quoted(text), attrs::quoted(constraints)));
                self.list("", args);
                self.flag(" pure", *pure_);
            }
        }
        self.loc(func.locs[inst]);
        match data {
            Reduce { combine: Combine::Region(body), .. } | Scan { combine: Combine::Region(body), .. } | For { body, .. } => {
                self.block(*body);
            }
            While { cond, body, .. } => {
                self.block(*cond);
                self.put_str(" do");
                self.block(*body);
            }
            If { then, otherwise, .. } => {
                self.block(*then);
                self.put_str(" else");
                self.block(*otherwise);
            }
            _ => {}
        }
    }

    fn op(&mut self, name: &str, args: &[Value]) {
        self.put_str(name);
        self.put_str(" ");
        self.values(args);
    }

    /// `name [v1, v2]`.
    fn list(&mut self, name: &str, args: &[Value]) {
        self.put_str(name);
        self.put_str(" [");
        self.values(args);
        self.put_str("]");
    }

    fn axis(&mut self, axis: u8) {
        self.put(format_args!(" axis {axis}"));
    }

    fn numbers(&mut self, numbers: impl Iterator<Item = u32>) {
        let numbers: Vec<String> = numbers.map(|n| n.to_string()).collect();
        self.put(format_args!(" [{}]", numbers.join(", ")));
    }

    fn flag(&mut self, text: &str, set: bool) {
        if set {
            self.put_str(text);
        }
    }

    fn optional(&mut self, prefix: &str, value: Option<Value>) {
        if let Some(value) = value {
            self.put_str(prefix);
            self.value(value);
        }
    }

    /// `name v0[v1, v2..+128!, gather v3]` or `name *v1`.
    fn place(&mut self, name: &str, place: &Place) {
        self.put_str(name);
        match place {
            Place::Ptr(ptr) => self.optional(" *", Some(*ptr)),
            Place::View(access) => {
                self.optional(" ", Some(access.view));
                self.put_str("[");
                for (dim, index) in access.index.iter().enumerate() {
                    self.put_str(if dim == 0 { "" } else { ", " });
                    match index {
                        SliceIndex::At(v) => self.value(*v),
                        SliceIndex::Span { start, len } => {
                            self.value(*start);
                            self.put(format_args!("..+{len}"));
                        }
                        SliceIndex::Gather(v) => self.optional("gather ", Some(*v)),
                    }
                    self.flag("!", access.in_bounds >> dim & 1 != 0);
                }
                self.put_str("]");
            }
        }
    }

    fn hints(&mut self, cache: CacheOp, evict: Evict) {
        if cache != CacheOp::Default {
            self.put(format_args!(" cache {cache}"));
        }
        if evict != Evict::Normal {
            self.put(format_args!(" evict {evict}"));
        }
    }

    fn ordering(&mut self, order: MemOrder, scope: MemScope) {
        self.put(format_args!(" {order} {scope}"));
    }
}
