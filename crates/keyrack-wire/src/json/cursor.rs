//! A strict JSON reader (RFC 8259) over text in place: values are slices, depth is bounded, nothing is unescaped.

use super::string::{RawString, StringError, escape_grammar};

/// How deep objects and arrays may nest.
pub(crate) const MAX_DEPTH: usize = 64;

/// White space as JSON has it.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Where and why a text is no JSON. It never holds a part of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// Byte offset in the text.
    pub(crate) offset: usize,
    pub(crate) kind: JsonErrorKind,
}

/// What is wrong at that place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonErrorKind {
    #[error("it ends too early")]
    Truncated,
    #[error("a character that does not belong there")]
    Unexpected,
    #[error("it nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("{0}")]
    String(StringError),
}

/// The type of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

/// One JSON value as it stands in the text, checked by its grammar.
#[derive(Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) text: &'a str,
    pub(crate) kind: Kind,
}

impl<'a> Raw<'a> {
    /// The string this value is; `None` if it is none.
    pub(crate) fn string(self) -> Option<Result<RawString<'a>, StringError>> {
        (self.kind == Kind::String).then(|| RawString::check(&self.text[1..self.text.len() - 1]))
    }

    /// Whether this is `true` or `false`.
    pub(crate) fn boolean(self) -> Option<bool> {
        (self.kind == Kind::Bool).then_some(self.text == "true")
    }

    /// Calls `each` with the members of this object, in order; `None` if it is none.
    pub(crate) fn members<E: From<JsonError>>(
        self,
        each: impl FnMut(Raw<'a>, Raw<'a>) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        (self.kind == Kind::Object).then(|| Cursor::new(self.text).members(each))
    }

    /// Calls `each` with the elements of this array, in order; `None` if it is none.
    pub(crate) fn elements<E: From<JsonError>>(
        self,
        each: impl FnMut(Raw<'a>) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        (self.kind == Kind::Array).then(|| Cursor::new(self.text).elements(each))
    }
}

/// A place in a JSON text.
pub(crate) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The one value the text is, white space around it aside.
    pub(crate) fn only_value(mut self) -> Result<Raw<'a>, JsonError> {
        let value = self.value()?;
        self.skip_space();
        if self.at < self.text.len() { Err(self.fault(JsonErrorKind::Unexpected)) } else { Ok(value) }
    }

    fn members<E: From<JsonError>>(
        mut self,
        mut each: impl FnMut(Raw<'a>, Raw<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            return Ok(());
        }
        loop {
            self.peek()?;
            let start = self.at;
            self.skip_string()?;
            let name = Raw { text: &self.text[start..self.at], kind: Kind::String };
            self.take(b':')?;
            let value = self.value()?;
            each(name, value)?;
            if self.peek()? == b'}' {
                return Ok(());
            }
            self.take(b',')?;
        }
    }

    fn elements<E: From<JsonError>>(
        mut self,
        mut each: impl FnMut(Raw<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            return Ok(());
        }
        loop {
            each(self.value()?)?;
            if self.peek()? == b']' {
                return Ok(());
            }
            self.take(b',')?;
        }
    }

    /// Passes one value. Containers are kept on a stack of bits, one for each level, so depth costs no call stack.
    fn value(&mut self) -> Result<Raw<'a>, JsonError> {
        self.skip_space();
        let start = self.at;
        let kind = match self.peek()? {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        };
        let mut open = Levels::default();
        loop {
            // Here a value begins.
            match self.peek()? {
                b'{' => {
                    self.open(&mut open, true)?;
                    if self.peek()? != b'}' {
                        self.name()?;
                        continue;
                    }
                }
                b'[' => {
                    self.open(&mut open, false)?;
                    if self.peek()? != b']' {
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            // Here a value has ended, or a container that may be empty awaits its end.
            loop {
                let Some(in_object) = open.top() else {
                    #[cfg(test)]
                    visits::add(self.at - start);
                    return Ok(Raw { text: &self.text[start..self.at], kind });
                };
                match self.peek()? {
                    b'}' if in_object => self.at += 1,
                    b']' if !in_object => self.at += 1,
                    b',' => {
                        self.at += 1;
                        if in_object {
                            self.name()?;
                        }
                        break;
                    }
                    _ => return Err(self.fault(JsonErrorKind::Unexpected)),
                }
                open.pop();
            }
        }
    }

    fn open(&mut self, open: &mut Levels, object: bool) -> Result<(), JsonError> {
        if !open.push(object) {
            return Err(self.fault(JsonErrorKind::TooDeep));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes the name of a member and the colon behind it.
    fn name(&mut self) -> Result<(), JsonError> {
        self.skip_space();
        self.skip_string()?;
        self.take(b':')
    }

    fn scalar(&mut self) -> Result<(), JsonError> {
        match self.peek()? {
            b'"' => self.skip_string(),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            _ => self.number(),
        }
    }

    /// Passes a string by its grammar; halves of surrogate pairs pass, for only the reader of a string minds them.
    fn skip_string(&mut self) -> Result<(), JsonError> {
        if self.peek_here() != Some(b'"') {
            return Err(self.fault(self.unexpected()));
        }
        self.at += 1;
        let bytes = self.text.as_bytes();
        loop {
            let run = bytes[self.at..].iter().position(|b| *b < 0x20 || *b == b'\\' || *b == b'"');
            let Some(run) = run else {
                self.at = bytes.len();
                return Err(self.fault(JsonErrorKind::Truncated));
            };
            self.at += run;
            match bytes[self.at] {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => match escape_grammar(&bytes[self.at..]) {
                    Ok(len) => self.at += len,
                    Err(fault) => return Err(self.fault(JsonErrorKind::String(fault))),
                },
                _ => return Err(self.fault(JsonErrorKind::String(StringError::Unescaped))),
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.fault(JsonErrorKind::Unexpected));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), JsonError> {
        if self.peek_here() == Some(b'-') {
            self.at += 1;
        }
        if self.peek_here() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek_here() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek_here(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek_here(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        while self.peek_here().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(self.fault(self.unexpected())) } else { Ok(()) }
    }

    fn take(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek()? != byte {
            return Err(self.fault(JsonErrorKind::Unexpected));
        }
        self.at += 1;
        Ok(())
    }

    /// The next byte that is no white space, not yet taken.
    fn peek(&mut self) -> Result<u8, JsonError> {
        self.skip_space();
        self.peek_here().ok_or_else(|| self.fault(JsonErrorKind::Truncated))
    }

    fn peek_here(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek_here().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn unexpected(&self) -> JsonErrorKind {
        if self.at < self.text.len() { JsonErrorKind::Unexpected } else { JsonErrorKind::Truncated }
    }

    fn fault(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { offset: self.at, kind }
    }
}

/// The open containers, innermost in the lowest bit: 1 for an object, 0 for an array.
#[derive(Default)]
struct Levels {
    bits: u64,
    count: usize,
}

const _: () = assert!(MAX_DEPTH <= 64, "one bit a level");

impl Levels {
    /// False when there is no room.
    fn push(&mut self, object: bool) -> bool {
        if self.count == MAX_DEPTH {
            return false;
        }
        self.bits = self.bits << 1 | u64::from(object);
        self.count += 1;
        true
    }

    fn pop(&mut self) {
        self.bits >>= 1;
        self.count = self.count.saturating_sub(1);
    }

    fn top(&self) -> Option<bool> {
        (self.count > 0).then_some(self.bits & 1 == 1)
    }
}

/// Counts the bytes that are read, so that a test can tell that reading is linear without a clock.
#[cfg(test)]
pub(crate) mod visits {
    use std::cell::Cell;

    thread_local!(static COUNT: Cell<usize> = const { Cell::new(0) });

    pub(crate) fn add(bytes: usize) {
        COUNT.set(COUNT.get() + bytes);
    }

    /// The bytes read since the last call.
    pub(crate) fn take() -> usize {
        COUNT.take()
    }
}
