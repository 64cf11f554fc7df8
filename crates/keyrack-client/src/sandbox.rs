//! Namespaces of this process, and the errors where they prevent a connection to the daemon.

use keyrack_core::peer::{is_initial, is_own_uid_known};
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::{peer, user};

/// Namespaces of this process, as far as authentication depends on them.
#[derive(Clone, Debug)]
pub struct Namespaces {
    /// `true` if `/proc` numbers processes as this pid namespace does.
    pub own_proc: bool,
    /// Effective uid.
    pub uid: u32,
    /// Content of `/proc/self/uid_map`, or the errno of reading it.
    pub uid_map: Result<Vec<u8>, i32>,
    /// The uid that stands for those that a user namespace does not map.
    pub overflow_uid: u32,
}

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

impl Namespaces {
    /// Reads the namespaces of this process.
    pub fn read() -> Self {
        let uid_map = peer::own_uid_map();
        let initial = is_initial(uid_map.as_deref().map_err(|errno| *errno));
        Namespaces {
            own_proc: peer::own_proc(),
            uid: user::uid(),
            uid_map,
            // In the initial namespace every uid is mapped.
            overflow_uid: if initial { u32::MAX } else { user::overflow_uid() },
        }
    }

    /// Content of `uid_map`, as [`keyrack_core::peer::PeerFacts`] takes it.
    pub fn uid_map(&self) -> Result<&[u8], i32> {
        self.uid_map.as_deref().map_err(|errno| *errno)
    }

    /// Returns `true` if this is the initial user namespace.
    pub fn is_initial_user(&self) -> bool {
        is_initial(self.uid_map())
    }

    /// Returns the sandbox in which this process cannot verify a daemon, nor run as one.
    pub fn unusable(&self) -> Option<Sandbox> {
        if !self.own_proc {
            return Some(Sandbox::ForeignProc);
        }
        (!is_own_uid_known(self.uid, self.uid_map(), self.overflow_uid)).then_some(Sandbox::UnknownUser)
    }
}

impl Sandbox {
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
    (!Namespaces::read().is_initial_user()).then(|| Sandbox::UserNamespace.error())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(uid: u32, map: &str) -> Namespaces {
        Namespaces { own_proc: true, uid, uid_map: Ok(map.into()), overflow_uid: 65_534 }
    }

    #[test]
    fn unusable_namespaces_are_found() {
        assert_eq!(namespaces(65_534, "0 0 4294967295\n").unusable(), None);
        assert_eq!(namespaces(1000, "1000 1000 1\n").unusable(), None);
        assert_eq!(namespaces(65_534, "").unusable(), Some(Sandbox::UnknownUser));
        assert_eq!(namespaces(65_534, "65534 1000 1\n").unusable(), Some(Sandbox::UnknownUser));
        let foreign = Namespaces { own_proc: false, ..namespaces(0, "0 0 4294967295\n") };
        assert_eq!(foreign.unusable(), Some(Sandbox::ForeignProc));
        assert_eq!(Namespaces::read().unusable(), None);
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
