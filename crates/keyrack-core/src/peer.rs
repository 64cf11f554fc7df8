//! The peer rule: raw facts of the other end of a socket go in, a verdict comes out. A pure table, applied both ways: by the daemon to
//! each caller, by a client to the server before it sends a byte.
//!
//! Must never: read anything itself, guess where the kernel can say, or serve on a fact that was not established.

use std::fmt;

use crate::error::{ErrorCode, Problem};

/// ENOENT: no such file; also what `/proc` says of a file this kernel does not have.
const ENOENT: i32 = 2;
/// ESRCH: no such process; what an open `/proc` file says once its process is gone.
const ESRCH: i32 = 3;
/// EINVAL: what SO_PEERPIDFD says of a reaped peer on kernels 6.5 to 6.15.
const EINVAL: i32 = 22;
/// ENODATA: what SO_PEERPIDFD says of a peer it has no pid of.
const ENODATA: i32 = 61;
/// ENOPROTOOPT: the kernel has no SO_PEERPIDFD (before 6.5). Nothing else means that.
const ENOPROTOOPT: i32 = 92;

/// What the kernel said of both ends, raw. Each `i32` is an errno.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    /// Our own effective uid.
    pub own_uid: u32,
    /// `/proc/self/sessionid`, read when this process began.
    pub own_session: Result<&'a [u8], i32>,
    /// The peer's uid by SO_PEERCRED.
    pub uid: Result<u32, i32>,
    /// Whether SO_PEERPIDFD gave a pidfd.
    pub pidfd: Result<(), i32>,
    /// The pid that the pidfd names (−1: reaped, 0: not visible in our pid namespace); by SO_PEERCRED only where there is no SO_PEERPIDFD.
    pub pid: Option<i64>,
    /// `/proc/<pid>/sessionid`.
    pub session: Result<&'a [u8], i32>,
    /// Whether the pidfd was still unreadable, so the process alive, after the session was read; true where there is no pidfd.
    pub alive: bool,
}

/// What to do with the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Serve it, within this boundary.
    Serve(Boundary),
    /// Do not.
    Refuse(Refusal),
}

/// How far the kernel could tell callers apart. Session first: it is the stronger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Boundary {
    /// The same user in the same login session.
    Session,
    /// The same user; the kernel can't say more.
    User,
}

impl Boundary {
    /// The word in hello, status and doctor.
    pub fn as_str(self) -> &'static str {
        match self {
            Boundary::Session => "session",
            Boundary::User => "user",
        }
    }

    /// The boundary whose word is `text`.
    pub fn parse(text: &str) -> Option<Self> {
        [Boundary::Session, Boundary::User].into_iter().find(|boundary| boundary.as_str() == text)
    }

    /// The boundary a process can hold at best, by its own session and by whether its kernel has SO_PEERPIDFD.
    pub fn of_own(own_session: Result<&[u8], i32>, pidfd_supported: bool) -> Self {
        match own_session.map(AuditSession::parse) {
            Ok(Some(AuditSession::Set(_))) if pidfd_supported => Boundary::Session,
            _ => Boundary::User,
        }
    }
}

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An audit session id as `/proc/<pid>/sessionid` says it (kernel `Documentation/ABI/stable/procfs-audit_loginuid`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditSession {
    /// 4294967295: the process descends from no login.
    Unset,
    /// A login's id; the kernel counts from 1.
    Set(u32),
}

impl AuditSession {
    /// Reads the raw bytes of the file: a decimal u32 without sign, blanks or leading zeros; one newline may follow. `None` is garbage, and so is
    /// 0, which the kernel gives to no login.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let digits = raw.strip_suffix(b"\n").unwrap_or(raw);
        if digits.first().is_none_or(|first| *first == b'0') || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        match std::str::from_utf8(digits).ok()?.parse::<u32>().ok()? {
            u32::MAX => Some(AuditSession::Unset),
            id => Some(AuditSession::Set(id)),
        }
    }
}

/// Why a peer is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The kernel did not tell the peer's uid.
    NoCredentials,
    /// Another user; root is another user too.
    OtherUser,
    /// The process that connected has ended and was reaped: its pid may be a stranger's by now.
    Reaped,
    /// The kernel has SO_PEERPIDFD and gave none.
    NoPidfd,
    /// The pidfd did not yield a pid.
    NoPid,
    /// The peer is not visible in our pid namespace.
    Hidden,
    /// The process that connected has ended.
    Dead,
    /// The peer has no session file while we have one.
    NoSession,
    /// The peer's session file could not be read.
    Unreadable,
    /// The peer's session file holds no session id.
    Garbage,
    /// One of us has a login session and the other has none.
    OneUnset,
    /// Another login session.
    OtherSession,
    /// Our own session could not be read or holds no session id: nobody can be compared with it.
    OwnSession,
}

impl Refusal {
    /// All that a refused caller is told, whatever the reason. Today's TypeScript clients look for `session mismatch`.
    pub const TOLD: &'static str = "session mismatch: this daemon does not serve this process";

    /// Every reason.
    pub const ALL: [Refusal; 13] = [
        Refusal::NoCredentials,
        Refusal::OtherUser,
        Refusal::Reaped,
        Refusal::NoPidfd,
        Refusal::NoPid,
        Refusal::Hidden,
        Refusal::Dead,
        Refusal::NoSession,
        Refusal::Unreadable,
        Refusal::Garbage,
        Refusal::OneUnset,
        Refusal::OtherSession,
        Refusal::OwnSession,
    ];

    /// A stable word, for the side that refuses.
    pub fn word(self) -> &'static str {
        match self {
            Refusal::NoCredentials => "no_credentials",
            Refusal::OtherUser => "other_user",
            Refusal::Reaped => "reaped",
            Refusal::NoPidfd => "no_pidfd",
            Refusal::NoPid => "no_pid",
            Refusal::Hidden => "hidden",
            Refusal::Dead => "dead",
            Refusal::NoSession => "no_session",
            Refusal::Unreadable => "unreadable",
            Refusal::Garbage => "garbage",
            Refusal::OneUnset => "one_unset",
            Refusal::OtherSession => "other_session",
            Refusal::OwnSession => "own_session",
        }
    }

    /// Why, in a sentence about the peer, for the side that refuses.
    pub fn sentence(self) -> &'static str {
        match self {
            Refusal::NoCredentials => "the kernel does not tell its user",
            Refusal::OtherUser => "it belongs to another user",
            Refusal::Reaped | Refusal::Dead => "the process that opened it has ended",
            Refusal::NoPidfd => "the kernel gives no handle on its process",
            Refusal::NoPid => "its process cannot be named",
            Refusal::Hidden => "its process lives in another pid namespace",
            Refusal::NoSession => "its process has no login session file",
            Refusal::Unreadable => "its login session cannot be read",
            Refusal::Garbage => "its login session is not a session id",
            Refusal::OneUnset => "only one of the two sides belongs to a login session",
            Refusal::OtherSession => "it belongs to another login session",
            Refusal::OwnSession => "our own login session cannot be read",
        }
    }

    /// A client's problem with the server behind a socket: [`ErrorCode::ServerUntrusted`].
    pub fn of_server(self) -> Problem {
        Problem::new(
            ErrorCode::ServerUntrusted,
            format!("the daemon's socket is not to be trusted: {}", self.sentence()),
        )
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Judges a peer.
///
/// The uid must be ours and the process that connected must be alive and named by a pidfd; then the login sessions are compared. Where the
/// kernel can't say (no SO_PEERPIDFD, no audit sessions, both sides outside any login) the peer is served within [`Boundary::User`]. Where it
/// has no pidfd but knows sessions, they are still compared, so that an honest stranger is turned away.
pub fn decide(facts: &Facts<'_>) -> Verdict {
    match judge(facts) {
        Ok(boundary) => Verdict::Serve(boundary),
        Err(refusal) => Verdict::Refuse(refusal),
    }
}

fn judge(facts: &Facts<'_>) -> Result<Boundary, Refusal> {
    match facts.uid {
        Err(_) => return Err(Refusal::NoCredentials),
        Ok(uid) if uid != facts.own_uid => return Err(Refusal::OtherUser),
        Ok(_) => {}
    }
    let has_pidfd = match facts.pidfd {
        Ok(()) => true,
        Err(ENOPROTOOPT) => false,
        Err(EINVAL | ESRCH | ENODATA) => return Err(Refusal::Reaped),
        Err(_) => return Err(Refusal::NoPidfd),
    };
    match facts.pid {
        None => return Err(Refusal::NoPid),
        Some(0) => return Err(Refusal::Hidden),
        Some(pid) if pid < 0 => return Err(Refusal::Reaped),
        Some(_) if !facts.alive => return Err(Refusal::Dead),
        Some(_) => {}
    }
    let ours = match facts.own_session {
        Err(ENOENT) => None,
        Err(_) => return Err(Refusal::OwnSession),
        Ok(raw) => Some(AuditSession::parse(raw).ok_or(Refusal::OwnSession)?),
    };
    let theirs = match facts.session {
        Err(ENOENT) => None,
        Err(ESRCH) => return Err(Refusal::Dead),
        Err(_) => return Err(Refusal::Unreadable),
        Ok(raw) => Some(AuditSession::parse(raw).ok_or(Refusal::Garbage)?),
    };
    match (ours, theirs) {
        (Some(AuditSession::Set(a)), Some(AuditSession::Set(b))) if a != b => Err(Refusal::OtherSession),
        (Some(AuditSession::Set(_)), Some(AuditSession::Set(_))) if has_pidfd => Ok(Boundary::Session),
        (Some(AuditSession::Set(_)), Some(AuditSession::Set(_))) => Ok(Boundary::User),
        (Some(AuditSession::Unset), Some(AuditSession::Unset)) => Ok(Boundary::User),
        (Some(_), None) => Err(Refusal::NoSession),
        (None, None | Some(AuditSession::Unset)) => Ok(Boundary::User),
        (None, Some(AuditSession::Set(_)))
        | (Some(AuditSession::Set(_)), Some(AuditSession::Unset))
        | (Some(AuditSession::Unset), Some(AuditSession::Set(_))) => Err(Refusal::OneUnset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: u32 = 1000;
    const UNSET: &[u8] = b"4294967295";

    /// The one reading that is served within a session.
    fn good() -> Facts<'static> {
        Facts {
            own_uid: OURS,
            own_session: Ok(b"7\n"),
            uid: Ok(OURS),
            pidfd: Ok(()),
            pid: Some(4321),
            session: Ok(b"7"),
            alive: true,
        }
    }

    fn user() -> Verdict {
        Verdict::Serve(Boundary::User)
    }

    fn refuse(refusal: Refusal) -> Verdict {
        Verdict::Refuse(refusal)
    }

    #[test]
    fn the_table() {
        use Refusal as R;
        let table: &[(&str, Facts<'_>, Verdict)] = &[
            ("same user, same session", good(), Verdict::Serve(Boundary::Session)),
            ("another user", Facts { uid: Ok(1001), ..good() }, refuse(R::OtherUser)),
            ("root asking a user", Facts { uid: Ok(0), ..good() }, refuse(R::OtherUser)),
            ("a user asking root", Facts { own_uid: 0, ..good() }, refuse(R::OtherUser)),
            (
                "root asking root",
                Facts { own_uid: 0, uid: Ok(0), ..good() },
                Verdict::Serve(Boundary::Session),
            ),
            ("no credentials", Facts { uid: Err(22), ..good() }, refuse(R::NoCredentials)),
            ("reaped: EINVAL", Facts { pidfd: Err(22), ..good() }, refuse(R::Reaped)),
            ("reaped: ESRCH", Facts { pidfd: Err(3), ..good() }, refuse(R::Reaped)),
            ("reaped: ENODATA", Facts { pidfd: Err(61), ..good() }, refuse(R::Reaped)),
            ("EMFILE is no excuse", Facts { pidfd: Err(24), ..good() }, refuse(R::NoPidfd)),
            ("EOPNOTSUPP is no excuse", Facts { pidfd: Err(95), ..good() }, refuse(R::NoPidfd)),
            ("errno 0 is no excuse", Facts { pidfd: Err(0), ..good() }, refuse(R::NoPidfd)),
            ("fdinfo unreadable", Facts { pid: None, ..good() }, refuse(R::NoPid)),
            ("Pid: 0", Facts { pid: Some(0), ..good() }, refuse(R::Hidden)),
            ("Pid: -1", Facts { pid: Some(-1), ..good() }, refuse(R::Reaped)),
            ("Pid: least", Facts { pid: Some(i64::MIN), ..good() }, refuse(R::Reaped)),
            ("ended after the read", Facts { alive: false, ..good() }, refuse(R::Dead)),
            ("file missing while ours exists", Facts { session: Err(2), ..good() }, refuse(R::NoSession)),
            ("gone between", Facts { session: Err(3), ..good() }, refuse(R::Dead)),
            ("EACCES", Facts { session: Err(13), ..good() }, refuse(R::Unreadable)),
            ("not read at all", Facts { session: Err(0), ..good() }, refuse(R::Unreadable)),
            ("garbage", Facts { session: Ok(b"seven"), ..good() }, refuse(R::Garbage)),
            ("empty", Facts { session: Ok(b""), ..good() }, refuse(R::Garbage)),
            ("zero", Facts { session: Ok(b"0"), ..good() }, refuse(R::Garbage)),
            ("another session", Facts { session: Ok(b"8"), ..good() }, refuse(R::OtherSession)),
            ("a prefix is another", Facts { session: Ok(b"77"), ..good() }, refuse(R::OtherSession)),
            ("theirs unset", Facts { session: Ok(UNSET), ..good() }, refuse(R::OneUnset)),
            ("ours unset", Facts { own_session: Ok(UNSET), ..good() }, refuse(R::OneUnset)),
            ("both unset", Facts { own_session: Ok(UNSET), session: Ok(UNSET), ..good() }, user()),
            (
                "ours unset, theirs missing",
                Facts { own_session: Ok(UNSET), session: Err(2), ..good() },
                refuse(R::NoSession),
            ),
            ("no file for either", Facts { own_session: Err(2), session: Err(2), ..good() }, user()),
            ("no file for us", Facts { own_session: Err(2), session: Ok(UNSET), ..good() }, user()),
            ("no file for us alone", Facts { own_session: Err(2), ..good() }, refuse(R::OneUnset)),
            (
                "no file for us, theirs EACCES",
                Facts { own_session: Err(2), session: Err(13), ..good() },
                refuse(R::Unreadable),
            ),
            ("ours unreadable", Facts { own_session: Err(13), ..good() }, refuse(R::OwnSession)),
            ("ours garbage", Facts { own_session: Ok(b"x"), ..good() }, refuse(R::OwnSession)),
            (
                "ours and theirs the same garbage",
                Facts { own_session: Ok(b"x"), session: Ok(b"x"), ..good() },
                refuse(R::OwnSession),
            ),
            (
                "ours and theirs zero",
                Facts { own_session: Ok(b"0"), session: Ok(b"0"), ..good() },
                refuse(R::OwnSession),
            ),
            ("no such option", Facts { pidfd: Err(92), ..good() }, user()),
            (
                "no such option, another session",
                Facts { pidfd: Err(92), session: Ok(b"8"), ..good() },
                refuse(R::OtherSession),
            ),
            (
                "no such option, one unset",
                Facts { pidfd: Err(92), session: Ok(UNSET), ..good() },
                refuse(R::OneUnset),
            ),
            (
                "no such option, both unset",
                Facts { pidfd: Err(92), own_session: Ok(UNSET), session: Ok(UNSET), ..good() },
                user(),
            ),
            (
                "no such option, no files",
                Facts { pidfd: Err(92), own_session: Err(2), session: Err(2), ..good() },
                user(),
            ),
            (
                "no such option, another user",
                Facts { pidfd: Err(92), uid: Ok(0), ..good() },
                refuse(R::OtherUser),
            ),
            ("no such option, pid 0", Facts { pidfd: Err(92), pid: Some(0), ..good() }, refuse(R::Hidden)),
            (
                "no sessions, yet dead",
                Facts { own_session: Err(2), session: Err(2), alive: false, ..good() },
                refuse(R::Dead),
            ),
            (
                "no sessions, yet reaped",
                Facts { own_session: Err(2), session: Err(2), pidfd: Err(22), ..good() },
                refuse(R::Reaped),
            ),
            (
                "both unset, yet another user",
                Facts { own_session: Ok(UNSET), session: Ok(UNSET), uid: Ok(0), ..good() },
                refuse(R::OtherUser),
            ),
        ];
        for (what, facts, verdict) in table {
            assert_eq!(decide(facts), *verdict, "{what}");
        }
    }

    /// Every combination of readings, against the promise said as one sentence per kind of service.
    #[test]
    fn nothing_else_is_served() {
        let sessions: [Result<&[u8], i32>; 8] =
            [Ok(b"7"), Ok(b"7\n"), Ok(b"8"), Ok(UNSET), Ok(b"junk"), Err(2), Err(13), Err(3)];
        let pidfds = [Ok(()), Err(92), Err(22), Err(3), Err(61), Err(13), Err(38)];
        let uids = [Ok(OURS), Ok(0), Ok(1001), Err(22)];
        let pids = [Some(1), Some(4321), Some(0), Some(-1), None];
        let (mut served, mut all) = (0_u32, 0_u32);
        for own_session in sessions {
            for session in sessions {
                for pidfd in pidfds {
                    for uid in uids {
                        for pid in pids {
                            for alive in [true, false] {
                                let facts =
                                    Facts { own_uid: OURS, own_session, uid, pidfd, pid, session, alive };
                                let ours = own_session.map(AuditSession::parse);
                                let theirs = session.map(AuditSession::parse);
                                let established = uid == Ok(OURS) && pid.is_some_and(|pid| pid > 0) && alive;
                                let same = matches!((ours, theirs),
                                    (Ok(Some(AuditSession::Set(a))), Ok(Some(AuditSession::Set(b)))) if a == b);
                                let cannot_say = matches!(
                                    (ours, theirs),
                                    (Ok(Some(AuditSession::Unset)), Ok(Some(AuditSession::Unset)))
                                        | (Err(2), Err(2) | Ok(Some(AuditSession::Unset)))
                                );
                                let expected = match pidfd {
                                    Ok(()) if established && same => Some(Boundary::Session),
                                    Ok(()) if established && cannot_say => Some(Boundary::User),
                                    Err(92) if established && (same || cannot_say) => Some(Boundary::User),
                                    _ => None,
                                };
                                all += 1;
                                match decide(&facts) {
                                    Verdict::Serve(boundary) => {
                                        served += 1;
                                        assert_eq!(expected, Some(boundary), "{facts:?}");
                                    }
                                    Verdict::Refuse(_) => assert_eq!(expected, None, "{facts:?}"),
                                }
                            }
                        }
                    }
                }
            }
        }
        assert_eq!(all, 8 * 8 * 7 * 4 * 5 * 2);
        // 2 pidfd readings × 2 pids × (5 equal pairs of "7", "7\n", "8" + unset and unset + 2 with no file of ours)
        assert_eq!(served, 2 * 2 * (5 + 1 + 2));
    }

    #[test]
    fn session_files() {
        for (raw, session) in [
            (&b"1"[..], Some(AuditSession::Set(1))),
            (b"4294967294\n", Some(AuditSession::Set(u32::MAX - 1))),
            (b"4294967295", Some(AuditSession::Unset)),
            (b"4294967295\n", Some(AuditSession::Unset)),
            (b"4294967296", None),
            (b"99999999999999999999", None),
            (b"", None),
            (b"\n", None),
            (b"7\n\n", None),
            (b" 7", None),
            (b"7 ", None),
            (b"+7", None),
            (b"-1", None),
            (b"07", None),
            (b"0", None),
            (b"0\n", None),
            (b"7\0", None),
            (b"\xd9\xa7", None),
            (b"7.0", None),
        ] {
            assert_eq!(AuditSession::parse(raw), session, "{raw:?}");
        }
    }

    #[test]
    fn own_boundary() {
        for (own, pidfd, boundary) in [
            (Ok(&b"7"[..]), true, Boundary::Session),
            (Ok(&b"7"[..]), false, Boundary::User),
            (Ok(UNSET), true, Boundary::User),
            (Ok(&b"junk"[..]), true, Boundary::User),
            (Err(2), true, Boundary::User),
        ] {
            assert_eq!(Boundary::of_own(own, pidfd), boundary, "{own:?} {pidfd}");
        }
        assert_eq!(Boundary::parse("session"), Some(Boundary::Session));
        assert_eq!(Boundary::parse("user"), Some(Boundary::User));
        assert_eq!(Boundary::parse("none"), None);
    }

    #[test]
    fn a_refused_caller_is_told_one_thing() {
        assert!(Refusal::TOLD.contains("session mismatch"));
        let mut words = std::collections::HashSet::new();
        for refusal in Refusal::ALL {
            assert!(words.insert(refusal.word()), "{refusal} has its own word");
            assert!(!refusal.sentence().is_empty());
            let problem = refusal.of_server();
            assert_eq!(problem.code, ErrorCode::ServerUntrusted);
            assert!(problem.message.ends_with(refusal.sentence()));
        }
    }
}
