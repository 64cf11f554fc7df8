//! Signals that keyrack sends, through [`crate::process::pidfd::Pidfd::signal`]. The only process
//! that it signals by pid is a child that was not reaped
//! ([`crate::process::supervise::SupervisedChild::send`]): no other process can have that pid.

/// A signal that can be sent to a process held by a pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// `SIGTERM`: erase all keys and exit.
    Term,
    /// `SIGINT`: erase all keys and exit.
    Int,
    /// `SIGHUP`: erase all keys and exit.
    Hup,
    /// `SIGUSR1`: erase all keys and go on.
    Usr1,
    /// `SIGKILL`: end at once, without a handler.
    Kill,
    /// `SIGSTOP`: suspend.
    Stop,
    /// `SIGCONT`: go on.
    Cont,
}

impl Signal {
    /// Returns the number of this signal on this machine.
    #[must_use]
    pub fn number(self) -> i32 {
        match self {
            Self::Term => libc::SIGTERM,
            Self::Int => libc::SIGINT,
            Self::Hup => libc::SIGHUP,
            Self::Usr1 => libc::SIGUSR1,
            Self::Kill => libc::SIGKILL,
            Self::Stop => libc::SIGSTOP,
            Self::Cont => libc::SIGCONT,
        }
    }
}
