//! The kernels that the language must express (`tests/conformance/language_cases`): their files, and specializations to compile each kernel for.

use std::path::PathBuf;

use kiln_ir::ScalarType;
use kiln_ir::func::IntFact;
use kiln_ir::signature::{Assumptions, KernelSignature, LaunchOptions, Specialization};

/// The files, by name.
///
/// # Panics
/// When they are not there.
pub fn files() -> Vec<PathBuf> {
    let folder = crate::folder().join("conformance/language_cases");
    let entries = std::fs::read_dir(&folder).expect("the language cases");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "kiln"));
    files.sort();
    assert!(files.len() > 30, "only {} cases", files.len());
    files
}

/// A value for each constant that has no default.
fn options(signature: &KernelSignature, types: &[(&str, ScalarType)]) -> LaunchOptions {
    let mut options = LaunchOptions::default();
    for param in &signature.const_params {
        let value = match (signature.name.as_str(), param.name.as_str()) {
            ("route", "E") => 60,
            ("route", "K") => 6,
            (_, "D") => 80,
            (_, "PAGE") => 16,
            (_, "H") => 8,
            (_, "HK") => 2,
            (_, "TOPK") => 2,
            (_, "K") => 96,
            _ if param.default.is_some() => continue,
            _ => 1000,
        };
        options.consts.push((param.name.clone(), value));
    }
    for (name, ty) in types {
        if signature.type_params.iter().any(|p| p.name == *name && p.class.contains(*ty)) {
            options.types.push(((*name).to_owned(), *ty));
        }
    }
    options
}

/// What a kernel is compiled for in tests: f32, f16 and bf16, with every optional parameter and without any, of tensors that are aligned and of tensors of
/// which nothing is known.
///
/// # Panics
/// When a kernel needs a constant that there is no value for.
pub fn specializations(signature: &KernelSignature) -> Vec<Specialization> {
    let optional: Vec<String> = signature.params.iter().filter(|p| p.optional).map(|p| p.name.clone()).collect();
    let mut presence = vec![optional];
    if !presence[0].is_empty() {
        presence.push(vec![]);
    }
    // Dimensions that defaults of constants need.
    let extent = |dim: &String| match dim.as_str() {
        "H" => 8,
        "HK" => 2,
        _ => 512,
    };
    let dims: Vec<(String, i64)> = signature.dims.iter().map(|dim| (dim.clone(), extent(dim))).collect();
    let mut types = vec![vec![]];
    if !signature.type_params.is_empty() {
        types.push(vec![("T", ScalarType::F16), ("C", ScalarType::F8E4M3)]);
        types.push(vec![("T", ScalarType::BF16)]);
    }
    let mut out = Vec::new();
    for types in &types {
        for present in &presence {
            let assumptions = Assumptions { dims: dims.clone(), present: present.clone() };
            let options = options(signature, types);
            let spec = signature.assume(&assumptions, &options).unwrap_or_else(|e| panic!("{}: {e:?}", signature.name));
            out.push(nothing_known(spec.clone()));
            out.push(spec);
        }
    }
    out
}

/// The same for tensors anywhere, with any strides, of sizes that need 64 bits.
fn nothing_known(mut spec: Specialization) -> Specialization {
    spec.fits_32_bit = false;
    for facts in spec.tensors.iter_mut().flatten() {
        // No element is wider than 8 bytes.
        facts.align = facts.align.min(8);
        for fact in facts.dims.iter_mut().chain(&mut facts.strides) {
            *fact = IntFact::default();
        }
    }
    spec
}
