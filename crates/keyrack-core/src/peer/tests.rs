//! The peer rule, as tables.

use super::*;

const OURS: u32 = 1000;
const UNSET: &[u8] = b"4294967295";
const INITIAL: &[u8] = b"         0          0 4294967295\n";
const NESTED: &[u8] = b"      1000       1000          1\n";
const UNMAPPED: &[u8] = b"";
/// The initial namespace, as one sees it that maps this user alone.
const INITIAL_FROM_NESTED: &[u8] = b"         0 4294967295 4294967295\n";

/// The one reading that is served within a session.
fn good() -> PeerFacts<'static> {
    PeerFacts {
        own_proc: true,
        own_uid: OURS,
        own_uid_map: Ok(INITIAL),
        overflow_uid: DEFAULT_OVERFLOW_UID,
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

fn user() -> Result<Boundary, PeerRejection> {
    Ok(Boundary::User)
}

fn reject(rejection: PeerRejection) -> Result<Boundary, PeerRejection> {
    Err(rejection)
}

#[test]
fn the_table() {
    use PeerRejection as R;
    let table: &[(&str, PeerFacts<'_>, Result<Boundary, PeerRejection>)] = &[
        ("same user, same session", good(), Ok(Boundary::Session)),
        ("another user", PeerFacts { uid: Ok(1001), ..good() }, reject(R::OtherUser)),
        ("root asking a user", PeerFacts { uid: Ok(0), ..good() }, reject(R::OtherUser)),
        ("a user asking root", PeerFacts { own_uid: 0, ..good() }, reject(R::OtherUser)),
        ("root asking root", PeerFacts { own_uid: 0, uid: Ok(0), ..good() }, Ok(Boundary::Session)),
        ("no credentials", PeerFacts { uid: Err(22), ..good() }, reject(R::NoCredentials)),
        ("reaped: EINVAL", PeerFacts { pidfd: Err(22), ..good() }, reject(R::Reaped)),
        ("reaped: ESRCH", PeerFacts { pidfd: Err(3), ..good() }, reject(R::Reaped)),
        ("reaped: ENODATA", PeerFacts { pidfd: Err(61), ..good() }, reject(R::Reaped)),
        ("EMFILE is no excuse", PeerFacts { pidfd: Err(24), ..good() }, reject(R::NoPidfd)),
        ("EOPNOTSUPP is no excuse", PeerFacts { pidfd: Err(95), ..good() }, reject(R::NoPidfd)),
        ("errno 0 is no excuse", PeerFacts { pidfd: Err(0), ..good() }, reject(R::NoPidfd)),
        ("fdinfo unreadable", PeerFacts { pid: None, ..good() }, reject(R::NoPid)),
        ("pid 0", PeerFacts { pid: Some(0), ..good() }, reject(R::Hidden)),
        ("pid -1", PeerFacts { pid: Some(-1), ..good() }, reject(R::Reaped)),
        ("least pid", PeerFacts { pid: Some(i64::MIN), ..good() }, reject(R::Reaped)),
        ("ended after the read", PeerFacts { alive: false, ..good() }, reject(R::Dead)),
        ("file missing while ours exists", PeerFacts { session: Err(2), ..good() }, reject(R::NoSession)),
        ("gone between", PeerFacts { session: Err(3), ..good() }, reject(R::Dead)),
        ("EACCES", PeerFacts { session: Err(13), ..good() }, reject(R::Unreadable)),
        ("not read at all", PeerFacts { session: Err(0), ..good() }, reject(R::Unreadable)),
        ("garbage", PeerFacts { session: Ok(b"seven"), ..good() }, reject(R::Garbage)),
        ("empty", PeerFacts { session: Ok(b""), ..good() }, reject(R::Garbage)),
        ("zero", PeerFacts { session: Ok(b"0"), ..good() }, reject(R::Garbage)),
        ("another session", PeerFacts { session: Ok(b"8"), ..good() }, reject(R::OtherSession)),
        ("a prefix is another", PeerFacts { session: Ok(b"77"), ..good() }, reject(R::OtherSession)),
        ("theirs unset", PeerFacts { session: Ok(UNSET), ..good() }, reject(R::OneUnset)),
        ("ours unset", PeerFacts { own_session: Ok(UNSET), ..good() }, reject(R::OneUnset)),
        ("both unset", PeerFacts { own_session: Ok(UNSET), session: Ok(UNSET), ..good() }, user()),
        (
            "ours unset, theirs missing",
            PeerFacts { own_session: Ok(UNSET), session: Err(2), ..good() },
            reject(R::NoSession),
        ),
        ("no file for either", PeerFacts { own_session: Err(2), session: Err(2), ..good() }, user()),
        ("no file for us", PeerFacts { own_session: Err(2), session: Ok(UNSET), ..good() }, user()),
        ("no file for us alone", PeerFacts { own_session: Err(2), ..good() }, reject(R::OneUnset)),
        (
            "no file for us, theirs EACCES",
            PeerFacts { own_session: Err(2), session: Err(13), ..good() },
            reject(R::Unreadable),
        ),
        ("ours unreadable", PeerFacts { own_session: Err(13), ..good() }, reject(R::OwnSession)),
        ("ours garbage", PeerFacts { own_session: Ok(b"x"), ..good() }, reject(R::OwnSession)),
        (
            "ours and theirs the same garbage",
            PeerFacts { own_session: Ok(b"x"), session: Ok(b"x"), ..good() },
            reject(R::OwnSession),
        ),
        (
            "ours and theirs zero",
            PeerFacts { own_session: Ok(b"0"), session: Ok(b"0"), ..good() },
            reject(R::OwnSession),
        ),
        ("no such option", PeerFacts { pidfd: Err(92), ..good() }, user()),
        (
            "no such option, another session",
            PeerFacts { pidfd: Err(92), session: Ok(b"8"), ..good() },
            reject(R::OtherSession),
        ),
        (
            "no such option, one unset",
            PeerFacts { pidfd: Err(92), session: Ok(UNSET), ..good() },
            reject(R::OneUnset),
        ),
        (
            "no such option, both unset",
            PeerFacts { pidfd: Err(92), own_session: Ok(UNSET), session: Ok(UNSET), ..good() },
            user(),
        ),
        (
            "no such option, no files",
            PeerFacts { pidfd: Err(92), own_session: Err(2), session: Err(2), ..good() },
            user(),
        ),
        (
            "no such option, another user",
            PeerFacts { pidfd: Err(92), uid: Ok(0), ..good() },
            reject(R::OtherUser),
        ),
        ("no such option, pid 0", PeerFacts { pidfd: Err(92), pid: Some(0), ..good() }, reject(R::Hidden)),
        (
            "no sessions, yet dead",
            PeerFacts { own_session: Err(2), session: Err(2), alive: false, ..good() },
            reject(R::Dead),
        ),
        (
            "no sessions, yet reaped",
            PeerFacts { own_session: Err(2), session: Err(2), pidfd: Err(22), ..good() },
            reject(R::Reaped),
        ),
        (
            "both unset, yet another user",
            PeerFacts { own_session: Ok(UNSET), session: Ok(UNSET), uid: Ok(0), ..good() },
            reject(R::OtherUser),
        ),
    ];
    for (what, facts, verdict) in table {
        assert_eq!(authorize(facts), *verdict, "{what}");
    }
}

#[test]
fn namespaces_table() {
    use PeerRejection as R;
    let session = Ok(Boundary::Session);
    let nested_own = || PeerFacts { own_uid_map: Ok(NESTED), uid_map: Ok(NESTED), ..good() };
    let pid_jail = || PeerFacts { pid_levels: Ok(2), ..good() };
    let user_jail = || PeerFacts { uid_map: Ok(NESTED), ..good() };
    let allow = |allowed: AllowedNamespaces, facts: PeerFacts<'static>| PeerFacts { allowed, ..facts };
    let other = |facts: PeerFacts<'static>| PeerFacts { session: Ok(b"8"), ..facts };
    let (initial, user, all) =
        (AllowedNamespaces::InitialUser, AllowedNamespaces::NestedUser, AllowedNamespaces::Nested);
    let table: &[(&str, PeerFacts<'_>, Result<Boundary, PeerRejection>)] = &[
        ("nested pid namespace", pid_jail(), reject(R::NestedPid)),
        ("nested in a nested one", PeerFacts { pid_levels: Ok(3), ..good() }, reject(R::NestedPid)),
        ("nested, and of another session", other(pid_jail()), reject(R::NestedPid)),
        ("no pid at all", PeerFacts { pid_levels: Ok(0), ..good() }, reject(R::NamespaceUnreadable)),
        ("pids unreadable", PeerFacts { pid_levels: Err(13), ..good() }, reject(R::NamespaceUnreadable)),
        ("pids not read", PeerFacts { pid_levels: Err(0), ..good() }, reject(R::NamespaceUnreadable)),
        ("nested user namespace", user_jail(), reject(R::OtherUserNamespace)),
        (
            "nested, nothing mapped",
            PeerFacts { uid_map: Ok(UNMAPPED), ..good() },
            reject(R::OtherUserNamespace),
        ),
        ("nested user, and of another session", other(user_jail()), reject(R::OtherUserNamespace)),
        ("map unreadable", PeerFacts { uid_map: Err(13), ..good() }, reject(R::NamespaceUnreadable)),
        (
            "map missing while ours exists",
            PeerFacts { uid_map: Err(2), ..good() },
            reject(R::NamespaceUnreadable),
        ),
        ("no user namespaces", PeerFacts { own_uid_map: Err(2), uid_map: Err(2), ..good() }, session),
        (
            "no user namespaces for us alone",
            PeerFacts { own_uid_map: Err(2), ..good() },
            reject(R::NamespaceUnreadable),
        ),
        // Our own is nested: a sibling or a child can have the same map.
        ("both nested", nested_own(), session),
        (
            "both nested, other maps",
            PeerFacts { uid_map: Ok(b"0 1000 1\n"), ..nested_own() },
            reject(R::OtherUserNamespace),
        ),
        (
            "the initial one, from a nested one",
            PeerFacts { uid_map: Ok(INITIAL_FROM_NESTED), ..nested_own() },
            reject(R::OtherUserNamespace),
        ),
        (
            "a server in the initial one",
            allow(initial, PeerFacts { uid_map: Ok(INITIAL_FROM_NESTED), ..nested_own() }),
            session,
        ),
        ("a server in a nested one", allow(initial, user_jail()), reject(R::OtherUserNamespace)),
        (
            "a server in a sibling",
            allow(initial, PeerFacts { uid_map: Ok(b"0 1000 1\n"), ..nested_own() }),
            reject(R::OtherUserNamespace),
        ),
        ("a server in a nested pid namespace", allow(initial, pid_jail()), reject(R::NestedPid)),
        // What KEYRACK_ALLOW_NAMESPACES lets in, and what it never does.
        ("user: nested user", allow(user, user_jail()), session),
        (
            "user: nested user, mapped to root",
            allow(user, PeerFacts { uid_map: Ok(b"0 1000 1\n"), ..good() }),
            session,
        ),
        ("user: nested pid", allow(user, pid_jail()), reject(R::NestedPid)),
        ("user: both", allow(user, PeerFacts { pid_levels: Ok(2), ..user_jail() }), reject(R::NestedPid)),
        (
            "user: nothing mapped",
            allow(user, PeerFacts { uid_map: Ok(UNMAPPED), ..good() }),
            reject(R::OtherUserNamespace),
        ),
        (
            "user: another user mapped",
            allow(user, PeerFacts { uid_map: Ok(b"0 1001 1\n"), ..good() }),
            reject(R::OtherUserNamespace),
        ),
        ("user: another user", allow(user, PeerFacts { uid: Ok(1001), ..user_jail() }), reject(R::OtherUser)),
        ("user: another session", allow(user, other(user_jail())), reject(R::OtherSession)),
        (
            "user: map unreadable",
            allow(user, PeerFacts { uid_map: Err(13), ..good() }),
            reject(R::NamespaceUnreadable),
        ),
        ("all: nested user", allow(all, user_jail()), session),
        ("all: nested pid", allow(all, pid_jail()), session),
        ("all: both", allow(all, PeerFacts { pid_levels: Ok(2), ..user_jail() }), session),
        ("all: pid 0", allow(all, PeerFacts { pid: Some(0), ..good() }), reject(R::Hidden)),
        (
            "all: nothing mapped",
            allow(all, PeerFacts { uid_map: Ok(UNMAPPED), ..good() }),
            reject(R::OtherUserNamespace),
        ),
        (
            "all: pids unreadable",
            allow(all, PeerFacts { pid_levels: Err(13), ..good() }),
            reject(R::NamespaceUnreadable),
        ),
        ("all: another session", allow(all, other(pid_jail())), reject(R::OtherSession)),
        // Pid 0 is refused before anything else is looked at.
        ("pid 0 of another user", PeerFacts { pid: Some(0), uid: Ok(0), ..good() }, reject(R::Hidden)),
        ("pid 0, dead", PeerFacts { pid: Some(0), alive: false, ..good() }, reject(R::Hidden)),
        // We are nobody in particular, or cannot look anybody up.
        ("foreign /proc", PeerFacts { own_proc: false, ..good() }, reject(R::OwnProc)),
        (
            "our uid not mapped",
            PeerFacts { own_uid_map: Ok(UNMAPPED), uid_map: Ok(UNMAPPED), ..good() },
            reject(R::OwnUser),
        ),
        (
            "two unknown uids",
            PeerFacts {
                own_uid: DEFAULT_OVERFLOW_UID,
                uid: Ok(DEFAULT_OVERFLOW_UID),
                own_uid_map: Ok(NESTED),
                uid_map: Ok(NESTED),
                ..good()
            },
            reject(R::OwnUser),
        ),
        (
            "two unknown uids, all allowed",
            PeerFacts {
                own_uid: DEFAULT_OVERFLOW_UID,
                uid: Ok(DEFAULT_OVERFLOW_UID),
                own_uid_map: Ok(UNMAPPED),
                uid_map: Ok(INITIAL_FROM_NESTED),
                allowed: all,
                ..good()
            },
            reject(R::OwnUser),
        ),
        (
            "nobody, known by that name",
            PeerFacts { own_uid: DEFAULT_OVERFLOW_UID, uid: Ok(DEFAULT_OVERFLOW_UID), ..good() },
            session,
        ),
        ("our map unreadable", PeerFacts { own_uid_map: Err(13), ..good() }, reject(R::OwnUser)),
    ];
    for (what, facts, verdict) in table {
        assert_eq!(authorize(facts), *verdict, "{what}");
    }
}

/// Every combination of namespaces, whatever else is right: only equal ones are served, unless others were allowed.
#[test]
fn namespaces_are_served_only_as_allowed() {
    let maps: [Result<&[u8], i32>; 6] =
        [Ok(INITIAL), Ok(NESTED), Ok(UNMAPPED), Ok(b"0 1000 1\n"), Ok(b"0 1001 1\n"), Err(13)];
    let levels = [Ok(0), Ok(1), Ok(2), Ok(32), Err(13), Err(0)];
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
                            let facts = PeerFacts {
                                allowed,
                                own_proc,
                                own_uid_map,
                                uid_map,
                                pid_levels,
                                pid,
                                ..good()
                            };
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
                            let facts = PeerFacts { own_session, uid, pidfd, pid, session, alive, ..good() };
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
