//! Detection of kernel features, by asking the kernel. Nothing here enables a feature, and no probe
//! leaves anything behind.
#![expect(unsafe_code, reason = "system calls that have no safe wrapper")]

use std::ffi::CStr;
use std::io;
use std::mem;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

/// Oldest kernel that a daemon runs on. It needs `pidfd_open(2)` (5.3) and `close_range(2)` (5.9),
/// and older kernels are not tested.
pub const OLDEST_SUPPORTED: KernelVersion = KernelVersion { major: 5, minor: 10 };

/// Version at the beginning of a kernel's release (`uname -r`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// `5` of `5.10.0-28-amd64`.
    pub major: u32,
    /// `10` of `5.10.0-28-amd64`.
    pub minor: u32,
}

impl KernelVersion {
    /// Returns the version of the running kernel, or `None` if its release has another form.
    #[must_use]
    pub fn running() -> Option<Self> {
        // SAFETY: an all-zero utsname is a valid value of that plain C structure.
        let mut names: libc::utsname = unsafe { mem::zeroed() };
        // SAFETY: the kernel fills a structure of the size it expects.
        Errno::result(unsafe { libc::uname(&raw mut names) }).ok()?;
        // SAFETY: the kernel ends each name with NUL, and zeros were there before (uname(2)).
        let release = unsafe { CStr::from_ptr(names.release.as_ptr()) };
        Self::of_release(release.to_str().ok()?)
    }

    fn of_release(release: &str) -> Option<Self> {
        let mut numbers = release.splitn(3, '.');
        let major = numbers.next()?.parse().ok()?;
        let minor = numbers.next()?;
        let digits = minor.find(|c: char| !c.is_ascii_digit()).unwrap_or(minor.len());
        Some(Self { major, minor: minor[..digits].parse().ok()? })
    }
}

impl std::fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// `LANDLOCK_CREATE_RULESET_VERSION` of `linux/landlock.h`.
const VERSION: u32 = 1;

/// Returns the version of landlock's interface, from 1 up (`landlock(7)`).
///
/// # Errors
/// `ENOSYS` if this kernel has no landlock, `EOPNOTSUPP` if it was not enabled at boot; others from
/// a sandbox around this process.
pub fn landlock_abi() -> io::Result<i32> {
    let nothing = ptr::null::<libc::c_void>();
    // SAFETY: with this flag the call reads no memory and makes no ruleset
    // (landlock_create_ruleset(2)).
    let abi = Errno::result(unsafe {
        libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0_usize, VERSION)
    })?;
    i32::try_from(abi).map_err(io::Error::other)
}

/// Checks that secret memory can be created (`memfd_secret(2)`). Creates an empty one and closes
/// it.
///
/// # Errors
/// `ENOSYS` if this kernel has none or it is not enabled; others from a sandbox around this
/// process.
pub fn secret_memory() -> io::Result<()> {
    // SAFETY: takes one integer.
    let fd = Errno::result(unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) })?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel just made it for us; nothing else owns it.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_release_parses_every_distribution() {
        for (release, expected) in [
            ("5.10.0-28-amd64", Some((5, 10))),
            ("6.18.5+deb14-cloud-amd64", Some((6, 18))),
            ("5.15.167.4-microsoft-standard-WSL2", Some((5, 15))),
            ("4.18.0-553.el8_10.x86_64", Some((4, 18))),
            ("7.3-rc1", Some((7, 3))),
            ("7.3rc1", Some((7, 3))),
            ("6", None),
            ("6.", None),
            ("six.1", None),
            ("", None),
        ] {
            let expected = expected.map(|(major, minor)| KernelVersion { major, minor });
            assert_eq!(KernelVersion::of_release(release), expected, "{release}");
        }
        assert!(
            KernelVersion { major: 5, minor: 9 } < OLDEST_SUPPORTED
                && OLDEST_SUPPORTED < KernelVersion { major: 6, minor: 1 }
        );
        assert!(KernelVersion::running().is_some());
    }

    #[test]
    fn probes_return_a_value_or_an_expected_errno() {
        for errno in [landlock_abi().map(|abi| assert!(abi >= 1)), secret_memory()] {
            if let Err(error) = errno {
                let errno = error.raw_os_error().expect("an errno");
                let unavailable = [libc::ENOSYS, libc::EOPNOTSUPP, libc::EPERM];
                assert!(unavailable.contains(&errno), "{error}");
            }
        }
    }
}
