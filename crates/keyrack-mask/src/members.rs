//! Parts of a key that are secret on their own: its lines, and the members of a JSON document.

use zeroize::Zeroizing;

use crate::MIN;

/// Text of a secret, in memory that is wiped.
pub type Text = Zeroizing<Vec<u8>>;

/// Shortest line that is masked on its own, in bytes.
pub const LINE: usize = 8;

/// Shortest member that is masked on its own, in bytes, unless its name says that it is a secret.
pub const MEMBER: usize = 8;

/// Parts of a member's name, in lower case and without `-` and `_`, that say that its value is a secret.
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

/// Returns the lines of `secret` that are masked on their own, without white space around them: from [`LINE`]
/// bytes, but for the `-----` lines of PEM. None if `secret` is a single line.
pub fn lines(secret: &[u8]) -> Vec<Text> {
    let whole = secret.trim_ascii();
    whole
        .split(|&b| b == b'\n' || b == b'\r')
        .map(<[u8]>::trim_ascii)
        .filter(|line| line.len() >= LINE && line.len() < whole.len() && !line.starts_with(b"-----"))
        .map(|line| Zeroizing::new(line.to_vec()))
        .collect()
}

/// Returns the values inside a key that is a JSON object or array which are masked on their own, as they are meant
/// and not as they are escaped: strings from [`MEMBER`] bytes; strings and numbers from [`MIN`] bytes where the
/// name of the member, or of the object or array around it, is that of a secret. The secret need not be valid JSON.
pub fn members(secret: &[u8]) -> Vec<Text> {
    let secret = secret.trim_ascii();
    let mut found = Vec::new();
    if !matches!((secret.first(), secret.last()), (Some(b'{'), Some(b'}')) | (Some(b'['), Some(b']'))) {
        return found;
    }
    // For each open bracket, the verdict on the name it stands behind.
    let mut outer = vec![false];
    let mut named = false;
    let mut at = 0;
    while let Some(&b) = secret.get(at) {
        let inherited = outer.last().copied().unwrap_or(false);
        match b {
            b'{' | b'[' => {
                outer.push(inherited || named);
                named = false;
            }
            b'}' | b']' => {
                outer.pop();
                named = false;
            }
            b',' => named = false,
            b'"' => {
                let end = end_of_string(secret, at + 1);
                let meant = unescaped(&secret[at + 1..end]);
                at = (end + 1).min(secret.len());
                let next = secret[at..].iter().find(|b| !b.is_ascii_whitespace());
                if next == Some(&b':') {
                    named = is_secret_name(&meant);
                } else {
                    take(&meant, named || inherited, &mut found);
                }
                continue;
            }
            b'0'..=b'9' if named || inherited => {
                let rest = &secret[at..];
                let end = rest.iter().position(|b| !b.is_ascii_alphanumeric() && !b".+-".contains(b));
                let number = &rest[..end.unwrap_or(rest.len())];
                at += number.len();
                take(number, true, &mut found);
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

fn take(text: &[u8], is_named: bool, found: &mut Vec<Text>) {
    let trimmed = text.trim_ascii();
    if trimmed.len() >= if is_named { MIN } else { MEMBER } {
        found.push(Zeroizing::new(trimmed.to_vec()));
    }
}

/// Returns `true` if a member of this name holds a secret: `DB_PASSWORD`, `clientSecret`, `api-key`.
fn is_secret_name(name: &[u8]) -> bool {
    let plain = name.iter().filter(|b| !b"-_ .".contains(b)).map(u8::to_ascii_lowercase);
    let plain = Zeroizing::new(plain.collect::<Vec<u8>>());
    SECRET_NAMES.iter().any(|part| plain.windows(part.len()).any(|window| window == part.as_bytes()))
}

/// Position of the quote that ends the string whose text begins at `at`; the end of the text if there is none.
fn end_of_string(text: &[u8], mut at: usize) -> usize {
    while let Some(&b) = text.get(at) {
        match b {
            b'"' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

/// Text that a JSON string means (RFC 8259, 7). What is no escape stays as it is.
fn unescaped(raw: &[u8]) -> Text {
    // An escape is never shorter than what it means.
    let mut out = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut at = 0;
    let mut high = None;
    while let Some(&b) = raw.get(at) {
        let escape = if b == b'\\' { raw.get(at + 1).copied() } else { None };
        let unit = if escape == Some(b'u') { unit(raw.get(at + 2..at + 6)) } else { None };
        if let Some(unit) = unit {
            let units = [high.take().unwrap_or(unit), unit];
            let both = if units[0] == unit { &units[1..] } else { &units[..] };
            let is_high = (0xd800..0xdc00).contains(&unit);
            if is_high {
                high = Some(unit);
            } else {
                for c in char::decode_utf16(both.iter().copied()).map(|c| c.unwrap_or('\u{fffd}')) {
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
            at += 6;
            continue;
        }
        high = None;
        out.push(match escape {
            None => b,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(other) => other,
        });
        at += if escape.is_some() { 2 } else { 1 };
    }
    out
}

fn unit(digits: Option<&[u8]>) -> Option<u16> {
    let text =
        std::str::from_utf8(digits?).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    u16::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(texts: &[Text]) -> Vec<String> {
        texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    }

    #[test]
    fn members_of_json_count_by_length_and_name() {
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
    fn lines_count_from_eight_bytes() {
        let pem = b"-----BEGIN KEY-----\r\nMIIEvQIBADAN\n  abcdefgh \nabcdefg\n-----END KEY-----\n";
        assert_eq!(shown(&lines(pem)), ["MIIEvQIBADAN", "abcdefgh"]);
        assert!(lines(b" one line alone \n").is_empty());
    }
}
