//! Every kernel for every specialization and target.
//!
//! Each specialization is compiled three times: for typical tensors (dense, aligned, extents that 16 divides), for dense ones of any extents, and for any strides
//! and sizes. A launch takes the first that holds for it, so that a bundle lacks nothing but types and constants that were not asked for.

use std::path::PathBuf;

use kiln_bindings::c;
use kiln_compiler::{Artifact, CompileError, CompileOptions, GpuTarget, Report, Session, Target, launch_diagnostic};
use kiln_ir::artifact::HostObject;
use kiln_ir::bundle::{self, Code, Entry, Reliance};
use kiln_ir::signature::{KernelSignature, Specialization};
use proc_macro2::{Span, TokenStream};
use quote::{format_ident, quote};

use crate::bundle::{Bundle, Error};
use crate::specialize::Specialize;

/// Levels of x86-64 processors, best first.
const LEVELS: [&str; 4] = ["x86-64-v4", "x86-64-v3", "x86-64-v2", "x86-64"];

/// Multiprocessors that `num_sms()` is taken to be where a constant's default asks.
const ASSUMED_MULTIPROCESSORS: i64 = 132;

/// A compiled bundle.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The bundle's name.
    pub name: String,
    /// The encoded bundle.
    pub data: Vec<u8>,
    /// Machine code of the processor: symbols of entry points, and the objects they are in.
    pub objects: Vec<(String, Vec<u8>)>,
    /// The generated Rust; it includes the bundle from `NAME.kilnbundle` beside it.
    pub rust: String,
    /// The header for C, where it was asked for.
    pub header: Option<String>,
    /// The files that it was made of.
    pub files: Vec<PathBuf>,
    /// Warnings of the compiler, as text.
    pub warnings: String,
}

impl Compiled {
    /// Whether there is code that a program has to be linked with.
    pub fn has_host_code(&self) -> bool {
        !self.objects.is_empty()
    }

    /// Name of the library with the machine code.
    pub fn library(&self) -> String {
        format!("{}_kernels", self.name)
    }
}

/// A target with its name.
struct Goal {
    target: Target,
    /// LLVM's name of the processor.
    cpu: Option<String>,
}

fn goals(names: &[String]) -> Result<Vec<Goal>, Error> {
    let usual = if cfg!(target_arch = "x86_64") { "x86-64-v3" } else { "generic" };
    let usual = [usual.to_owned()];
    let names = if names.is_empty() { &usual } else { names };
    let mut goals = vec![];
    for name in names {
        let name = if name == "host" { &usual[0] } else { name };
        let is_level = if cfg!(target_arch = "x86_64") { LEVELS.contains(&name.as_str()) } else { name == "generic" };
        if is_level {
            goals.push(Goal { target: Target::Host, cpu: Some(name.clone()) });
        } else if let Some(gpu) = GpuTarget::from_name(name) {
            goals.push(Goal { target: Target::Gpu(gpu), cpu: None });
        } else {
            let levels = if cfg!(target_arch = "x86_64") { LEVELS.join(", ") } else { "generic".to_owned() };
            return Err(Error::Request(format!(
                "there is no target `{name}`; there are `host`, {levels}, sm_80, sm_86, sm_87, sm_89, sm_90 and sm_90a"
            )));
        }
    }
    // Best first: a launch takes the first that fits.
    goals.sort_by_key(|goal| match (&goal.target, &goal.cpu) {
        (Target::Gpu(gpu), _) => (0, u32::MAX - gpu.sm, u32::from(!gpu.arch_specific)),
        (Target::Host, cpu) => (1, LEVELS.iter().position(|l| Some(*l) == cpu.as_deref()).unwrap_or(0) as u32, 0),
    });
    Ok(goals)
}

pub fn compile(bundle: &Bundle) -> Result<Compiled, Error> {
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if bundle.name.is_empty() || !bundle.name.chars().all(valid) {
        return Err(Error::Request(format!("`{}` is no name for a bundle: letters, digits and `_`", bundle.name)));
    }
    let goals = goals(&bundle.targets)?;
    let session = Session::open(&bundle.path)?;
    let report = session.check()?;
    if report.diagnostics.has_errors() {
        return Err(CompileError::Refused(report).into());
    }
    // Kernels of files that are used belong to those files' bundles.
    let asked = |name: &str| !bundle.only_specialized || bundle.specializations.iter().any(|s| s.kernel == name);
    let own = session.kernels().into_iter().filter(|signature| signature.loc.file == 0);
    let signatures: Vec<KernelSignature> = own.filter(|signature| asked(&signature.name)).cloned().collect();
    let requests = requests(bundle, &signatures)?;
    let mut made = Made { session: &session, name: &bundle.name, entries: vec![], objects: vec![] };
    for reliance in [None, Some(Reliance::Dense), Some(Reliance::Nothing)] {
        for goal in &goals {
            for (number, request) in &requests {
                made.entry(*number, &signatures[*number], request, goal, reliance)?;
            }
        }
    }
    let Made { entries, objects, .. } = made;
    let file_name = bundle.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let whole = bundle::Bundle { name: file_name, signatures, entries };
    let mut data = bundle::MAGIC.to_vec();
    data.extend(postcard::to_stdvec(&whole).map_err(|e| Error::Request(format!("internal error: encoding the bundle: {e}")))?);
    let signatures: Vec<&KernelSignature> = whole.signatures.iter().collect();
    let symbols: Vec<&str> = objects.iter().map(|(symbol, _)| symbol.as_str()).collect();
    let mut rust = kiln_bindings::kernels(&signatures, &program(&bundle.name, &symbols), &|_| Span::call_site());
    let mut header = None;
    if bundle.c_api {
        rust.extend(c::exports(&signatures, &bundle.name));
        header = Some(c::header(&bundle.name, &signatures));
    }
    let rust = prettyplease::unparse(
        &syn::parse2(rust).map_err(|e| Error::Request(format!("internal error: the functions of the bundle: {e}")))?,
    );
    let std = |name: &str| kiln_compiler::std_source(name).is_some();
    let files = session.files().into_iter().filter(|f| !std(&f.name)).map(|f| PathBuf::from(f.name)).collect();
    Ok(Compiled {
        name: bundle.name.clone(),
        data,
        objects,
        rust: format!("// Generated by kiln-build from {}.\n{rust}", bundle.path.display()),
        header,
        files,
        warnings: if report.diagnostics.is_empty() { String::new() } else { report.to_string() },
    })
}

/// The specializations by the number of their kernel; a kernel without any gets one.
fn requests(bundle: &Bundle, signatures: &[KernelSignature]) -> Result<Vec<(usize, Specialize)>, Error> {
    let mut requests = vec![];
    for request in &bundle.specializations {
        let Some(number) = signatures.iter().position(|s| s.name == request.kernel) else {
            let known = signatures.iter().map(|s| format!("`{}`", s.name)).collect::<Vec<_>>().join(", ");
            let path = bundle.path.display();
            return Err(Error::Request(format!("there is no kernel `{}` in `{path}`; it has {known}", request.kernel)));
        };
        if let Some(ty) = &request.bad_type {
            return Err(Error::Request(format!("there is no type `{ty}`, which kernel `{}` is specialized for", request.kernel)));
        }
        requests.push((number, request.clone()));
    }
    for (number, signature) in signatures.iter().enumerate() {
        if !requests.iter().any(|(n, _)| *n == number) {
            requests.push((number, Specialize::new(&signature.name)));
        }
    }
    Ok(requests)
}

/// What is compiled so far.
struct Made<'a> {
    session: &'a Session,
    name: &'a str,
    entries: Vec<Entry>,
    objects: Vec<(String, Vec<u8>)>,
}

impl Made<'_> {
    fn entry(
        &mut self,
        number: usize,
        signature: &KernelSignature,
        request: &Specialize,
        goal: &Goal,
        reliance: Option<Reliance>,
    ) -> Result<(), Error> {
        let mut options = request.options.clone();
        options.num_sms = 1;
        if let Target::Gpu(gpu) = goal.target {
            options.num_sms = ASSUMED_MULTIPROCESSORS;
            options.shared_memory = i64::from(gpu.shared_bytes());
        }
        let typical = signature.assume(&request.assumptions, &options).map_err(|error| {
            let diagnostics = [launch_diagnostic(&error)].into_iter().collect();
            CompileError::Refused(Report { diagnostics, sources: self.session.sources().clone() })
        })?;
        let spec = reliance.map_or_else(|| typical.clone(), |reliance| signature.relaxed(&typical, reliance));
        let is_host = goal.target == Target::Host;
        let known = |entry: &Entry| {
            let same_target = match (&entry.code, &goal.target) {
                (Code::Host { object, .. }, Target::Host) => Some(&object.cpu) == goal.cpu.as_ref(),
                (Code::Gpu(artifact), Target::Gpu(gpu)) => artifact.target == *gpu,
                _ => false,
            };
            entry.kernel == number as u32 && same_target && entry.spec == spec
        };
        if self.entries.iter().any(known) {
            return Ok(());
        }
        let symbol = is_host.then(|| self.symbol(&signature.name, &spec, goal.cpu.as_deref()));
        let compile = CompileOptions { cpu: goal.cpu.clone(), symbol: symbol.clone(), ..CompileOptions::new(goal.target) };
        let code = match self.session.compile(&signature.name, &spec, &compile)?.artifact {
            Artifact::Host(mut object) => {
                let number = self.objects.len() as u32;
                let HostObject { object: code, symbol, .. } = &mut object;
                self.objects.push((symbol.clone(), std::mem::take(code)));
                Code::Host { object, number }
            }
            Artifact::Ptx(artifact) => Code::Gpu(artifact),
            Artifact::None => return Err(Error::Request("internal error: compilation gave no code".to_owned())),
        };
        self.entries.push(Entry { kernel: number as u32, spec, code });
        Ok(())
    }

    /// A symbol that no other bundle of the program has, the same in every build.
    fn symbol(&self, kernel: &str, spec: &Specialization, cpu: Option<&str>) -> String {
        let mut hash = blake3::Hasher::new();
        hash.update(format!("{spec:?}{cpu:?}").as_bytes());
        format!("kiln_{}_{kernel}_{}", self.name, &hash.finalize().to_hex()[..16])
    }
}

/// The function that opens the bundle.
fn program(name: &str, symbols: &[&str]) -> TokenStream {
    let file = format!("{name}.kilnbundle");
    let symbols: Vec<_> = symbols.iter().map(|symbol| format_ident!("{symbol}")).collect();
    let declared = (!symbols.is_empty()).then(|| {
        quote! {
            unsafe extern "C" {
                #(fn #symbols(args: *const u64, context: *const ::kiln::typed::HostContext, begin: i64, end: i64, scratch: *mut u8);)*
            }
        }
    });
    quote! {
        || {
            #declared
            // SAFETY: the symbols are those of the bundle, in its order; both come from one build script.
            unsafe { ::kiln::typed::open_bundle(::core::include_bytes!(#file), &[#(#symbols),*]) }
        }
    }
}
