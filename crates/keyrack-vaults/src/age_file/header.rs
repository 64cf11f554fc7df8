//! The header of an age file: its bounds, checked before the age library parses it.
//!
//! The library parses from the start again for each line it is handed, which takes minutes for a
//! header of a few megabytes. Here the end of the header is found first, within a limit, and the
//! library is handed all of it at once.

use std::io::{self, BufRead, Read};

/// Reason for refusing a file with an endless header.
pub(crate) const TOO_LONG: &str = "its age header is longer than 64 KiB and 1 KiB for each recipient";

/// Longest header of a file whose recipients are not known. A stanza of an X25519 recipient has 98
/// bytes, one of the largest rsa key that age takes 750.
const BASE_LIMIT: usize = 64 << 10;
const LIMIT_PER_RECIPIENT: usize = 1 << 10;

/// Begins the last line of a header, which holds its MAC (<https://c2sp.org/age>).
const LAST_LINE: &[u8] = b"\n---";

/// Returns the length of the header that `binary` begins with, up to and including its last line.
/// `None` if it does not end within the limit. The whole file is the header where the file ends
/// before the header does; the library then says so.
pub(super) fn length(binary: &[u8], recipients: usize) -> Option<usize> {
    let limit = BASE_LIMIT.saturating_add(recipients.saturating_mul(LIMIT_PER_RECIPIENT));
    let head = &binary[..binary.len().min(limit)];
    let Some(last) = head.windows(LAST_LINE.len()).position(|part| part == LAST_LINE) else {
        return (head.len() == binary.len()).then_some(binary.len());
    };
    let end = head[last + 1..].iter().position(|&byte| byte == b'\n');
    match end {
        Some(end) => Some(last + 1 + end + 1),
        None => (head.len() == binary.len()).then_some(binary.len()),
    }
}

/// An age file that hands the library its whole header in one read.
pub(super) struct HeaderFirstReader<'a> {
    header: &'a [u8],
    payload: &'a [u8],
}

impl<'a> HeaderFirstReader<'a> {
    pub(super) fn new(binary: &'a [u8], header: usize) -> Self {
        let (header, payload) = binary.split_at(header);
        HeaderFirstReader { header, payload }
    }
}

impl Read for HeaderFirstReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.header.is_empty() { self.payload.read(into) } else { self.header.read(into) }
    }
}

impl BufRead for HeaderFirstReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(if self.header.is_empty() { self.payload } else { self.header })
    }

    fn consume(&mut self, amount: usize) {
        let from = if self.header.is_empty() { &mut self.payload } else { &mut self.header };
        *from = &from[amount..];
    }

    /// Reads the whole header at the first call and nothing afterwards. Only the library's header
    /// parser calls it.
    fn read_until(&mut self, _: u8, into: &mut Vec<u8>) -> io::Result<usize> {
        let header = std::mem::take(&mut self.header);
        into.extend_from_slice(header);
        Ok(header.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_ends_with_the_line_of_its_mac() {
        let start = "age-encryption.org/v1\n-> X25519 a\nb\n";
        let stanzas = |bytes: usize| "-> x\n\n".repeat(bytes / 6);
        for (text, recipients, expected) in [
            (format!("{start}--- mac\npayload\n--- more\n"), 0, Some(start.len() + 8)),
            // Cut off: the library says what is missing.
            (start.to_owned(), 0, Some(start.len())),
            (format!("{start}--- mac"), 0, Some(start.len() + 7)),
            (String::new(), 0, Some(0)),
            (format!("{start}{}--- mac\n", stanzas(60_000)), 0, Some(start.len() + 60_000 + 8)),
            (format!("{start}{}--- mac\n", stanzas(66_000)), 0, None),
            (format!("{start}{}--- mac\n", stanzas(66_000)), 1, Some(start.len() + 66_000 + 8)),
            (format!("{start}{}--- mac\n", stanzas(1 << 20)), 9, None),
            (format!("{start}-> x {}\n\n--- mac\n", "y".repeat(2 << 20)), 9, None),
            (format!("{start}--- {}\n", "y".repeat(2 << 20)), 9, None),
            ("x".repeat(1 << 20), 0, None),
        ] {
            let shown = &text[..text.len().min(80)];
            assert_eq!(length(text.as_bytes(), recipients), expected, "{shown} {recipients}");
        }
    }

    #[test]
    fn reader_reads_every_byte_in_order() {
        let file = b"headerpayload";
        for header in 0..=file.len() {
            let mut all = Vec::new();
            HeaderFirstReader::new(file, header).read_to_end(&mut all).unwrap();
            assert_eq!(all, file, "{header}");
            let mut source = HeaderFirstReader::new(file, header);
            let mut first = Vec::new();
            assert_eq!(source.read_until(b'\n', &mut first).unwrap(), header);
            assert_eq!(source.read_until(b'\n', &mut first).unwrap(), 0);
            source.read_to_end(&mut first).unwrap();
            assert_eq!(first, file, "{header}");
        }
    }
}
