//! Every configuration of the examples' tune lists: what the compiler's model of registers refuses really spills, and nothing else spills, is serialized
//! or warned of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use kiln_ir::Elem;
use kiln_ir::signature::{ArgDesc, Candidate, DimPattern, ElemRef, Env, Number, ParamKind, TensorDesc, TypeRef};

use super::*;

/// A launch whose tuning space is looked at.
struct Space {
    file: &'static str,
    kernel: &'static str,
    types: &'static [(&'static str, ScalarType)],
    consts: Vec<(&'static str, i64)>,
    /// Named dimensions that are not 1024.
    dims: &'static [(&'static str, i64)],
    /// Optional tensors are given.
    all: bool,
}

impl Space {
    const fn new(file: &'static str, kernel: &'static str, types: &'static [(&'static str, ScalarType)]) -> Space {
        Space { file, kernel, types, consts: vec![], dims: &[], all: true }
    }

    fn with(mut self, consts: &[(&'static str, i64)]) -> Space {
        self.consts.extend(consts);
        self
    }

    fn sized(mut self, dims: &'static [(&'static str, i64)]) -> Space {
        self.dims = dims;
        self
    }

    fn without_optional(mut self) -> Space {
        self.all = false;
        self
    }

    fn path(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../dsl-examples").join(self.file)
    }

    fn name(&self) -> String {
        let types: Vec<&str> = self.types.iter().map(|(_, ty)| ty.name()).collect();
        let consts: Vec<String> = self.consts.iter().map(|(name, value)| format!("{name}={value}")).collect();
        [&[self.kernel.to_owned(), types.join(",")][..], &consts].concat().join(" ")
    }

    /// The configurations of the space, by arguments that are as large as they should be and nowhere.
    fn candidates(&self, sig: &KernelSignature) -> Vec<Candidate> {
        let values = Values { sig, space: self };
        let options = LaunchOptions {
            types: self.types.iter().map(|&(name, ty)| (name.to_owned(), ty)).collect(),
            consts: self.consts.iter().map(|&(name, value)| (name.to_owned(), value)).collect(),
            num_sms: 132,
            shared_memory: values.shared_memory(),
            ..LaunchOptions::default()
        };
        let tensors: Vec<Option<Shaped>> = sig.params.iter().map(|p| values.tensor(&p.kind)).collect();
        let mut address = 1 << 40;
        let args: Vec<ArgDesc<'_>> = (sig.params.iter().zip(&tensors))
            .map(|(param, tensor)| match tensor {
                Some((elem, dims, strides)) if self.all || !param.optional => {
                    address += 1 << 32;
                    ArgDesc::Tensor(TensorDesc { elem: Elem::Scalar(*elem), address, dims, strides, writable: true })
                }
                None if !param.optional => match param.kind {
                    ParamKind::Scalar { default: Some(_), .. } => ArgDesc::Absent,
                    // As long as dimensions are.
                    ParamKind::Scalar { ty, .. } if values.resolve(ty).is_int() => ArgDesc::Number(Number::Int(1024), None),
                    _ => ArgDesc::Number(Number::Float(1.0), None),
                },
                _ => ArgDesc::Absent,
            })
            .collect();
        sig.candidates(&args, &options).unwrap_or_else(|e| panic!("{}: {e:?}", self.name()))
    }
}

/// Element type, extents and strides.
type Shaped = (ScalarType, Vec<i64>, Vec<i64>);

/// What names of shapes stand for.
struct Values<'a> {
    sig: &'a KernelSignature,
    space: &'a Space,
}

impl Values<'_> {
    fn resolve(&self, ty: TypeRef) -> ScalarType {
        let param = |i: u32| {
            let name = &self.sig.type_params[i as usize].name;
            self.space.types.iter().find(|(n, _)| n == name).map_or(ScalarType::F32, |(_, ty)| *ty)
        };
        match ty {
            TypeRef::Concrete(ty) => ty,
            TypeRef::Param(i) => param(i),
            TypeRef::AccOf(i) => param(i).acc(),
        }
    }

    /// Element type, extents and strides of a tensor.
    fn tensor(&self, kind: &ParamKind) -> Option<Shaped> {
        let ParamKind::Tensor { elem: ElemRef::Scalar(elem), dims, .. } = kind else { return None };
        let extent = |dim: &DimPattern| match dim {
            DimPattern::Any => 1024,
            DimPattern::Expr(expr) => expr.eval_int(self).unwrap_or_else(|e| panic!("{}: {e:?}", self.space.name())),
        };
        let dims: Vec<i64> = dims.iter().map(extent).collect();
        let strides = (0..dims.len()).map(|d| dims[d + 1..].iter().product()).collect();
        Some((self.resolve(*elem), dims, strides))
    }
}

impl Env for Values<'_> {
    fn dim(&self, number: u32) -> Option<i64> {
        let name = self.sig.dims.get(number as usize)?;
        Some(self.space.dims.iter().find(|(n, _)| n == name).map_or(1024, |(_, value)| *value))
    }
    fn constant(&self, number: u32) -> Option<i64> {
        let param = self.sig.const_params.get(number as usize)?;
        let given = self.space.consts.iter().find(|(name, _)| *name == param.name).map(|(_, value)| *value);
        given.or_else(|| param.default.as_ref()?.eval_int(self).ok())
    }
    fn scalar(&self, _: u32) -> Option<Number> {
        None
    }
    fn dim_of(&self, _: u32, _: u8) -> Option<i64> {
        None
    }
    fn stride_of(&self, _: u32, _: u8) -> Option<i64> {
        None
    }
    fn is_some(&self, _: u32) -> bool {
        self.space.all
    }
    fn bits_of(&self, number: u32) -> Option<u32> {
        Some(self.resolve(TypeRef::Param(number)).bits())
    }
    fn num_sms(&self) -> i64 {
        132
    }
    fn shared_memory(&self) -> i64 {
        227 << 10
    }
    fn schedule_field(&self, _: u8) -> Option<i64> {
        None
    }
}

/// What ptxas says of a kernel.
#[derive(Clone, Debug)]
struct Assembled {
    registers: u32,
    spilled: u32,
    /// Warnings, and remarks about products that wait for each other (C75xx).
    complaints: Vec<String>,
}

impl Assembled {
    fn is_clean(&self) -> bool {
        self.spilled == 0 && self.complaints.is_empty()
    }
}

fn assembled(ptxas: &Path, name: &str, ptx: &str) -> Assembled {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let source = dir.path().join("kernel.ptx");
    std::fs::write(&source, ptx).expect("PTX is written");
    let mut command = Command::new(ptxas);
    let out = command.args(["-arch=sm_90a", "-v"]).arg(&source).arg("-o").arg(dir.path().join("kernel.cubin")).output();
    let out = out.expect("ptxas runs");
    let text = String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{name}: {text}");
    let number = |before: &str| -> u32 {
        let found = text.split(before).next().filter(|head| head.len() < text.len());
        found.and_then(|head| head.split_whitespace().next_back()?.parse().ok()).unwrap_or_else(|| panic!("{name}: {text}"))
    };
    let registers = text.split("Used ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    let spilled = number(" bytes stack frame") + number(" bytes spill stores") + number(" bytes spill loads");
    let complains = |line: &&str| line.contains("warning") || line.contains("(C7");
    let complaints = text.lines().filter(complains).map(|line| line.chars().take(160).collect()).collect();
    Assembled { registers: registers.unwrap_or_else(|| panic!("{name}: {text}")), spilled, complaints }
}

/// Whether the model is right about a kernel, both ways: what it refuses spills, or its products wait for each other; what it lets through does not, and takes
/// no fewer registers than it says.
fn judge(name: &str, artifact: &kiln_compiler::PtxArtifact, found: &Assembled) -> Result<(), String> {
    let over = artifact.registers.filter(|r| r.least > r.most);
    match over {
        Some(need) if found.is_clean() => Err(format!("{name}: refused ({need:?}), but ptxas fits it in {}", found.registers)),
        None if !found.is_clean() => Err(format!("{name}: {:?}, {:?}", artifact.registers, found)),
        _ => match artifact.registers {
            // What is handed over between roles is no part of ptxas' figure.
            Some(need) if over.is_none() && need.least > found.registers && !artifact.ptx.contains("setmaxnreg") => {
                Err(format!("{name}: {need:?}, but ptxas needs {}", found.registers))
            }
            _ => Ok(()),
        },
    }
}

/// How many configurations came to what.
#[derive(Default, Debug)]
struct Counts {
    fit: usize,
    /// To the same code as another one.
    same: usize,
    registers: usize,
    /// By code: what passes and code generation refuse.
    refused: BTreeMap<String, usize>,
    /// What conditions of the space leave out.
    condition: usize,
}

/// Compiles and assembles the configurations of some spaces that `pick` takes, and judges each.
fn sweep(spaces: &[Space], pick: impl Fn(usize, &str) -> bool + Sync) -> Counts {
    let Some(ptxas) = ptxas() else { return Counts::default() };
    let mut jobs = vec![];
    let mut counts = Counts::default();
    for space in spaces {
        let session = Session::open(&space.path()).unwrap_or_else(|e| panic!("{e}"));
        let sig = session.kernel(space.kernel).unwrap_or_else(|e| panic!("{e}")).clone();
        for (number, candidate) in space.candidates(&sig).into_iter().enumerate() {
            let name = format!("{} {}", space.name(), candidate.config);
            match candidate.bound {
                Ok(bound) if pick(number, &name) => jobs.push((name, space, bound.spec)),
                Ok(_) => {}
                Err(_) => counts.condition += 1,
            }
        }
    }
    let known: Mutex<HashMap<String, Assembled>> = Mutex::default();
    let target = Target::Gpu(GpuTarget::from_name("sm_90a").expect("a target"));
    let results: Vec<Result<(bool, bool, String), String>> = jobs
        .par_iter()
        .map(|(name, space, spec)| {
            let session = Session::open(&space.path()).map_err(|e| e.to_string())?;
            let options = CompileOptions { over_registers: true, ..CompileOptions::new(target) };
            let compiled = match session.compile(space.kernel, spec, &options) {
                Ok(compiled) => compiled,
                Err(kiln_compiler::CompileError::Refused(report)) => {
                    let codes: Vec<&str> = report.diagnostics.iter().map(|d| d.code.as_str()).collect();
                    println!("{name}: {}", report.to_string().lines().next().unwrap_or_default());
                    return Ok((false, false, codes.join(" ")));
                }
                Err(error) => return Err(format!("{name}: {error}")),
            };
            let Artifact::Ptx(artifact) = compiled.artifact else { return Err(format!("{name}: no PTX")) };
            let before = known.lock().expect("no thread fails").get(&artifact.ptx).cloned();
            let same = before.is_some();
            let found = before.unwrap_or_else(|| assembled(&ptxas, name, &artifact.ptx));
            known.lock().expect("no thread fails").insert(artifact.ptx.clone(), found.clone());
            let need = artifact.registers.map_or("-".to_owned(), |r| format!("{}/{}", r.least, r.most));
            println!("{name}: needs {need}, ptxas {} + {} spilled {:?}", found.registers, found.spilled, found.complaints);
            judge(name, &artifact, &found)?;
            let over = artifact.registers.is_some_and(|r| r.least > r.most);
            Ok((same, over, String::new()))
        })
        .collect();
    let mut wrong = vec![];
    for result in results {
        match result {
            Err(text) => wrong.push(text),
            Ok((_, true, _)) => counts.registers += 1,
            Ok((true, ..)) => counts.same += 1,
            Ok((.., code)) if !code.is_empty() => *counts.refused.entry(code).or_default() += 1,
            Ok(_) => counts.fit += 1,
        }
    }
    println!("{} configurations: {counts:?}", jobs.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), jobs.len(), wrong.join("\n"));
    counts
}

const F16: &[(&str, ScalarType)] = &[("T", ScalarType::F16)];
const BF16: &[(&str, ScalarType)] = &[("T", ScalarType::BF16)];
const F32: &[(&str, ScalarType)] = &[("T", ScalarType::F32)];
const F8: &[(&str, ScalarType)] = &[("X", ScalarType::F8E4M3), ("T", ScalarType::BF16)];

fn products() -> Vec<Space> {
    vec![
        Space::new("matmul/matmul.kiln", "matmul", BF16),
        Space::new("matmul/matmul.kiln", "linear_gelu", F16),
        Space::new("minilm/minilm.kiln", "linear", F16).with(&[("K", 384), ("N", 1536)]),
    ]
}

fn fused() -> Vec<Space> {
    let path = "matmul/fused.kiln";
    vec![
        Space::new(path, "linear_f8", F8),
        Space::new(path, "linear_f8_blocks", F8),
        Space::new(path, "linear_grouped", BF16),
        Space::new(path, "linear_residual", BF16),
    ]
}

/// Products of f32, which run on tensor cores without warpgroups.
fn products_of_f32() -> Vec<Space> {
    vec![
        Space::new("matmul/matmul.kiln", "matmul", F32),
        Space::new("matmul/matmul.kiln", "linear_gelu", F32),
        Space::new("minilm/minilm.kiln", "linear", F32).with(&[("K", 384), ("N", 1536)]),
    ]
}

/// Head sizes with and without a causal mask.
fn heads(kernel: &'static str, file: &'static str, sizes: &[i64], all: bool) -> Vec<Space> {
    let one = |size: i64, causal: i64| {
        let space =
            Space::new(file, kernel, F16).with(&[("D", size), ("CAUSAL", causal)]).sized(&[("H", 16), ("HK", 4), ("B", 2)]);
        if all { space } else { space.without_optional() }
    };
    sizes.iter().flat_map(|&size| [0, 1].map(|causal| one(size, causal))).collect()
}

fn attention() -> Vec<Space> {
    heads("attention", "attention/attention.kiln", &[64, 80, 96, 128, 256], false)
}

/// Sequences one behind the other, their positions in tensors.
fn packed() -> Vec<Space> {
    let path = "attention/packed.kiln";
    let mut spaces = heads("attention_packed", path, &[64, 80, 96, 128, 256], false);
    spaces.extend(heads("attention_packed", path, &[128], true));
    spaces
}

fn gradients() -> Vec<Space> {
    let path = "attention/backward.kiln";
    let mut spaces = heads("attention_dq", path, &[64, 80, 128], true);
    spaces.extend(heads("attention_dkdv", path, &[64, 80, 128], true));
    spaces.push(Space::new(path, "attention_delta", F16).with(&[("D", 128)]).sized(&[("H", 16), ("B", 2)]));
    spaces
}

fn rows() -> Vec<Space> {
    let mut spaces = vec![];
    for types in [F16, F32] {
        for (file, kernel) in [
            ("layer_norm/layer_norm.kiln", "layer_norm"),
            ("rms_norm/rms_norm.kiln", "rms_norm"),
            ("rms_norm/rms_norm.kiln", "add_rms_norm"),
        ] {
            spaces.extend([768, 1024, 8192].map(|n| Space::new(file, kernel, types).with(&[("N", n)])));
        }
        spaces.push(Space::new("softmax/softmax.kiln", "softmax", types));
        spaces.push(Space::new("softmax/softmax.kiln", "softmax", types).sized(&[("N", 8000)]));
        spaces.push(Space::new("softmax/softmax.kiln", "softmax_wide", types).sized(&[("N", 32000)]));
        spaces.push(Space::new("cross_entropy/cross_entropy.kiln", "cross_entropy", types).sized(&[("V", 32000)]));
        spaces.push(Space::new("vector_add/vector_add.kiln", "vector_add", types));
    }
    spaces
}

fn wide_spaces() -> Vec<Space> {
    vec![Space::new("tuning/tuning.kiln", "matmul", F16), Space::new("tuning/tuning.kiln", "softmax", F16)]
}

/// Both sides of the border: what is refused spills, what is next to it fits.
#[test]
fn what_is_refused_spills_and_nothing_else() {
    let matmul =
        ["BK=64 BM=128 BN=256 stages=2 warps=4", "BK=64 BM=64 BN=256 stages=3 warps=4", "BK=64 BM=128 BN=256 stages=3 warps=8"];
    let counts = sweep(&products()[..1], |_, name| matmul.iter().any(|config| name.ends_with(config)));
    if ptxas().is_some() {
        assert_eq!((counts.fit, counts.registers), (2, 1), "{counts:?}");
    }
}

/// All configurations, of which so many are refused for their registers.
fn all_but(spaces: &[Space], registers: usize) {
    let counts = sweep(spaces, |_, _| true);
    if ptxas().is_some() {
        assert_eq!(counts.registers, registers, "{counts:?}");
    }
}

#[test]
#[ignore = "minutes: every configuration"]
fn every_configuration_of_products() {
    all_but(&products(), 8);
}

#[test]
#[ignore = "minutes: every configuration"]
fn every_configuration_of_products_of_f32() {
    all_but(&products_of_f32(), 8);
}

#[test]
#[ignore = "minutes: every configuration"]
fn every_configuration_of_fused_products() {
    all_but(&fused(), 8);
}

#[test]
#[ignore = "minutes: every configuration"]
fn every_configuration_of_attention() {
    all_but(&attention(), 0);
}

#[test]
#[ignore = "minutes: every configuration"]
fn every_configuration_of_packed_attention() {
    all_but(&packed(), 0);
}

#[test]
#[ignore = "minutes: every configuration"]
fn every_configuration_of_gradients() {
    all_but(&gradients(), 16);
}

#[test]
#[ignore = "minutes: every configuration"]
fn every_configuration_of_rows() {
    all_but(&rows(), 0);
}

#[test]
#[ignore = "minutes: every configuration"]
fn every_configuration_of_wide_spaces() {
    all_but(&wide_spaces(), 0);
}
