//! How programs write a secret down: as it is, line by line, as Base64, percent-encoded, escaped for JSON, XML or a shell, in hexadecimal.
//!
//! A list that no list like it can finish: a program may write a secret down in a way that nobody thought of.

use zeroize::Zeroizing;

use crate::{MIN, members};

/// A secret in one form, in memory that is wiped.
pub(crate) type Form = Zeroizing<Vec<u8>>;

/// The widths at which Base64 is wrapped: MIME (RFC 2045, 6.8) and coreutils, PEM (RFC 7468).
const WIDTHS: [usize; 2] = [76, 64];

/// All forms of a secret that are looked for; none when it is too short for that.
pub(crate) fn of(secret: &[u8]) -> Vec<Form> {
    // A newline at the end gets lost on many ways, and what is masked without it is masked with it.
    let trimmed = secret.trim_ascii();
    let core = if trimmed.len() < MIN { secret } else { trimmed };
    let mut forms = Vec::new();
    if core.len() < MIN {
        return forms;
    }
    written(core, &mut forms);
    forms.extend(members::lines(core));
    for member in members::members(core) {
        written(&member, &mut forms);
        forms.extend(members::lines(&member));
        forms.push(member);
    }
    forms
}

/// One text in every form.
fn written(text: &[u8], forms: &mut Vec<Form>) {
    forms.push(copy(text));
    base64(text, forms);
    for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        forms.push(mapped(text, |b, out| out.extend_from_slice(&hex(b, digits))));
        percent(text, digits, forms);
    }
    json(text, forms);
    quoted(text, forms);
}

fn copy(text: &[u8]) -> Form {
    Zeroizing::new(text.to_vec())
}

/// Every byte in another way, in an allocation that never moves: none becomes more than six bytes.
fn mapped(text: &[u8], map: impl Fn(u8, &mut Vec<u8>)) -> Form {
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 6));
    for &b in text {
        map(b, &mut out);
    }
    out
}

fn hex(b: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(b >> 4)], digits[usize::from(b & 15)]]
}

/// Base64 (RFC 4648, 4 and 5) of whatever has the text in it: what the text becomes depends on how many bytes are before it, modulo three, and the
/// characters at its edges on its neighbours too. Those that do not are looked for; and what it becomes at the very end, with and without padding.
fn base64(text: &[u8], forms: &mut Vec<Form>) {
    const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const URL_SAFE: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for alphabet in [STANDARD, URL_SAFE] {
        for before in 0..3 {
            let whole = base64_behind(before, text, alphabet);
            let bits = (before + text.len()) * 8;
            let (from, to) = ((before * 8).div_ceil(6), bits / 6);
            if from < to {
                forms.push(copy(&whole[from..to]));
            }
            let unpadded = bits.div_ceil(6);
            if to < unpadded {
                forms.push(copy(&whole[from..unpadded]));
                forms.push(copy(&whole[from..]));
            }
            for width in WIDTHS.into_iter().filter(|width| before == 0 && whole.len() > *width) {
                let lines = whole.chunks(width).filter(|line| line.len() >= members::LINE);
                forms.extend(lines.map(copy));
            }
        }
    }
}

/// Base64 of so many zero bytes and the text, padded.
fn base64_behind(before: usize, text: &[u8], alphabet: &[u8; 64]) -> Form {
    let len = before + text.len();
    let mut out = Zeroizing::new(Vec::with_capacity(len.div_ceil(3) * 4));
    let byte = |at: usize| at.checked_sub(before).and_then(|at| text.get(at)).copied().unwrap_or(0);
    for group in (0..len).step_by(3) {
        let three = [byte(group), byte(group + 1), byte(group + 2)];
        let number = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for place in 0..4 {
            let used = group * 8 + place * 6 < len * 8;
            let six = (number >> (18 - 6 * place)) & 63;
            out.push(if used { alphabet[six as usize] } else { b'=' });
        }
    }
    out
}

/// Percent-encoding (RFC 3986, 2.1) as it is usually done.
fn percent(text: &[u8], digits: &[u8; 16], forms: &mut Vec<Form>) {
    // What is kept besides letters and digits, and whether a blank becomes a plus sign.
    const KEPT: [(&[u8], bool); 8] = [
        (b"-._~", false),                 // RFC 3986, and Python's quote with nothing safe
        (b"-._~", true),                  // Go, Python's quote_plus
        (b"-._~/", false),                // Python's quote
        (b"-_.!~*'()", false),            // encodeURIComponent
        (b"-_.!~*'();/?:@&=+$,#", false), // encodeURI
        (b"*-._", true),                  // forms (URL Standard, 5.2)
        (b"-_.!~*'()$&+,%\\`^|", false),  // user and password of a URL, in curl's and browsers' ways
        (b"-_.", true),                   // PHP's urlencode
    ];
    for (kept, plus) in KEPT {
        forms.push(mapped(text, |b, out| match b {
            b' ' if plus => out.push(b'+'),
            b if b.is_ascii_alphanumeric() || kept.contains(&b) => out.push(b),
            b => {
                out.push(b'%');
                out.extend_from_slice(&hex(b, digits));
            }
        }));
    }
}

/// Inside a JSON string (RFC 8259, 7): only what must be escaped; with `/` too; with `<`, `>` and `&` too; and inside a string inside a string.
fn json(text: &[u8], forms: &mut Vec<Form>) {
    let once = mapped(text, |b, out| json_byte(b, b"", out));
    forms.push(mapped(&once, |b, out| json_byte(b, b"", out)));
    forms.push(once);
    forms.push(mapped(text, |b, out| json_byte(b, b"<>&", out)));
    let slashes = |b: u8, out: &mut Vec<u8>| match b {
        b'/' => out.extend_from_slice(b"\\/"),
        b => json_byte(b, b"", out),
    };
    forms.push(mapped(text, slashes));
    // In ASCII alone, as Python and PHP write it.
    if let Some(text) = std::str::from_utf8(text).ok().filter(|text| !text.is_ascii()) {
        for slash in [false, true] {
            let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 6));
            for c in text.chars() {
                match c {
                    c if !c.is_ascii() => {
                        for unit in c.encode_utf16(&mut [0; 2]) {
                            let [high, low] = unit.to_be_bytes();
                            out.extend_from_slice(b"\\u");
                            out.extend_from_slice(&hex(high, b"0123456789abcdef"));
                            out.extend_from_slice(&hex(low, b"0123456789abcdef"));
                        }
                    }
                    c => {
                        let b = u8::try_from(c).expect("an ASCII character is a byte");
                        if slash { slashes(b, &mut out) } else { json_byte(b, b"", &mut out) }
                    }
                }
            }
            forms.push(out);
        }
    }
}

fn json_byte(b: u8, more: &[u8], out: &mut Vec<u8>) {
    let letter = match b {
        b'"' | b'\\' => b,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        b if b < 0x20 || more.contains(&b) => {
            out.extend_from_slice(b"\\u00");
            return out.extend_from_slice(&hex(b, b"0123456789abcdef"));
        }
        b => return out.push(b),
    };
    out.extend_from_slice(&[b'\\', letter]);
}

/// In quotes of a shell, of a program's debugging output, and in XML.
fn quoted(text: &[u8], forms: &mut Vec<Form>) {
    let replacing = |pairs: &[(u8, &[u8])]| {
        mapped(text, |b, out| match pairs.iter().find(|(from, _)| *from == b) {
            Some((_, to)) => out.extend_from_slice(to),
            None => out.push(b),
        })
    };
    let unprinted: [(u8, &[u8]); 4] = [(b'\\', b"\\\\"), (b'\n', b"\\n"), (b'\r', b"\\r"), (b'\t', b"\\t")];
    let and = |more: (u8, &'static [u8])| [&unprinted[..], &[more]].concat();
    let xml: [(u8, &[u8]); 3] = [(b'&', b"&amp;"), (b'<', b"&lt;"), (b'>', b"&gt;")];
    let xml_and = |more: [(u8, &'static [u8]); 2]| [&xml[..], &more].concat();
    forms.push(replacing(&[(b'\'', b"'\\''")]));
    forms.push(replacing(&[(b'\'', b"'\"'\"'")]));
    forms.push(replacing(&unprinted));
    forms.push(replacing(&and((b'\'', b"\\'"))));
    forms.push(replacing(&xml));
    forms.push(replacing(&xml_and([(b'"', b"&quot;"), (b'\'', b"&#39;")])));
    forms.push(replacing(&xml_and([(b'"', b"&quot;"), (b'\'', b"&#x27;")])));
    forms.push(replacing(&xml_and([(b'"', b"&#34;"), (b'\'', b"&#39;")])));
    // `printf %q` of bash.
    forms.push(mapped(text, |b, out| {
        if !b.is_ascii_alphanumeric() && !b"_-./:=@%+".contains(&b) && b.is_ascii_graphic() || b == b' ' {
            out.push(b'\\');
        }
        out.push(b);
    }));
}
