//! Linear maps over GF(2): a matrix of bits stored by columns, and the elimination everything else rests on.
//!
//! A map takes an index of `cols` bits to an index of `rows` bits; adding is XOR. Elimination always looks at columns
//! from the lowest to the highest, so the choice of independent columns, of preimages and of inverses is the same
//! everywhere: a column that depends on earlier ones is *free*, and every preimage has its free bits zero.

use smallvec::{SmallVec, smallvec};

/// A linear map from bit vectors to bit vectors (at most 64 bits on either side).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LinearMap {
    cols: SmallVec<[u64; 16]>,
    rows: u32,
}

impl LinearMap {
    /// A map whose input bit `i` goes to `cols[i]`; the output has `rows` bits.
    pub fn new(cols: impl IntoIterator<Item = u64>, rows: u32) -> Self {
        let cols: SmallVec<[u64; 16]> = cols.into_iter().collect();
        assert!(cols.len() <= 64 && rows <= 64, "a linear map has at most 64 input and 64 output bits");
        assert!(cols.iter().all(|&c| rows == 64 || c >> rows == 0), "a column of a linear map has bits beyond its {rows} rows");
        LinearMap { cols, rows }
    }

    /// The identity on `bits` bits.
    pub fn identity(bits: u32) -> Self {
        Self::new((0..bits).map(|i| 1 << i), bits)
    }

    /// Number of input bits.
    pub fn inputs(&self) -> u32 {
        self.cols.len() as u32
    }

    /// Number of output bits.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Images of the input bits, lowest first.
    pub fn cols(&self) -> &[u64] {
        &self.cols
    }

    /// The image of `x`.
    pub fn apply(&self, x: u64) -> u64 {
        debug_assert!(self.inputs() == 64 || x >> self.inputs() == 0, "index has more bits than the map has inputs");
        bits_of(x).fold(0, |acc, i| acc ^ self.cols[i as usize])
    }

    /// `self` after `inner`.
    pub fn compose(&self, inner: &LinearMap) -> LinearMap {
        assert_eq!(inner.rows, self.inputs(), "composed maps must agree on the bits between them");
        Self::new(inner.cols.iter().map(|&c| self.apply(c)), self.rows)
    }

    /// Mask of the input bits that depend on lower ones. With all of them zero, the map is injective on the others.
    pub fn free(&self) -> u64 {
        let mut echelon = Echelon::default();
        (0..self.cols.len()).filter(|&i| !echelon.insert(self.cols[i], i)).fold(0, |mask, i| mask | 1 << i)
    }

    /// Dimension of the image.
    pub fn rank(&self) -> u32 {
        self.inputs() - self.free().count_ones()
    }

    /// Every output has a preimage.
    pub fn is_surjective(&self) -> bool {
        self.rank() == self.rows
    }

    /// Every output has at most one preimage.
    pub fn is_injective(&self) -> bool {
        self.free() == 0
    }

    /// A basis of the inputs that go to zero.
    pub fn kernel(&self) -> SmallVec<[u64; 8]> {
        let mut echelon = Echelon::default();
        let mut kernel = smallvec![];
        for (i, &col) in self.cols.iter().enumerate() {
            let (rest, combination) = echelon.reduce(col);
            if rest == 0 {
                kernel.push(combination | 1 << i);
            } else {
                echelon.insert(col, i);
            }
        }
        kernel
    }

    /// The preimage of `y` whose free bits are zero, if there is one.
    pub fn preimage(&self, y: u64) -> Option<u64> {
        self.echelon().preimage(y)
    }

    /// The map that takes each output to its preimage with zero free bits, where every output has one.
    pub fn right_inverse(&self) -> Option<LinearMap> {
        let echelon = self.echelon();
        let cols = (0..self.rows).map(|i| echelon.preimage(1 << i)).collect::<Option<SmallVec<[u64; 16]>>>()?;
        Some(LinearMap { cols, rows: self.inputs() })
    }

    fn echelon(&self) -> Echelon {
        let mut echelon = Echelon::default();
        for (i, &col) in self.cols.iter().enumerate() {
            echelon.insert(col, i);
        }
        echelon
    }
}

/// Positions of the ones in `x`, lowest first.
pub fn bits_of(x: u64) -> impl Iterator<Item = u32> {
    let mut rest = x;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let bit = rest.trailing_zeros();
            rest &= rest - 1;
            bit
        })
    })
}

/// A growing set of independent vectors, each known as a combination of the columns that were inserted.
#[derive(Clone, Default, Debug)]
pub struct Echelon {
    /// (vector, combination of inserted columns), each vector with a leading one no other vector has.
    vectors: SmallVec<[(u64, u64); 16]>,
}

impl Echelon {
    /// The span of `vectors`.
    pub fn spanning<'a>(vectors: impl IntoIterator<Item = &'a u64>) -> Self {
        let mut span = Echelon::default();
        for &v in vectors {
            span.grow(v);
        }
        span
    }

    /// Adds a vector under the column number `index`; false where it depends on those already here.
    pub fn insert(&mut self, vector: u64, index: usize) -> bool {
        let (rest, combination) = self.reduce(vector);
        if rest == 0 {
            return false;
        }
        self.vectors.push((rest, combination ^ 1 << index));
        true
    }

    /// Adds a vector whose combinations are of no interest; true where it is new.
    pub fn grow(&mut self, vector: u64) -> bool {
        self.insert(vector, 0)
    }

    /// What is left of `vector` after subtracting vectors of this set, and the combination that was subtracted.
    pub fn reduce(&self, vector: u64) -> (u64, u64) {
        self.vectors.iter().fold((vector, 0), |(rest, combination), &(v, c)| {
            if rest & (1 << v.ilog2()) != 0 { (rest ^ v, combination ^ c) } else { (rest, combination) }
        })
    }

    /// `vector` is a combination of this set.
    pub fn contains(&self, vector: u64) -> bool {
        self.reduce(vector).0 == 0
    }

    /// Number of independent vectors.
    pub fn rank(&self) -> usize {
        self.vectors.len()
    }

    fn preimage(&self, y: u64) -> Option<u64> {
        let (rest, combination) = self.reduce(y);
        (rest == 0).then_some(combination)
    }
}

/// A basis of the vectors that both spans contain.
pub fn intersection(a: &[u64], b: &[u64]) -> SmallVec<[u64; 8]> {
    let a = independent(a);
    let b = independent(b);
    let joined = LinearMap::new(a.iter().chain(&b).copied(), 64);
    let of_a = (1u64 << a.len()) - 1;
    joined.kernel().iter().map(|&k| bits_of(k & of_a).fold(0, |acc, i| acc ^ a[i as usize])).collect()
}

/// The vectors that do not depend on earlier ones.
pub fn independent(vectors: &[u64]) -> SmallVec<[u64; 16]> {
    let mut echelon = Echelon::default();
    vectors.iter().copied().enumerate().filter(|&(i, v)| echelon.insert(v, i)).map(|(_, v)| v).collect()
}
