//! Token check: holds back long-lived tokens.
//!
//! It works on bytes. No reason contains a part of a secret, and no general JSON parser owns one.

mod blob;
mod tokens;

pub use blob::blob_mech;

use crate::display::trim_invisible_start;
use crate::mechanism::Mechanism;

/// Checks a value before it is stored, unlocked or passed on. `Err` holds the reasons against it,
/// a sentence each.
///
/// A value of an unknown mechanism is checked like a static secret.
pub fn check(secret: &[u8], mech: &Mechanism) -> Result<(), Vec<String>> {
    let text = trim_invisible_start(secret);
    if text.is_empty() {
        return Err(vec!["there is no value to check".to_owned()]);
    }
    match mech {
        Mechanism::Replica | Mechanism::Reference | Mechanism::Session | Mechanism::Other(_) => {
            match tokens::find(text) {
                None => Ok(()),
                Some(found) => Err(vec![
                    "a long-lived token is dangerous to hand out as it is".to_owned(),
                    format!(
                        "detected {}{}",
                        found.kind.what,
                        if found.inside { " inside the value" } else { "" }
                    ),
                ]),
            }
        }
        Mechanism::GithubApp if secret.starts_with(b"ghs_") => Ok(()),
        Mechanism::GithubApp => Err(vec!["the value of a github app must be a ghs_ token".to_owned()]),
        Mechanism::AwsSso | Mechanism::GithubOidc if is_profile_name(secret) => Ok(()),
        Mechanism::AwsSso | Mechanism::GithubOidc => Err(vec![
            "the value must be the name of an aws profile: letters, digits, dots, _ and -".to_owned(),
        ]),
    }
}

/// Returns `true` if `text` contains a long-lived token as a word. Nothing is decoded.
pub(crate) fn holds_token(text: &str) -> bool {
    tokens::in_words(text.as_bytes()).is_some()
}

/// Returns `true` for `^[a-zA-Z0-9][a-zA-Z0-9._-]*$`.
fn is_profile_name(value: &[u8]) -> bool {
    value.first().is_some_and(u8::is_ascii_alphanumeric)
        && value.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Distinct part of every token below: no reason may contain it.
    const BODY: &str = "Zq7Zq7Zq7Zq7";

    #[test]
    fn check_rejects_long_lived_tokens_of_static_mechanisms() {
        let raw = [
            Mechanism::Replica,
            Mechanism::Reference,
            Mechanism::Session,
            Mechanism::Other("NEW_VIA_PEER".into()),
        ];
        for mech in raw {
            for prefix in tokens::KINDS.iter().filter(|kind| kind.alone).map(|kind| kind.prefix) {
                for lead in [
                    "",
                    " ",
                    "\n",
                    "\t \r\n",
                    "\u{a0}",
                    "\u{2028}",
                    "\u{feff}",
                    "\x0b\x0c",
                    "\u{200b}",
                    "\u{2060}\n\u{200d}",
                    " \u{e0041}\u{fe0f}",
                ] {
                    let reasons = check(format!("{lead}{prefix}{BODY}").as_bytes(), &mech).unwrap_err();
                    assert_eq!(reasons.len(), 2);
                    assert!(reasons[1].contains(prefix), "{reasons:?} names the kind");
                    assert!(reasons.iter().all(|reason| !reason.contains(BODY)), "{reasons:?}");
                }
            }
            for fine in [
                "hunter2",
                "ghs_x",
                "ASIA1234",
                "akia1234",
                "GHP_x",
                "xghp_x",
                "sk_test_x",
                "x AKIA",
                "gh",
                "xoxa-1",
                "-----BEGIN KEY-----\nAKIA",
                "{\"a\":1}",
                "é",
            ] {
                assert_eq!(check(fine.as_bytes(), &mech), Ok(()), "{fine}");
            }
            assert_eq!(check(b"\xff\xfe ghp_", &mech), Ok(()), "bytes that are no text");
            for empty in [&b""[..], b" ", b"\n\t", "\u{feff}".as_bytes(), "\u{200b} ".as_bytes()] {
                assert_eq!(check(empty, &mech).unwrap_err().len(), 1, "{empty:?}");
            }
        }
    }

    #[test]
    fn check_accepts_what_ephemeral_mechanisms_produce() {
        for (mech, value, ok) in [
            (Mechanism::GithubApp, "ghs_abc", true),
            (Mechanism::GithubApp, "ghp_abc", false),
            (Mechanism::GithubApp, " ghs_abc", false),
            (Mechanism::GithubApp, "{\"mech\":\"x\"}", false),
            (Mechanism::GithubApp, "", false),
            (Mechanism::AwsSso, "acme.dev-1_a", true),
            (Mechanism::AwsSso, "9", true),
            (Mechanism::AwsSso, ".acme", false),
            (Mechanism::AwsSso, "acme dev", false),
            (Mechanism::AwsSso, "acme\n", false),
            (Mechanism::AwsSso, "", false),
            (Mechanism::GithubOidc, "profile", true),
            (Mechanism::GithubOidc, "a=b", false),
        ] {
            assert_eq!(check(value.as_bytes(), &mech).is_ok(), ok, "{mech} {value:?}");
        }
    }
}
