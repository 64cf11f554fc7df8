//! Masking: removes keys from a stream, in every form that programs write them.
//!
//! # Forms
//!
//! Each character of a key as it is or as any escape of it, in any mix; the key encoded as a whole;
//! and anything that programs insert between its characters. The tests check a table of
//! writers × forms × offsets × widths.
//!
//! | form | found |
//! |---|---|
//! | verbatim | the key without white space around it; its lines from 8 bytes; members of a JSON key ([`members()`]) |
//! | escapes | those that [`decode`] lists, also inside one another |
//! | Base64 | both alphabets, any offset, of the key, of its JSON-escaped, percent-encoded and UTF-16 forms, of its Base64 |
//! | hexadecimal | either case, with `:`, `-`, blanks, `0x` and commas; decimal lists |
//! | broken | by line ends, indentation, quotes, terminal sequences, anywhere and at any width |
//!
//! Encoded forms need eight characters that do not depend on the text around the key.
//!
//! # Searches
//!
//! Two searches run over the same bytes. The *literal* search finds keys, lines and members as they
//! are: a key may be part of text that looks like an escape, `C:\\new…`, and decoding would lose
//! it. The *canonical* search finds all forms in the canonical form of the stream ([`decode`]), and
//! maps them back to positions in the stream ([`canonical`]). Patterns are kept as keyed hashes
//! ([`set`]): each candidate costs the same, so the time is linear in the stream for any keys.
//!
//! Every byte of an occurrence is replaced. A run of overlapping occurrences becomes one [`MASK`];
//! two that only touch become two.
//!
//! A stream is masked as it arrives. The result does not depend on how it is cut, unless held bytes
//! are released ([`Masker::release`]).
//!
//! The crate never writes a byte that may be part of an occurrence before [`Masker::release`],
//! never keeps a key in memory that is not wiped, does no I/O and reads no clock.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")
)]

mod canonical;
mod decode;
mod forms;
mod hash;
mod masker;
mod members;
mod patterns;
mod runs;
mod set;
#[cfg(test)]
mod tests;
mod window;

pub use masker::Masker;
pub use members::{LINE, MEMBER, Text, lines, members};
pub use patterns::Patterns;

/// Shortest key that is masked, in bytes. Shorter ones occur in too many other words.
pub const MIN: usize = 4;

/// Text that replaces a secret.
pub const MASK: &[u8] = b"***";
