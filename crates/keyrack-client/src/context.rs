//! Context of a call: working directory, environment, owner. This crate never reads the process's
//! own environment or working directory. The caller passes them, so that a worker thread or a test
//! runner with an environment of its own gets results for that environment.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use keyrack_core::layout::variables::{HOME, INVOKED_AS, MEMORY, PREFIX, REQUIRE_SESSION, STRICT_ENV};
use keyrack_core::{Invocation, Owner};
use keyrack_sys::memory::{Budget, MemoryError, MemoryMode, ModeRequest, Pool, is_limit_raisable};

/// Time that a command waits for a reply of the daemon.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Environment of the caller: all of it, or only `HOME`, `XDG_RUNTIME_DIR` and `KEYRACK_*` if the
/// caller looks up the variables that keys may have in a second step ([`crate::get::PendingGet`]).
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<OsString, OsString>);

impl Environment {
    /// Returns the value of a variable, even an empty one.
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// Returns the value of a variable that is set and not empty.
    pub fn filled(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Returns the value of a variable that is set, not empty and UTF-8.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.filled(name)?.to_str()
    }

    /// Returns `true` if a switch such as `KEYRACK_STRICT_ENV` is on: exactly `1`.
    pub fn is_on(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value == "1")
    }

    /// Names of all variables.
    pub fn names(&self) -> impl Iterator<Item = &OsStr> {
        self.0.keys().map(OsString::as_os_str)
    }

    /// All variables and their values, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }

    /// Returns the environment without keyrack's settings, the variables that begin with
    /// `KEYRACK_`.
    #[must_use]
    pub fn without_settings(&self) -> Self {
        let ours = |name: &OsStr| name.as_encoded_bytes().starts_with(PREFIX.as_bytes());
        let kept = self.0.iter().filter(|(name, _)| !ours(name));
        Environment(kept.map(|(name, value)| (name.clone(), value.clone())).collect())
    }
}

impl<N: Into<OsString>, V: Into<OsString>> Extend<(N, V)> for Environment {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, variables: I) {
        self.0.extend(variables.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        Environment(variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl fmt::Debug for Environment {
    /// Shows names only: a value may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Everything that a call depends on besides its arguments.
#[derive(Clone, Debug)]
pub struct Context {
    /// Absolute working directory. The search for a repository begins here and goes upwards.
    pub cwd: PathBuf,
    /// Environment of the caller.
    pub env: Environment,
    /// Owner of the rack.
    pub owner: Owner,
    /// Command that fixes name, such as `npx keyrack`.
    pub invocation: Invocation,
    /// Time to wait for a reply of the daemon: [`DEADLINE`] for commands, less for a library call.
    pub deadline: Duration,
}

impl Context {
    /// Creates a context with the default owner, the invocation of `KEYRACK_INVOKED_AS` (else plain
    /// `keyrack`), and [`DEADLINE`].
    pub fn new(cwd: impl Into<PathBuf>, env: Environment) -> Self {
        let invocation = Invocation::claimed(env.text(INVOKED_AS), Invocation::default());
        Context { cwd: cwd.into(), env, owner: Owner::DEFAULT, invocation, deadline: DEADLINE }
    }

    /// Returns the context for another owner.
    #[must_use]
    pub fn with_owner(mut self, owner: Owner) -> Self {
        self.owner = owner;
        self
    }

    /// Value of `HOME` if it is set and not empty.
    pub fn home(&self) -> Option<PathBuf> {
        self.env.filled(HOME).map(PathBuf::from)
    }

    /// Returns `true` if a value of the environment below its declared grade is blocked, not only
    /// marked (`KEYRACK_STRICT_ENV=1`).
    pub fn strict_env(&self) -> bool {
        self.env.is_on(STRICT_ENV)
    }

    /// Returns the caller's requirements for a daemon.
    pub fn requirements(&self) -> Requirements {
        let memory = self.env.text(MEMORY).filter(|mode| *mode != "auto");
        Requirements { session: self.env.is_on(REQUIRE_SESSION), memory: memory.map(MemoryRank::required) }
    }
}

/// Size of memory that a probe requests: the minimum that a daemon needs.
const PROBE_BYTES: usize = 1024 * 1024;

/// Requirements of a caller for a daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The daemon can tell login sessions apart (`KEYRACK_REQUIRE_SESSION=1`).
    pub session: bool,
    /// Minimum rank of its memory (`KEYRACK_MEMORY`).
    pub memory: Option<MemoryRank>,
}

impl Requirements {
    /// Returns the hint for a daemon that cannot tell login sessions apart. `identifies_peers`: the
    /// kernel identifies the process at the other end of a connection.
    pub fn session_hint(identifies_peers: bool) -> &'static str {
        if identifies_peers {
            "no daemon can do so here: log in with ssh, a display manager or `machinectl shell`, or unset \
             KEYRACK_REQUIRE_SESSION"
        } else {
            "no daemon can do so on this kernel: it needs SO_PEERPIDFD (Linux 6.5 or later) to tell login sessions apart; unset KEYRACK_REQUIRE_SESSION to accept that"
        }
    }

    /// Returns `true` if there are no requirements.
    pub fn is_none(self) -> bool {
        self == Requirements::default()
    }
}

/// Protection of a daemon's memory. Weaker ranks come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryRank {
    /// Ordinary memory. Also any mode of a daemon that this build does not know.
    Unlocked,
    /// Memory that is kept out of swap and core dumps.
    Locked,
    /// Memory that the kernel itself does not map (`memfd_secret(2)`). Also any required mode that
    /// this build does not know.
    Secret,
}

impl MemoryRank {
    /// Parses the rank that a caller requires. An unknown word requires the most, because it must
    /// not count as no requirement.
    pub fn required(word: &str) -> Self {
        match word {
            "unlocked" => MemoryRank::Unlocked,
            "locked" => MemoryRank::Locked,
            _ => MemoryRank::Secret,
        }
    }

    /// Parses the rank that a daemon reports. An unknown word is the weakest.
    pub fn reported(word: &str) -> Self {
        match word {
            "secret" => MemoryRank::Secret,
            "locked" => MemoryRank::Locked,
            _ => MemoryRank::Unlocked,
        }
    }

    /// Returns the reason, in a sentence, that no daemon could have memory this good here; `None`
    /// if one could.
    pub fn unavailable(self) -> Option<String> {
        let mode = match self {
            MemoryRank::Unlocked => return None,
            MemoryRank::Locked => MemoryMode::Locked,
            MemoryRank::Secret => MemoryMode::Secret,
        };
        match Pool::new(ModeRequest::Require(mode), Budget::bytes(PROBE_BYTES)) {
            Err(MemoryError::Unavailable { lacks, .. }) if !is_limit_raisable() => Some(lacks),
            _ => None,
        }
    }

    /// Word of the rank in `KEYRACK_MEMORY` and on the wire.
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
    fn debug_shows_no_values() {
        let env: Environment = [("TOKEN", "hunter2"), ("HOME", "/root")].into_iter().collect();
        let context = Context::new("/", env);
        let shown = format!("{context:?}");
        assert!(shown.contains("TOKEN") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn switches_and_requirements_are_parsed() {
        let context = |name: &str, value: &str| Context::new("/", [(name, value)].into_iter().collect());
        for (value, on) in [("1", true), ("", false), ("0", false), ("true", false)] {
            assert_eq!(context("KEYRACK_STRICT_ENV", value).strict_env(), on, "{value:?}");
            assert_eq!(context("KEYRACK_REQUIRE_SESSION", value).requirements().session, on, "{value:?}");
        }
        for (value, rank) in [
            ("", None),
            ("auto", None),
            ("unlocked", Some(MemoryRank::Unlocked)),
            ("locked", Some(MemoryRank::Locked)),
            ("secret", Some(MemoryRank::Secret)),
            ("typo", Some(MemoryRank::Secret)),
        ] {
            assert_eq!(context("KEYRACK_MEMORY", value).requirements().memory, rank, "{value:?}");
        }
        assert_eq!(context("HOME", "").home(), None);
    }

    #[test]
    fn without_settings_removes_keyrack_variables() {
        let env: Environment =
            [("KEYRACK_MEMORY", "locked"), ("XKEYRACK_", "1"), ("HOME", "/root")].into_iter().collect();
        let left = env.without_settings();
        assert_eq!(left.get("KEYRACK_MEMORY"), None);
        assert!(left.get("XKEYRACK_").is_some() && left.get("HOME").is_some());
    }
}
