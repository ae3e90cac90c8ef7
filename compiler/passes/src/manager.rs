//! Runs a list of passes: verifies between them, times them, keeps dumps, and turns a failure into an error with a reproducer.
//!
//! A pass is a plain function over a module or over each function. Passes never fail on programs they merely cannot improve; a
//! [`PassFailure`] says that the target cannot run the program (a user's limit). A panic or broken IR is our bug: it becomes
//! [`PassError::Ice`] with the IR before the pass and the list of passes, written to a file when a directory is given.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use kiln_ir::layout::dump;
use kiln_ir::text::{PrintOptions, print_module};
use kiln_ir::verify::{CheckedModule, Violation, verify};
use kiln_ir::{Function, Module, SrcLoc};

use crate::reproducer;

pub use kiln_ir::artifact::Target;

/// What passes may know besides the module.
#[derive(Clone, Copy, Debug)]
pub struct PassContext {
    /// What the code is for.
    pub target: Target,
    /// `Specialization::fits_32_bit`: every element offset, dimension and grid extent of the launch fits in a signed 32-bit number.
    pub fits_32_bit: bool,
    /// Bytes of shared memory that the rings of a kernel may take: all that a thread block of the target can have, or less where exchanges beside
    /// them need some. 0 for the host.
    pub ring_bytes: u32,
    /// Atomics on tiles may leave through shared memory by the TMA engine: not where they would take what the kernel's rings and exchanges need.
    pub reductions: bool,
}

impl PassContext {
    /// For a target; rings may take all of its shared memory.
    pub fn new(target: Target, fits_32_bit: bool) -> PassContext {
        let ring_bytes = match target {
            Target::Host => 0,
            Target::Gpu(gpu) => gpu.shared_bytes(),
        };
        PassContext { target, fits_32_bit, ring_bytes, reductions: true }
    }

    /// Whether warpgroups multiply and tensors are copied in boxes: sm_90a.
    pub(crate) fn has_warpgroups(&self) -> bool {
        matches!(self.target, Target::Gpu(gpu) if gpu.has_warpgroups())
    }
}

/// The program asks for something that the target cannot do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassFailure {
    /// Diagnostic code.
    pub code: &'static str,
    /// What and why.
    pub message: String,
    /// The instruction at fault.
    pub loc: SrcLoc,
}

/// What a pass returns.
pub type PassResult = Result<(), PassFailure>;

/// A named pass.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The name on the command line, in filetests and in reports.
    pub name: &'static str,
    run: Run,
}

#[derive(Clone, Copy, Debug)]
enum Run {
    Module(fn(&mut Module, &PassContext) -> PassResult),
    Function(fn(&mut Function, &PassContext) -> PassResult),
}

impl Pass {
    /// A pass over the whole module.
    pub const fn module(name: &'static str, run: fn(&mut Module, &PassContext) -> PassResult) -> Pass {
        Pass { name, run: Run::Module(run) }
    }

    /// A pass over each function by itself.
    pub const fn function(name: &'static str, run: fn(&mut Function, &PassContext) -> PassResult) -> Pass {
        Pass { name, run: Run::Function(run) }
    }

    fn apply(&self, module: &mut Module, context: &PassContext) -> PassResult {
        match self.run {
            Run::Module(run) => run(module, context),
            Run::Function(run) => module.funcs.values_mut().try_for_each(|func| run(func, context)),
        }
    }
}

/// How to run the passes.
#[derive(Clone, Debug)]
pub struct PassOptions {
    /// See [`PassContext::fits_32_bit`].
    pub fits_32_bit: bool,
    /// Instrument for the checked mode (see the pass `checks`). For the host only.
    pub checked: bool,
    /// Keep the IR after these passes (`all` for every pass).
    pub print_after: Vec<String>,
    /// On failure, keep the IR as it was before the pass that failed.
    pub print_before_failure: bool,
    /// End after the first run of this pass.
    pub stop_after: Option<String>,
    /// Measure each pass.
    pub time_passes: bool,
    /// Verify after every pass, so that the pass that broke the IR is named. On by default in builds with debug assertions.
    pub verify_each: bool,
    /// Where reproducers of our own bugs go; none are written without it.
    pub reproducer_dir: Option<PathBuf>,
}

impl Default for PassOptions {
    fn default() -> Self {
        PassOptions {
            fits_32_bit: false,
            checked: false,
            print_after: Vec::new(),
            print_before_failure: false,
            stop_after: None,
            time_passes: false,
            verify_each: cfg!(debug_assertions),
            reproducer_dir: None,
        }
    }
}

impl PassOptions {
    /// The options as far as they are about these passes: names of others are left out.
    pub(crate) fn about(&self, passes: &[Pass]) -> PassOptions {
        let mut options = self.clone();
        let known = |name: &String| name == "all" || passes.iter().any(|pass| pass.name == name);
        options.print_after.retain(known);
        options.stop_after = options.stop_after.filter(known);
        options
    }

    /// The error of a name that is none of these passes.
    pub(crate) fn unknown(&self, passes: &[Pass]) -> Option<PassError> {
        let named = self.print_after.iter().filter(|name| *name != "all").chain(&self.stop_after);
        let name = named.into_iter().find(|name| !passes.iter().any(|pass| pass.name == **name))?;
        let known: Vec<&str> = passes.iter().map(|p| p.name).collect();
        Some(PassError::UnknownPass(name.clone(), known.join(", ")))
    }
}

/// What running the passes showed.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Each pass that ran and its time (with `time_passes`), in order.
    pub timings: Vec<(&'static str, Duration)>,
    /// Pass and IR text, as asked for by `print_after` and `print_before_failure`, in order.
    pub dumps: Vec<(String, String)>,
}

/// Why there is no optimized module.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PassError {
    /// The target cannot run the program.
    #[error("{}", .0.message)]
    Unsupported(PassFailure),
    /// `print_after` or `stop_after` names no pass of the pipeline.
    #[error("there is no pass `{0}`; the passes are: {1}")]
    UnknownPass(String, String),
    /// The text of a reproducer is malformed.
    #[error("not a reproducer: {0}")]
    BadReproducer(String),
    /// A bug in the compiler.
    #[error("internal compiler error in pass `{pass}`: {message}{}", reproducer_note(.reproducer))]
    Ice {
        /// The pass, or `input` when what came in was broken already.
        pass: String,
        /// The panic's message, or the violations.
        message: String,
        /// Where the reproducer was written, if it was.
        reproducer: Option<PathBuf>,
    },
}

fn reproducer_note(path: &Option<PathBuf>) -> String {
    path.as_ref().map(|p| format!("\nreproducer written to {}", p.display())).unwrap_or_default()
}

/// Runs `passes` in order on a module and verifies the result.
///
/// # Errors
/// See [`PassError`].
pub fn run_passes(
    module: Module,
    passes: &[Pass],
    context: &PassContext,
    options: &PassOptions,
) -> (Result<CheckedModule, PassError>, Report) {
    let mut report = Report::default();
    let result = run_into(module, passes, context, options, &mut report);
    (result, report)
}

fn run_into(
    module: Module,
    passes: &[Pass],
    context: &PassContext,
    options: &PassOptions,
    report: &mut Report,
) -> Result<CheckedModule, PassError> {
    if let Some(error) = options.unknown(passes) {
        return Err(error);
    }
    let last = match &options.stop_after {
        Some(name) => passes.iter().position(|p| p.name == name).map_or(passes.len(), |i| i + 1),
        None => passes.len(),
    };
    let passes = &passes[..last];
    // A failure is replayed from the input, so that nothing but this one copy is kept on the way.
    let input = module.clone();
    let mut module = module;
    if options.verify_each {
        module = match verify(module) {
            Ok(checked) => checked.into_inner(),
            Err((_, violations)) => {
                let message = describe(&violations);
                let reproducer = reproducer::write(&input, &[], context, &message, options);
                return Err(PassError::Ice { pass: "input".into(), message, reproducer });
            }
        };
    }
    for (number, pass) in passes.iter().enumerate() {
        let start = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| pass.apply(&mut module, context)));
        if options.time_passes {
            report.timings.push((pass.name, start.elapsed()));
        }
        let message = match outcome {
            Ok(Ok(())) if options.verify_each => match verify(std::mem::take(&mut module)) {
                Ok(checked) => {
                    module = checked.into_inner();
                    None
                }
                Err((_, violations)) => Some(describe(&violations)),
            },
            Ok(Ok(())) => None,
            Ok(Err(failure)) => return Err(PassError::Unsupported(failure)),
            Err(panic) => Some(panic_message(&*panic)),
        };
        if let Some(message) = message {
            return Err(ice(input, passes, number, message, context, options, report));
        }
        if options.print_after.iter().any(|name| name == pass.name || name == "all") {
            report.dumps.push((pass.name.into(), dump(&module)));
        }
    }
    verify(module).map_err(|(_, violations)| {
        let message = format!("the IR after the last pass is broken:\n{}", describe(&violations));
        ice(input, passes, 0, message, context, options, report)
    })
}

/// The error for a failure of pass `number`: replays the passes before it to show and keep what it was given.
fn ice(
    input: Module,
    passes: &[Pass],
    number: usize,
    message: String,
    context: &PassContext,
    options: &PassOptions,
    report: &mut Report,
) -> PassError {
    let pass = passes.get(number).map_or("input", |p| p.name);
    let replayed = catch_unwind(AssertUnwindSafe(|| {
        let mut module = input.clone();
        passes[..number].iter().try_for_each(|pass| pass.apply(&mut module, context)).map(|()| module)
    }));
    let (before, rest) = match replayed {
        Ok(Ok(before)) => (before, &passes[number..]),
        _ => (input, passes),
    };
    if options.print_before_failure {
        report.dumps.push((format!("before {pass}"), print_module(&before, PrintOptions::default())));
    }
    let reproducer = reproducer::write(&before, rest, context, &message, options);
    PassError::Ice { pass: pass.into(), message, reproducer }
}

fn describe(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("\n")
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "panic without a message".into())
}

#[cfg(test)]
mod tests {
    use kiln_ir::text::parse_module;
    use kiln_ir::{InstData, Type};

    use super::*;

    const CONTEXT: PassContext = PassContext { target: Target::Host, fits_32_bit: false, ring_bytes: 0, reductions: true };

    fn nothing(_: &mut Function, _: &PassContext) -> PassResult {
        Ok(())
    }

    fn break_it(func: &mut Function, _: &PassContext) -> PassResult {
        let body = func.body;
        func.append(body, InstData::NumSms, &[Type::index()], SrcLoc::UNKNOWN);
        Ok(())
    }

    fn panics(func: &mut Function, _: &PassContext) -> PassResult {
        panic!("no luck with {}", func.name)
    }

    fn refuses(func: &mut Function, _: &PassContext) -> PassResult {
        Err(PassFailure { code: "K0000", message: "too wide".into(), loc: func.loc })
    }

    fn input() -> Module {
        parse_module("kernel @0 k() grid 1 index 64 {\n    yield\n}\n").unwrap()
    }

    #[test]
    fn the_pass_that_broke_the_ir_is_named_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let options = PassOptions {
            verify_each: true,
            print_before_failure: true,
            reproducer_dir: Some(dir.path().into()),
            ..PassOptions::default()
        };
        for (bad, expected) in [(Pass::function("bad", break_it), "yield"), (Pass::function("bad", panics), "no luck with k")] {
            let passes = [Pass::function("fine", nothing), bad];
            let (result, report) = run_passes(input(), &passes, &CONTEXT, &options);
            let Err(PassError::Ice { pass, message, reproducer: Some(path) }) = result else { panic!("{result:?}") };
            assert_eq!(pass, "bad");
            assert!(message.contains(expected), "{message}");
            assert_eq!(report.dumps[0].0, "before bad");
            let text = std::fs::read_to_string(path).unwrap();
            assert!(text.contains("; passes: bad\n") && text.contains("kernel @0 k()"), "{text}");
        }
    }

    #[test]
    fn options_choose_what_runs_and_what_is_kept() {
        let passes = [Pass::function("a", nothing), Pass::function("b", nothing), Pass::function("bad", refuses)];
        let options = PassOptions {
            stop_after: Some("b".into()),
            print_after: vec!["a".into()],
            time_passes: true,
            ..PassOptions::default()
        };
        let (result, report) = run_passes(input(), &passes, &CONTEXT, &options);
        assert!(result.is_ok());
        assert_eq!(report.timings.iter().map(|t| t.0).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(report.dumps.len(), 1);
        let (result, _) = run_passes(input(), &passes, &CONTEXT, &PassOptions::default());
        assert!(matches!(result, Err(PassError::Unsupported(f)) if f.code == "K0000"));
        let options = PassOptions { stop_after: Some("c".into()), ..PassOptions::default() };
        let (result, _) = run_passes(input(), &passes, &CONTEXT, &options);
        assert_eq!(result.unwrap_err().to_string(), "there is no pass `c`; the passes are: a, b, bad");
    }
}
