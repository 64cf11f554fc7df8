//! docker's credential helper (docker/docker-credential-helpers): the operation is an argument, an
//! address or JSON is on stdin, and JSON is written to stdout. An error is a line on stdout with a
//! nonzero exit code. On `get`, docker drops that line and shows stderr.

use keyrack_core::Error;
use serde_json::json;
use zeroize::Zeroizing;

use super::CredentialKey;
use keyrack_json::JsonWriter;

/// The exact line that docker takes for "no credentials are stored". With any other line it fails.
pub const NOT_FOUND: &str = "credentials not found in native keychain";

/// Returns `true` if docker's address is the configured registry, apart from `https://`, letter
/// case and trailing slashes. An address without encryption matches only a registry that is
/// configured without a scheme.
pub fn is_for(asked: &[u8], registry: &str) -> bool {
    let asked = std::str::from_utf8(asked).ok().map(str::trim).filter(|asked| !asked.is_empty());
    asked.is_some_and(|asked| !bare(asked).is_empty() && bare(asked).eq_ignore_ascii_case(bare(registry)))
}

fn bare(address: &str) -> &str {
    let scheme = address.get(..8).filter(|scheme| scheme.eq_ignore_ascii_case("https://"));
    address[scheme.map_or(0, str::len)..].trim_end_matches('/')
}

/// Composes the reply to `get`.
///
/// # Errors
/// [`keyrack_core::ErrorCode::Usage`] for a value that is not text.
pub fn answer(asked: &[u8], username: &str, key: &CredentialKey) -> Result<Zeroizing<Vec<u8>>, Error> {
    let secret = key.text()?;
    let mut json = JsonWriter::new();
    json.object(|json| {
        json.member("ServerURL", String::from_utf8_lossy(asked).trim());
        json.member("Username", username);
        json.member("Secret", secret);
    });
    Ok(json.into_bytes())
}

/// The answer to `list`: the one registry and its user.
pub fn list(registry: &str, username: &str) -> String {
    json!({ registry: username }).to_string()
}

#[cfg(test)]
mod tests {
    use super::super::held;
    use super::*;

    #[test]
    fn docker_serves_only_its_registry() {
        for (asked, registry, ours) in [
            ("ghcr.io", "ghcr.io", true),
            ("ghcr.io\n", "ghcr.io", true),
            ("https://ghcr.io", "ghcr.io", true),
            ("HTTPS://GHCR.io/", "https://ghcr.io", true),
            ("https://index.docker.io/v1/", "https://index.docker.io/v1/", true),
            ("https://index.docker.io/v1/", "index.docker.io/v1", true),
            ("localhost:5000", "localhost:5000", true),
            ("http://ghcr.io", "ghcr.io", false),
            ("ghcr.io.evil.com", "ghcr.io", false),
            ("evil.com/ghcr.io", "ghcr.io", false),
            ("ghcr.io/v2", "ghcr.io", false),
            ("ghcr.io:443", "ghcr.io", false),
            ("", "", false),
            ("/", "https://", false),
            ("é", "ghcr.io", false),
        ] {
            assert_eq!(is_for(asked.as_bytes(), registry), ours, "{asked} {registry}");
        }
        assert!(!is_for(b"\xff", "ghcr.io"));
    }

    #[test]
    fn docker_reply_is_json() {
        let made = answer(b"ghcr.io\n", "j\"oe", &held("K", "s\"3é\n".as_bytes(), None)).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&made).unwrap();
        assert_eq!(value, json!({ "ServerURL": "ghcr.io", "Username": "j\"oe", "Secret": "s\"3é\n" }));
        assert!(answer(b"ghcr.io", "joe", &held("K", b"\xff", None)).is_err());
        assert_eq!(list("ghcr.io", "joe"), r#"{"ghcr.io":"joe"}"#);
    }
}
