//! Who this process acts as. Never the real or saved ids: the kernel checks the effective one.

/// The effective uid.
#[must_use]
pub fn uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Whether the effective uid is root's.
#[must_use]
pub fn euid_is_root() -> bool {
    uid() == 0
}
