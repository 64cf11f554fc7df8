//! Memory for secrets: pages that are kept out of swap, core dumps and forked children as far as
//! the mode says, allocated in small slots, wiped when freed. A secret never lies on the
//! allocator's heap, and is never copied outside these pages.
//!
//! A [`Pool`] has two partitions of one budget, and neither takes from the other: three quarters
//! hold [`PooledSecret`]s, a quarter holds requests and replies in [`Buffer`]s. Freed slots hold
//! zeros, and so does a page before its first use.

mod arena;
mod budget;
mod buffer;
mod error;
mod hibernation;
mod limit;
mod mapping;
mod mode;
mod mode_choice;
mod page;
mod pool;
mod secret;
mod secretmem;
#[cfg(test)]
mod tests;

pub use budget::Budget;
pub use buffer::Buffer;
pub use error::{MemoryError, OutOfMemory, Partition};
pub use hibernation::Hibernation;
pub use limit::is_raisable as is_limit_raisable;
pub use mode::{MemoryMode, ModeRequest};
pub use pool::{Pool, Usage};
pub use secret::PooledSecret;
