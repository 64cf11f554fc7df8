//! Who we are, and whether somebody at the other end of a socket is one of us: the kernel's readings, put before the rule.
//! Nothing here looks at a byte the other end has sent.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use keyrack_core::peer::{
    AllowedNamespaces, AuditSession, Boundary, EnforcedNamespaces, PeerFacts, PeerRejection, authorize,
    is_own_uid_known,
};
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::peer::{self, PeerReader, PeerReading};
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::socket::{Sender, poll_readable};
use keyrack_sys::user;

/// Out of descriptors: this process (EMFILE), or the machine (ENFILE).
const EXHAUSTED: [i32; 2] = [24, 23];

/// ENOPROTOOPT: the kernel has no SO_PEERPIDFD.
const ENOPROTOOPT: i32 = 92;

/// This process as a peer sees it, read once at start.
#[derive(Clone, Debug)]
pub(crate) struct LocalIdentity {
    uid: u32,
    uid_map: Result<Vec<u8>, i32>,
    overflow_uid: u32,
    session: Result<Vec<u8>, i32>,
    /// Callers in other namespaces than ours that are served.
    allowed: AllowedNamespaces,
    reader: Rc<PeerReader>,
    /// How far callers can be told apart at best.
    pub(crate) boundary: Boundary,
}

/// A peer that is one of us.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Holds the process that opened the connection; `None` on a kernel that has no such handle.
    pidfd: Option<Pidfd>,
    /// Its pid. While the pidfd is open and the opener lives, no other process has it.
    pub(crate) pid: i64,
    uid: u32,
}

impl Peer {
    /// Returns two facts from one `ppoll(2)`: the process that opened the connection is alive, and
    /// `stream` has something to read. Both are `true` without a pidfd.
    pub(crate) fn is_alive_beside(&self, stream: BorrowedFd<'_>) -> (bool, bool) {
        let Some(pidfd) = &self.pidfd else { return (true, true) };
        poll_readable(pidfd.as_fd(), stream).map_or((false, true), |(ended, readable)| (!ended, readable))
    }

    /// Returns `true` if bytes were sent by the process that opened the connection, as the same
    /// user. Returns `false` if the kernel recorded no sender.
    pub(crate) fn is_sender(&self, sender: Option<Sender>) -> bool {
        sender == Some(Sender { pid: self.pid, uid: self.uid })
    }
}

/// Why a peer is not served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeerAuthError {
    /// It is a stranger.
    Rejected(PeerRejection),
    /// We ran out of descriptors while looking at it, so nothing is known of it.
    OutOfDescriptors,
}

impl LocalIdentity {
    /// Reads who we are.
    pub(crate) fn read() -> Self {
        let session = peer::own_session();
        let supported = peer::pidfd_support() != Err(ENOPROTOOPT);
        let boundary = Boundary::of_own(session.as_deref().map_err(|errno| *errno), supported);
        LocalIdentity {
            uid: user::uid(),
            uid_map: peer::own_uid_map(),
            overflow_uid: user::overflow_uid(),
            session,
            allowed: AllowedNamespaces::None,
            reader: Rc::new(PeerReader::with_memory()),
            boundary,
        }
    }

    /// The same, serving callers in these other namespaces too.
    pub(crate) fn allowing(self, allowed: AllowedNamespaces) -> Self {
        LocalIdentity { allowed, ..self }
    }

    /// Checks that this process can authenticate callers.
    ///
    /// # Errors
    /// [`ErrorCode::Sandboxed`] where `/proc` is of another pid namespace, or our user namespace does not map us.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !peer::own_proc() {
            return Err(Error::new(
                ErrorCode::Sandboxed,
                "/proc does not belong to the pid namespace of keyrackd, which cannot look up its callers",
            )
            .hint(
                "start keyrackd outside the sandbox, or in one with its own /proc (unshare --mount-proc)",
            ));
        }
        if !is_own_uid_known(self.uid, self.uid_map(), self.overflow_uid) {
            let message = format!(
                "the user namespace of keyrackd does not map its user (uid {}), so every other user would look the same",
                self.uid
            );
            return Err(Error::new(ErrorCode::Sandboxed, message)
                .hint("start keyrackd outside the sandbox, or map your user (unshare --map-current-user)"));
        }
        Ok(())
    }

    /// Namespaces that callers may be in.
    pub(crate) fn enforced(&self) -> EnforcedNamespaces {
        EnforcedNamespaces::of_own(self.uid_map(), self.allowed)
    }

    fn uid_map(&self) -> Result<&[u8], i32> {
        self.uid_map.as_deref().map_err(|errno| *errno)
    }

    /// The login session, if there is one.
    pub(crate) fn session(&self) -> Option<u32> {
        match AuditSession::parse(self.session.as_deref().ok()?)? {
            AuditSession::Set(id) => Some(id),
            AuditSession::Unset => None,
        }
    }

    /// Authenticates a caller.
    pub(crate) fn authenticate(&self, socket: BorrowedFd<'_>) -> Result<Peer, PeerAuthError> {
        self.evaluate(self.reader.read(socket), self.allowed)
    }

    /// Authenticates the server of a connected socket, as a client does.
    pub(crate) fn authenticate_server(&self, socket: BorrowedFd<'_>) -> Result<Peer, PeerAuthError> {
        self.evaluate(self.reader.read(socket), AllowedNamespaces::InitialUser)
    }

    fn evaluate(&self, reading: PeerReading, allowed: AllowedNamespaces) -> Result<Peer, PeerAuthError> {
        let facts = PeerFacts {
            own_proc: reading.own_proc,
            own_uid: self.uid,
            own_uid_map: self.uid_map(),
            overflow_uid: self.overflow_uid,
            own_session: self.session.as_deref().map_err(|errno| *errno),
            uid: reading.uid,
            pidfd: reading.pidfd.as_ref().map(|_| ()).map_err(|errno| *errno),
            pid: reading.pid,
            session: reading.session.as_deref().map_err(|errno| *errno),
            pid_levels: reading.pid_levels,
            uid_map: reading.uid_map.as_deref().map_err(|errno| *errno),
            alive: reading.alive,
            allowed,
        };
        match authorize(&facts) {
            Ok(_) => {
                let pid = reading.pid.unwrap_or(0);
                Ok(Peer { pidfd: reading.pidfd.ok(), pid, uid: self.uid })
            }
            Err(_)
                if [facts.pidfd.err(), facts.session.err(), facts.uid_map.err(), facts.pid_levels.err()]
                    .into_iter()
                    .any(exhausted) =>
            {
                Err(PeerAuthError::OutOfDescriptors)
            }
            Err(rejection) => {
                // Only what the kernel says of it: nothing of what it has sent is looked at.
                tracing::warn!(uid = facts.uid.ok(), pid = facts.pid, %rejection, "a stranger is turned away");
                Err(PeerAuthError::Rejected(rejection))
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
    use std::os::unix::net::UnixStream;

    use super::*;

    const INITIAL: &[u8] = b"0 0 4294967295\n";

    fn own() -> LocalIdentity {
        LocalIdentity {
            uid: 1000,
            uid_map: Ok(INITIAL.to_vec()),
            overflow_uid: 65_534,
            session: Ok(b"7".to_vec()),
            allowed: AllowedNamespaces::None,
            reader: Rc::new(PeerReader::new()),
            boundary: Boundary::Session,
        }
    }

    fn reading() -> PeerReading {
        let pidfd = Pidfd::open(i64::from(std::process::id())).unwrap();
        PeerReading {
            own_proc: true,
            uid: Ok(1000),
            pidfd: Ok(pidfd),
            pid: Some(1),
            session: Ok(b"7".to_vec()),
            pid_levels: Ok(1),
            uid_map: Ok(INITIAL.to_vec()),
            alive: true,
        }
    }

    #[test]
    fn the_rule_is_applied_to_what_was_read() {
        let evaluate = |reading| own().evaluate(reading, AllowedNamespaces::None);
        let peer = evaluate(reading()).unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        assert_eq!(peer.is_alive_beside(one.as_fd()), (true, false));
        std::io::Write::write_all(&mut &other, b"x").unwrap();
        assert_eq!(peer.is_alive_beside(one.as_fd()), (true, true));
        assert_eq!(peer.pid, 1);
        for (reading, expected) in [
            (PeerReading { uid: Ok(0), ..reading() }, PeerAuthError::Rejected(PeerRejection::OtherUser)),
            (
                PeerReading { session: Ok(b"8".to_vec()), ..reading() },
                PeerAuthError::Rejected(PeerRejection::OtherSession),
            ),
            (PeerReading { alive: false, ..reading() }, PeerAuthError::Rejected(PeerRejection::Dead)),
            (PeerReading { pid: Some(0), ..reading() }, PeerAuthError::Rejected(PeerRejection::Hidden)),
            (
                PeerReading { pid_levels: Ok(2), ..reading() },
                PeerAuthError::Rejected(PeerRejection::NestedPid),
            ),
            (
                PeerReading { uid_map: Ok(Vec::new()), ..reading() },
                PeerAuthError::Rejected(PeerRejection::OtherUserNamespace),
            ),
            (PeerReading { own_proc: false, ..reading() }, PeerAuthError::Rejected(PeerRejection::OwnProc)),
            (PeerReading { pidfd: Err(24), ..reading() }, PeerAuthError::OutOfDescriptors),
            (PeerReading { session: Err(23), ..reading() }, PeerAuthError::OutOfDescriptors),
            (PeerReading { uid_map: Err(24), ..reading() }, PeerAuthError::OutOfDescriptors),
            (PeerReading { pid_levels: Err(24), ..reading() }, PeerAuthError::OutOfDescriptors),
            // Never an excuse for a stranger.
            (
                PeerReading { uid: Ok(0), session: Ok(b"7".to_vec()), ..reading() },
                PeerAuthError::Rejected(PeerRejection::OtherUser),
            ),
        ] {
            assert_eq!(evaluate(reading).unwrap_err(), expected);
        }
    }

    #[test]
    fn sender_has_to_be_the_opener() {
        let peer = Peer { pidfd: None, pid: 7, uid: 1000 };
        for (sender, expected) in [
            (Some(Sender { pid: 7, uid: 1000 }), true),
            (Some(Sender { pid: 8, uid: 1000 }), false),
            (Some(Sender { pid: 0, uid: 1000 }), false),
            (Some(Sender { pid: 7, uid: 0 }), false),
            (None, false),
        ] {
            assert_eq!(peer.is_sender(sender), expected, "{sender:?}");
        }
    }

    #[test]
    fn own_identity_is_needed() {
        own().check().unwrap();
        let own = LocalIdentity { uid_map: Ok(b"1000 1000 1\n".to_vec()), ..own() };
        own.check().unwrap();
        assert_eq!(own.enforced(), EnforcedNamespaces::PidOnly);
        for uid in [65_534, 1001] {
            let error = LocalIdentity { uid, ..own.clone() }.check().unwrap_err();
            assert_eq!(error.code, ErrorCode::Sandboxed);
            assert!(error.message.contains(&uid.to_string()), "{error}");
        }
        assert_eq!(own.allowing(AllowedNamespaces::NestedUser).enforced(), EnforcedNamespaces::UserAllowed);
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
            assert_eq!(LocalIdentity { session, ..own() }.session(), expected);
        }
    }

    #[test]
    fn we_are_one_of_us() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = LocalIdentity::read();
        let peer = own.authenticate(one.as_fd()).unwrap();
        assert_eq!(peer.pid, i64::from(std::process::id()));
        assert!(own.authenticate_server(one.as_fd()).is_ok());
    }

    #[test]
    fn a_kernel_without_handles_serves_the_user() {
        let peer = Peer { pidfd: None, pid: 1, uid: 1000 };
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(peer.is_alive_beside(one.as_fd()), (true, true));
        let old = PeerReading { pidfd: Err(ENOPROTOOPT), ..reading() };
        assert!(own().evaluate(old, AllowedNamespaces::None).is_ok());
    }
}
