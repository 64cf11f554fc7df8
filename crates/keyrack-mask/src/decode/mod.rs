//! Canonical form of a text: every escape is decoded, and everything that writers insert between
//! the characters of a text is left out.
//!
//! | in the text | canonical |
//! |---|---|
//! | white space, control characters, quotes (`'`, `"`, `` ` ``), `=` | left out |
//! | terminal sequences (`ESC [ …`, `ESC ( B`) | left out |
//! | a backslash before a character that makes no escape with it | left out |
//! | `\n` `\t` `\e` …, `\x41`, `\101`, `\u0041`, `\u{41}`, `\U00000041`, `\ud83d\udd11` | the character |
//! | `%41`, `%u0041` | the character |
//! | `&amp;`, `&#65;`, `&#x41;` | the character |
//! | `=41` (quoted-printable, in capitals) | the character |
//! | `-`, `_` | `+`, `/`: the two alphabets of Base64 become one |
//! | `$$`, `$'`, `$"` | `$`, nothing, nothing |
//!
//! The character of an escape is read again together with the text after it, so escapes of escapes
//! are decoded too, at any depth: `%2541`, `\\u0041`, `&amp;#65;`, `\u005cx41`. Line breaks inside
//! an escape are skipped, because a text may be broken anywhere.
//!
//! The decoder makes one pass, one byte at a time, in constant memory: bytes that may become an
//! escape are kept on a short stack until they are one or cannot be one any more. The same code
//! makes a key canonical, so a part of a key that looks like an escape is decoded in both.
//!
//! The payload of an operating system command (`ESC ] 8 ; ; URL ESC \`, a link) is a text in the
//! middle of another. It stays in its place, and after it the [`Sink`] repeats the end of the text
//! before it, so that both texts are whole.

mod class;
mod entities;
mod shortcut;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use class::MAX_PARAMETERS;
use entities::entity;

pub(crate) use class::{Class, class, folded};
pub(crate) use shortcut::shortcut;

/// Destination of the canonical characters.
pub(crate) trait Sink {
    /// Takes a character, and the range of positions in the text that it comes from.
    fn put(&mut self, b: u8, start: usize, end: usize);

    /// Takes the range of an escape or a terminal sequence that is not a character.
    fn pass(&mut self, _start: usize, _end: usize) {}

    /// Begins an operating system command: its payload follows.
    fn begin_command(&mut self) {}

    /// Ends the command: the text before it continues.
    fn end_command(&mut self) {}
}

/// On the stack: a backslash before a line break. It continues the line, or the line break is
/// inside its escape.
const TORN_BACKSLASH: u8 = 1;

/// On the stack: the first half of a surrogate pair.
const HIGH_SURROGATE: u8 = 2;

/// Greatest depth of the stack. An escape has at most 12 characters, and one may be inside another.
const DEPTH: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminal {
    None,
    /// After ESC.
    Escape,
    /// After `ESC [` and this number of parameter bytes.
    Sequence(u8),
    /// After `ESC (` and similar.
    Charset,
}

#[derive(Clone, Copy, Default)]
struct Pending {
    b: u8,
    start: usize,
    end: usize,
}

/// State of the decoder between two bytes.
pub(crate) struct Decoder {
    stack: [Pending; DEPTH],
    depth: usize,
    /// Stack index of the beginning of the innermost escape.
    top: usize,
    high: u16,
    terminal: Terminal,
    terminal_start: usize,
    in_command: bool,
    /// A line broke inside an escape, and only blanks followed: indentation.
    is_indented: bool,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Decoder {
            stack: [Pending::default(); DEPTH],
            depth: 0,
            top: 0,
            high: 0,
            terminal: Terminal::None,
            terminal_start: 0,
            in_command: false,
            is_indented: false,
        }
    }

    /// Returns `true` if nothing is open. [`Class::Kept`], [`Class::Blank`] and [`Class::Quote`]
    /// bytes may then be handled by their class.
    pub(crate) fn is_idle(&self) -> bool {
        self.depth == 0 && self.terminal == Terminal::None
    }

    /// Returns the position of the oldest escape or sequence that is still open.
    pub(crate) fn open_since(&self) -> Option<usize> {
        let stack = self.stack[..self.depth].first().map(|pending| pending.start);
        let terminal = (self.terminal != Terminal::None).then_some(self.terminal_start);
        stack.into_iter().chain(terminal).min()
    }

    /// Takes a byte from this range of positions.
    pub(crate) fn feed(&mut self, b: u8, start: usize, end: usize, sink: &mut impl Sink) {
        if self.terminal != Terminal::None && self.terminal(b, sink) {
            if self.is_idle() {
                sink.pass(self.terminal_start, end);
            }
            return;
        }
        self.is_indented &= class(b) == Class::Blank;
        match class(b) {
            Class::Kept => self.kept(b, start, end, sink),
            Class::Blank | Class::Quote => self.blank(b, start, end, sink),
            Class::Start => self.open(b, start, end, sink),
            Class::Control if b == 0x1b => {
                self.terminal = Terminal::Escape;
                self.terminal_start = start;
            }
            Class::Control => {
                self.end_command(sink);
                if self.depth == 0 {
                    sink.pass(start, end);
                }
            }
        }
    }

    /// Ends the text: an open escape is not one.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) {
        self.terminal = Terminal::None;
        while self.has_open_octal() {
            self.take_octal(sink);
        }
        self.flush(sink);
    }

    /// Takes a byte after ESC. Returns `false` if it does not belong to the sequence.
    fn terminal(&mut self, b: u8, sink: &mut impl Sink) -> bool {
        let (next, belongs) = match (self.terminal, b) {
            (Terminal::Escape, b'[') => (Terminal::Sequence(0), true),
            (Terminal::Escape, b']') => {
                self.flush(sink);
                self.in_command = true;
                sink.begin_command();
                (Terminal::None, true)
            }
            (Terminal::Escape, b'\\') => {
                self.end_command(sink);
                (Terminal::None, true)
            }
            (Terminal::Escape, 0x20..=0x2f) => (Terminal::Charset, true),
            (Terminal::Escape, 0x30..=0x7e) => (Terminal::None, true),
            (Terminal::Charset, 0x20..=0x7e) => (Terminal::None, true),
            (Terminal::Sequence(count), 0x20..=0x3f) if count < MAX_PARAMETERS => {
                (Terminal::Sequence(count + 1), true)
            }
            (Terminal::Sequence(_), 0x40..=0x7e) => (Terminal::None, true),
            _ => (Terminal::None, false),
        };
        self.terminal = next;
        belongs
    }

    fn end_command(&mut self, sink: &mut impl Sink) {
        if self.in_command {
            self.flush(sink);
            self.in_command = false;
            sink.end_command();
        }
    }

    /// Returns the bytes so far of the innermost escape.
    fn escape(&self) -> &[Pending] {
        &self.stack[self.top..self.depth]
    }

    fn escape_byte(&self, at: usize) -> Option<u8> {
        self.escape().get(at).map(|pending| pending.b)
    }

    /// Takes white space, a control character or a quote.
    fn blank(&mut self, b: u8, mut start: usize, end: usize, sink: &mut impl Sink) {
        let is_newline = matches!(b, b'\n' | b'\r');
        let is_quote = class(b) == Class::Quote;
        // A text in UTF-16 has NULs everywhere.
        if !is_newline && !is_quote && b != b' ' && b != b'\t' {
            if self.depth == 0 {
                sink.pass(start, end);
            }
            return;
        }
        while self.depth > 0 {
            let is_bare = self.escape().len() == 1;
            match self.stack[self.top].b {
                b'\\' if is_bare && is_newline => {
                    self.stack[self.top].b = TORN_BACKSLASH;
                    return;
                }
                TORN_BACKSLASH if is_bare && !is_quote => return,
                b'$' if is_bare && (is_newline || self.is_indented) => break,
                b'$' if is_bare && !is_quote => return self.flush(sink),
                b'\\' if is_bare => {
                    start = self.stack[self.top].start;
                    self.pop();
                }
                TORN_BACKSLASH | b'=' | b'$' if is_bare => self.pop(),
                _ if self.has_open_octal() && !is_newline && !self.is_indented => self.take_octal(sink),
                _ if is_newline || self.is_indented => break,
                _ => return self.flush(sink),
            }
        }
        self.is_indented |= is_newline;
        if self.depth == 0 {
            sink.pass(start, end);
        }
    }

    /// Takes the first byte of an escape.
    fn open(&mut self, b: u8, start: usize, end: usize, sink: &mut impl Sink) {
        // Another escape ends an octal number, unless its backslash is the meaning of a longer one:
        // then the other may be the next digit.
        while self.has_open_octal() && self.length_of_first() <= end - start {
            self.take_octal(sink);
        }
        let mut start = start;
        let outer = self.stack[self.top];
        if b == b'=' && self.depth > 0 && outer.b == b'&' && outer.end - outer.start == 1 {
            // No entity has a `=`; a query has one after each name.
            self.flush(sink);
        }
        if self.escape().len() == 1 {
            let is_same_level = (self.length_of_first() > 1) == (end - start > 1);
            let bare = &mut self.stack[self.top];
            match (bare.b, b) {
                // A run of backslashes is one, and so is a run of dollars. But a backslash after
                // one that was itself escaped begins an inner escape.
                (b'\\' | TORN_BACKSLASH, b'\\') if is_same_level => {
                    bare.b = b;
                    return;
                }
                (b'$', b'$') => return,
                (b'\\' | TORN_BACKSLASH, b'$') => {
                    start = bare.start;
                    self.pop();
                    return self.open(b, start, end, sink);
                }
                _ => {}
            }
        }
        self.push(Pending { b, start, end }, sink);
        self.top = self.depth - 1;
    }

    /// Takes any other character.
    fn kept(&mut self, b: u8, start: usize, end: usize, sink: &mut impl Sink) {
        if self.depth == 0 {
            return sink.put(folded(b), start, end);
        }
        if self.has_open_octal() && !is_octal(b) {
            self.take_octal(sink);
            return self.kept(b, start, end, sink);
        }
        self.push(Pending { b, start, end }, sink);
        let digits = self.depth - self.top - 1;
        match self.stack[self.top].b {
            b'%' => match (digits, self.escape_byte(1)) {
                (1, Some(b'u')) => {}
                (5, Some(b'u')) => self.take_unit(2, end, sink),
                (_, Some(b'u')) if b.is_ascii_hexdigit() => {}
                (1, _) if b.is_ascii_hexdigit() => {}
                (2, _) if b.is_ascii_hexdigit() => self.take_byte(1, end, sink),
                _ => self.flush(sink),
            },
            b'=' => match (digits, b) {
                (1, b'0'..=b'9' | b'A'..=b'F') => {}
                (2, b'0'..=b'9' | b'A'..=b'F') => self.take_byte(1, end, sink),
                _ => self.flush(sink),
            },
            b'&' => match b {
                b';' => self.take_entity(end, sink),
                b'#' if digits == 1 => {}
                b if b.is_ascii_alphanumeric() && digits <= 13 => {}
                _ => self.flush(sink),
            },
            b'\\' | TORN_BACKSLASH => self.backslash(b, digits, end, sink),
            _ => self.flush(sink),
        }
    }

    /// Takes the character at this index after a backslash.
    fn backslash(&mut self, b: u8, digits: usize, end: usize, sink: &mut impl Sink) {
        let is_torn = self.stack[self.top].b == TORN_BACKSLASH;
        let kind = self.escape_byte(1).unwrap_or(b);
        let is_hex = b.is_ascii_hexdigit();
        match (kind, digits) {
            (b'x' | b'u' | b'U', 1) => {}
            (b'x', 2) if is_hex => {}
            (b'x', 3) if is_hex => self.take_byte(2, end, sink),
            (b'u', 2) if b == b'{' => {}
            (b'u', _) if self.escape_byte(2) == Some(b'{') => match b {
                b'}' if digits > 3 => self.take_code_point(3, end, sink),
                _ if is_hex && digits <= 8 => {}
                _ => self.flush(sink),
            },
            (b'u', 2..=4) if is_hex => {}
            (b'u', 5) if is_hex => self.take_unit(2, end, sink),
            (b'U', 2..=8) if is_hex => {}
            (b'U', 9) if is_hex => self.take_code_point(2, end, sink),
            (b'0'..=b'7', 1..=2) if !is_torn => {}
            (b'0'..=b'7', 3) if !is_torn => self.take_octal(sink),
            (_, 1) => {
                let start = self.stack[self.top].start;
                let last = self.stack[self.depth - 1].start;
                self.pop();
                match b {
                    b'e' | b'E' if !is_torn => self.feed(0x1b, start, end, sink),
                    b'a' if !is_torn => self.feed(0x07, start, end, sink),
                    b'b' | b'f' | b'v' if !is_torn => self.feed(0, start, end, sink),
                    b'n' | b'r' if !is_torn => self.feed(b'\n', start, end, sink),
                    b't' if !is_torn => self.feed(b'\t', start, end, sink),
                    _ => self.kept(b, if is_torn { last } else { start }, end, sink),
                }
            }
            _ => self.flush(sink),
        }
    }

    /// Length in the text of the first character of the innermost escape: more than 1 if that is
    /// the meaning of another escape.
    fn length_of_first(&self) -> usize {
        let first = &self.stack[self.top];
        first.end - first.start
    }

    fn has_open_octal(&self) -> bool {
        self.depth > self.top + 1 && self.stack[self.top].b == b'\\' && is_octal(self.stack[self.top + 1].b)
    }

    /// Decodes `\101`, also with fewer digits if no digit follows.
    fn take_octal(&mut self, sink: &mut impl Sink) {
        let value = octal(&self.stack[self.top + 1..self.depth]);
        let end = self.stack[self.depth - 1].end;
        self.replace(&[value], end, sink);
    }

    fn number(&self, from: usize, radix: u32) -> Option<u32> {
        let mut value = 0_u32;
        for pending in self.escape().get(from..)?.iter().filter(|pending| !matches!(pending.b, b';' | b'}')) {
            value = value.checked_mul(radix)?.checked_add(char::from(pending.b).to_digit(radix)?)?;
        }
        Some(value)
    }

    /// Decodes two hexadecimal digits as a byte.
    fn take_byte(&mut self, from: usize, end: usize, sink: &mut impl Sink) {
        let value = self.number(from, 16).unwrap_or(0);
        self.replace(&[value.to_le_bytes()[0]], end, sink);
    }

    /// Decodes four hexadecimal digits as a unit of UTF-16.
    fn take_unit(&mut self, from: usize, end: usize, sink: &mut impl Sink) {
        let value = self.number(from, 16).unwrap_or(0);
        let unit = u16::try_from(value).unwrap_or(0);
        if !(0xd800..0xe000).contains(&unit) {
            return self.take_code_point(from, end, sink);
        }
        let start = self.stack[self.top].start;
        self.pop();
        let follows_high = self.escape().len() == 1 && self.stack[self.top].b == HIGH_SURROGATE;
        if unit < 0xdc00 {
            if follows_high {
                self.flush(sink);
            }
            self.high = unit;
            self.push(Pending { b: HIGH_SURROGATE, start, end }, sink);
            self.top = self.depth - 1;
        } else if follows_high {
            let c = 0x1_0000 + ((u32::from(self.high) - 0xd800) << 10) + (u32::from(unit) - 0xdc00);
            self.replace_by_character(c, end, sink);
        } else {
            for b in lone_surrogate(unit) {
                self.feed(b, start, end, sink);
            }
        }
    }

    fn take_code_point(&mut self, from: usize, end: usize, sink: &mut impl Sink) {
        match self.number(from, 16) {
            Some(value) => self.replace_by_character(value, end, sink),
            None => self.flush(sink),
        }
    }

    fn take_entity(&mut self, end: usize, sink: &mut impl Sink) {
        let mut name = [0; 16];
        let escape = self.escape();
        let name = &mut name[..escape.len() - 2];
        name.iter_mut().zip(&escape[1..]).for_each(|(slot, pending)| *slot = pending.b);
        let value = match name {
            [b'#', b'x' | b'X', _, ..] => self.number(3, 16),
            [b'#', _, ..] => self.number(2, 10),
            name => entity(name),
        };
        match value {
            Some(value) => self.replace_by_character(value, end, sink),
            None => self.flush(sink),
        }
    }

    fn replace_by_character(&mut self, value: u32, end: usize, sink: &mut impl Sink) {
        match char::from_u32(value) {
            Some(c) => {
                let mut utf8 = [0; 4];
                let length = c.encode_utf8(&mut utf8).len();
                self.replace(&utf8[..length], end, sink);
            }
            None => self.flush(sink),
        }
    }

    /// Replaces the innermost escape by its meaning.
    fn replace(&mut self, meant: &[u8], end: usize, sink: &mut impl Sink) {
        let start = self.stack[self.top].start;
        self.pop();
        for b in meant {
            self.feed(*b, start, end, sink);
        }
    }

    fn push(&mut self, pending: Pending, sink: &mut impl Sink) {
        if self.depth == DEPTH {
            // Bytes outside of the innermost escape are not kept any longer.
            let from = if self.top == 0 { self.depth } else { self.top };
            self.put_literally(from, sink);
            self.stack.copy_within(from..self.depth, 0);
            self.depth -= from;
            self.top = 0;
        }
        self.stack[self.depth] = pending;
        self.depth += 1;
    }

    /// Removes the innermost escape from the stack.
    fn pop(&mut self) {
        self.depth = self.top;
        let outer = self.stack[..self.depth].iter();
        self.top = outer.rev().position(|pending| is_start(pending.b)).map_or(0, |at| self.depth - 1 - at);
    }

    /// Writes the whole stack: nothing on it is an escape but numbers in octal.
    fn flush(&mut self, sink: &mut impl Sink) {
        self.put_literally(self.depth, sink);
        self.depth = 0;
        self.top = 0;
    }

    fn put_literally(&self, count: usize, sink: &mut impl Sink) {
        // A backslash is masked together with the byte after it.
        let mut since = None;
        let mut rest = &self.stack[..count];
        while let [pending, after @ ..] = rest {
            rest = after;
            let digits = after.iter().take(3).take_while(|next| is_octal(next.b)).count();
            match pending.b {
                b'\\' if digits > 0 => {
                    let (number, after) = after.split_at(digits);
                    rest = after;
                    let value = octal(number);
                    if class(value) == Class::Kept {
                        sink.put(folded(value), pending.start, number[digits - 1].end);
                    }
                }
                b'\\' => since = Some(pending.start),
                TORN_BACKSLASH | b'=' => {}
                HIGH_SURROGATE => {
                    for b in lone_surrogate(self.high) {
                        sink.put(b, pending.start, pending.end);
                    }
                }
                b => sink.put(folded(b), since.take().unwrap_or(pending.start), pending.end),
            }
        }
    }
}

const fn is_octal(b: u8) -> bool {
    matches!(b, b'0'..=b'7')
}

/// Returns the byte that a number in octal stands for.
fn octal(digits: &[Pending]) -> u8 {
    let value = digits.iter().fold(0_u32, |value, digit| value * 8 + u32::from(digit.b - b'0'));
    value.to_le_bytes()[0]
}

/// Returns the three bytes of a lone surrogate, as if it were a character. UTF-8 has no such text.
fn lone_surrogate(unit: u16) -> [u8; 3] {
    [unit >> 12 | 0xe0, unit >> 6 & 0x3f | 0x80, unit & 0x3f | 0x80].map(|six| six.to_le_bytes()[0])
}

const fn is_start(b: u8) -> bool {
    matches!(b, b'\\' | b'%' | b'&' | b'=' | b'$' | TORN_BACKSLASH | HIGH_SURROGATE)
}

/// Returns the canonical form of a whole text.
pub(crate) fn canonical(text: &[u8]) -> Zeroizing<Vec<u8>> {
    struct Collect(Zeroizing<Vec<u8>>);
    impl Sink for Collect {
        fn put(&mut self, b: u8, _: usize, _: usize) {
            self.0.push(b);
        }
    }
    // No escape is shorter than its meaning.
    let mut sink = Collect(Zeroizing::new(Vec::with_capacity(text.len())));
    let mut decoder = Decoder::new();
    for (at, b) in text.iter().enumerate() {
        decoder.feed(*b, at, at + 1, &mut sink);
    }
    decoder.finish(&mut sink);
    sink.0
}
