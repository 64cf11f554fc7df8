//! Slugs: `org.env.NAME`, the identity of a key everywhere.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::env::Env;
use crate::error::ErrorCode;
use crate::name_error::NameError;
use crate::org::Org;

/// Maximum length of a slug, in bytes.
pub const MAX_SLUG: usize = 512;

/// Identity of a key: org, env and name. The name is everything after the second dot, and may
/// contain dots.
///
/// A slug that a caller requests has one of the six envs ([`Slug::parse`]). A slug of a file or a
/// peer may have another word ([`Slug::parse_stored`]), which then only matches itself. Clones
/// share their text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slug(Arc<str>);

/// Lets a map of slugs be searched by text: a slug compares and hashes as its text does.
impl Borrow<str> for Slug {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Slug {
    /// Builds a slug from its parts. The name may be one of an older keyrack
    /// ([`check_known_name`]).
    ///
    /// # Errors
    /// [`ErrorCode::BadKeyName`], [`ErrorCode::BadSlug`].
    pub fn new(org: &str, env: Env, name: &str) -> Result<Self, NameError> {
        check_known_name(name)?;
        Self::parse(&format!("{org}.{env}.{name}"))
    }

    /// Parses a full slug that a user typed.
    ///
    /// # Errors
    /// [`ErrorCode::BadSlug`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let slug = Self::parse_stored(text)?;
        match slug.env_kind() {
            Some(_) => Ok(slug),
            None => Err(bad("its second part must be one of sudo, prod, prep, test, all, camp")),
        }
    }

    /// Parses a slug of a file or a peer's request, with any word as env.
    ///
    /// # Errors
    /// [`ErrorCode::BadSlug`].
    pub fn parse_stored(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_SLUG {
            return Err(bad("it is too long"));
        }
        let printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !printable && text.chars().any(char::is_control) {
            return Err(bad("it holds control characters"));
        }
        let Some((org, env, name)) = split(text) else {
            return Err(bad("it must read org.env.NAME"));
        };
        if org.is_empty() || env.is_empty() || name.is_empty() {
            return Err(bad("org, env and NAME must not be empty"));
        }
        Ok(Slug(text.into()))
    }

    /// Returns `true` if `text` has the form of a full slug: three parts or more, the second one of
    /// the six envs. Anything else is a bare key name.
    pub fn looks_full(ask: &str) -> bool {
        let mut parts = ask.splitn(3, '.');
        parts.next().is_some()
            && parts.next().is_some_and(|env| env.parse::<Env>().is_ok())
            && parts.next().is_some()
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Org of the key, `@all` for a key of the machine.
    pub fn org(&self) -> &str {
        self.parts().0
    }

    /// Returns `true` if the key belongs to the machine and not to a repository.
    pub fn is_machine(&self) -> bool {
        self.org() == Org::MACHINE
    }

    /// Env as written.
    pub fn env(&self) -> &str {
        self.parts().1
    }

    /// Env, if it is one of the six.
    pub fn env_kind(&self) -> Option<Env> {
        self.env().parse().ok()
    }

    /// Returns `true` for a `sudo` key.
    pub fn is_sudo(&self) -> bool {
        self.env() == Env::Sudo.as_str()
    }

    /// Name of the key: everything after the second dot.
    pub fn name(&self) -> &str {
        self.parts().2
    }

    fn parts(&self) -> (&str, &str, &str) {
        split(&self.0).expect("a slug has two dots")
    }

    /// Slug of env `all` that answers a request for this one. `None` for `sudo`, which only a
    /// `sudo` key answers, and for `all` itself.
    pub fn fallback(&self) -> Option<Slug> {
        if self.is_sudo() || self.env() == Env::All.as_str() {
            return None;
        }
        let (org, _, name) = self.parts();
        Some(Slug(format!("{org}.{}.{name}", Env::All).into()))
    }

    /// Returns `true` if a key stored under `self` answers a request for `requested`.
    pub fn answers(&self, asked: &Slug) -> bool {
        self == asked || asked.fallback().is_some_and(|fallback| &fallback == self)
    }

    /// First 16 hex digits of the SHA-256 of the slug. File names contain them, so that a directory
    /// listing does not show key names.
    pub fn hash16(&self) -> String {
        let digest = Sha256::digest(self.0.as_bytes());
        digest[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Splits a text with two dots or more into org, env and name. By bytes: slugs are short, and
/// parsed on every request.
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let dot = |text: &str| text.bytes().position(|byte| byte == b'.');
    let (org, rest) = text.split_at_checked(dot(text)?)?;
    let rest = &rest[1..];
    let (env, name) = rest.split_at_checked(dot(rest)?)?;
    Some((org, env, &name[1..]))
}

/// Maximum length of a key name, in bytes.
const MAX_NAME: usize = 255;

/// Checks a key name that an older keyrack may have stored without checking it. It may also begin
/// with a digit and contain letters of any script, `@`, `:`, `/` and `+`. None of these has a
/// meaning to a shell inside quotes, to a CI runner or to `execve`.
///
/// # Errors
/// [`ErrorCode::BadKeyName`].
pub fn check_known_name(name: &str) -> Result<(), NameError> {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '@' | ':' | '/' | '+');
    let ok = name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_alphanumeric() || c == '_')
        && name.chars().all(word);
    if ok { Ok(()) } else { check_name(name) }
}

/// Checks the name of a key to store.
///
/// # Errors
/// [`ErrorCode::BadKeyName`].
pub fn check_name(name: &str) -> Result<(), NameError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let ok = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(word)
        && !name.ends_with('.')
        && !name.contains("..");
    if ok {
        return Ok(());
    }
    // Not repeated: an invalid name may be a secret.
    let message =
        "invalid key name: must begin with a letter or _ and hold only letters, digits, _, - and single dots";
    Err(NameError::new(ErrorCode::BadKeyName, message))
}

/// Rejects a key name that contains a value: `NAME=value`, or a token. The error does not repeat
/// it, not even the part before the `=`, as Base64 ends in one.
///
/// # Errors
/// [`ErrorCode::BadKeyName`].
pub fn check_typed(key: &str) -> Result<(), NameError> {
    let message = if key.contains('=') {
        "invalid key name: it contains \"=\""
    } else if crate::firewall::holds_token(key) {
        "invalid key name: it looks like a token"
    } else {
        return Ok(());
    };
    let hint = "name the key only; `set` reads its secret from stdin or asks for it".to_owned();
    Err(NameError { hint: Some(hint), ..NameError::new(ErrorCode::BadKeyName, message) })
}

fn bad(why: &str) -> NameError {
    NameError::new(ErrorCode::BadSlug, format!("invalid slug: {why}"))
}

impl fmt::Display for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Slug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Slug({:?})", self.0)
    }
}

impl Serialize for Slug {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Slug {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        Slug::parse_stored(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slug_splits_into_org_env_and_name() {
        for (text, org, env, name) in [
            ("acme.test.API_KEY", "acme", "test", "API_KEY"),
            ("@all.sudo.ROOT", "@all", "sudo", "ROOT"),
            ("acme.all.a.b.c", "acme", "all", "a.b.c"),
        ] {
            let slug = Slug::parse(text).unwrap();
            assert_eq!((slug.org(), slug.env(), slug.name()), (org, env, name));
        }
    }

    #[test]
    fn parse_rejects_malformed_slugs() {
        for bad in [
            "",
            "a",
            "a.test",
            "a.test.",
            ".test.K",
            "a..K",
            "a.dev.K",
            "a.test.K\n",
            &format!("a.test.{}", "k".repeat(600)),
        ] {
            assert_eq!(Slug::parse(bad).unwrap_err().code, ErrorCode::BadSlug, "{bad:?}");
        }
        assert!(Slug::parse_stored("a.dev.K").is_ok(), "files in use have other envs");
    }

    #[test]
    fn looks_full_needs_a_known_env() {
        for (ask, full) in [
            ("a.test.K", true),
            ("a.test.K.L", true),
            ("K", false),
            ("my.dotted.name", false),
            ("a.test", false),
            ("@all.sudo.K", true),
        ] {
            assert_eq!(Slug::looks_full(ask), full, "{ask}");
        }
    }

    #[test]
    fn fallback_serves_every_env_but_sudo() {
        let slug = |text| Slug::parse(text).unwrap();
        assert_eq!(slug("a.test.K").fallback().unwrap().as_str(), "a.all.K");
        assert_eq!(slug("a.camp.K.x").fallback().unwrap().name(), "K.x");
        assert!(slug("a.all.K").fallback().is_none());
        assert!(slug("a.sudo.K").fallback().is_none());
        assert!(slug("a.all.K").answers(&slug("a.prod.K")));
        assert!(!slug("a.all.K").answers(&slug("a.sudo.K")));
        assert!(!slug("a.prod.K").answers(&slug("a.all.K")));
        assert!(!slug("b.all.K").answers(&slug("a.prod.K")));
    }

    #[test]
    fn hash16_matches_file_names_in_use() {
        for (text, hash) in [
            ("testorg.test.API_KEY", "327f51743887d75c"),
            ("testorg.all.API_KEY", "41efb6a91f81d46b"),
            ("@all.sudo.LOCKED_KEY", "93f165a2f037aa85"),
        ] {
            assert_eq!(Slug::parse(text).unwrap().hash16(), hash);
        }
    }

    #[test]
    fn check_name_rejects_what_check_known_name_accepts() {
        for ok in ["API_KEY", "_x", "a.b", "A-1"] {
            check_name(ok).unwrap();
        }
        let legacy = ["1A", "a..b", "a.", "é", "a/b", "x@y:z+1"];
        for bad in
            ["", "a=b", "a\n", "$(x)", "a b", " a", "-a", "a'b", "a<<b", "a\u{202e}b", &"a".repeat(256)]
        {
            assert_eq!(check_name(bad).unwrap_err().code, ErrorCode::BadKeyName, "{bad:?}");
            assert_eq!(check_known_name(bad).unwrap_err().code, ErrorCode::BadKeyName, "{bad:?}");
        }
        for name in legacy {
            assert_eq!(check_name(name).unwrap_err().code, ErrorCode::BadKeyName, "{name:?} is not stored");
            check_known_name(name).unwrap();
            assert_eq!(Slug::new("acme", Env::Test, name).unwrap().name(), name);
        }
    }
}
