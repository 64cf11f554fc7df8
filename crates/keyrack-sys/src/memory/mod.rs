//! Memory for secrets: pages that are kept out of swap, core dumps and forked children as far as the mode says, handed
//! out in small slots, wiped when given back. Never the allocator's heap, never a copy outside these pages.
//!
//! A [`Pool`] has two shares of one budget, and neither takes from the other: three quarters keep [`Secret`]s, a quarter
//! carries requests and replies in [`Buffer`]s. Freed slots hold zeros, and so does a page before its first use.

mod arena;
mod buffer;
mod hibernation;
mod limit;
mod mapping;
mod mode;
mod pool;
mod secret;
mod secretmem;
#[cfg(test)]
mod tests;

pub use buffer::Buffer;
pub use hibernation::Hibernation;
pub use pool::{Pool, Usage};
pub use secret::Secret;

/// Returns `true` if this process may lock more memory once it raises its own limit to the hard one, as a daemon does
/// ([`crate::hardening::raise_limits`]). A probe that fails before says little then.
#[must_use]
pub fn is_limit_raisable() -> bool {
    limit::is_raisable()
}

/// What the kernel keeps secret pages from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `memfd_secret(2)`: not even root reads them through the kernel. Locked, and not in core dumps; a forked child has none of them.
    Secret,
    /// Locked (`mlock(2)`), never in swap; not in core dumps; zeros in a forked child.
    Locked,
    /// Not in core dumps; zeros in a forked child. Can be swapped out.
    Unlocked,
}

impl Mode {
    /// The mode's name: `secret`, `locked`, `unlocked`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Locked => "locked",
            Self::Unlocked => "unlocked",
        }
    }
}

/// Which mode a pool shall have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeRequest {
    /// The strongest that works here; [`Mode::Secret`] only where the machine could not hibernate anyway, for such pages block that.
    Auto,
    /// This one or none, whatever it blocks.
    Require(Mode),
}

/// How much memory a pool may map, in bytes. Three quarters are the store's, a quarter the requests'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Both shares together. At least [`Budget::LEAST`].
    pub total: usize,
}

impl Budget {
    /// 256 KiB: each share then has room for a slab.
    pub const LEAST: usize = 256 * 1024;

    /// A budget of this many bytes.
    #[must_use]
    pub const fn bytes(total: usize) -> Self {
        Self { total }
    }
}

impl Default for Budget {
    /// 64 MiB.
    fn default() -> Self {
        Self::bytes(64 * 1024 * 1024)
    }
}

/// The part of a pool that was full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partition {
    /// The three quarters for [`Secret`]s.
    Store,
    /// The quarter for [`Buffer`]s.
    Requests,
    /// One [`Buffer`]'s own limit.
    Buffer,
}

/// There was no room. What was stored before is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory {
    /// What was full.
    pub partition: Partition,
    /// Its limit in bytes.
    pub limit: usize,
    /// The kernel's word, when it refused a page the budget had room for (`ENOMEM`, `EAGAIN`: a limit was lowered).
    pub errno: Option<i32>,
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

/// Why a pool could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemoryError {
    /// The required mode does not work here.
    Unavailable {
        /// The mode that was required.
        mode: Mode,
        /// What it lacks, in a sentence.
        lacks: String,
    },
    /// The budget is under [`Budget::LEAST`].
    BudgetTooSmall {
        /// What was asked for, in bytes.
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
