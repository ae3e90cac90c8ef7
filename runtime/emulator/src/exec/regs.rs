//! Register files of a warp, lane-major: one slot is 32 lanes, so that an instruction is one tight loop.

use crate::decode::inst::{File, R};

/// Lanes of a warp.
pub const LANES: usize = 32;

/// The registers of one warp. Slots are relative to the bases of the running frame.
#[derive(Debug, Default)]
pub struct Regs {
    pub r32: Vec<[u32; LANES]>,
    pub r64: Vec<[u64; LANES]>,
    pub pred: Vec<u32>,
    pub b32: usize,
    pub b64: usize,
    pub bp: usize,
    /// Carry flag of each lane.
    pub carry: u32,
}

impl Regs {
    #[inline(always)]
    pub fn w32(&self, i: u32) -> &[u32; LANES] {
        &self.r32[self.b32 + i as usize]
    }
    #[inline(always)]
    pub fn w64(&self, i: u32) -> &[u64; LANES] {
        &self.r64[self.b64 + i as usize]
    }
    /// One bit a lane.
    #[inline(always)]
    pub fn p(&self, i: u32) -> u32 {
        self.pred[self.bp + i as usize]
    }
    #[inline(always)]
    pub fn set_p(&mut self, i: u32, mask: u32, value: u32) {
        let p = &mut self.pred[self.bp + i as usize];
        *p = *p & !mask | value & mask;
    }
    #[inline(always)]
    pub fn set32(&mut self, i: u32, mask: u32, v: &[u32; LANES]) {
        let d = &mut self.r32[self.b32 + i as usize];
        if mask == u32::MAX {
            *d = *v;
        } else {
            for l in 0..LANES {
                d[l] = if mask >> l & 1 != 0 { v[l] } else { d[l] };
            }
        }
    }
    #[inline(always)]
    pub fn set64(&mut self, i: u32, mask: u32, v: &[u64; LANES]) {
        let d = &mut self.r64[self.b64 + i as usize];
        if mask == u32::MAX {
            *d = *v;
        } else {
            for l in 0..LANES {
                d[l] = if mask >> l & 1 != 0 { v[l] } else { d[l] };
            }
        }
    }
    /// Any register, zero-extended to 64 bits.
    #[inline(always)]
    pub fn get(&self, r: R) -> [u64; LANES] {
        match r.file() {
            File::W64 => *self.w64(r.index()),
            File::W32 => {
                let a = self.w32(r.index());
                let mut out = [0; LANES];
                for l in 0..LANES {
                    out[l] = u64::from(a[l]);
                }
                out
            }
            File::Pred => {
                let p = self.p(r.index());
                std::array::from_fn(|l| u64::from(p >> l & 1))
            }
        }
    }
    /// Writes any register, truncated to its file.
    #[inline(always)]
    pub fn set(&mut self, r: R, mask: u32, v: &[u64; LANES]) {
        match r.file() {
            File::W64 => self.set64(r.index(), mask, v),
            File::W32 => {
                let mut out = [0; LANES];
                for l in 0..LANES {
                    out[l] = v[l] as u32;
                }
                self.set32(r.index(), mask, &out);
            }
            File::Pred => {
                let mut bits = 0;
                for (l, &x) in v.iter().enumerate() {
                    bits |= u32::from(x & 1 != 0) << l;
                }
                self.set_p(r.index(), mask, bits);
            }
        }
    }
    /// One lane of any register.
    pub fn lane(&self, r: R, lane: usize) -> u64 {
        match r.file() {
            File::W64 => self.w64(r.index())[lane],
            File::W32 => u64::from(self.w32(r.index())[lane]),
            File::Pred => u64::from(self.p(r.index()) >> lane & 1),
        }
    }
}

/// A type that lanes can hold.
pub trait Lane: Copy + Default {
    fn load(r: &Regs, i: u32) -> [Self; LANES];
    fn store(r: &mut Regs, i: u32, mask: u32, v: &[Self; LANES]);
}

macro_rules! lane32 {
    ($t:ty, $from:expr, $to:expr) => {
        impl Lane for $t {
            #[inline(always)]
            fn load(r: &Regs, i: u32) -> [Self; LANES] {
                let a = r.w32(i);
                let mut out = [Self::default(); LANES];
                for l in 0..LANES {
                    out[l] = $from(a[l]);
                }
                out
            }
            #[inline(always)]
            fn store(r: &mut Regs, i: u32, mask: u32, v: &[Self; LANES]) {
                let mut out = [0u32; LANES];
                for l in 0..LANES {
                    out[l] = $to(v[l]);
                }
                r.set32(i, mask, &out);
            }
        }
    };
}
lane32!(u32, |x| x, |x| x);
lane32!(i32, |x: u32| x as i32, |x: i32| x as u32);
lane32!(f32, f32::from_bits, f32::to_bits);
lane32!(u16, |x: u32| x as u16, u32::from);
lane32!(i16, |x: u32| x as u16 as i16, |x: i16| u32::from(x as u16));

macro_rules! lane64 {
    ($t:ty, $from:expr, $to:expr) => {
        impl Lane for $t {
            #[inline(always)]
            fn load(r: &Regs, i: u32) -> [Self; LANES] {
                let a = r.w64(i);
                let mut out = [Self::default(); LANES];
                for l in 0..LANES {
                    out[l] = $from(a[l]);
                }
                out
            }
            #[inline(always)]
            fn store(r: &mut Regs, i: u32, mask: u32, v: &[Self; LANES]) {
                let mut out = [0u64; LANES];
                for l in 0..LANES {
                    out[l] = $to(v[l]);
                }
                r.set64(i, mask, &out);
            }
        }
    };
}
lane64!(u64, |x| x, |x| x);
lane64!(i64, |x: u64| x as i64, |x: i64| x as u64);
lane64!(f64, f64::from_bits, f64::to_bits);

/// `d = f(a)` on the lanes of `mask`.
#[inline(always)]
pub fn map1<A: Lane, D: Lane>(r: &mut Regs, mask: u32, d: u32, a: u32, f: impl Fn(A) -> D) {
    let a = A::load(r, a);
    let mut out = [D::default(); LANES];
    for l in 0..LANES {
        out[l] = f(a[l]);
    }
    D::store(r, d, mask, &out);
}

/// `d = f(a, b)` on the lanes of `mask`.
#[inline(always)]
pub fn map2<A: Lane, B: Lane, D: Lane>(r: &mut Regs, mask: u32, d: u32, a: u32, b: u32, f: impl Fn(A, B) -> D) {
    let (a, b) = (A::load(r, a), B::load(r, b));
    let mut out = [D::default(); LANES];
    for l in 0..LANES {
        out[l] = f(a[l], b[l]);
    }
    D::store(r, d, mask, &out);
}

/// `d = f(a, b, c)` on the lanes of `mask`; `s` holds d, a, b, c.
#[inline(always)]
pub fn map3<A: Lane, B: Lane, C: Lane, D: Lane>(r: &mut Regs, mask: u32, s: [u32; 4], f: impl Fn(A, B, C) -> D) {
    let (a, b, c) = (A::load(r, s[1]), B::load(r, s[2]), C::load(r, s[3]));
    let mut out = [D::default(); LANES];
    for l in 0..LANES {
        out[l] = f(a[l], b[l], c[l]);
    }
    D::store(r, s[0], mask, &out);
}
