//! The fields of a grant that this version does not know. They come back as they came: kept as text, never read, and
//! treated like the secret beside them, for nobody here can say that they are none.

use std::borrow::Cow;

use super::MAX_UNKNOWN_FIELDS;
use super::error::FieldError;
use keyrack_json::RawValue;
use keyrack_json::{CapacityError, Writer};

/// Where in a grant a field stands.
#[derive(Clone, Copy)]
pub(super) enum Level {
    Grant,
    Key,
    Grade,
    Source,
}

const LEVELS: usize = 4;

struct Member<'a> {
    /// With its quotes, as it came.
    name: &'a str,
    decoded: Cow<'a, str>,
    value: &'a str,
}

/// The unknown fields of one grant, as slices of the message.
#[derive(Default)]
pub struct Extras<'a> {
    levels: [Vec<Member<'a>>; LEVELS],
}

impl<'a> Extras<'a> {
    /// `name` has been found to be a proper string; `decoded` is what it stands for.
    pub(super) fn add(
        &mut self,
        level: Level,
        name: &'a str,
        decoded: Cow<'a, str>,
        value: RawValue<'a>,
    ) -> Result<(), FieldError> {
        let members = &mut self.levels[level as usize];
        if members.len() == MAX_UNKNOWN_FIELDS {
            return Err(FieldError::TooManyUnknown);
        }
        if members.iter().any(|member| member.decoded == decoded) {
            return Err(FieldError::Twice);
        }
        members.push(Member { name, decoded, value: value.text() });
        Ok(())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.levels.iter().all(Vec::is_empty)
    }

    /// Length in bytes of what [`Self::pack`] puts: 0 if there are none.
    pub fn packed_len(&self) -> usize {
        if self.is_empty() { 0 } else { HEAD + self.level_lens().iter().sum::<usize>() }
    }

    /// Puts the fields in the form [`ExtraText::unpack`] reads: one run of bytes, to keep beside the secret.
    ///
    /// # Errors
    /// [`CapacityError`].
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

/// Four lengths of four bytes.
const HEAD: usize = 4 * LEVELS;

/// Unknown fields as they were packed: for each object of a grant the text of its members, empty if it has none.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct ExtraText<'a> {
    pub(super) levels: [&'a [u8]; LEVELS],
}

impl<'a> ExtraText<'a> {
    /// Reads what [`Extras::pack`] put; `None` if `packed` is not that.
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

    /// Puts the members of one object behind its known ones.
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
