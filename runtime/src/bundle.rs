//! Bundles: programs whose kernels were compiled ahead of time, by `kiln-build`.

use std::fmt::Write as _;

use kiln_ir::abi::{EntryPoint, HostEntry};
use kiln_ir::artifact::{GpuTarget, Target};
use kiln_ir::bundle::{Bundle, Code, Entry, MAGIC};
use kiln_ir::signature::{KernelSignature, Specialization};

use crate::compiled::CompiledKernel;
use crate::error::Error;
use crate::host_code::runs;

/// A bundle with the entry points of its machine code.
#[derive(Debug)]
pub(crate) struct BundleCode {
    bundle: Bundle,
    host: &'static [EntryPoint],
}

impl BundleCode {
    /// Reads a bundle.
    pub fn decode(bytes: &[u8], host: &'static [EntryPoint]) -> Result<BundleCode, Error> {
        let broken = |why: &str| Error::Bundle(format!("the bundle cannot be read: {why}; build the program anew"));
        let body = bytes.strip_prefix(MAGIC.as_slice()).ok_or_else(|| broken("it is of another version of kiln, or none"))?;
        let bundle: Bundle = postcard::from_bytes(body).map_err(|e| broken(&e.to_string()))?;
        let sound = bundle.entries.iter().all(|entry| {
            let code = match entry.code {
                Code::Host { number, .. } => (number as usize) < host.len(),
                Code::Gpu(_) => true,
            };
            code && (entry.kernel as usize) < bundle.signatures.len()
        });
        if sound { Ok(BundleCode { bundle, host }) } else { Err(broken("it does not fit the program")) }
    }

    /// The kernels.
    pub fn signatures(&self) -> &[KernelSignature] {
        &self.bundle.signatures
    }

    /// The entries of a kernel.
    fn entries(&self, kernel: &str) -> impl Iterator<Item = &Entry> {
        let number = self.bundle.signatures.iter().position(|s| s.name == kernel);
        self.bundle.entries.iter().filter(move |entry| Some(entry.kernel as usize) == number)
    }

    /// Code for a launch.
    ///
    /// # Errors
    /// Where the bundle has none; the error says what it has.
    pub fn find(&self, kernel: &KernelSignature, spec: &Specialization, target: &Target) -> Result<CompiledKernel, Error> {
        let fits = |entry: &&Entry| match (&entry.code, target) {
            (Code::Host { object, .. }, Target::Host) => runs(&object.cpu) && entry.spec.serves(spec, false),
            (Code::Gpu(artifact), Target::Gpu(gpu)) => runs_on(artifact.target, *gpu) && entry.spec.serves(spec, true),
            _ => false,
        };
        let entry = self.entries(&kernel.name).find(fits).ok_or_else(|| self.lacks(kernel, spec, target))?;
        match &entry.code {
            Code::Host { object, number } => {
                let entry = HostEntry::new(self.host[*number as usize], object.scratch_bytes as usize);
                Ok(CompiledKernel::in_program(object.clone(), entry))
            }
            Code::Gpu(artifact) => CompiledKernel::of_bundle(artifact.clone()),
        }
    }

    fn lacks(&self, kernel: &KernelSignature, spec: &Specialization, target: &Target) -> Error {
        let wanted = describe(kernel, spec, &target_name(target));
        let mut has: Vec<String> =
            self.entries(&kernel.name).map(|entry| describe(kernel, &entry.spec, &entry.code.target())).collect();
        has.dedup();
        has.sort();
        has.dedup();
        Error::NotInBundle { kernel: kernel.name.clone(), wanted, has }
    }
}

/// Whether PTX for one GPU runs on another.
fn runs_on(code: GpuTarget, gpu: GpuTarget) -> bool {
    code == gpu || (!code.arch_specific && code.sm <= gpu.sm)
}

fn target_name(target: &Target) -> String {
    match target {
        Target::Gpu(gpu) => gpu.name(),
        Target::Host => {
            let levels = ["x86-64-v4", "x86-64-v3", "x86-64-v2", "x86-64", "generic"];
            levels.into_iter().find(|level| runs(level)).unwrap_or("this processor").to_owned()
        }
    }
}

/// A specialization in words: what a build script would say to have it.
fn describe(kernel: &KernelSignature, spec: &Specialization, target: &str) -> String {
    let mut parts = vec![];
    parts.extend(kernel.type_params.iter().zip(&spec.types).map(|(param, ty)| format!("{} = {ty}", param.name)));
    parts.extend(kernel.const_params.iter().zip(&spec.consts).map(|(param, value)| format!("{} = {value}", param.name)));
    parts.extend(kernel.fn_params.iter().zip(&spec.fns).map(|(param, path)| format!("{} = {path}", param.name)));
    let optional = kernel.params.iter().zip(&spec.present).filter(|(param, _)| param.optional);
    parts.extend(optional.map(|(param, present)| format!("{}{}", if *present { "with " } else { "without " }, param.name)));
    let schedule = &spec.schedule;
    let numbers = [
        ("warps", schedule.warps),
        ("stages", schedule.stages),
        ("group", schedule.group),
        ("split_k", schedule.split_k),
        ("max_regs", schedule.max_regs),
    ];
    parts.extend(numbers.into_iter().filter_map(|(name, value)| Some(format!("{name} = {}", value?))));
    let flags = [
        ("persistent", schedule.persistent),
        ("ping_pong", schedule.ping_pong),
        ("specialize", schedule.specialize),
        ("cooperative", schedule.cooperative),
        ("pdl", schedule.pdl),
    ];
    parts.extend(flags.into_iter().filter(|(_, set)| *set).map(|(name, _)| name.to_owned()));
    if let Some([x, y, z]) = schedule.cluster {
        parts.push(format!("cluster = {x} x {y} x {z}"));
    }
    let mut text = parts.join(", ");
    let _ = write!(text, "{}for {target}", if text.is_empty() { "" } else { ", " });
    text
}
