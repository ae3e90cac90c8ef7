//! Parses one instruction: the forms that `print_inst` writes.

use smallvec::SmallVec;

use super::attrs::combine_from_name;
use super::lex::Token;
use super::parse::{Parse, Parser};
use crate::entity::{FuncRef, Inst, Value};
use crate::inst::{Combine, Const, InstData, LoopAttrs, Place, SliceIndex, ValueList, ViewAccess, ViewIndex};
use crate::ops::*;

/// What follows the operands of a memory instruction.
#[derive(Default)]
struct Tail {
    mask: Option<Value>,
    other: Option<Value>,
    cache: Option<CacheOp>,
    evict: Option<Evict>,
}

impl Parser<'_> {
    /// The instruction after its results. Sets the source place of `inst`.
    pub(super) fn inst_data(&mut self, inst: Inst) -> Parse<InstData> {
        let mnemonic = self.word("an instruction")?;
        let data = match mnemonic {
            "const" => InstData::Const { value: self.constant()? },
            "const_tile" => InstData::ConstTile { values: self.bracketed::<_, Vec<Const>>(Self::constant)?.into() },
            "program_id" => InstData::ProgramId { axis: self.number()? },
            "num_programs" => InstData::NumPrograms { axis: self.number()? },
            "num_sms" => InstData::NumSms,
            "block_id" => InstData::BlockId,
            "num_blocks" => InstData::NumBlocks,
            "cluster_rank" => InstData::ClusterRank,
            "take_turn" => InstData::TakeTurn,
            "pass_turn" => InstData::PassTurn,
            "consumer_group" => InstData::ConsumerGroup,
            "iota" => InstData::Iota { start: self.number()? },
            "fma" => {
                let [a, b, c] = self.operands()?;
                InstData::Fma { a, b, c }
            }
            "cmp" => {
                let op = self.named(CmpOp::from_name, "a predicate")?;
                let [a, b] = self.operands()?;
                InstData::Cmp { op, a, b }
            }
            "select" => {
                let [cond, a, b] = self.operands()?;
                InstData::Select { cond, a, b }
            }
            "cast" => InstData::Cast { arg: self.value()? },
            "bitcast" => InstData::Bitcast { arg: self.value()? },
            "convert_layout" => InstData::ConvertLayout { arg: self.value()? },
            "ptr_add" => {
                let [ptr, offset] = self.operands()?;
                InstData::PtrAdd { ptr, offset }
            }
            "broadcast" => InstData::Broadcast { arg: self.value()? },
            "expand_dims" => InstData::ExpandDims { arg: self.value()?, axis: self.axis()? },
            "reshape" => InstData::Reshape { arg: self.value()? },
            "permute" => InstData::Permute { arg: self.value()?, perm: self.bracketed(Self::number)? },
            "join" => {
                let [a, b] = self.operands()?;
                InstData::Join { a, b }
            }
            "split" => InstData::Split { arg: self.value()? },
            "cat" => InstData::Cat { args: self.value_list()?, axis: self.axis()? },
            "extract" => {
                let arg = self.value()?;
                self.expect_word("at")?;
                InstData::ExtractSlice { arg, starts: self.bracketed(Self::number)? }
            }
            "gather" => {
                let [src, index] = self.operands()?;
                InstData::Gather { src, index, axis: self.axis()? }
            }
            "flip" => InstData::Flip { arg: self.value()?, axis: self.axis()? },
            "make_view" => {
                let ptr = self.value()?;
                self.expect_word("dims")?;
                let dims = self.value_list()?;
                self.expect_word("strides")?;
                InstData::MakeView { ptr, dims, strides: self.value_list()? }
            }
            "subview" => InstData::SubView { view: self.value()?, index: self.bracketed(Self::view_index)? },
            "permute_view" => InstData::PermuteView { view: self.value()?, perm: self.bracketed(Self::number)? },
            "view_dim" => InstData::ViewDim { view: self.value()?, axis: self.axis()? },
            "view_stride" => InstData::ViewStride { view: self.value()?, axis: self.axis()? },
            "view_ptr" => InstData::ViewPtr { view: self.value()? },
            "load" => {
                let place = self.place()?;
                let tail = self.tail()?;
                InstData::Load {
                    place,
                    mask: tail.mask,
                    other: tail.other,
                    cache: tail.cache.unwrap_or(CacheOp::Default),
                    evict: tail.evict.unwrap_or(Evict::Normal),
                }
            }
            "store" => {
                let place = self.place()?;
                let value = self.next_value()?;
                let tail = self.tail()?;
                InstData::Store {
                    place,
                    value,
                    mask: tail.mask,
                    cache: tail.cache.unwrap_or(CacheOp::Default),
                    evict: tail.evict.unwrap_or(Evict::Normal),
                }
            }
            "prefetch" => InstData::Prefetch { place: self.place()?, mask: self.optional("mask")? },
            "atomic" => {
                let op = self.named(AtomicOp::from_name, "an atomic operator")?;
                let place = self.place()?;
                let value = self.next_value()?;
                let mask = self.optional("mask")?;
                let (order, scope) = self.ordering()?;
                InstData::AtomicRmw { op, place, value, mask, order, scope }
            }
            "atomic_cas" => {
                let place = self.place()?;
                let expected = self.next_value()?;
                let value = self.next_value()?;
                let mask = self.optional("mask")?;
                let (order, scope) = self.ordering()?;
                InstData::AtomicCas { place, expected, value, mask, order, scope }
            }
            "atomic_load" => {
                let place = self.place()?;
                let mask = self.optional("mask")?;
                let (order, scope) = self.ordering()?;
                InstData::AtomicLoad { place, mask, order, scope }
            }
            "atomic_store" => {
                let place = self.place()?;
                let value = self.next_value()?;
                let mask = self.optional("mask")?;
                let (order, scope) = self.ordering()?;
                InstData::AtomicStore { place, value, mask, order, scope }
            }
            "dot" | "dot_start" => {
                let [a, b] = self.operands()?;
                let acc = self.optional("acc")?;
                let precision = match self.eat_word("precision") {
                    true => self.named(DotPrecision::from_name, "a precision")?,
                    false => DotPrecision::Ieee,
                };
                match mnemonic {
                    "dot" => InstData::Dot { a, b, acc, precision },
                    _ => InstData::DotStart { a, b, acc, precision },
                }
            }
            "dot_scaled" => {
                let [a, a_scale] = self.operands()?;
                let a_format = self.named(ScaledFormat::from_name, "a format")?;
                self.expect(",")?;
                let [b, b_scale] = self.operands()?;
                let b_format = self.named(ScaledFormat::from_name, "a format")?;
                InstData::DotScaled { a, a_scale, a_format, b, b_scale, b_format, acc: self.optional("acc")? }
            }
            "reduce" => {
                let combine = self.combine()?;
                let (args, axis) = (self.value_list()?, self.axis()?);
                self.func.locs[inst] = self.loc()?;
                return Ok(InstData::Reduce { args, axis, combine: self.combine_body(combine)? });
            }
            "scan" => {
                let combine = self.combine()?;
                let (args, axis) = (self.value_list()?, self.axis()?);
                let reverse = self.eat_word("reverse");
                self.func.locs[inst] = self.loc()?;
                return Ok(InstData::Scan { args, axis, reverse, combine: self.combine_body(combine)? });
            }
            "sort" => InstData::Sort { args: self.value_list()?, axis: self.axis()?, descending: self.eat_word("descending") },
            "topk" => {
                let arg = self.value()?;
                self.expect_word("k")?;
                InstData::TopK { arg, k: self.number()? }
            }
            "histogram" => {
                let arg = self.value()?;
                self.expect_word("bins")?;
                InstData::Histogram { arg, bins: self.number()?, mask: self.optional("mask")? }
            }
            "for" => {
                let lo = self.value()?;
                self.expect("..")?;
                let hi = self.value()?;
                self.expect_word("step")?;
                let step = self.value()?;
                let rev = self.eat_word("rev");
                let stages = if self.eat_word("stages") { Some(self.number()?) } else { None };
                let (specialize, unroll, programs) =
                    (self.eat_word("specialize"), self.eat_word("unroll"), self.eat_word("programs"));
                let attrs = LoopAttrs { stages, specialize, unroll, programs };
                self.expect_word("init")?;
                let init = self.value_list()?;
                self.func.locs[inst] = self.loc()?;
                return Ok(InstData::For { lo, hi, step, rev, init, body: self.block()?, attrs });
            }
            "while" => {
                self.expect_word("init")?;
                let init = self.value_list()?;
                self.func.locs[inst] = self.loc()?;
                let cond = self.block()?;
                self.expect_word("do")?;
                return Ok(InstData::While { init, cond, body: self.block()? });
            }
            "if" => {
                let cond = self.value()?;
                self.func.locs[inst] = self.loc()?;
                let then = self.block()?;
                self.expect_word("else")?;
                return Ok(InstData::If { cond, then, otherwise: self.block()? });
            }
            "yield" => {
                let mut args = ValueList::new();
                if self.at_value() {
                    args.push(self.value()?);
                    while self.eat(",") {
                        args.push(self.value()?);
                    }
                }
                InstData::Yield { args }
            }
            "call" => {
                self.expect("@")?;
                let func = FuncRef::from_u32(self.number()?);
                self.expect("(")?;
                InstData::Call { func, args: self.separated(")", Self::value)? }
            }
            "assert" => InstData::Assert { cond: self.value()?, message: self.string()?.into() },
            "print" => InstData::Print { format: self.string()?.into(), args: self.value_list()? },
            "assume" => InstData::Assume { cond: self.value()? },
            "assume_aligned" => InstData::AssumeAligned { ptr: self.value()?, bytes: self.number()? },
            "grid_sync" => InstData::GridSync,
            "ring_new" => InstData::RingNew { slots: self.number()? },
            "ring_acquire" => InstData::RingAcquire { ring: self.value()? },
            "ring_fill" => {
                let [ring, slot] = self.operands()?;
                self.expect_word("from")?;
                let place = self.place()?;
                let (mask, enable) = (self.optional("mask")?, self.optional("if")?);
                let layout = if self.eat_word("by") { Some(self.layout()?) } else { None };
                InstData::RingFill { place, mask, ring, slot, enable, layout }
            }
            "ring_commit" => InstData::RingCommit,
            "ring_wait" => InstData::RingWait { pending: self.number()? },
            "ring_read" => {
                let [ring, slot] = self.operands()?;
                InstData::RingRead { ring, slot }
            }
            "dot_wait" => InstData::DotWait { pending: self.number()?, arg: self.optional("of")? },
            "cluster_sum" => InstData::ClusterSum { arg: self.value()? },
            "hold" => InstData::Hold { arg: self.value()? },
            "barrier_new" => {
                let count = self.number()?;
                self.expect_word("arrivals")?;
                InstData::BarrierNew { count, arrivals: self.number()? }
            }
            "barrier_expect" => {
                let [barrier, slot] = self.operands()?;
                self.expect_word("bytes")?;
                InstData::BarrierExpect { barrier, slot, bytes: self.number()? }
            }
            "barrier_arrive" => {
                let [barrier, slot] = self.operands()?;
                InstData::BarrierArrive { barrier, slot, enable: self.optional("if")?, cluster: self.eat_word("cluster") }
            }
            "barrier_wait" => {
                let [barrier, slot, phase] = self.operands()?;
                InstData::BarrierWait { barrier, slot, phase }
            }
            "tma_fill" => {
                let [ring, slot, barrier] = self.operands()?;
                self.expect_word("from")?;
                InstData::TmaFill {
                    place: self.place()?,
                    ring,
                    slot,
                    barrier,
                    share: self.optional("share")?,
                    tf32: self.eat_word("tf32"),
                }
            }
            "tma_store" => InstData::TmaStore { place: self.place()?, value: self.next_value()?, reduce: None },
            "tma_reduce" => {
                let op = self.named(AtomicOp::from_name, "an atomic operator")?;
                InstData::TmaStore { place: self.place()?, value: self.next_value()?, reduce: Some(op) }
            }
            "tma_store_wait" => InstData::TmaStoreWait,
            "is_producer" => InstData::IsProducer,
            "asm" => InstData::InlineAsm {
                text: self.string()?.into(),
                constraints: self.string()?.into(),
                args: self.value_list()?,
                pure_: self.eat_word("pure"),
            },
            other => {
                if let Some(op) = UnaryOp::from_name(other) {
                    InstData::Unary { op, arg: self.value()? }
                } else if let Some(op) = BinaryOp::from_name(other) {
                    let [a, b] = self.operands()?;
                    InstData::Binary { op, a, b }
                } else {
                    return Err(self.error(format!("`{other}` is no instruction")));
                }
            }
        };
        self.func.locs[inst] = self.loc()?;
        Ok(data)
    }

    /// Whether a value (and not the next instruction's result, which is followed by `:` or `.`) comes next.
    fn at_value(&self) -> bool {
        matches!(self.peek(), Token::Ident(w) if w.strip_prefix('v').is_some_and(|n| n.parse::<u32>().is_ok()))
    }

    fn operands<const N: usize>(&mut self) -> Parse<[Value; N]> {
        let mut list: SmallVec<[Value; 3]> = SmallVec::new();
        for i in 0..N {
            if i > 0 {
                self.expect(",")?;
            }
            list.push(self.value()?);
        }
        <[Value; N]>::try_from(&list[..]).map_err(|_| self.error(format!("expected {N} operands")))
    }

    /// `, v1`.
    fn next_value(&mut self) -> Parse<Value> {
        self.expect(",")?;
        self.value()
    }

    fn value_list(&mut self) -> Parse<ValueList> {
        self.bracketed(Self::value)
    }

    fn axis(&mut self) -> Parse<u8> {
        self.expect_word("axis")?;
        self.number()
    }

    fn optional(&mut self, word: &str) -> Parse<Option<Value>> {
        if self.eat_word(word) { self.value().map(Some) } else { Ok(None) }
    }

    fn named<T>(&mut self, from_name: fn(&str) -> Option<T>, what: &str) -> Parse<T> {
        let word = self.word(what)?;
        from_name(word).ok_or_else(|| self.error(format!("`{word}` is not {what}")))
    }

    fn constant(&mut self) -> Parse<Const> {
        if let Token::Ident(word) = *self.peek() {
            let value = match word {
                "inf" => f64::INFINITY,
                "-inf" => f64::NEG_INFINITY,
                "nan" => f64::NAN,
                "float" => {
                    self.word("`float`")?;
                    let text = self.number_text()?;
                    let bits = text.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
                    return bits.map(|b| Const::Float(f64::from_bits(b))).ok_or_else(|| self.error("expected 0x..".into()));
                }
                _ => return Err(self.error(format!("`{word}` is no constant"))),
            };
            self.word("a constant")?;
            return Ok(Const::Float(value));
        }
        let text = self.number_text()?;
        let value = match text.contains(['.', 'e']) {
            true => text.parse().ok().map(Const::Float),
            false => text.parse().ok().map(Const::Int),
        };
        value.ok_or_else(|| self.error(format!("`{text}` is not in range")))
    }

    fn combine(&mut self) -> Parse<Option<Combine>> {
        let word = self.word("a combination")?;
        match combine_from_name(word) {
            None if word != "region" => Err(self.error(format!("`{word}` is no combination"))),
            combine => Ok(combine),
        }
    }

    /// The block of a `region`, which has no builtin combination.
    fn combine_body(&mut self, builtin: Option<Combine>) -> Parse<Combine> {
        match builtin {
            Some(combine) => Ok(combine),
            None => self.block().map(Combine::Region),
        }
    }

    fn view_index(&mut self) -> Parse<ViewIndex> {
        if self.eat(":") {
            return Ok(ViewIndex::Full);
        }
        let lo = self.value()?;
        if self.eat("..") { Ok(ViewIndex::Range { lo, hi: self.value()? }) } else { Ok(ViewIndex::At(lo)) }
    }

    fn place(&mut self) -> Parse<Place> {
        if self.eat("*") {
            return Ok(Place::Ptr(self.value()?));
        }
        let view = self.value()?;
        let mut in_bounds = 0;
        let mut dim = 0;
        let index = self.bracketed(|p| {
            let index = if p.eat_word("gather") {
                SliceIndex::Gather(p.value()?)
            } else {
                let start = p.value()?;
                if p.eat("..+") { SliceIndex::Span { start, len: p.number()? } } else { SliceIndex::At(start) }
            };
            if p.eat("!") {
                in_bounds |= 1u8.checked_shl(dim).unwrap_or(0);
            }
            dim += 1;
            Ok(index)
        })?;
        Ok(Place::View(ViewAccess { view, index, in_bounds }))
    }

    fn tail(&mut self) -> Parse<Tail> {
        let mut tail = Tail { mask: self.optional("mask")?, other: self.optional("other")?, ..Tail::default() };
        if self.eat_word("cache") {
            tail.cache = Some(self.named(CacheOp::from_name, "a cache operator")?);
        }
        if self.eat_word("evict") {
            tail.evict = Some(self.named(Evict::from_name, "an eviction priority")?);
        }
        Ok(tail)
    }

    fn ordering(&mut self) -> Parse<(MemOrder, MemScope)> {
        Ok((self.named(MemOrder::from_name, "a memory order")?, self.named(MemScope::from_name, "a memory scope")?))
    }
}
