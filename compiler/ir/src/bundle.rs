//! Bundles: kernels compiled ahead of time, as data. A program that carries one launches its kernels without a compiler.
//!
//! A launch asks for a specialization; an entry *serves* it where everything the entry was compiled to rely on holds for the launch. Entries stand from the most
//! special to the most general, and the first that serves is taken.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::artifact::{HostObject, PtxArtifact};
use crate::func::{IntFact, TensorFacts};
use crate::signature::{ElemRef, KernelSignature, ParamKind, Specialization};

/// What an encoded bundle begins with; the last character counts the format's versions.
pub const MAGIC: &[u8; 8] = b"kilnbnd2";

/// Kernels compiled ahead of time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bundle {
    /// What messages call the file the kernels are from.
    pub name: String,
    /// The kernels.
    pub signatures: Vec<KernelSignature>,
    /// Compiled code, from the most special to the most general of each kernel and target.
    pub entries: Vec<Entry>,
}

/// One kernel compiled for one specialization and one target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Number of the kernel's signature.
    pub kernel: u32,
    /// What it is compiled for.
    pub spec: Specialization,
    /// The code.
    pub code: Code,
}

/// The code of an entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Code {
    /// Machine code of a processor, which the program is linked with.
    Host {
        /// Its tables. The machine code itself is empty: it is in the program.
        object: HostObject,
        /// Number of its entry point among those that the program hands over.
        number: u32,
    },
    /// PTX for a GPU, which the driver compiles.
    Gpu(PtxArtifact),
}

impl Code {
    /// `x86-64-v3`, `sm_90a`.
    pub fn target(&self) -> String {
        match self {
            Code::Host { object, .. } => object.cpu.clone(),
            Code::Gpu(artifact) => artifact.target.name(),
        }
    }
}

/// How much a specialization that is compiled ahead of time relies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reliance {
    /// Dense tensors of any extents, within 32 bits.
    Dense,
    /// Nothing: any strides, any sizes.
    Nothing,
}

impl KernelSignature {
    /// A specialization that relies on less than `spec`, for the same types, constants and functions.
    pub fn relaxed(&self, spec: &Specialization, reliance: Reliance) -> Specialization {
        let tensors = self.params.iter().zip(&spec.tensors).map(|(param, facts)| {
            let (facts, ParamKind::Tensor { elem, .. }) = (facts.as_ref()?, &param.kind) else { return None };
            let bytes = match elem {
                ElemRef::Scalar(ty) => ty.resolve(&spec.types).bytes(),
                ElemRef::Ptr { .. } => 8,
            };
            let exact = |fact: &IntFact| if fact.known.is_some() { *fact } else { IntFact::default() };
            let strides: SmallVec<[IntFact; 5]> = match reliance {
                Reliance::Dense => facts.strides.iter().map(exact).collect(),
                Reliance::Nothing => facts.strides.iter().map(|_| IntFact::default()).collect(),
            };
            // Extents that are constants of the specialization stay known.
            Some(TensorFacts { align: bytes, dims: facts.dims.iter().map(exact).collect(), strides, may_alias: facts.may_alias })
        });
        let fits_32_bit = spec.fits_32_bit && reliance == Reliance::Dense;
        Specialization { tensors: tensors.collect(), fits_32_bit, ..spec.clone() }
    }
}

impl Specialization {
    /// Whether code compiled for this specialization computes what code compiled for `launch` does: same types, constants and functions, and no fact that the
    /// launch does not have. `schedules_count`: the schedule has to be the same, too.
    pub fn serves(&self, launch: &Specialization, schedules_count: bool) -> bool {
        let same = self.types == launch.types
            && self.consts == launch.consts
            && self.fns == launch.fns
            && self.present == launch.present
            && (!schedules_count || self.schedule == launch.schedule)
            && self.tensors.len() == launch.tensors.len();
        let tensors = || {
            self.tensors.iter().zip(&launch.tensors).all(|(relied, given)| match (relied, given) {
                (None, _) => true,
                (Some(relied), Some(given)) => holds(relied, given),
                (Some(_), None) => false,
            })
        };
        same && (!self.fits_32_bit || launch.fits_32_bit) && tensors()
    }
}

/// Whether everything relied on is given.
fn holds(relied: &TensorFacts, given: &TensorFacts) -> bool {
    let number = |(relied, given): (&IntFact, &IntFact)| {
        (relied.known.is_none() || relied.known == given.known)
            && given.is_multiple_of(relied.divisor)
            && relied.max.is_none_or(|max| given.max.is_some_and(|m| m <= max))
    };
    given.align.is_multiple_of(relied.align)
        && relied.dims.len() == given.dims.len()
        && relied.strides.len() == given.strides.len()
        && relied.dims.iter().zip(&given.dims).all(number)
        && relied.strides.iter().zip(&given.strides).all(number)
        && (relied.may_alias || !given.may_alias)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::Schedule;
    use crate::types::ScalarType;

    fn facts(align: u32, divisor: u32, stride: Option<i64>) -> TensorFacts {
        let fact = IntFact { known: None, divisor, max: None };
        let stride = stride.map_or(fact, IntFact::exact);
        TensorFacts {
            align,
            dims: [fact, fact].into_iter().collect(),
            strides: [fact, stride].into_iter().collect(),
            may_alias: false,
        }
    }

    fn spec(tensor: TensorFacts) -> Specialization {
        Specialization {
            types: vec![ScalarType::F32],
            consts: vec![64],
            fns: vec![],
            present: vec![true],
            tensors: vec![Some(tensor)],
            fits_32_bit: true,
            schedule: Schedule::default(),
        }
    }

    #[test]
    fn less_reliance_serves_more() {
        let special = spec(facts(16, 16, Some(1)));
        let dense = spec(facts(4, 1, Some(1)));
        let any = Specialization { fits_32_bit: false, ..spec(facts(4, 1, None)) };
        for (general, served) in [(&dense, &special), (&any, &special), (&any, &dense), (&special, &special)] {
            assert!(general.serves(served, true));
        }
        assert!(!special.serves(&dense, true) && !dense.serves(&any, true));
        // An odd launch: aligned, but extents that 16 does not divide.
        assert!(!special.serves(&spec(facts(16, 4, Some(1))), true));
        // Another stride than 1, and a tensor that repeats.
        assert!(!dense.serves(&spec(facts(16, 16, Some(0))), true) && any.serves(&spec(facts(16, 16, Some(0))), true));
    }

    #[test]
    fn what_is_computed_has_to_be_the_same() {
        let entry = spec(facts(4, 1, None));
        let with = |change: fn(&mut Specialization)| {
            let mut launch = entry.clone();
            change(&mut launch);
            launch
        };
        assert!(!entry.serves(&with(|s| s.types = vec![ScalarType::F64]), true));
        assert!(!entry.serves(&with(|s| s.consts = vec![32]), true));
        assert!(!entry.serves(&with(|s| s.present = vec![false]), true));
        assert!(!entry.serves(&with(|s| s.tensors = vec![None]), true));
        assert!(!entry.serves(&with(|s| s.fits_32_bit = false), true));
        let warps = with(|s| s.schedule.warps = Some(8));
        assert!(!entry.serves(&warps, true) && entry.serves(&warps, false));
        let alias = with(|s| s.tensors[0].as_mut().unwrap().may_alias = true);
        assert!(!entry.serves(&alias, true) && alias.serves(&entry, true));
    }
}
