//! Shortage of file descriptors, told from other errors.

use std::io;

use nix::errno::Errno;

/// Limit on open descriptors that a system call has hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DescriptorLimit {
    /// The limit of this process (`EMFILE`).
    Process,
    /// The limit of the machine (`ENFILE`).
    System,
}

impl DescriptorLimit {
    /// Returns the limit that an error is about, if it is about one.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Self> {
        match Errno::from_raw(error.raw_os_error()?) {
            Errno::EMFILE => Some(Self::Process),
            Errno::ENFILE => Some(Self::System),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptor_limit_is_told_from_other_errors() {
        for (error, expected) in [
            (io::Error::from(Errno::EMFILE), Some(DescriptorLimit::Process)),
            (io::Error::from(Errno::ENFILE), Some(DescriptorLimit::System)),
            (io::Error::from(Errno::EACCES), None),
            (io::Error::other("too many open files"), None),
        ] {
            assert_eq!(DescriptorLimit::of(&error), expected, "{error}");
        }
    }
}
