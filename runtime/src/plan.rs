//! What a launch is known by, and the plan that is kept for it.

use std::sync::Arc;

use kiln_ir::signature::{Bound, KernelSignature, Number, ParamKind, TypeRef, facts};
use kiln_ir::{Elem, ScalarType};
use smallvec::SmallVec;

use crate::args::Arg;
use crate::compiled::CompiledKernel;
use crate::cuda::module::CudaKernel;
use crate::error::{Error, TensorError};
use crate::report::Report;
use crate::storage::Storage;
use crate::tuned::Choice;

/// Everything about a launch that decides what is compiled and how far the grid reaches, as words. Two launches with equal keys have the same plan.
pub(crate) struct LaunchKey(SmallVec<[u64; 80]>);

impl LaunchKey {
    /// The key of some arguments. `deciding`: scalars whose value counts; of the others only whether they fit in 32 bits does.
    /// `target`: which code the device runs, 0 for the CPU's own.
    pub fn of(args: &[Arg<'_>], deciding: u128, num_sms: i64, target: u32) -> LaunchKey {
        let mut words = SmallVec::new();
        words.push(num_sms as u64 ^ u64::from(target) << 40);
        for (i, arg) in args.iter().enumerate() {
            match arg {
                Arg::Tensor(tensor, writable) => {
                    let (elem, bytes) = (elem_code(tensor.elem()), tensor.elem().bytes());
                    let align = facts::align_class(tensor.address(), bytes);
                    // An address its elements cannot have is told apart from every one they can.
                    let aligned = tensor.address().is_multiple_of(u64::from(bytes));
                    let rank = tensor.rank() as u64;
                    words.push(
                        1 | u64::from(*writable) << 8
                            | u64::from(aligned) << 9
                            | u64::from(align) << 16
                            | elem << 32
                            | rank << 48,
                    );
                    words.extend(tensor.dims().iter().chain(tensor.strides()).map(|v| *v as u64));
                }
                Arg::Infer => words.push(2),
                Arg::Pointer { pointee, .. } => words.push(3 | elem_code((*pointee).into()) << 32),
                Arg::Number(number, ty) => {
                    let decides = deciding >> i.min(127) & 1 == 1;
                    let small = match number {
                        Number::Int(v) => i32::try_from(*v).is_ok(),
                        Number::UInt(v) => i32::try_from(*v).is_ok(),
                        Number::Float(_) | Number::Bool(_) => true,
                    };
                    let (kind, bits) = match *number {
                        Number::Int(v) => (0u64, v as u64),
                        Number::UInt(v) => (1, v),
                        Number::Float(v) => (2, v.to_bits()),
                        Number::Bool(v) => (3, u64::from(v)),
                    };
                    let ty = ty.map_or(0xff, |t| elem_code(t.into()));
                    words.push(4 | kind << 8 | u64::from(small) << 16 | u64::from(decides) << 17 | ty << 32);
                    if decides {
                        words.push(bits);
                    }
                }
                Arg::Absent => words.push(5),
            }
        }
        LaunchKey(words)
    }

    pub fn words(&self) -> &[u64] {
        &self.0
    }
}

fn elem_code(elem: Elem) -> u64 {
    match elem {
        Elem::Scalar(ty) => ty as u64,
        Elem::Ptr { pointee, mutable } => 0x20 | (pointee as u64) | u64::from(mutable) << 6,
    }
}

/// How a parameter fills its argument slots.
#[derive(Clone, Copy, Debug)]
enum Fill {
    /// Absent: no slot.
    Nothing,
    Tensor,
    Pointer,
    /// A scalar of a type, with the bits it has where the launch gives none.
    Scalar(ScalarType, u64),
}

/// A bound and compiled launch, without its addresses and numbers.
#[derive(Debug)]
pub(crate) struct Plan {
    pub compiled: Arc<CompiledKernel>,
    /// The code as the GPU has it, where that is the device.
    pub cuda: Option<Arc<CudaKernel>>,
    pub grid: [i64; 5],
    pub programs: i64,
    pub dims: Vec<Option<i64>>,
    pub consts: Vec<i64>,
    fills: Vec<Fill>,
    /// Tensor parameters that the kernel writes.
    pub written: Vec<bool>,
    /// Pointer parameters that the kernel may write through.
    pub pointer_is_mut: Vec<bool>,
    /// Pairs of tensors that must not overlap.
    apart: Vec<(u16, u16)>,
    /// What the launch that made this plan gave reason to warn of.
    pub warnings: Option<Report>,
    /// The configuration that was taken from a sweep's results.
    pub tuned: Option<Choice>,
}

impl Plan {
    pub fn new(signature: &KernelSignature, bound: Bound, compiled: Arc<CompiledKernel>) -> Result<Plan, Error> {
        let mut programs = 1i64;
        for extent in bound.grid {
            programs =
                programs.checked_mul(extent).ok_or_else(|| Error::Internal("a grid that was bound overflows".to_owned()))?;
        }
        let resolve = |ty: TypeRef| ty.resolve(&bound.spec.types);
        let fills = signature
            .params
            .iter()
            .enumerate()
            .map(|(i, param)| match &param.kind {
                _ if !bound.spec.present[i] => Fill::Nothing,
                ParamKind::Tensor { .. } => Fill::Tensor,
                ParamKind::Ptr { .. } => Fill::Pointer,
                ParamKind::Scalar { ty, .. } => Fill::Scalar(resolve(*ty), bound.scalars[i]),
            })
            .collect();
        let tensor = |i: usize| match &signature.params[i].kind {
            ParamKind::Tensor { mutable, may_alias, .. } if bound.spec.present[i] => Some((*mutable, *may_alias)),
            _ => None,
        };
        let count = signature.params.len();
        let mut apart = vec![];
        for (i, j) in (0..count).flat_map(|i| (i + 1..count).map(move |j| (i, j))) {
            if let (Some((i_mut, i_alias)), Some((j_mut, j_alias))) = (tensor(i), tensor(j))
                && (i_mut || j_mut)
                && !(i_alias && j_alias)
            {
                apart.push((i as u16, j as u16));
            }
        }
        let pointer_is_mut = signature.params.iter().map(|p| matches!(p.kind, ParamKind::Ptr { mutable: true, .. })).collect();
        let written = (0..count).map(|i| tensor(i).is_some_and(|(mutable, _)| mutable)).collect();
        Ok(Plan {
            compiled,
            cuda: None,
            grid: bound.grid,
            programs,
            dims: bound.dims,
            consts: bound.spec.consts,
            fills,
            written,
            pointer_is_mut,
            apart,
            warnings: None,
            tuned: None,
        })
    }

    /// Whether tensors that must be apart are, for the addresses of this launch.
    pub fn check_overlap(&self, args: &[Arg<'_>]) -> Result<(), (usize, usize)> {
        for &(i, j) in &self.apart {
            let (i, j) = (usize::from(i), usize::from(j));
            if let (Arg::Tensor(a, _), Arg::Tensor(b, _)) = (&args[i], &args[j])
                && facts::overlapping(&args[i].desc(), &args[j].desc())
                && !(a.is_empty() || b.is_empty())
            {
                return Err((i, j));
            }
        }
        Ok(())
    }

    /// The argument slots (`kiln_ir::abi`), with addresses as the device has them.
    ///
    /// # Errors
    /// The parameter whose number does not fit its type.
    #[inline]
    pub fn slots(&self, args: &[Arg<'_>], address_of: impl Fn(u64) -> u64) -> Result<SmallVec<[u64; 80]>, usize> {
        let mut slots = SmallVec::new();
        for (i, (fill, arg)) in self.fills.iter().zip(args).enumerate() {
            match (fill, arg) {
                (Fill::Nothing, _) => {}
                (Fill::Tensor, Arg::Tensor(tensor, _)) => {
                    slots.push(address_of(tensor.address()));
                    slots.extend(tensor.dims().iter().chain(tensor.strides()).map(|v| *v as u64));
                }
                (Fill::Pointer, Arg::Pointer { address, .. }) => slots.push(address_of(*address)),
                (Fill::Scalar(ty, _), Arg::Number(number, _)) => slots.push(number.to_type(*ty).ok_or(i)?.0),
                (Fill::Scalar(_, default), _) => slots.push(*default),
                // The key tells the kinds of arguments apart, so a plan never meets another kind.
                (Fill::Tensor | Fill::Pointer, _) => return Err(i),
            }
        }
        Ok(slots)
    }
}

/// Holds the memory of a launch's tensors while it runs.
pub(crate) struct Holds<'a>(SmallVec<[(&'a Storage, bool); 12]>);

impl<'a> Holds<'a> {
    /// Takes each storage once: for writing where the kernel writes any tensor in it.
    pub fn take(args: &[Arg<'a>], plan: &Plan) -> Result<Holds<'a>, TensorError> {
        let mut wanted: SmallVec<[(&'a Storage, bool); 12]> = SmallVec::new();
        for (arg, written) in args.iter().zip(&plan.written) {
            let Arg::Tensor(tensor, _) = arg else { continue };
            let storage: &'a Storage = tensor.storage();
            match wanted.iter_mut().find(|(s, _)| std::ptr::eq(*s, storage)) {
                Some((_, write)) => *write |= written,
                None => wanted.push((storage, *written)),
            }
        }
        let mut holds = Holds(SmallVec::new());
        for (storage, write) in wanted {
            if !(if write { storage.try_write() } else { storage.try_read() }) {
                // Dropping `holds` gives back those taken so far.
                return Err(TensorError::Busy);
            }
            holds.0.push((storage, write));
        }
        Ok(holds)
    }
}

impl Drop for Holds<'_> {
    fn drop(&mut self) {
        for (storage, write) in &self.0 {
            if *write { storage.release_write() } else { storage.release_read() }
        }
    }
}
