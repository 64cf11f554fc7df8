//! Namespaces of a peer, as far as the peer rule compares them (`pid_namespaces(7)`,
//! `user_namespaces(7)`).

use super::{LocalNamespaces, Uid};

/// Overflow uid of the kernel where `/proc/sys/kernel/overflowuid` was not changed. Shown in place
/// of every uid that a user namespace does not map.
pub const DEFAULT_OVERFLOW_UID: Uid = Uid::from_raw(65_534);

/// Other namespaces whose peers are accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AllowedNamespaces {
    /// None.
    #[default]
    None,
    /// Peers in the initial user namespace, whichever the own one is. For a client: a server there
    /// runs outside every sandbox that the user could have made.
    InitialUser,
    /// Peers in nested user namespaces (`KEYRACK_ALLOW_NAMESPACES=user`).
    NestedUser,
    /// Peers in nested pid or user namespaces (`KEYRACK_ALLOW_NAMESPACES=all`).
    Nested,
}

impl AllowedNamespaces {
    /// Parses a value of `KEYRACK_ALLOW_NAMESPACES`.
    pub fn parse(value: &str) -> Option<Self> {
        match value {
            "user" => Some(AllowedNamespaces::NestedUser),
            "all" => Some(AllowedNamespaces::Nested),
            _ => None,
        }
    }
}

/// Namespaces that a daemon accepts callers from, as `status`, `hello` and `doctor` show them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnforcedNamespaces {
    /// The daemon's own pid and user namespaces.
    PidAndUser,
    /// The daemon's own pid namespace. It runs in a nested user namespace itself, where another one
    /// can look the same.
    PidOnly,
    /// Nested user namespaces are served too: `KEYRACK_ALLOW_NAMESPACES=user`.
    UserAllowed,
    /// Nested pid and user namespaces are served too: `KEYRACK_ALLOW_NAMESPACES=all`.
    AllAllowed,
}

impl EnforcedNamespaces {
    /// Returns what a daemon with these namespaces enforces under this setting.
    pub fn of_own(own: &LocalNamespaces, allowed: AllowedNamespaces) -> Self {
        match Self::of_allowed(allowed) {
            Some(open) => open,
            None if own.is_initial_user() => EnforcedNamespaces::PidAndUser,
            None => EnforcedNamespaces::PidOnly,
        }
    }

    /// Returns what a daemon enforces that serves nested namespaces; `None` if the setting does not
    /// allow any.
    pub fn of_allowed(allowed: AllowedNamespaces) -> Option<Self> {
        match allowed {
            AllowedNamespaces::NestedUser => Some(EnforcedNamespaces::UserAllowed),
            AllowedNamespaces::Nested => Some(EnforcedNamespaces::AllAllowed),
            AllowedNamespaces::None | AllowedNamespaces::InitialUser => None,
        }
    }

    /// Word on the wire and in the output of commands.
    pub fn as_str(self) -> &'static str {
        match self {
            EnforcedNamespaces::PidAndUser => "pid and user",
            EnforcedNamespaces::PidOnly => "pid only",
            EnforcedNamespaces::UserAllowed => "user allowed",
            EnforcedNamespaces::AllAllowed => "all allowed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use super::super::{ReadError, UidMap};

    const INITIAL: &[u8] = b"         0          0 4294967295\n";
    const DENIED: ReadError = ReadError::Io(std::io::ErrorKind::PermissionDenied);

    fn local(uid: u32, uid_map: Result<&[u8], ReadError>) -> LocalNamespaces {
        LocalNamespaces {
            own_proc: true,
            uid: Uid::from_raw(uid),
            uid_map: uid_map.map(UidMap::new),
            overflow_uid: DEFAULT_OVERFLOW_UID,
        }
    }

    #[test]
    fn initial_map_is_recognized_by_its_length() {
        for (map, expected) in [
            (INITIAL, true),
            // The initial namespace, seen from one that does not map root, and from one that does.
            (b"0 4294967295 4294967295\n", true),
            (b"0 65534 4294967295\n", true),
            (b"", false),
            (b"0 0 4294967294\n", false),
            (b"0 0 1\n1 1 4294967294\n", false),
            (b"0 0 4294967295\n5 5 1\n", false),
            (b"1000 1000 1\n", false),
            (b"0 0 4294967296\n", false),
            (b"0 0\n", false),
            (b"0 0 4294967295 1\n", false),
        ] {
            assert_eq!(UidMap::new(map).is_initial(), expected, "{:?}", String::from_utf8_lossy(map));
        }
        let initial = |uid_map| local(1000, uid_map).is_initial_user();
        assert!(initial(Err(ReadError::NotFound)) && initial(Ok(INITIAL)));
        assert!(!initial(Err(DENIED)));
    }

    #[test]
    fn uid_map_finds_uids_inside_and_outside() {
        let rootless = UidMap::new(b"         0       1000          1\n         1     100000      65536\n");
        for (uid, inside, outside) in [
            (0, true, false),
            (1, true, false),
            (1000, true, true),
            (65_536, true, false),
            (65_537, false, false),
            (99_999, false, false),
            (100_000, false, true),
            (165_535, false, true),
            (165_536, false, false),
            (u32::MAX, false, false),
        ] {
            assert_eq!(rootless.has_inside(Uid::from_raw(uid)), inside, "{uid} inside");
            assert_eq!(rootless.has_outside(Uid::from_raw(uid)), outside, "{uid} outside");
        }
        let foreign = UidMap::new(b"0 4294967295 4294967295\n");
        for uid in [u32::MAX, 1000, 0] {
            assert!(!foreign.has_outside(Uid::from_raw(uid)), "{uid}");
        }
        let empty = UidMap::new(b"");
        assert!(!empty.has_inside(Uid::ROOT) && !empty.has_outside(Uid::ROOT));
    }

    #[test]
    fn is_uid_known_needs_a_unique_mapping() {
        const OVERFLOW: u32 = 65_534;
        for (what, uid, map, expected) in [
            ("initial namespace", 1000, Ok(INITIAL), true),
            ("overflow uid in the initial namespace", OVERFLOW, Ok(INITIAL), true),
            ("kernel without user namespaces", OVERFLOW, Err(ReadError::NotFound), true),
            ("map not readable", 1000, Err(DENIED), false),
            ("nothing mapped", OVERFLOW, Ok(&b""[..]), false),
            ("mapped to itself", 1000, Ok(b"1000 1000 1\n"), true),
            ("mapped to root", 0, Ok(b"0 1000 1\n"), true),
            ("another one mapped", OVERFLOW, Ok(b"1000 1000 1\n"), false),
            // It can be this user or any that is not mapped.
            ("mapped to the overflow uid", OVERFLOW, Ok(b"65534 1000 1\n"), false),
            ("container with 65,536 ids", OVERFLOW, Ok(b"0 100000 65536\n"), false),
            ("changed overflow uid", 99, Ok(b"99 1000 1\n"), true),
        ] {
            assert_eq!(local(uid, map).is_uid_known(), expected, "{what}");
        }
        let changed = LocalNamespaces { overflow_uid: Uid::from_raw(99), ..local(99, Ok(b"99 1000 1\n")) };
        assert!(!changed.is_uid_known());
    }

    #[test]
    fn enforced_namespaces_follow_map_and_setting() {
        let nested = || Ok(&b"0 1000 1\n"[..]);
        for (map, allowed, word) in [
            (Ok(INITIAL), AllowedNamespaces::None, "pid and user"),
            (Err(ReadError::NotFound), AllowedNamespaces::None, "pid and user"),
            (nested(), AllowedNamespaces::None, "pid only"),
            (Ok(INITIAL), AllowedNamespaces::NestedUser, "user allowed"),
            (nested(), AllowedNamespaces::NestedUser, "user allowed"),
            (Ok(INITIAL), AllowedNamespaces::Nested, "all allowed"),
        ] {
            assert_eq!(EnforcedNamespaces::of_own(&local(1000, map), allowed).as_str(), word);
        }
        assert_eq!(AllowedNamespaces::parse("user"), Some(AllowedNamespaces::NestedUser));
        assert_eq!(AllowedNamespaces::parse("all"), Some(AllowedNamespaces::Nested));
        for other in ["", "none", "pid", "User", "user,pid", "1"] {
            assert_eq!(AllowedNamespaces::parse(other), None, "{other:?}");
        }
    }
}
