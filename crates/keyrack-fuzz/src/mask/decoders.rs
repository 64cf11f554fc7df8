//! Decoders that a reader of masked output may apply, one after the other, each as simple as
//! possible.
//!
//! They share no code with the masker.

use std::collections::BTreeSet;

/// Decoder of a text. It returns every reading.
type Decoder = fn(&[u8]) -> Vec<Vec<u8>>;

/// Decoders that are applied to every text.
const DECODERS: [Decoder; 10] =
    [terminal, blanks, backslashes, percent, html, quoted_printable, doubled, base64, hex, decimal];

/// Decoders of escapes, which keep every other character.
const UNESCAPERS: [Decoder; 4] = [backslashes, percent_alone, html, quoted_printable];

/// Most decoders that are applied one after the other.
const LEVELS: usize = 4;

/// Most texts that are searched.
const TEXTS: usize = 600;

/// Returns a text and all its readings.
pub fn decoded(text: &[u8]) -> BTreeSet<Vec<u8>> {
    readings(text, &DECODERS, 2)
}

/// Returns a text and all its readings as escapes.
pub fn unescaped(text: &[u8]) -> BTreeSet<Vec<u8>> {
    readings(text, &UNESCAPERS, 1)
}

/// Applies these decoders one after the other. A reading that is shorter than `shortest` is left
/// out.
fn readings(text: &[u8], decoders: &[Decoder], shortest: usize) -> BTreeSet<Vec<u8>> {
    let mut all = BTreeSet::from([text.to_vec()]);
    let mut fresh = vec![text.to_vec()];
    for _ in 0..LEVELS {
        let mut next = Vec::new();
        for text in &fresh {
            for decoder in decoders {
                for out in decoder(text) {
                    if all.len() < TEXTS && out.len() >= shortest && all.insert(out.clone()) {
                        next.push(out);
                    }
                }
            }
        }
        fresh = next;
    }
    all
}

/// Returns the runs of `secret` of this length that can be read in a text.
pub fn readable(secret: &[u8], text: &[u8], length: usize) -> BTreeSet<Vec<u8>> {
    let texts = decoded(text);
    let is_read = |run: &&[u8]| texts.iter().any(|text| text.windows(length).any(|window| window == *run));
    secret.windows(length).filter(is_read).map(<[u8]>::to_vec).collect()
}

/// Fewest bytes of a secret in a row that may not be readable: six, or a quarter of a short one.
pub fn telling(secret: &[u8]) -> usize {
    if secret.len() < 24 { secret.len().div_ceil(4) } else { 6 }
}

/// Without terminal sequences; and the payloads of those that have one.
fn terminal(text: &[u8]) -> Vec<Vec<u8>> {
    let (mut plain, mut payloads) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let [b, tail @ ..] = rest {
        rest = tail;
        if *b != 0x1b {
            plain.push(*b);
            continue;
        }
        match tail {
            [b'[', tail @ ..] => {
                let end = tail.iter().position(|b| (0x40..0x7f).contains(b)).map_or(tail.len(), |at| at + 1);
                rest = &tail[end..];
            }
            [b']', tail @ ..] => {
                let end = tail.iter().position(|b| *b == 7 || *b == 0x1b).unwrap_or(tail.len());
                payloads.extend_from_slice(&tail[..end]);
                payloads.push(b'\n');
                rest = &tail[end..];
                rest = rest.strip_prefix(b"\x07").or(rest.strip_prefix(b"\x1b\\")).unwrap_or(rest);
            }
            _ => {}
        }
    }
    vec![plain, payloads]
}

/// Without what separates: white space, quotes, NULs.
fn blanks(text: &[u8]) -> Vec<Vec<u8>> {
    let dropped = |b: &u8| b.is_ascii_whitespace() || b"'\"`\0".contains(b);
    vec![
        text.iter().copied().filter(|b| !b.is_ascii_whitespace() && *b != 0).collect(),
        text.iter().copied().filter(|b| !dropped(b)).collect(),
    ]
}

fn digits(text: &[u8], count: usize, radix: u32) -> Option<u32> {
    let digits = std::str::from_utf8(text.get(..count)?).ok()?;
    u32::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with('+'))
}

fn push_character(value: u32, out: &mut Vec<u8>) {
    let c = char::from_u32(value).unwrap_or('\u{fffd}');
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Escapes of JSON, C, Python and shells; a backslash before anything else, and before a line's
/// end, is dropped.
fn backslashes(text: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [b, tail @ ..] = rest {
        rest = tail;
        let (b'\\', [kind, tail @ ..]) = (*b, tail) else {
            out.push(*b);
            continue;
        };
        rest = tail;
        match kind {
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'e' | b'E' => out.push(0x1b),
            b'u' | b'U' | b'x' => {
                let count = match kind {
                    b'u' => 4,
                    b'U' => 8,
                    _ => 2,
                };
                let Some(mut value) = digits(tail, count, 16) else {
                    out.push(*kind);
                    continue;
                };
                rest = &tail[count..];
                if (0xd800..0xdc00).contains(&value)
                    && rest.starts_with(b"\\u")
                    && let Some(low) = digits(&rest[2..], 4, 16).filter(|low| (0xdc00..0xe000).contains(low))
                {
                    value = 0x1_0000 + ((value - 0xd800) << 10) + (low - 0xdc00);
                    rest = &rest[6..];
                }
                if *kind == b'x' { out.push(value.to_le_bytes()[0]) } else { push_character(value, &mut out) }
            }
            b'0'..=b'7' => {
                let more = tail.iter().take(2).take_while(|b| (b'0'..=b'7').contains(*b)).count();
                let all = [&[*kind], &tail[..more]].concat();
                out.push(digits(&all, all.len(), 8).unwrap_or(0).to_le_bytes()[0]);
                rest = &tail[more..];
            }
            b'\n' => {}
            other => out.push(*other),
        }
    }
    vec![out]
}

fn percent(text: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [b, tail @ ..] = rest {
        rest = tail;
        match (b, digits(tail, 2, 16)) {
            (b'%', Some(value)) => {
                out.push(value.to_le_bytes()[0]);
                rest = &tail[2..];
            }
            _ => out.push(*b),
        }
    }
    let plus = out.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    vec![out, plus]
}

/// Without the reading of a plus sign as a blank.
fn percent_alone(text: &[u8]) -> Vec<Vec<u8>> {
    percent(text).into_iter().take(1).collect()
}

fn html(text: &[u8]) -> Vec<Vec<u8>> {
    const NAMES: [(&str, u32); 14] = [
        ("amp", 38),
        ("lt", 60),
        ("gt", 62),
        ("quot", 34),
        ("apos", 39),
        ("equals", 61),
        ("plus", 43),
        ("sol", 47),
        ("dollar", 36),
        ("percnt", 37),
        ("commat", 64),
        ("bsol", 92),
        ("nbsp", 32),
        ("eacute", 233),
    ];
    let mut out = Vec::new();
    let mut rest = text;
    while let [b, tail @ ..] = rest {
        rest = tail;
        let end = tail.iter().position(|b| *b == b';').filter(|_| *b == b'&');
        let value = end.and_then(|end| {
            let name = std::str::from_utf8(&tail[..end]).ok()?;
            match name.strip_prefix('#') {
                Some(number) => match number.strip_prefix(['x', 'X']) {
                    Some(hex) => u32::from_str_radix(hex, 16).ok(),
                    None => number.parse().ok(),
                },
                None => NAMES.iter().find(|(known, _)| *known == name).map(|(_, value)| *value),
            }
        });
        match (value, end) {
            (Some(value), Some(end)) => {
                push_character(value, &mut out);
                rest = &tail[end + 1..];
            }
            _ => out.push(*b),
        }
    }
    vec![out]
}

fn quoted_printable(text: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [b, tail @ ..] = rest {
        rest = tail;
        match (b, tail, digits(tail, 2, 16)) {
            (b'=', _, Some(value)) => {
                out.push(value.to_le_bytes()[0]);
                rest = &tail[2..];
            }
            (b'=', [b'\r', b'\n', tail @ ..] | [b'\n', tail @ ..], _) => rest = tail,
            _ => out.push(*b),
        }
    }
    vec![out]
}

/// Doubled quotes and dollars.
fn doubled(text: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let [b, tail @ ..] = rest {
        rest = tail;
        out.push(*b);
        if b"'\"$".contains(b) && tail.first() == Some(b) {
            rest = &tail[1..];
        }
    }
    vec![out]
}

/// Runs of the characters that `value` knows, passing over the others that `is_passed`.
fn runs(text: &[u8], value: fn(u8) -> Option<u8>, is_passed: fn(u8) -> bool) -> Vec<Vec<u8>> {
    let mut runs = vec![Vec::new()];
    for b in text {
        match value(*b) {
            Some(value) => runs.last_mut().expect("there is one").push(value),
            None if is_passed(*b) => {}
            None => runs.push(Vec::new()),
        }
    }
    runs
}

fn base64(text: &[u8]) -> Vec<Vec<u8>> {
    let value = |b: u8| match b {
        b'A'..=b'Z' => Some(b - b'A'),
        b'a'..=b'z' => Some(b - b'a' + 26),
        b'0'..=b'9' => Some(b - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    };
    let runs = runs(text, value, |b| b.is_ascii_whitespace());
    let decode = |offset: usize| {
        let mut out = Vec::new();
        for run in runs.iter().filter(|run| run.len() >= offset + 4) {
            for four in run[offset..].chunks(4) {
                let number =
                    four.iter().fold(0_u32, |all, six| all << 6 | u32::from(*six)) << (6 * (4 - four.len()));
                out.extend_from_slice(&number.to_be_bytes()[1..four.len()]);
            }
            out.push(b'\n');
        }
        out
    };
    (0..4).map(decode).collect()
}

fn hex(text: &[u8]) -> Vec<Vec<u8>> {
    let value = |b: u8| char::from(b).to_digit(16).map(|digit| digit.to_le_bytes()[0]);
    let without = String::from_utf8_lossy(text).replace("0x", "");
    let runs = runs(without.as_bytes(), value, |b| b.is_ascii_whitespace() || b":-,".contains(&b));
    let decode = |offset: usize| {
        let mut out = Vec::new();
        for run in runs.iter().filter(|run| run.len() >= offset + 4) {
            out.extend(run[offset..].chunks_exact(2).map(|two| two[0] << 4 | two[1]));
            out.push(b'\n');
        }
        out
    };
    (0..2).map(decode).collect()
}

fn decimal(text: &[u8]) -> Vec<Vec<u8>> {
    let text = String::from_utf8_lossy(text);
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|number| !number.is_empty());
    vec![numbers.map(|number| number.parse().unwrap_or(b'\n')).collect()]
}
