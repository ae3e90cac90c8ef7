//! `kiln build`: compiles one kernel and shows what comes of it.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use kiln::AnyTensor;
use kiln_compiler::{Artifact, CompileOptions, Emit, GpuTarget, Report, Session, Stage, Target};
use kiln_ir::signature::{ArgDesc, Assumptions, KernelSignature, LaunchOptions, Specialization, TensorDesc};
use kiln_ir::{Elem, ScalarType};

use super::{bundle, select};
use crate::data::files;
use crate::data::spec::ArgSpec;
use crate::opts::{BuildOptions, EmitKind};
use crate::tools;
use crate::ui::Ui;

/// GPU that PTX is made for unless told.
const USUAL_GPU: &str = "sm_80";

/// Multiprocessors assumed where a kernel asks and no device is there to tell.
const ASSUMED_MULTIPROCESSORS: i64 = 132;

/// Compiles and shows.
pub fn run(options: &BuildOptions, ui: &Ui) -> Result<ExitCode> {
    let file = &options.kernel.file;
    let session = Session::open(file)?;
    let loaded = session.load_report();
    if options.emit == EmitKind::Ast {
        return ast(options, ui, &loaded);
    }
    if options.emit == EmitKind::Bundle {
        return bundle::run(options, ui);
    }
    if loaded.diagnostics.has_errors() {
        ui.report(&loaded);
        return Ok(ExitCode::FAILURE);
    }
    let target = target(options)?;
    let signature = select::kernel(&session.kernels(), options.kernel.kernel.as_deref(), &file.to_string_lossy())?;
    let spec = specialization(options, &session, signature, &target)?;
    let compile = CompileOptions {
        emit: Emit {
            tile_ir: options.emit == EmitKind::TileIr,
            layouts: options.emit == EmitKind::Layouts,
            llvm: options.emit == EmitKind::Llvm,
            asm: options.emit == EmitKind::Asm,
            no_code: matches!(options.emit, EmitKind::TileIr | EmitKind::Layouts),
        },
        opt_level: options.kernel.opt_level,
        print_after: options.print_after.clone(),
        print_before_failure: options.print_before_failure,
        stop_after: options.stop_after.clone(),
        time_passes: options.time_passes,
        ..CompileOptions::new(target)
    };
    let (result, dumps) = session.compile_with_dumps(&signature.name, &spec, &compile);
    for (pass, text) in &dumps {
        ui.out(&format!("; after {pass}\n{text}\n"));
    }
    let compiled = result?;
    ui.report(&compiled.warnings);
    if options.time_passes {
        times(ui, &session, &compiled.stages);
    }
    let total: f64 = compiled.stages.iter().filter(|s| !s.name.starts_with("pass:")).map(|s| s.time.as_secs_f64()).sum();
    ui.status("Compiled", &format!("kernel `{}` in {:.1} ms", signature.name, total * 1e3));
    if options.stop_after.is_some() && !matches!(options.emit, EmitKind::TileIr | EmitKind::Layouts) {
        return Ok(ExitCode::SUCCESS);
    }
    let missing = || "the compiler kept no such text: this is a bug in kiln".to_owned();
    let text = match (options.emit, compiled.artifact) {
        (EmitKind::TileIr, _) => compiled.tile_ir.with_context(missing)?,
        (EmitKind::Layouts, _) => compiled.layouts.with_context(missing)?,
        (EmitKind::Llvm, Artifact::Host(object)) => object.llvm.with_context(missing)?,
        (EmitKind::Llvm, Artifact::Ptx(artifact)) => artifact.llvm.with_context(missing)?,
        (EmitKind::Asm, Artifact::Host(object)) => object.asm.with_context(missing)?,
        (EmitKind::Ptx, Artifact::Ptx(artifact)) => artifact.ptx,
        (EmitKind::Sass, Artifact::Ptx(artifact)) => {
            tools::disassemble(&tools::assemble(&artifact.ptx, &artifact.target.name())?.cubin)?
        }
        (EmitKind::Cubin, Artifact::Ptx(artifact)) => {
            let assembled = tools::assemble(&artifact.ptx, &artifact.target.name())?;
            let [stores, loads] = [assembled.spills.0, assembled.spills.1];
            ui.status("Assembled", &format!("{} registers, {stores} + {loads} bytes of spills", assembled.registers));
            assembled.warnings.iter().for_each(|w| ui.status("ptxas", w));
            if let Some(path) = &options.output {
                write(path, &assembled.cubin)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        (EmitKind::Object, Artifact::Host(object)) => {
            if let Some(path) = &options.output {
                write(path, &object.object)?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        (EmitKind::Ast | EmitKind::Asm | EmitKind::Object | EmitKind::Bundle, _) => bail!(missing()),
        (EmitKind::Ptx | EmitKind::Cubin | EmitKind::Sass, _) => bail!(missing()),
        (EmitKind::Llvm, Artifact::None) => bail!(missing()),
    };
    show(options, ui, &text)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    std::fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))
}

fn show(options: &BuildOptions, ui: &Ui, text: &str) -> Result<ExitCode> {
    match &options.output {
        Some(path) => write(path, text.as_bytes())?,
        None => ui.out(text),
    }
    Ok(ExitCode::SUCCESS)
}

/// The syntax tree needs no kernel and no types.
fn ast(options: &BuildOptions, ui: &Ui, loaded: &Report) -> Result<ExitCode> {
    let name = options.kernel.file.to_string_lossy().into_owned();
    let Some((id, _)) = loaded.sources.files().find(|(_, f)| f.name() == name) else {
        bail!("internal error: `{name}` is not among its own sources")
    };
    let (tree, diagnostics) = kiln_syntax::parse::parse(&loaded.sources, id);
    let failed = diagnostics.has_errors();
    ui.report(&Report { diagnostics, sources: loaded.sources.clone() });
    show(options, ui, &kiln_syntax::dump::dump(&tree))?;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn target(options: &BuildOptions) -> Result<Target> {
    let gpu = |name: &str| {
        GpuTarget::from_name(name).map(Target::Gpu).with_context(|| {
            format!("there is no target `{name}`; there are `host`, sm_80, sm_86, sm_87, sm_89, sm_90 and sm_90a")
        })
    };
    match (options.target.as_deref(), options.emit) {
        (Some("host"), EmitKind::Ptx) => bail!("PTX is for GPUs: choose a target such as --target sm_90a"),
        (Some("host"), EmitKind::Cubin | EmitKind::Sass | EmitKind::Layouts) => {
            bail!("layouts, cubin and SASS are for GPUs: choose a target such as --target sm_90a")
        }
        (Some("host"), _) => Ok(Target::Host),
        (None, EmitKind::Ptx | EmitKind::Cubin | EmitKind::Sass | EmitKind::Layouts) => gpu(USUAL_GPU),
        (None, _) => Ok(Target::Host),
        (Some(name), EmitKind::Asm | EmitKind::Object) => {
            gpu(name)?;
            bail!("`--emit asm` and `--emit object` are of the host; for {name} there is `--emit ptx`")
        }
        (Some(name), _) => gpu(name),
    }
}

fn specialization(options: &BuildOptions, session: &Session, sig: &KernelSignature, target: &Target) -> Result<Specialization> {
    let mut launch = select::launch_options(&options.kernel, sig)?;
    match target {
        Target::Host => launch.num_sms = kiln::Device::cpu()?.num_sms(),
        Target::Gpu(gpu) => {
            launch.num_sms = ASSUMED_MULTIPROCESSORS;
            launch.shared_memory = i64::from(gpu.shared_bytes());
        }
    }
    let specs = select::arguments(&options.kernel, sig)?;
    if specs.iter().all(Option::is_none) {
        let dims = select::dims(&options.dims)?;
        let assumptions = Assumptions { dims, present: options.present.clone() };
        return sig.assume(&assumptions, &launch).map_err(|e| refuse(session, *e));
    }
    if !options.dims.is_empty() || !options.present.is_empty() {
        bail!("--dim and --with are for builds without arguments: with --arg, dimensions follow from the arguments");
    }
    bind(session, sig, &launch, &specs)
}

fn refuse(session: &Session, error: kiln_ir::signature::BindError) -> anyhow::Error {
    let diagnostics = [kiln_compiler::launch_diagnostic(&error)].into_iter().collect();
    kiln_compiler::CompileError::Refused(Report { diagnostics, sources: session.sources().clone() }).into()
}

/// Type, extents and strides of an argument that has no memory.
struct Shaped {
    elem: ScalarType,
    dims: Vec<i64>,
    strides: Vec<i64>,
}

impl Shaped {
    fn dense(elem: ScalarType, dims: Vec<i64>) -> Shaped {
        Shaped { elem, strides: kiln::tensor::dense_strides(&dims).to_vec(), dims }
    }

    fn of(tensor: &AnyTensor) -> Result<Shaped> {
        let elem = tensor.scalar_type().context("a file holds numbers")?;
        Ok(Shaped { elem, dims: tensor.dims().to_vec(), strides: tensor.strides().to_vec() })
    }
}

/// Binds a launch of tensors that are not there: apart, and aligned as allocated memory is.
fn bind(session: &Session, sig: &KernelSignature, launch: &LaunchOptions, specs: &[Option<ArgSpec>]) -> Result<Specialization> {
    let mut types = select::ElementTypes::new(sig, launch);
    let mut shapes: Vec<Option<Shaped>> = vec![];
    // Arguments with a type of their own first: they decide about the others.
    for (i, spec) in specs.iter().enumerate() {
        let shape = match spec {
            Some(ArgSpec::Shape { ty, dims }) => Some(Shaped::dense(*ty, dims.clone())),
            Some(ArgSpec::File { path, entry }) => Some(Shaped::of(&files::read(path, entry.as_deref(), &sig.params[i].name)?)?),
            Some(ArgSpec::Raw { path, ty, dims }) => Some(Shaped::of(&files::read_raw(path, *ty, dims.as_deref())?)?),
            Some(ArgSpec::Generate(g)) => g.ty.map(|ty| Shaped::dense(ty, g.dims.clone())),
            Some(ArgSpec::Number(_)) | None => None,
        };
        if let Some(shape) = &shape {
            types.learn(i, shape.elem);
        }
        shapes.push(shape);
    }
    for (i, spec) in specs.iter().enumerate() {
        if let (None, Some(ArgSpec::Generate(g))) = (&shapes[i], spec) {
            shapes[i] = Some(Shaped::dense(types.wanted(i).unwrap_or(ScalarType::F32), g.dims.clone()));
        }
    }
    let inferred = sig.infer(&descs(sig, specs, &shapes), launch).map_err(|e| refuse(session, *e))?;
    for (shape, inferred) in shapes.iter_mut().zip(inferred) {
        if let Some(inferred) = inferred {
            *shape = Some(Shaped::dense(inferred.elem, inferred.dims));
        }
    }
    let bound = sig.bind(&descs(sig, specs, &shapes), launch).map_err(|e| refuse(session, *e))?;
    Ok(bound.spec)
}

/// The arguments as a launch would describe them.
fn descs<'a>(sig: &KernelSignature, specs: &[Option<ArgSpec>], shapes: &'a [Option<Shaped>]) -> Vec<ArgDesc<'a>> {
    let describe = |i: usize| match (&shapes[i], &specs[i]) {
        (Some(shape), _) => ArgDesc::Tensor(TensorDesc {
            elem: Elem::Scalar(shape.elem),
            address: (i as u64 + 1) << 48,
            dims: &shape.dims,
            strides: &shape.strides,
            writable: true,
        }),
        (None, Some(ArgSpec::Number(number))) => ArgDesc::Number(*number, None),
        (None, _) if select::is_made(sig, i) => ArgDesc::Infer,
        (None, _) => ArgDesc::Absent,
    };
    (0..sig.params.len()).map(describe).collect()
}

/// Stages and passes with their times, to standard error.
fn times(ui: &Ui, session: &Session, stages: &[Stage]) {
    ui.status("load", &format!("{:8.3} ms", session.load_time.as_secs_f64() * 1e3));
    for stage in stages {
        let (name, indent) = match stage.name.strip_prefix("pass:") {
            Some(pass) => (pass, "  "),
            None => (stage.name.as_str(), ""),
        };
        ui.status(&format!("{indent}{name}"), &format!("{:8.3} ms", stage.time.as_secs_f64() * 1e3));
    }
}
