//! Our own login session, for a process that asks for it again and again.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use keyrack_core::peer::{AuditSession, ReadError};
use nix::sys::uio::pread;

use crate::fs::file::FileId;
use crate::peer::SESSION_BYTES;
use crate::process::procfs::{self, read_error};

/// `/proc/self/sessionid`, kept open: to read it takes a third of the time of
/// [`crate::peer::own_session`]. Only for the process that opened it, not for its children.
#[derive(Debug)]
pub struct SessionFile {
    fd: OwnedFd,
    id: FileId,
}

impl SessionFile {
    /// Opens the file.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] on a kernel without audit.
    pub fn open() -> Result<Self, ReadError> {
        let fd = procfs::open_file(format_args!("self/sessionid")).map_err(read_error)?;
        let id = FileId::of_fd(fd.as_fd()).map_err(|error: io::Error| ReadError::Io(error.kind()))?;
        Ok(SessionFile { fd, id })
    }

    /// Reads the session that the process is in now.
    ///
    /// # Errors
    /// [`ReadError::NotRead`] if other code of this process has closed the descriptor.
    pub fn read(&self) -> Result<AuditSession, ReadError> {
        if !self.is_open() {
            return Err(ReadError::NotRead);
        }
        let mut buffer = [0; SESSION_BYTES];
        let n = pread(&self.fd, &mut buffer, 0).map_err(read_error)?;
        AuditSession::parse(&buffer[..n]).ok_or(ReadError::Malformed)
    }

    /// Closes the file, but no other one that has got its descriptor since.
    pub fn close(self) {
        if !self.is_open() {
            std::mem::forget(self);
        }
    }

    fn is_open(&self) -> bool {
        FileId::of_fd(self.fd.as_fd()).is_ok_and(|id| id == self.id)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::AsRawFd;

    use nix::unistd::dup2;

    use super::*;
    use crate::peer::own_session;

    #[test]
    fn read_returns_the_session_each_time() {
        let file = SessionFile::open();
        assert_eq!(file.as_ref().map(SessionFile::read), Ok(own_session()));
        assert_eq!(file.as_ref().map(SessionFile::read), Ok(own_session()));
    }

    #[test]
    fn descriptor_of_another_file_is_neither_read_nor_closed() {
        let mut file = SessionFile::open().unwrap();
        let other = File::open("/dev/null").unwrap();
        dup2(&other, &mut file.fd).unwrap();
        let number = file.fd.as_raw_fd();
        assert_eq!(file.read(), Err(ReadError::NotRead));
        file.close();
        assert!(
            std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|path| path.ends_with("null"))
        );
    }
}
