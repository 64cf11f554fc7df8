//! A look through all of a process's memory, as root, for what is left of a secret: whole, in
//! pieces, and in every form it may have been brought into on its way.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;

/// A piece is so long: nothing that short is a coincidence, and hardly a piece of a secret that was
/// left somewhere is shorter.
const PIECE: usize = 12;
/// Distance between the beginnings of pieces: any leftover of `PIECE + STEP` bytes in a
/// row is seen.
const STEP: usize = 4;

/// Secrets to search for.
pub(crate) struct Needles(Vec<Needle>);

struct Needle {
    form: String,
    bytes: Vec<u8>,
    /// It is the secret as it was given, and so may lie where secrets do.
    plain: bool,
}

impl Needles {
    /// Of these secrets, which must have no piece in common.
    pub(crate) fn of(secrets: &[&str]) -> Self {
        let mut all: Vec<Needle> = Vec::new();
        for (number, secret) in secrets.iter().enumerate() {
            let plain = pieces(secret.as_bytes()).enumerate();
            let plain = plain.map(|(at, piece)| (format!("bytes {}…", at * STEP), piece.to_vec(), true));
            // A form that changes nothing is not another form.
            let changed = |bytes: &[u8]| !secret.as_bytes().windows(bytes.len()).any(|same| same == bytes);
            let others = forms(secret).into_iter().filter(|(_, bytes)| changed(bytes));
            for (form, bytes, plain) in plain.chain(others.map(|(form, bytes)| (form, bytes, false))) {
                if all.iter().all(|known| known.bytes != bytes) {
                    all.push(Needle { form: format!("secret {number}, {form}"), bytes, plain });
                }
            }
        }
        Needles(all)
    }
}

fn pieces(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.windows(PIECE).step_by(STEP)
}

/// Each half of a secret in each form but its own, with a name.
fn forms(secret: &str) -> Vec<(String, Vec<u8>)> {
    let middle = secret.char_indices().nth(secret.chars().count() / 2).unwrap().0;
    let mut forms = Vec::new();
    for half in [&secret[..middle], &secret[middle..]] {
        let bytes = half.as_bytes();
        let wide = |order: fn(u16) -> [u8; 2]| half.encode_utf16().flat_map(order).collect::<Vec<u8>>();
        forms.push(("UTF-16LE".to_owned(), wide(u16::to_le_bytes)));
        // Without the first byte: no needle begins with a zero.
        forms.push(("UTF-16BE".to_owned(), wide(u16::to_be_bytes).split_off(1)));
        forms.push(("JSON".to_owned(), json(half, false).into_bytes()));
        forms.push(("JSON, ASCII".to_owned(), json(half, true).into_bytes()));
        forms.push(("JSON, ASCII, large digits".to_owned(), large_digits(&json(half, true)).into_bytes()));
        for skipped in 0..3 {
            forms.push((format!("base64 from byte {skipped}"), base64(&bytes[skipped..])));
        }
        let hex = bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        forms.push(("hex, large".to_owned(), hex.to_uppercase().into_bytes()));
        forms.push(("hex".to_owned(), hex.into_bytes()));
    }
    forms
}

/// Content of a JSON string, without its quotes.
pub(crate) fn json(text: &str, ascii: bool) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' || ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").unwrap();
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// As [`json`], with `\u00E9` in the place of `\u00e9`.
fn large_digits(json: &str) -> String {
    let mut parts = json.split("\\u");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| format!("{text}\\u{}{}", part[..4].to_uppercase(), &part[4..]))
}

/// The digits that depend on no byte beyond these.
fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = three.iter().fold(0_usize, |bits, &byte| bits << 8 | usize::from(byte));
        [18, 12, 6, 0].map(|shift| DIGITS[bits >> shift & 63])
    };
    bytes.chunks_exact(3).flat_map(digits).collect()
}

/// Result of a scan.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Number of occurrences of each piece in its plain form; missing pieces are not listed.
    plain: BTreeMap<usize, usize>,
    /// Number of such pieces.
    pieces: usize,
    /// Everything else, in words.
    pub(crate) otherwise: Vec<String>,
    /// Description of the places of plain pieces.
    pub(crate) places: Vec<String>,
    /// Bytes of pages that cannot be read from outside.
    pub(crate) hidden: usize,
}

impl Found {
    /// Number of whole copies of every secret: as many of each piece, and
    /// nothing in any other form. `Err` says what there is if that is not so.
    pub(crate) fn copies(&self) -> Result<usize, String> {
        let least =
            if self.plain.len() < self.pieces { 0 } else { self.plain.values().copied().min().unwrap_or(0) };
        if self.otherwise.is_empty() && self.plain.values().all(|count| *count == least) {
            return Ok(least);
        }
        Err(format!(
            "{} of {} pieces: {:#?}; {:#?}",
            self.plain.len(),
            self.pieces,
            self.places,
            self.otherwise
        ))
    }
}

/// Looks for them in a process.
pub(crate) fn look(pid: u32, needles: &Needles) -> Found {
    // It may give pages back while it is looked at.
    let found = (0..50).find_map(|_| try_to_look(pid, needles));
    found.expect("memory that stays as it is for the length of a look")
}

/// `None` when some of its memory went away meanwhile.
fn try_to_look(pid: u32, needles: &Needles) -> Option<Found> {
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let maps = || fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let pieces = needles.0.iter().filter(|needle| needle.plain).count();
    let mut found = Found { pieces, ..Found::default() };
    let begins = beginnings(needles);
    for line in maps().lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let name = fields.nth(3).unwrap_or("nameless");
        // What cannot be written to holds what its file does.
        if !rights.starts_with("rw") {
            continue;
        }
        let (from, to) = range.split_once('-').unwrap();
        let [from, to] = [from, to].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut bytes, from).is_err() {
            if !name.starts_with("/secretmem") {
                assert!(!maps().lines().any(|same| same == line), "{line} cannot be read");
                return None;
            }
            found.hidden += bytes.len();
            continue;
        }
        look_in(&bytes, needles, &begins, |needle, at| {
            let place = format!("{} at {name} {:x}", needles.0[needle].form, from + at as u64);
            if needles.0[needle].plain {
                *found.plain.entry(needle).or_default() += 1;
                found.places.push(place);
            } else {
                found.otherwise.push(place);
            }
        });
    }
    Some(found)
}

/// The needles by their first two bytes.
fn beginnings(needles: &Needles) -> Vec<Vec<usize>> {
    let mut begins = vec![Vec::new(); 1 << 16];
    for (number, needle) in needles.0.iter().enumerate() {
        begins[usize::from(u16::from_le_bytes([needle.bytes[0], needle.bytes[1]]))].push(number);
    }
    begins
}

fn look_in(bytes: &[u8], needles: &Needles, begins: &[Vec<usize>], mut hit: impl FnMut(usize, usize)) {
    const PAGE: usize = 4096;
    for (page, part) in bytes.chunks(PAGE).enumerate() {
        // No needle begins with a zero.
        if part == [0; PAGE] {
            continue;
        }
        let start = page * PAGE;
        let reach = &bytes[start..(start + PAGE + 1).min(bytes.len())];
        for (offset, pair) in reach.windows(2).enumerate() {
            for &number in &begins[usize::from(u16::from_le_bytes([pair[0], pair[1]]))] {
                if bytes[start + offset..].starts_with(&needles.0[number].bytes) {
                    hit(number, start + offset);
                }
            }
        }
    }
}

#[test]
fn scan_finds_every_form() {
    let secret = "kX\"9vö\nTz漢4q😀Lw7\tRé\"m\\Hs\u{1}ßJd字0pQ";
    let half = "kX\"9vö\nTz漢4q😀Lw7";
    assert_eq!(json(half, false), "kX\\\"9vö\\nTz漢4q😀Lw7");
    assert_eq!(json(half, true), "kX\\\"9v\\u00f6\\nTz\\u6f224q\\ud83d\\ude00Lw7");
    assert_eq!(large_digits(&json(half, true)), "kX\\\"9v\\u00F6\\nTz\\u6F224q\\uD83D\\uDE00Lw7");
    assert_eq!(base64(b"hunter2"), b"aHVudGVy");
    let needles = Needles::of(&[secret]);
    let begins = beginnings(&needles);
    // Across the end of a page, and at the very end.
    for needle in &needles.0 {
        for at in [0, 4096 - 7, 4095, 3 * 4096 - needle.bytes.len()] {
            let mut bytes = vec![0; 3 * 4096];
            bytes[at..][..needle.bytes.len()].copy_from_slice(&needle.bytes);
            let mut places = Vec::new();
            look_in(&bytes, &needles, &begins, |_, at| places.push(at));
            assert!(places.contains(&at), "{} at {at}", needle.form);
        }
    }
}
