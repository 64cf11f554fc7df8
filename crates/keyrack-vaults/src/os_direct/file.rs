//! The one file of os.direct: `{"<slug>": {"value": "<secret>", "expiresAt"?: "<ISO>"}}`. Reads one
//! entry, or returns the text with one entry changed and every other byte unchanged.

use std::fmt;

use keyrack_core::timestamp;
use keyrack_json::{JsonError, JsonErrorKind, Object, ValueKind};
use zeroize::Zeroizing;

use super::edit::{Edit, Put, apply, cuts};

const VALUE: &str = "value";
const EXPIRES_AT: &str = "expiresAt";

/// Reason that the file or an entry cannot be read, and its position. It holds nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DirectFileError {
    /// Byte offset in the file.
    pub(super) offset: usize,
    pub(super) kind: DirectFileErrorKind,
}

/// Kind of a [`DirectFileError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DirectFileErrorKind {
    Json(JsonErrorKind),
    MissingValue,
    ValueNotString,
    InvalidExpiresAt,
}

impl fmt::Display for DirectFileErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(kind) => kind.fmt(f),
            Self::MissingValue => f.write_str("the entry has no value"),
            Self::ValueNotString => f.write_str("the value is not a string"),
            Self::InvalidExpiresAt => f.write_str("expiresAt is not a time"),
        }
    }
}

impl From<JsonError> for DirectFileError {
    fn from(JsonError { offset, kind }: JsonError) -> Self {
        Self { offset, kind: DirectFileErrorKind::Json(kind) }
    }
}

/// The text of the file and the positions of its entries.
pub(super) struct DirectFile<'t> {
    text: &'t [u8],
    object: Object<'t>,
}

/// One entry.
pub(super) struct StoredValue {
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) expires_at_ms: Option<i64>,
}

impl<'t> DirectFile<'t> {
    pub(super) fn read(text: &'t [u8]) -> Result<Self, DirectFileError> {
        Ok(DirectFile { text, object: Object::parse(text)? })
    }

    pub(super) fn has(&self, slug: &str) -> bool {
        self.object.get(slug).is_some()
    }

    /// Returns the names of the entries.
    pub(super) fn slugs(&self) -> impl Iterator<Item = &str> {
        self.object.members.iter().map(|member| &*member.name)
    }

    /// Returns the entry of `slug`, the last one if there are several. Only this entry is checked:
    /// any other may be any JSON.
    pub(super) fn get(&self, slug: &str) -> Result<Option<StoredValue>, DirectFileError> {
        use DirectFileErrorKind::{InvalidExpiresAt, Json, MissingValue, ValueNotString};
        let Some(member) = self.object.get(slug) else { return Ok(None) };
        let error = |offset, kind| DirectFileError { offset, kind };
        let entry = Object::new(member.value)?;
        let value = entry.get(VALUE).ok_or(error(member.value.span().start, MissingValue))?.value;
        let at = value.span().start;
        let secret = value.string().ok_or(error(at, ValueNotString))?;
        let secret = secret.map_err(|invalid| error(at, Json(JsonErrorKind::String(invalid))))?;
        let expires_at_ms = match entry.get(EXPIRES_AT).map(|member| member.value) {
            None => None,
            Some(value) if value.kind() == ValueKind::Null => None,
            Some(value) => {
                let text = value.string().and_then(Result::ok).map(|text| text.to_wiped());
                let ms = text.and_then(|text| timestamp::parse_ms(std::str::from_utf8(&text).ok()?));
                Some(ms.ok_or(error(value.span().start, InvalidExpiresAt))?)
            }
        };
        Ok(Some(StoredValue { secret: secret.to_wiped(), expires_at_ms }))
    }

    /// Returns the text with `slug` set to `secret`. Other fields of the entry stay, except its
    /// `expiresAt`, which belonged to the old value.
    pub(super) fn with(&self, slug: &str, secret: &str) -> Zeroizing<Vec<u8>> {
        let mut edits: Vec<Edit<'_>> = Vec::new();
        match self.object.get(slug) {
            Some(member) if count(&self.object, slug) == 1 => match Object::new(member.value) {
                Ok(entry) if count(&entry, VALUE) == 1 => {
                    let value = entry.get(VALUE).expect("one was just counted").value;
                    edits.push(Edit { cut: value.span(), put: Put::Value(secret) });
                    let expiry = cuts(&entry, EXPIRES_AT).into_iter();
                    edits.extend(expiry.map(|cut| Edit { cut, put: Put::Nothing }));
                }
                // Not a readable entry: it is replaced whole.
                _ => edits.push(Edit { cut: member.value.span(), put: Put::Entry(secret) }),
            },
            // There are several: all are cut, and the entry is added.
            Some(_) => {
                let text = self.without(slug);
                let object = Object::parse(&text).expect("whole members were cut");
                return DirectFile { text: &text, object }.with(slug, secret);
            }
            None => {
                let (cut, first) = match self.object.members.last() {
                    Some(last) => (last.span().end..last.span().end, false),
                    None => (self.object.inner_span(), true),
                };
                edits.push(Edit { cut, put: Put::Member { slug, secret, first } });
            }
        }
        apply(self.text, edits)
    }

    /// Returns the text without `slug`.
    pub(super) fn without(&self, slug: &str) -> Zeroizing<Vec<u8>> {
        let edits = cuts(&self.object, slug).into_iter().map(|cut| Edit { cut, put: Put::Nothing });
        apply(self.text, edits.collect())
    }
}

fn count(object: &Object<'_>, name: &str) -> usize {
    object.members.iter().filter(|member| member.name == name).count()
}

/// Returns the text of a file with this one entry.
pub(super) fn first(slug: &str, secret: &str) -> Zeroizing<Vec<u8>> {
    DirectFile::read(b"{}").expect("an empty object is a file").with(slug, secret)
}
