//! Budget of a pool.

/// Limit of the memory that a pool maps. Three quarters are for secrets, a quarter for requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of both partitions together. At least [`Budget::LEAST`].
    pub total: usize,
}

impl Budget {
    /// 256 KiB, so that each partition has room for a slab.
    pub const LEAST: usize = 256 * 1024;

    /// Returns a budget of `total` bytes.
    #[must_use]
    pub const fn bytes(total: usize) -> Self {
        Self { total }
    }
}

impl Default for Budget {
    /// Returns a budget of 64 MiB.
    fn default() -> Self {
        Self::bytes(64 * 1024 * 1024)
    }
}
