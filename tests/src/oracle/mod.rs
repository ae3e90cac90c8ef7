//! A reference evaluator of the Tile IR: each instruction as its documentation says, one lane at a time, programs one after the other.
//!
//! It shares nothing with the passes and the code generators, so it can judge both: passes must not change what it computes, and generated
//! code must agree with it. Integers are exact, floats are computed in their own precision and rounded once; `dot` and the builtin float sums
//! accumulate in f64 and round at the end; the hardware approximations are the correctly rounded functions.
//!
//! ```
//! use kiln_tests::oracle::{Arg, Launch, Memory};
//! let text = "kernel @0 k(v0.x: mut tensor<f32, 1> {number 0}) grid 1 index 64 {
//!     v1: index = program_id 0  v2: f32 = load v0[v1]  v3: f32 = add v2, v2  store v0[v1], v3  yield }";
//! let module = kiln_ir::text::parse_module(text).unwrap();
//! let mut memory = Memory::default();
//! let x = memory.tensor(kiln_ir::ScalarType::F32, &[3], &[1.0, 2.0, 3.0]);
//! Launch { grid: vec![3], args: vec![x.clone()], num_sms: 4 }.run(&module, &mut memory).unwrap();
//! assert_eq!(memory.floats(&x), [2.0, 4.0, 6.0]);
//! ```

mod access;
mod across;
mod eval;
mod lanes;
mod shapes;

use kiln_ir::{Elem, Module, ScalarType};

/// One lane, or one element of memory.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Lane {
    /// Integers, bools (0 or 1) and `index`; unsigned types zero-extended, u64 by its bits.
    Int(i64),
    /// Floats of every width, rounded to the type.
    Float(f64),
    /// An element of a buffer.
    Ptr {
        /// Number of the buffer.
        buffer: u32,
        /// Element; may lie outside as long as it is not used.
        offset: i64,
    },
}

/// A piece of memory.
#[derive(Clone, PartialEq, Debug)]
pub struct Buffer {
    /// What it holds.
    pub elem: Elem,
    /// Its elements.
    pub lanes: Vec<Lane>,
}

/// All memory that a launch can reach.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Memory {
    /// By number.
    pub buffers: Vec<Buffer>,
}

/// An argument of a kernel.
#[derive(Clone, PartialEq, Debug)]
pub enum Arg {
    /// A tensor over part of a buffer.
    Tensor {
        /// Number of the buffer.
        buffer: u32,
        /// First element.
        offset: i64,
        /// Extents.
        dims: Vec<i64>,
        /// In elements.
        strides: Vec<i64>,
    },
    /// A number or pointer.
    Scalar(Lane),
}

/// A launch.
#[derive(Clone, PartialEq, Debug)]
pub struct Launch {
    /// Extents of the grid.
    pub grid: Vec<i64>,
    /// One argument for each parameter that is present.
    pub args: Vec<Arg>,
    /// What `num_sms` gives.
    pub num_sms: i64,
}

/// What a run showed besides memory.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Log {
    /// Lines printed, in order.
    pub prints: Vec<String>,
    /// Messages of assertions that failed, in order; a program ends with its first.
    pub failed_asserts: Vec<String>,
}

/// Why a run ended early.
#[derive(Clone, PartialEq, Debug)]
pub enum Fault {
    /// A pointer outside its buffer was read or written.
    OutOfBounds(String),
    /// Far more steps than any test needs.
    TooLong,
    /// The evaluator does not do this instruction.
    Unsupported(String),
    /// The arguments do not fit the kernel.
    BadLaunch(String),
}

impl Memory {
    /// A new dense tensor of that shape, row-major; values are rounded to the type. `values` repeat to fill it.
    pub fn tensor(&mut self, elem: ScalarType, dims: &[i64], values: &[f64]) -> Arg {
        let count = dims.iter().product::<i64>() as usize;
        let lanes = (0..count).map(|i| lanes::from_f64(elem, values[i % values.len()])).collect();
        self.buffers.push(Buffer { elem: elem.into(), lanes });
        let mut strides = vec![1; dims.len()];
        for d in (1..dims.len()).rev() {
            strides[d - 1] = strides[d] * dims[d];
        }
        Arg::Tensor { buffer: self.buffers.len() as u32 - 1, offset: 0, dims: dims.to_vec(), strides }
    }

    /// The elements of a tensor, row-major.
    ///
    /// # Panics
    /// When the argument is no tensor of numbers.
    pub fn lanes(&self, tensor: &Arg) -> Vec<Lane> {
        let Arg::Tensor { buffer, offset, dims, strides } = tensor else { panic!("{tensor:?} is not a tensor") };
        let mut out = Vec::new();
        shapes::each_index(dims, |index| {
            let at = offset + index.iter().zip(strides).map(|(i, s)| i * s).sum::<i64>();
            out.push(self.buffers[*buffer as usize].lanes[at as usize]);
        });
        out
    }

    /// The elements of a tensor as f64, row-major.
    ///
    /// # Panics
    /// When the argument is no tensor of numbers.
    pub fn floats(&self, tensor: &Arg) -> Vec<f64> {
        let number = |lane| match lane {
            Lane::Int(v) => v as f64,
            Lane::Float(v) => v,
            Lane::Ptr { .. } => panic!("a pointer is no number"),
        };
        self.lanes(tensor).into_iter().map(number).collect()
    }
}

impl Memory {
    /// Where two memories of one layout differ: buffer, element and both values. One NaN is as good as another; zeros of different sign differ.
    pub fn differences(&self, other: &Memory) -> Vec<(usize, usize, Lane, Lane)> {
        let same = |a: Lane, b: Lane| match (a, b) {
            (Lane::Float(a), Lane::Float(b)) => a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan()),
            (a, b) => a == b,
        };
        let mut list = Vec::new();
        for (number, (a, b)) in self.buffers.iter().zip(&other.buffers).enumerate() {
            let pairs = a.lanes.iter().zip(&b.lanes).enumerate();
            list.extend(pairs.filter(|(_, (x, y))| !same(**x, **y)).map(|(at, (x, y))| (number, at, *x, *y)));
        }
        list
    }
}

impl Launch {
    /// Runs the module's kernel on the memory, program ids in order, axis 0 fastest.
    ///
    /// # Errors
    /// See [`Fault`]; memory is as far as the run came.
    pub fn run(&self, module: &Module, memory: &mut Memory) -> Result<Log, Fault> {
        let Some(kernel) = module.kernel() else { return Err(Fault::BadLaunch("not exactly one kernel".into())) };
        let func = &module.funcs[kernel];
        if func.param_values().len() != self.args.len() {
            return Err(Fault::BadLaunch(format!("{} arguments for {}", self.args.len(), func.param_values().len())));
        }
        let mut log = Log::default();
        let mut steps = 0;
        let mut extents = self.grid.clone();
        extents.resize(5, 1);
        let mut fault = Ok(());
        let reversed: Vec<i64> = extents.iter().rev().copied().collect();
        shapes::each_index(&reversed, |index| {
            if fault.is_ok() {
                let ids: Vec<i64> = index.iter().rev().copied().collect();
                let mut program = eval::Program {
                    module,
                    memory,
                    log: &mut log,
                    ids: &ids,
                    extents: &extents,
                    num_sms: self.num_sms,
                    steps: &mut steps,
                };
                fault = program.launch(func, &self.args);
            }
        });
        fault.map(|()| log)
    }
}
