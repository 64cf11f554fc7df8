//! Facts about this daemon that it reports to clients, fixed at startup.

use keyrack_core::Owner;
use keyrack_wire::native::Hardening;

/// Version of this build.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Profile of this build, reported beside its version.
pub(crate) const BUILD: &str = if cfg!(debug_assertions) { "debug" } else { "release" };

/// Facts that `hello` and `status` report.
#[derive(Clone, Debug)]
pub(crate) struct DaemonInfo {
    /// Hash of the home that the daemon serves, from the name of its socket. May be empty.
    pub(crate) home_hash: String,
    /// Owner that the daemon serves. Suggested fixes name it.
    pub(crate) owner: Owner,
    pub(crate) boot_id: String,
    pub(crate) pid: u32,
    pub(crate) boundary: &'static str,
    pub(crate) namespaces: &'static str,
    pub(crate) memory: &'static str,
    pub(crate) hardening: Vec<Hardening<'static>>,
}

#[cfg(any(test, feature = "fuzzing"))]
impl DaemonInfo {
    /// Facts about a daemon for tests.
    pub(crate) fn example() -> Self {
        DaemonInfo {
            home_hash: "83db27ef".into(),
            owner: Owner::DEFAULT,
            boot_id: "b".into(),
            pid: 1,
            boundary: "session",
            namespaces: "pid and user",
            memory: "unlocked",
            hardening: Vec::new(),
        }
    }
}
