//! A violation for each invariant, and that every one of several is reported.

use super::verify;
use crate::builder::Builder;
use crate::entity::FuncRef;
use crate::func::{Function, ValueDef};
use crate::inst::InstData;
use crate::module::Module;
use crate::text::parse_module;
use crate::types::{ScalarType, Type};

const HEAD: &str = "kernel @0 k(v0.x: tensor<f32, 2> {number 0}, v1.y: mut tensor<f32, 1> {number 1}, v2.p: ptr<f32> {number 2}, v3.i: index {number 3}, \
     v4.f: f32 {number 4}, v5.b: bool {number 5}, v6.n: i32 {number 6}, v7.q: mut ptr<i32> {number 7}) grid 1 index 64 {\n";

/// What the verifier says of a kernel with this body; values from v10 on are free.
fn violations(body: &str) -> Vec<String> {
    module_violations(parse_module(&format!("{HEAD}{body}\nyield\n}}\n")).unwrap_or_else(|e| panic!("{e}\n{body}")))
}

fn module_violations(module: Module) -> Vec<String> {
    match verify(module) {
        Ok(_) => Vec::new(),
        Err((_, list)) => list.iter().map(|v| format!("{}: {}", v.place, v.message)).collect(),
    }
}

fn expect(body: &str, message: &str) {
    let found = violations(body);
    assert!(found.iter().any(|v| v.contains(message)), "{body}\nexpected {message:?}, found {found:#?}");
}

#[test]
fn good_code_passes() {
    let body = "v10: tile<index, [8]> = iota 0
        v11: tile<f32, [8, 4]> = load x[gather v10, v3..+4]
        v12: tile<f32, [8]> = reduce add [v11] axis 1
        v13: f32 = for v3..v3 step v3 init [v4] (v14: index, v15: f32) { v16: f32 = add v15, v15 yield v16 }
        store v1[v3..+8], v12
        v17: f32, v18: i32 = if v5 { yield v4, v6 } else { yield v13, v6 }
        v19: i32 = while init [v6] (v20: i32) { yield v5, v20 } do (v21: i32) { yield v21 }
        v22: tile<f32, [4]> = reduce region [v11] axis 0 (v23: f32, v24: f32) { v25: f32 = max v23, v24 yield v25 }";
    assert_eq!(violations(&body.replace("load x", "load v0")), Vec::<String>::new());
}

#[test]
fn every_violation_is_reported() {
    let found = violations("v10: f32 = add v4, v3\nv11: i32 = neg v4\nv12: bool = not v4");
    assert_eq!(
        found,
        [
            "v8: f32 = add v4, v3: types f32 and index differ",
            "v9: i32 = neg v4: types f32 and i32 differ",
            "v10: bool = not v4: types f32 and bool differ",
            "v10: bool = not v4: f32 is not of an integer type or bool",
        ]
    );
}

fn kernel() -> Function {
    Function::new("k", true)
}

fn one_function(func: Function) -> Vec<String> {
    let mut module = Module::default();
    module.funcs.push(func);
    module_violations(module)
}

fn expect_one(func: Function, message: &str) {
    let found = one_function(func);
    assert!(found.iter().any(|v| v.contains(message)), "expected {message:?}, found {found:#?}");
}

#[test]
fn blocks_end_in_a_yield() {
    expect_one(kernel(), "does not end in a yield");
    let mut func = kernel();
    let body = func.body;
    let mut b = Builder::new(&mut func, body);
    b.yield_(&[]);
    b.index(1);
    expect_one(func, "a yield ends its block");
}

#[test]
fn blocks_and_instructions_stand_once() {
    let mut func = kernel();
    let body = func.body;
    let mut b = Builder::new(&mut func, body);
    let cond = b.int(1, Type::bool());
    let arm = b.func.add_block();
    b.emit(InstData::If { cond, then: arm, otherwise: arm }, &[]);
    b.yield_(&[]);
    Builder::new(&mut func, arm).yield_(&[]);
    expect_one(func, "has another owner");

    let mut func = kernel();
    let body = func.body;
    let mut b = Builder::new(&mut func, body);
    let one = b.emit(InstData::NumSms, &[Type::index()]);
    b.yield_(&[]);
    func.blocks[body].insts.insert(0, one);
    expect_one(func, "stands in two places");
}

#[test]
fn uses_come_after_definitions_in_scope() {
    let mut func = kernel();
    let body = func.body;
    let mut b = Builder::new(&mut func, body);
    let one = b.index(1);
    b.unary(crate::ops::UnaryOp::Neg, one);
    b.yield_(&[]);
    func.blocks[body].insts.swap(0, 1);
    expect_one(func, "is not defined here");

    let inner = "if v5 { v10: index = num_sms yield } else { yield }";
    let mut module = parse_module(&format!("{HEAD}{inner}\nv11: index = neg v3\nyield\n}}\n")).unwrap();
    let func = &mut module.funcs[FuncRef::from_u32(0)];
    let inner_value = func.insts.iter().find(|(_, d)| matches!(d, InstData::NumSms)).map(|(i, _)| func.result(i)).unwrap();
    func.insts.values_mut().for_each(|d| {
        if let InstData::Unary { arg, .. } = d {
            *arg = inner_value;
        }
    });
    let found = module_violations(module);
    assert!(found.iter().any(|v| v.contains("is not defined here")), "{found:#?}");
}

#[test]
fn values_know_where_they_come_from() {
    let mut func = kernel();
    let body = func.body;
    let mut b = Builder::new(&mut func, body);
    let one = b.index(1);
    b.yield_(&[]);
    func.values[one].def = ValueDef::Param(body, 0);
    expect_one(func, "is recorded as");
}

#[test]
fn function_heads() {
    let with = |change: fn(&mut Function)| {
        let mut func = kernel();
        let body = func.body;
        Builder::new(&mut func, body).yield_(&[]);
        change(&mut func);
        func
    };
    assert_eq!(one_function(with(|_| {})), Vec::<String>::new());
    expect_one(with(|f| f.results.push(Type::index())), "a kernel has no results");
    expect_one(with(|f| f.grid_rank = 6), "rank 6 is not 1 to 5");
    expect_one(with(|f| f.index_bits = 16), "width 16 is neither 32 nor 64");
    expect_one(with(|f| _ = f.add_block_param(f.body, Type::index(), None)), "0 parameters, but the body has 1");
    expect_one(
        with(|f| {
            f.is_kernel = false;
            f.results.push(Type::view(ScalarType::F32, 1, false));
        }),
        "cannot be returned",
    );
    let head = "kernel @0 k(v0.x: f32 {number 0, align 4, dims [?], strides [?]}) grid 1 index 64 { yield }";
    let found = module_violations(parse_module(head).unwrap());
    assert!(found[0].contains("the facts of x do not fit f32"), "{found:?}");
}

#[test]
fn yields_and_parameters_of_blocks() {
    expect("v10: f32 = if v5 { yield v4 } else { yield v6 }", "yields [i32], expected [f32]");
    expect("v10: f32 = if v5 { yield v4 } else { yield }", "yields [], expected [f32]");
    expect("v10: f32 = for v3..v3 step v3 init [v4] (v11: i32, v12: f32) { yield v12 }", "has parameters [i32, f32]");
    expect("v10: i32 = for v3..v3 step v3 init [v4] (v11: index, v12: f32) { yield v12 }", "results [i32], carried [f32]");
    expect("for v3..v3 step v6 init [] (v11: index) { yield }", "types index and i32 differ");
    expect("for v4..v4 step v4 init [] (v11: f32) { yield }", "f32 is not of an integer type");
    expect(
        "v10: i32 = while init [v6] (v11: i32) { yield v11 } do (v12: i32) { yield v12 }",
        "yields [i32], expected [bool, i32]",
    );
    expect("if v5 (v10: i32) { yield } else { yield }", "has parameters [i32], expected []");
    expect("if v6 { yield } else { yield }", "types i32 and bool differ");
}

#[test]
fn views_stay_where_they_are() {
    expect("v10: tensor<f32, 2> = if v5 { yield v0 } else { yield v0 }", "views are not carried");
    expect(
        "v10: tensor<f32, 2> = for v3..v3 step v3 init [v0] (v11: index, v12: tensor<f32, 2>) { yield v12 }",
        "views are not carried",
    );
    expect("v10: tensor<f32, 2> = select v5, v0, v0", "a view is no operand here");
}

#[test]
fn closures_have_no_effects() {
    let closure = |inst: &str| {
        format!(
            "v10: tile<f32, [4]> = broadcast v4\nv11: f32 = reduce region [v10] axis 0 (v12: f32, v13: f32) {{ {inst} yield v12 }}"
        )
    };
    expect(&closure("store v1[v3], v12"), "writes no memory");
    expect(&closure("grid_sync"), "does not synchronize");
    expect(&closure("v14: tile<f32, [4]> = broadcast v12"), "works on scalars");
    assert_eq!(violations(&closure("v14: f32 = load v1[v3]")), Vec::<String>::new());
}

#[test]
fn calls_fit_their_callee() {
    let with = |call: &str| {
        let callee = "fn @1 f(v0: tensor<f32, 1> {number 0}, v1: f32 {number 1}) -> (f32) index 64 { yield v1 }";
        module_violations(parse_module(&format!("{HEAD}{call}\nyield\n}}\n{callee}\n")).unwrap())
    };
    assert_eq!(with("v10: f32 = call @1(v1, v4)"), Vec::<String>::new());
    assert!(with("v10: f32 = call @1(v1)")[0].contains("1 arguments, expected 2"));
    assert!(with("v10: f32 = call @1(v0, v4)")[0].contains("argument tensor<f32, 2>, expected tensor<f32, 1>"));
    assert!(with("v10: i32 = call @1(v1, v4)")[0].contains("types i32 and f32 differ"));
    assert!(with("call @1(v1, v4)")[0].contains("0 results, expected 1"));
    assert!(with("v10: f32 = call @2(v1, v4)")[0].contains("no such function"));
    assert!(with("call @0()")[0].contains("a kernel is launched, not called"));
}

#[test]
fn grid_sync_needs_a_cooperative_kernel() {
    expect("grid_sync", "not scheduled cooperative");
}

#[test]
fn constants_fit_their_type() {
    for (constant, ty) in [
        ("256", "u8"),
        ("-1", "u32"),
        ("2", "bool"),
        ("1", "f32"),
        ("1.0", "i32"),
        ("0.1", "f32"),
        ("1.1", "f16"),
        ("449.0", "f8e4m3"),
        ("1", "ptr<f32>"),
    ] {
        expect(&format!("v10: {ty} = const {constant}"), "is no value of");
    }
    for (constant, ty) in
        [("255", "u8"), ("-1", "u64"), ("0.5", "f16"), ("nan", "bf16"), ("inf", "f32"), ("0", "ptr<f32>"), ("448.0", "f8e4m3")]
    {
        assert_eq!(violations(&format!("v10: tile<{ty}, [2]> = const {constant}")), Vec::<String>::new());
    }
    expect("v10: tile<i32, [2]> = const_tile [1, 2, 3]", "3 values for tile<i32, [2]>");
    expect("v10: tile<f32, [2]> = iota 0", "not of an integer type");
    expect("v10: tile<f32, [0]> = const 1.0", "has an extent of 0");
    expect("v10: tile<f32, [65536, 65536]> = const 1.0", "has too many elements");
}

#[test]
fn lane_by_lane_operators() {
    expect("v10: f32 = shl v4, v4", "not of an integer type");
    expect("v10: i32 = floor v6", "not of a float type");
    expect("v10: i32 = fmin v6, v6", "not of a float type");
    expect("v10: bool = add v5, v5", "not of a numeric type");
    expect("v10: index = mulhi v3, v3", "32- or 64-bit");
    expect("v10: index = fast_exp2 v3", "not of f32");
    expect("v10: i32 = fma v6, v6, v6", "not of a float type");
    expect("v10: i32 = cmp lt v6, v6", "types i32 and bool differ");
    expect("v10: bool = cmp lt v2, v2", "pointers have no order");
    expect("v10: f32 = select v6, v4, v4", "types i32 and bool differ");
    expect("v10: i64 = cast v2", "pointers are not cast");
    expect("v10: tile<i64, [2]> = cast v4", "differ");
    expect("v10: i64 = bitcast v4", "sizes of f32 and i64 differ");
    expect("v10: ptr<f32> = ptr_add v2, v6", "types i32 and index differ");
    expect("v10: f32 = ptr_add v4, v3", "f32 is not a pointer");
    expect("v10: tile<f32, [2]> = add v4, v4", "differ");
}

#[test]
fn shapes() {
    let tile = "v10: tile<f32, [4, 2]> = broadcast v4\n";
    for (inst, message) in [
        ("v11: tile<f32, [4, 3]> = broadcast v10", "does not broadcast"),
        ("v11: tile<f32, [2]> = broadcast v10", "does not broadcast"),
        ("v11: tile<f32, [4, 1, 2]> = expand_dims v10 axis 0", "expected tile<f32, [1, 4, 2]>"),
        ("v11: tile<f32, [4, 2, 1]> = expand_dims v10 axis 3", "axis 3 of rank 3"),
        ("v11: tile<f32, [9]> = reshape v10", "does not reshape"),
        ("v11: tile<f32, [4, 2]> = permute v10 [1, 0]", "expected tile<f32, [2, 4]>"),
        ("v11: tile<f32, [4, 2]> = permute v10 [1, 1]", "does not permute"),
        ("v11: tile<f32, [4, 2]> = join v10, v10", "expected tile<f32, [4, 2, 2]>"),
        ("v11: tile<f32, [2]>, v12: tile<f32, [4]> = split v10", "expected tile<f32, [4]>"),
        ("v11: f32, v12: f32 = split v4", "the last extent"),
        ("v11: tile<f32, [4, 2]> = cat [v10, v10] axis 0", "expected tile<f32, [8, 2]>"),
        ("v11: tile<f32, [4, 2]> = extract v10 at [1, 0]", "is not part of"),
        ("v11: tile<f32, [4, 2]> = gather v10, v10 axis 0", "not of an integer type"),
        ("v11: tile<f32, [4, 2]> = flip v10 axis 2", "axis 2 of rank 2"),
        ("v11: tile<f32, [4]> = convert_layout v10", "expected tile<f32, [4, 2]>"),
        ("v11: tile<f32, [4, 4]> = dot v10, v10", "have no product"),
        ("v12: tile<f32, [2, 4]> = permute v10 [1, 0] v11: tile<f32, [2, 2]> = dot v10, v12", "expected tile<f32, [4, 4]>"),
        ("v12: tile<f16, [2, 2]> = const 0.0 v11: tile<f32, [2, 2]> = dot v12, v12 precision tf32", "is for f32"),
        ("v12: tile<i32, [2, 2]> = const 0 v11: tile<i32, [2, 2]> = dot v12, v12", "a type that dot takes"),
        (
            "v12: tile<u8, [4, 32]> = const 0 v13: tile<u8, [4, 2]> = const 0 v14: tile<f32, [32, 4]> = const 0.0 \
          v11: tile<f32, [4, 4]> = dot_scaled v12, v13 e4m3, v14, v13 e4m3",
            "expected tile<u8, [4, 1]>",
        ),
        ("v11: tile<f32, [4, 2]> = reduce add [v10] axis 1", "expected tile<f32, [4]>"),
        ("v11: tile<f32, [4]> = reduce add [v10] axis 2", "axis 2 of rank 2"),
        ("v11: tile<f32, [4]> = reduce xor [v10] axis 1", "not of an integer type"),
        ("v11: tile<f32, [4]> = reduce argmax [v10] axis 1", "1 operands, expected 2"),
        ("v11: tile<f32, [2]> = scan add [v10] axis 1", "expected tile<f32, [4, 2]>"),
        (
            "v11: tile<f32, [4]> = reduce region [v10] axis 1 (v12: f32) { yield v12 }",
            "has parameters [f32], expected [f32, f32]",
        ),
        ("v11: tile<f32, [4, 2]> = sort [v10] axis 2", "axis 2 of rank 2"),
        ("v11: tile<f32, [4, 3]>, v12: tile<i32, [4, 3]> = topk v10 k 3", "k 3 of 2"),
        ("v11: tile<i32, [9]> = histogram v10 bins 9", "not of an integer type"),
        ("v11: tile<i32, [2]> = asm \"\" \"\" [v10] pure", "differ in shape"),
        ("assert v10 \"\"", "not of bool"),
        ("print \"{} {}\" [v10]", "2 holes for 1 operands"),
        ("assume_aligned v2 12", "not a power of two"),
        ("assume_aligned v10 16", "not a scalar pointer"),
        ("v11: f32 = program_id 0", "types f32 and index differ"),
        ("v11: index = program_id 5", "axis 5 of rank 5"),
    ] {
        expect(&format!("{tile}{inst}"), message);
    }
}

#[test]
fn memory() {
    let tile = "v10: tile<index, [8]> = iota 0\nv11: tile<f32, [8]> = broadcast v4\nv12: tile<bool, [4]> = broadcast v5\n";
    for (inst, message) in [
        ("v13: f32 = load v0[v3]", "1 indexes for rank 2"),
        ("v13: f32 = load v0[v3, v6]", "i32, expected a scalar index"),
        ("v13: f32 = load v0[v3, v3..+4]", "f32, expected tile<f32, [4]>"),
        ("v13: tile<f32, [8]> = load v1[gather v11]", "expected a tile of index"),
        ("v13: tile<f32, [8]> = load v1[v3..+8] mask v12", "tile<bool, [4]>, expected tile<bool, [8]>"),
        ("v13: tile<f32, [8]> = load v1[v3..+8] other v4", "f32, expected tile<f32, [8]>"),
        ("v13: f32 = load *v4", "f32 is not a pointer"),
        ("v13: f32 = load v4[v3]", "f32 is not a view"),
        ("store v0[v3, v3..+8], v11", "a write through a constant view"),
        ("store *v2, v4", "a write through ptr<f32>"),
        ("store v1[v3..+4], v11", "expected tile<f32, [4]>"),
        ("prefetch v1[v3..+8] mask v12", "expected tile<bool, [8]>"),
        ("v13: f32 = atomic xor v1[v3], v4 relaxed device", "atomic xor of f32"),
        ("v13: f32 = atomic_cas v1[v3], v4, v4 relaxed device", "atomic cas of f32"),
        ("v13: i32 = atomic_load *v7 release device", "an atomic load is not release"),
        ("atomic_store *v7, v6 acquire device", "an atomic store is not acquire"),
        ("v13: tensor<f32, 1> = make_view v2 dims [v3, v3] strides [v3, v3]", "no view of rank 2"),
        ("v13: mut tensor<f32, 1> = make_view v2 dims [v3] strides [v3]", "no view of rank 1"),
        ("v13: tensor<f32, 1> = make_view v2 dims [v3] strides []", "1 dims, 0 strides"),
        ("v13: tensor<f32, 2> = subview v0[v3, :]", "no view of rank 1"),
        ("v13: tensor<f32, 2> = subview v0[:]", "1 indexes for rank 2"),
        ("v13: tensor<f32, 2> = permute_view v0 [0, 0]", "does not permute rank 2"),
        ("v13: index = view_dim v0 axis 2", "axis 2 of rank 2"),
        ("v13: i32 = view_stride v0 axis 0", "i32, expected index"),
        ("v13: mut ptr<f32> = view_ptr v0", "no pointer into"),
    ] {
        expect(&format!("{tile}{inst}"), message);
    }
    let two = "v13: tile<index, [4]> = iota 0\nv14: tile<f32, [8]> = load v0[gather v10, gather v13]";
    expect(&format!("{tile}{two}"), "do not broadcast");
}
