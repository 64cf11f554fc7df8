//! Who we are, and whether somebody at the other end of a socket is one of us: the kernel's readings, put before the rule.
//! Nothing here looks at a byte the other end has sent.

use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;

use keyrack_core::peer::{AuditSession, Boundary, Facts, Refusal, Verdict, decide};
use keyrack_sys::peer::{self, Reading};
use keyrack_sys::pidfd::Pidfd;

/// Out of descriptors: this process (EMFILE), or the machine (ENFILE).
const EXHAUSTED: [i32; 2] = [24, 23];

/// ENOPROTOOPT: the kernel has no SO_PEERPIDFD.
const ENOPROTOOPT: i32 = 92;

/// This process as a peer sees it, read once at start.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    uid: u32,
    session: Result<Vec<u8>, i32>,
    /// How far callers can be told apart at best.
    pub(crate) boundary: Boundary,
}

/// A peer that is one of us.
#[derive(Debug)]
pub(crate) struct Opener {
    /// Holds the process that opened the connection; `None` on a kernel that has no such handle.
    pidfd: Option<Pidfd>,
    /// Its number, for logs.
    pub(crate) pid: i64,
}

impl Opener {
    /// Whether the process that opened the connection still lives, by poll. Without a pidfd the kernel can't say.
    pub(crate) fn is_alive(&self) -> bool {
        self.pidfd.as_ref().is_none_or(Pidfd::is_alive)
    }
}

/// Why a peer is not served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// It is a stranger.
    Away(Refusal),
    /// We ran out of descriptors while looking at it, so nothing is known of it.
    Exhausted,
}

impl Own {
    /// Reads who we are.
    pub(crate) fn read() -> Self {
        let session = peer::own_session();
        // The kernel has the option or not, whoever is at the other end.
        let supported = UnixStream::pair().is_ok_and(|(one, _other)| {
            peer::read(std::os::fd::AsFd::as_fd(&one)).pidfd.err() != Some(ENOPROTOOPT)
        });
        let boundary = Boundary::of_own(session.as_deref().map_err(|errno| *errno), supported);
        Own { uid: keyrack_sys::user::uid(), session, boundary }
    }

    /// The login session, if there is one.
    pub(crate) fn session(&self) -> Option<u32> {
        match AuditSession::parse(self.session.as_deref().ok()?)? {
            AuditSession::Set(id) => Some(id),
            AuditSession::Unset => None,
        }
    }

    /// Looks at the peer of a connected socket and judges it.
    pub(crate) fn meet(&self, socket: BorrowedFd<'_>) -> Result<Opener, Turned> {
        self.judge(peer::read(socket))
    }

    fn judge(&self, reading: Reading) -> Result<Opener, Turned> {
        let facts = Facts {
            own_uid: self.uid,
            own_session: self.session.as_deref().map_err(|errno| *errno),
            uid: reading.uid,
            pidfd: reading.pidfd.as_ref().map(|_| ()).map_err(|errno| *errno),
            pid: reading.pid,
            session: reading.session.as_deref().map_err(|errno| *errno),
            alive: reading.alive,
        };
        match decide(&facts) {
            Verdict::Serve(_) => {
                let pid = reading.pid.unwrap_or(0);
                Ok(Opener { pidfd: reading.pidfd.ok(), pid })
            }
            Verdict::Refuse(_) if exhausted(facts.pidfd.err()) || exhausted(facts.session.err()) => {
                Err(Turned::Exhausted)
            }
            // Its number stands in a file of /proc, and that could not be opened.
            Verdict::Refuse(Refusal::NoPid) => Err(Turned::Exhausted),
            Verdict::Refuse(refusal) => {
                // Only what the kernel says of it: nothing of what it has sent is looked at.
                tracing::warn!(uid = facts.uid.ok(), pid = facts.pid, %refusal, "a stranger is turned away");
                Err(Turned::Away(refusal))
            }
        }
    }
}

fn exhausted(errno: Option<i32>) -> bool {
    errno.is_some_and(is_exhausted)
}

/// Whether an errno says that there are no descriptors left.
pub(crate) fn is_exhausted(errno: i32) -> bool {
    EXHAUSTED.contains(&errno)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn own() -> Own {
        Own { uid: 1000, session: Ok(b"7".to_vec()), boundary: Boundary::Session }
    }

    fn reading() -> Reading {
        let pidfd = Pidfd::open(i64::from(std::process::id())).unwrap();
        Reading { uid: Ok(1000), pidfd: Ok(pidfd), pid: Some(1), session: Ok(b"7".to_vec()), alive: true }
    }

    #[test]
    fn the_rule_is_applied_to_what_was_read() {
        let opener = own().judge(reading()).unwrap();
        assert!(opener.is_alive());
        assert_eq!(opener.pid, 1);
        for (reading, expected) in [
            (Reading { uid: Ok(0), ..reading() }, Turned::Away(Refusal::OtherUser)),
            (Reading { session: Ok(b"8".to_vec()), ..reading() }, Turned::Away(Refusal::OtherSession)),
            (Reading { alive: false, ..reading() }, Turned::Away(Refusal::Dead)),
            (Reading { pid: Some(-1), ..reading() }, Turned::Away(Refusal::Reaped)),
            (Reading { pidfd: Err(24), ..reading() }, Turned::Exhausted),
            (Reading { session: Err(23), ..reading() }, Turned::Exhausted),
            (Reading { pid: None, ..reading() }, Turned::Exhausted),
            // Never an excuse for a stranger.
            (
                Reading { uid: Ok(0), session: Ok(b"7".to_vec()), ..reading() },
                Turned::Away(Refusal::OtherUser),
            ),
        ] {
            assert_eq!(own().judge(reading).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_login_session_is_one_that_is_set() {
        for (session, expected) in [
            (Ok(b"7".to_vec()), Some(7)),
            (Ok(b"7\n".to_vec()), Some(7)),
            (Ok(b"4294967295".to_vec()), None),
            (Ok(b"0".to_vec()), None),
            (Ok(b"x".to_vec()), None),
            (Err(2), None),
        ] {
            assert_eq!(Own { session, ..own() }.session(), expected);
        }
    }

    #[test]
    fn we_are_one_of_us() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = Own::read();
        let opener = own.meet(one.as_fd()).unwrap();
        assert_eq!(opener.pid, i64::from(std::process::id()));
        assert!(opener.is_alive());
    }

    #[test]
    fn a_kernel_without_handles_serves_the_user() {
        let opener = Opener { pidfd: None, pid: 1 };
        assert!(opener.is_alive());
        let old = Reading { pidfd: Err(ENOPROTOOPT), ..reading() };
        assert!(own().judge(old).is_ok());
    }
}
