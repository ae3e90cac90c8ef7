//! One kernel for one specialization and one target: instantiation, passes, code.

use std::time::Instant;

use kiln_codegen::CodegenError;
use kiln_codegen::host::{self, HostObject, HostOptions};
use kiln_codegen::nvptx::{self, PtxArtifact};
use kiln_ir::SrcLoc;
use kiln_ir::artifact::{Remark, Stage, Target};
use kiln_ir::layout::dump;
use kiln_ir::signature::Specialization;
use kiln_ir::text::{PrintOptions, print_module};
use kiln_ir::verify::CheckedModule;
use kiln_passes::pipeline::{self, lay_out_with_report, optimize_with_report};
use kiln_passes::{PassError, PassOptions};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::{Diagnostic, Diagnostics};

use crate::ice::Ice;
use crate::report::{Report, span};
use crate::session::{CompileError, Session};

/// What to keep besides the code.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Emit {
    /// Tile IR after the passes, as text.
    pub tile_ir: bool,
    /// Tile IR with the layouts of a GPU, as text.
    pub layouts: bool,
    /// LLVM IR, as text.
    pub llvm: bool,
    /// Assembly of the host, as text.
    pub asm: bool,
    /// Stop before code generation: with `tile_ir`, for looking at passes.
    pub no_code: bool,
}

/// How to compile.
#[derive(Clone, Debug)]
pub struct CompileOptions {
    /// For what.
    pub target: Target,
    /// What to keep.
    pub emit: Emit,
    /// Effort of LLVM, 0 to 3.
    pub opt_level: u8,
    /// Instrument for the checked mode; for the host only.
    pub checked: bool,
    /// LLVM's name of the processor to compile host code for; the one this runs on when absent.
    pub cpu: Option<String>,
    /// The symbol of host code, for objects that are linked with each other.
    pub symbol: Option<String>,
    /// Keep the IR after these passes (`all` for each).
    pub print_after: Vec<String>,
    /// Keep the IR as it was before a pass that failed.
    pub print_before_failure: bool,
    /// End after the first run of this pass; implies no code.
    pub stop_after: Option<String>,
    /// Measure each pass.
    pub time_passes: bool,
    /// GPU code also for schedules that need more registers than there are: for finding out what ptxas makes of it.
    pub over_registers: bool,
}

impl CompileOptions {
    /// Code for a target and nothing else.
    pub fn new(target: Target) -> CompileOptions {
        CompileOptions {
            target,
            emit: Emit::default(),
            opt_level: HostOptions::default().opt_level,
            checked: false,
            cpu: None,
            symbol: None,
            print_after: vec![],
            print_before_failure: false,
            stop_after: None,
            time_passes: false,
            over_registers: false,
        }
    }

    /// Whether layouts are asked for beside those that code generation needs.
    fn shows_layouts(&self) -> bool {
        let named = |name: &String| name == "all" || is_layout_pass(name);
        self.target != Target::Host && (self.emit.layouts || self.print_after.iter().chain(&self.stop_after).any(named))
    }
}

fn is_layout_pass(name: &str) -> bool {
    pipeline::LAYOUTS.iter().any(|pass| pass.name == name)
}

/// Code.
#[derive(Clone, Debug)]
pub enum Artifact {
    /// For the processor.
    Host(HostObject),
    /// For a GPU.
    Ptx(PtxArtifact),
    /// None was asked for.
    None,
}

/// A compiled kernel.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The code.
    pub artifact: Artifact,
    /// Tile IR after the passes, where asked for.
    pub tile_ir: Option<String>,
    /// Tile IR with layouts, where asked for.
    pub layouts: Option<String>,
    /// Pass and IR text, as asked for.
    pub dumps: Vec<(String, String)>,
    /// Warnings.
    pub warnings: Report,
    /// Where the time went, in order.
    pub stages: Vec<Stage>,
}

impl Session {
    /// Compiles a kernel.
    ///
    /// # Errors
    /// See [`CompileError`].
    pub fn compile(&self, kernel: &str, spec: &Specialization, options: &CompileOptions) -> Result<Compiled, CompileError> {
        self.compile_with_dumps(kernel, spec, options).0
    }

    /// [`Session::compile`], with the dumps that were asked for also when it fails.
    pub fn compile_with_dumps(
        &self,
        kernel: &str,
        spec: &Specialization,
        options: &CompileOptions,
    ) -> (Result<Compiled, CompileError>, Vec<(String, String)>) {
        let mut dumps = vec![];
        let result = self.compile_into(kernel, spec, options, &mut dumps);
        (result, dumps)
    }

    fn compile_into(
        &self,
        kernel: &str,
        spec: &Specialization,
        options: &CompileOptions,
        dumps: &mut Vec<(String, String)>,
    ) -> Result<Compiled, CompileError> {
        let signature = self.kernel(kernel)?;
        if options.checked && options.target != Target::Host {
            let message = "the checked mode is for the CPU: what a GPU would run is checked by the emulator";
            return Err(self.refusal("K0906", message, None, SrcLoc::UNKNOWN));
        }
        let mut stages = vec![];
        let start = Instant::now();
        let (mut module, warnings) = self
            .guard(&format!("compiling `{kernel}` for {spec:?}"), || self.program.instantiate(kernel, spec))?
            .map_err(|diagnostics| CompileError::Refused(Report { diagnostics, sources: self.sources.clone() }))?;
        stages.push(Stage { name: "instantiate".into(), time: start.elapsed() });

        let start = Instant::now();
        kiln_passes::add_launch_facts(&mut module, signature, spec);
        let pass_options = PassOptions {
            fits_32_bit: spec.fits_32_bit,
            checked: options.checked,
            print_after: options.print_after.clone(),
            print_before_failure: options.print_before_failure,
            stop_after: options.stop_after.clone(),
            time_passes: options.time_passes,
            reproducer_dir: Some(self.reproducer_dir.clone()),
            ..PassOptions::default()
        };
        let (module, report) = self.guard("running passes", || optimize_with_report(module, options.target, &pass_options))?;
        dumps.extend(report.dumps);
        let module = module.map_err(|error| self.pass_error(error))?;
        stages.push(Stage { name: "passes".into(), time: start.elapsed() });
        stages.extend(report.timings.iter().map(|(name, time)| Stage { name: format!("pass:{name}"), time: *time }));

        let laid_out = if options.shows_layouts() {
            let (laid_out, report) = self
                .guard("assigning layouts", || lay_out_with_report(module.clone().into_inner(), options.target, &pass_options))?;
            dumps.extend(report.dumps);
            Some(laid_out.map_err(|error| self.pass_error(error))?)
        } else {
            None
        };
        let layouts = laid_out.as_ref().filter(|_| options.emit.layouts).map(|m| dump(m));
        let tile_ir = options.emit.tile_ir.then(|| match &laid_out {
            Some(laid_out) if options.stop_after.as_deref().is_some_and(is_layout_pass) => dump(laid_out),
            _ => print_module(&module, PrintOptions::default()),
        });
        let artifact = if options.emit.no_code || options.stop_after.is_some() {
            Artifact::None
        } else {
            self.generate(&module, options, spec.fits_32_bit, &mut stages)?
        };
        let mut warnings = Report { diagnostics: warnings, sources: self.sources.clone() };
        if let Artifact::Ptx(artifact) = &artifact {
            for remark in &artifact.remarks {
                warnings.diagnostics.push(self.warning(remark)?);
            }
        }
        Ok(Compiled { artifact, tile_ir, layouts, dumps: dumps.clone(), warnings, stages })
    }

    fn generate(
        &self,
        module: &CheckedModule,
        options: &CompileOptions,
        fits_32_bit: bool,
        stages: &mut Vec<Stage>,
    ) -> Result<Artifact, CompileError> {
        match &options.target {
            Target::Host => {
                let host_options = HostOptions {
                    opt_level: options.opt_level,
                    emit_llvm: options.emit.llvm,
                    emit_asm: options.emit.asm,
                    cpu: options.cpu.clone(),
                    symbol: options.symbol.clone(),
                };
                let object = self
                    .guard("generating code for the CPU", || host::compile(module, &host_options))?
                    .map_err(|e| self.codegen_error(e))?;
                let times = object.timings;
                for (name, time) in [("build", times.build), ("optimize", times.optimize), ("codegen", times.codegen)] {
                    stages.push(Stage { name: name.into(), time });
                }
                Ok(Artifact::Host(object))
            }
            Target::Gpu(gpu) => {
                let codegen =
                    nvptx::Options { keep_llvm: options.emit.llvm, fits_32_bit, over_registers: options.over_registers };
                let artifact =
                    self.guard("generating PTX", || nvptx::compile(module, *gpu, codegen))?.map_err(|e| self.codegen_error(e))?;
                let times = artifact.timings;
                for (name, time) in [
                    ("layouts", times.layouts),
                    ("build", times.build),
                    ("read", times.read),
                    ("optimize", times.optimize),
                    ("codegen", times.codegen),
                ] {
                    stages.push(Stage { name: name.into(), time });
                }
                Ok(Artifact::Ptx(artifact))
            }
        }
    }

    /// A remark of passes or code generation as a diagnostic.
    fn warning(&self, remark: &Remark) -> Result<Diagnostic, CompileError> {
        let unknown =
            || self.internal("compiling", format!("a warning with the unknown code {}: {}", remark.code, remark.message));
        let entry = codes::find(remark.code).ok_or_else(unknown)?;
        let warning = Diagnostic::warning(entry.code, remark.message.clone());
        Ok(match span(remark.loc) {
            Some(at) => warning.primary(at, ""),
            None => warning,
        })
    }

    /// A refusal by passes or code generation as a diagnostic.
    fn refusal(&self, code: &str, message: &str, help: Option<&str>, loc: SrcLoc) -> CompileError {
        let Some(entry) = codes::find(code) else {
            return self.internal("compiling", format!("refusal with the unknown code {code}: {message}"));
        };
        let mut diagnostic = Diagnostic::error(entry.code, message);
        if let Some(span) = span(loc) {
            diagnostic = diagnostic.primary(span, "");
        }
        if let Some(help) = help {
            diagnostic = diagnostic.help(help);
        }
        let diagnostics: Diagnostics = [diagnostic].into_iter().collect();
        CompileError::Refused(Report { diagnostics, sources: self.sources.clone() })
    }

    fn internal(&self, stage: &str, message: String) -> CompileError {
        CompileError::Ice(Ice { stage: stage.to_owned(), message, reproducer: None })
    }

    fn pass_error(&self, error: PassError) -> CompileError {
        match error {
            PassError::Unsupported(failure) => self.refusal(failure.code, &failure.message, None, failure.loc),
            PassError::UnknownPass(..) => CompileError::UnknownPass(error.to_string()),
            PassError::Ice { pass, message, reproducer } => {
                CompileError::Ice(Ice { stage: format!("running pass `{pass}`"), message, reproducer })
            }
            PassError::BadReproducer(message) => self.internal("reading a reproducer", message),
        }
    }

    fn codegen_error(&self, error: CodegenError) -> CompileError {
        match error {
            CodegenError::Unsupported { code, message, help, loc, .. } => self.refusal(code, &message, help.as_deref(), loc),
            CodegenError::Internal(message) => self.internal("generating code", message),
        }
    }
}
