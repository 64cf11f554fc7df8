//! JSON that may carry secrets, written by hand into memory that is wiped: no general writer ever owns a secret.
//!
//! The form is that of `JSON.stringify(value, null, 2)`, without a line break at the end.

use keyrack_core::{Attempt, Error, ErrorCode, Grant, Invocation, timestamp};
use keyrack_wire::{NotUtf8, WipedBuffer, Writer, escape_into, escape_len};
use zeroize::Zeroizing;

use crate::get::{GetOutcome, KeyOutcome};
use crate::secret::Secret;

const MEMORY: &str = "the buffer has no limit but memory";

/// Writes JSON into wiped memory, indented by two.
pub struct JsonWriter {
    out: WipedBuffer,
    depth: usize,
    /// Whether something stands before the next member or element at this depth.
    follows: bool,
}

impl JsonWriter {
    /// An empty one.
    pub fn new() -> Self {
        JsonWriter { out: WipedBuffer::new(usize::MAX), depth: 0, follows: false }
    }

    /// What was written.
    pub fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.out.into_inner()
    }

    /// An object as the next value.
    pub fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.bracketed(b"{", b"}", members);
    }

    /// An array as the next value.
    pub fn array(&mut self, elements: impl FnOnce(&mut Self)) {
        self.bracketed(b"[", b"]", elements);
    }

    fn bracketed(&mut self, open: &[u8], close: &[u8], inner: impl FnOnce(&mut Self)) {
        self.put(open);
        self.depth += 1;
        let before = std::mem::replace(&mut self.follows, false);
        inner(self);
        let any = std::mem::replace(&mut self.follows, before);
        self.depth -= 1;
        if any {
            self.line();
        }
        self.put(close);
    }

    /// The name of an object's next member; its value has to follow.
    pub fn name(&mut self, name: &str) {
        self.element();
        self.text(name);
        self.put(b": ");
    }

    /// The place of an array's next element; its value has to follow.
    pub fn element(&mut self) {
        if self.follows {
            self.put(b",");
        }
        self.follows = true;
        self.line();
    }

    /// A string.
    pub fn text(&mut self, text: &str) {
        self.secret(text.as_bytes()).expect("a str is UTF-8");
    }

    /// A string that is not to stay in memory.
    ///
    /// # Errors
    /// [`NotUtf8`] when no JSON string can carry it; nothing is written then.
    pub fn secret(&mut self, bytes: &[u8]) -> Result<(), NotUtf8> {
        // Room for the whole, so that it is written once.
        let more = escape_len(bytes)? + 2;
        self.out.reserve(more).expect(MEMORY);
        self.put(b"\"");
        escape_into(&mut self.out, bytes).expect(MEMORY);
        self.put(b"\"");
        Ok(())
    }

    /// A number, `true`, `false` or `null`, as it is.
    pub fn plain(&mut self, literal: &str) {
        self.put(literal.as_bytes());
    }

    /// A value that is JSON already, as it stands.
    pub fn raw(&mut self, json: &[u8]) {
        self.put(json);
    }

    /// A member whose value is a string.
    pub fn member(&mut self, name: &str, text: &str) {
        self.name(name);
        self.text(text);
    }

    fn line(&mut self) {
        self.put(b"\n");
        for _ in 0..self.depth {
            self.put(b"  ");
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.out.put(bytes).expect(MEMORY);
    }
}

impl Default for JsonWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// The attempts of a call: one object for a single key, an array for a repository.
///
/// # Errors
/// [`ErrorCode::Usage`] when a secret is no text, which JSON cannot carry.
pub fn outcome(outcome: &GetOutcome, invocation: Invocation) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut json = JsonWriter::new();
    let mut result = Ok(());
    match &outcome.keys[..] {
        [only] if outcome.single => result = attempt(&mut json, only, invocation),
        all => json.array(|json| {
            for answer in all {
                json.element();
                let written = attempt(json, answer, invocation);
                result = std::mem::replace(&mut result, Ok(())).and(written);
            }
        }),
    }
    result.map(|()| json.into_bytes())
}

/// One attempt as the next value.
///
/// # Errors
/// As [`outcome`].
pub fn attempt(json: &mut JsonWriter, answer: &KeyOutcome, invocation: Invocation) -> Result<(), Error> {
    let mut result = Ok(());
    json.object(|json| {
        json.member("status", answer.attempt.status());
        match &answer.attempt {
            Attempt::Granted { grant: key, below_declared } => {
                json.name("grant");
                result = grant(json, key, answer.secret.as_ref());
                if *below_declared {
                    json.name("belowDeclared");
                    json.plain("true");
                }
            }
            Attempt::Absent { slug, message, .. } | Attempt::Locked { slug, message, .. } => {
                json.member("slug", slug.as_str());
                json.member("message", message);
            }
            Attempt::Blocked { slug, reasons, .. } => {
                json.member("slug", slug.as_str());
                json.name("reasons");
                json.array(|json| {
                    for reason in reasons {
                        json.element();
                        json.text(reason);
                    }
                });
            }
        }
        match (answer.attempt.fix(), &answer.attempt) {
            (Some(fix), _) => json.member("fix", &fix.render(invocation)),
            // No command mends it; the note may say what does.
            (None, Attempt::Blocked { .. }) => {
                json.name("fix");
                json.plain("null");
            }
            (None, _) => {}
        }
        if let Some(note) = &answer.note {
            json.member("note", note);
        }
        if answer.waived {
            json.name("waived");
            json.plain("true");
        }
    });
    result
}

/// One grant as the next value; without a secret where none is given.
///
/// # Errors
/// As [`outcome`].
pub fn grant(json: &mut JsonWriter, grant: &Grant, secret: Option<&Secret>) -> Result<(), Error> {
    let mut result = Ok(());
    json.object(|json| {
        json.member("slug", grant.slug.as_str());
        json.name("key");
        json.object(|json| {
            if let Some(secret) = secret {
                json.name("secret");
                if json.secret(secret.expose()).is_err() {
                    json.plain("null");
                    let message = format!("the value of {} is no text, which JSON cannot carry", grant.slug);
                    result = Err(Error::new(ErrorCode::Usage, message)
                        .of(&grant.slug)
                        .hint("get it with --value instead of --json"));
                }
            }
            json.name("grade");
            json.object(|json| {
                json.member("protection", grant.grade.protection.as_str());
                json.member("duration", grant.grade.duration.as_str());
            });
        });
        json.name("source");
        json.object(|json| {
            json.member("vault", grant.source.vault.as_str());
            json.member("mech", grant.source.mech.as_str());
        });
        json.member("env", grant.slug.env());
        json.member("org", grant.slug.org());
        if let Some(at) = grant.expires_at_ms {
            json.member("expiresAt", &timestamp::format_ms(at));
        }
    });
    result
}
