//! Canonical form of a text: every escape is decoded, and what writers put between the characters of a text is left out.
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
//! What an escape means is read once more together with what comes next, so escapes of escapes are decoded too, however
//! deep: `%2541`, `\\u0041`, `&amp;#65;`, `\u005cx41`. Line breaks inside an escape are passed over, as a text may be cut anywhere.
//!
//! One pass, one byte at a time, in constant memory: whatever may become an escape is kept on a short stack until it
//! is one or cannot be one any more. A key is made canonical by this same code, so what a key has of its own that
//! looks like an escape is decoded in both.
//!
//! The payload of an operating system command (`ESC ] 8 ; ; URL ESC \`, a link) is a text in the middle of another.
//! It stays where it is, and behind it the [`Sink`] repeats the end of the text before it: so both are whole.

use zeroize::Zeroizing;

/// What is done with the canonical characters.
pub(crate) trait Sink {
    /// Takes a character, and the range of positions in the text that it comes from.
    fn put(&mut self, b: u8, start: usize, end: usize);

    /// Takes note of an escape or a terminal sequence from this range that is no character.
    fn pass(&mut self, _start: usize, _end: usize) {}

    /// An operating system command begins: what comes next is its payload.
    fn begin_command(&mut self) {}

    /// It ends: what comes next continues the text before it.
    fn end_command(&mut self) {}
}

/// How a byte is treated where no escape is open.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Kept,
    /// White space, control characters.
    Blank,
    Quote,
    /// Begins an escape.
    Start,
    /// ESC, and BEL, which may end an operating system command.
    Control,
}

pub(crate) const fn class(b: u8) -> Class {
    match b {
        0x07 | 0x1b => Class::Control,
        0..=b' ' | 0x7f => Class::Blank,
        b'\'' | b'"' | b'`' => Class::Quote,
        b'\\' | b'%' | b'&' | b'=' | b'$' => Class::Start,
        _ => Class::Kept,
    }
}

/// The one of the two alphabets of Base64 (RFC 4648, 4 and 5).
pub(crate) const fn folded(b: u8) -> u8 {
    match b {
        b'-' => b'+',
        b'_' => b'/',
        b => b,
    }
}

/// On the stack: a backslash with a line break behind it. It continues the line, or it was torn from its escape.
const TORN_BACKSLASH: u8 = 1;

/// On the stack: the first half of a character in UTF-16.
const HIGH_SURROGATE: u8 = 2;

/// Longest stack. An escape has 12 characters at most, and one may be open inside the other.
const DEPTH: usize = 64;

/// Longest parameters of a terminal sequence.
const PARAMETERS: u8 = 64;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminal {
    None,
    /// Behind ESC.
    Escape,
    /// Behind `ESC [` and so many parameters.
    Sequence(u8),
    /// Behind `ESC (` and its like.
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
    /// Index of the beginning of the innermost escape.
    top: usize,
    high: u16,
    terminal: Terminal,
    terminal_start: usize,
    in_command: bool,
    /// A line was broken inside an escape, and only blanks came since: indentation.
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

    /// Returns `true` if nothing is open: [`Class::Kept`], [`Class::Blank`] and [`Class::Quote`] bytes may be treated by their class.
    pub(crate) fn is_idle(&self) -> bool {
        self.depth == 0 && self.terminal == Terminal::None
    }

    /// Position where the oldest thing began that is still open.
    pub(crate) fn open_since(&self) -> Option<usize> {
        let stack = self.stack[..self.depth].first().map(|pending| pending.start);
        let terminal = (self.terminal != Terminal::None).then_some(self.terminal_start);
        stack.into_iter().chain(terminal).min()
    }

    /// Takes a byte that comes from this range of positions.
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

    /// Ends the text: what is open is no escape.
    pub(crate) fn finish(&mut self, sink: &mut impl Sink) {
        self.terminal = Terminal::None;
        while self.has_open_octal() {
            self.take_octal(sink);
        }
        self.flush(sink);
    }

    /// A byte behind ESC. Returns `false` if it does not belong to the sequence.
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
            (Terminal::Sequence(count), 0x20..=0x3f) if count < PARAMETERS => {
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

    /// The innermost escape, as far as it has come.
    fn escape(&self) -> &[Pending] {
        &self.stack[self.top..self.depth]
    }

    fn escape_byte(&self, at: usize) -> Option<u8> {
        self.escape().get(at).map(|pending| pending.b)
    }

    /// White space, a control character or a quote.
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

    /// The beginning of an escape.
    fn open(&mut self, b: u8, start: usize, end: usize, sink: &mut impl Sink) {
        while self.has_open_octal() {
            self.take_octal(sink);
        }
        let mut start = start;
        let outer = self.stack[self.top];
        if b == b'=' && self.depth > 0 && outer.b == b'&' && outer.end - outer.start == 1 {
            // No entity has it; a query has it behind each name.
            self.flush(sink);
        }
        if self.escape().len() == 1 {
            let bare = &mut self.stack[self.top];
            let is_same_level = (bare.end - bare.start > 1) == (end - start > 1);
            match (bare.b, b) {
                // A run of backslashes is one, and so is a run of dollars. But a backslash behind one that was itself escaped begins an
                // escape inside the other's.
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

    /// Any other character.
    fn kept(&mut self, b: u8, start: usize, end: usize, sink: &mut impl Sink) {
        if self.depth == 0 {
            return sink.put(folded(b), start, end);
        }
        if self.has_open_octal() && !(b'0'..=b'7').contains(&b) {
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

    /// The character of this number behind a backslash.
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

    fn has_open_octal(&self) -> bool {
        self.depth > self.top + 1
            && self.stack[self.top].b == b'\\'
            && matches!(self.stack[self.top + 1].b, b'0'..=b'7')
    }

    /// `\101`; also with fewer digits, when what comes next is none.
    fn take_octal(&mut self, sink: &mut impl Sink) {
        let digits = self.stack[self.top + 1..self.depth].iter();
        let value = digits.fold(0_u32, |value, digit| value * 8 + u32::from(digit.b - b'0'));
        let end = self.stack[self.depth - 1].end;
        self.replace(&[value.to_le_bytes()[0]], end, sink);
    }

    fn number(&self, from: usize, radix: u32) -> Option<u32> {
        let mut value = 0_u32;
        for pending in self.escape().get(from..)?.iter().filter(|pending| !matches!(pending.b, b';' | b'}')) {
            value = value.checked_mul(radix)?.checked_add(char::from(pending.b).to_digit(radix)?)?;
        }
        Some(value)
    }

    /// Two hexadecimal digits are a byte.
    fn take_byte(&mut self, from: usize, end: usize, sink: &mut impl Sink) {
        let value = self.number(from, 16).unwrap_or(0);
        self.replace(&[value.to_le_bytes()[0]], end, sink);
    }

    /// Four hexadecimal digits are a unit of UTF-16.
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

    /// Puts what the innermost escape means into its place.
    fn replace(&mut self, meant: &[u8], end: usize, sink: &mut impl Sink) {
        let start = self.stack[self.top].start;
        self.pop();
        for b in meant {
            self.feed(*b, start, end, sink);
        }
    }

    fn push(&mut self, pending: Pending, sink: &mut impl Sink) {
        if self.depth == DEPTH {
            // What is outside of the innermost escape has waited long enough.
            let from = if self.top == 0 { self.depth } else { self.top };
            self.put_literally(from, sink);
            self.stack.copy_within(from..self.depth, 0);
            self.depth -= from;
            self.top = 0;
        }
        self.stack[self.depth] = pending;
        self.depth += 1;
    }

    /// Takes the innermost escape off the stack.
    fn pop(&mut self) {
        self.depth = self.top;
        let outer = self.stack[..self.depth].iter();
        self.top = outer.rev().position(|pending| is_start(pending.b)).map_or(0, |at| self.depth - 1 - at);
    }

    /// Nothing on the stack is an escape.
    fn flush(&mut self, sink: &mut impl Sink) {
        self.put_literally(self.depth, sink);
        self.depth = 0;
        self.top = 0;
    }

    fn put_literally(&self, count: usize, sink: &mut impl Sink) {
        // A backslash is masked with what is behind it.
        let mut since = None;
        for pending in &self.stack[..count] {
            match pending.b {
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

/// Half of a character, as if it were one. No text in UTF-8 has such.
fn lone_surrogate(unit: u16) -> [u8; 3] {
    [unit >> 12 | 0xe0, unit >> 6 & 0x3f | 0x80, unit & 0x3f | 0x80].map(|six| six.to_le_bytes()[0])
}

/// What the decoder makes of a text that begins with an escape while nothing is open, when that is simple to tell from the text alone: a
/// character, which no escape begins with, or none; and how many bytes it takes for it.
pub(crate) fn shortcut(text: &[u8]) -> Option<(Option<u8>, usize)> {
    let is_kept = |b: u8| class(b) == Class::Kept;
    match *text {
        [b'\\', b'u', b'0', b'0', high, low, ..] | [b'\\', b'x', high, low, ..] => {
            let value = hex(high)? << 4 | hex(low)?;
            let length = if text[1] == b'u' { 6 } else { 4 };
            match class(value) {
                Class::Kept if value < 0x80 || length == 4 => Some((Some(value), length)),
                Class::Blank | Class::Quote => Some((None, length)),
                _ => None,
            }
        }
        [b'\\', b'n' | b'r' | b't' | b'\'' | b'"', ..] => Some((None, 2)),
        [b'\\', b, ..] if is_kept(b) && !b.is_ascii_alphanumeric() => Some((Some(b), 2)),
        [b'%', high, low, ..] if high.is_ascii_hexdigit() => {
            let value = hex(high)? << 4 | hex(low)?;
            match class(value) {
                Class::Kept => Some((Some(value), 3)),
                Class::Blank | Class::Quote => Some((None, 3)),
                _ => None,
            }
        }
        [b'=', b, ..] if !matches!(b, b'0'..=b'9' | b'A'..=b'F') => match class(b) {
            Class::Start | Class::Control => None,
            Class::Blank if b != b'\n' && b != b' ' => None,
            _ => Some((None, 1)),
        },
        [b'$', b, ..] if is_kept(b) => Some((Some(b'$'), 1)),
        [0x1b, b'[', ref rest @ ..] => {
            let end = rest.iter().take(usize::from(PARAMETERS)).position(|b| !matches!(b, 0x20..=0x3f))?;
            matches!(rest[end], 0x40..=0x7e).then_some((None, end + 3))
        }
        _ => None,
    }
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

const fn is_start(b: u8) -> bool {
    matches!(b, b'\\' | b'%' | b'&' | b'=' | b'$' | TORN_BACKSLASH | HIGH_SURROGATE)
}

/// Entities of HTML (WHATWG, 13.5) for what is in ASCII, and the blank that does not break.
const ENTITIES: [(&str, char); 46] = [
    ("Tab", '\t'),
    ("NewLine", '\n'),
    ("nbsp", ' '),
    ("excl", '!'),
    ("quot", '"'),
    ("QUOT", '"'),
    ("num", '#'),
    ("dollar", '$'),
    ("percnt", '%'),
    ("amp", '&'),
    ("AMP", '&'),
    ("apos", '\''),
    ("lpar", '('),
    ("rpar", ')'),
    ("ast", '*'),
    ("midast", '*'),
    ("plus", '+'),
    ("comma", ','),
    ("period", '.'),
    ("sol", '/'),
    ("colon", ':'),
    ("semi", ';'),
    ("lt", '<'),
    ("LT", '<'),
    ("equals", '='),
    ("gt", '>'),
    ("GT", '>'),
    ("quest", '?'),
    ("commat", '@'),
    ("lsqb", '['),
    ("lbrack", '['),
    ("bsol", '\\'),
    ("rsqb", ']'),
    ("rbrack", ']'),
    ("Hat", '^'),
    ("lowbar", '_'),
    ("UnderBar", '_'),
    ("grave", '`'),
    ("lcub", '{'),
    ("lbrace", '{'),
    ("verbar", '|'),
    ("vert", '|'),
    ("VerticalLine", '|'),
    ("rcub", '}'),
    ("rbrace", '}'),
    ("shy", '\u{0}'),
];

/// Entities of Latin-1, U+00A1 to U+00FF, in their order (HTML 4.01, 24.2.1). U+00AD is `shy`.
const LATIN_1: &str = "iexcl cent pound curren yen brvbar sect uml copy ordf laquo not - reg macr deg plusmn sup2 sup3 acute micro para \
middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave \
Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc \
atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash \
ugrave uacute ucirc uuml yacute thorn yuml";

fn entity(name: &[u8]) -> Option<u32> {
    let name = std::str::from_utf8(name).ok()?;
    let ascii = ENTITIES.iter().find(|(known, _)| *known == name).map(|(_, c)| u32::from(*c));
    ascii.or_else(|| LATIN_1.split(' ').zip(0xa1..).find(|(known, _)| *known == name).map(|(_, c)| c))
}

/// Canonical form of a whole text.
pub(crate) fn canonical(text: &[u8]) -> Zeroizing<Vec<u8>> {
    struct Collect(Zeroizing<Vec<u8>>);
    impl Sink for Collect {
        fn put(&mut self, b: u8, _: usize, _: usize) {
            self.0.push(b);
        }
    }
    // No escape is shorter than what it means.
    let mut sink = Collect(Zeroizing::new(Vec::with_capacity(text.len())));
    let mut decoder = Decoder::new();
    for (at, b) in text.iter().enumerate() {
        decoder.feed(*b, at, at + 1, &mut sink);
    }
    decoder.finish(&mut sink);
    sink.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_form_by_escape() {
        for (text, expected) in [
            ("plain", "plain"),
            ("a b\tc\r\nd'e\"f`g=h\u{7f}", "abcdefgh"),
            ("a-b_c", "a+b/c"),
            // JSON and the languages of C
            (r#"\u0041\u00e9\u002B\n\/\"\\y"#, "A\u{e9}+/y"),
            (r"\ud83d\udd11!", "\u{1f511}!"),
            (r"\ud83dx\udd11", "\u{fffd}x\u{fffd}"),
            (r"\\u0041 \\\\u0041", "AA"),
            (r"\x41\x4 \101\10 \0z\1012\377", "Ax4AzA2\u{fffd}"),
            (r"\u{41}\u{1f511}\U0001f511\u{}\u{1234567}", "A\u{1f511}\u{1f511}u{}u{1234567}"),
            (r"\d\$\&\%\-", "d$&%+"),
            // percent
            ("%41%c3%A9%2541%252541%u00e9%%4", "A\u{e9}AA\u{e9}%%4"),
            ("%2%35", "%"),
            ("100% ab", "100%ab"),
            // HTML
            (
                "&amp;&lt;&AMP;&eacute;&#65;&#x41;&#X0041;&equals;&shy;&bogus;&;&#;&#x;",
                "&<&\u{e9}AAA&bogus;&;&#;&#x;",
            ),
            ("&amp;amp;amp;x&amp;#65;", "&xA"),
            ("?a=b&key=c", "?ab&keyc"),
            // quoted-printable
            ("=41=4a=\r\n=C3=A9=3D41==", "A4a\u{e9}A"),
            // shells and SQL
            ("a$$b$$$$c$'d'$\"e\"$f$ g", "a$b$cde$f$g"),
            ("it'\\''s 'it''s' a\\\nb", "itsitsab"),
            (r"\$\$x", "$x"),
            // broken lines
            ("%4\r\n  1\\\nu0041\\\nnx\\ n\\u00\n41", "AAnxnA"),
            // terminals
            ("a\u{1b}[31mb\u{1b}[0;1mc\u{1b}[Kd\u{1b}(Be\u{1b}7f", "abcdef"),
            ("a\\u001b[31mb\\e[0mc\\033[Kd", "abcd"),
            ("\u{1b}]8;;http://x\u{1b}\\y\u{1b}]8;;\u{7}z", "8;;http://xy8;;z"),
            // levels
            (r"%5Cu0041 &#92;x41 =5Cx41 \u0025\u0034\u0031 \u0026amp;", "AAAA&"),
            // an octal number ends where its digits end
            (r"\1%01 \7\7\'", "\u{0}"),
        ] {
            let out = canonical(text.as_bytes());
            let expected = expected.replace('\u{0}', "");
            let lossy = String::from_utf8_lossy(&out).into_owned();
            let folded = |text: &str| text.replace("\u{fffd}\u{fffd}\u{fffd}", "\u{fffd}");
            assert_eq!(folded(&lossy), folded(&expected), "{text:?}");
        }
    }

    #[test]
    fn nothing_grows_on_the_stack() {
        for text in ["%", "&", "=", "\\", "$", "\\u", "&#", "%4", "\\ud83d", "\u{1b}", "%&=\\$"] {
            let out = canonical(text.repeat(500).as_bytes());
            assert!(out.len() <= text.len() * 500, "{text}");
        }
    }
}
