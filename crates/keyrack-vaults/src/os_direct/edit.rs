//! Edits of a JSON text: one member changes, and every other byte stays.

use std::ops::Range;

use keyrack_json::{ByteCounter, CapacityError, Object, WipedBuffer, Writer, escape_str};
use zeroize::Zeroizing;

/// Replacement of a range of the text.
pub(super) struct Edit<'e> {
    pub(super) cut: Range<usize>,
    pub(super) put: Put<'e>,
}

/// Text that takes the place of a range.
pub(super) enum Put<'e> {
    Nothing,
    /// The secret as a string.
    Value(&'e str),
    /// An entry that holds the secret.
    Entry(&'e str),
    /// A member that holds an entry; `first` if the object has no other.
    Member {
        slug: &'e str,
        secret: &'e str,
        first: bool,
    },
}

impl Put<'_> {
    fn write(&self, writer: &mut impl Writer) -> Result<(), CapacityError> {
        match self {
            Put::Nothing => Ok(()),
            Put::Value(secret) => put_string(writer, secret),
            Put::Entry(secret) => {
                writer.put(b"{\n    \"value\": ")?;
                put_string(writer, secret)?;
                writer.put(b"\n  }")
            }
            Put::Member { slug, secret, first } => {
                writer.put(if *first { b"\n  " } else { b",\n  " })?;
                put_string(writer, slug)?;
                writer.put(b": ")?;
                Put::Entry(secret).write(writer)?;
                writer.put(if *first { b"\n" } else { b"" })
            }
        }
    }
}

fn put_string(writer: &mut impl Writer, text: &str) -> Result<(), CapacityError> {
    writer.put(b"\"")?;
    escape_str(writer, text)?;
    writer.put(b"\"")
}

/// Returns the text with the edits made, in one buffer that is large enough from the start.
pub(super) fn apply(text: &[u8], mut edits: Vec<Edit<'_>>) -> Zeroizing<Vec<u8>> {
    edits.sort_by_key(|edit| edit.cut.start);
    let write = |writer: &mut dyn Writer| -> Result<(), CapacityError> {
        let mut writer = writer;
        let mut at = 0;
        for edit in &edits {
            writer.put(&text[at..edit.cut.start])?;
            edit.put.write(&mut writer)?;
            at = edit.cut.end;
        }
        writer.put(&text[at..])
    };
    let mut length = ByteCounter::default();
    let mut out = WipedBuffer::new(usize::MAX);
    write(&mut length)
        .and_then(|()| out.reserve(length.0))
        .and_then(|()| write(&mut out))
        .expect("neither writer has a limit");
    out.into_inner()
}

/// Returns the ranges to cut so that no member of this name is left and the others stay unchanged.
pub(super) fn cuts(object: &Object<'_>, name: &str) -> Vec<Range<usize>> {
    let mut cuts = Vec::new();
    // End of the last member that stays. The separator before the next one that stays is cut with
    // the members between them.
    let mut kept: Option<usize> = None;
    let mut pending: Option<Range<usize>> = None;
    for member in &object.members {
        let span = member.span();
        if member.name == name {
            let from = pending.map_or(span.start, |cut| cut.start);
            pending = Some(from..span.end);
            continue;
        }
        if let Some(cut) = pending.take() {
            match kept {
                // `a, [x,] b`: from the end of a to the end of the last x.
                Some(end) => cuts.push(end..cut.end),
                // `[x, ]b`: from the first x to b.
                None => cuts.push(cut.start..span.start),
            }
        }
        kept = Some(span.end);
    }
    if let Some(cut) = pending {
        match kept {
            Some(end) => cuts.push(end..cut.end),
            None => cuts.push(object.inner_span()),
        }
    }
    cuts
}
