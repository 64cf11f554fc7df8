//! Replies on their way to a client. A reply with secrets lies in secret pages and knows which
//! secrets it carries, so that it can be dropped when one of them is erased.

use keyrack_sys::memory::Buffer;
use keyrack_wire::{CapacityError, Writer, copy_short};
use smallvec::SmallVec;

use crate::reclaim::{ReclaimPages, ensure_spare};
use crate::stored_secret::StoredSecret;

/// An encoded reply.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Carries these secrets. Most replies carry one.
    Secret { page: Buffer, carries: SmallVec<[StoredSecret; 1]> },
    /// Carries no secret.
    Plain(Vec<u8>),
}

impl Reply {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Reply::Secret { page, .. } => page.filled(),
            Reply::Plain(bytes) => bytes,
        }
    }

    /// Returns `true` if the reply carries an erased secret. Such a reply must not be sent.
    pub(crate) fn is_stale(&self) -> bool {
        matches!(self, Reply::Secret { carries, .. } if carries.iter().any(StoredSecret::is_erased))
    }
}

/// Writes a reply with secrets into secret pages.
pub(crate) struct PageWriter<'a> {
    pub(crate) page: &'a mut Buffer,
    pub(crate) reclaim: &'a dyn ReclaimPages,
}

impl Writer for PageWriter<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        if let Some(target) = self.page.take_in(bytes.len()) {
            copy_short(target, bytes);
            return Ok(());
        }
        self.reserve(bytes.len())?;
        self.page.extend(bytes).map_err(|_| CapacityError)
    }

    fn reserve(&mut self, more: usize) -> Result<(), CapacityError> {
        ensure_spare(self.page, more, self.reclaim).map_err(|_| CapacityError)
    }
}

/// Writes a reply without secrets into ordinary memory. The protocols limit its length.
pub(crate) struct PlainWriter(pub(crate) Vec<u8>);

impl Writer for PlainWriter {
    fn put(&mut self, bytes: &[u8]) -> Result<(), CapacityError> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
