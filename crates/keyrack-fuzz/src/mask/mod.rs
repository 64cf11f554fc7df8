//! The masker: for any form in which a program writes a secret, no decoder reads the secret from
//! the masked text; and the output does not depend on how the text is cut.

pub mod decoders;
pub mod writers;

use std::collections::BTreeSet;
use std::sync::Arc;

use keyrack_mask::{MASK, MIN, Masker, Patterns};

use decoders::{readable, telling, unescaped};
use writers::{BREAKS, ENCODINGS, ESCAPES, broken};

/// Longest secret of an input.
const LONGEST: usize = 80;

/// Text around a secret.
pub const AROUND: &[&str] = &[
    "",
    " ",
    "\n",
    "\"",
    "'",
    "=",
    ":",
    "/",
    "@",
    ",",
    "(",
    "[",
    "{\"k\":\"",
    "TOKEN=",
    "?k=",
    "&k=",
    "&amp;",
    "%20",
    "%",
    "\\",
    "\\n",
    "\\\"",
    "\\\\",
    "\x1b[1m",
    "4",
    "a",
    "\u{e9}",
    "0x",
    "<b>",
    "$",
    "$'",
    "***",
    ">",
    "=3D",
    "&#61;",
    "\\u003d",
    "\t",
    "\0",
];

/// Form of a secret in a text.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// Index in [`ENCODINGS`], or none of them.
    pub encoding: Option<usize>,
    /// Bytes that are encoded before the secret.
    pub offset: usize,
    /// Index in [`ESCAPES`].
    pub escape: usize,
    /// Index in [`BREAKS`].
    pub breaks: usize,
    /// Between two breaks.
    pub width: usize,
    /// Indices in [`AROUND`].
    pub around: [usize; 2],
}

impl Writing {
    /// Returns the secret in this form.
    pub fn write(&self, secret: &[u8]) -> Vec<u8> {
        broken(&self.encode(secret), ESCAPES[self.escape], BREAKS[self.breaks], self.width)
    }

    fn encode(&self, secret: &[u8]) -> Vec<u8> {
        match self.encoding.map(|index| ENCODINGS[index].1) {
            Some(encode) => encode(&[&b"\x81\x82"[..self.offset.min(2)], secret].concat()),
            None => secret.to_vec(),
        }
    }

    /// Returns what a perfect masker may leave of the secret before and after the mask.
    fn left(&self, secret: &[u8]) -> [Vec<Vec<u8>>; 2] {
        let write = |text: &[u8]| broken(text, ESCAPES[self.escape], BREAKS[self.breaks], self.width);
        match self.encoding.map(|index| ENCODINGS[index].0) {
            // Quotes, blanks and control characters at the ends of a secret, also as escapes, are
            // not part of its canonical form.
            None => {
                let cuts = 0..=secret.len().min(LONGEST_ESCAPE);
                let leads = cuts.clone().map(|count| &secret[..count]);
                let trails = cuts.map(|count| &secret[secret.len() - count..]);
                [
                    leads.filter(|lead| is_passed(lead)).map(write).collect(),
                    trails.filter(|trail| is_passed(trail)).map(write).collect(),
                ]
            }
            // The characters that also hold bits of what is encoded next to the secret,
            // and padding.
            Some(name) if name.starts_with("Base64") => {
                let encoded = self.encode(secret);
                let mut first = (self.offset.min(2) * 8).div_ceil(6);
                let mut last = encoded.iter().rposition(|b| *b != b'=').unwrap_or(0);
                if name.starts_with("Base64 of Base64") {
                    // Where they are in the inner encoding; three of its characters make four.
                    let length = self.offset.min(2) + secret.len();
                    let padding = (3 - length % 3) % 3;
                    first = (first * 8).div_ceil(6);
                    last = (length.div_ceil(3) * 4 - padding - 1) * 8 / 6;
                }
                let leads = (0..=first).map(|end| write(&encoded[..end]));
                let trails = (last..=encoded.len()).map(|start| write(&encoded[start..]));
                [leads.collect(), trails.collect()]
            }
            // What is encoded before the secret.
            Some(_) => {
                let encoded = self.encode(secret);
                let alone = Writing { offset: 0, ..*self }.encode(secret);
                let before = encoded.strip_suffix(&alone[..]).unwrap_or_default();
                [vec![Vec::new(), write(before)], vec![Vec::new()]]
            }
        }
    }

    /// Text around it.
    pub fn around(&self) -> [&'static [u8]; 2] {
        self.around.map(|index| AROUND[index % AROUND.len()].as_bytes())
    }

    /// Its name in a report.
    pub fn name(&self) -> String {
        let encoding = self.encoding.map_or("", |index| ENCODINGS[index].0);
        let [before, behind] = self.around.map(|index| AROUND[index % AROUND.len()]);
        format!(
            "{encoding} after {} bytes, {}, {} at {}, between {before:?} and {behind:?}",
            self.offset, ESCAPES[self.escape].0, BREAKS[self.breaks].0, self.width
        )
    }
}

/// Longest part of a secret, at either end, that may mean nothing.
const LONGEST_ESCAPE: usize = 16;

/// Returns `true` if a text can be read as nothing but quotes, backslashes, blanks and control
/// characters.
fn is_passed(text: &[u8]) -> bool {
    let is_nothing = |b: &u8| b" '\"`\\".contains(b) || b.is_ascii_control();
    unescaped(text).iter().any(|reading| reading.iter().all(is_nothing))
}

/// Returns the runs of the secret that can be read in the masked text, and could not be read if the
/// whole were one mask.
pub fn leaks(patterns: &Arc<Patterns>, secret: &[u8], writing: &Writing) -> Vec<Vec<u8>> {
    let [before, behind] = writing.around();
    let text = [before, &writing.write(secret), behind].concat();
    let out = masked(patterns, &text, usize::MAX);
    let length = telling(secret);
    let read = readable(secret, &out, length);
    if read.is_empty() {
        return Vec::new();
    }
    let [leads, trails] = writing.left(secret);
    let ideal: BTreeSet<Vec<u8>> = leads
        .iter()
        .flat_map(|lead| trails.iter().map(|trail| [before, lead, MASK, trail, behind].concat()))
        .flat_map(|ideal| readable(secret, &ideal, length))
        .collect();
    read.difference(&ideal).cloned().collect()
}

/// Takes the form of the secret and the cuts of the text as the first bytes; the rest is the
/// secret.
pub fn mask(data: &[u8]) {
    let Some((head, secret)) = data.split_first_chunk::<7>() else { return };
    let [cut, encoding, escape, breaks, width, before, behind] = head.map(usize::from);
    let secret = secret[..secret.len().min(LONGEST)].trim_ascii();
    if secret.windows(2).any(|pair| pair == b"**") {
        // The mask would be read as a part of it.
        return;
    }
    let writing = Writing {
        encoding: Some(encoding / 3 % (2 * ENCODINGS.len())).filter(|index| *index < ENCODINGS.len()),
        offset: encoding % 3,
        escape: escape % ESCAPES.len(),
        breaks: breaks % BREAKS.len(),
        width: width.max(1),
        around: [before % AROUND.len(), behind % AROUND.len()],
    };
    let patterns = Arc::new(Patterns::new([secret], &[7; 32]));
    let [before, behind] = writing.around();
    let text = [before, &writing.write(secret), behind].concat();
    let whole = masked(&patterns, &text, usize::MAX);
    // Of a link inside another, only the nearest text is kept, so the mask may begin a little
    // earlier or later.
    let has_links = BREAKS[writing.breaks].1.contains("]8;;");
    for step in [1, 2 + cut].into_iter().filter(|_| !has_links) {
        assert_eq!(masked(&patterns, &text, step), whole, "cut every {step} bytes");
    }
    if secret.len() >= MIN && is_promised(secret, &writing) {
        let leaks = leaks(&patterns, secret, &writing);
        assert!(leaks.is_empty(), "{}: {} leaks {leaks:?}", writing.name(), secret.escape_ascii());
    }
}

/// Returns `true` if `docs/run.md` promises to find a secret in this form.
pub fn is_promised(secret: &[u8], writing: &Writing) -> bool {
    let encoding = writing.encoding.map(|index| ENCODINGS[index].0);
    let escape = ESCAPES[writing.escape].0;
    let (_, between, tears) = BREAKS[writing.breaks];
    let is_broken = !between.is_empty();
    if encoding.is_none() && writing.escape == 0 && !is_broken {
        return true;
    }
    let is_text = std::str::from_utf8(secret).is_ok_and(|text| !text.contains(char::is_control));
    // Characters that are left when quotes, blanks and escapes are taken away, and escapes decoded.
    let left =
        |text: &[u8]| text.iter().filter(|b| !b" '\"`=\\$%&-".contains(b) && b.is_ascii_graphic()).count();
    let fewest = unescaped(secret).iter().map(|reading| left(reading)).min().unwrap_or(0);
    let is_long = fewest >= 8 && left(secret) * 2 >= secret.len();
    // A break inside text of the secret that looks like an escape, or inside an escape that its own
    // rules cut at line ends.
    let is_torn = is_broken && (secret.iter().any(|b| b"\\%&".contains(b)) || has_quoted_printable(secret))
        // `$'` begins a string of the shell.
        || between == "''" && secret.contains(&b'$')
        || tears && is_broken && (escape.starts_with("quoted-printable") || escape == "C, all octal");
    // Only a program that escapes backslashes may end a line with one.
    let is_odd = between == "\\n" && !escape.starts_with("JSON")
        // Here a plus sign is a blank between two numbers.
        || escape == "percent, form" && encoding.is_some_and(|name| !name.starts_with("Base64"));
    // A link in a text that an escape before it has taken characters of, or between a dollar and
    // what makes an escape with it.
    let is_taken = between.contains("]8;;")
        && (writing.around()[0].iter().any(|b| b"=%\\&$".contains(b))
            || secret.windows(2).any(|pair| pair[0] == b'$' && b"$'\"".contains(&pair[1])));
    // Entities of the secret's own, a NUL after each character.
    let is_wide = encoding == Some("UTF-16")
        && (is_broken
            || writing.escape > 0
            || secret.iter().any(|b| b"\\%&=".contains(b))
            || !secret.is_ascii());
    is_text && is_long && !is_torn && !is_odd && !is_taken && !is_wide
}

fn has_quoted_printable(secret: &[u8]) -> bool {
    secret.windows(2).any(|pair| pair[0] == b'=' && matches!(pair[1], b'0'..=b'9' | b'A'..=b'F'))
}

/// A text, masked as it comes in parts of `step` bytes.
pub fn masked(patterns: &Arc<Patterns>, text: &[u8], step: usize) -> Vec<u8> {
    let mut masker = Masker::new(Arc::clone(patterns));
    let mut out = Vec::new();
    for chunk in text.chunks(step.min(text.len().max(1))) {
        masker.push(chunk, &mut out);
    }
    masker.finish(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base64, hexadecimal digits and decimal numbers that mean control characters are text.
    #[test]
    fn is_passed_knows_escapes_only() {
        for text in [&br"\\3"[..], br"\n", b"%0a", b"&#10;", b"=0A", b"' \""] {
            assert!(is_passed(text), "{}", text.escape_ascii());
        }
        for text in
            [&br"\\3hunter2"[..], b"ghs_16C7", b"c2VjcmV0", b"AAAAAAAA", b"0a0d0a0d", b"1-2-3-4", b"+"]
        {
            assert!(!is_passed(text), "{}", text.escape_ascii());
        }
    }
}
