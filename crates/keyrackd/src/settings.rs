//! Settings from environment variables. Only these variables are read, each once, at start. An
//! empty value counts as unset.

use std::ffi::OsString;
use std::time::Duration;

use keyrack_core::layout::variables::{ALLOW_NAMESPACES, IDLE_TIMEOUT, MEMORY, TERMINATION_CHECK};
use keyrack_core::peer::AllowedNamespaces;
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::memory::{MemoryMode, ModeRequest};

const DEFAULT_MS: u64 = 900_000;

/// Values of the environment variables, with defaults for those that are unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// See [`IDLE_TIMEOUT`].
    pub(crate) idle_timeout: Duration,
    /// See [`TERMINATION_CHECK`].
    pub(crate) termination_check: Duration,
    /// See [`MEMORY`].
    pub(crate) memory: ModeRequest,
    /// See [`ALLOW_NAMESPACES`].
    pub(crate) namespaces: AllowedNamespaces,
}

impl Settings {
    /// Reads the settings with `var`, which returns the value of a variable by name.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`], naming the variable whose value is invalid.
    pub(crate) fn read(var: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let var = |name: &str| var(name).filter(|value| !value.is_empty());
        let ms = |name: &str| match var(name) {
            None => Ok(Duration::from_millis(DEFAULT_MS)),
            Some(value) => positive(value.to_str().unwrap_or_default())
                .map(Duration::from_millis)
                .ok_or_else(|| invalid(name, "a positive whole number of milliseconds")),
        };
        let memory = match var(MEMORY).as_deref().map(|value| value.to_str().unwrap_or_default()) {
            None | Some("auto") => ModeRequest::Auto,
            Some("secret") => ModeRequest::Require(MemoryMode::Secret),
            Some("locked") => ModeRequest::Require(MemoryMode::Locked),
            Some(_) => return Err(invalid(MEMORY, "auto, secret or locked")),
        };
        let namespaces = match var(ALLOW_NAMESPACES) {
            None => AllowedNamespaces::None,
            Some(value) => AllowedNamespaces::parse(value.to_str().unwrap_or_default())
                .ok_or_else(|| invalid(ALLOW_NAMESPACES, "user or all"))?,
        };
        Ok(Settings {
            idle_timeout: ms(IDLE_TIMEOUT)?,
            termination_check: ms(TERMINATION_CHECK)?,
            memory,
            namespaces,
        })
    }
}

/// Parses a positive number of milliseconds, written in digits alone. Values over a year count as a
/// year, so that no sum of times overflows.
fn positive(text: &str) -> Option<u64> {
    const YEAR_MS: u64 = 366 * 24 * 3600 * 1000;
    let digits = text.bytes().all(|b| b.is_ascii_digit()) && text.len() <= 19;
    let number: u64 = text.parse().ok().filter(|_| digits)?;
    (number > 0).then(|| number.min(YEAR_MS))
}

fn invalid(name: &str, must: &str) -> Error {
    Error::new(ErrorCode::Usage, format!("{name} must be {must}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Error> {
        Settings::read(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value)))
    }

    #[test]
    fn read_uses_defaults_and_parses_values() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.idle_timeout, Duration::from_secs(900));
        assert_eq!(settings.termination_check, Duration::from_secs(900));
        assert_eq!(settings.memory, ModeRequest::Auto);
        assert_eq!(settings.namespaces, AllowedNamespaces::None);
        for (value, allowed) in [
            ("", AllowedNamespaces::None),
            ("user", AllowedNamespaces::NestedUser),
            ("all", AllowedNamespaces::Nested),
        ] {
            assert_eq!(read(&[(ALLOW_NAMESPACES, value)]).unwrap().namespaces, allowed, "{value:?}");
        }
        assert_eq!(read(&[(IDLE_TIMEOUT, ""), (MEMORY, "")]).unwrap(), settings);
        let settings = read(&[(IDLE_TIMEOUT, "50"), (TERMINATION_CHECK, "007"), (MEMORY, "locked")]).unwrap();
        assert_eq!(settings.idle_timeout, Duration::from_millis(50));
        assert_eq!(settings.termination_check, Duration::from_millis(7));
        assert_eq!(settings.memory, ModeRequest::Require(MemoryMode::Locked));
        assert_eq!(read(&[(MEMORY, "secret")]).unwrap().memory, ModeRequest::Require(MemoryMode::Secret));
        let forever = read(&[(IDLE_TIMEOUT, "9999999999999999999")]).unwrap().idle_timeout;
        assert_eq!(forever, Duration::from_secs(366 * 24 * 3600));
    }

    #[test]
    fn read_names_variable_with_invalid_value() {
        for (name, value) in [
            (IDLE_TIMEOUT, "0"),
            (IDLE_TIMEOUT, "-1"),
            (IDLE_TIMEOUT, "+1"),
            (IDLE_TIMEOUT, "1.5"),
            (IDLE_TIMEOUT, "1s"),
            (IDLE_TIMEOUT, " 1"),
            (IDLE_TIMEOUT, "99999999999999999999"),
            (TERMINATION_CHECK, "soon"),
            (MEMORY, "unlocked"),
            (MEMORY, "Locked"),
            (ALLOW_NAMESPACES, "none"),
            (ALLOW_NAMESPACES, "pid"),
            (ALLOW_NAMESPACES, "1"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert_eq!(error.code, ErrorCode::Usage);
            assert!(error.message.contains(name), "{value}: {error}");
        }
    }
}
