//! A row of the table: a kernel, the settings and arguments of one launch, and what must be in memory afterwards. Rows are built argument by argument, in
//! the order of the kernel's parameters.

use kiln_ir::ScalarType;
use kiln_tests::array::{Array, Bound};
use kiln_tests::case::{Arg, Expected, Placement, Random, Settings};
use kiln_tests::scalar::Num;

/// Half a unit in the last place of f32, relative: what one rounded operation loses.
pub const H: f64 = 1.0 / (1u64 << 24) as f64;

/// What outputs hold before the launch. Every type that has signs holds it exactly.
pub const UNTOUCHED: f64 = -96.0;

/// What rounding to a type loses, relative.
pub fn half_ulp(ty: ScalarType) -> f64 {
    match ty {
        ScalarType::F64 => f64::EPSILON / 2.0,
        ScalarType::F32 => H,
        ScalarType::F16 => 2f64.powi(-11),
        ScalarType::BF16 => 2f64.powi(-8),
        ScalarType::F8E4M3 => 2f64.powi(-4),
        ScalarType::F8E5M2 => 2f64.powi(-3),
        other => panic!("{other} is no float"),
    }
}

/// What rounding loses below the normal range, absolute: half the smallest subnormal.
fn half_tiny(ty: ScalarType) -> f64 {
    match ty {
        ScalarType::F16 => 2f64.powi(-25),
        ScalarType::F8E4M3 => 2f64.powi(-10),
        ScalarType::F8E5M2 => 2f64.powi(-17),
        _ => 0.0,
    }
}

/// The bound of a value that is off by so much, and then rounded to a type.
pub fn stored(ty: ScalarType, relative: f64, absolute: f64) -> Bound {
    let rounding = if ty == ScalarType::F32 { 0.0 } else { half_ulp(ty) };
    Bound::Near { relative: relative + rounding * (1.0 + relative), absolute: absolute * (1.0 + rounding) + half_tiny(ty) }
}

/// The largest magnitude of some values, 0 for none.
pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |a, v| a.max(v.abs()))
}

/// A tensor on the reference's side: every value as its type holds it.
#[derive(Clone, Debug)]
pub struct Data {
    pub ty: ScalarType,
    pub shape: Vec<usize>,
    pub values: Vec<f64>,
}

impl Data {
    /// From values, rounded to the type.
    pub fn new(ty: ScalarType, shape: &[usize], values: impl IntoIterator<Item = f64>) -> Data {
        let number = |v: f64| if ty.is_float() { Num::Float(v) } else { Num::Int(v as i128) };
        let array = Array::new(ty, shape, values.into_iter().map(number));
        Data { ty, shape: shape.to_vec(), values: array.values().into_iter().map(Num::f64).collect() }
    }

    /// One value everywhere.
    pub fn full(ty: ScalarType, shape: &[usize], value: f64) -> Data {
        Data::new(ty, shape, std::iter::repeat_n(value, shape.iter().product()))
    }

    /// The element at an index.
    pub fn at<const RANK: usize>(&self, index: [usize; RANK]) -> f64 {
        assert_eq!(RANK, self.shape.len());
        let flat = index.iter().zip(&self.shape).fold(0, |flat, (&i, &d)| {
            assert!(i < d, "{index:?} in {:?}", self.shape);
            flat * d + i
        });
        self.values[flat]
    }

    /// The largest magnitude.
    pub fn largest(&self) -> f64 {
        largest(self.values.iter().copied())
    }

    /// With its bytes.
    pub fn array(&self) -> Array {
        let number = |&v: &f64| if self.ty.is_float() { Num::Float(v) } else { Num::Int(v as i128) };
        Array::new(self.ty, &self.shape, self.values.iter().map(number))
    }
}

/// Values for a shape from a function of the index.
pub fn values_of<const RANK: usize>(shape: [usize; RANK], mut value: impl FnMut([usize; RANK]) -> f64) -> Vec<f64> {
    let count: usize = shape.iter().product();
    (0..count)
        .map(|flat| {
            let (mut rest, mut index) = (flat, [0; RANK]);
            for axis in (0..RANK).rev() {
                (rest, index[axis]) = (rest / shape[axis], rest % shape[axis]);
            }
            value(index)
        })
        .collect()
}

/// One launch of a kernel, with what it must leave behind.
#[derive(Debug)]
pub struct Row {
    /// The kernel.
    pub kernel: &'static str,
    /// What tells the row from the kernel's others.
    pub size: String,
    pub settings: Settings,
    pub args: Vec<Arg>,
    pub expected: Vec<Expected>,
    /// Text that the caller adds to the file: functions given as arguments, kernels for functions that none of the file calls.
    pub extra: &'static str,
    /// Where tensors that are passed from here on lie.
    placement: Placement,
    pub random: Random,
}

impl Row {
    pub fn new(kernel: &'static str, size: impl Into<String>) -> Row {
        let size = size.into();
        let random = Random::new(&format!("{kernel} {size}"));
        Row {
            kernel,
            size,
            settings: Settings::default(),
            args: vec![],
            expected: vec![],
            extra: "",
            placement: Placement::Dense,
            random,
        }
    }

    /// Tensors lie in memory like this.
    pub fn placed(mut self, placement: Placement) -> Row {
        self.placement = placement;
        self
    }

    /// The value of a constant.
    pub fn constant(mut self, name: &'static str, value: usize) -> Row {
        self.settings.consts.push((name, value as i64));
        self
    }

    /// The value of a function parameter, and the text that defines it.
    pub fn function(mut self, name: &'static str, path: &'static str, extra: &'static str) -> Row {
        self.settings.fns.push((name, path));
        self.extra = extra;
        self
    }

    /// Random values, uniform between the limits.
    pub fn uniform(&mut self, ty: ScalarType, shape: &[usize], lo: f64, hi: f64) -> Data {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| self.random.float(lo, hi)).collect();
        Data::new(ty, shape, values)
    }

    /// Random integers, both limits included.
    pub fn integers(&mut self, ty: ScalarType, shape: &[usize], lo: i128, hi: i128) -> Data {
        let values: Vec<f64> = (0..shape.iter().product()).map(|_| self.random.int(lo, hi) as f64).collect();
        Data::new(ty, shape, values)
    }

    /// Passes a tensor, which must be unchanged afterwards.
    pub fn pass(&mut self, data: &Data) {
        self.update(data, data.values.clone(), Bound::Exact);
    }

    /// Passes a tensor that holds `before`, and must hold `after`.
    pub fn update(&mut self, before: &Data, after: Vec<f64>, bound: Bound) {
        let values = after.into_iter().map(Num::Float).collect();
        self.raw(before.array(), values, bound);
    }

    /// [`Row::update`] with exact numbers.
    pub fn raw(&mut self, before: Array, after: Vec<Num>, bound: Bound) {
        assert_eq!(before.len(), after.len(), "{} {}: argument {}", self.kernel, self.size, self.args.len());
        self.expected.push(Expected { arg: self.args.len(), values: after, bound });
        self.args.push(Arg::Tensor { array: before, placement: self.placement });
    }

    /// Passes an output, which holds [`UNTOUCHED`] before.
    pub fn output(&mut self, ty: ScalarType, shape: &[usize], after: Vec<f64>, bound: Bound) {
        self.update(&Data::full(ty, shape, UNTOUCHED), after, bound);
    }

    /// Passes the pointer to a tensor's first element, which must hold `after`.
    pub fn pointer(&mut self, before: &Data, after: &[f64], bound: Bound) {
        self.expected.push(Expected { arg: self.args.len(), values: after.iter().map(|&v| Num::Float(v)).collect(), bound });
        self.args.push(Arg::Pointer(before.array()));
    }

    /// Passes a float.
    pub fn float(&mut self, ty: ScalarType, value: f64) {
        self.args.push(Arg::Scalar(ty, Num::Float(value)));
    }

    /// Passes an integer.
    pub fn int(&mut self, ty: ScalarType, value: i128) {
        self.args.push(Arg::Scalar(ty, Num::Int(value)));
    }

    /// Leaves out a parameter: an optional one, or one that has a default.
    pub fn absent(&mut self) {
        self.args.push(Arg::Absent);
    }

    /// Passes a tensor, or leaves its parameter out.
    pub fn pass_if(&mut self, given: bool, data: &Data) {
        if given { self.pass(data) } else { self.absent() }
    }
}
