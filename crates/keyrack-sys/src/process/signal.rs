//! The signals keyrack sends. Sending goes through [`crate::process::pidfd::Pidfd::signal`] alone: a number is never signalled,
//! but that of a child of our own which has not been reaped ([`crate::process::supervise::Child::send`]), and so cannot be another's.

/// A signal that can be sent to a process held by a pidfd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// `SIGTERM`: erase and end.
    Term,
    /// `SIGINT`: erase and end.
    Int,
    /// `SIGHUP`: erase and end.
    Hup,
    /// `SIGUSR1`: erase and stay up.
    Usr1,
    /// `SIGKILL`: end at once.
    Kill,
    /// `SIGSTOP`: suspend.
    Stop,
    /// `SIGCONT`: go on.
    Cont,
}

impl Signal {
    /// The number of this signal on this machine.
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
