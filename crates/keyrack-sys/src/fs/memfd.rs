//! Sealed files in memory, to give a program a value by the path of a descriptor.

use std::fs::{File, Permissions};
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// Returns a file with this content, readable only by its owner, and sealed (`F_ADD_SEALS` of
/// fcntl(2)): no process can write to it, shrink it, grow it or lift a seal. `/proc/<pid>/fd` shows
/// `name`.
///
/// # Errors
/// Those of `memfd_create(2)` and `write(2)`.
pub fn sealed(name: &str, content: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    // Linux 6.3 and later expect a flag for files that are not programs; older kernels do not know
    // it.
    let no_exec = MFdFlags::from_bits_retain(nix::libc::MFD_NOEXEC_SEAL);
    let fd = match memfd_create(name, flags | no_exec) {
        Err(Errno::EINVAL) => memfd_create(name, flags)?,
        other => other?,
    };
    let mut file = File::from(fd);
    file.set_permissions(Permissions::from_mode(0o400))?;
    file.write_all(content)?;
    let seals =
        SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    // A program that reads the descriptor itself, not its path, starts at the beginning.
    io::Seek::rewind(&mut file)?;
    Ok(file.into())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn sealed_file_can_be_read_but_not_written() {
        let file = File::from(sealed("test", b"hunter2").unwrap());
        assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o400);
        assert!((&file).write_all(b"x").is_err());
        assert!(file.set_len(0).is_err());
        assert!(fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_WRITE)).is_err());
        let mut text = String::new();
        (&file).read_to_string(&mut text).unwrap();
        assert_eq!(text, "hunter2");
        // By its path as often as one likes.
        for _ in 0..2 {
            let again = std::fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
            assert_eq!(again, b"hunter2");
        }
    }
}
