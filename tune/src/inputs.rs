//! Arguments made from sizes: which shapes the tensors of a launch have when its named dimensions are given.

use std::collections::BTreeMap;

use kiln::{KernelSignature, Number, ScalarType};
use kiln_ir::signature::{DimPattern, ElemRef, Env, ParamKind, TypeRef};
use thiserror::Error;

/// Sizes that are no sizes of the kernel, or do not say enough.
#[derive(Clone, Debug, Error)]
#[error("{0}")]
pub struct SizeError(String);

type Result<T> = std::result::Result<T, SizeError>;

/// Named dimensions of one launch.
pub type Sizes = BTreeMap<String, i64>;

/// A tensor to be made.
#[derive(Clone, Debug, PartialEq)]
pub struct Made {
    /// Elements; None where the launch's types do not say.
    pub elem: Option<ScalarType>,
    /// Extents.
    pub dims: Vec<i64>,
}

/// Reads sizes: sets separated by `;`, each `M=512, N=1024` or a number for every dimension. `256..2048` stands for its powers of two: 256, 512, 1024, 2048.
///
/// # Errors
/// What is not understood, and what the kernel's dimensions are.
pub fn parse_sizes(text: &str, signature: &KernelSignature) -> Result<Vec<Sizes>> {
    let names = dimensions(signature);
    let known = || names.join(", ");
    let mut all = vec![];
    for set in text.split(';').map(str::trim).filter(|set| !set.is_empty()) {
        let mut found = vec![Sizes::new()];
        for part in set.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (targets, value) = match part.split_once('=') {
                Some((name, value)) => {
                    let name = name.trim();
                    if !names.contains(&name) {
                        return Err(SizeError(format!(
                            "kernel `{}` has no dimension `{name}`; it has {}",
                            signature.name,
                            known()
                        )));
                    }
                    (vec![name], value.trim())
                }
                None => (names.clone(), part),
            };
            let values = values(value)?;
            found = values
                .iter()
                .flat_map(|value| {
                    found.iter().map(|sizes| {
                        let mut sizes = sizes.clone();
                        sizes.extend(targets.iter().map(|name| ((*name).to_owned(), *value)));
                        sizes
                    })
                })
                .collect();
        }
        all.extend(found);
    }
    if let Some(sizes) = all.iter().find(|sizes| names.iter().any(|name| !sizes.contains_key(*name))) {
        let missing: Vec<&str> = names.iter().copied().filter(|name| !sizes.contains_key(*name)).collect();
        return Err(SizeError(format!(
            "sizes `{text}`: {} is missing (the kernel's dimensions are {})",
            missing.join(", "),
            known()
        )));
    }
    if all.is_empty() {
        return Err(SizeError(format!("no sizes are given; `{}=1024` is one", names.join("=1024,"))));
    }
    Ok(all)
}

/// The names that sizes give values: dimensions, and constants that are dimensions.
fn dimensions(signature: &KernelSignature) -> Vec<&str> {
    let consts = signature.const_params.iter().filter(|c| c.from_dims).map(|c| c.name.as_str());
    signature.dims.iter().map(String::as_str).chain(consts).collect()
}

fn values(text: &str) -> Result<Vec<i64>> {
    let number = |text: &str| match text.trim().replace('_', "").parse::<i64>() {
        Ok(value @ 1..) => Ok(value),
        _ => {
            Err(SizeError(format!("`{text}` is no size: sizes are numbers from 1, or ranges of powers of two such as 256..2048")))
        }
    };
    let Some((first, last)) = text.split_once("..") else { return Ok(vec![number(text)?]) };
    let (first, last) = (number(first)?, number(last)?);
    Ok(std::iter::successors(Some(first), |v| v.checked_mul(2)).take_while(|v| *v <= last).collect())
}

/// The shapes of the kernel's tensors for some sizes: one entry a parameter, None for those that are no tensors or that may be absent.
///
/// # Errors
/// Where a shape does not follow from the sizes.
pub fn shapes(
    signature: &KernelSignature,
    sizes: &Sizes,
    consts: &[(String, i64)],
    types: &[(String, ScalarType)],
) -> Result<Vec<Option<Made>>> {
    let env = Values { signature, sizes, consts, types };
    let resolve = |ty: TypeRef| match ty {
        TypeRef::Concrete(ty) => Some(ty),
        TypeRef::Param(i) => env.type_param(i),
        TypeRef::AccOf(i) => env.type_param(i).map(ScalarType::acc),
    };
    let shape = |name: &str, dims: &[DimPattern]| {
        dims.iter()
            .map(|dim| match dim {
                DimPattern::Any => Err(SizeError(format!("a dimension of `{name}` has no name: give the argument with --arg"))),
                DimPattern::Expr(expr) => expr.eval_int(&env).map_err(|_| {
                    SizeError(format!("the shape of `{name}` (`{}`) does not follow from the sizes", expr.text(signature)))
                }),
            })
            .collect::<Result<Vec<i64>>>()
    };
    signature
        .params
        .iter()
        .map(|param| match &param.kind {
            _ if param.optional => Ok(None),
            ParamKind::Tensor { elem: ElemRef::Scalar(ty), dims, .. } => {
                Ok(Some(Made { elem: resolve(*ty), dims: shape(&param.name, dims)? }))
            }
            ParamKind::Tensor { .. } | ParamKind::Ptr { .. } => {
                Err(SizeError(format!("`{}` is of pointers, which sizes cannot make", param.name)))
            }
            ParamKind::Scalar { .. } => Ok(None),
        })
        .collect()
}

/// What names of shapes stand for.
struct Values<'a> {
    signature: &'a KernelSignature,
    sizes: &'a Sizes,
    consts: &'a [(String, i64)],
    types: &'a [(String, ScalarType)],
}

impl Values<'_> {
    fn type_param(&self, number: u32) -> Option<ScalarType> {
        let param = self.signature.type_params.get(number as usize)?;
        self.types.iter().find(|(name, _)| *name == param.name).map(|(_, ty)| *ty).or(param.default)
    }
}

impl Env for Values<'_> {
    fn dim(&self, number: u32) -> Option<i64> {
        self.sizes.get(self.signature.dims.get(number as usize)?).copied()
    }
    fn constant(&self, number: u32) -> Option<i64> {
        let param = self.signature.const_params.get(number as usize)?;
        let given = self.consts.iter().find(|(name, _)| *name == param.name).map(|(_, value)| *value);
        given.or_else(|| self.sizes.get(&param.name).copied()).or_else(|| param.default.as_ref()?.eval_int(self).ok())
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
    fn is_some(&self, param: u32) -> bool {
        self.signature.params.get(param as usize).is_some_and(|p| !p.optional)
    }
    fn bits_of(&self, number: u32) -> Option<u32> {
        self.type_param(number).map(ScalarType::bits)
    }
    fn num_sms(&self) -> i64 {
        1
    }
    fn shared_memory(&self) -> i64 {
        0
    }
    fn schedule_field(&self, _: u8) -> Option<i64> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kiln::{Program, ProgramOptions};

    fn signature(head: &str) -> std::sync::Arc<KernelSignature> {
        let source = format!("kernel k{head} grid [1] {{}}");
        let program = Program::from_source_with("k.kiln", &source, ProgramOptions::without_cache()).unwrap();
        program.signatures()[0].clone()
    }

    #[test]
    fn sizes_are_read_or_refused() {
        let k = signature("<T: float>(a: tensor<T, [M, K]>, b: tensor<T, [K, 2 * N]>, c: mut tensor<T::Acc, [M, N]>)");
        let read = |text: &str| parse_sizes(text, &k);
        let found = read("M=2,K=3,N=4; 256..1024; M=1, K=1, N=8..16").unwrap();
        let texts: Vec<String> = found.iter().map(|s| s.values().map(i64::to_string).collect::<Vec<_>>().join(" ")).collect();
        // Names in order: K, M, N.
        assert_eq!(texts, ["3 2 4", "256 256 256", "512 512 512", "1024 1024 1024", "1 1 8", "1 1 16"]);
        for (bad, says) in [("M=2", "K, N is missing"), ("Q=1", "no dimension `Q`"), ("M=0,K=1,N=1", "no size"), ("", "no sizes")]
        {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
        let made = shapes(&k, &found[0], &[], &[("T".to_owned(), ScalarType::F16)]).unwrap();
        let made: Vec<_> = made.into_iter().map(|m| m.map(|m| (m.elem.unwrap(), m.dims)).unwrap()).collect();
        assert_eq!(made, [(ScalarType::F16, vec![2, 3]), (ScalarType::F16, vec![3, 8]), (ScalarType::F32, vec![2, 4])]);
    }

    #[test]
    fn what_sizes_cannot_say_is_refused() {
        let k = signature("(x: tensor<f32, [N, _]>)");
        let sizes = parse_sizes("N=4", &k).unwrap();
        assert!(shapes(&k, &sizes[0], &[], &[]).unwrap_err().to_string().contains("no name"));
    }
}
