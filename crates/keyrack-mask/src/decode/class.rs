//! Classes of bytes.

/// Class of a byte outside of an escape.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    Kept,
    /// White space, control characters.
    Blank,
    Quote,
    /// Beginning of an escape.
    Start,
    /// ESC, or BEL, which may end an operating system command.
    Control,
}

/// Returns the class of a byte.
pub(crate) const fn class(b: u8) -> Class {
    match b {
        0x07 | 0x1b => Class::Control,
        0..=b' ' | 0x7f => Class::Blank,
        b'\'' | b'"' | b'`' => Class::Quote,
        b'\\' | b'%' | b'&' | b'=' | b'$' => Class::Start,
        _ => Class::Kept,
    }
}

/// Folds the two alphabets of Base64 into one (RFC 4648 §4 and §5).
pub(crate) const fn folded(b: u8) -> u8 {
    match b {
        b'-' => b'+',
        b'_' => b'/',
        b => b,
    }
}

/// Most parameter bytes of a terminal sequence.
pub(super) const MAX_PARAMETERS: u8 = 64;
