//! What `build` and `run` share: which kernel is meant, and what the command line says about its arguments and settings.

use std::path::Path;

use anyhow::{Result, bail};
use kiln_ir::ScalarType;
use kiln_ir::signature::{ElemRef, KernelSignature, LaunchOptions, Number, ParamKind, Schedule, TypeRef};

use crate::data::spec::{ArgSpec, number, scalar_type, split};
use crate::opts::KernelOptions;
use crate::suggest::closest;

/// The kernel that is asked for, or the only one, or the one that is called like the file.
pub fn kernel<'a>(kernels: &[&'a KernelSignature], name: Option<&str>, file: &str) -> Result<&'a KernelSignature> {
    let list = || kernels.iter().map(|k| format!("`{}`", k.name)).collect::<Vec<_>>().join(", ");
    match (name, kernels) {
        (_, []) => bail!("`{file}` has no kernels"),
        (None, [only]) => Ok(only),
        (None, _) if let Some(namesake) = namesake(kernels, file) => Ok(namesake),
        (None, _) => bail!("`{file}` has several kernels: {}; choose one with --kernel", list()),
        (Some(name), _) => match kernels.iter().find(|k| k.name == name) {
            Some(kernel) => Ok(kernel),
            None => {
                let hint = closest(name, kernels.iter().map(|k| k.name.as_str()))
                    .map_or(String::new(), |k| format!("; did you mean `{k}`?"));
                bail!("`{file}` has no kernel `{name}`{hint} (it has {})", list())
            }
        },
    }
}

/// The kernel with the file's name: `softmax` of `softmax.kiln`.
fn namesake<'a>(kernels: &[&'a KernelSignature], file: &str) -> Option<&'a KernelSignature> {
    let stem = Path::new(file).file_stem()?;
    kernels.iter().find(|k| stem == k.name.as_str()).copied()
}

/// Refuses a name that is not among `known`.
pub fn known(what: &str, name: &str, known: &[&str]) -> Result<()> {
    if known.contains(&name) {
        return Ok(());
    }
    let hint = closest(name, known.iter().copied()).map_or(String::new(), |k| format!("; did you mean `{k}`?"));
    let list = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    bail!("the kernel has no {what} `{name}`{hint} (it has: {list})")
}

/// Constants, types, functions and schedule fields.
pub fn launch_options(options: &KernelOptions, sig: &KernelSignature) -> Result<LaunchOptions> {
    let mut launch = LaunchOptions::default();
    let consts: Vec<&str> = sig.const_params.iter().map(|c| c.name.as_str()).collect();
    for text in &options.consts {
        let (name, value) = split(text)?;
        known("constant", name, &consts)?;
        let value = match number(value) {
            Some(Number::Int(v)) => v,
            Some(Number::Bool(v)) => i64::from(v),
            _ => bail!("`{value}` is no value of constant `{name}`: give an integer, true or false"),
        };
        put(&mut launch.consts, "constant", name, value)?;
    }
    let types: Vec<&str> = sig.type_params.iter().map(|t| t.name.as_str()).collect();
    for text in &options.types {
        let (name, value) = split(text)?;
        known("type parameter", name, &types)?;
        put(&mut launch.types, "type", name, scalar_type(value)?)?;
    }
    let fns: Vec<&str> = sig.fn_params.iter().map(|f| f.name.as_str()).collect();
    for text in &options.fns {
        let (name, value) = split(text)?;
        known("function parameter", name, &fns)?;
        put(&mut launch.fns, "function", name, value.to_owned())?;
    }
    for text in &options.schedule {
        let (name, value) = split(text)?;
        known("schedule field", name, Schedule::FIELDS)?;
        let values = value
            .split([',', 'x'])
            .map(|part| match number(part.trim()) {
                Some(Number::Int(v)) => Ok(v),
                Some(Number::Bool(v)) => Ok(i64::from(v)),
                _ => bail!("`{value}` is no value of schedule field `{name}`"),
            })
            .collect::<Result<Vec<i64>>>()?;
        put(&mut launch.schedule, "schedule field", name, values)?;
    }
    Ok(launch)
}

/// The `--dim`s.
pub fn dims(texts: &[String]) -> Result<Vec<(String, i64)>> {
    let dim = |text: &String| {
        let (name, value) = split(text)?;
        match number(value) {
            Some(Number::Int(v @ 0..)) => Ok((name.to_owned(), v)),
            _ => bail!("`{value}` is no extent"),
        }
    };
    texts.iter().map(dim).collect()
}

fn put<V>(list: &mut Vec<(String, V)>, what: &str, name: &str, value: V) -> Result<()> {
    if list.iter().any(|(n, _)| n == name) {
        bail!("{what} `{name}` is given twice");
    }
    list.push((name.to_owned(), value));
    Ok(())
}

/// The `--arg`s by parameter number.
pub fn arguments(options: &KernelOptions, sig: &KernelSignature) -> Result<Vec<Option<ArgSpec>>> {
    let params: Vec<&str> = sig.params.iter().map(|p| p.name.as_str()).collect();
    let mut args = vec![None; params.len()];
    for text in &options.args {
        let (name, value) = split(text)?;
        known("parameter", name, &params)?;
        let spec = ArgSpec::parse(value).map_err(|e| e.context(format!("argument `{name}`")))?;
        let number = params.iter().position(|p| *p == name).unwrap_or_default();
        if args[number].replace(spec).is_some() {
            bail!("argument `{name}` is given twice");
        }
    }
    Ok(args)
}

/// Element types that follow from the parameters, given types, and arguments that have a type of their own.
#[derive(Debug)]
pub struct ElementTypes<'a> {
    sig: &'a KernelSignature,
    types: Vec<Option<ScalarType>>,
}

impl<'a> ElementTypes<'a> {
    /// Begins with the types that the command line names.
    pub fn new(sig: &'a KernelSignature, launch: &LaunchOptions) -> Self {
        let given = |name: &str| launch.types.iter().find(|(n, _)| n == name).map(|(_, ty)| *ty);
        ElementTypes { sig, types: sig.type_params.iter().map(|t| given(&t.name)).collect() }
    }

    /// Learns from an argument that has a type of its own.
    pub fn learn(&mut self, param: usize, ty: ScalarType) {
        if let ParamKind::Tensor { elem: ElemRef::Scalar(TypeRef::Param(i)), .. } = &self.sig.params[param].kind {
            self.types[*i as usize].get_or_insert(ty);
        }
    }

    /// The element type a tensor parameter has to have, as far as that is known.
    pub fn wanted(&self, param: usize) -> Option<ScalarType> {
        let ParamKind::Tensor { elem: ElemRef::Scalar(ty), .. } = &self.sig.params[param].kind else { return None };
        match *ty {
            TypeRef::Concrete(ty) => Some(ty),
            TypeRef::Param(i) => self.types[i as usize].or(self.sig.type_params[i as usize].default),
            TypeRef::AccOf(i) => self.types[i as usize].map(ScalarType::acc),
        }
    }
}

/// Whether a parameter is a tensor that the kernel writes and that has to be there: without an argument it is made.
pub fn is_made(sig: &KernelSignature, param: usize) -> bool {
    let param = &sig.params[param];
    !param.optional && matches!(param.kind, ParamKind::Tensor { mutable: true, elem: ElemRef::Scalar(_), .. })
}
