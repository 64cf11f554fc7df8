//! Environment variables that keyrack reads. An empty value counts as unset.

/// The user's home directory.
pub const HOME: &str = "HOME";
/// Directory of the daemon's socket.
pub const RUNTIME_DIR: &str = "XDG_RUNTIME_DIR";
/// Socket of the ssh-agent.
pub const SSH_AUTH_SOCK: &str = "SSH_AUTH_SOCK";

/// Prefix of keyrack's own variables.
pub const PREFIX: &str = "KEYRACK_";

/// Blocks values of the environment that are below their declared grade: `1`.
pub const STRICT_ENV: &str = "KEYRACK_STRICT_ENV";
/// Requires a daemon that can tell login sessions apart: `1`.
pub const REQUIRE_SESSION: &str = "KEYRACK_REQUIRE_SESSION";
/// Repositories of other users whose `keyrack.yml` is read: absolute paths, separated by colons.
pub const SAFE_DIRECTORY: &str = "KEYRACK_SAFE_DIRECTORY";
/// Memory that keys must be kept in: `auto`, `secret` or `locked`.
pub const MEMORY: &str = "KEYRACK_MEMORY";
/// Nested namespaces whose processes the daemon serves too: `user` or `all`.
pub const ALLOW_NAMESPACES: &str = "KEYRACK_ALLOW_NAMESPACES";
/// Command that fixes name instead of `keyrack`, such as `npx keyrack`.
pub const INVOKED_AS: &str = "KEYRACK_INVOKED_AS";
/// Time after which a daemon without keys and requests exits, in milliseconds.
pub const IDLE_TIMEOUT: &str = "KEYRACK_DAEMON_IDLE_TIMEOUT_MS";
/// Interval at which the daemon checks [`IDLE_TIMEOUT`], in milliseconds.
pub const TERMINATION_CHECK: &str = "KEYRACK_DAEMON_TERMINATION_CHECK_MS";
/// Level of the daemon's log.
pub const LOG_LEVEL: &str = "KEYRACK_LOG";
/// Absolute path of the daemon's log.
pub const LOG_FILE: &str = "KEYRACK_LOG_FILE";

/// Variables that the daemon reads. Its environment has no others.
pub const OF_DAEMON: [&str; 6] =
    [MEMORY, ALLOW_NAMESPACES, IDLE_TIMEOUT, TERMINATION_CHECK, LOG_LEVEL, LOG_FILE];

/// Variables of [`PREFIX`] that exist.
pub const SETTINGS: [&str; 10] = [
    STRICT_ENV,
    REQUIRE_SESSION,
    SAFE_DIRECTORY,
    MEMORY,
    ALLOW_NAMESPACES,
    INVOKED_AS,
    IDLE_TIMEOUT,
    TERMINATION_CHECK,
    LOG_LEVEL,
    LOG_FILE,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_have_the_prefix_and_include_those_of_the_daemon() {
        assert!(SETTINGS.iter().all(|name| name.starts_with(PREFIX)));
        assert!(OF_DAEMON.iter().all(|name| SETTINGS.contains(name)));
    }
}
