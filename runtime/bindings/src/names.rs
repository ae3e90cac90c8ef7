//! What the builder's methods are called: names of the kernel first, the schedule's where they are free.

use std::collections::BTreeSet;

use kiln_ir::signature::{KernelSignature, ParamKind, ParamSig, Schedule};

/// Methods that every builder has.
const FIXED: &[&str] = &["launch", "prepare"];

/// Method names of one kernel's builder.
#[derive(Debug)]
pub struct Names {
    /// One a parameter: the method, for those that a launch may leave out.
    pub params: Vec<Option<String>>,
    /// One a constant that a launch may give.
    pub consts: Vec<Option<String>>,
    /// One a function parameter.
    pub fns: Vec<Option<String>>,
    /// One a schedule field, in the order of [`Schedule::FIELDS`].
    pub schedule: Vec<String>,
}

/// Whether every launch has to give the parameter.
pub fn is_required(param: &ParamSig) -> bool {
    !param.optional && !matches!(param.kind, ParamKind::Scalar { default: Some(_), .. })
}

/// The argument of a constant, function or type that every launch has to give: its name in lower case, with what it is in front where a parameter has that name.
pub fn argument(signature: &KernelSignature, name: &str, what: &str) -> String {
    let name = name.to_lowercase();
    if signature.params.iter().any(|p| p.name == name) { format!("{what}_{name}") } else { name }
}

impl Names {
    pub fn of(signature: &KernelSignature) -> Names {
        let mut taken: BTreeSet<String> = FIXED.iter().map(|name| (*name).to_owned()).collect();
        let mut method = |wanted: String, otherwise: &str| {
            let mut name = wanted;
            while !taken.insert(name.clone()) {
                name = if otherwise.is_empty() { format!("{name}_") } else { format!("{otherwise}_{name}") };
            }
            name
        };
        let params = signature.params.iter().map(|p| (!is_required(p)).then(|| method(p.name.clone(), ""))).collect();
        // A constant that tensors determine has its value from them, one without a default is an argument.
        let consts = signature
            .const_params
            .iter()
            .map(|c| (!c.from_dims && c.default.is_some()).then(|| method(c.name.to_lowercase(), "const")))
            .collect();
        let fns = signature.fn_params.iter().map(|f| f.default.is_some().then(|| method(f.name.to_lowercase(), "fn"))).collect();
        let schedule = Schedule::FIELDS.iter().map(|field| method((*field).to_owned(), "schedule")).collect();
        Names { params, consts, fns, schedule }
    }
}
