//! Replies on their way out. One that carries secrets lies in secret pages and knows which, so that it can be wiped when one
//! of them is erased; one that carries none is ordinary memory.

use keyrack_sys::memory::Buffer;
use keyrack_wire::{Full, Sink};

use crate::held::Held;
use crate::state::Daemon;

/// The bytes of a reply.
#[derive(Debug)]
pub(crate) enum Reply {
    /// It carries these secrets.
    Secret { page: Buffer, carries: Carries },
    /// It carries none.
    Plain(Vec<u8>),
}

/// The secrets a reply carries.
#[derive(Debug)]
pub(crate) enum Carries {
    None,
    One(Held),
    Many(Vec<Held>),
}

impl Carries {
    /// Adds a secret.
    pub(crate) fn push(&mut self, held: Held) {
        *self = match std::mem::replace(self, Carries::None) {
            Carries::None => Carries::One(held),
            Carries::One(first) => Carries::Many(vec![first, held]),
            Carries::Many(mut many) => {
                many.push(held);
                Carries::Many(many)
            }
        };
    }

    fn any_erased(&self) -> bool {
        match self {
            Carries::None => false,
            Carries::One(held) => held.is_erased(),
            Carries::Many(many) => many.iter().any(Held::is_erased),
        }
    }
}

impl Reply {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Reply::Secret { page, .. } => page.filled(),
            Reply::Plain(bytes) => bytes,
        }
    }

    /// Whether it carries a secret that has been erased, and so must not go out.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Reply::Secret { carries, .. } if carries.any_erased())
    }
}

/// A page a reply is composed in.
pub(crate) struct Page<'a>(pub(crate) &'a mut Buffer, pub(crate) &'a Daemon);

impl Sink for Page<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let spare = self.0.spare_mut();
        if let Some(place) = spare.get_mut(..bytes.len()) {
            copy_short(place, bytes);
            self.0.advance(bytes.len());
            return Ok(());
        }
        self.reserve(bytes.len())?;
        self.0.extend(bytes).map_err(|_| Full)
    }

    fn reserve(&mut self, more: usize) -> Result<(), Full> {
        self.1.ensure_spare(self.0, more).map_err(|_| Full)
    }
}

/// Copies `from` to `to`, which are of one length. A reply is put together from some dozens of names and commas, and a call of
/// `memcpy` costs more than most of them: here those are a few moves of eight bytes, the last two of which may overlap.
fn copy_short(to: &mut [u8], from: &[u8]) {
    const WORD: usize = 8;
    let len = from.len();
    if !(WORD..=8 * WORD).contains(&len) {
        if len < WORD {
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
        } else {
            to.copy_from_slice(from);
        }
        return;
    }
    let tail = len - WORD;
    for (to, from) in to[..tail].as_chunks_mut::<WORD>().0.iter_mut().zip(from[..tail].as_chunks::<WORD>().0)
    {
        *to = *from;
    }
    // What is left of the middle is shorter than a word.
    let middle = tail / WORD * WORD;
    if middle < tail {
        to[middle..middle + WORD].copy_from_slice(&from[middle..middle + WORD]);
    }
    to[tail..].copy_from_slice(&from[tail..]);
}

/// Ordinary memory a reply without secrets is composed in. The protocols' own limits bound it.
pub(crate) struct Text(pub(crate) Vec<u8>);

impl Sink for Text {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_copies_are_copies() {
        let from: Vec<u8> = (0..200).collect();
        for len in 0..200 {
            for start in [0, 1, 3] {
                let from = &from[start.min(200 - len)..][..len];
                let mut to = vec![0xff; len];
                copy_short(&mut to, from);
                assert_eq!(to, from, "{len} bytes");
            }
        }
    }
}
