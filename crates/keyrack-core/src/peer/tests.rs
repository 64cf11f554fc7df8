//! The peer rule, as tables.

use std::io::ErrorKind;

use super::*;
use crate::ErrorCode;

const OURS: u32 = 1000;
const OVERFLOW: u32 = DEFAULT_OVERFLOW_UID.as_raw();
const UNSET: &[u8] = b"4294967295";
const INITIAL: &[u8] = b"         0          0 4294967295\n";
const NESTED: &[u8] = b"      1000       1000          1\n";
const UNMAPPED: &[u8] = b"";
/// The initial namespace, as one sees it that maps this user alone.
const INITIAL_FROM_NESTED: &[u8] = b"         0 4294967295 4294967295\n";

const NOT_FOUND: ReadError = ReadError::NotFound;
const GONE: ReadError = ReadError::ProcessGone;
const DENIED: ReadError = ReadError::Io(ErrorKind::PermissionDenied);

/// Facts about both ends in one flat value, so that a row names only what differs.
#[derive(Clone, Copy, Debug)]
struct Facts {
    own_proc: bool,
    own_uid: u32,
    own_uid_map: Result<&'static [u8], ReadError>,
    own_session: Result<&'static [u8], ReadError>,
    uid: Result<u32, ReadError>,
    pidfd: Result<(), PidfdError>,
    pid: Option<i32>,
    session: Result<&'static [u8], ReadError>,
    pid_levels: Result<usize, ReadError>,
    uid_map: Result<&'static [u8], ReadError>,
    alive: bool,
    allowed: AllowedNamespaces,
}

/// Facts of a peer that is served within a session.
fn good() -> Facts {
    Facts {
        own_proc: true,
        own_uid: OURS,
        own_uid_map: Ok(INITIAL),
        own_session: Ok(b"7\n"),
        uid: Ok(OURS),
        pidfd: Ok(()),
        pid: Some(4321),
        session: Ok(b"7"),
        pid_levels: Ok(1),
        uid_map: Ok(INITIAL),
        alive: true,
        allowed: AllowedNamespaces::None,
    }
}

fn parsed(session: Result<&[u8], ReadError>) -> Result<AuditSession, ReadError> {
    session.and_then(|raw| AuditSession::parse(raw).ok_or(ReadError::Malformed))
}

fn authorize(facts: &Facts) -> Result<Boundary, PeerRejection> {
    let local = LocalFacts {
        namespaces: LocalNamespaces {
            own_proc: true,
            uid: Uid::from_raw(facts.own_uid),
            uid_map: facts.own_uid_map.map(UidMap::new),
            overflow_uid: DEFAULT_OVERFLOW_UID,
        },
        session: parsed(facts.own_session),
    };
    let peer = PeerFacts {
        own_proc: facts.own_proc,
        uid: facts.uid.map(Uid::from_raw),
        pidfd: facts.pidfd,
        pid: facts.pid.map(Pid::from_raw),
        session: parsed(facts.session),
        pid_levels: facts.pid_levels,
        uid_map: facts.uid_map.map(UidMap::new),
        alive: facts.alive,
    };
    super::authorize(&local, &peer, facts.allowed)
}

fn user() -> Result<Boundary, PeerRejection> {
    Ok(Boundary::User)
}

fn reject(rejection: PeerRejection) -> Result<Boundary, PeerRejection> {
    Err(rejection)
}

#[test]
fn authorize_follows_the_table() {
    use PeerRejection as R;
    let table: &[(&str, Facts, Result<Boundary, PeerRejection>)] = &[
        ("same user, same session", good(), Ok(Boundary::Session)),
        ("another user", Facts { uid: Ok(1001), ..good() }, reject(R::OtherUser)),
        ("root asking a user", Facts { uid: Ok(0), ..good() }, reject(R::OtherUser)),
        ("a user asking root", Facts { own_uid: 0, ..good() }, reject(R::OtherUser)),
        ("root asking root", Facts { own_uid: 0, uid: Ok(0), ..good() }, Ok(Boundary::Session)),
        (
            "no credentials",
            Facts { uid: Err(ReadError::Io(ErrorKind::InvalidInput)), ..good() },
            reject(R::NoCredentials),
        ),
        ("reaped", Facts { pidfd: Err(PidfdError::PeerReaped), ..good() }, reject(R::Reaped)),
        (
            "no descriptor left",
            Facts { pidfd: Err(PidfdError::OutOfDescriptors), ..good() },
            reject(R::NoPidfd),
        ),
        (
            "SO_PEERPIDFD fails",
            Facts { pidfd: Err(PidfdError::Io(ErrorKind::Unsupported)), ..good() },
            reject(R::NoPidfd),
        ),
        ("pidfd not read", Facts { pidfd: Err(PidfdError::NotRead), ..good() }, reject(R::NoPidfd)),
        ("fdinfo unreadable", Facts { pid: None, ..good() }, reject(R::NoPid)),
        ("pid 0", Facts { pid: Some(0), ..good() }, reject(R::Hidden)),
        ("pid -1", Facts { pid: Some(-1), ..good() }, reject(R::Reaped)),
        ("least pid", Facts { pid: Some(i32::MIN), ..good() }, reject(R::Reaped)),
        ("ended after the read", Facts { alive: false, ..good() }, reject(R::Dead)),
        ("file missing while ours exists", Facts { session: Err(NOT_FOUND), ..good() }, reject(R::NoSession)),
        ("gone between", Facts { session: Err(GONE), ..good() }, reject(R::Dead)),
        ("EACCES", Facts { session: Err(DENIED), ..good() }, reject(R::Unreadable)),
        ("not read at all", Facts { session: Err(ReadError::NotRead), ..good() }, reject(R::Unreadable)),
        ("garbage", Facts { session: Ok(b"seven"), ..good() }, reject(R::Garbage)),
        ("empty", Facts { session: Ok(b""), ..good() }, reject(R::Garbage)),
        ("zero", Facts { session: Ok(b"0"), ..good() }, reject(R::Garbage)),
        ("another session", Facts { session: Ok(b"8"), ..good() }, reject(R::OtherSession)),
        ("a prefix is another", Facts { session: Ok(b"77"), ..good() }, reject(R::OtherSession)),
        ("theirs unset", Facts { session: Ok(UNSET), ..good() }, reject(R::OneUnset)),
        ("ours unset", Facts { own_session: Ok(UNSET), ..good() }, reject(R::OneUnset)),
        ("both unset", Facts { own_session: Ok(UNSET), session: Ok(UNSET), ..good() }, user()),
        (
            "ours unset, theirs missing",
            Facts { own_session: Ok(UNSET), session: Err(NOT_FOUND), ..good() },
            reject(R::NoSession),
        ),
        (
            "no file for either",
            Facts { own_session: Err(NOT_FOUND), session: Err(NOT_FOUND), ..good() },
            user(),
        ),
        ("no file for us", Facts { own_session: Err(NOT_FOUND), session: Ok(UNSET), ..good() }, user()),
        ("no file for us alone", Facts { own_session: Err(NOT_FOUND), ..good() }, reject(R::OneUnset)),
        (
            "no file for us, theirs EACCES",
            Facts { own_session: Err(NOT_FOUND), session: Err(DENIED), ..good() },
            reject(R::Unreadable),
        ),
        ("ours unreadable", Facts { own_session: Err(DENIED), ..good() }, reject(R::OwnSession)),
        ("ours garbage", Facts { own_session: Ok(b"x"), ..good() }, reject(R::OwnSession)),
        (
            "ours and theirs the same garbage",
            Facts { own_session: Ok(b"x"), session: Ok(b"x"), ..good() },
            reject(R::OwnSession),
        ),
        (
            "ours and theirs zero",
            Facts { own_session: Ok(b"0"), session: Ok(b"0"), ..good() },
            reject(R::OwnSession),
        ),
        ("no such option", Facts { pidfd: Err(PidfdError::Unsupported), ..good() }, user()),
        (
            "no such option, another session",
            Facts { pidfd: Err(PidfdError::Unsupported), session: Ok(b"8"), ..good() },
            reject(R::OtherSession),
        ),
        (
            "no such option, one unset",
            Facts { pidfd: Err(PidfdError::Unsupported), session: Ok(UNSET), ..good() },
            reject(R::OneUnset),
        ),
        (
            "no such option, both unset",
            Facts {
                pidfd: Err(PidfdError::Unsupported),
                own_session: Ok(UNSET),
                session: Ok(UNSET),
                ..good()
            },
            user(),
        ),
        (
            "no such option, no files",
            Facts {
                pidfd: Err(PidfdError::Unsupported),
                own_session: Err(NOT_FOUND),
                session: Err(NOT_FOUND),
                ..good()
            },
            user(),
        ),
        (
            "no such option, another user",
            Facts { pidfd: Err(PidfdError::Unsupported), uid: Ok(0), ..good() },
            reject(R::OtherUser),
        ),
        (
            "no such option, pid 0",
            Facts { pidfd: Err(PidfdError::Unsupported), pid: Some(0), ..good() },
            reject(R::Hidden),
        ),
        (
            "no sessions, yet dead",
            Facts { own_session: Err(NOT_FOUND), session: Err(NOT_FOUND), alive: false, ..good() },
            reject(R::Dead),
        ),
        (
            "no sessions, yet reaped",
            Facts {
                own_session: Err(NOT_FOUND),
                session: Err(NOT_FOUND),
                pidfd: Err(PidfdError::PeerReaped),
                ..good()
            },
            reject(R::Reaped),
        ),
        (
            "both unset, yet another user",
            Facts { own_session: Ok(UNSET), session: Ok(UNSET), uid: Ok(0), ..good() },
            reject(R::OtherUser),
        ),
    ];
    for (what, facts, verdict) in table {
        assert_eq!(authorize(facts), *verdict, "{what}");
    }
}

#[test]
fn authorize_follows_the_table_of_namespaces() {
    use PeerRejection as R;
    let session = Ok(Boundary::Session);
    let nested_own = || Facts { own_uid_map: Ok(NESTED), uid_map: Ok(NESTED), ..good() };
    let pid_jail = || Facts { pid_levels: Ok(2), ..good() };
    let user_jail = || Facts { uid_map: Ok(NESTED), ..good() };
    let allow = |allowed: AllowedNamespaces, facts: Facts| Facts { allowed, ..facts };
    let other = |facts: Facts| Facts { session: Ok(b"8"), ..facts };
    let (initial, user, all) =
        (AllowedNamespaces::InitialUser, AllowedNamespaces::NestedUser, AllowedNamespaces::Nested);
    let table: &[(&str, Facts, Result<Boundary, PeerRejection>)] = &[
        ("nested pid namespace", pid_jail(), reject(R::NestedPid)),
        ("nested in a nested one", Facts { pid_levels: Ok(3), ..good() }, reject(R::NestedPid)),
        ("nested, and of another session", other(pid_jail()), reject(R::NestedPid)),
        ("no pid at all", Facts { pid_levels: Ok(0), ..good() }, reject(R::NamespaceUnreadable)),
        ("pids unreadable", Facts { pid_levels: Err(DENIED), ..good() }, reject(R::NamespaceUnreadable)),
        (
            "pids not read",
            Facts { pid_levels: Err(ReadError::NotRead), ..good() },
            reject(R::NamespaceUnreadable),
        ),
        ("nested user namespace", user_jail(), reject(R::OtherUserNamespace)),
        ("nested, nothing mapped", Facts { uid_map: Ok(UNMAPPED), ..good() }, reject(R::OtherUserNamespace)),
        ("nested user, and of another session", other(user_jail()), reject(R::OtherUserNamespace)),
        ("map unreadable", Facts { uid_map: Err(DENIED), ..good() }, reject(R::NamespaceUnreadable)),
        (
            "map missing while ours exists",
            Facts { uid_map: Err(NOT_FOUND), ..good() },
            reject(R::NamespaceUnreadable),
        ),
        (
            "no user namespaces",
            Facts { own_uid_map: Err(NOT_FOUND), uid_map: Err(NOT_FOUND), ..good() },
            session,
        ),
        (
            "no user namespaces for us alone",
            Facts { own_uid_map: Err(NOT_FOUND), ..good() },
            reject(R::NamespaceUnreadable),
        ),
        // Our own is nested: a sibling or a child can have the same map.
        ("both nested", nested_own(), session),
        (
            "both nested, other maps",
            Facts { uid_map: Ok(b"0 1000 1\n"), ..nested_own() },
            reject(R::OtherUserNamespace),
        ),
        (
            "the initial one, from a nested one",
            Facts { uid_map: Ok(INITIAL_FROM_NESTED), ..nested_own() },
            reject(R::OtherUserNamespace),
        ),
        (
            "a server in the initial one",
            allow(initial, Facts { uid_map: Ok(INITIAL_FROM_NESTED), ..nested_own() }),
            session,
        ),
        ("a server in a nested one", allow(initial, user_jail()), reject(R::OtherUserNamespace)),
        (
            "a server in a sibling",
            allow(initial, Facts { uid_map: Ok(b"0 1000 1\n"), ..nested_own() }),
            reject(R::OtherUserNamespace),
        ),
        ("a server in a nested pid namespace", allow(initial, pid_jail()), reject(R::NestedPid)),
        // What KEYRACK_ALLOW_NAMESPACES lets in, and what it never does.
        ("user: nested user", allow(user, user_jail()), session),
        (
            "user: nested user, mapped to root",
            allow(user, Facts { uid_map: Ok(b"0 1000 1\n"), ..good() }),
            session,
        ),
        ("user: nested pid", allow(user, pid_jail()), reject(R::NestedPid)),
        ("user: both", allow(user, Facts { pid_levels: Ok(2), ..user_jail() }), reject(R::NestedPid)),
        (
            "user: nothing mapped",
            allow(user, Facts { uid_map: Ok(UNMAPPED), ..good() }),
            reject(R::OtherUserNamespace),
        ),
        (
            "user: another user mapped",
            allow(user, Facts { uid_map: Ok(b"0 1001 1\n"), ..good() }),
            reject(R::OtherUserNamespace),
        ),
        ("user: another user", allow(user, Facts { uid: Ok(1001), ..user_jail() }), reject(R::OtherUser)),
        ("user: another session", allow(user, other(user_jail())), reject(R::OtherSession)),
        (
            "user: map unreadable",
            allow(user, Facts { uid_map: Err(DENIED), ..good() }),
            reject(R::NamespaceUnreadable),
        ),
        ("all: nested user", allow(all, user_jail()), session),
        ("all: nested pid", allow(all, pid_jail()), session),
        ("all: both", allow(all, Facts { pid_levels: Ok(2), ..user_jail() }), session),
        ("all: pid 0", allow(all, Facts { pid: Some(0), ..good() }), reject(R::Hidden)),
        (
            "all: nothing mapped",
            allow(all, Facts { uid_map: Ok(UNMAPPED), ..good() }),
            reject(R::OtherUserNamespace),
        ),
        (
            "all: pids unreadable",
            allow(all, Facts { pid_levels: Err(DENIED), ..good() }),
            reject(R::NamespaceUnreadable),
        ),
        ("all: another session", allow(all, other(pid_jail())), reject(R::OtherSession)),
        // Pid 0 is refused before anything else is looked at.
        ("pid 0 of another user", Facts { pid: Some(0), uid: Ok(0), ..good() }, reject(R::Hidden)),
        ("pid 0, dead", Facts { pid: Some(0), alive: false, ..good() }, reject(R::Hidden)),
        // Our uid is not known, or no process can be looked up.
        ("foreign /proc", Facts { own_proc: false, ..good() }, reject(R::OwnProc)),
        (
            "our uid not mapped",
            Facts { own_uid_map: Ok(UNMAPPED), uid_map: Ok(UNMAPPED), ..good() },
            reject(R::OwnUser),
        ),
        (
            "two unknown uids",
            Facts {
                own_uid: OVERFLOW,
                uid: Ok(OVERFLOW),
                own_uid_map: Ok(NESTED),
                uid_map: Ok(NESTED),
                ..good()
            },
            reject(R::OwnUser),
        ),
        (
            "two unknown uids, all allowed",
            Facts {
                own_uid: OVERFLOW,
                uid: Ok(OVERFLOW),
                own_uid_map: Ok(UNMAPPED),
                uid_map: Ok(INITIAL_FROM_NESTED),
                allowed: all,
                ..good()
            },
            reject(R::OwnUser),
        ),
        (
            "overflow uid that is a real user",
            Facts { own_uid: OVERFLOW, uid: Ok(OVERFLOW), ..good() },
            session,
        ),
        ("our map unreadable", Facts { own_uid_map: Err(DENIED), ..good() }, reject(R::OwnUser)),
    ];
    for (what, facts, verdict) in table {
        assert_eq!(authorize(facts), *verdict, "{what}");
    }
}

/// Every combination of namespaces, whatever else is right: only equal ones are served, unless
/// others were allowed.
#[test]
fn namespaces_are_served_only_as_allowed() {
    let maps: [Result<&[u8], ReadError>; 6] =
        [Ok(INITIAL), Ok(NESTED), Ok(UNMAPPED), Ok(b"0 1000 1\n"), Ok(b"0 1001 1\n"), Err(DENIED)];
    let levels = [Ok(0), Ok(1), Ok(2), Ok(32), Err(DENIED), Err(ReadError::NotRead)];
    let mut served = 0;
    for allowed in [
        AllowedNamespaces::None,
        AllowedNamespaces::InitialUser,
        AllowedNamespaces::NestedUser,
        AllowedNamespaces::Nested,
    ] {
        for own_proc in [true, false] {
            for own_uid_map in maps {
                for uid_map in maps {
                    for pid_levels in levels {
                        for pid in [Some(4321), Some(0)] {
                            let facts =
                                Facts { allowed, own_proc, own_uid_map, uid_map, pid_levels, pid, ..good() };
                            let known = own_uid_map == Ok(INITIAL) || own_uid_map == Ok(NESTED);
                            let visible = own_proc && pid != Some(0);
                            let same_pid = pid_levels == Ok(1)
                                || allowed == AllowedNamespaces::Nested
                                    && pid_levels.is_ok_and(|levels| levels > 1);
                            // Of these maps, the ones with an id for the user 1000.
                            let mapped =
                                uid_map != Ok(UNMAPPED) && uid_map != Ok(b"0 1001 1\n") && uid_map.is_ok();
                            let same_user = uid_map.is_ok()
                                && (own_uid_map == uid_map
                                    || allowed == AllowedNamespaces::InitialUser && uid_map == Ok(INITIAL)
                                    || matches!(
                                        allowed,
                                        AllowedNamespaces::NestedUser | AllowedNamespaces::Nested
                                    ) && mapped);
                            let expected = known && visible && same_pid && same_user;
                            let verdict = authorize(&facts);
                            assert_eq!(verdict == Ok(Boundary::Session), expected, "{facts:?}");
                            served += u32::from(expected);
                        }
                    }
                }
            }
        }
    }
    // None 2, initial 3, user 2 × 3 maps with 1 level; all the same 6 with 3 levels.
    assert_eq!(served, 2 + 3 + 6 + 18);
}

/// Every combination of readings, against the promise said as one sentence per kind of service.
#[test]
fn authorize_serves_nothing_else() {
    let sessions: [Result<&[u8], ReadError>; 8] =
        [Ok(b"7"), Ok(b"7\n"), Ok(b"8"), Ok(UNSET), Ok(b"junk"), Err(NOT_FOUND), Err(DENIED), Err(GONE)];
    let pidfds = [
        Ok(()),
        Err(PidfdError::Unsupported),
        Err(PidfdError::PeerReaped),
        Err(PidfdError::OutOfDescriptors),
        Err(PidfdError::NotRead),
        Err(PidfdError::Io(ErrorKind::PermissionDenied)),
        Err(PidfdError::Io(ErrorKind::Unsupported)),
    ];
    let uids = [Ok(OURS), Ok(0), Ok(1001), Err(ReadError::Io(ErrorKind::InvalidInput))];
    let pids = [Some(1), Some(4321), Some(0), Some(-1), None];
    let (mut served, mut all) = (0_u32, 0_u32);
    for own_session in sessions {
        for session in sessions {
            for pidfd in pidfds {
                for uid in uids {
                    for pid in pids {
                        for alive in [true, false] {
                            let facts = Facts { own_session, uid, pidfd, pid, session, alive, ..good() };
                            let ours = own_session.map(AuditSession::parse);
                            let theirs = session.map(AuditSession::parse);
                            let established = uid == Ok(OURS) && pid.is_some_and(|pid| pid > 0) && alive;
                            let same = matches!((ours, theirs),
                                (Ok(Some(AuditSession::Set(a))), Ok(Some(AuditSession::Set(b)))) if a == b);
                            let cannot_say = matches!(
                                (ours, theirs),
                                (Ok(Some(AuditSession::Unset)), Ok(Some(AuditSession::Unset)))
                                    | (Err(NOT_FOUND), Err(NOT_FOUND) | Ok(Some(AuditSession::Unset)))
                            );
                            let expected = match pidfd {
                                Ok(()) if established && same => Some(Boundary::Session),
                                Ok(()) if established && cannot_say => Some(Boundary::User),
                                Err(PidfdError::Unsupported) if established && (same || cannot_say) => {
                                    Some(Boundary::User)
                                }
                                _ => None,
                            };
                            all += 1;
                            match authorize(&facts) {
                                Ok(boundary) => {
                                    served += 1;
                                    assert_eq!(expected, Some(boundary), "{facts:?}");
                                }
                                Err(_) => assert_eq!(expected, None, "{facts:?}"),
                            }
                        }
                    }
                }
            }
        }
    }
    assert_eq!(all, 8 * 8 * 7 * 4 * 5 * 2);
    // 2 pidfd readings × 2 pids × (5 equal pairs of "7", "7\n", "8" + unset and unset + 2 with no
    // file of ours)
    assert_eq!(served, 2 * 2 * (5 + 1 + 2));
}

#[test]
fn audit_session_parses_only_what_the_kernel_writes() {
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
fn own_boundary_is_session_only_with_pidfds_in_a_login() {
    for (own, pidfd, boundary) in [
        (Ok(&b"7"[..]), true, Boundary::Session),
        (Ok(&b"7"[..]), false, Boundary::User),
        (Ok(UNSET), true, Boundary::User),
        (Ok(&b"junk"[..]), true, Boundary::User),
        (Err(NOT_FOUND), true, Boundary::User),
    ] {
        assert_eq!(Boundary::of_own(parsed(own), pidfd), boundary, "{own:?} {pidfd}");
    }
    assert_eq!(Boundary::parse("session"), Some(Boundary::Session));
    assert_eq!(Boundary::parse("user"), Some(Boundary::User));
    assert_eq!(Boundary::parse("none"), None);
}

#[test]
fn rejections_have_distinct_codes_and_one_public_message() {
    assert!(PeerRejection::PUBLIC_MESSAGE.contains("session mismatch"));
    let mut words = std::collections::HashSet::new();
    for rejection in PeerRejection::ALL {
        assert!(words.insert(rejection.code()), "{rejection} has its own word");
        assert!(!rejection.description().is_empty());
        let error = rejection.into_server_error();
        assert_eq!(error.code, ErrorCode::ServerUntrusted);
        assert!(error.message.ends_with(rejection.description()));
    }
}
