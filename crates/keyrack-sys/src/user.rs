//! User that this process acts as. Never the real or saved ids: the kernel checks the effective
//! one.

use keyrack_core::peer::DEFAULT_OVERFLOW_UID;
pub use keyrack_core::peer::Uid;

use crate::process::procfs;

/// Returns the effective uid.
#[must_use]
pub fn effective_uid() -> Uid {
    Uid::from_raw(nix::unistd::geteuid().as_raw())
}

/// Returns the uid that the kernel shows for every user that a user namespace does not map
/// (`proc_sys_kernel(5)`), or its default if it cannot be read.
#[must_use]
pub fn overflow_uid() -> Uid {
    let mut buffer = [0; 16];
    let text = procfs::read_small(format_args!("sys/kernel/overflowuid"), &mut buffer).unwrap_or(b"");
    let number = std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    number.map_or(DEFAULT_OVERFLOW_UID, Uid::from_raw)
}
