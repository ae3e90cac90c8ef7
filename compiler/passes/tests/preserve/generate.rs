//! Random well-typed kernels, from a list of choices (0 when it runs out, so that a shorter list is a smaller kernel).
//!
//! Parameters: `x: tensor<f32, [N]>`, `y: mut tensor<f32, [N]>`, `z: mut tensor<i32, [4, WIDTH]>`, `n: i32`, `f: f32`, `i: index`, `b: bool`, launched on a
//! grid of 3. N is unknown, but a multiple of 4. What passes may round differently (products and sums of floats across lanes) is left out.

use kiln_ir::ops::{AtomicOp, BinaryOp, CacheOp, CmpOp, DotPrecision, Evict, MemOrder, MemScope, UnaryOp};
use kiln_ir::{
    Block, Builder, Combine, Const, Function, InstData, IntFact, LoopAttrs, Module, ParamInfo, Place, ScalarType, SliceIndex,
    TensorFacts, Type, Value, ValueList, ViewAccess, ViewIndex,
};
use smallvec::smallvec;

/// Second extent of `z`.
pub const WIDTH: i64 = 20;

/// A kernel, and a function that it may call.
pub fn module(choices: &[u32]) -> Module {
    let mut module = Module::default();
    let mut g = Generator { choices: choices.iter(), depth: 0 };
    let mut kernel = Function::new("random", true);
    let fact = |divisor| IntFact { known: None, divisor, max: None };
    let line = |align| TensorFacts { align, dims: smallvec![fact(4)], strides: smallvec![IntFact::exact(1)], may_alias: false };
    let plane = TensorFacts {
        align: 4,
        dims: smallvec![IntFact::exact(4), IntFact::exact(WIDTH)],
        strides: smallvec![fact(4), IntFact::exact(1)],
        may_alias: false,
    };
    let params = [
        ("x", Type::view(ScalarType::F32, 1, false), Some(line(4))),
        ("y", Type::view(ScalarType::F32, 1, true), Some(line(4))),
        ("z", Type::view(ScalarType::I32, 2, true), Some(plane)),
        ("n", Type::scalar(ScalarType::I32), None),
        ("f", Type::scalar(ScalarType::F32), None),
        ("i", Type::index(), None),
        ("b", Type::bool(), None),
    ];
    for (number, (name, ty, tensor)) in params.into_iter().enumerate() {
        kernel.add_param(ParamInfo { name: name.into(), number: number as u32, tensor }, ty);
    }
    let mut pool = kernel.param_values().to_vec();
    let body = kernel.body;
    // What sema would say of the launch: two tensors of one length.
    let mut b = Builder::new(&mut kernel, body);
    let (nx, ny) = (b.view_dim(pool[0], 0), b.view_dim(pool[1], 0));
    let equal = b.cmp(CmpOp::Eq, nx, ny);
    b.emit(InstData::Assume { cond: equal }, &[]);
    pool.extend([nx, ny]);
    g.fill(&mut kernel, body, &mut pool, 14);
    Builder::new(&mut kernel, body).yield_(&[]);
    module.funcs.push(kernel);

    let mut callee = Function::new("callee", false);
    callee.add_param(ParamInfo { name: "a".into(), number: 0, tensor: None }, Type::scalar(ScalarType::I32));
    callee.add_param(ParamInfo { name: "to".into(), number: 1, tensor: None }, Type::view(ScalarType::I32, 2, true));
    callee.results = vec![Type::scalar(ScalarType::I32)];
    let mut pool = callee.param_values().to_vec();
    let body = callee.body;
    g.depth = 1;
    g.fill(&mut callee, body, &mut pool, 4);
    let result = g.value(&mut callee, body, &pool, Type::scalar(ScalarType::I32));
    Builder::new(&mut callee, body).yield_(&[result]);
    module.funcs.push(callee);
    module
}

struct Generator<'a> {
    choices: std::slice::Iter<'a, u32>,
    depth: u32,
}

const ELEMS: [ScalarType; 8] = [
    ScalarType::I32,
    ScalarType::F32,
    ScalarType::Index,
    ScalarType::Bool,
    ScalarType::I8,
    ScalarType::U8,
    ScalarType::F16,
    ScalarType::U64,
];
const SHAPES: [&[u32]; 4] = [&[], &[4], &[2, 3], &[6]];

impl Generator<'_> {
    fn below(&mut self, n: usize) -> usize {
        self.choices.next().map_or(0, |&c| c as usize % n)
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    fn ty(&mut self) -> Type {
        let elem = self.of(&ELEMS);
        Type::tile(elem, self.of(&SHAPES))
    }

    /// A value of that type: one at hand, else a constant.
    fn value(&mut self, func: &mut Function, block: Block, pool: &[Value], ty: Type) -> Value {
        let fitting: Vec<Value> = pool.iter().copied().filter(|&v| func.ty(v) == ty).collect();
        if !fitting.is_empty() && self.below(5) != 4 {
            return fitting[fitting.len() - 1 - self.below(fitting.len().min(6))];
        }
        let elem = ty.scalar_elem().unwrap_or(ScalarType::I32);
        let value = if elem.is_float() {
            Const::Float(self.of(&[0.0, 1.0, -0.0, 2.0, -1.0, 0.5, f64::INFINITY, f64::NEG_INFINITY, 3.0, 8.0]))
        } else {
            let value = self.of(&[0i64, 1, 2, 3, 4, 5, 16, 64, -1, 127, 12, 31]);
            Const::Int(match elem {
                ScalarType::Bool => value & 1,
                ScalarType::U8 => i64::from(value as u8),
                _ => value,
            })
        };
        Builder::new(func, block).emit1(InstData::Const { value }, ty)
    }

    fn fill(&mut self, func: &mut Function, block: Block, pool: &mut Vec<Value>, most: usize) {
        for _ in 0..self.below(most) + 1 {
            let results = self.inst(func, block, pool);
            pool.extend(results);
        }
    }

    fn inst(&mut self, func: &mut Function, block: Block, pool: &[Value]) -> Vec<Value> {
        let ty = self.ty();
        let elem = ty.scalar_elem().unwrap_or(ScalarType::I32);
        let kinds = if self.depth < 3 { 22 } else { 16 };
        match self.below(kinds) {
            0..=2 => {
                use BinaryOp::*;
                let op = match elem {
                    ScalarType::Bool => self.of(&[And, Or, Xor]),
                    e if e.is_float() => self.of(&[Add, Sub, Mul, Div, Rem, Min, Max, FMin, FMax]),
                    // Index arithmetic stays small: it never overflows.
                    ScalarType::Index => self.of(&[Add, Sub, Min, Max, Div, Rem, And]),
                    _ => self.of(&[Add, Sub, Mul, Div, Rem, Min, Max, And, Or, Xor, Shl, Shr]),
                };
                let (a, b) = (self.value(func, block, pool, ty), self.value(func, block, pool, ty));
                vec![Builder::new(func, block).binary(op, a, b)]
            }
            3 => {
                use UnaryOp::*;
                let op = match elem {
                    ScalarType::Bool => Not,
                    e if e.is_float() => self.of(&[Neg, Abs, Floor, Round, Trunc, Sqrt]),
                    ScalarType::Index => Neg,
                    _ => self.of(&[Neg, Not, Abs]),
                };
                let arg = self.value(func, block, pool, ty);
                vec![Builder::new(func, block).unary(op, arg)]
            }
            4 => {
                let op = self.of(CmpOp::ALL);
                let (a, b) = (self.value(func, block, pool, ty), self.value(func, block, pool, ty));
                vec![Builder::new(func, block).cmp(op, a, b)]
            }
            5 => {
                let cond = self.value(func, block, pool, ty.with_elem(ScalarType::Bool));
                let (a, b) = (self.value(func, block, pool, ty), self.value(func, block, pool, ty));
                vec![Builder::new(func, block).select(cond, a, b)]
            }
            6 | 7 => {
                let to = self.of(&ELEMS);
                // What is cast to `index` is small; nothing is cast to bool.
                let to = match (elem, to) {
                    (_, ScalarType::Bool) => ScalarType::F32,
                    (ScalarType::I8 | ScalarType::U8 | ScalarType::Bool | ScalarType::Index, ScalarType::Index) => to,
                    (_, ScalarType::Index) => ScalarType::I8,
                    _ => to,
                };
                let arg = self.value(func, block, pool, ty);
                vec![Builder::new(func, block).cast(arg, to)]
            }
            8 => {
                let small: &[u32] = self.of(&[&[][..], &[1], &[3]]);
                let to: &[u32] = if small == [3] { &[2, 3] } else { self.of(&[&[4][..], &[2, 3], &[6]]) };
                let arg = self.value(func, block, pool, Type::tile(elem, small));
                vec![Builder::new(func, block).broadcast(arg, to)]
            }
            9 => {
                let int = self.of(&[ScalarType::Index, ScalarType::I32]);
                let start = self.below(5) as i64;
                let length = self.of(&[4, 6]);
                vec![Builder::new(func, block).emit1(InstData::Iota { start }, Type::tile(int, &[length]))]
            }
            10 => self.moved(func, block, pool, elem),
            11 | 12 => {
                let start = self.value(func, block, pool, Type::index());
                let view = self.line(func, block, pool, 0);
                let len = self.of(&[4u32, 6]);
                let shape = Type::tile(ScalarType::F32, &[len]);
                let access = ViewAccess { view, index: smallvec![SliceIndex::Span { start, len }], in_bounds: 0 };
                let mask = if self.below(3) == 0 {
                    Some(self.value(func, block, pool, shape.with_elem(ScalarType::Bool)))
                } else {
                    None
                };
                let other = if self.below(3) == 0 { Some(self.value(func, block, pool, shape)) } else { None };
                let data =
                    InstData::Load { place: Place::View(access), mask, other, cache: CacheOp::Default, evict: Evict::Normal };
                vec![Builder::new(func, block).emit1(data, shape)]
            }
            13 => {
                self.store(func, block, pool);
                Vec::new()
            }
            14 => {
                let arg = self.value(func, block, pool, Type::tile(elem, &[2, 3]));
                let axis = self.below(2);
                let combine = match elem {
                    ScalarType::Bool => self.of(&[Combine::And, Combine::Or]),
                    e if e.is_float() => self.of(&[Combine::Max, Combine::Min]),
                    _ => self.of(&[Combine::Add, Combine::Max, Combine::Xor]),
                };
                let combine = if self.below(2) == 0 { self.closure(func, elem) } else { combine };
                Builder::new(func, block).reduce(&[arg], axis, combine).to_vec()
            }
            15 => self.memory(func, block, pool),
            16 | 17 => self.branch(func, block, pool),
            18..=20 => self.count(func, block, pool),
            _ => {
                let tensor = self.tensor(func, block, pool, 2);
                let arg = self.value(func, block, pool, Type::scalar(ScalarType::I32));
                let Some(tensor) = tensor.filter(|_| func.is_kernel) else { return Vec::new() };
                let data = InstData::Call { func: kiln_ir::FuncRef::from_u32(1), args: smallvec![arg, tensor] };
                vec![Builder::new(func, block).emit1(data, Type::scalar(ScalarType::I32))]
            }
        }
    }

    fn moved(&mut self, func: &mut Function, block: Block, pool: &[Value], elem: ScalarType) -> Vec<Value> {
        let arg = self.value(func, block, pool, Type::tile(elem, &[2, 3]));
        let line = self.value(func, block, pool, Type::tile(elem, &[6]));
        let mut b = Builder::new(func, block);
        vec![match self.below(7) {
            0 => b.reshape(arg, &[6]),
            1 => b.reshape(line, &[2, 3]),
            2 => {
                let turned = b.permute(arg, &[1, 0]);
                b.permute(turned, &[1, 0])
            }
            3 => b.emit1(InstData::Flip { arg, axis: 1 }, Type::tile(elem, &[2, 3])),
            4 => b.emit1(InstData::ExtractSlice { arg: line, starts: smallvec![2] }, Type::tile(elem, &[4])),
            5 => {
                let flipped = b.emit1(InstData::Flip { arg: line, axis: 0 }, Type::tile(elem, &[6]));
                b.emit1(InstData::Flip { arg: flipped, axis: 0 }, Type::tile(elem, &[6]))
            }
            _ => {
                let wide = b.expand_dims(line, 0);
                b.reshape(wide, &[6])
            }
        }]
    }

    /// A closure of two scalars: often one that spells a builtin combination.
    fn closure(&mut self, func: &mut Function, elem: ScalarType) -> Combine {
        let body = func.add_block();
        let ty = Type::scalar(elem);
        let (x, y) = (func.add_block_param(body, ty, None), func.add_block_param(body, ty, None));
        let op = match elem {
            ScalarType::Bool => BinaryOp::Or,
            _ => self.of(&[BinaryOp::Max, BinaryOp::Min]),
        };
        let (a, b) = if self.below(2) == 0 { (x, y) } else { (y, x) };
        let mut builder = Builder::new(func, body);
        let mut value = builder.binary(op, a, b);
        if self.below(3) == 0 {
            value = builder.binary(op, value, x);
        }
        builder.yield_(&[value]);
        Combine::Region(body)
    }

    /// A tensor parameter that can be seen here.
    fn tensor(&mut self, func: &Function, _: Block, pool: &[Value], rank: usize) -> Option<Value> {
        let fitting: Vec<Value> = pool.iter().copied().filter(|&v| func.ty(v).is_view() && func.ty(v).rank() == rank).collect();
        if fitting.is_empty() { None } else { Some(self.of(&fitting)) }
    }

    /// A view of rank 1 of f32: `x`, `y`, or a part of one; in a function without them, nothing is read.
    fn line(&mut self, func: &mut Function, block: Block, pool: &[Value], least: usize) -> Value {
        let lines: Vec<Value> = pool
            .iter()
            .copied()
            .filter(|&v| func.ty(v).is_view() && func.ty(v).rank() == 1 && func.ty(v).scalar_elem() == Some(ScalarType::F32))
            .collect();
        if lines.len() <= least {
            // A row of nothing, from a null pointer.
            let mut b = Builder::new(func, block);
            let ptr = b.int(0, Type::ptr(ScalarType::F32, true));
            let (zero, one) = (b.index(0), b.index(1));
            let data = InstData::MakeView { ptr, dims: smallvec![zero], strides: smallvec![one] };
            return b.emit1(data, Type::view(ScalarType::F32, 1, true));
        }
        let view = lines[least + self.below(lines.len() - least)];
        if self.below(3) != 0 {
            return view;
        }
        let (lo, hi) = (self.value(func, block, pool, Type::index()), self.value(func, block, pool, Type::index()));
        let ty = func.ty(view);
        Builder::new(func, block).emit1(InstData::SubView { view, index: smallvec![ViewIndex::Range { lo, hi }] }, ty)
    }

    fn store(&mut self, func: &mut Function, block: Block, pool: &[Value]) {
        let len = self.of(&[4u32, 6]);
        let start = self.value(func, block, pool, Type::index());
        if func.is_kernel && self.below(2) == 0 {
            let view = self.line(func, block, pool, 1);
            if !matches!(func.ty(view).data(), kiln_ir::TypeData::View { mutable: true, .. }) {
                return;
            }
            let value = self.value(func, block, pool, Type::tile(ScalarType::F32, &[len]));
            let access = ViewAccess { view, index: smallvec![SliceIndex::Span { start, len }], in_bounds: 0 };
            Builder::new(func, block).store_view(access, value);
            return;
        }
        let Some(view) = self.tensor(func, block, pool, 2) else { return };
        let row = self.value(func, block, pool, Type::index());
        let value = self.value(func, block, pool, Type::tile(ScalarType::I32, &[len]));
        let mask =
            if self.below(3) == 0 { Some(self.value(func, block, pool, Type::tile(ScalarType::Bool, &[len]))) } else { None };
        let index = smallvec![SliceIndex::At(row), SliceIndex::Span { start, len }];
        let place = Place::View(ViewAccess { view, index, in_bounds: 0 });
        let data = InstData::Store { place, value, mask, cache: CacheOp::Default, evict: Evict::Normal };
        Builder::new(func, block).emit(data, &[]);
    }

    /// Reads and atomics of `z`, and a product of small integers.
    fn memory(&mut self, func: &mut Function, block: Block, pool: &[Value]) -> Vec<Value> {
        let Some(view) = self.tensor(func, block, pool, 2) else { return Vec::new() };
        let (row, column) = (self.value(func, block, pool, Type::index()), self.value(func, block, pool, Type::index()));
        let value = self.value(func, block, pool, Type::scalar(ScalarType::I32));
        let place = |index| Place::View(ViewAccess { view, index, in_bounds: 0 });
        match self.below(4) {
            0 => {
                let place = place(smallvec![SliceIndex::At(row), SliceIndex::At(column)]);
                let (op, order) = (self.of(&[AtomicOp::Add, AtomicOp::Max, AtomicOp::Xchg]), self.of(MemOrder::ALL));
                let data = InstData::AtomicRmw { op, place, value, mask: None, order, scope: MemScope::Device };
                vec![Builder::new(func, block).emit1(data, Type::scalar(ScalarType::I32))]
            }
            1 => {
                let at = self.value(func, block, pool, Type::tile(ScalarType::Index, &[4]));
                let place = place(smallvec![SliceIndex::At(row), SliceIndex::Gather(at)]);
                let data = InstData::Load { place, mask: None, other: None, cache: CacheOp::Default, evict: Evict::Normal };
                vec![Builder::new(func, block).emit1(data, Type::tile(ScalarType::I32, &[4]))]
            }
            2 => {
                let a = self.value(func, block, pool, Type::tile(ScalarType::I8, &[2, 3]));
                let c = self.value(func, block, pool, Type::tile(ScalarType::I32, &[2, 2]));
                let mut b = Builder::new(func, block);
                let turned = b.permute(a, &[1, 0]);
                let product = InstData::Dot { a, b: turned, acc: None, precision: DotPrecision::Ieee };
                let product = b.emit1(product, Type::tile(ScalarType::I32, &[2, 2]));
                vec![product, b.binary(BinaryOp::Add, c, product)]
            }
            _ => {
                let place = place(smallvec![SliceIndex::At(row), SliceIndex::At(column)]);
                let data = InstData::Load { place, mask: None, other: None, cache: CacheOp::Default, evict: Evict::Normal };
                vec![Builder::new(func, block).emit1(data, Type::scalar(ScalarType::I32))]
            }
        }
    }

    /// A block of random instructions that yields values of the given types.
    fn region(&mut self, func: &mut Function, params: &[Type], outer: &[Value], yields: &[Type]) -> Block {
        let block = func.add_block();
        let mut pool = outer.to_vec();
        pool.extend(params.iter().map(|&ty| func.add_block_param(block, ty, None)));
        self.depth += 1;
        self.fill(func, block, &mut pool, 5);
        self.depth -= 1;
        let values: Vec<Value> = yields.iter().map(|&ty| self.value(func, block, &pool, ty)).collect();
        Builder::new(func, block).yield_(&values);
        block
    }

    fn branch(&mut self, func: &mut Function, block: Block, pool: &[Value]) -> Vec<Value> {
        let cond = self.value(func, block, pool, Type::bool());
        let types: Vec<Type> = (0..self.below(3)).map(|_| self.ty()).collect();
        let then = self.region(func, &[], pool, &types);
        let otherwise = self.region(func, &[], pool, &types);
        let inst = Builder::new(func, block).emit(InstData::If { cond, then, otherwise }, &types);
        func.results_of(inst).to_vec()
    }

    /// A loop over a dimension, between constants, or between anything.
    fn count(&mut self, func: &mut Function, block: Block, pool: &[Value]) -> Vec<Value> {
        let mut b = Builder::new(func, block);
        let (zero, few) = (b.index(0), b.index(3));
        let hi = match self.below(3) {
            0 => self.value(func, block, pool, Type::index()),
            1 => few,
            _ => match func.is_kernel {
                true => Builder::new(func, block).view_dim(pool[0], 0),
                false => few,
            },
        };
        let lo = if self.below(4) == 0 { self.value(func, block, pool, Type::index()) } else { zero };
        let step = self.of(&[1, 2, 4, 0, 5]);
        let step = Builder::new(func, block).index(step);
        let types: Vec<Type> = (0..self.below(3)).map(|_| self.ty()).collect();
        let init: ValueList = types.iter().map(|&ty| self.value(func, block, pool, ty)).collect();
        let params: Vec<Type> = std::iter::once(Type::index()).chain(types.iter().copied()).collect();
        let body = self.region(func, &params, pool, &types);
        let attrs = LoopAttrs { unroll: self.below(3) == 0, ..LoopAttrs::default() };
        let data = InstData::For { lo, hi, step, rev: self.below(4) == 0, init, body, attrs };
        let inst = Builder::new(func, block).emit(data, &types);
        func.results_of(inst).to_vec()
    }
}
