//! Writer of whole documents, indented like `JSON.stringify(value, null, 2)`.

use std::str::Utf8Error;

use zeroize::Zeroizing;

use crate::escape::{escape_into, escape_len};
use crate::writer::{WipedBuffer, Writer};

const UNLIMITED: &str = "the buffer has no limit";

/// Writes a document that may carry secrets into memory that is wiped. There is no line break at
/// the end.
pub struct JsonWriter {
    out: WipedBuffer,
    depth: usize,
    /// A member or element precedes the next one at this depth.
    has_previous: bool,
}

impl JsonWriter {
    /// Returns a writer of an empty document.
    pub fn new() -> Self {
        JsonWriter { out: WipedBuffer::new(usize::MAX), depth: 0, has_previous: false }
    }

    /// Returns the document.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.out.into_inner()
    }

    /// Writes an object as the next value.
    pub fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.bracketed(b"{", b"}", members);
    }

    /// Writes an array as the next value.
    pub fn array(&mut self, elements: impl FnOnce(&mut Self)) {
        self.bracketed(b"[", b"]", elements);
    }

    fn bracketed(&mut self, open: &[u8], close: &[u8], inner: impl FnOnce(&mut Self)) {
        self.put(open);
        self.depth += 1;
        let outer = std::mem::replace(&mut self.has_previous, false);
        inner(self);
        let is_filled = std::mem::replace(&mut self.has_previous, outer);
        self.depth -= 1;
        if is_filled {
            self.new_line();
        }
        self.put(close);
    }

    /// Writes the name of the object's next member. The caller writes its value next.
    pub fn name(&mut self, name: &str) {
        self.element();
        self.text(name);
        self.put(b": ");
    }

    /// Begins the array's next element. The caller writes its value next.
    pub fn element(&mut self) {
        if self.has_previous {
            self.put(b",");
        }
        self.has_previous = true;
        self.new_line();
    }

    /// Writes a string.
    pub fn text(&mut self, text: &str) {
        self.secret(text.as_bytes()).expect("a str is UTF-8");
    }

    /// Writes a secret as a string, in one copy.
    ///
    /// # Errors
    /// [`Utf8Error`] if no JSON string can carry it. Nothing is written then.
    pub fn secret(&mut self, bytes: &[u8]) -> Result<(), Utf8Error> {
        let len = escape_len(bytes)?;
        self.out.reserve(len + 2).expect(UNLIMITED);
        self.put(b"\"");
        escape_into(&mut self.out, bytes).expect(UNLIMITED);
        self.put(b"\"");
        Ok(())
    }

    /// Writes a number, `true`, `false` or `null`, unchanged.
    pub fn plain(&mut self, literal: &str) {
        self.put(literal.as_bytes());
    }

    /// Writes a value that is JSON already, unchanged.
    pub fn raw(&mut self, json: &[u8]) {
        self.put(json);
    }

    /// Writes a member whose value is a string.
    pub fn member(&mut self, name: &str, text: &str) {
        self.name(name);
        self.text(text);
    }

    fn new_line(&mut self) {
        self.put(b"\n");
        for _ in 0..self.depth {
            self.put(b"  ");
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.put(bytes).expect(UNLIMITED);
    }
}

impl Default for JsonWriter {
    fn default() -> Self {
        Self::new()
    }
}
