//! A JSON object as its members lie in the text: enough to take one value out or change one member and leave every other byte as it was.
//!
//! No value is turned into anything on the way: a secret stays where it is until [`unescape`] copies it, once, into memory that is
//! wiped. Errors say where and what, never what stands there. RFC 8259.

use std::ops::Range;

use zeroize::Zeroizing;

/// Objects and arrays within one another. The files in use have two levels.
const MAX_DEPTH: usize = 32;

/// Where the text is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirectFileError {
    /// Byte offset.
    pub(super) at: usize,
    /// In words that fit behind a place.
    pub(super) why: &'static str,
}

/// One `"name": value` of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// The name, unescaped. Names are not secret.
    pub(super) name: String,
    /// From the name's quote to the value's last byte.
    pub(super) span: Range<usize>,
    /// The value.
    pub(super) value: Range<usize>,
}

/// An object and its members, in the order of the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Object {
    pub(super) members: Vec<Member>,
    /// Behind the opening brace.
    pub(super) start: usize,
    /// Of the closing brace.
    pub(super) end: usize,
}

impl Object {
    /// Reads the object that is `span` of the text, and nothing else beside white space.
    pub(super) fn scan(text: &str, span: Range<usize>) -> Result<Self, DirectFileError> {
        let mut cursor = Cursor { text: &text.as_bytes()[..span.end], at: span.start };
        cursor.blank();
        cursor.expect(b'{', "an object is expected")?;
        let start = cursor.at;
        let mut members = Vec::new();
        cursor.blank();
        if !cursor.eat(b'}') {
            loop {
                cursor.blank();
                let from = cursor.at;
                let name = cursor.string()?;
                let name = unescape(&text[name]).map_err(|why| DirectFileError { at: from, why })?;
                let name = std::str::from_utf8(&name).expect("unescaped text is UTF-8").to_owned();
                cursor.blank();
                cursor.expect(b':', "a colon is expected")?;
                cursor.blank();
                let value = cursor.value(0)?;
                members.push(Member { name, span: from..value.end, value });
                cursor.blank();
                if cursor.eat(b'}') {
                    break;
                }
                cursor.expect(b',', "a comma or a closing brace is expected")?;
            }
        }
        let end = cursor.at - 1;
        cursor.blank();
        if cursor.at != cursor.text.len() {
            return Err(cursor.broken("nothing may follow here"));
        }
        Ok(Object { members, start, end })
    }

    /// The last member of this name: the one that counts for every reader in use.
    pub(super) fn get(&self, name: &str) -> Option<&Member> {
        self.members.iter().rev().find(|member| member.name == name)
    }

    /// Where to cut the text so that no member of this name is left and the others stay as they are.
    pub(super) fn cuts(&self, name: &str) -> Vec<Range<usize>> {
        let mut cuts = Vec::new();
        // The end of the last member that stays: what lies between it and the next one that stays goes with those cut between them.
        let mut kept: Option<usize> = None;
        let mut pending: Option<Range<usize>> = None;
        for member in &self.members {
            if member.name == name {
                let from = pending.map_or(member.span.start, |cut| cut.start);
                pending = Some(from..member.span.end);
                continue;
            }
            if let Some(cut) = pending.take() {
                match kept {
                    // `a, [x,] b`: from the end of a to the end of the last x.
                    Some(end) => cuts.push(end..cut.end),
                    // `[x, ]b`: from the first x to b.
                    None => cuts.push(cut.start..member.span.start),
                }
            }
            kept = Some(member.span.end);
        }
        if let Some(cut) = pending {
            match kept {
                Some(end) => cuts.push(end..cut.end),
                None => cuts.push(self.start..self.end),
            }
        }
        cuts
    }
}

/// Whether the value at `span` is a string; then the text between its quotes.
pub(super) fn string_at<'t>(text: &'t str, span: &Range<usize>) -> Option<&'t str> {
    text[span.clone()].strip_prefix('"')?.strip_suffix('"')
}

struct Cursor<'t> {
    text: &'t [u8],
    at: usize,
}

impl Cursor<'_> {
    fn broken(&self, why: &'static str) -> DirectFileError {
        DirectFileError { at: self.at, why }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8, why: &'static str) -> Result<(), DirectFileError> {
        if self.eat(byte) { Ok(()) } else { Err(self.broken(why)) }
    }

    /// Goes over a string, and says where the text between its quotes is.
    fn string(&mut self) -> Result<Range<usize>, DirectFileError> {
        self.expect(b'"', "a string is expected")?;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(start..self.at - 1);
                }
                // What follows the backslash is judged by `unescape`; here only that it does not end the string.
                Some(b'\\') => self.at += 2,
                Some(0..0x20) => return Err(self.broken("a control character stands in a string")),
                Some(_) => self.at += 1,
                None => {
                    self.at = self.text.len();
                    return Err(self.broken("a string does not end"));
                }
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Range<usize>, DirectFileError> {
        let start = self.at;
        match self.peek() {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'{' | b'[') if depth == MAX_DEPTH => return Err(self.broken("it is nested too deeply")),
            Some(b'{') => self.items(b'}', depth, true)?,
            Some(b'[') => self.items(b']', depth, false)?,
            Some(b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => self.word()?,
            _ => return Err(self.broken("a value is expected")),
        }
        Ok(start..self.at)
    }

    fn items(&mut self, close: u8, depth: usize, named: bool) -> Result<(), DirectFileError> {
        self.at += 1;
        self.blank();
        if self.eat(close) {
            return Ok(());
        }
        loop {
            self.blank();
            if named {
                self.string()?;
                self.blank();
                self.expect(b':', "a colon is expected")?;
                self.blank();
            }
            self.value(depth + 1)?;
            self.blank();
            if self.eat(close) {
                return Ok(());
            }
            self.expect(b',', "a comma is expected")?;
        }
    }

    /// A number or one of the three words. A number only has to look like one: nobody reads it.
    fn word(&mut self) -> Result<(), DirectFileError> {
        let start = self.at;
        while matches!(self.peek(), Some(b'-' | b'+' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')) {
            self.at += 1;
        }
        let word = &self.text[start..self.at];
        let number =
            |word: &[u8]| word.iter().all(|b| matches!(b, b'-' | b'+' | b'.' | b'0'..=b'9' | b'e' | b'E'));
        if matches!(word, b"true" | b"false" | b"null") || number(word) {
            return Ok(());
        }
        self.at = start;
        Err(self.broken("a value is expected"))
    }
}

/// The bytes a string stands for, copied once into memory that is wiped and does not move.
pub(super) fn unescape(raw: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const BAD: &str = "an escape is none";
    // No escape is shorter than what it stands for.
    let mut out = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, after) = rest.split_first().ok_or(BAD)?;
        rest = after;
        out.push(match kind {
            b'"' | b'\\' | b'/' => kind,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let c = take_unicode(&mut rest)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            _ => return Err(BAD),
        });
    }
    Ok(out)
}

fn take_unicode(rest: &mut &[u8]) -> Result<char, &'static str> {
    const HALF: &str = "a string holds half a character";
    let first = take_hex(rest)?;
    if !(0xd800..0xe000).contains(&first) {
        return char::from_u32(first).ok_or(HALF);
    }
    *rest = rest.strip_prefix(b"\\u").ok_or(HALF)?;
    let second = take_hex(rest)?;
    if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
        return Err(HALF);
    }
    char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00)).ok_or(HALF)
}

fn take_hex(rest: &mut &[u8]) -> Result<u32, &'static str> {
    const BAD: &str = "an escape is none";
    let (digits, after) = rest.split_first_chunk::<4>().ok_or(BAD)?;
    *rest = after;
    digits.iter().try_fold(0, |sum, &digit| Some(sum * 16 + char::from(digit).to_digit(16)?)).ok_or(BAD)
}

/// The most bytes a string of `len` bytes takes when written.
pub(super) fn escaped_limit(len: usize) -> usize {
    len * 6 + 2
}

/// Appends `text` as a JSON string. `out` must have [`escaped_limit`] to spare, or it would move and leave a copy behind.
pub(super) fn escape_into(out: &mut Vec<u8>, text: &str) {
    debug_assert!(
        out.capacity() - out.len() >= escaped_limit(text.len()),
        "a secret must not be moved about"
    );
    out.push(b'"');
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..0x20 => {
                let hex = |n: u8| b"0123456789abcdef"[usize::from(n & 15)];
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(byte >> 4), hex(byte)]);
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}
