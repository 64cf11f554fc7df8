//! Long-lived tokens: the one list of their shapes, and the search for them inside a value.
//!
//! A value is searched as it is, and inside the encodings that settings and HTTP put around a
//! token: JSON and URL escapes, and Base64 (basic auth, docker's `auth`, a Kubernetes Secret).
//! Linear in the length of the value. What is decoded is wiped.

use std::ops::RangeInclusive;

use zeroize::Zeroizing;

use crate::display::trim_invisible_start;

/// The shape of one kind of long-lived token: a prefix, and as many characters after it.
pub(super) struct Kind {
    pub(super) prefix: &'static str,
    pub(super) what: &'static str,
    /// Length of what follows the prefix.
    body: RangeInclusive<usize>,
    alphabet: Alphabet,
    /// At the beginning of a value the prefix alone counts, whatever follows.
    pub(super) alone: bool,
}

/// The characters that follow a prefix.
#[derive(Clone, Copy)]
enum Alphabet {
    /// `A-Z`, `0-9`
    Upper,
    /// `A-Z`, `a-z`, `0-9`
    Alnum,
    /// The same with `_` and `-`
    Word,
}

impl Alphabet {
    fn has(self, byte: u8) -> bool {
        match self {
            Alphabet::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Alphabet::Alnum => byte.is_ascii_alphanumeric(),
            Alphabet::Word => is_word(byte),
        }
    }
}

const ANY: usize = usize::MAX;

/// A kind whose prefix alone counts at the beginning of a value.
const fn alone(
    prefix: &'static str,
    body: RangeInclusive<usize>,
    alphabet: Alphabet,
    what: &'static str,
) -> Kind {
    Kind { prefix, what, body, alphabet, alone: true }
}

/// Kind that only its whole shape identifies, because other texts begin with its prefix too.
const fn shaped(
    prefix: &'static str,
    body: RangeInclusive<usize>,
    alphabet: Alphabet,
    what: &'static str,
) -> Kind {
    Kind { prefix, what, body, alphabet, alone: false }
}

/// Tokens that do not expire until their owner revokes them. `lib/token_check.js` has the same
/// list.
pub(super) const KINDS: [Kind; 28] = [
    alone("ghp_", 8..=ANY, Alphabet::Alnum, "a github classic personal access token (ghp_*)"),
    alone("gho_", 8..=ANY, Alphabet::Alnum, "a github oauth token (gho_*)"),
    alone("ghu_", 8..=ANY, Alphabet::Alnum, "a github user-to-server token (ghu_*)"),
    alone("ghr_", 8..=ANY, Alphabet::Alnum, "a github refresh token (ghr_*)"),
    alone(
        "github_pat_",
        8..=ANY,
        Alphabet::Word,
        "a github fine-grained personal access token (github_pat_*)",
    ),
    alone("AKIA", 16..=16, Alphabet::Upper, "an aws long-lived access key (AKIA*)"),
    alone("glpat-", 8..=ANY, Alphabet::Word, "a gitlab personal access token (glpat-*)"),
    alone("xoxb-", 8..=ANY, Alphabet::Word, "a slack bot token (xoxb-*)"),
    alone("xoxp-", 8..=ANY, Alphabet::Word, "a slack user token (xoxp-*)"),
    alone("sk_live_", 8..=ANY, Alphabet::Alnum, "a stripe live secret key (sk_live_*)"),
    alone("rk_live_", 8..=ANY, Alphabet::Alnum, "a stripe live restricted key (rk_live_*)"),
    alone("sk-ant-", 8..=ANY, Alphabet::Word, "an anthropic api key (sk-ant-*)"),
    alone("sk-proj-", 8..=ANY, Alphabet::Word, "an openai project key (sk-proj-*)"),
    alone("sk-svcacct-", 8..=ANY, Alphabet::Word, "an openai service account key (sk-svcacct-*)"),
    alone("sk-or-v1-", 8..=ANY, Alphabet::Word, "an openrouter api key (sk-or-v1-*)"),
    shaped("sk-admin-", 20..=ANY, Alphabet::Word, "an openai admin key (sk-admin-*)"),
    shaped("npm_", 16..=ANY, Alphabet::Alnum, "an npm access token (npm_*)"),
    shaped("gldt-", 16..=ANY, Alphabet::Word, "a gitlab deploy token (gldt-*)"),
    shaped("glptt-", 16..=ANY, Alphabet::Word, "a gitlab pipeline trigger token (glptt-*)"),
    shaped("glrt-", 16..=ANY, Alphabet::Word, "a gitlab runner token (glrt-*)"),
    shaped("xapp-", 16..=ANY, Alphabet::Word, "a slack app token (xapp-*)"),
    shaped("hf_", 30..=ANY, Alphabet::Alnum, "a hugging face access token (hf_*)"),
    shaped("pypi-AgE", 50..=ANY, Alphabet::Word, "a pypi upload token (pypi-*)"),
    shaped("dckr_pat_", 20..=ANY, Alphabet::Word, "a docker hub access token (dckr_pat_*)"),
    shaped("dop_v1_", 40..=ANY, Alphabet::Alnum, "a digitalocean access token (dop_v1_*)"),
    shaped("shpat_", 32..=ANY, Alphabet::Alnum, "a shopify access token (shpat_*)"),
    shaped("rubygems_", 40..=ANY, Alphabet::Alnum, "a rubygems api key (rubygems_*)"),
    shaped("ATATT3", 40..=ANY, Alphabet::Word, "an atlassian api token (ATATT3*)"),
];

/// Number of nested encodings that are undone: a docker config in a Kubernetes Secret takes three.
const LAYERS: u32 = 4;

/// The shortest run of Base64 that could hold a token.
const SHORTEST_BASE64: usize = 16;

/// From this length on a line of Base64 may go on in the next one. Encoders wrap at 60, 64 or 76.
const WRAPPED: usize = 48;

/// The long-lived token that `value` is, or holds.
pub(super) fn find(value: &[u8]) -> Option<Found> {
    let text = trim_invisible_start(value);
    let alone = KINDS.iter().find(|kind| kind.alone && text.starts_with(kind.prefix.as_bytes()));
    alone.map(|kind| Found { kind, inside: false }).or_else(|| {
        let kind = look(text, LAYERS)?;
        Some(Found { kind, inside: !text.starts_with(kind.prefix.as_bytes()) })
    })
}

/// A token that was found.
pub(super) struct Found {
    pub(super) kind: &'static Kind,
    /// It is only a part of the value.
    pub(super) inside: bool,
}

/// The long-lived token among the words of `text`, as it is.
pub(super) fn in_words(text: &[u8]) -> Option<&'static Kind> {
    text.split(|&byte| !is_word(byte)).find_map(token)
}

fn look(text: &[u8], layers: u32) -> Option<&'static Kind> {
    #[cfg(test)]
    tests::LOOKED_AT.with(|bytes| bytes.set(bytes.get() + text.len()));
    if let Some(kind) = in_words(text) {
        return Some(kind);
    }
    let layers = layers.checked_sub(1)?;
    unescaped(text).and_then(|text| look(&text, layers)).or_else(|| in_base64(text, layers))
}

/// The kind of token that a word is.
fn token(word: &[u8]) -> Option<&'static Kind> {
    // No prefix begins otherwise.
    if !matches!(word.first()?, b'A' | b'd' | b'g' | b'h' | b'n' | b'p' | b'r' | b's' | b'x') {
        return None;
    }
    KINDS.iter().find(|kind| {
        word.strip_prefix(kind.prefix.as_bytes()).is_some_and(|body| {
            // The alphabet is asked of as much as is needed: what follows in the same word may be
            // the text's own.
            let needed = body.get(..*kind.body.start()).unwrap_or_default();
            kind.body.contains(&body.len()) && needed.iter().all(|&byte| kind.alphabet.has(byte))
        })
    })
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

/// `text` without its JSON and URL escapes; `None` if it has none. An escaped
/// character outside of ASCII becomes a byte that is in no word.
fn unescaped(text: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let first = text.iter().position(|byte| matches!(byte, b'\\' | b'%'))?;
    // Of the final size at once: growing would leave copies behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(text.len()));
    plain.extend_from_slice(&text[..first]);
    let mut rest = &text[first..];
    let mut changed = false;
    while let Some((byte, more)) = rest.split_first() {
        let (put, took) = match (byte, more) {
            (b'%', [high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (hex(&more[..2]), 3)
            }
            (b'\\', [b'u', digits @ ..])
                if digits.len() >= 4 && digits[..4].iter().all(u8::is_ascii_hexdigit) =>
            {
                (if digits.starts_with(b"00") { hex(&digits[2..4]) } else { 0xff }, 6)
            }
            (b'\\', [b'b' | b'f' | b'n' | b'r' | b't', ..]) => (b' ', 2),
            (b'\\', [escaped @ (b'"' | b'\'' | b'\\' | b'/'), ..]) => (*escaped, 2),
            _ => (*byte, 1),
        };
        changed |= took > 1;
        plain.push(put);
        rest = &rest[took..];
    }
    changed.then_some(plain)
}

fn hex(digits: &[u8]) -> u8 {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    digits.iter().fold(0, |sum, &byte| sum << 4 | digit(byte).unwrap_or_default())
}

/// Looks behind each run of Base64, of either alphabet.
fn in_base64(text: &[u8], layers: u32) -> Option<&'static Kind> {
    let mut rest = text;
    loop {
        let start = rest.iter().position(|&byte| sextet(byte).is_some())?;
        rest = &rest[start..];
        let end = run(rest);
        let (encoded, behind) = rest.split_at(end);
        rest = behind;
        if encoded.len() >= SHORTEST_BASE64
            && let Some(kind) = look(&decoded(encoded), layers)
        {
            return Some(kind);
        }
    }
}

/// Length of the run of Base64 at the beginning of `text`, with the ends of the lines it is wrapped
/// into.
fn run(text: &[u8]) -> usize {
    let mut end = 0;
    loop {
        let line = text[end..].iter().take_while(|&&byte| sextet(byte).is_some()).count();
        end += line;
        let blank = text[end..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let goes_on = text.get(end + blank).is_some_and(|&byte| sextet(byte).is_some());
        if line < WRAPPED || line % 4 != 0 || blank == 0 || !goes_on {
            return end;
        }
        end += blank;
    }
}

/// The bytes that a run of Base64 stands for. What is not of its alphabet is passed over.
fn decoded(encoded: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(encoded.len() / 4 * 3 + 3));
    let (mut bits, mut held) = (0_u32, 0);
    for sextet in encoded.iter().filter_map(|&byte| sextet(byte)) {
        bits = bits << 6 | u32::from(sextet);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xff) as u8);
        }
    }
    bytes
}

/// Value of a character of Base64, in the standard alphabet or the one for URLs (RFC 4648,
/// sections 4 and 5).
fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GHP: &str = "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";
    const AKIA: &str = "AKIAIOSFODNN7EXAMPLE";

    fn encode(bytes: &[u8], url: bool) -> String {
        let alphabet: Vec<u8> = (0..=255_u8).filter(|&byte| sextet(byte).is_some()).collect();
        let of = |value: u32| {
            let fits = |byte: &&u8| u32::from(sextet(**byte).unwrap()) == value & 63;
            let url_only = |byte: &&u8| {
                !matches!(byte, b'+' | b'/' | b'-' | b'_') || (matches!(byte, b'-' | b'_') == url)
            };
            char::from(*alphabet.iter().filter(fits).find(url_only).unwrap())
        };
        let mut text = String::new();
        for group in bytes.chunks(3) {
            let bits =
                group.iter().fold(0, |bits, &byte| bits << 8 | u32::from(byte)) << (8 * (3 - group.len()));
            text.extend((0..=group.len()).map(|at| of(bits >> (18 - 6 * at))));
        }
        text + &"===="[..(4 - (bytes.len() * 4).div_ceil(3) % 4) % 4]
    }

    fn kind(value: &str) -> Option<&'static str> {
        find(value.as_bytes()).map(|found| found.kind.prefix)
    }

    /// Each kind, as long as the shortest of its tokens.
    fn examples() -> impl Iterator<Item = (&'static Kind, String)> {
        KINDS
            .iter()
            .map(|kind| (kind, format!("{}{}", kind.prefix, &"A1B2C3D4E5".repeat(9)[..*kind.body.start()])))
    }

    /// A value with `token` in it, as each of the writers makes one.
    fn around(token: &str) -> Vec<String> {
        let json = format!("{{\"a\":[1,{{\"token\":\"{token}\"}}]}}");
        let twice = serde_json::to_string(&serde_json::json!({ "config": json })).unwrap();
        let netrc =
            serde_json::to_string(&format!("machine github.com\nlogin x\npassword\t{token}\n")).unwrap();
        let basic = encode(format!("x:{token}").as_bytes(), false);
        let docker = format!("{{\"auths\":{{\"ghcr.io\":{{\"auth\":\"{basic}\"}}}}}}");
        let filler = format!("{{\"pad\":\"{}\",\"k\":\"{token}\"}}", "some words, ".repeat(20));
        let wrapped = |width: usize, end: &str| {
            let text = encode(filler.as_bytes(), false);
            text.as_bytes()
                .chunks(width)
                .map(|line| format!("{}{end}", String::from_utf8_lossy(line)))
                .collect::<String>()
        };
        vec![
            format!("Bearer {token}"),
            format!("token {token}"),
            format!("Authorization: Bearer {token}\r\nAccept: */*"),
            format!("https://x:{token}@github.com/a/b"),
            format!("https://{token}@github.com/"),
            format!("https://example.com/?access_token={token}&x=1"),
            format!("x%3A{token}%40github.com"),
            format!("A=1\nB={token}\nC=2\n"),
            format!("export B='{token}'; true"),
            format!("//registry.npmjs.org/:_authToken={token}"),
            format!("\u{200b}x\u{200b}{token}\u{200b}"),
            format!("Basic {basic}"),
            format!("Authorization: Basic {}", basic.trim_end_matches('=')),
            encode(format!("\u{ff}?>{token}").as_bytes(), true),
            encode(docker.as_bytes(), false),
            format!("data:\n  .dockerconfigjson: {}\n", encode(docker.as_bytes(), false)),
            wrapped(76, "\n"),
            wrapped(64, "\r\n    "),
            format!("\"\\u{:04x}{}\"", token.as_bytes()[0], &token[1..]),
            json,
            twice,
            netrc,
            docker,
        ]
    }

    #[test]
    fn tokens_are_found_inside_values() {
        for (example, token) in examples() {
            for value in around(&token) {
                assert_eq!(kind(&value), Some(example.prefix), "{token} in {value}");
            }
            assert_eq!(kind(&token), Some(example.prefix), "{token}");
            let (found, inside) =
                (find(token.as_bytes()).unwrap(), find(format!("x {token}").as_bytes()).unwrap());
            assert!(!found.inside && inside.inside, "{token}");
        }
        for value in around(GHP)
            .into_iter()
            .chain([format!("{{\"AccessKeyId\":\"{AKIA}\",\"SecretAccessKey\":\"x\"}}")])
        {
            assert!(kind(&value).is_some(), "{value}");
        }
    }

    #[test]
    fn expiring_tokens_and_other_text_are_not_found() {
        let temporary = "{\"Version\":1,\"AccessKeyId\":\"ASIAIOSFODNN7EXAMPLE\",\"SecretAccessKey\":\"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY\",\"SessionToken\":\"IQoJb3JpZ2luX2VjEAKIA/AKIAAKIAIOSF+ODNN7EXAMPLE//8AKIA==\",\"Expiration\":\"2026-01-01T00:00:00Z\"}";
        let jwt = format!(
            "{}.{}.{}",
            encode(b"{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"ghp_1\"}", true),
            encode(b"{\"sub\":\"npm_user\",\"exp\":1767225600,\"scope\":\"sk-ant-1 glpat-1\"}", true),
            "c2lnbmF0dXJl-_AKIA".repeat(20),
        );
        for value in [
            temporary,
            &format!("Bearer {jwt}"),
            &jwt,
            &encode(temporary.as_bytes(), false),
            "ghs_16C7e42F292c6912E7710c838347Ae178B4a",
            "https://x-access-token:ghs_16C7e42F292c6912E7710c838347Ae178B4a@github.com/a/b",
            "sk_test_4eC39HqLyjWDarjtT1zdp7dc",
            "{\"key\":\"pk_live_51H7x\",\"other\":\"sk_test_4eC39HqLyjWDarjtT1zdp7dc\"}",
            "hunter2",
            "postgres://user:ghp_pass@db.example.com/prod?sslmode=require",
            "tokens begin with ghp_, gho_, github_pat_, glpat-, AKIA, xoxb-, npm_ or sk-ant-",
            "npm_config_registry=https://registry.npmjs.org/",
            "npm_lifecycle_event",
            "npm_package_dependencies_keyrack=1",
            "task-ant-colony-optimization",
            "risk-proj-management-office",
            "x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",
            "AKIAIOSFODNN7EXAMPLES",
            "AKIAiosfodnn7example is lower case",
            "550e8400-e29b-41d4-a716-446655440000",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "-----BEGIN PRIVATE KEY-----\nAKIAMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\nAKIA\n-----END PRIVATE KEY-----\n",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhwX2dob19naHVfZ2hyX0FLSUF4b3hi me@host",
            "{\"type\":\"service_account\",\"private_key\":\"-----BEGIN PRIVATE KEY-----\\nMIIEvQIBADANBgkqhkiG9w0\\n\"}",
            "50% off, 100%ghp_, \\ghp_ and C:\\npm_modules\\glpat-1",
            "\\u00",
            "%",
        ] {
            let value_start_is_akia = value.starts_with("AKIA");
            assert_eq!(kind(&format!("x {value}")), None, "{value}");
            assert_eq!(kind(value).is_some(), value_start_is_akia, "{value}");
        }
        // 1 MiB that looks random: every byte, and as Base64.
        let mut state = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(768 << 10)
        .collect();
        assert!(find(&noise).is_none());
        assert_eq!(kind(&encode(&noise, false)), None);
        assert_eq!(kind(&encode(&noise, true)), None);
    }

    #[test]
    fn javascript_has_the_same_token_list() {
        let list = include_str!("../../../../lib/token_check.js");
        let rows = list.lines().filter(|line| line.starts_with("  ['"));
        let ours = KINDS.iter().map(|kind| {
            let (least, most) = (kind.body.start(), *kind.body.end());
            let most = if most == ANY { "ANY".to_owned() } else { most.to_string() };
            let alphabet = match kind.alphabet {
                Alphabet::Upper => "UPPER",
                Alphabet::Alnum => "ALNUM",
                Alphabet::Word => "WORD",
            };
            let alone = if kind.alone { "ALONE" } else { "SHAPED" };
            format!("  ['{}', {least}, {most}, {alphabet}, {alone}, '{}'],", kind.prefix, kind.what)
        });
        assert_eq!(rows.collect::<Vec<_>>(), ours.collect::<Vec<_>>());
    }

    thread_local! {
        /// Bytes looked at, those behind encodings included.
        pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
    }

    /// Nested encodings are the costliest.
    #[test]
    fn work_is_linear_in_the_length_of_the_value() {
        let limit = 1 << 20;
        let mut nested = "x".repeat(limit / 3);
        while nested.len() < limit / 2 {
            nested = encode(nested.as_bytes(), false);
        }
        for value in [
            "A".repeat(limit),
            "AKIA".repeat(limit / 4),
            "ghp_".repeat(limit / 4),
            "g ".repeat(limit / 2),
            "\\".repeat(limit),
            "%25".repeat(limit / 3),
            "\\u005c".repeat(limit / 6),
            format!("{}\n", "A".repeat(76)).repeat(limit / 77),
            nested,
        ] {
            LOOKED_AT.set(0);
            assert!(find(format!("x {value}").as_bytes()).is_none());
            assert!(LOOKED_AT.get() <= 8 * limit, "{} bytes for {}…", LOOKED_AT.get(), &value[..8]);
        }
    }
}
