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

/// Writes the lanes of `mask`.
#[inline(always)]
fn blend<T: Copy>(d: &mut [T; LANES], mask: u32, v: &[T; LANES]) {
    if mask == u32::MAX {
        *d = *v;
        return;
    }
    for l in 0..LANES {
        d[l] = if mask >> l & 1 != 0 { v[l] } else { d[l] };
    }
}

/// Each lane of `a` through `f`.
#[inline(always)]
pub fn each<A: Copy, D: Copy + Default>(a: &[A; LANES], f: impl Fn(A) -> D) -> [D; LANES] {
    let mut out = [D::default(); LANES];
    for l in 0..LANES {
        out[l] = f(a[l]);
    }
    out
}

/// One bit a lane.
#[inline(always)]
pub fn bits(f: impl Fn(usize) -> bool) -> u32 {
    let mut hits = [0u32; LANES];
    for l in 0..LANES {
        hits[l] = u32::from(f(l)) << l;
    }
    hits.iter().fold(0, |m, h| m | h)
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
        blend(&mut self.r32[self.b32 + i as usize], mask, v);
    }
    #[inline(always)]
    pub fn set64(&mut self, i: u32, mask: u32, v: &[u64; LANES]) {
        blend(&mut self.r64[self.b64 + i as usize], mask, v);
    }
    /// Any register, zero-extended to 64 bits.
    #[inline(always)]
    pub fn get(&self, r: R) -> [u64; LANES] {
        match r.file() {
            File::W64 => *self.w64(r.index()),
            File::W32 => each(self.w32(r.index()), u64::from),
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
            File::W32 => self.set32(r.index(), mask, &each(v, |x| x as u32)),
            File::Pred => self.set_p(r.index(), mask, bits(|l| v[l] & 1 != 0)),
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

macro_rules! lane {
    ($t:ty, $read:ident, $write:ident, $from:expr, $to:expr) => {
        impl Lane for $t {
            #[inline(always)]
            fn load(r: &Regs, i: u32) -> [Self; LANES] {
                each(r.$read(i), $from)
            }
            #[inline(always)]
            fn store(r: &mut Regs, i: u32, mask: u32, v: &[Self; LANES]) {
                r.$write(i, mask, &each(v, $to));
            }
        }
    };
}
lane!(u32, w32, set32, |x| x, |x| x);
lane!(i32, w32, set32, |x| x as i32, |x| x as u32);
lane!(f32, w32, set32, f32::from_bits, f32::to_bits);
lane!(u16, w32, set32, |x| x as u16, u32::from);
lane!(i16, w32, set32, |x| x as i16, |x| u32::from(x as u16));
lane!(u64, w64, set64, |x| x, |x| x);
lane!(i64, w64, set64, |x| x as i64, |x| x as u64);
lane!(f64, w64, set64, f64::from_bits, f64::to_bits);

/// `d = f(a)` on the lanes of `mask`.
#[inline(always)]
pub fn map1<A: Lane, D: Lane>(r: &mut Regs, mask: u32, d: u32, a: u32, f: impl Fn(A) -> D) {
    let out = each(&A::load(r, a), f);
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
