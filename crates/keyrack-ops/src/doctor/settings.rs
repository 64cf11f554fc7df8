//! Checks of keyrack's environment variables: unknown names and invalid values. Values are never
//! shown, because a misnamed variable may hold a secret.

use keyrack_client::Environment;
use keyrack_core::Invocation;
use keyrack_core::layout::variables;

use super::check::Check;

const NAME: &str = "environment";

/// Validator of a variable's value. Returns `None` if it is valid, else the requirement.
type Validator = fn(&str) -> Option<String>;

/// Every variable keyrack or its daemon reads.
const KNOWN: [(&str, Validator); 10] = [
    (variables::STRICT_ENV, switch),
    (variables::REQUIRE_SESSION, switch),
    (variables::SAFE_DIRECTORY, directories),
    (variables::MEMORY, |value| one_of(value, &["auto", "secret", "locked"])),
    (variables::ALLOW_NAMESPACES, |value| one_of(value, &["user", "all"])),
    (variables::INVOKED_AS, |value| one_of(value, &Invocation::KNOWN)),
    (variables::IDLE_TIMEOUT, milliseconds),
    (variables::TERMINATION_CHECK, milliseconds),
    (variables::LOG_LEVEL, |value| one_of(value, &["off", "error", "warn", "info", "debug", "trace"])),
    (variables::LOG_FILE, |value| (!value.starts_with('/')).then(|| "must be an absolute path".to_owned())),
];

pub(super) fn checks(env: &Environment) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut set = 0;
    for name in
        env.names().filter_map(|name| name.to_str()).filter(|name| name.starts_with(variables::PREFIX))
    {
        let Some((_, validate)) = KNOWN.iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = KNOWN.iter().map(|(known, _)| *known).collect();
            checks.push(
                Check::warn(NAME, format!("unknown variable {name}"))
                    .hint(format!("known variables: {}", known.join(", "))),
            );
            continue;
        };
        set += 1;
        // An empty value is an unset one.
        let Some(value) = env.filled(name) else { continue };
        if let Some(must) = validate(value.to_str().unwrap_or("\u{fffd}")) {
            checks.push(Check::fail(NAME, format!("{name} {must}")).hint(format!("correct or unset {name}")));
        }
    }
    if checks.is_empty() {
        checks.push(match set {
            0 => Check::ok(NAME, "no KEYRACK_ variable is set"),
            _ => Check::ok(NAME, "all KEYRACK_ variables are known and valid"),
        });
    }
    checks
}

fn switch(value: &str) -> Option<String> {
    (!matches!(value, "0" | "1")).then(|| "must be 0 or 1".to_owned())
}

/// Absolute paths, separated by colons, or `*` for all directories.
fn directories(value: &str) -> Option<String> {
    let is_fine = |path: &str| path.is_empty() || path == "*" || path.starts_with('/');
    (!value.split(':').all(is_fine)).then(|| "must be absolute paths, separated by colons".to_owned())
}

fn one_of(value: &str, words: &[&str]) -> Option<String> {
    (!words.contains(&value)).then(|| format!("must be one of {}", words.join(", ")))
}

/// As the daemon reads it: digits, not all of them zero.
fn milliseconds(value: &str) -> Option<String> {
    let digits = (1..=19).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_digit());
    let fine = digits && value.bytes().any(|b| b != b'0');
    (!fine).then(|| "must be a positive whole number of milliseconds".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::check::CheckStatus;
    use super::*;

    #[test]
    fn settings_check_reports_names_and_values() {
        for (name, value, state) in [
            ("OTHER", "x", CheckStatus::Ok),
            ("KEYRACK_MEMORY", "locked", CheckStatus::Ok),
            ("KEYRACK_MEMORY", "", CheckStatus::Ok),
            ("KEYRACK_MEMORY", "hunter2", CheckStatus::Fail),
            ("KEYRACK_MEMORIES", "hunter2", CheckStatus::Warn),
            ("KEYRACK_ALLOW_NAMESPACES", "user", CheckStatus::Ok),
            ("KEYRACK_ALLOW_NAMESPACES", "pid", CheckStatus::Fail),
            ("KEYRACK_STRICT_ENV", "1", CheckStatus::Ok),
            ("KEYRACK_STRICT_ENV", "0", CheckStatus::Ok),
            ("KEYRACK_STRICT_ENV", "true", CheckStatus::Fail),
            ("KEYRACK_REQUIRE_SESSION", "yes", CheckStatus::Fail),
            ("KEYRACK_SAFE_DIRECTORY", "/a:/b/*", CheckStatus::Ok),
            ("KEYRACK_SAFE_DIRECTORY", "*", CheckStatus::Ok),
            ("KEYRACK_SAFE_DIRECTORY", "hunter2", CheckStatus::Fail),
            ("KEYRACK_INVOKED_AS", "npx keyrack", CheckStatus::Ok),
            ("KEYRACK_INVOKED_AS", "hunter2", CheckStatus::Fail),
            ("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "60000", CheckStatus::Ok),
            ("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "000", CheckStatus::Fail),
            ("KEYRACK_DAEMON_TERMINATION_CHECK_MS", "1s", CheckStatus::Fail),
            ("KEYRACK_LOG", "trace", CheckStatus::Ok),
            ("KEYRACK_LOG", "verbose", CheckStatus::Fail),
            ("KEYRACK_LOG_FILE", "/tmp/log", CheckStatus::Ok),
            ("KEYRACK_LOG_FILE", "log", CheckStatus::Fail),
        ] {
            let found = checks(&[(name, value)].into_iter().collect());
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].state, state, "{name}={value}: {found:?}");
            assert!(found[0].state == CheckStatus::Ok || found[0].message.contains(name), "{found:?}");
            assert!(!format!("{found:?}").contains("hunter2"), "{found:?}");
        }
    }
}
