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
    /// `None` only while it is dropped.
    fd: Option<OwnedFd>,
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
        Ok(SessionFile { fd: Some(fd), id })
    }

    /// Reads the session that the process is in now.
    ///
    /// # Errors
    /// [`ReadError::NotRead`] if other code of this process has closed the descriptor.
    pub fn read(&self) -> Result<AuditSession, ReadError> {
        let fd = self.fd().ok_or(ReadError::NotRead)?;
        let mut buffer = [0; SESSION_BYTES];
        let n = pread(fd, &mut buffer, 0).map_err(read_error)?;
        AuditSession::parse(&buffer[..n]).ok_or(ReadError::Malformed)
    }

    /// Returns the descriptor if it still refers to the file that was opened.
    fn fd(&self) -> Option<&OwnedFd> {
        self.fd.as_ref().filter(|fd| FileId::of_fd(fd.as_fd()).is_ok_and(|id| id == self.id))
    }
}

impl Drop for SessionFile {
    /// Closes the file, but no other one that has got its descriptor since.
    fn drop(&mut self) {
        if self.fd().is_none() {
            std::mem::forget(self.fd.take());
        }
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
        let fd = file.fd.as_mut().unwrap();
        dup2(&other, fd).unwrap();
        let number = fd.as_raw_fd();
        assert_eq!(file.read(), Err(ReadError::NotRead));
        drop(file);
        assert!(
            std::fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|path| path.ends_with("null"))
        );
    }
}
