//! Mutations of a corpus from a fixed seed: bytes and runs of bytes changed, removed, doubled and
//! taken from another input.

/// Endless sequence of mutated inputs.
pub(crate) struct Mutations<'a> {
    inputs: &'a [&'a [u8]],
    state: u64,
}

/// Bytes with a meaning to some reader.
const TOKENS: &[&[u8]] = &[
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\0",
    b"\n",
    b" ",
    b"\xff",
    b"\xfe",
    b"\x80",
    b"\\ud800",
    b"\\u0000",
    b"-",
    b"0",
    b"1e999",
    b"18446744073709551616",
    b"null",
    b"true",
    b"{}",
    b"[]",
    b"\"\"",
    b"*a",
    b"&a ",
    b"\xf0\x9f\x94\x91",
];

impl<'a> Mutations<'a> {
    pub(crate) fn new(inputs: &'a [&'a [u8]]) -> Self {
        Mutations { inputs, state: 0x9e37_79b9_7f4a_7c15 }
    }

    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut bytes = self.inputs[self.below(self.inputs.len())].to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + 1 + self.below(16)).min(bytes.len());
            match self.below(7) {
                0 if at < bytes.len() => bytes[at] = self.byte(),
                1 => bytes.insert(at, self.byte()),
                2 => drop(bytes.drain(at..end.max(at))),
                3 => drop(bytes.splice(at..at, TOKENS[self.below(TOKENS.len())].iter().copied())),
                4 => {
                    let again = bytes[at..end.max(at)].to_vec();
                    bytes.splice(at..at, again);
                }
                5 => {
                    let other = self.inputs[self.below(self.inputs.len())];
                    let from = self.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend(&other[from..]);
                }
                _ if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                _ => bytes.truncate(at),
            }
        }
        bytes
    }

    fn byte(&mut self) -> u8 {
        self.random().to_le_bytes()[0]
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() >> 1).unwrap_or(0) % bound.max(1)
    }

    /// The generator xorshift64*.
    fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}
