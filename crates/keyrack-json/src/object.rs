//! The members of an object, with their names unescaped and their positions in the text.

use std::borrow::Cow;
use std::ops::Range;

use crate::cursor::RawValue;
use crate::error::{JsonError, JsonErrorKind};
use crate::string::RawString;

/// One `"name": value` of an object.
#[derive(Debug, Clone)]
pub struct Member<'a> {
    /// Name, unescaped. Names are not secret.
    pub name: Cow<'a, str>,
    /// Value, not unescaped.
    pub value: RawValue<'a>,
    /// Offset of the quote that begins the name.
    start: usize,
}

impl Member<'_> {
    /// Returns the range of the member in the parsed text, from the quote that begins its name to
    /// the end of its value.
    pub fn span(&self) -> Range<usize> {
        self.start..self.value.span().end
    }
}

/// The members of an object, in the order of the text. A name that is there twice comes twice.
#[derive(Debug, Clone)]
pub struct Object<'a> {
    /// The members.
    pub members: Vec<Member<'a>>,
    span: Range<usize>,
}

impl<'a> Object<'a> {
    /// Reads the one object that `text` is, with white space around it.
    ///
    /// # Errors
    /// [`JsonError`] if `text` is not one, or if a name holds a lone surrogate.
    pub fn parse(text: &'a [u8]) -> Result<Self, JsonError> {
        Self::new(RawValue::parse(text)?)
    }

    /// Reads the members of `value`.
    ///
    /// # Errors
    /// [`JsonError`] if it is not an object, or if a name holds a lone surrogate.
    pub fn new(value: RawValue<'a>) -> Result<Self, JsonError> {
        let span = value.span();
        let mut members = Vec::new();
        let outcome = value.members(|name, value| {
            let start = name.span().start;
            let invalid = |error| JsonError { offset: start, kind: JsonErrorKind::String(error) };
            let text = name.string().unwrap_or(Ok(RawString::default())).map_err(invalid)?;
            let name = text.to_text();
            members.push(Member { name, value, start });
            Ok(())
        });
        let not_an_object = JsonError { offset: span.start, kind: JsonErrorKind::NotAnObject };
        outcome.ok_or(not_an_object)??;
        Ok(Self { members, span })
    }

    /// Returns the last member of a name: the one that counts for `JSON.parse`.
    pub fn get(&self, name: &str) -> Option<&Member<'a>> {
        self.members.iter().rev().find(|member| member.name == name)
    }

    /// Returns the range between the braces.
    pub fn inner_span(&self) -> Range<usize> {
        self.span.start + 1..self.span.end - 1
    }
}
