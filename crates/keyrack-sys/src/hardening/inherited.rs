//! Removal of descriptors and variables that this process inherited.
#![expect(unsafe_code, reason = "descriptor calls and the environment block have no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;
use zeroize::Zeroize as _;

use super::threads;
use crate::process::procfs;

/// Closes every descriptor from 3 up except those in `keep`. Call it first in `main`, while nothing
/// in this process owns a descriptor that it was not started with.
///
/// # Errors
/// Those of `close_range(2)` (Linux 5.9), and of reading `/proc/self/fd` where the kernel has none.
pub fn close_inherited(keep: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut keep: Vec<RawFd> = keep.iter().map(AsRawFd::as_raw_fd).collect();
    keep.extend(procfs::opened().map(|fd| fd.as_raw_fd()));
    for (first, last) in gaps(&keep) {
        match close_range(first, last) {
            Err(Errno::ENOSYS) => return close_listed(&keep),
            other => other?,
        }
    }
    Ok(())
}

/// Returns the ranges of descriptors from 3 up that contain none of `keep`.
fn gaps(keep: &[RawFd]) -> Vec<(u32, u32)> {
    let mut keep: Vec<u32> =
        keep.iter().filter_map(|&fd| u32::try_from(fd).ok()).filter(|&fd| fd >= 3).collect();
    keep.sort_unstable();
    keep.dedup();
    let mut first = 3;
    let mut gaps = Vec::new();
    for fd in keep {
        if fd > first {
            gaps.push((first, fd - 1));
        }
        first = fd + 1;
    }
    gaps.push((first, u32::MAX));
    gaps
}

fn close_range(first: u32, last: u32) -> nix::Result<()> {
    // SAFETY: closing descriptors touches no memory. That none of them is owned by a value of this
    // process is what close_inherited asks of its caller; if one were, its later use would fail
    // with EBADF.
    Errno::result(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
    Ok(())
}

fn close_listed(keep: &[RawFd]) -> io::Result<()> {
    let open: Vec<RawFd> = std::fs::read_dir("/proc/self/fd")?
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|fd| *fd >= 3 && !keep.contains(fd))
        .collect();
    for fd in open {
        // SAFETY: as in close_range. The descriptor of the listing itself is closed by now, which
        // is EBADF.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

/// Overwrites the environment block that this process was started with, except the variables named
/// in `keep`, and unsets the others: a caller's environment is then neither in this process's
/// memory nor in `/proc/<pid>/environ`. Call it first in `main`.
///
/// # Errors
/// If there is a second thread, which might be reading it. Nothing is changed then.
pub fn scrub_environment(keep: &[&str]) -> io::Result<()> {
    if threads()? != Some(1) {
        return Err(io::Error::other("the process has other threads already"));
    }
    // SAFETY: `environ` is null or an array of strings that ends in null (environ(7)). All of it is
    // writable memory of this process's, and there is no other thread that could look at it
    // meanwhile.
    unsafe {
        let mut from = environ;
        let mut to = from;
        while !from.is_null() && !(*from).is_null() {
            let entry = *from;
            let len = libc::strlen(entry);
            let text = std::slice::from_raw_parts_mut(entry.cast::<u8>(), len);
            let name = text.split(|&b| b == b'=').next().unwrap_or_default();
            if keep.iter().any(|kept| kept.as_bytes() == name) {
                *to = entry;
                to = to.add(1);
            } else {
                text.zeroize();
            }
            from = from.add(1);
        }
        if !to.is_null() {
            *to = std::ptr::null_mut();
        }
    }
    Ok(())
}

// SAFETY: the C library defines this variable with this type (environ(7)).
unsafe extern "C" {
    static mut environ: *mut *mut libc::c_char;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_exclude_kept_descriptors() {
        const END: u32 = u32::MAX;
        for (keep, expected) in [
            (vec![], vec![(3, END)]),
            (vec![3], vec![(4, END)]),
            (vec![0, 1, 2, -1], vec![(3, END)]),
            (vec![7, 5, 5], vec![(3, 4), (6, 6), (8, END)]),
            (vec![3, 4, 5], vec![(6, END)]),
        ] {
            assert_eq!(gaps(&keep), expected, "{keep:?}");
        }
    }
}
