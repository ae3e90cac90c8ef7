//! The public entry: programs that are loaded, checked and instantiated.

use std::sync::Arc;

use kiln_ir::signature::{KernelSignature, Specialization};
use kiln_ir::{Function, Module as IrModule, SourceFile};
use kiln_syntax::ast::{Item, Param};
use kiln_syntax::codes;
use kiln_syntax::diagnostic::{Diagnostic, Diagnostics};
use kiln_syntax::source::SourceMap;
use kiln_syntax::span::FileId;

use crate::elab::sink::Sink;
use crate::elab::{Elab, Given};
use crate::names::{ItemId, ModuleId, ModuleLoader, Modules, load_modules};
use crate::signature;

/// Parsed and resolved files: the root and everything it uses. The standard library is built in.
#[derive(Debug)]
pub struct Program {
    modules: Modules,
    kernels: Vec<(ItemId, KernelSignature)>,
    /// Mistakes in the heads of kernels; part of what `check` reports.
    head_diagnostics: Diagnostics,
    /// Mistakes in syntax or imports: later stages have nothing to stand on.
    broken: bool,
    files: Vec<SourceFile>,
}

impl Program {
    /// Parses the root file and everything it uses, and works out the kernels' signatures.
    ///
    /// The diagnostics are those of syntax and imports. With errors among them, `check` finds nothing and no kernel can be instantiated.
    pub fn load(sources: &mut SourceMap, root: FileId, loader: &dyn ModuleLoader) -> (Program, Diagnostics) {
        let (modules, diagnostics) = load_modules(sources, root, loader);
        let broken = diagnostics.has_errors();
        let mut kernels = Vec::new();
        let mut head_diagnostics = Diagnostics::new();
        if !broken {
            for (module, data) in modules.list.iter().enumerate().filter(|(_, m)| !m.is_std) {
                for (index, item) in data.ast.items.iter().enumerate() {
                    let Item::Kernel(kernel) = item else { continue };
                    let id = ItemId { module: ModuleId(module as u32), index: index as u32 };
                    let (built, diagnostics) = signature::build(&modules, id, kernel);
                    head_diagnostics.extend(diagnostics);
                    kernels.extend(built.map(|s| (id, s)));
                }
            }
        }
        let files = sources.files().map(|(_, f)| SourceFile::new(f.name(), f.text())).collect();
        (Program { modules, kernels, head_diagnostics, broken, files }, diagnostics)
    }

    /// Checks every item, used or not, for every type and constant its parameters may stand for. Imported files are checked too.
    pub fn check(&self) -> Diagnostics {
        let mut out = Diagnostics::new();
        if self.broken {
            return out;
        }
        out.extend(self.head_diagnostics.clone());
        let mut used = std::collections::BTreeSet::new();
        for (module, data) in self.modules.list.iter().enumerate().filter(|(_, m)| !m.is_std) {
            for (index, _) in data.ast.items.iter().enumerate() {
                let id = ItemId { module: ModuleId(module as u32), index: index as u32 };
                out.extend(self.check_item(id, &mut used));
            }
        }
        for (module, data) in self.modules.list.iter().enumerate().filter(|(_, m)| !m.is_std) {
            for import in &data.imports {
                if !out.has_errors()
                    && !used.contains(&(ModuleId(module as u32), import.name.clone()))
                    && !self.named_in_head(data, &import.name)
                {
                    out.push(
                        Diagnostic::warning(codes::UNUSED_IMPORT, format!("`{}` is imported and not used", import.name))
                            .primary(import.span, "imported here"),
                    );
                }
            }
        }
        out.finish();
        out
    }

    /// Checks the standard library, for its own tests.
    #[doc(hidden)]
    pub fn check_std(&self) -> Diagnostics {
        let mut out = Diagnostics::new();
        let mut used = std::collections::BTreeSet::new();
        for (module, data) in self.modules.list.iter().enumerate().filter(|(_, m)| m.is_std) {
            for index in 0..data.ast.items.len() {
                out.extend(self.check_item(ItemId { module: ModuleId(module as u32), index: index as u32 }, &mut used));
            }
        }
        out.finish();
        out
    }

    /// Heads of kernels (grids, defaults) are not elaborated; a mention there is a use.
    fn named_in_head(&self, module: &crate::names::Module, name: &str) -> bool {
        module.ast.items.iter().any(|item| match item {
            Item::Kernel(k) => {
                let span = k.name.span.merge(k.grid_span);
                let head = module.text.get(span.lo as usize..k.body.span.lo as usize).unwrap_or(name);
                head.contains(name)
            }
            _ => false,
        })
    }

    fn check_item(&self, id: ItemId, used: &mut std::collections::BTreeSet<(ModuleId, Arc<str>)>) -> Diagnostics {
        let item = self.modules.item(id);
        let params: &[Param] = match item {
            Item::Kernel(k) => &k.params,
            Item::Fn(f) => &f.params,
            _ => &[],
        };
        // A use without a question shows where that parameter alone is absent; a use in the wrong branch where all are.
        let mut runs = vec![Given::All];
        runs.extend(params.iter().enumerate().filter(|(_, p)| p.ty.optional.is_some()).map(|(at, _)| Given::AllBut(at)));
        if runs.len() > 2 {
            runs.push(Given::Nothing);
        }
        let mut out = Diagnostics::new();
        for given in runs {
            let mut elab = Elab::new(&self.modules, Sink::off(), true);
            elab.given = given;
            match item {
                Item::Kernel(kernel) => elab.check_kernel(id, kernel),
                Item::Fn(function) => {
                    if !crate::elab::recursion::check(&mut elab, id, function) {
                        elab.check_fn(id, function);
                    }
                }
                Item::Const(_) => {
                    let _ = elab.const_item(id);
                }
                Item::Use(_) | Item::Error(_) => {}
            }
            if let (Item::Fn(_) | Item::Const(_), Some(attr)) = (item, item.outer().and_then(|o| o.attrs.first())) {
                elab.report(
                    Diagnostic::error(codes::UNKNOWN_ATTRIBUTE, format!("`#[{}]` does not belong here", attr.path))
                        .primary(attr.span, "only kernels and loops take attributes"),
                );
            }
            used.append(&mut elab.used_imports);
            out.extend(elab.diagnostics);
            if out.has_errors() {
                break;
            }
        }
        if out.has_errors() {
            // What is unused may be used once the mistakes are gone.
            let unused = [codes::UNUSED_VARIABLE, codes::UNUSED_MUT];
            out = out.into_iter().filter(|d| !unused.contains(&d.code)).collect();
        }
        out
    }

    /// The kernels of the root file and of the files it uses, in order, without those whose head is wrong.
    pub fn kernels(&self) -> impl Iterator<Item = &KernelSignature> {
        self.kernels.iter().map(|(_, s)| s)
    }

    /// The kernel called `name`; the root file's where several files have one.
    pub fn kernel(&self, name: &str) -> Option<&KernelSignature> {
        self.find(name).map(|(_, s)| s)
    }

    fn find(&self, name: &str) -> Option<&(ItemId, KernelSignature)> {
        self.kernels.iter().find(|(_, s)| s.name == name)
    }

    /// The Tile IR of a kernel for one specialization, with warnings.
    ///
    /// # Errors
    /// What is wrong with the kernel for these types, constants and functions. A specialization that does not fit the signature gives
    /// an error too.
    pub fn instantiate(&self, kernel: &str, spec: &Specialization) -> Result<(IrModule, Diagnostics), Diagnostics> {
        let fail = |message: String| {
            let mut out = Diagnostics::new();
            out.push(Diagnostic::error(codes::BAD_SPECIALIZATION, message));
            Err(out)
        };
        let Some((id, signature)) = self.find(kernel) else {
            return fail(format!("there is no kernel `{kernel}` that could be compiled"));
        };
        let Item::Kernel(ast) = self.modules.item(*id) else {
            return fail(format!("`{kernel}` is not a kernel"));
        };
        if let Some(message) = mismatch(signature, spec) {
            return fail(message);
        }
        let classes = signature.type_params.iter().zip(&spec.types);
        if let Some((param, found)) = classes.into_iter().find(|(p, t)| !p.class.contains(**t)) {
            return fail(format!("`{}: {}` of `{kernel}` cannot be `{found}`", param.name, param.class.name()));
        }
        let mut elab = Elab::new(&self.modules, Sink::live(Function::new(kernel, true)), false);
        let result = elab.instantiate(*id, ast, spec);
        let mut diagnostics = std::mem::take(&mut elab.diagnostics);
        diagnostics.finish();
        if result.is_err() || elab.sink.is_broken() {
            if !diagnostics.has_errors() {
                diagnostics.push(
                    Diagnostic::error(codes::INTERNAL, format!("the compiler failed to translate `{kernel}`"))
                        .primary(ast.name.span, "this is a bug of Kiln, please report it"),
                );
            }
            return Err(diagnostics);
        }
        let mut module = IrModule { files: self.files.clone(), ..IrModule::default() };
        module.funcs.push(elab.sink.finish());
        Ok((module, diagnostics))
    }
}

/// What does not fit between a signature and a specialization.
fn mismatch(signature: &KernelSignature, spec: &Specialization) -> Option<String> {
    let counts = [
        ("type arguments", signature.type_params.len(), spec.types.len()),
        ("constants", signature.const_params.len(), spec.consts.len()),
        ("functions", signature.fn_params.len(), spec.fns.len()),
        ("parameters", signature.params.len(), spec.present.len()),
        ("tensor facts", signature.params.len(), spec.tensors.len()),
    ];
    let count = counts.into_iter().find(|(_, want, have)| want != have);
    if let Some((what, want, have)) = count {
        return Some(format!("`{}` takes {want} {what}, the specialization has {have}", signature.name));
    }
    let absent = signature.params.iter().zip(&spec.present).find(|(p, present)| !p.optional && !**present);
    absent.map(|(p, _)| format!("`{}` of `{}` is not optional", p.name, signature.name))
}
