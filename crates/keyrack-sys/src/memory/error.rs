//! Errors of pools.

use super::budget::Budget;
use super::mode::MemoryMode;

/// Part of a pool that has a limit of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// The three quarters for [`PooledSecret`](super::PooledSecret)s.
    Store,
    /// The quarter for [`Buffer`](super::Buffer)s.
    Requests,
    /// One [`Buffer`](super::Buffer)'s own limit.
    Buffer,
}

/// Error of an allocation that does not fit. Everything stored before is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Partition without room.
    pub partition: Partition,
    /// Its limit in bytes.
    pub limit: usize,
    /// Errno of the kernel, if it refused a page that the budget had room for (`ENOMEM`, `EAGAIN`:
    /// a limit was lowered). The message shows it.
    pub(super) errno: Option<i32>,
}

impl OutOfMemory {
    /// Returns `true` if the kernel refused a page that the budget had room for.
    pub fn is_denied_by_kernel(&self) -> bool {
        self.errno.is_some()
    }
}

impl std::fmt::Display for OutOfMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.partition {
            Partition::Store => "the memory for secrets is full",
            Partition::Requests => "the memory for requests is full",
            Partition::Buffer => "the message is too large",
        };
        write!(f, "{what} ({} KiB)", self.limit / 1024)?;
        match self.errno {
            Some(errno) => write!(f, ": {}", std::io::Error::from_raw_os_error(errno)),
            None => Ok(()),
        }
    }
}

impl std::error::Error for OutOfMemory {}

/// Error of creating a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryError {
    /// The required mode does not work here.
    Unavailable {
        /// Required mode.
        mode: MemoryMode,
        /// Reason, for people.
        lacks: String,
    },
    /// The budget is under [`Budget::LEAST`].
    BudgetTooSmall {
        /// Bytes that were asked for.
        total: usize,
    },
}

impl std::fmt::Display for MemoryError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unavailable { mode, lacks } => write!(f, "no {} memory: {lacks}", mode.name()),
            Self::BudgetTooSmall { total } => {
                write!(f, "a memory budget of {total} bytes is too small, the least is {}", Budget::LEAST)
            }
        }
    }
}

impl std::error::Error for MemoryError {}
