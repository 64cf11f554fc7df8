//! Peer authentication: the kernel's facts about both ends of a socket, and the peer rule applied
//! to them. Nothing here reads a byte that the peer has sent.

use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;

use keyrack_core::peer::{
    AllowedNamespaces, AuditSession, Boundary, EnforcedNamespaces, LocalFacts, PeerRejection, Pid,
    PidfdError, Uid, authorize,
};
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::peer::{self, PeerReader, PeerReading};
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::socket::{Sender, poll_readable};

/// This process as a peer sees it, read once at start.
#[derive(Clone, Debug)]
pub(crate) struct LocalIdentity {
    facts: LocalFacts,
    /// Namespaces other than ours whose callers are served.
    allowed: AllowedNamespaces,
    reader: Rc<PeerReader>,
    /// The strongest boundary between callers that this process can enforce.
    pub(crate) boundary: Boundary,
}

/// An authenticated peer.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Refers to the process that opened the connection; `None` on a kernel without `SO_PEERPIDFD`.
    pidfd: Option<Pidfd>,
    /// Its pid. While the pidfd is open and the opener lives, no other process has it.
    pub(crate) pid: Pid,
    uid: Uid,
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

/// Reason why a peer is not served.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PeerAuthError {
    /// The peer rule rejects the peer.
    Rejected(PeerRejection),
    /// No descriptor was left to read the peer's facts, so the peer is unknown.
    OutOfDescriptors,
}

impl LocalIdentity {
    /// Reads the facts about this process.
    pub(crate) fn read() -> Self {
        let facts = LocalFacts { namespaces: peer::own_namespaces(), session: peer::own_session() };
        let supported = peer::pidfd_support() != Err(PidfdError::Unsupported);
        LocalIdentity {
            boundary: Boundary::of_own(facts.session, supported),
            facts,
            allowed: AllowedNamespaces::None,
            reader: Rc::new(PeerReader::with_memory()),
        }
    }

    /// Returns this identity with permission to serve callers in `allowed` namespaces too.
    pub(crate) fn allowing(self, allowed: AllowedNamespaces) -> Self {
        LocalIdentity { allowed, ..self }
    }

    /// Checks that this process can authenticate callers.
    ///
    /// # Errors
    /// [`ErrorCode::Sandboxed`] where `/proc` is of another pid namespace, or our user namespace
    /// does not map us.
    pub(crate) fn check(&self) -> Result<(), Error> {
        if !peer::own_proc() {
            return Err(Error::new(
                ErrorCode::Sandboxed,
                "/proc does not belong to the pid namespace of keyrackd, so keyrackd cannot authenticate callers",
            )
            .hint(
                "start keyrackd outside the sandbox, or in one with its own /proc (unshare --mount-proc)",
            ));
        }
        if !self.facts.namespaces.is_uid_known() {
            let message = format!(
                "the user namespace of keyrackd does not map its user (uid {}), so it cannot tell other users apart",
                self.facts.namespaces.uid
            );
            return Err(Error::new(ErrorCode::Sandboxed, message)
                .hint("start keyrackd outside the sandbox, or map your user (unshare --map-current-user)"));
        }
        Ok(())
    }

    /// Returns the namespaces that callers may be in.
    pub(crate) fn enforced(&self) -> EnforcedNamespaces {
        EnforcedNamespaces::of_own(&self.facts.namespaces, self.allowed)
    }

    /// Returns the login session, if there is one.
    pub(crate) fn session(&self) -> Option<u32> {
        match self.facts.session {
            Ok(AuditSession::Set(id)) => Some(id),
            Ok(AuditSession::Unset) | Err(_) => None,
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
        let facts = &reading.facts;
        match (authorize(&self.facts, facts, allowed), facts.pid) {
            (Ok(_), Some(pid)) => Ok(Peer { pidfd: reading.pidfd, pid, uid: self.facts.namespaces.uid }),
            (Ok(_), None) => Err(PeerAuthError::Rejected(PeerRejection::NoPid)),
            (Err(_), _) if facts.is_out_of_descriptors() => Err(PeerAuthError::OutOfDescriptors),
            (Err(rejection), _) => {
                // Only what the kernel says of the peer: nothing that it has sent is read.
                let (uid, pid) = (facts.uid.ok().map(Uid::as_raw), facts.pid.map(Pid::as_raw));
                tracing::warn!(uid, pid, reason = %rejection, "peer rejected");
                Err(PeerAuthError::Rejected(rejection))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use keyrack_core::peer::{DEFAULT_OVERFLOW_UID, LocalNamespaces, PeerFacts, ReadError, UidMap};
    use keyrack_sys::process::pid;

    use super::*;

    const INITIAL: &[u8] = b"0 0 4294967295\n";
    const OURS: Uid = Uid::from_raw(1000);

    fn local(uid: Uid, uid_map: &[u8]) -> LocalIdentity {
        let namespaces = LocalNamespaces {
            own_proc: true,
            uid,
            uid_map: Ok(UidMap::new(uid_map)),
            overflow_uid: DEFAULT_OVERFLOW_UID,
        };
        LocalIdentity {
            facts: LocalFacts { namespaces, session: Ok(AuditSession::Set(7)) },
            allowed: AllowedNamespaces::None,
            reader: Rc::new(PeerReader::new()),
            boundary: Boundary::Session,
        }
    }

    /// Reading of a peer that is served, changed by `change`.
    fn reading(change: impl FnOnce(&mut PeerFacts)) -> PeerReading {
        let mut facts = PeerFacts {
            own_proc: true,
            uid: Ok(OURS),
            pidfd: Ok(()),
            pid: Some(Pid::from_raw(1)),
            session: Ok(AuditSession::Set(7)),
            pid_levels: Ok(1),
            uid_map: Ok(UidMap::new(INITIAL)),
            alive: true,
        };
        change(&mut facts);
        let pidfd = facts.pidfd.is_ok().then(|| Pidfd::open(pid::current()).unwrap());
        PeerReading { facts, pidfd }
    }

    fn evaluate(change: impl FnOnce(&mut PeerFacts)) -> Result<Peer, PeerAuthError> {
        local(OURS, INITIAL).evaluate(reading(change), AllowedNamespaces::None)
    }

    #[test]
    fn peer_in_our_session_is_authenticated() {
        let peer = evaluate(|_| {}).unwrap();
        let (one, other) = UnixStream::pair().unwrap();
        assert_eq!(peer.is_alive_beside(one.as_fd()), (true, false));
        std::io::Write::write_all(&mut &other, b"x").unwrap();
        assert_eq!(peer.is_alive_beside(one.as_fd()), (true, true));
        assert_eq!(peer.pid, Pid::from_raw(1));
    }

    #[test]
    fn foreign_peer_is_rejected() {
        for (change, rejection) in [
            ((|facts| facts.uid = Ok(Uid::ROOT)) as fn(&mut PeerFacts), PeerRejection::OtherUser),
            (|facts| facts.session = Ok(AuditSession::Set(8)), PeerRejection::OtherSession),
            (|facts| facts.alive = false, PeerRejection::Dead),
            (|facts| facts.pid = Some(Pid::from_raw(0)), PeerRejection::Hidden),
            (|facts| facts.pid = None, PeerRejection::NoPid),
            (|facts| facts.pid_levels = Ok(2), PeerRejection::NestedPid),
            (|facts| facts.uid_map = Ok(UidMap::new(b"")), PeerRejection::OtherUserNamespace),
            (|facts| facts.own_proc = false, PeerRejection::OwnProc),
        ] {
            assert_eq!(evaluate(change).unwrap_err(), PeerAuthError::Rejected(rejection));
        }
    }

    #[test]
    fn lack_of_descriptors_is_not_a_rejection() {
        for change in [
            (|facts| facts.pidfd = Err(PidfdError::OutOfDescriptors)) as fn(&mut PeerFacts),
            |facts| facts.session = Err(ReadError::OutOfDescriptors),
            |facts| facts.uid_map = Err(ReadError::OutOfDescriptors),
            |facts| facts.pid_levels = Err(ReadError::OutOfDescriptors),
        ] {
            assert_eq!(evaluate(change).unwrap_err(), PeerAuthError::OutOfDescriptors);
        }
    }

    #[test]
    fn sender_must_be_the_process_that_connected() {
        let peer = Peer { pidfd: None, pid: Pid::from_raw(7), uid: OURS };
        let sender = |pid, uid| Some(Sender { pid: Pid::from_raw(pid), uid: Uid::from_raw(uid) });
        for (sender, expected) in [
            (sender(7, 1000), true),
            (sender(8, 1000), false),
            (sender(0, 1000), false),
            (sender(7, 0), false),
            (None, false),
        ] {
            assert_eq!(peer.is_sender(sender), expected, "{sender:?}");
        }
    }

    #[test]
    fn check_rejects_a_user_namespace_that_does_not_map_our_uid() {
        local(OURS, INITIAL).check().unwrap();
        let own = local(OURS, b"1000 1000 1\n");
        own.check().unwrap();
        assert_eq!(own.enforced(), EnforcedNamespaces::PidOnly);
        for uid in [65_534, 1001] {
            let error = local(Uid::from_raw(uid), b"1000 1000 1\n").check().unwrap_err();
            assert_eq!(error.code, ErrorCode::Sandboxed);
            assert!(error.message.contains(&uid.to_string()), "{error}");
        }
        assert_eq!(own.allowing(AllowedNamespaces::NestedUser).enforced(), EnforcedNamespaces::UserAllowed);
    }

    #[test]
    fn session_is_none_outside_a_login() {
        for (session, expected) in [
            (Ok(AuditSession::Set(7)), Some(7)),
            (Ok(AuditSession::Unset), None),
            (Err(ReadError::Malformed), None),
            (Err(ReadError::NotFound), None),
        ] {
            let mut own = local(OURS, INITIAL);
            own.facts.session = session;
            assert_eq!(own.session(), expected);
        }
    }

    #[test]
    fn this_process_authenticates_itself() {
        let (one, _other) = UnixStream::pair().unwrap();
        let own = LocalIdentity::read();
        let peer = own.authenticate(one.as_fd()).unwrap();
        assert_eq!(peer.pid, pid::current());
        assert!(own.authenticate_server(one.as_fd()).is_ok());
    }

    #[test]
    fn peer_is_served_on_kernel_without_pidfd() {
        let peer = Peer { pidfd: None, pid: Pid::from_raw(1), uid: OURS };
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(peer.is_alive_beside(one.as_fd()), (true, true));
        assert!(evaluate(|facts| facts.pidfd = Err(PidfdError::Unsupported)).is_ok());
    }
}
