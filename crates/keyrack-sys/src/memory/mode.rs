//! Modes of protection for pages.

/// Protection of a pool's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryMode {
    /// `memfd_secret(2)`: not even root reads them through the kernel. Locked, not in core dumps,
    /// and not mapped in a forked child.
    Secret,
    /// Locked (`mlock(2)`), never in swap; not in core dumps; zeros in a forked child.
    Locked,
    /// Not in core dumps; zeros in a forked child. Can be swapped out.
    Unlocked,
}

impl MemoryMode {
    /// Returns the name of the mode: `secret`, `locked`, `unlocked`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Locked => "locked",
            Self::Unlocked => "unlocked",
        }
    }
}

/// Mode that a pool is asked to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModeRequest {
    /// The strongest mode that works here. [`MemoryMode::Secret`] only where the machine could not
    /// hibernate anyway, because such pages block hibernation.
    Auto,
    /// This mode or none, whatever it blocks.
    Require(MemoryMode),
}
