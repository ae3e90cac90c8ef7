//! Round trips: every instruction once, random modules, and the errors of malformed texts.

use proptest::prelude::*;
use smallvec::SmallVec;

use super::{PrintOptions, describe_inst, parse_module, print_module};
use crate::entity::{Block, FuncRef, Value};
use crate::func::{Function, IntFact, ParamInfo, SrcLoc, TensorFacts};
use crate::inst::{Combine, Const, InstData, LoopAttrs, Place, SliceIndex, ViewAccess, ViewIndex};
use crate::module::{Module, SourceFile};
use crate::ops::*;
use crate::types::{Elem, ScalarType, Type};

/// One of each instruction and attribute, not meant to be well typed.
const EVERY: &str = r#"kernel @0 every(v0.x: tensor<f32, 2> {number 0, align 16, dims [?%16<=4096, =128], strides [=1%2<=9, =7<=none], may_alias}, v1.y: mut tensor<ptr<f16>, 1> {number 1, align 8, dims [?], strides [?]}, v2: mut ptr<bf16> {number 3, name "p q"}) grid 3 index 32 schedule {warps 4, stages 3, group 8, split_k 4, max_regs 255, cluster [2, 1, 1], persistent, ping_pong, specialize, cooperative, pdl} {
    v3.i: index = const -3
    v4."odd name": f64 = const 1.5
    v5: tile<f32, [2], #layout3> = const float 0x7ff8000000000001
    v6: tile<f64, [6]> = const_tile [1.0, -0.0, inf, -inf, nan, 1e-300]
    v7: index = program_id 0
    v8: index = num_programs 4
    v9: index = num_sms
    v10: tile<i32, [4]> = iota -2
    v11: f64 = neg v4
    v12: f64 = add v4, v11
    v13: f64 = fma v4, v11, v12
    v14: bool = cmp lt v4, v11
    v15: f64 = select v14, v4, v11
    v16: i32 = cast v4
    v17: u64 = bitcast v4
    v18: mut ptr<bf16> = ptr_add v2, v3
    v19: tile<i32, [2, 4]> = broadcast v10
    v20: tile<i32, [1, 4]> = expand_dims v10 axis 0
    v21: tile<i32, [2, 2]> = reshape v10
    v22: tile<i32, [4, 2]> = permute v19 [1, 0]
    v23: tile<i32, [4, 2]> = join v10, v10
    v24: tile<i32, [4]>, v25: tile<i32, [4]> = split v23
    v26: tile<i32, [8]> = cat [v24, v25] axis 0
    v27: tile<i32, [2]> = extract v26 at [3]
    v28: tile<i32, [2]> = gather v26, v27 axis 0
    v29: tile<i32, [2]> = flip v28 axis 0
    v30: mut tensor<bf16, 2> = make_view v2 dims [v3, v7] strides [v7, v3]
    v31: mut tensor<bf16, 1> = subview v30[v3, v7..v8]
    v32: mut tensor<bf16, 2> = subview v30[:, :]
    v33: mut tensor<bf16, 2> = permute_view v32 [1, 0]
    v34: index = view_dim v33 axis 1
    v35: index = view_stride v33 axis 0
    v36: mut ptr<bf16> = view_ptr v33
    v37: tile<bf16, [16, 2]> = load v33[v3..+16!, gather v27] mask v14 other v4 cache cg evict last
    v38: bf16 = load v33[v3!, v7]
    v39: bf16 = load *v36 mask v14
    store v33[v3, v7], v38 mask v14 cache cs evict first
    store *v36, v39
    prefetch v33[v3, v7] mask v14
    v40: bf16 = atomic xchg *v36, v39 mask v14 acq_rel system
    v41: bf16 = atomic_cas *v36, v39, v40 relaxed device
    v42: bf16 = atomic_load *v36 acquire program
    atomic_store *v36, v42 release device
    v43: tile<f32, [2]> = dot v5, v5 acc v5 precision tf32x3
    v44: tile<f32, [2]> = dot v5, v5
    v45: tile<f32, [2]> = dot_scaled v5, v27 e2m1, v5, v27 e4m3 acc v44
    v46: f32 = reduce add [v5] axis 0
    v47: f32, v48: f32 = reduce region [v5, v43] axis 0 (v49.a: f32, v50: f32, v51: f32, v52: f32) {
        v53: f32 = mul v49, v51
        yield v53, v52
    }
    v54: tile<f32, [2]> = scan max [v5] axis 0 reverse
    v55: tile<f32, [2]> = scan region [v5] axis 0 (v56: f32, v57: f32) {
        yield v57
    }
    v58: tile<f32, [2]>, v59: tile<f32, [2]> = sort [v5, v43] axis 0 descending
    v60: tile<f32, [1]>, v61: tile<i32, [1]> = topk v5 k 1
    v62: tile<i32, [256]> = histogram v10 bins 256 mask v14
    v63: f32 = for v3..v7 step v8 rev stages 3 specialize unroll init [v46] (v64: index, v65: f32) {
        v66: f32 = add v65, v65
        yield v66
    }
    v67: i32 = while init [v16] (v68: i32) {
        v69: bool = cmp ne v68, v16
        yield v69, v68
    } do (v70: i32) {
        yield v70
    }
    if v14 {
        assert v14 "quote \" and \\ and\nnewline"
        yield
    } else {
        print "{} {}" [v14, v16]
        yield
    }
    v71: f32 = call @1(v46)
    assume v14
    assume_aligned v36 16
    grid_sync
    v72: tile<f32, [2], #layout4> = convert_layout v5
    v73: i32 = asm "mov.u32 $0, $1;" "=r,r" [v16] pure
    v74: tile<f32, [2], #layout5> = ring_new 3
    ring_acquire v74
    ring_fill v74, v16 from v1[v2..+2!, v2] mask v14 if v14 by #layout6
    ring_commit
    ring_wait 1
    v75: tile<f32, [2], #layout5> = ring_read v74, v16
    tma_store v33[v3..+2!, v7], v75
    tma_reduce add v33[v3..+2!, v7], v75
    tma_store_wait
    v76: index = block_id
    v77: index = num_blocks
    v78: index = cluster_rank
    v79: i32 = barrier_new 3 arrivals 8
    barrier_arrive v79, v16 if v14 cluster
    tma_fill v74, v16, v79 from v1[v2..+2!, v2] share v78
    tma_fill v74, v16, v79 from v1[v2..+2!, v2] tf32
    v80: tile<f32, [2]> = cluster_sum v5
    v81: i32 = consumer_group
    take_turn
    pass_turn
    yield
}

fn @1 "math::exp"(v0.x: f32 {number 0}) -> (f32) index 64 {
    yield v0
}
"#;

#[test]
fn every_instruction_survives_a_round_trip() {
    let module = parse_module(EVERY).unwrap();
    assert_eq!(module.to_string(), EVERY);
}

#[test]
fn printing_renumbers_what_a_gap_left() {
    let text = "fn @0 f(v7.x: f32 {number 0}) -> (f32) index 64 {\n    v20: f32 = neg v7\n    yield v20\n}\n";
    let module = parse_module(text).unwrap();
    let printed = module.to_string();
    assert!(printed.contains("v1: f32 = neg v0"), "{printed}");
    let func = &module.funcs[FuncRef::from_u32(0)];
    assert_eq!(describe_inst(func, func.blocks[func.body].insts[0]), "v1: f32 = neg v0");
}

#[test]
fn malformed_texts_are_refused_where_they_depart_from_the_form() {
    let body = |inst: &str| format!("fn @0 f(v0: f32 {{number 0}}) index 64 {{\n    {inst}\n}}\n");
    for (text, line, column, message) in [
        (body("v1: f32 = neg v3"), 2, 19, "v3 is not defined above"),
        (body("v1: f32 = frobnicate v0"), 2, 26, "`frobnicate` is no instruction"),
        (body("v0: f32 = neg v0"), 3, 1, "v0 is defined twice"),
        (body("v1: f33 = neg v0"), 2, 9, "expected a type, found `f33`"),
        (body("v1: f32 = add v0"), 3, 1, "expected `,`, found `}`"),
        (body("v1: i32 = const 99999999999999999999"), 3, 1, "`99999999999999999999` is not in range"),
        (body("assert v0 \"open"), 2, 15, "unterminated or malformed string"),
        ("kernel @1 f() index 64 {}".into(), 1, 11, "functions are numbered in order; expected @0"),
        ("~".into(), 1, 1, "unexpected character '~'"),
    ] {
        let error = parse_module(&text).unwrap_err();
        assert_eq!((error.line, error.column, error.message.as_str()), (line, column, message), "{text}");
    }
}

/// Choices drawn from a random list; 0 when it runs out, so that shrinking the list shrinks the module.
struct Choices<'a>(std::slice::Iter<'a, u32>);

impl Choices<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.0.next().map_or(0, |&c| c as usize % n.max(1))
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn flag(&mut self) -> bool {
        self.below(2) == 1
    }

    fn float(&mut self) -> f64 {
        let high = self.below(1 << 32) as u64;
        f64::from_bits(high << 32 | self.below(1 << 32) as u64)
    }

    fn ty(&mut self) -> Type {
        let scalar = self.of(&ScalarType::ALL);
        let elem = if self.below(5) == 0 { Elem::Ptr { pointee: scalar, mutable: self.flag() } } else { scalar.into() };
        match self.below(4) {
            0 => Type::view(elem, 1 + self.below(5) as u8, self.flag()),
            rank => Type::tile(elem, &(1..rank).map(|_| 1 + self.below(300) as u32).collect::<Vec<_>>()),
        }
    }

    fn loc(&mut self) -> SrcLoc {
        if self.flag() { SrcLoc { file: 0, lo: self.below(50) as u32, hi: self.below(90) as u32 } } else { SrcLoc::UNKNOWN }
    }

    fn fact(&mut self) -> IntFact {
        let known = self.flag().then(|| self.below(100) as i64 - 50);
        IntFact { known, divisor: 1 << self.below(5), max: self.flag().then(|| self.below(1000) as i64) }
    }

    fn place(&mut self, values: &[Value]) -> Place {
        if self.flag() {
            return Place::Ptr(self.of(values));
        }
        let rank = 1 + self.below(5);
        let index = (0..rank)
            .map(|_| match self.below(3) {
                0 => SliceIndex::At(self.of(values)),
                1 => SliceIndex::Span { start: self.of(values), len: self.below(999) as u32 },
                _ => SliceIndex::Gather(self.of(values)),
            })
            .collect();
        Place::View(ViewAccess { view: self.of(values), index, in_bounds: self.below(1 << rank) as u8 })
    }

    /// A random instruction over `values`, in any combination the enum can express.
    fn inst(&mut self, func: &mut Function, values: &[Value], depth: usize) -> InstData {
        let list = |c: &mut Self| (0..c.below(4)).map(|_| c.of(values)).collect::<SmallVec<[Value; 4]>>();
        let optional = |c: &mut Self| c.flag().then(|| c.of(values));
        let kinds = if depth < 3 { 15 } else { 10 };
        match self.below(kinds) {
            0 => InstData::Const {
                value: if self.flag() { Const::Float(self.float()) } else { Const::Int(self.below(1 << 40) as i64 - 9) },
            },
            1 => InstData::Unary { op: self.of(UnaryOp::ALL), arg: self.of(values) },
            2 => InstData::Binary { op: self.of(BinaryOp::ALL), a: self.of(values), b: self.of(values) },
            3 => InstData::Cmp { op: self.of(CmpOp::ALL), a: self.of(values), b: self.of(values) },
            4 => InstData::Load {
                place: self.place(values),
                mask: optional(self),
                other: optional(self),
                cache: self.of(CacheOp::ALL),
                evict: self.of(Evict::ALL),
            },
            5 => InstData::AtomicRmw {
                op: self.of(AtomicOp::ALL),
                place: self.place(values),
                value: self.of(values),
                mask: optional(self),
                order: self.of(MemOrder::ALL),
                scope: self.of(MemScope::ALL),
            },
            6 => InstData::Print { format: ["{}", "", "\u{1F600}\u{7}\"\\"][self.below(3)].into(), args: list(self) },
            7 => InstData::SubView {
                view: self.of(values),
                index: (0..self.below(5))
                    .map(|_| match self.below(3) {
                        0 => ViewIndex::At(self.of(values)),
                        1 => ViewIndex::Range { lo: self.of(values), hi: self.of(values) },
                        _ => ViewIndex::Full,
                    })
                    .collect(),
            },
            8 => InstData::Dot {
                a: self.of(values),
                b: self.of(values),
                acc: optional(self),
                precision: self.of(DotPrecision::ALL),
            },
            9 => InstData::ConstTile { values: (0..self.below(6)).map(|_| Const::Float(self.float())).collect() },
            10 => InstData::For {
                lo: self.of(values),
                hi: self.of(values),
                step: self.of(values),
                rev: self.flag(),
                init: list(self),
                body: self.block(func, values, depth),
                attrs: LoopAttrs {
                    stages: self.flag().then_some(3),
                    specialize: self.flag(),
                    unroll: self.flag(),
                    programs: self.flag(),
                },
            },
            11 => {
                InstData::While { init: list(self), cond: self.block(func, values, depth), body: self.block(func, values, depth) }
            }
            12 => InstData::If {
                cond: self.of(values),
                then: self.block(func, values, depth),
                otherwise: self.block(func, values, depth),
            },
            13 => InstData::Reduce {
                args: list(self),
                axis: self.below(4) as u8,
                combine: Combine::Region(self.block(func, values, depth)),
            },
            _ => InstData::Scan { args: list(self), axis: self.below(4) as u8, reverse: self.flag(), combine: Combine::FMin },
        }
    }

    fn block(&mut self, func: &mut Function, outer: &[Value], depth: usize) -> Block {
        let block = func.add_block();
        let mut values = outer.to_vec();
        for _ in 0..self.below(3) {
            let name = self.flag().then(|| "carried".into());
            values.push(func.add_block_param(block, self.ty(), name));
        }
        self.fill(func, block, values, depth + 1);
        block
    }

    fn fill(&mut self, func: &mut Function, block: Block, mut values: Vec<Value>, depth: usize) {
        for _ in 0..self.below(6) {
            let data = self.inst(func, &values, depth);
            let types: Vec<Type> = (0..self.below(3)).map(|_| self.ty()).collect();
            let inst = func.append(block, data, &types, self.loc());
            for &result in func.results_of(inst).to_vec().iter() {
                func.values[result].name = (self.below(4) == 0).then(|| ["acc", "a b", "v3"][self.below(3)].into());
                values.push(result);
            }
        }
        let args = (0..self.below(3)).map(|_| self.of(&values)).collect();
        func.append(block, InstData::Yield { args }, &[], self.loc());
    }

    fn module(&mut self) -> Module {
        let mut module = Module::default();
        module.files.push(SourceFile::new("a file.kiln", "one\ntwo\n\nfour"));
        for number in 0..1 + self.below(2) {
            let mut func = Function::new(["softmax", "math::exp"][self.below(2)], number == 0);
            let facts = TensorFacts {
                align: 1 << self.below(8),
                dims: (0..2).map(|_| self.fact()).collect(),
                strides: (0..2).map(|_| self.fact()).collect(),
                may_alias: self.flag(),
            };
            func.add_param(ParamInfo { name: "x".into(), number: 2, tensor: Some(facts) }, Type::view(ScalarType::F32, 2, true));
            func.add_param(ParamInfo { name: "odd name".into(), number: 0, tensor: None }, self.ty());
            func.grid_rank = 1 + self.below(5) as u8;
            func.index_bits = if self.flag() { 32 } else { 64 };
            func.schedule.warps = self.flag().then_some(8);
            func.schedule.pdl = self.flag();
            func.loc = self.loc();
            let values = func.param_values().to_vec();
            let body = func.body;
            self.fill(&mut func, body, values, 0);
            module.funcs.push(func);
        }
        module
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_modules_survive_a_round_trip(choices in proptest::collection::vec(any::<u32>(), 0..600)) {
        let module = Choices(choices.iter()).module();
        for spans in [false, true] {
            let text = print_module(&module, PrintOptions { spans });
            let parsed = parse_module(&text).map_err(|e| TestCaseError::fail(format!("{e}\n{text}")))?;
            prop_assert_eq!(print_module(&parsed, PrintOptions { spans }), text);
            for (func_ref, func) in &module.funcs {
                let other = &parsed.funcs[func_ref];
                prop_assert_eq!(&func.params, &other.params);
                prop_assert_eq!(&func.schedule, &other.schedule);
                prop_assert_eq!((func.grid_rank, func.index_bits, &func.name), (other.grid_rank, other.index_bits, &other.name));
                prop_assert_eq!(func.insts.len(), other.insts.len());
                if spans {
                    prop_assert_eq!(func.loc, other.loc);
                }
            }
        }
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[ -~\n]{0,200}") {
        let _ = parse_module(&text);
    }
}
