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

/// The uid that the kernel shows for every user that a user namespace does not map, or 65534 where it
/// does not say (`proc_sys_kernel(5)`).
#[must_use]
pub fn overflow_uid() -> u32 {
    let mut buffer = [0; 16];
    let text = crate::process::procfs::read_small(format_args!("sys/kernel/overflowuid"), &mut buffer)
        .unwrap_or(b"");
    std::str::from_utf8(text).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(65_534)
}
