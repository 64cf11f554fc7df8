//! Parts of a key that are secret on their own: its lines, and the members of a JSON document.

use keyrack_json::{LooseToken, loose_tokens};
use zeroize::Zeroizing;

use crate::MIN;

/// Text of a secret, in memory that is wiped.
pub type Text = Zeroizing<Vec<u8>>;

/// Shortest line that is masked on its own, in bytes.
pub const LINE: usize = 8;

/// Shortest member that is masked on its own, in bytes, unless its name marks it as a secret.
pub const MEMBER: usize = 8;

/// Parts of a member's name, in lower case and without `-` and `_`, that mark its value as a
/// secret.
const SECRET_NAMES: [&str; 13] = [
    "auth",
    "bearer",
    "credential",
    "key",
    "pass",
    "pin",
    "private",
    "pwd",
    "salt",
    "secret",
    "seed",
    "session",
    "token",
];

/// Returns the lines of `secret` that are masked on their own, without white space around them:
/// from [`LINE`] bytes, but for the `-----` lines of PEM. None if `secret` is a single line.
pub fn lines(secret: &[u8]) -> Vec<Text> {
    let whole = secret.trim_ascii();
    whole
        .split(|&b| b == b'\n' || b == b'\r')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.len() >= LINE && line.len() < whole.len() && !line.starts_with(b"-----"))
        .map(|line| Zeroizing::new(line.to_vec()))
        .collect()
}

/// Returns the values inside a key that is a JSON object or array that are masked on their own,
/// unescaped: strings from [`MEMBER`] bytes; strings and numbers from [`MIN`] bytes where the name
/// of the member, or of the object or array around it, is that of a secret.
///
/// The key may be malformed JSON: every string in quotes is a value unless a colon follows it.
pub fn members(secret: &[u8]) -> Vec<Text> {
    let secret = secret.trim_ascii();
    let mut found = Vec::new();
    if !matches!((secret.first(), secret.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']'))) {
        return found;
    }
    // One entry for each open bracket: the name before it, or before one around it, is a secret's.
    let mut outer = vec![false];
    let mut named = false;
    for token in loose_tokens(secret) {
        let inherited = outer.last().copied().unwrap_or(false);
        match token {
            LooseToken::Open => {
                outer.push(inherited || named);
                named = false;
            }
            LooseToken::Close => {
                outer.pop();
                named = false;
            }
            LooseToken::Comma => named = false,
            LooseToken::Name(name) => named = is_secret_name(&name.to_wiped()),
            LooseToken::String(text) => take(&text.to_wiped(), named || inherited, &mut found),
            LooseToken::Number(number) if named || inherited => take(number, true, &mut found),
            LooseToken::Number(_) => {}
        }
    }
    found
}

fn take(text: &[u8], is_named: bool, found: &mut Vec<Text>) {
    let trimmed = text.trim_ascii();
    if trimmed.len() >= if is_named { MIN } else { MEMBER } {
        found.push(Zeroizing::new(trimmed.to_vec()));
    }
}

/// Returns `true` if a member of this name holds a secret: `DB_PASSWORD`, `clientSecret`,
/// `api-key`.
fn is_secret_name(name: &[u8]) -> bool {
    let plain = name.iter().filter(|b| !b"-_ .".contains(b)).map(u8::to_ascii_lowercase);
    let plain = Zeroizing::new(plain.collect::<Vec<u8>>());
    SECRET_NAMES.iter().any(|part| plain.windows(part.len()).any(|window| window == part.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(texts: &[Text]) -> Vec<String> {
        texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn members_are_found_by_length_and_name() {
        for (secret, expected) in [
            (r#"{"a":"1234567"}"#, &[][..]),
            (r#"{"a":"12345678"}"#, &["12345678"]),
            (r#"{"password":"123"}"#, &[]),
            (r#"{"password":"1234"}"#, &["1234"]),
            (r#"{"DB_PASS-WORD":"12345","user":"joe"}"#, &["12345"]),
            (r#"{"user":"joe","clientSecret":"abcd", "n":"abcde"}"#, &["abcd"]),
            (r#"{"pin":123456,"port":54321}"#, &["123456"]),
            (r#"{"tokens":["abcd","efgh"],"x":["ijkl"]}"#, &["abcd", "efgh"]),
            (r#"{"auth":{"user":"anna","x":{"y":"bert"}},"z":"cäsar"}"#, &["anna", "bert"]),
            (r#"["12345678",{"a":"b"}]"#, &["12345678"]),
            ("{\"a\":\"line one\\nline two\"}", &["line one\nline two"]),
            (r#"{"a":"x\u003d\u003dy\/\"\\z1"}"#, &["x==y/\"\\z1"]),
            (r#"{"a":"\ud83d\udd11keys"}"#, &["\u{1f511}keys"]),
            (r#"{"a":"        "}"#, &[]),
            (r#"{"a": "unended value"#, &[]),
            (r#"{"a": "unended value}"#, &["unended value}"]),
            (r#"{"\"#, &[]),
            (r#"{"a\"}"#, &[]),
            ("{}", &[]),
            ("}{", &[]),
            ("plain text", &[]),
        ] {
            assert_eq!(shown(&members(secret.as_bytes())), expected, "{secret}");
        }
    }

    #[test]
    fn lines_are_found_from_eight_bytes() {
        let pem = b"-----BEGIN KEY-----\r\nMIIEvQIBADAN\n  abcdefgh \nabcdefg\n-----END KEY-----\n";
        assert_eq!(shown(&lines(pem)), ["MIIEvQIBADAN", "abcdefgh"]);
        assert!(lines(b" one line alone \n").is_empty());
    }
}
