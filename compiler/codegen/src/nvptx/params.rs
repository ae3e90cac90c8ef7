//! The parameters of a PTX kernel and the way program ids come from the launch grid.
//!
//! Parameters stand in the order of the function's: a tensor is its base pointer, its dims, its strides (elements), 64 bits
//! each, as in the host ABI (`kiln_ir::abi`); a pointer is 64 bits; a scalar has its own width. Hidden parameters follow.

use kiln_ir::artifact::{GridMapping, PtxParam, TensorMap};
use kiln_ir::{Elem, Function, InstData, ScalarType, TypeData};
use kiln_passes::gpu::{shared_boxes, store_map, tensor_boxes};

use super::roles::tensor_map;
use super::text::{Ty, Val};

/// The parameters of a kernel and their LLVM types.
pub(super) struct Params {
    pub(super) list: Vec<PtxParam>,
    pub(super) types: Vec<Ty>,
    pub(super) grid: GridMapping,
}

/// Which hidden parameters a kernel has.
#[derive(Clone, Default, Debug)]
pub(super) struct Uses {
    num_sms: bool,
    prints: bool,
    grid_sync: bool,
    producer: bool,
    groups: bool,
    ordered: bool,
    persistent: bool,
    maps: Vec<TensorMap>,
}

impl Uses {
    pub(super) fn of(func: &Function) -> Uses {
        let mut uses = Uses::default();
        func.walk(|_, inst| match func.insts[inst] {
            InstData::NumSms => uses.num_sms = true,
            InstData::BlockId => uses.ordered = true,
            InstData::NumBlocks => uses.persistent = true,
            InstData::Print { .. } => uses.prints = true,
            InstData::GridSync => uses.grid_sync = true,
            InstData::IsProducer => uses.producer = true,
            InstData::ConsumerGroup => uses.groups = true,
            InstData::TmaFill { ref place, ring, share, tf32, .. } => {
                let ty = func.ty(ring);
                let boxes = if share.is_some() { shared_boxes(func, place, ty) } else { tensor_boxes(func, place, ty) };
                if let (Some(boxes), Some(elem)) = (boxes, ty.scalar_elem()) {
                    uses.add_map(TensorMap { tf32, ..tensor_map(&boxes, elem) });
                }
            }
            InstData::TmaStore { ref place, value, .. } => {
                let ty = func.ty(value);
                if let (Some(boxes), Some(elem)) = (store_map(func, place, ty), ty.elem().scalar()) {
                    uses.add_map(tensor_map(&boxes, elem));
                }
            }
            _ => {}
        });
        uses
    }

    fn add_map(&mut self, map: TensorMap) {
        if !self.maps.contains(&map) {
            self.maps.push(map);
        }
    }

    /// Groups of warps that each run programs.
    pub(super) fn groups(&self) -> u32 {
        1 + u32::from(self.groups)
    }

    /// Warps behind those that hold tiles.
    pub(super) fn producers(&self) -> u32 {
        u32::from(self.producer)
    }
}

impl Params {
    pub(super) fn of(func: &Function, uses: Uses) -> Params {
        let grid = match uses {
            Uses { persistent: true, .. } => GridMapping::Persistent { pairs: func.schedule.pairs() },
            Uses { ordered: true, .. } => GridMapping::Ordered {
                group: func.schedule.grouped(func.grid_rank),
                pairs: func.schedule.pairs(),
                split: func.schedule.split(),
            },
            _ if func.grid_rank <= 3 => GridMapping::Direct,
            _ => GridMapping::Linear,
        };
        let mut params = Params { list: Vec::new(), types: Vec::new(), grid };
        for (number, &value) in func.param_values().iter().enumerate() {
            let param = number as u32;
            match func.ty(value).data() {
                TypeData::View { rank, .. } => {
                    params.push(PtxParam::Base(param), Ty::Global);
                    for axis in 0..*rank {
                        params.push(PtxParam::Dim { param, axis }, Ty::I64);
                    }
                    for axis in 0..*rank {
                        params.push(PtxParam::Stride { param, axis }, Ty::I64);
                    }
                }
                TypeData::Tile { elem, .. } => {
                    let ty = memory_type(*elem);
                    params.push(PtxParam::Value { param, bytes: elem.bytes() }, ty);
                }
            }
        }
        if grid != GridMapping::Direct {
            for axis in 0..func.grid_rank {
                params.push(PtxParam::GridExtent(axis), Ty::I64);
            }
        }
        if uses.num_sms {
            params.push(PtxParam::NumSms, Ty::I64);
        }
        if uses.prints {
            params.push(PtxParam::PrintBuffer, Ty::Global);
        }
        if uses.grid_sync {
            params.push(PtxParam::GridCounter, Ty::Global);
        }
        for map in uses.maps {
            params.push(PtxParam::TensorMap(map), Ty::Generic);
        }
        params
    }

    fn push(&mut self, param: PtxParam, ty: Ty) {
        self.list.push(param);
        self.types.push(ty);
    }

    /// The value of a parameter in the function.
    pub(super) fn value(&self, param: PtxParam) -> Val {
        let number = self.list.iter().position(|&p| p == param).expect("the parameter is one of the kernel's");
        Val::arg(self.types[number], number as u32)
    }

    /// The parameter list of the LLVM function.
    pub(super) fn signature(&self, func: &Function) -> String {
        let one = |(number, (&param, ty)): (usize, (&PtxParam, &Ty))| {
            if let PtxParam::TensorMap(_) = param {
                // Without the last attribute every thread would copy it to its stack.
                return format!("ptr byval([128 x i8]) align 64 \"nvvm.grid_constant\" %a{number}");
            }
            let attributes = match param {
                PtxParam::Base(p) => {
                    let align = func.params[p as usize].tensor.as_ref().map_or(1, |t| t.align.max(1));
                    format!(" align {align}")
                }
                _ => String::new(),
            };
            format!("{} noundef{attributes} %a{number}", ty.llvm())
        };
        self.list.iter().zip(&self.types).enumerate().map(one).collect::<Vec<_>>().join(", ")
    }
}

/// The LLVM type of an element in memory: bools and f8 are bytes, `index` 64 bits.
pub(super) fn memory_type(elem: Elem) -> Ty {
    use ScalarType::*;
    match elem {
        Elem::Ptr { .. } => Ty::Global,
        Elem::Scalar(Bool | I8 | U8 | F8E4M3 | F8E5M2) => Ty::I8,
        Elem::Scalar(I16 | U16) => Ty::I16,
        Elem::Scalar(I32 | U32) => Ty::I32,
        Elem::Scalar(I64 | U64 | Index) => Ty::I64,
        Elem::Scalar(F16) => Ty::F16,
        Elem::Scalar(BF16) => Ty::BF16,
        Elem::Scalar(F32) => Ty::F32,
        Elem::Scalar(F64) => Ty::F64,
    }
}
