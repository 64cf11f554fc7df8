//! Forms in which programs write a text.

/// Writer of a text in one form.
pub type FormWriter = (&'static str, fn(&[u8]) -> Vec<u8>);

fn each(text: &[u8], write: impl Fn(u8) -> String) -> Vec<u8> {
    text.iter().flat_map(|b| write(*b).into_bytes()).collect()
}

/// Writes each byte that is not kept in another form. Bytes of characters outside of ASCII are
/// always kept.
fn but(text: &[u8], kept: &[u8], write: impl Fn(u8) -> String) -> Vec<u8> {
    let mut out = Vec::new();
    for b in text {
        if b.is_ascii_alphanumeric() || !b.is_ascii() || kept.contains(b) {
            out.push(*b);
        } else {
            out.extend_from_slice(write(*b).as_bytes());
        }
    }
    out
}

fn only(text: &[u8], written: &[(u8, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    for b in text {
        match written.iter().find(|(from, _)| from == b) {
            Some((_, to)) => out.extend_from_slice(to.as_bytes()),
            None => out.push(*b),
        }
    }
    out
}

const CONTROLS: [(u8, &str); 4] = [(b'\\', "\\\\"), (b'\n', "\\n"), (b'\r', "\\r"), (b'\t', "\\t")];

fn with(more: &[(u8, &'static str)]) -> Vec<(u8, &'static str)> {
    CONTROLS.into_iter().chain(more.iter().copied()).collect()
}

/// In UTF-16, escaped as JSON does, but for what `is_kept`.
fn json_ascii(text: &[u8], is_kept: fn(char) -> bool, upper: bool) -> Vec<u8> {
    let mut out = String::new();
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            c if is_kept(c) => out.push(c),
            c => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out += &if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
                }
            }
        }
    }
    out.into_bytes()
}

/// Writers that leave some characters as they are, or write each one on its own.
pub const ESCAPES: &[FormWriter] = &[
    ("verbatim", |text| text.to_vec()),
    ("JSON", |text| only(text, &with(&[(b'"', "\\\"")]))),
    ("JSON, slashes", |text| only(text, &with(&[(b'"', "\\\""), (b'/', "\\/")]))),
    ("JSON, Gson", |text| {
        only(
            text,
            &with(&[
                (b'"', "\\\""),
                (b'=', "\\u003d"),
                (b'<', "\\u003c"),
                (b'>', "\\u003e"),
                (b'&', "\\u0026"),
                (b'\'', "\\u0027"),
            ]),
        )
    }),
    ("JSON, .NET", |text| {
        only(
            text,
            &with(&[
                (b'"', "\\u0022"),
                (b'+', "\\u002B"),
                (b'\'', "\\u0027"),
                (b'<', "\\u003C"),
                (b'&', "\\u0026"),
            ]),
        )
    }),
    ("JSON, ASCII", |text| {
        json_ascii(text, |c| c.is_ascii_graphic() && !matches!(c, '"' | '\\') || c == ' ', false)
    }),
    ("JSON, all", |text| json_ascii(text, |_| false, false)),
    ("JSON, all, capitals", |text| json_ascii(text, |_| false, true)),
    ("JSON in JSON", |text| {
        let quote = |text: &[u8]| only(text, &with(&[(b'"', "\\\"")]));
        quote(&quote(text))
    }),
    ("JSON, all, in JSON", |text| only(&json_ascii(text, |_| false, false), &[(b'\\', "\\\\")])),
    ("XML", |text| {
        only(text, &[(b'&', "&amp;"), (b'<', "&lt;"), (b'>', "&gt;"), (b'"', "&quot;"), (b'\'', "&apos;")])
    }),
    ("HTML, Mustache", |text| {
        only(
            text,
            &[
                (b'&', "&amp;"),
                (b'<', "&lt;"),
                (b'>', "&gt;"),
                (b'"', "&quot;"),
                (b'\'', "&#39;"),
                (b'/', "&#x2F;"),
                (b'=', "&#x3D;"),
                (b'`', "&#x60;"),
            ],
        )
    }),
    ("HTML, decimal", |text| but(text, b"", |b| format!("&#{b};"))),
    ("HTML, all hexadecimal", |text| {
        String::from_utf8_lossy(text)
            .chars()
            .map(|c| format!("&#x{:x};", u32::from(c)))
            .collect::<String>()
            .into_bytes()
    }),
    ("HTML twice", |text| {
        let once = only(text, &[(b'&', "&amp;"), (b'<', "&lt;"), (b'"', "&quot;"), (b'\'', "&#39;")]);
        only(&once, &[(b'&', "&amp;")])
    }),
    ("HTML, names", |text| {
        only(
            text,
            &[
                (b'&', "&amp;"),
                (b'=', "&equals;"),
                (b'+', "&plus;"),
                (b'/', "&sol;"),
                (b'$', "&dollar;"),
                (b'%', "&percnt;"),
                (b'@', "&commat;"),
                (b'\\', "&bsol;"),
            ],
        )
    }),
    ("percent, RFC 3986", |text| but(text, b"-._~", |b| format!("%{b:02X}"))),
    ("percent, lower case", |text| but(text, b"-._~", |b| format!("%{b:02x}"))),
    ("percent, encodeURIComponent", |text| but(text, b"-_.!~*'()", |b| format!("%{b:02X}"))),
    ("percent, form", |text| {
        but(text, b"*-._", |b| if b == b' ' { "+".to_owned() } else { format!("%{b:02X}") })
    }),
    ("percent, all", |text| each(text, |b| format!("%{b:02X}"))),
    ("percent twice", |text| but(text, b"-._~", |b| format!("%25{b:02X}"))),
    ("percent, all, twice", |text| each(text, |b| format!("%25{b:02x}"))),
    ("C", |text| only(text, &with(&[(b'"', "\\\"")]))),
    ("C, all hexadecimal", |text| each(text, |b| format!("\\x{b:02x}"))),
    ("C, all octal", |text| each(text, |b| format!("\\{b:03o}"))),
    ("Python", |text| only(text, &with(&[(b'\'', "\\'")]))),
    ("shell, %q", |text| but(text, b"_-./:=@%+", |b| format!("\\{}", char::from(b)))),
    ("shell, quoted", |text| only(text, &[(b'\'', "'\\''")])),
    ("shell, quoted in quotes", |text| only(text, &[(b'\'', "'\"'\"'")])),
    ("shell, $''", |text| {
        let mut out = b"$'".to_vec();
        out.extend(only(text, &with(&[(b'\'', "\\'")])));
        out.push(b'\'');
        out
    }),
    ("shell, declare -p", |text| {
        only(text, &[(b'"', "\\\""), (b'\\', "\\\\"), (b'$', "\\$"), (b'`', "\\`")])
    }),
    ("SQL, YAML", |text| only(text, &[(b'\'', "''")])),
    ("CSV", |text| only(text, &[(b'"', "\"\"")])),
    ("dollars doubled", |text| only(text, &[(b'$', "$$")])),
    ("Markdown", |text| only(text, &[(b'_', "\\_"), (b'*', "\\*"), (b'`', "\\`"), (b'#', "\\#")])),
    ("quoted-printable", |text| {
        text.iter()
            .flat_map(|b| match b {
                b' '..=b'~' if *b != b'=' => vec![*b],
                b => format!("={b:02X}").into_bytes(),
            })
            .collect()
    }),
    ("quoted-printable, all", |text| each(text, |b| format!("={b:02X}"))),
];

const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Base64 with padding.
pub fn base64(text: &[u8], alphabet: &[u8; 64]) -> Vec<u8> {
    let mut out = Vec::new();
    for three in text.chunks(3) {
        let number = three.iter().chain([&0, &0]).take(3).fold(0_u32, |sum, b| sum << 8 | u32::from(*b));
        for address in 0..4 {
            let six = alphabet[(number >> (18 - 6 * address)) as usize & 63];
            out.push(if address <= three.len() { six } else { b'=' });
        }
    }
    out
}

fn utf16(text: &[u8], to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    String::from_utf8_lossy(text).encode_utf16().flat_map(to_bytes).collect()
}

fn joined(text: &[u8], between: &str, write: impl Fn(u8) -> String) -> Vec<u8> {
    text.iter().map(|b| write(*b)).collect::<Vec<_>>().join(between).into_bytes()
}

/// Writers that leave no character unchanged. Each also gets the 0 to 2 bytes before and after the
/// text.
pub const ENCODINGS: &[FormWriter] = &[
    ("Base64", |text| base64(text, STANDARD)),
    ("Base64, URL-safe", |text| base64(text, URL_SAFE)),
    ("Base64 of JSON", |text| base64(&ESCAPES[1].1(text), STANDARD)),
    ("Base64 of JSON, slashes", |text| base64(&ESCAPES[2].1(text), STANDARD)),
    ("Base64 of UTF-16", |text| base64(&utf16(text, u16::to_le_bytes), STANDARD)),
    ("Base64 of UTF-16, big-endian", |text| base64(&utf16(text, u16::to_be_bytes), STANDARD)),
    ("Base64 of Base64", |text| base64(&base64(text, STANDARD), STANDARD)),
    ("Base64 of Base64, URL-safe", |text| base64(&base64(text, URL_SAFE), URL_SAFE)),
    ("UTF-16", |text| utf16(text, u16::to_le_bytes)),
    ("hexadecimal", |text| joined(text, "", |b| format!("{b:02x}"))),
    ("hexadecimal, capitals", |text| joined(text, "", |b| format!("{b:02X}"))),
    ("hexadecimal, colons", |text| joined(text, ":", |b| format!("{b:02x}"))),
    ("hexadecimal, hyphens", |text| joined(text, "-", |b| format!("{b:02X}"))),
    ("hexadecimal, blanks", |text| joined(text, " ", |b| format!("{b:02x}"))),
    ("hexadecimal, C", |text| joined(text, ", ", |b| format!("0x{b:02x}"))),
    ("decimal", |text| joined(text, ", ", |b| b.to_string())),
];

/// A text that is escaped and broken.
pub fn broken(text: &[u8], escape: FormWriter, (_, between, tears): Breaker, width: usize) -> Vec<u8> {
    let width = width.max(1);
    if tears {
        return escape.1(text).chunks(width).collect::<Vec<_>>().join(between.as_bytes());
    }
    // Between two characters: no escape of a byte beyond ASCII stands alone.
    let mut parts: Vec<Vec<u8>> = vec![Vec::new()];
    for (at, b) in text.iter().enumerate() {
        if at > 0 && at % width == 0 && b.is_ascii() && text[at - 1].is_ascii() {
            parts.push(Vec::new());
        }
        parts.last_mut().expect("there is one").push(*b);
    }
    parts.iter().map(|part| escape.1(part)).collect::<Vec<_>>().join(between.as_bytes())
}

/// A way to break a text: its name, the text between two parts, and `true` if it may be inside an
/// escape, as with a terminal.
pub type Breaker = (&'static str, &'static str, bool);

/// Text that may come between any two characters.
pub const BREAKS: &[Breaker] = &[
    ("in one line", "", true),
    ("in lines", "\n", true),
    ("in lines of CRLF", "\r\n", true),
    ("indented", "\n    ", true),
    ("colored", "\x1b[0m\x1b[1;31m", true),
    ("erased", "\x1b[K", true),
    ("in a wrapped and colored line", "\x1b[0m\r\n\x1b[32m", true),
    ("linked", "\x1b]8;;http://h/\x1b\\", false),
    ("in shell quotes", "''", false),
    ("in lines, escaped", "\\n", false),
];
