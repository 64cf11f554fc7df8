//! Replies on their way out. One that carries secrets lies in secret pages and knows which, so that it can be wiped when one
//! of them is erased; one that carries none is ordinary memory.

use keyrack_sys::memory::Buffer;
use keyrack_wire::{CapacityError, Writer, copy_short};

use crate::state::Daemon;
use crate::stored_secret::StoredSecret;

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
    One(StoredSecret),
    Many(Vec<StoredSecret>),
}

impl Carries {
    /// Adds a secret.
    pub(crate) fn push(&mut self, held: StoredSecret) {
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
            Carries::Many(many) => many.iter().any(StoredSecret::is_erased),
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

impl Writer for Page<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        if let Some(place) = self.0.take_in(bytes.len()) {
            copy_short(place, bytes);
            return Ok(());
        }
        self.reserve(bytes.len())?;
        self.0.extend(bytes).map_err(|_| CapacityError)
    }

    fn reserve(&mut self, more: usize) -> Result<(), CapacityError> {
        self.1.ensure_spare(self.0, more).map_err(|_| CapacityError)
    }
}

/// Ordinary memory a reply without secrets is composed in. The protocols' own limits bound it.
pub(crate) struct Text(pub(crate) Vec<u8>);

impl Writer for Text {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
