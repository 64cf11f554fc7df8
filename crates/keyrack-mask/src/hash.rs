//! Keyed hashes. Patterns are kept as hashes, not as bytes.

use zeroize::Zeroize as _;

/// Hash functions that depend on a random key.
///
/// The hash of a text is a polynomial in a random odd base over random values of its bytes, modulo
/// 2⁶⁴, so that the hash of a window follows from those of two beginnings ([`Hasher::window`]).
pub(crate) struct Hasher {
    values: [u64; 256],
    /// The values times the base.
    shifted: [u64; 256],
    base: u64,
    /// Powers of the base: the first, the second, the fourth and so on.
    powers: [u64; 32],
    head: [u64; 2],
    gram: u32,
}

impl Hasher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let mut random = Xoshiro::new(key);
        let mut hasher = Hasher {
            values: [0; 256],
            shifted: [0; 256],
            base: random.next() | 1,
            powers: [0; 32],
            head: [random.next(), random.next() | 1],
            gram: (random.next() >> 32) as u32 | 1,
        };
        hasher.values.fill_with(|| random.next());
        hasher.shifted = hasher.values.map(|value| value.wrapping_mul(hasher.base));
        let mut power = hasher.base;
        for slot in &mut hasher.powers {
            *slot = power;
            power = power.wrapping_mul(power);
        }
        hasher
    }

    /// Returns the hash of a whole text.
    pub(crate) fn text(&self, text: &[u8]) -> u64 {
        // Four interleaved sums of two bytes each, because the processor starts four
        // multiplications before the first is done. Benchmark rows "masking, … keys, text: …".
        let (eights, rest) = text.as_chunks::<8>();
        let mut sums = [0_u64; 4];
        for eight in eights {
            for (sum, pair) in sums.iter_mut().zip(eight.as_chunks::<2>().0) {
                let values =
                    self.shifted[usize::from(pair[0])].wrapping_add(self.values[usize::from(pair[1])]);
                *sum = sum.wrapping_mul(self.powers[3]).wrapping_add(values);
            }
        }
        let all = |all: u64, sum: u64| all.wrapping_mul(self.powers[1]).wrapping_add(sum);
        rest.iter().fold(sums.into_iter().fold(0, all), |sum, b| self.next(sum, *b))
    }

    /// Returns the hash of the text of `sum` and one more byte.
    pub(crate) fn next(&self, sum: u64, b: u8) -> u64 {
        sum.wrapping_mul(self.base).wrapping_add(self.values[usize::from(b)])
    }

    /// Returns the hash of a window from the sums before and after it and the power of the base for
    /// its length.
    pub(crate) fn window(before: u64, after: u64, power: u64) -> u64 {
        after.wrapping_sub(before.wrapping_mul(power))
    }

    /// The base to the power of `exponent`.
    pub(crate) fn power(&self, exponent: usize) -> u64 {
        let set = (0..32).filter(|bit| exponent >> bit & 1 == 1);
        set.fold(1, |all: u64, bit| all.wrapping_mul(self.powers[bit]))
    }

    /// The base to the power of two to the power of `exponent`.
    pub(crate) fn power_of_two(&self, exponent: u32) -> u64 {
        self.powers[exponent as usize]
    }

    /// Hash of the first eight bytes of a text, or of the first four of one that is shorter.
    pub(crate) fn head(&self, text: &[u8]) -> u64 {
        let (head, salt) = match text.first_chunk::<8>() {
            Some(eight) => (u64::from_le_bytes(*eight), self.head[0]),
            None => (u64::from(self.first_four(text)), !self.head[0]),
        };
        let product = u128::from(head ^ salt) * u128::from(self.head[1]);
        (product >> 64) as u64 ^ (head ^ salt).wrapping_mul(self.head[1])
    }

    fn first_four(&self, text: &[u8]) -> u32 {
        u32::from_le_bytes(*text.first_chunk().expect("no pattern is shorter than four bytes"))
    }

    /// Hash of four bytes, whose upper bits count.
    pub(crate) fn gram(&self) -> u32 {
        self.gram
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.values.zeroize();
        self.shifted.zeroize();
        self.base.zeroize();
        self.powers.zeroize();
        self.head.zeroize();
        self.gram.zeroize();
    }
}

/// The generator xoshiro256** (Blackman and Vigna).
struct Xoshiro([u64; 4]);

impl Xoshiro {
    fn new(seed: &[u8; 32]) -> Self {
        let (words, _) = seed.as_chunks::<8>();
        let mut state = [0; 4];
        state.iter_mut().zip(words).for_each(|(slot, word)| *slot = u64::from_le_bytes(*word));
        // A state of zeros would only give zeros.
        state[0] |= 1;
        Xoshiro(state)
    }

    fn next(&mut self) -> u64 {
        let s = &mut self.0;
        let out = s[1].wrapping_mul(5).rotate_left(7).wrapping_mul(9);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }
}

impl Drop for Xoshiro {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_hash_equals_text_hash() {
        let hasher = Hasher::new(&[3; 32]);
        let text: Vec<u8> = (0..=255).cycle().take(700).map(|b: u8| b.wrapping_mul(91)).collect();
        let mut sums = vec![0];
        for b in &text {
            sums.push(hasher.next(sums[sums.len() - 1], *b));
        }
        for (from, to) in [(0, 0), (0, 1), (3, 700), (17, 22), (5, 261), (699, 700)] {
            let rolled = Hasher::window(sums[from], sums[to], hasher.power(to - from));
            assert_eq!(rolled, hasher.text(&text[from..to]), "{from}..{to}");
        }
    }

    #[test]
    fn hashes_depend_on_the_key() {
        let hashers = [Hasher::new(&[1; 32]), Hasher::new(&[2; 32])];
        let [a, b] =
            hashers.map(|hasher| (hasher.text(b"abcdefgh"), hasher.head(b"abcdefgh"), hasher.gram()));
        assert!(a.0 != b.0 && a.1 != b.1 && a.2 != b.2);
    }
}
