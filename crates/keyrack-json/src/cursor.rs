//! Strict reader (RFC 8259) over text in place: values are slices, depth is bounded, nothing is
//! unescaped.

use std::ops::Range;

use crate::error::{JsonError, JsonErrorKind, StringError};
use crate::string::{RawString, escape_grammar};
use crate::{MAX_DEPTH, is_space};

/// Type of a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    /// An object.
    Object,
    /// An array.
    Array,
    /// A string.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool,
    /// `null`.
    Null,
}

/// One JSON value in its text, checked by the grammar.
#[derive(Clone, Copy)]
pub struct RawValue<'a> {
    /// Text that the value is in, from its first byte on.
    source: &'a str,
    start: usize,
    end: usize,
    kind: ValueKind,
}

impl<'a> RawValue<'a> {
    /// Reads the one value that `text` is, with white space around it.
    ///
    /// # Errors
    /// [`JsonError`] at the first byte that the grammar does not allow.
    pub fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        let text = std::str::from_utf8(text).map_err(|error| JsonError {
            offset: error.valid_up_to(),
            kind: JsonErrorKind::String(StringError::NotUtf8),
        })?;
        Cursor { text, at: 0 }.only_value()
    }

    /// Returns the value as written in the text.
    pub fn text(self) -> &'a str {
        &self.source[self.start..self.end]
    }

    /// Returns the range of the value in the parsed text.
    pub fn span(self) -> Range<usize> {
        self.start..self.end
    }

    /// Returns the type of the value.
    pub fn kind(self) -> ValueKind {
        self.kind
    }

    /// Checks and returns the string; `None` for another type.
    pub fn string(self) -> Option<Result<RawString<'a>, StringError>> {
        (self.kind == ValueKind::String).then(|| RawString::check(&self.source[self.start + 1..self.end - 1]))
    }

    /// Returns the boolean; `None` for another type.
    pub fn boolean(self) -> Option<bool> {
        (self.kind == ValueKind::Bool).then(|| self.text() == "true")
    }

    /// Calls `each` with the name and the value of each member of the object, in order; `None` for
    /// another type. A name that is there twice comes twice.
    pub fn members<E: From<JsonError>>(
        self,
        each: impl FnMut(RawValue<'a>, RawValue<'a>) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        (self.kind == ValueKind::Object).then(|| self.cursor().members(each))
    }

    /// Calls `each` with each element of the array, in order; `None` for another type.
    pub fn elements<E: From<JsonError>>(
        self,
        each: impl FnMut(RawValue<'a>) -> Result<(), E>,
    ) -> Option<Result<(), E>> {
        (self.kind == ValueKind::Array).then(|| self.cursor().elements(each))
    }

    fn cursor(self) -> Cursor<'a> {
        Cursor { text: &self.source[..self.end], at: self.start }
    }
}

impl std::fmt::Debug for RawValue<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RawValue({:?}, {} bytes)", self.kind, self.end - self.start)
    }
}

/// A position in a text.
struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Reads the one value of the text, with white space around it.
    fn only_value(mut self) -> Result<RawValue<'a>, JsonError> {
        let value = self.value()?;
        self.skip_space();
        if self.at < self.text.len() { Err(self.error(JsonErrorKind::Unexpected)) } else { Ok(value) }
    }

    fn members<E: From<JsonError>>(
        mut self,
        mut each: impl FnMut(RawValue<'a>, RawValue<'a>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            return Ok(());
        }
        loop {
            self.peek()?;
            let start = self.at;
            self.skip_string()?;
            let name = self.since(start, ValueKind::String);
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
        mut each: impl FnMut(RawValue<'a>) -> Result<(), E>,
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

    /// Skips one value and returns it. Open containers are kept on a stack of bits, one for each
    /// level, so that depth costs no call stack.
    fn value(&mut self) -> Result<RawValue<'a>, JsonError> {
        self.skip_space();
        let start = self.at;
        let kind = match self.peek()? {
            b'{' => ValueKind::Object,
            b'[' => ValueKind::Array,
            b'"' => ValueKind::String,
            b't' | b'f' => ValueKind::Bool,
            b'n' => ValueKind::Null,
            _ => ValueKind::Number,
        };
        let mut open = Levels::default();
        loop {
            // A value begins.
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
            // A value has ended, or an empty container awaits its end.
            loop {
                let Some(in_object) = open.top() else {
                    #[cfg(any(test, feature = "visits"))]
                    crate::visits::add(self.at - start);
                    return Ok(self.since(start, kind));
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
                    _ => return Err(self.error(JsonErrorKind::Unexpected)),
                }
                open.pop();
            }
        }
    }

    fn since(&self, start: usize, kind: ValueKind) -> RawValue<'a> {
        RawValue { source: self.text, start, end: self.at, kind }
    }

    fn open(&mut self, open: &mut Levels, object: bool) -> Result<(), JsonError> {
        if !open.push(object) {
            return Err(self.error(JsonErrorKind::TooDeep));
        }
        self.at += 1;
        Ok(())
    }

    /// Skips the name of a member and the colon after it.
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

    /// Skips a string by its grammar. Lone surrogates pass: only [`RawValue::string`] rejects them.
    fn skip_string(&mut self) -> Result<(), JsonError> {
        if self.peek_here() != Some(b'"') {
            return Err(self.error(self.unexpected()));
        }
        self.at += 1;
        let bytes = self.text.as_bytes();
        loop {
            let run = bytes[self.at..].iter().position(|b| *b < 0x20 || *b == b'\\' || *b == b'"');
            let Some(run) = run else {
                self.at = bytes.len();
                return Err(self.error(JsonErrorKind::Truncated));
            };
            self.at += run;
            match bytes[self.at] {
                b'"' => {
                    self.at += 1;
                    return Ok(());
                }
                b'\\' => match escape_grammar(&bytes[self.at..]) {
                    Ok(len) => self.at += len,
                    Err(error) => return Err(self.error(JsonErrorKind::String(error))),
                },
                _ => return Err(self.error(JsonErrorKind::String(StringError::Unescaped))),
            }
        }
    }

    fn word(&mut self, word: &str) -> Result<(), JsonError> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.error(JsonErrorKind::Unexpected));
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
        if self.at == start { Err(self.error(self.unexpected())) } else { Ok(()) }
    }

    fn take(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek()? != byte {
            return Err(self.error(JsonErrorKind::Unexpected));
        }
        self.at += 1;
        Ok(())
    }

    /// Returns the next byte that is not white space, without taking it.
    fn peek(&mut self) -> Result<u8, JsonError> {
        self.skip_space();
        self.peek_here().ok_or_else(|| self.error(JsonErrorKind::Truncated))
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

    fn error(&self, kind: JsonErrorKind) -> JsonError {
        JsonError { offset: self.at, kind }
    }
}

/// Open containers, the innermost in the lowest bit: 1 for an object, 0 for an array.
#[derive(Default)]
struct Levels {
    bits: u64,
    count: usize,
}

const _: () = assert!(MAX_DEPTH <= 64, "one bit a level");

impl Levels {
    /// Returns `false` if the limit is reached.
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
