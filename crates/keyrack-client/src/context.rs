//! Everything of the outside a call depends on. Nothing in this crate reads the process's environment or working directory:
//! the caller says what they are, so that a worker thread or a test runner with an environment of its own gets its own answers.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use keyrack_core::layout::variables::{HOME, INVOKED_AS, MEMORY, PREFIX, REQUIRE_SESSION, STRICT_ENV};
use keyrack_core::{Invocation, Owner};
use keyrack_sys::memory::{Budget, MemoryError, Mode, ModeRequest, Pool, is_limit_raisable};

/// How long a command waits for the daemon's reply.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// The environment of the caller, as the caller gives it: all of it, or only `HOME`, `XDG_RUNTIME_DIR` and `KEYRACK_*` where names
/// that keys may have are answered in a second step ([`crate::get::PendingGet`]).
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// The value of a variable, even an empty one.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// The value of a variable that is set and not empty.
    pub fn filled(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The value of a variable that is set, not empty, and UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.filled(name)?.to_str()
    }

    /// Whether a switch such as `KEYRACK_STRICT_ENV` is on: exactly `1`.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "1")
    }

    /// The names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.0.keys().map(OsString::as_os_str)
    }

    /// All variables with their values, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// The same without what keyrack itself is set by: every variable whose name begins with `KEYRACK_`.
    #[must_use]
    pub fn without_settings(&self) -> Self {
        let ours = |name: &OsStr| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let kept = self.0.iter().filter(|(name, _)| !ours(name));
        Environment(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    /// Names only: a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What a call depends on besides its arguments.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where the caller stands; the repository is looked for from here upwards. Absolute.
    pub cwd: PathBuf,
    /// The caller's environment.
    pub env: Environment,
    /// Whose rack.
    pub owner: Owner,
    /// How keyrack was called, for the fixes.
    pub invocation: Invocation,
    /// How long to wait for a reply of the daemon: [`DEADLINE`] for commands, less for a library call.
    pub deadline: Duration,
}

impl Context {
    /// A context with the default owner, the invocation that `KEYRACK_INVOKED_AS` claims (else plain `keyrack`), and [`DEADLINE`].
    pub fn new(cwd: impl Into<PathBuf>, env: Environment) -> Self {
        let invocation = Invocation::claimed(env.text(INVOKED_AS), Invocation::default());
        Context { cwd: cwd.into(), env, owner: Owner::DEFAULT, invocation, deadline: DEADLINE }
    }

    /// The same for another owner.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// `HOME`, if it is set and not empty.
    pub fn home(&self) -> Option<PathBuf> {
        self.env.filled(HOME).map(PathBuf::from)
    }

    /// Whether a value of the environment below its declared grade is blocked rather than only marked (`KEYRACK_STRICT_ENV=1`).
    pub fn strict_env(&self) -> bool {
        self.env.is_on(STRICT_ENV)
    }

    /// What the caller demands of a daemon before trusting it with anything.
    pub fn demands(&self) -> Demands {
        let memory = self.env.text(MEMORY).filter(|mode| *mode != "auto");
        Demands { session: self.env.is_on(REQUIRE_SESSION), memory: memory.map(MemoryRank::of) }
    }
}

/// Memory that a probe requests, in bytes: the minimum that a daemon needs.
const PROBED: usize = 1024 * 1024;

/// What a caller demands of a daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demands {
    /// It tells login sessions apart (`KEYRACK_REQUIRE_SESSION=1`).
    pub session: bool,
    /// Its memory is at least this good (`KEYRACK_MEMORY`).
    pub memory: Option<MemoryRank>,
}

impl Demands {
    /// Returns the hint for a daemon that cannot tell login sessions apart. `names_peers`: the
    /// kernel identifies the process at the other end of a connection.
    pub fn session_hint(names_peers: bool) -> &'static str {
        if names_peers {
            "no daemon can here: log in with ssh, a display manager or `machinectl shell`, or unset KEYRACK_REQUIRE_SESSION"
        } else {
            "no daemon can on this kernel: it needs SO_PEERPIDFD (Linux 6.5 or later) to tell login sessions apart; unset KEYRACK_REQUIRE_SESSION to accept that"
        }
    }

    /// Whether nothing is demanded.
    pub fn is_none(self) -> bool {
        self == Demands::default()
    }
}

/// How well a daemon's memory keeps secrets. Weaker first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryRank {
    /// Ordinary memory, and any mode this build does not know when a daemon says it.
    Unlocked,
    /// Kept out of swap and core dumps.
    Locked,
    /// Out of the kernel's own reach too; and any mode this build does not know when a caller demands it.
    Secret,
}

impl MemoryRank {
    /// The rank a caller demands. An unknown word demands the most: it must not pass for no demand.
    pub fn of(demanded: &str) -> Self {
        match demanded {
            "unlocked" => MemoryRank::Unlocked,
            "locked" => MemoryRank::Locked,
            _ => MemoryRank::Secret,
        }
    }

    /// The rank a daemon says it has. An unknown word says the least.
    pub fn said(by_daemon: &str) -> Self {
        match by_daemon {
            "secret" => MemoryRank::Secret,
            "locked" => MemoryRank::Locked,
            _ => MemoryRank::Unlocked,
        }
    }

    /// Returns the reason, in a sentence, that no daemon could have memory this good here; `None` if one could.
    pub fn unavailable(self) -> Option<String> {
        let mode = match self {
            MemoryRank::Unlocked => return None,
            MemoryRank::Locked => Mode::Locked,
            MemoryRank::Secret => Mode::Secret,
        };
        match Pool::new(ModeRequest::Require(mode), Budget::bytes(PROBED)) {
            Err(MemoryError::Unavailable { lacks, .. }) if !is_limit_raisable() => Some(lacks),
            _ => None,
        }
    }

    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            MemoryRank::Unlocked => "unlocked",
            MemoryRank::Locked => "locked",
            MemoryRank::Secret => "secret",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_never_shown() {
        let env: Environment = [("TOKEN", "hunter2"), ("HOME", "/root")].into_iter().collect();
        let context = Context::new("/", env);
        let shown = format!("{context:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn switches_and_demands() {
        let context = |name: &str, value: &str| Context::new("/", [(name, value)].into_iter().collect());
        for (value, on) in [("1", true), ("", false), ("0", false), ("true", false)] {
            assert_eq!(context("KEYRACK_STRICT_ENV", value).strict_env(), on, "{value:?}");
            assert_eq!(context("KEYRACK_REQUIRE_SESSION", value).demands().session, on, "{value:?}");
        }
        for (value, rank) in [
            ("", None),
            ("auto", None),
            ("unlocked", Some(MemoryRank::Unlocked)),
            ("locked", Some(MemoryRank::Locked)),
            ("secret", Some(MemoryRank::Secret)),
            ("typo", Some(MemoryRank::Secret)),
        ] {
            assert_eq!(context("KEYRACK_MEMORY", value).demands().memory, rank, "{value:?}");
        }
        assert_eq!(context("HOME", "").home(), None);
    }

    #[test]
    fn settings_can_be_left_out() {
        let env: Environment =
            [("KEYRACK_MEMORY", "locked"), ("XKEYRACK_", "1"), ("HOME", "/root")].into_iter().collect();
        let left = env.without_settings();
        assert_eq!(left.get("KEYRACK_MEMORY"), None);
        assert!(left.get("XKEYRACK_").is_some() && left.get("HOME").is_some());
    }
}
