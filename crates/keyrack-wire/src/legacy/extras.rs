//! The fields of a grant that this version does not know. The daemon returns them unchanged: it
//! keeps them as text, never reads them, and protects them like the secret, because they may be
//! one.

use std::borrow::Cow;

use super::MAX_UNKNOWN_FIELDS;
use super::error::FieldError;
use keyrack_json::RawValue;
use keyrack_json::{CapacityError, Writer};

/// Object of a grant that a field is in.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Grant,
    Key,
    Grade,
    Source,
}

const LEVELS: usize = 4;

struct Member<'a> {
    /// Name with its quotes, still escaped.
    name: &'a str,
    unescaped: Cow<'a, str>,
    value: &'a str,
}

/// The unknown fields of one grant, as slices of the message.
#[derive(Default)]
pub struct Extras<'a> {
    levels: [Vec<Member<'a>>; LEVELS],
}

impl<'a> Extras<'a> {
    /// Adds a field. `name` is a checked string with its quotes, and `unescaped` its text.
    pub(super) fn add(
        &mut self,
        level: Level,
        name: &'a str,
        unescaped: Cow<'a, str>,
        value: RawValue<'a>,
    ) -> Result<(), FieldError> {
        let members = &mut self.levels[level as usize];
        if members.len() == MAX_UNKNOWN_FIELDS {
            return Err(FieldError::TooManyUnknown);
        }
        if members.iter().any(|member| member.unescaped == unescaped) {
            return Err(FieldError::Twice);
        }
        members.push(Member { name, unescaped, value: value.text() });
        Ok(())
    }

    /// Returns `true` if there are no unknown fields.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(Vec::is_empty)
    }

    /// Returns the length in bytes of the packed form: 0 if there are no fields.
    pub fn packed_len(&self) -> usize {
        if self.is_empty() { 0 } else { HEAD + self.level_lens().iter().sum::<usize>() }
    }

    /// Writes the packed form, which [`ExtraText::unpack`] reads: one run of bytes, to be kept
    /// beside the secret.
    ///
    /// # Errors
    /// [`CapacityError`] if the writer is full.
    pub fn pack(&self, writer: &mut impl Writer) -> Result<(), CapacityError> {
        if self.is_empty() {
            return Ok(());
        }
        for len in self.level_lens() {
            writer.put(&u32::try_from(len).map_err(|_| CapacityError)?.to_le_bytes())?;
        }
        for members in &self.levels {
            for (index, member) in members.iter().enumerate() {
                if index > 0 {
                    writer.put(b",")?;
                }
                writer.put(member.name.as_bytes())?;
                writer.put(b":")?;
                writer.put(member.value.as_bytes())?;
            }
        }
        Ok(())
    }

    fn level_lens(&self) -> [usize; LEVELS] {
        self.levels.each_ref().map(|members| {
            let text: usize = members.iter().map(|member| member.name.len() + member.value.len() + 1).sum();
            text + members.len().saturating_sub(1)
        })
    }
}

impl std::fmt::Debug for Extras<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Extras({} fields)", self.levels.iter().map(Vec::len).sum::<usize>())
    }
}

/// Length of the packed form's head: four lengths of four bytes.
const HEAD: usize = 4 * LEVELS;

/// Packed unknown fields: the text of the members of each object of a grant, empty if it has none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtraText<'a> {
    pub(super) levels: [&'a [u8]; LEVELS],
}

impl<'a> ExtraText<'a> {
    /// Reads the form that [`Extras::pack`] writes; `None` for any other.
    pub fn unpack(packed: &'a [u8]) -> Option<Self> {
        if packed.is_empty() {
            return Some(Self::default());
        }
        let (head, mut text) = packed.split_at_checked(HEAD)?;
        let mut levels = [&[][..]; LEVELS];
        for (level, len) in levels.iter_mut().zip(head.chunks_exact(4)) {
            let len = u32::from_le_bytes(len.try_into().ok()?);
            (*level, text) = text.split_at_checked(usize::try_from(len).ok()?)?;
        }
        text.is_empty().then_some(Self { levels })
    }

    /// Writes the unknown members of one object, after its known ones.
    pub(super) fn put(&self, level: Level, writer: &mut impl Writer) -> Result<(), CapacityError> {
        let members = self.levels[level as usize];
        if members.is_empty() {
            return Ok(());
        }
        writer.put(b",")?;
        writer.put(members)
    }
}

impl std::fmt::Debug for ExtraText<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ExtraText({} bytes)", self.levels.iter().map(|level| level.len()).sum::<usize>())
    }
}
