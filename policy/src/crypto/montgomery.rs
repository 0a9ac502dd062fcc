//! Powers modulo an odd number, for signatures that everyone may see: what it costs may depend on the numbers.
//!
//! A number is a row of limbs of 28 bits, the least first. The product of two limbs has 56 bits, so a column of
//! 64 bits takes 255 of them before it must carry into the next: products are added without carries, and four
//! rows at once, so that a column is loaded and stored once for four products. The reduction is Montgomery's
//! (P. L. Montgomery, "Modular multiplication without trial division", 1985), on the same columns.
//!
//! With `n` the modulus and `R` the power of two that all limbs together hold, `4n < R`: factors below `2n`
//! then have a reduced product below `2n`, and nothing has to be compared or subtracted until the end.

/// In bits.
const LIMB: u32 = 28;
/// The bits of a limb.
const MASK: u64 = (1 << LIMB) - 1;
/// Limbs that are handled at once.
const BLOCK: usize = 4;
/// Products of two limbs that a column holds: `255 * (2^28 - 1)^2`, and carries, are below `2^64`.
const ROOM: u64 = 255;

/// An odd modulus of at least three limbs.
#[derive(Debug)]
pub(super) struct Modulus {
    number: Number,
    /// In bits.
    length: u32,
    /// `-1/n` modulo a limb.
    inverse: u32,
}

/// The limbs, as many blocks as the modulus has.
#[derive(Debug, Clone)]
struct Number(Vec<[u32; BLOCK]>);

impl Modulus {
    /// The modulus from big-endian bytes without leading zeros.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let length = bit_length(bytes);
        let number = Number::read(bytes, limbs(length).div_ceil(BLOCK));
        let lowest = number.limbs().next().unwrap_or_default();
        // Newton's iteration doubles the right bits; an odd number is its own inverse modulo 8.
        let inverse = (0..4).fold(lowest, |inverse, _| {
            inverse.wrapping_mul(2_u32.wrapping_sub(lowest.wrapping_mul(inverse)))
        });
        Self {
            number,
            length,
            inverse: low(u64::from(inverse.wrapping_neg())),
        }
    }

    /// `base` to the power of `2^squarings + 1`, as big-endian bytes of the modulus's length. The base is
    /// below the modulus, big-endian.
    pub(super) fn power(&self, base: &[u8], squarings: u32) -> Vec<u8> {
        let base = Number::read(base, self.blocks());
        let mut power = self.times_radix(&base);
        for _ in 0..squarings {
            power = self.square(&power);
        }
        // Each Montgomery product divides by R, which `power` has as a factor and `base` has not.
        let power = self.multiply(&power, &base);
        // With a factor below `n`, the product is below `1.5n`.
        let power = power.minus(&self.number).unwrap_or(power);
        power.write(usize::try_from(self.length.div_ceil(8)).unwrap_or(usize::MAX))
    }

    fn blocks(&self) -> usize {
        self.number.0.len()
    }

    /// `left * right / R`
    fn multiply(&self, left: &Number, right: &Number) -> Number {
        let mut columns = Columns::new(self.blocks());
        for (at, rows) in left.0.iter().enumerate() {
            columns.make_room(4);
            columns.add(at, *rows, [0; 3], &right.0);
        }
        self.reduce(columns)
    }

    /// `number * number / R`. What two different limbs make comes twice, so half of the products are enough.
    fn square(&self, number: &Number) -> Number {
        let mut columns = Columns::new(self.blocks());
        for (at, rows) in number.0.iter().enumerate() {
            columns.make_room(8);
            columns.add(2 * at, *rows, [0; 3], &[*rows]);
            let rest = number.0.get(at + 1..).unwrap_or_default();
            columns.add(2 * at + 1, rows.map(|limb| 2 * limb), [0; 3], rest);
        }
        self.reduce(columns)
    }

    /// What the columns hold, below `4n^2`, divided by R modulo `n`: multiples of `n` turn the lower half into
    /// zeros.
    fn reduce(&self, mut columns: Columns) -> Number {
        let Some(([n0, n1, n2, n3], rest)) = self.number.0.split_first() else {
            return self.number.clone();
        };
        let factor = |column: u64| low(u64::from(low(column)) * u64::from(self.inverse));
        for at in 0..self.blocks() {
            columns.make_room(4);
            let blocks = columns.sums.get_mut(at..).unwrap_or_default();
            let [[c0, c1, c2, c3], [c4, ..], ..] = blocks else {
                break;
            };
            let f0 = factor(*c0);
            *c1 += (*c0 + product(f0, *n0)) >> LIMB;
            *c1 += product(f0, *n1);
            let f1 = factor(*c1);
            *c2 += (*c1 + product(f1, *n0)) >> LIMB;
            *c2 += product(f0, *n2) + product(f1, *n1);
            let f2 = factor(*c2);
            *c3 += (*c2 + product(f2, *n0)) >> LIMB;
            *c3 += product(f0, *n3) + product(f1, *n2) + product(f2, *n1);
            let f3 = factor(*c3);
            *c4 += (*c3 + product(f3, *n0)) >> LIMB;
            (*c0, *c1, *c2, *c3) = (0, 0, 0, 0);
            columns.add(at + 1, [f0, f1, f2, f3], [*n1, *n2, *n3], rest);
        }
        columns.upper_half()
    }

    /// `number * R`, below `2n`, by division limb by limb (D. E. Knuth, "The Art of Computer Programming",
    /// 4.3.1, algorithm D), so that nothing about a key has to be computed before its first signature.
    ///
    /// The divisor is `n` shifted to fill its limbs but for two bits. Each quotient is made from 32 bits of it
    /// and never too large, which leaves a remainder below 1.2 times the divisor.
    fn times_radix(&self, number: &Number) -> Number {
        let limbs = limbs(self.length);
        let shift = (LIMB - (self.length + 2) % LIMB) % LIMB;
        let divisor = number_shifted(&self.number, shift, limbs);
        let mut rest = number_shifted(number, shift, limbs);
        let leading = leading_bits(&divisor) >> LIMB;
        for _ in 0..self.blocks() * BLOCK {
            let quotient = leading_bits(&rest) / (leading + 1);
            let (mut lower, mut carry) = (0, 0);
            for (limb, divisor) in rest.iter_mut().zip(&divisor) {
                let product = (quotient * u64::from(*divisor)).cast_signed();
                let column = i64::from(lower) - product + carry;
                lower = std::mem::replace(limb, low(column.cast_unsigned()));
                carry = column >> LIMB;
            }
        }
        let higher = rest.iter().skip(1).chain([&0]);
        let pairs = rest.iter().zip(higher);
        let pairs = pairs.map(|(limb, higher)| u64::from(*higher) << LIMB | u64::from(*limb));
        Number::new(self.blocks(), pairs.map(|pair| low(pair >> shift)))
    }
}

/// How many limbs hold a number of so many bits, and two bits more.
fn limbs(length: u32) -> usize {
    usize::try_from((length + 2).div_ceil(LIMB)).unwrap_or(usize::MAX)
}

/// `number * 2^shift` in so many limbs; the shift is less than a limb.
fn number_shifted(number: &Number, shift: u32, count: usize) -> Vec<u32> {
    let mut lower = 0;
    let limbs = number.limbs().take(count).map(|limb| {
        let both = u64::from(limb) << LIMB | lower;
        lower = u64::from(limb);
        low(both >> (LIMB - shift))
    });
    limbs.collect()
}

/// The leading 60 bits of limbs whose highest two bits are unused.
fn leading_bits(limbs: &[u32]) -> u64 {
    match limbs {
        [.., third, second, first] => {
            u64::from(*first) << 34 | u64::from(*second) << 6 | u64::from(*third) >> 22
        }
        _ => 0,
    }
}

fn product(left: u32, right: u32) -> u64 {
    u64::from(left) * u64::from(right)
}

/// The lowest limb.
fn low(column: u64) -> u32 {
    u32::try_from(column & MASK).unwrap_or_default()
}

/// The columns of a product of two numbers.
struct Columns {
    sums: Vec<[u64; BLOCK]>,
    /// Products of two limbs that the fullest column may hold.
    load: u64,
}

impl Columns {
    fn new(blocks: usize) -> Self {
        Self {
            sums: vec![[0; BLOCK]; 2 * blocks],
            load: 0,
        }
    }

    /// Makes each column ready for so many products.
    fn make_room(&mut self, products: u64) {
        if self.load + products > ROOM {
            carry(&mut self.sums);
            self.load = 1;
        }
        self.load += products;
    }

    /// Adds the product of four limbs and a number, from the block `at` on. `before` are the limbs below the
    /// number, which reach into its columns.
    fn add(&mut self, at: usize, rows: [u32; BLOCK], before: [u32; 3], number: &[[u32; BLOCK]]) {
        let [r0, r1, r2, r3] = rows;
        let [mut b3, mut b2, mut b1] = before;
        let sums = self.sums.get_mut(at..).unwrap_or_default();
        let Some((sums, above)) = sums.split_at_mut_checked(number.len()) else {
            return;
        };
        for ([s0, s1, s2, s3], [n0, n1, n2, n3]) in sums.iter_mut().zip(number) {
            *s0 += product(r0, *n0) + product(r1, b1) + product(r2, b2) + product(r3, b3);
            *s1 += product(r0, *n1) + product(r1, *n0) + product(r2, b1) + product(r3, b2);
            *s2 += product(r0, *n2) + product(r1, *n1) + product(r2, *n0) + product(r3, b1);
            *s3 += product(r0, *n3) + product(r1, *n2) + product(r2, *n1) + product(r3, *n0);
            (b3, b2, b1) = (*n1, *n2, *n3);
        }
        if let Some([s0, s1, s2, _]) = above.first_mut() {
            *s0 += product(r1, b1) + product(r2, b2) + product(r3, b3);
            *s1 += product(r2, b1) + product(r3, b2);
            *s2 += product(r3, b1);
        }
    }

    fn upper_half(mut self) -> Number {
        let blocks = self.sums.len() / 2;
        let upper = self.sums.get_mut(blocks..).unwrap_or_default();
        carry(upper);
        Number(upper.iter().map(|block| block.map(low)).collect())
    }
}

/// Leaves one limb in each column.
fn carry(sums: &mut [[u64; BLOCK]]) {
    let mut carry = 0;
    for sum in sums.as_flattened_mut() {
        let column = *sum + carry;
        *sum = column & MASK;
        carry = column >> LIMB;
    }
}

impl Number {
    fn new(blocks: usize, limbs: impl Iterator<Item = u32>) -> Self {
        let mut number = vec![[0; BLOCK]; blocks];
        let places = number.as_flattened_mut().iter_mut();
        places.zip(limbs).for_each(|(place, limb)| *place = limb);
        Self(number)
    }

    /// Big-endian bytes that fit into so many blocks.
    fn read(bytes: &[u8], blocks: usize) -> Self {
        // Seven bytes are two limbs.
        let limbs = bytes.rchunks(7).flat_map(|chunk| {
            let pair = chunk
                .iter()
                .fold(0, |pair, byte| pair << 8 | u64::from(*byte));
            [low(pair), low(pair >> LIMB)]
        });
        Self::new(blocks, limbs)
    }

    /// The lowest `length` bytes, big-endian.
    fn write(&self, length: usize) -> Vec<u8> {
        let (pairs, _) = self.0.as_flattened().as_chunks();
        let bytes = pairs.iter().flat_map(|[low, high]| {
            let pair = (u64::from(*low) | u64::from(*high) << LIMB).to_le_bytes();
            pair.into_iter().take(7)
        });
        let mut bytes: Vec<u8> = bytes.take(length).collect();
        bytes.reverse();
        bytes
    }

    fn limbs(&self) -> impl Iterator<Item = u32> {
        self.0.as_flattened().iter().copied()
    }

    /// The difference, if it is not negative.
    fn minus(&self, other: &Self) -> Option<Self> {
        let mut borrow = 0;
        let limbs = self.limbs().zip(other.limbs()).map(|(left, right)| {
            let difference = left.wrapping_sub(right).wrapping_sub(borrow);
            borrow = difference >> 31;
            low(u64::from(difference))
        });
        let difference = Self::new(self.0.len(), limbs);
        (borrow == 0).then_some(difference)
    }
}

/// How many bits a big-endian number without leading zeros has.
pub(super) fn bit_length(bytes: &[u8]) -> u32 {
    let unused = bytes.first().map_or(0, |byte| byte.leading_zeros());
    u32::try_from(bytes.len()).unwrap_or(u32::MAX / 8) * 8 - unused
}

#[cfg(test)]
mod tests {
    use num_bigint::BigUint;
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(modulus: &[u8], base: &BigUint) {
        let number = BigUint::from_bytes_be(modulus);
        let length = modulus.len();
        let padded = |number: BigUint| {
            let digits = number.to_bytes_be();
            [vec![0; length - digits.len()], digits].concat()
        };
        for squarings in [1, 16] {
            let exponent = BigUint::from((1_u32 << squarings) + 1);
            let power = Modulus::new(modulus).power(&padded(base.clone()), squarings);
            assert_eq!(power.len(), length);
            assert_eq!(
                BigUint::from_bytes_be(&power),
                base.modpow(&exponent, &number),
                "{base} to the {exponent} modulo {number}"
            );
        }
    }

    /// An odd number of exactly so many bits.
    fn modulus(bits: u32, mut bytes: Vec<u8>) -> Vec<u8> {
        let highest = (bits - 1) % 8;
        bytes.truncate(usize::try_from(bits.div_ceil(8)).unwrap());
        if let Some(first) = bytes.first_mut() {
            *first = *first & ((1 << highest) - 1) | 1 << highest;
        }
        if let Some(last) = bytes.last_mut() {
            *last |= 1;
        }
        bytes
    }

    fn bits() -> impl Strategy<Value = u32> {
        // Around whole bytes, whole blocks of limbs, and where columns have to carry on the way.
        let edges = vec![
            512, 520, 1024, 1118, 1230, 2048, 3246, 3358, 4096, 7166, 8192,
        ];
        let edge = (proptest::sample::select(edges), 0..4_u32);
        prop_oneof![
            6 => 512..1300_u32,
            4 => edge.prop_map(|(edge, above)| edge + above - 1),
            1 => 1300..4200_u32,
        ]
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            8 => proptest::collection::vec(any::<u8>(), 2048),
            1 => Just(vec![0xff; 2048]),
            1 => Just(vec![0; 2048]),
        ]
    }

    proptest! {
        #[test]
        fn powers_are_those_of_another_implementation(
            bits in bits(),
            number in bytes(),
            base in bytes(),
        ) {
            let modulus = modulus(bits.max(512), number);
            let number = BigUint::from_bytes_be(&modulus);
            check(&modulus, &(BigUint::from_bytes_be(&base) % number));
        }
    }

    #[test]
    fn the_smallest_and_the_largest_base_have_powers() {
        for bits in [512, 513, 1023, 2048, 2049, 4096, 16383, 16384] {
            for byte in [0, 0xa5, 0xff] {
                let modulus = modulus(bits, vec![byte; 2048]);
                let number = BigUint::from_bytes_be(&modulus);
                let half = &number >> 1;
                for base in [BigUint::ZERO, BigUint::from(1_u8), half, number - 1_u8] {
                    check(&modulus, &base);
                }
            }
        }
    }
}
