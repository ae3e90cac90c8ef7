//! Builds one-kernel modules, compiles and runs them.

use std::ffi::c_void;

use kiln_codegen::CodegenError;
use kiln_codegen::host::{HostKernel, HostObject, HostOptions, compile, load};
use kiln_ir::abi::HostContext;
use kiln_ir::*;
use smallvec::SmallVec;

/// A kernel under construction.
pub struct Kernel {
    pub func: Function,
}

/// What a launch reports.
#[derive(Debug, Default)]
pub struct Reports {
    pub asserts: Vec<(u32, i64)>,
    pub prints: Vec<(u32, i64, Vec<*const c_void>)>,
}

extern "C" fn on_assert(user: *mut c_void, number: u32, program: i64) {
    // SAFETY: `run` passes its own `Reports`.
    unsafe { (*user.cast::<Reports>()).asserts.push((number, program)) }
}

extern "C" fn on_print(user: *mut c_void, number: u32, program: i64, operands: *const *const c_void) {
    // SAFETY: as above; tests print exactly one operand.
    unsafe {
        let one = *operands;
        (*user.cast::<Reports>()).prints.push((number, program, vec![one]));
    }
}

/// One launch argument.
pub enum Arg {
    /// Base pointer, extents, strides in elements.
    Tensor(*mut c_void, Vec<i64>, Vec<i64>),
    /// Bits of a scalar or a pointer.
    Bits(u64),
}

/// A contiguous tensor over a slice.
pub fn tensor<T>(data: &mut [T], dims: &[i64]) -> Arg {
    let mut strides = vec![1; dims.len()];
    for i in (0..dims.len().saturating_sub(1)).rev() {
        strides[i] = strides[i + 1] * dims[i + 1];
    }
    Arg::Tensor(data.as_mut_ptr().cast(), dims.to_vec(), strides)
}

impl Kernel {
    pub fn new(name: &str, grid_rank: u8) -> Kernel {
        let mut func = Function::new(name, true);
        func.grid_rank = grid_rank;
        Kernel { func }
    }

    /// A tensor parameter with unit innermost stride.
    pub fn tensor(&mut self, name: &str, elem: ScalarType, rank: usize, mutable: bool) -> Value {
        let mut facts = TensorFacts::unknown(rank, elem.bytes());
        facts.strides[rank - 1] = IntFact::exact(1);
        self.tensor_with(name, elem, facts, mutable)
    }

    pub fn tensor_with(&mut self, name: &str, elem: ScalarType, facts: TensorFacts, mutable: bool) -> Value {
        let ty = Type::view(elem, facts.dims.len() as u8, mutable);
        let number = self.func.params.len() as u32;
        self.func.add_param(ParamInfo { name: name.into(), number, tensor: Some(facts) }, ty)
    }

    pub fn scalar(&mut self, name: &str, elem: impl Into<Elem>) -> Value {
        let number = self.func.params.len() as u32;
        self.func.add_param(ParamInfo { name: name.into(), number, tensor: None }, Type::scalar(elem.into()))
    }

    pub fn body(&mut self) -> Builder<'_> {
        let body = self.func.body;
        Builder::new(&mut self.func, body)
    }

    /// Ends the body and compiles.
    pub fn compile(self) -> Result<(HostObject, HostKernel), CodegenError> {
        self.compile_with(&HostOptions::default())
    }

    pub fn compile_with(mut self, options: &HostOptions) -> Result<(HostObject, HostKernel), CodegenError> {
        self.body().yield_(&[]);
        let mut module = Module::default();
        module.funcs.push(self.func);
        let module = verify::verify(module).unwrap_or_else(|(_, violations)| panic!("{violations:#?}"));
        let object = compile(&module, options)?;
        let kernel = load(&object)?;
        Ok((object, kernel))
    }

    pub fn run(self, grid: &[i64], args: &[Arg]) -> Reports {
        let (_, kernel) = self.compile().unwrap();
        run(&kernel, grid, args)
    }
}

/// Runs every program of a grid.
pub fn run(kernel: &HostKernel, grid: &[i64], args: &[Arg]) -> Reports {
    let mut reports = Reports::default();
    let mut extents = [1; 5];
    extents[..grid.len()].copy_from_slice(grid);
    let context =
        HostContext { grid: extents, num_sms: 2, user: (&raw mut reports).cast(), on_assert, on_print, ..HostContext::default() };
    let mut slots = Vec::new();
    for arg in args {
        match arg {
            Arg::Tensor(base, dims, strides) => {
                slots.push(*base as u64);
                slots.extend(dims.iter().chain(strides).map(|&v| v as u64));
            }
            Arg::Bits(bits) => slots.push(*bits),
        }
    }
    let total: i64 = grid.iter().product();
    // Two calls, so that a range in the middle of the grid is tested too.
    let middle = total / 2;
    // SAFETY: the arguments describe live slices of the test.
    unsafe {
        kernel.call(slots.as_ptr(), &context, 0, middle);
        kernel.call(slots.as_ptr(), &context, middle, total);
    }
    reports
}

/// `start..+len` in every dimension listed.
pub fn spans(view: Value, index: &[(Value, u32)]) -> ViewAccess {
    ViewAccess { view, index: index.iter().map(|&(start, len)| SliceIndex::Span { start, len }).collect(), in_bounds: 0 }
}

/// Any mixture of indexes.
pub fn access(view: Value, index: &[SliceIndex]) -> ViewAccess {
    ViewAccess { view, index: SmallVec::from_slice(index), in_bounds: 0 }
}

/// Numbers in [-2, 2) that differ from lane to lane.
pub fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 40) as f32 / (1u64 << 22) as f32 - 2.0
        })
        .collect()
}

/// Asserts that every element is within `bound` (relative, with an absolute floor of the same size).
#[track_caller]
pub fn close(got: &[f32], want: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len());
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let error = (f64::from(g) - w).abs() / w.abs().max(1.0);
        assert!(error <= bound || (g.is_nan() && w.is_nan()), "element {i}: got {g}, want {w}, error {error:e}");
    }
}
