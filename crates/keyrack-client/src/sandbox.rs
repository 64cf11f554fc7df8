//! Namespaces of this process, and the errors where they prevent a connection to the daemon.

use keyrack_core::peer::LocalNamespaces;
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::peer;

/// Kind of sandbox that keeps a process from the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// `/proc` belongs to another pid namespace.
    ForeignProc,
    /// The user namespace does not map this user.
    UnknownUser,
    /// A pid namespace that does not see the daemon.
    PidNamespace,
    /// A user namespace other than the initial one.
    UserNamespace,
}

impl Sandbox {
    /// Returns the sandbox in which a process with these namespaces cannot verify a daemon, nor run
    /// as one.
    pub fn blocking(own: &LocalNamespaces) -> Option<Self> {
        if !own.own_proc {
            return Some(Sandbox::ForeignProc);
        }
        (!own.is_uid_known()).then_some(Sandbox::UnknownUser)
    }

    /// Description of the sandbox, as the text of an error.
    pub fn sentence(self) -> &'static str {
        match self {
            Sandbox::ForeignProc => {
                "this process runs in a pid namespace without its own /proc (a sandbox), so keyrack cannot verify the daemon"
            }
            Sandbox::UnknownUser => {
                "this process runs in a user namespace that does not map its user (a sandbox), so keyrack cannot verify the daemon"
            }
            Sandbox::PidNamespace => {
                "this process runs in its own pid namespace (a sandbox or container), which the keyrack daemon outside does not serve"
            }
            Sandbox::UserNamespace => {
                "this process runs in its own user namespace (a sandbox or container), which the keyrack daemon outside does not serve"
            }
        }
    }

    /// Hint of the error.
    pub fn hint(self) -> &'static str {
        match self {
            Sandbox::ForeignProc | Sandbox::UnknownUser | Sandbox::PidNamespace => {
                "run the command outside the sandbox, or pass the key in an environment variable"
            }
            Sandbox::UserNamespace => {
                "run the command outside the sandbox, or pass the key in an environment variable; to serve your own toolbox, start the daemon outside with KEYRACK_ALLOW_NAMESPACES=user"
            }
        }
    }

    /// Error for a caller in this sandbox.
    pub fn error(self) -> Error {
        Error::new(ErrorCode::Sandboxed, self.sentence()).hint(self.hint())
    }
}

/// Error for a process that the daemon refused, if this process can detect a sandbox as the reason.
pub(crate) fn detected_error() -> Option<Error> {
    (!peer::own_namespaces().is_initial_user()).then(|| Sandbox::UserNamespace.error())
}

#[cfg(test)]
mod tests {
    use keyrack_core::peer::{DEFAULT_OVERFLOW_UID, Uid, UidMap};

    use super::*;

    fn blocking(uid: u32, map: &str) -> Option<Sandbox> {
        Sandbox::blocking(&namespaces(uid, map))
    }

    fn namespaces(uid: u32, map: &str) -> LocalNamespaces {
        LocalNamespaces {
            own_proc: true,
            uid: Uid::from_raw(uid),
            uid_map: Ok(UidMap::new(map.as_bytes())),
            overflow_uid: DEFAULT_OVERFLOW_UID,
        }
    }

    #[test]
    fn blocking_finds_a_foreign_proc_and_an_unmapped_user() {
        assert_eq!(blocking(65_534, "0 0 4294967295\n"), None);
        assert_eq!(blocking(1000, "1000 1000 1\n"), None);
        assert_eq!(blocking(65_534, ""), Some(Sandbox::UnknownUser));
        assert_eq!(blocking(65_534, "65534 1000 1\n"), Some(Sandbox::UnknownUser));
        let foreign = LocalNamespaces { own_proc: false, ..namespaces(0, "0 0 4294967295\n") };
        assert_eq!(Sandbox::blocking(&foreign), Some(Sandbox::ForeignProc));
        assert_eq!(Sandbox::blocking(&peer::own_namespaces()), None);
    }

    #[test]
    fn sandbox_errors_name_a_way_to_pass_the_key() {
        for sandbox in
            [Sandbox::ForeignProc, Sandbox::UnknownUser, Sandbox::PidNamespace, Sandbox::UserNamespace]
        {
            let error = sandbox.error();
            assert_eq!(error.code, ErrorCode::Sandboxed);
            let hint = error.hint.unwrap();
            assert!(hint.contains("outside the sandbox") && hint.contains("environment variable"), "{hint}");
            assert!(!hint.contains("remove") && !hint.contains("unset"), "{hint}");
        }
    }
}
