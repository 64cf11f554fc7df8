//! Which of the kernel's features are to be had from here, asked of the kernel itself. Nothing here takes a feature into use,
//! and nothing is left behind.
#![expect(unsafe_code, reason = "system calls that have no safe wrapper")]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

/// `LANDLOCK_CREATE_RULESET_VERSION` of `linux/landlock.h`.
const VERSION: u32 = 1;

/// The version of landlock's interface, from 1 up (`landlock(7)`).
///
/// # Errors
/// `ENOSYS` when this kernel has none, `EOPNOTSUPP` when it was not enabled at boot; what a sandbox around us answers.
pub fn landlock_abi() -> io::Result<i32> {
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call reads no memory and makes no ruleset (landlock_create_ruleset(2)).
    let abi = Errno::result(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION)
    })?;
    i32::try_from(abi).map_err(io::Error::other)
}

/// Whether secret memory can be made (`memfd_secret(2)`). Makes one of no size and closes it.
///
/// # Errors
/// `ENOSYS` when this kernel has none or it is not enabled; what a sandbox around us answers.
pub fn secret_memory() -> io::Result<()> {
    // SAFETY: takes one integer.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) })?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just made it for us; nobody else has it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_answers() {
        for errno in [landlock_abi().map(|abi| assert!(abi >= 1)), secret_memory()] {
            if let Err(error) = errno {
                let errno = error.raw_os_error().expect("an errno");
                let unavailable = [libc::ENOSYS, libc::EOPNOTSUPP, libc::EPERM];
                assert!(unavailable.contains(&errno), "{error}");
            }
        }
    }
}
