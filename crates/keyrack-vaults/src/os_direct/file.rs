//! The one file of os.direct: `{"<slug>": {"value": "<secret>", "expiresAt"?: "<ISO>"}}`. Reads one entry, or makes the text with one entry
//! changed and every other byte kept.

use std::ops::Range;

use keyrack_core::timestamp;
use zeroize::Zeroizing;

use super::object::{DirectFileError, Object, escape_into, escaped_limit, string_at, unescape};

const VALUE: &str = "value";
const EXPIRES_AT: &str = "expiresAt";

/// The file's text and where its entries are.
pub(super) struct DirectFile<'t> {
    text: &'t str,
    object: Object,
}

/// One entry, read.
pub(super) struct StoredValue {
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) expires_at_ms: Option<i64>,
}

impl<'t> DirectFile<'t> {
    pub(super) fn read(bytes: &'t [u8]) -> Result<Self, DirectFileError> {
        let text = std::str::from_utf8(bytes)
            .map_err(|error| DirectFileError { at: error.valid_up_to(), why: "it is not UTF-8" })?;
        Ok(DirectFile { text, object: Object::scan(text, 0..text.len())? })
    }

    pub(super) fn has(&self, slug: &str) -> bool {
        self.object.get(slug).is_some()
    }

    /// What the entries are called.
    pub(super) fn slugs(&self) -> impl Iterator<Item = &str> {
        self.object.members.iter().map(|member| member.name.as_str())
    }

    /// The entry of `slug`. Only this entry is judged: another one may be broken in any way that is still JSON.
    pub(super) fn get(&self, slug: &str) -> Result<Option<StoredValue>, DirectFileError> {
        let Some(member) = self.object.get(slug) else { return Ok(None) };
        let at = member.value.start;
        let entry = Object::scan(self.text, member.value.clone())?;
        let value = entry.get(VALUE).ok_or(DirectFileError { at, why: "the entry has no value" })?;
        let raw = string_at(self.text, &value.value)
            .ok_or(DirectFileError { at: value.value.start, why: "the value is not a string" })?;
        let secret = unescape(raw).map_err(|why| DirectFileError { at: value.value.start, why })?;
        let expires_at_ms = match entry.get(EXPIRES_AT) {
            None => None,
            Some(member) if &self.text[member.value.clone()] == "null" => None,
            Some(member) => Some(
                string_at(self.text, &member.value)
                    .and_then(timestamp::parse_ms)
                    .ok_or(DirectFileError { at: member.value.start, why: "expiresAt is not a time" })?,
            ),
        };
        Ok(Some(StoredValue { secret, expires_at_ms }))
    }

    /// The text with `slug` set to `secret`. Other fields of an entry that was there stay, but for its `expiresAt`, which was the old
    /// value's.
    pub(super) fn with(&self, slug: &str, secret: &str) -> Zeroizing<Vec<u8>> {
        let mut edits: Vec<Edit<'_>> = Vec::new();
        match self.object.get(slug) {
            Some(member) if self.object.members.iter().filter(|m| m.name == slug).count() == 1 => {
                match Object::scan(self.text, member.value.clone()) {
                    Ok(entry) if entry.members.iter().filter(|m| m.name == VALUE).count() == 1 => {
                        let value = entry.get(VALUE).expect("one was just counted").value.clone();
                        edits.push(Edit { cut: value, put: Put::Value(secret) });
                        edits.extend(
                            entry.cuts(EXPIRES_AT).into_iter().map(|cut| Edit { cut, put: Put::Nothing }),
                        );
                    }
                    // Not an entry anybody could read: replaced whole.
                    _ => edits.push(Edit { cut: member.value.clone(), put: Put::VaultEntry(secret) }),
                }
            }
            // Doubled: all are cut, and the entry made anew.
            Some(_) => {
                let text = self.without(slug);
                let text = std::str::from_utf8(&text).expect("cut between characters");
                let object = Object::scan(text, 0..text.len()).expect("whole members were cut");
                return DirectFile { text, object }.with(slug, secret);
            }
            None => {
                let (at, first) = match self.object.members.last() {
                    Some(last) => (last.span.end..last.span.end, false),
                    None => (self.object.start..self.object.end, true),
                };
                edits.push(Edit { cut: at, put: Put::Member { slug, secret, first } });
            }
        }
        apply(self.text, edits)
    }

    /// The text without `slug`.
    pub(super) fn without(&self, slug: &str) -> Zeroizing<Vec<u8>> {
        apply(
            self.text,
            self.object.cuts(slug).into_iter().map(|cut| Edit { cut, put: Put::Nothing }).collect(),
        )
    }
}

/// The text of a file with this one entry.
pub(super) fn first(slug: &str, secret: &str) -> Zeroizing<Vec<u8>> {
    let empty = "{}";
    let object = Object::scan(empty, 0..2).expect("an empty object is one");
    DirectFile { text: empty, object }.with(slug, secret)
}

struct Edit<'e> {
    cut: Range<usize>,
    put: Put<'e>,
}

enum Put<'e> {
    Nothing,
    Value(&'e str),
    VaultEntry(&'e str),
    Member { slug: &'e str, secret: &'e str, first: bool },
}

impl Put<'_> {
    fn limit(&self) -> usize {
        match self {
            Put::Nothing => 0,
            Put::Value(secret) => escaped_limit(secret.len()),
            Put::VaultEntry(secret) => escaped_limit(secret.len()) + 32,
            Put::Member { slug, secret, .. } => escaped_limit(slug.len()) + escaped_limit(secret.len()) + 48,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Put::Nothing => {}
            Put::Value(secret) => escape_into(out, secret),
            Put::VaultEntry(secret) => {
                out.extend_from_slice(b"{\n    \"value\": ");
                escape_into(out, secret);
                out.extend_from_slice(b"\n  }");
            }
            Put::Member { slug, secret, first } => {
                out.extend_from_slice(if *first { b"\n  " } else { b",\n  " });
                escape_into(out, slug);
                out.extend_from_slice(b": ");
                Put::VaultEntry(secret).write(out);
                if *first {
                    out.push(b'\n');
                }
            }
        }
    }
}

/// Makes the new text in one buffer that is large enough from the start.
fn apply(text: &str, mut edits: Vec<Edit<'_>>) -> Zeroizing<Vec<u8>> {
    edits.sort_by_key(|edit| edit.cut.start);
    let room = text.len() + edits.iter().map(|edit| edit.put.limit()).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    let mut at = 0;
    for edit in &edits {
        out.extend_from_slice(&text.as_bytes()[at..edit.cut.start]);
        edit.put.write(&mut out);
        at = edit.cut.end;
    }
    out.extend_from_slice(&text.as_bytes()[at..]);
    out
}
