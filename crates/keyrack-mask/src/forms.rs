//! Texts to search for a key: in the stream itself, and in its canonical form.
//!
//! A text after the beginning of an escape may lose its first characters to it: in `TOKEN=6162`,
//! `=61` may be quoted-printable. So the search looks for each text without them too, but only
//! directly after an escape ([`Form::lead`]).

use zeroize::Zeroizing;

use crate::decode::canonical;
use crate::set::Form;
use crate::{MIN, members};

/// Fewest characters of an encoded form that do not depend on the text around the key.
const FIXED: usize = 8;

/// Fewest characters of a form that has lost some to an escape.
const SHORTENED: usize = 6;

type Bytes = Zeroizing<Vec<u8>>;

/// Texts to search for the keys of a run.
#[derive(Default)]
pub(crate) struct Forms {
    /// In the stream.
    pub(crate) literal: Vec<Form>,
    /// In its canonical form.
    pub(crate) canonical: Vec<Form>,
}

/// Returns the part of a key that is masked: without the white space around it, which programs
/// often drop. `None` if it is too short.
pub(crate) fn masked_part(key: &[u8]) -> Option<&[u8]> {
    let trimmed = key.trim_ascii();
    [trimmed, key].into_iter().find(|part| part.len() >= MIN)
}

impl Forms {
    /// Adds the texts of a key.
    pub(crate) fn add(&mut self, key: &[u8]) {
        let Some(key) = masked_part(key) else { return };
        self.add_text(key);
        self.add_lines(key);
        for member in members::members(key) {
            self.add_text(&member);
            self.add_lines(&member);
        }
    }

    fn add_text(&mut self, text: &[u8]) {
        self.literal.push(Form { bytes: copy(text), lead: 0, is_short: false });
        self.add_canonical(text);
        let inner_blank = |at: usize| text[at] == b' ';
        if (0..text.len()).any(inner_blank) {
            // Forms (URL Standard, 5.2).
            let plus = mapped(text, 1, |_, b, out| out.push(if b == b' ' { b'+' } else { b }));
            self.add_canonical(&plus);
        }
        if let Some(text) = std::str::from_utf8(text).ok().filter(|text| !text.is_ascii()) {
            // ASCII in UTF-16 is the same without its NULs, which the canonical form leaves out.
            for wide in wide(text) {
                self.add_canonical(&wide);
            }
        }
        for encoded in encodings(text) {
            if encoded.len() >= FIXED {
                self.push(encoded);
            }
        }
    }

    fn add_lines(&mut self, text: &[u8]) {
        for line in members::lines(text) {
            self.add_canonical(&line);
            self.literal.push(Form { bytes: line, lead: 0, is_short: false });
        }
    }

    fn add_canonical(&mut self, text: &[u8]) {
        let whole = canonical(text);
        // The end of a text may be lost as well: to an escape that continues after it, or as the
        // dollar before a quote.
        let tail = whole.len().saturating_sub(FIXED);
        for (at, b) in whole.iter().enumerate().skip(tail).filter(|(_, b)| b"%&$".contains(b)) {
            if at >= FIXED || *b == b'$' && at >= MIN {
                self.push(copy(&whole[..at]));
            }
        }
        self.push(whole);
    }

    fn push(&mut self, bytes: Bytes) {
        if bytes.len() < MIN {
            return;
        }
        for lost in losses(&bytes).filter(|lost| bytes.len() - lost >= SHORTENED) {
            let lead = u8::try_from(lost).expect("an escape is short");
            let is_short = bytes.len() - lost < FIXED;
            self.canonical.push(Form { bytes: copy(&bytes[lost..]), lead, is_short });
        }
        let is_short = bytes.len() < FIXED;
        self.canonical.push(Form { bytes, lead: 0, is_short });
    }
}

/// Returns the numbers of characters at the beginning of a text that may be read as the rest of an
/// escape.
fn losses(text: &[u8]) -> impl Iterator<Item = usize> {
    let all = |range: &[u8], is: fn(&u8) -> bool| range.iter().all(is);
    let is_hex = u8::is_ascii_hexdigit;
    let is_octal = |b: &u8| (b'0'..=b'7').contains(b);
    let (first, rest) = text.split_at(1);
    let lost = [
        (1, all(first, |b| b.is_ascii_hexdigit() || b"nrtv".contains(b))),
        (2, all(&text[..2], is_hex)),
        (3, all(&text[..3], is_octal) || first == b"x" && all(&rest[..2], is_hex)),
        (5, first == b"u" && rest.len() >= 4 && all(&rest[..4], is_hex)),
    ];
    lost.into_iter().filter(|(_, is_lost)| *is_lost).map(|(count, _)| count)
}

/// Returns the canonical forms of a text in the encodings that leave none of its characters
/// unchanged.
fn encodings(text: &[u8]) -> Vec<Bytes> {
    let mut all = Vec::new();
    for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        for (before, between) in [("", ""), ("", ":"), ("", "+"), ("0x", ",")] {
            all.push(mapped(text, 5, |at, b, out| {
                if at > 0 {
                    out.extend_from_slice(between.as_bytes());
                }
                out.extend_from_slice(before.as_bytes());
                out.extend([digits[usize::from(b >> 4)], digits[usize::from(b & 15)]]);
            }));
        }
    }
    // A Buffer of Node in JSON, a list of bytes in Python.
    all.push(mapped(text, 4, |at, b, out| {
        if at > 0 {
            out.push(b',');
        }
        decimal(b, out);
    }));
    for escaped in escaped(text) {
        base64(&escaped, &mut all);
    }
    if let Ok(text) = std::str::from_utf8(text) {
        for wide in wide(text) {
            base64(&wide, &mut all);
        }
    }
    for before in 0..3 {
        let inner = fixed(before, text);
        if inner.len() < FIXED {
            continue;
        }
        base64(&inner, &mut all);
        if inner.iter().any(|b| b"+/".contains(b)) {
            let url_safe = mapped(&inner, 1, |_, b, out| {
                out.push(match b {
                    b'+' => b'-',
                    b'/' => b'_',
                    b => b,
                });
            });
            base64(&url_safe, &mut all);
        }
    }
    all
}

/// Returns a text in UTF-16 of either byte order.
fn wide(text: &str) -> [Bytes; 2] {
    [u16::to_le_bytes, u16::to_be_bytes].map(|to_bytes| {
        let mut wide = Zeroizing::new(Vec::with_capacity(2 * text.len()));
        text.encode_utf16().for_each(|unit| wide.extend(to_bytes(unit)));
        wide
    })
}

fn decimal(b: u8, out: &mut Vec<u8>) {
    for (power, least) in [(100, 100), (10, 10), (1, 0)] {
        if b >= least {
            out.push(b'0' + b / power % 10);
        }
    }
}

/// Returns a text as it is, and as programs escape it before they encode it: inside JSON, also with
/// `/` or the special characters of HTML escaped; and percent-encoded.
fn escaped(text: &[u8]) -> Vec<Bytes> {
    let mut all = vec![copy(text)];
    for more in [&b""[..], b"/", b"<>&", b"<>&'+=`"] {
        all.push(mapped(text, 6, |_, b, out| json(b, more, out)));
    }
    all.push(mapped(text, 3, |_, b, out| match b {
        b if b.is_ascii_alphanumeric() || b"-._~".contains(&b) => out.push(b),
        b => {
            out.push(b'%');
            out.extend(hex(b, b"0123456789ABCDEF"));
        }
    }));
    all.sort_unstable_by(|a, b| a.as_slice().cmp(b));
    all.dedup_by(|a, b| a.as_slice() == b.as_slice());
    all
}

fn hex(b: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(b >> 4)], digits[usize::from(b & 15)]]
}

/// Writes a byte inside a JSON string (RFC 8259 §7), with the bytes of `more` escaped too.
fn json(b: u8, more: &[u8], out: &mut Vec<u8>) {
    let letter = match b {
        b'"' | b'\\' => b,
        b'/' if more.contains(&b) => b,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        b if b < 0x20 || more.contains(&b) => {
            out.extend_from_slice(b"\\u00");
            return out.extend(hex(b, b"0123456789abcdef"));
        }
        b => return out.push(b),
    };
    out.extend([b'\\', letter]);
}

/// Adds the Base64 of any data with the text in it, without the characters that depend on the data
/// around it.
fn base64(text: &[u8], all: &mut Vec<Bytes>) {
    all.extend((0..3).map(|before| fixed(before, text)));
    // Also at the very end, where the last character has zero bits.
    all.extend((0..3).filter(|before| !(before + text.len()).is_multiple_of(3)).map(|before| {
        let whole = base64_at(before, text);
        copy(&whole[(before * 8).div_ceil(6).min(whole.len())..])
    }));
}

fn fixed(before: usize, text: &[u8]) -> Bytes {
    let whole = base64_at(before, text);
    let (from, to) = ((before * 8).div_ceil(6), (before + text.len()) * 8 / 6);
    copy(whole.get(from..to).unwrap_or_default())
}

/// Returns the Base64 (RFC 4648 §4) of `before` zero bytes and the text, without padding.
fn base64_at(before: usize, text: &[u8]) -> Bytes {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let length = before + text.len();
    let mut out = Zeroizing::new(Vec::with_capacity(length.div_ceil(3) * 4));
    let byte = |at: usize| at.checked_sub(before).and_then(|at| text.get(at)).copied().unwrap_or(0);
    for group in (0..length).step_by(3) {
        let number = u32::from_be_bytes([0, byte(group), byte(group + 1), byte(group + 2)]);
        for place in 0..4 {
            if group * 8 + place * 6 < length * 8 {
                out.push(ALPHABET[(number >> (18 - 6 * place) & 63) as usize]);
            }
        }
    }
    out
}

fn copy(text: &[u8]) -> Bytes {
    Zeroizing::new(text.to_vec())
}

/// Returns each byte as `map` writes it, in at most `most` bytes, so that the allocation never
/// moves.
fn mapped(text: &[u8], most: usize, map: impl Fn(usize, u8, &mut Vec<u8>)) -> Bytes {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * most));
    for (at, b) in text.iter().enumerate() {
        map(at, *b, &mut out);
    }
    out
}
