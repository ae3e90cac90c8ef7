//! Binding of hand-made signatures: what is inferred, and what every mistake says.

mod tuning;

use super::*;
use crate::ops::{BinaryOp, CmpOp};
use crate::signature::{
    ConstParam, ConstType, DimPattern, FnParam, HostFn, ParamSig, Requirement, ScheduleExpr, TypeClass, TypeParam,
};
use crate::types::ScalarType::{F16, F32, I32, I64};

fn dim(i: u32) -> HostExpr {
    HostExpr::Dim(i)
}

fn int(v: i64) -> HostExpr {
    HostExpr::Int(v)
}

fn constant(i: u32) -> HostExpr {
    HostExpr::Const(i)
}

fn op(op: BinaryOp, a: HostExpr, b: HostExpr) -> HostExpr {
    HostExpr::Binary(op, a.into(), b.into())
}

fn cdiv(a: HostExpr, b: HostExpr) -> HostExpr {
    HostExpr::Call(HostFn::Cdiv, vec![a, b])
}

fn param(name: &str, optional: bool, kind: ParamKind) -> ParamSig {
    ParamSig { name: name.into(), doc: String::new(), optional, kind, loc: SrcLoc::UNKNOWN }
}

fn tensor_of(name: &str, elem: TypeRef, mutable: bool, dims: Vec<HostExpr>) -> ParamSig {
    let dims = dims.into_iter().map(DimPattern::Expr).collect();
    param(name, false, ParamKind::Tensor { elem: ElemRef::Scalar(elem), dims, mutable, may_alias: false })
}

fn tensor(name: &str, mutable: bool, dims: Vec<HostExpr>) -> ParamSig {
    tensor_of(name, TypeRef::Param(0), mutable, dims)
}

fn signature(dims: &[&str], consts: Vec<ConstParam>, params: Vec<ParamSig>, grid: Vec<HostExpr>) -> KernelSignature {
    KernelSignature {
        name: "k".into(),
        doc: String::new(),
        type_params: vec![TypeParam { name: "T".into(), class: TypeClass::Float, default: None }],
        const_params: consts,
        fn_params: vec![],
        params,
        dims: dims.iter().map(|d| (*d).to_owned()).collect(),
        grid,
        requires: vec![],
        schedule: ScheduleExpr::default(),
        tune: vec![],
        tune_key: vec![],
        loc: SrcLoc::UNKNOWN,
    }
}

fn const_param(name: &str, default: Option<HostExpr>) -> ConstParam {
    ConstParam { name: name.into(), ty: ConstType::Int, default, from_dims: false }
}

/// Owned storage for a described tensor; addresses are made up and far apart.
struct Made {
    elem: ScalarType,
    address: u64,
    dims: Vec<i64>,
    strides: Vec<i64>,
}

fn made(elem: ScalarType, address: u64, dims: &[i64]) -> Made {
    let mut strides = vec![1; dims.len()];
    for i in (0..dims.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * dims[i + 1];
    }
    Made { elem, address, dims: dims.to_vec(), strides }
}

impl Made {
    fn arg(&self) -> ArgDesc<'_> {
        ArgDesc::Tensor(TensorDesc {
            elem: self.elem.into(),
            address: self.address,
            dims: &self.dims,
            strides: &self.strides,
            writable: true,
        })
    }
}

fn fails(sig: &KernelSignature, args: &[ArgDesc<'_>], options: &LaunchOptions) -> (String, String) {
    let error = sig.bind(args, options).unwrap_err();
    (error.code().to_owned(), error.kind.to_string())
}

fn none() -> LaunchOptions {
    LaunchOptions { num_sms: 2, ..Default::default() }
}

/// `matmul<T, BM = 128>(a: [M, K], b: [K, N], c: mut [M, N]) grid [cdiv(M, BM), N]`
fn matmul() -> KernelSignature {
    signature(
        &["M", "K", "N"],
        vec![const_param("BM", Some(int(128)))],
        vec![
            tensor("a", false, vec![dim(0), dim(1)]),
            tensor("b", false, vec![dim(1), dim(2)]),
            tensor("c", true, vec![dim(0), dim(2)]),
        ],
        vec![cdiv(dim(0), constant(0)), dim(2)],
    )
}

#[test]
fn a_matmul_binds() {
    let (a, b, c) = (made(F16, 0x1000, &[300, 64]), made(F16, 0x100000, &[64, 20]), made(F16, 0x200008, &[300, 20]));
    let bound = matmul().bind(&[a.arg(), b.arg(), c.arg()], &none()).unwrap();
    assert_eq!(bound.grid, [3, 20, 1, 1, 1]);
    assert_eq!(bound.dims, [Some(300), Some(64), Some(20)]);
    assert_eq!(bound.spec.types, [F16]);
    assert_eq!(bound.spec.consts, [128]);
    assert!(bound.spec.fits_32_bit);
    let facts = bound.spec.tensors[2].as_ref().unwrap();
    assert_eq!(facts.align, 8);
    assert_eq!(facts.dims[0].divisor, 1);
    assert_eq!(facts.strides[1], crate::func::IntFact::exact(1));
    let facts = bound.spec.tensors[0].as_ref().unwrap();
    assert_eq!((facts.align, facts.dims[1].divisor, facts.strides[0].divisor), (16, 16, 16));
}

#[test]
fn unequal_dimensions_name_both_values() {
    let (a, b, c) = (made(F32, 0x1000, &[4, 8]), made(F32, 0x100000, &[9, 2]), made(F32, 0x200000, &[4, 2]));
    let (code, text) = fails(&matmul(), &[a.arg(), b.arg(), c.arg()], &none());
    assert_eq!((code.as_str(), text.as_str()), ("K1002", "dimension `K` is 8 in `a` (axis 1), but 9 in `b` (axis 0)"));
}

#[test]
fn types_and_kinds_are_checked() {
    let (a, b, c) = (made(F32, 0x1000, &[4, 8]), made(F16, 0x100000, &[8, 2]), made(F32, 0x200000, &[4, 2]));
    let sig = matmul();
    assert_eq!(fails(&sig, &[a.arg(), b.arg(), c.arg()], &none()).1, "type `T` is f32 in `a`, but f16 in `b`");
    let i = made(I32, 0x1000, &[4, 8]);
    assert_eq!(
        fails(&sig, &[i.arg(), b.arg(), c.arg()], &none()),
        ("K1005".into(), "type `T` has to be float, but is i32 in `a`".into())
    );
    let flat = made(F32, 0x1000, &[32]);
    assert_eq!(
        fails(&sig, &[flat.arg(), b.arg(), c.arg()], &none()),
        ("K1003".into(), "`a` has 2 dimensions, but the tensor given has 1 (its shape is [32])".into())
    );
    let number = ArgDesc::Number(Number::Int(3), None);
    assert_eq!(
        fails(&sig, &[number, b.arg(), c.arg()], &none()),
        ("K1006".into(), "`a` takes a tensor, but a number is given".into())
    );
    assert_eq!(fails(&sig, &[a.arg()], &none()).1, "it takes 3 arguments, but 1 are given");
    assert_eq!(fails(&sig, &[ArgDesc::Absent, b.arg(), c.arg()], &none()), ("K1000".into(), "argument `a` is missing".into()));
    let odd = made(F32, 0x1002, &[4, 8]);
    assert_eq!(fails(&sig, &[odd.arg(), b.arg(), c.arg()], &none()).0, "K1014");
    let mut fixed = c.arg();
    if let ArgDesc::Tensor(t) = &mut fixed {
        t.writable = false;
    }
    assert_eq!(fails(&sig, &[a.arg(), a.arg(), fixed], &none()).0, "K1013");
}

#[test]
fn names_that_do_not_exist_are_refused_with_those_that_do() {
    let (a, b, c) = (made(F32, 0x1000, &[4, 8]), made(F32, 0x100000, &[8, 2]), made(F32, 0x200000, &[4, 2]));
    let args = [a.arg(), b.arg(), c.arg()];
    let options = LaunchOptions { consts: vec![("BN".into(), 3)], ..none() };
    let error = matmul().bind(&args, &options).unwrap_err();
    assert_eq!((error.code(), error.kind.to_string().as_str()), ("K1001", "there is no constant parameter called `BN`"));
    assert_eq!(error.help.as_deref(), Some("it has: `BM`"));
    let options = LaunchOptions { schedule: vec![("wraps".into(), vec![4])], ..none() };
    assert_eq!(fails(&matmul(), &args, &options).0, "K1001");
    let options = LaunchOptions { schedule: vec![("warps".into(), vec![3])], ..none() };
    assert_eq!(fails(&matmul(), &args, &options).1, "schedule field `warps` takes a power of two from 1 to 32, but 3 is given");
    let options = LaunchOptions { types: vec![("T".into(), F16)], ..none() };
    assert_eq!(fails(&matmul(), &args, &options).1, "type `T` is f16 in the launch, but f32 in `a`");
}

#[test]
fn dimensions_are_solved_and_the_rest_is_checked() {
    // swiglu: ab: [M, 2 * N], y: [M, N] absent from the bind order on purpose; N comes from the first.
    let twice = op(BinaryOp::Mul, int(2), dim(1));
    let sig = signature(&["M", "N"], vec![], vec![tensor("ab", false, vec![dim(0), twice])], vec![dim(0)]);
    let even = made(F32, 0x1000, &[3, 10]);
    assert_eq!(sig.bind(&[even.arg()], &none()).unwrap().dims, [Some(3), Some(5)]);
    let odd = made(F32, 0x1000, &[3, 7]);
    assert_eq!(
        fails(&sig, &[odd.arg()], &none()).1,
        "`ab` (axis 1) has 7 elements, which is not `2 * N` for any `N` of at least 0"
    );

    // row: [M + 1]
    let sig = signature(&["M"], vec![], vec![tensor("row", false, vec![op(BinaryOp::Add, dim(0), int(1))])], vec![dim(0)]);
    assert_eq!(sig.bind(&[made(F32, 0x1000, &[1]).arg()], &none()).unwrap().grid[0], 0);
    assert_eq!(fails(&sig, &[made(F32, 0x1000, &[0]).arg()], &none()).0, "K1002");

    // c: [M * TOPK, N] with TOPK a constant without default: solved from M.
    let product = || op(BinaryOp::Mul, dim(0), constant(0));
    let sig = signature(
        &["M"],
        vec![const_param("TOPK", None)],
        vec![tensor("a", false, vec![dim(0)]), tensor("c", true, vec![product()])],
        vec![product()],
    );
    let (a, c) = (made(F32, 0x1000, &[6]), made(F32, 0x100000, &[24]));
    assert_eq!(sig.bind(&[a.arg(), c.arg()], &none()).unwrap().spec.consts, [4]);
    let options = LaunchOptions { consts: vec![("TOPK".into(), 3)], ..none() };
    assert_eq!(
        fails(&sig, &[a.arg(), c.arg()], &options).1,
        "`c` (axis 0) has 24 elements, but `M * TOPK` is 18: M = 6 from `a` (axis 0), TOPK = 3 from the launch"
    );

    // [cdiv(N, B)] binds nothing: it is checked against the default of B.
    let sig = signature(
        &["N"],
        vec![const_param("B", Some(int(4)))],
        vec![tensor("x", false, vec![dim(0)]), tensor("s", false, vec![cdiv(dim(0), constant(0))])],
        vec![dim(0)],
    );
    assert!(sig.bind(&[made(F32, 0x1000, &[9]).arg(), made(F32, 0x9000, &[3]).arg()], &none()).is_ok());
    assert_eq!(
        fails(&sig, &[made(F32, 0x1000, &[9]).arg(), made(F32, 0x9000, &[2]).arg()], &none()).1,
        "`s` (axis 0) has 2 elements, but `cdiv(N, B)` is 3: N = 9 from `x` (axis 0), B = 4"
    );
}

#[test]
fn constants_come_from_dimensions_or_defaults_over_them() {
    let pow2 = HostExpr::Call(HostFn::NextPow2, vec![dim(0)]);
    let mut sig = signature(
        &["N"],
        vec![const_param("BLOCK", Some(pow2)), const_param("D", None)],
        vec![tensor("x", false, vec![dim(0), constant(1)])],
        vec![int(1)],
    );
    let x = made(F32, 0x1000, &[100, 24]);
    let bound = sig.bind(&[x.arg()], &none()).unwrap();
    assert_eq!(bound.spec.consts, [128, 24]);
    let facts = bound.spec.tensors[0].as_ref().unwrap();
    assert_eq!((facts.dims[1].known, facts.strides[0].known), (Some(24), Some(24)));
    let options = LaunchOptions { consts: vec![("D".into(), 25)], ..none() };
    assert_eq!(fails(&sig, &[x.arg()], &options).1, "dimension `D` is 25 in the launch, but 24 in `x` (axis 1)");

    sig.requires.push(Requirement {
        expr: HostExpr::Cmp(CmpOp::Ge, constant(0).into(), dim(0).into()),
        text: "BLOCK >= N".into(),
        loc: SrcLoc::UNKNOWN,
    });
    assert!(sig.bind(&[x.arg()], &none()).is_ok());
    let options = LaunchOptions { consts: vec![("BLOCK".into(), 64)], ..none() };
    assert_eq!(
        fails(&sig, &[x.arg()], &options),
        ("K1008".into(), "`requires BLOCK >= N` does not hold: BLOCK = 64 from the launch, N = 100 from `x` (axis 0)".into())
    );
    sig.const_params[1].ty = ConstType::Bool;
    assert_eq!(fails(&sig, &[x.arg()], &none()).0, "K1011");
}

#[test]
fn scalars_adapt_default_and_may_be_absent() {
    let scalar = |name: &str, ty: ScalarType, optional: bool, default: Option<HostExpr>| {
        param(name, optional, ParamKind::Scalar { ty: TypeRef::Concrete(ty), default })
    };
    let mut sig = signature(
        &["N"],
        vec![],
        vec![
            tensor("x", false, vec![dim(0)]),
            scalar("eps", F32, false, Some(HostExpr::Float(1e-5))),
            scalar("cap", F32, true, None),
            scalar("n", I64, false, Some(dim(0))),
        ],
        vec![HostExpr::Scalar(3)],
    );
    let x = made(F32, 0x1000, &[7]);
    let bound = sig.bind(&[x.arg(), ArgDesc::Absent, ArgDesc::Absent, ArgDesc::Absent], &none()).unwrap();
    assert_eq!(bound.scalars, [0, u64::from(1e-5f32.to_bits()), 0, 7]);
    assert_eq!(bound.spec.present, [true, true, false, true]);
    assert_eq!(bound.grid[0], 7);
    let given = |v: Number| ArgDesc::Number(v, None);
    let big = sig.bind(&[x.arg(), ArgDesc::Absent, given(Number::Float(2.0)), given(Number::Int(1 << 40))], &none()).unwrap();
    assert!(!big.spec.fits_32_bit && big.spec.present[2]);
    let (code, text) = fails(&sig, &[x.arg(), given(Number::Float(1e300)), ArgDesc::Absent, ArgDesc::Absent], &none());
    assert_eq!((code.as_str(), text.as_str()), ("K1011", "1e300 does not fit `eps`, which is of type f32"));
    let (_, text) = fails(&sig, &[x.arg(), ArgDesc::Absent, ArgDesc::Absent, given(Number::Int(-1))], &none());
    assert_eq!(text, "axis 0 of the grid, `n`, is -1: n = -1");
    sig.grid = vec![HostExpr::Call(HostFn::Max, vec![HostExpr::Scalar(2), int(1)])];
    let (code, text) = fails(&sig, &[x.arg(), ArgDesc::Absent, ArgDesc::Absent, ArgDesc::Absent], &none());
    assert_eq!((code.as_str(), text.as_str()), ("K1007", "`max(cap, 1)` uses `cap`, which is absent"));
}

#[test]
fn absent_tensors_leave_their_dimensions_unknown() {
    let mut bias = tensor("bias", false, vec![dim(1)]);
    bias.optional = true;
    let mut sig = signature(&["M", "N"], vec![], vec![tensor("x", false, vec![dim(0)]), bias], vec![dim(0)]);
    let x = made(F32, 0x1000, &[7]);
    let bound = sig.bind(&[x.arg(), ArgDesc::Absent], &none()).unwrap();
    assert_eq!(bound.dims, [Some(7), None]);
    assert_eq!(bound.spec.tensors[1], None);
    sig.grid = vec![dim(1)];
    assert_eq!(fails(&sig, &[x.arg(), ArgDesc::Absent], &none()).1, "dimension `N` is not determined by the arguments");
}

#[test]
fn overlap_with_a_written_tensor_is_refused_unless_declared() {
    let mut sig =
        signature(&["N"], vec![], vec![tensor("x", false, vec![dim(0)]), tensor("y", true, vec![dim(0)])], vec![dim(0)]);
    let (x, y) = (made(F32, 0x1000, &[8]), made(F32, 0x101c, &[8]));
    assert_eq!(
        fails(&sig, &[x.arg(), y.arg()], &none()),
        ("K1009".into(), "`x` and `y` overlap in memory, and `y` is written".into())
    );
    assert!(sig.bind(&[x.arg(), made(F32, 0x1020, &[8]).arg()], &none()).is_ok());
    for param in &mut sig.params {
        if let ParamKind::Tensor { may_alias, .. } = &mut param.kind {
            *may_alias = true;
        }
    }
    let bound = sig.bind(&[x.arg(), x.arg()], &none()).unwrap();
    assert!(bound.spec.tensors[0].as_ref().unwrap().may_alias);
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let sig = signature(
        &["N", "M"],
        vec![],
        vec![tensor("x", false, vec![dim(0), dim(1)])],
        vec![op(BinaryOp::Mul, op(BinaryOp::Mul, dim(0), dim(1)), dim(1))],
    );
    let huge = made(F32, 0x1000, &[1 << 20, 1 << 42]);
    assert_eq!(fails(&sig, &[huge.arg()], &none()).0, "K1010");
    let mut wide = made(F32, 0x1000, &[1 << 31, 1 << 31]);
    wide.strides = vec![0, 0];
    assert_eq!(
        fails(&sig, &[wide.arg()], &none()).1,
        "`N * M * M` does not fit in 64 bits: N = 2147483648 from `x` (axis 0), M = 2147483648 from `x` (axis 1)"
    );
    // Zero-size tensors are legal.
    assert_eq!(sig.bind(&[made(F32, 0, &[0, 5]).arg()], &none()).unwrap().grid[0], 0);
    // More than 2^31 elements: 64-bit indexes.
    let sig = signature(&["N"], vec![], vec![tensor("x", false, vec![dim(0)])], vec![int(1)]);
    assert!(!sig.bind(&[made(F32, 0x1000, &[1 << 31]).arg()], &none()).unwrap().spec.fits_32_bit);
}

#[test]
fn tensors_to_be_made_are_inferred() {
    let mut sig = matmul();
    sig.params.push(tensor_of("s", TypeRef::AccOf(0), true, vec![cdiv(dim(0), constant(0)), dim(2)]));
    let (a, b) = (made(F16, 0x1000, &[300, 64]), made(F16, 0x100000, &[64, 20]));
    let inferred = sig.infer(&[a.arg(), b.arg(), ArgDesc::Infer, ArgDesc::Infer], &none()).unwrap();
    assert_eq!(inferred[0], None);
    assert_eq!(inferred[2], Some(Inferred { elem: F16, dims: vec![300, 20] }));
    assert_eq!(inferred[3], Some(Inferred { elem: F32, dims: vec![3, 20] }));
    let error = sig.infer(&[a.arg(), ArgDesc::Infer, ArgDesc::Infer, ArgDesc::Infer], &none()).unwrap_err();
    assert_eq!(error.kind.to_string(), "dimension `N` is not determined by the arguments");
}

#[test]
fn functions_and_schedules_have_defaults_and_overrides() {
    let mut sig = matmul();
    sig.fn_params.push(FnParam { name: "ACT".into(), default: Some("identity".into()) });
    sig.schedule.fields = vec![("warps".into(), vec![int(8)]), ("cluster".into(), vec![int(2), int(1)])];
    let (a, b, c) = (made(F16, 0x1000, &[300, 64]), made(F16, 0x100000, &[64, 20]), made(F16, 0x200008, &[300, 20]));
    let args = [a.arg(), b.arg(), c.arg()];
    let spec = sig.bind(&args, &none()).unwrap().spec;
    assert_eq!((spec.fns, spec.schedule.warps, spec.schedule.cluster), (vec!["identity".to_owned()], Some(8), Some([2, 1, 1])));
    let options = LaunchOptions {
        fns: vec![("ACT".into(), "std::act::gelu".into())],
        schedule: vec![("warps".into(), vec![4]), ("persistent".into(), vec![1])],
        ..none()
    };
    let spec = sig.bind(&args, &options).unwrap().spec;
    assert_eq!((spec.fns, spec.schedule.warps, spec.schedule.persistent), (vec!["std::act::gelu".to_owned()], Some(4), true));
}

#[test]
fn a_kernel_can_be_specialized_without_a_launch() {
    let pow2 = HostExpr::Call(HostFn::NextPow2, vec![dim(1)]);
    let mut sig = signature(
        &["M", "N"],
        vec![const_param("BLOCK", Some(pow2)), const_param("D", None)],
        vec![tensor("x", false, vec![dim(0), dim(1), constant(1)]), tensor("w", false, vec![dim(1)])],
        vec![dim(0)],
    );
    sig.params[1].optional = true;
    let d = |value: i64| LaunchOptions { consts: vec![("D".into(), value)], ..none() };
    let error = sig.assume(&Assumptions::default(), &d(24)).unwrap_err();
    assert_eq!(error.kind.to_string(), "constant `BLOCK` is not determined by the arguments");
    let dims = vec![("N".to_owned(), 1000)];
    let spec = sig.assume(&Assumptions { dims: dims.clone(), present: vec![] }, &d(24)).unwrap();
    assert_eq!(
        (spec.consts.as_slice(), spec.types.as_slice(), spec.present.as_slice()),
        (&[1024, 24][..], &[F32][..], &[true, false][..])
    );
    let facts = spec.tensors[0].as_ref().unwrap();
    assert_eq!((facts.strides[2].known, facts.strides[1].known, facts.strides[0].divisor), (Some(1), Some(24), 16));
    assert_eq!((facts.dims[2].known, facts.dims[0].divisor, facts.align), (Some(24), 16, 16));
    let spec = sig.assume(&Assumptions { dims: dims.clone(), present: vec!["w".into()] }, &d(24)).unwrap();
    assert!(spec.present[1] && spec.tensors[1].is_some());
    assert_eq!(sig.assume(&Assumptions { dims, present: vec!["v".into()] }, &d(24)).unwrap_err().code(), "K1001");
    assert_eq!(sig.assume(&Assumptions { dims: vec![("K".into(), 1)], present: vec![] }, &d(24)).unwrap_err().code(), "K1001");
}
