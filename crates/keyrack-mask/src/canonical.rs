//! Search in the canonical form of a stream ([`crate::decode`]), and the map from there back to
//! positions in the stream.

use std::ops::Range;

use crate::decode::{Class, Decoder, Sink, class, folded, shortcut};
use crate::hash::Hasher;
use crate::set::{Found, Open, Scan, Set};
use crate::window::Window;

/// Number of canonical characters before an operating system command that are repeated after it.
const REPEATED: usize = 256;

/// Longest payload of a command, in canonical characters. After a longer one, nothing is repeated.
const PAYLOAD: usize = 2048;

/// Most bytes of the stream between two notes of its position.
const NOTE: usize = 64;

/// Canonical form of the part of a stream that is not decided yet.
pub(crate) struct Canonical {
    decoder: Decoder,
    text: Text,
    scan: Scan,
    found: Vec<Found>,
}

/// An occurrence in the stream.
pub(crate) type ByteSpan = Range<usize>;

/// Position up to which the stream is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decided {
    /// End of the decided part.
    pub(crate) until: usize,
    /// Start of the part of the stream that is still needed.
    pub(crate) needed: usize,
    /// Number of characters of a begun pattern at the end.
    pub(crate) begun: usize,
}

struct Text {
    characters: Window<u8>,
    notes: Window<Note>,
    /// Canonical position where an operating system command began.
    command: Option<usize>,
}

/// Source of a canonical character.
#[derive(Clone, Copy, Default)]
struct Note {
    /// Its canonical position.
    at: usize,
    kind: Kind,
    /// Position in the stream where it begins; for [`Kind::Repeated`], the canonical position of
    /// the repeated characters.
    start: usize,
    /// Number of bytes of the stream that it comes from; 0 for [`Kind::Run`] and
    /// [`Kind::Repeated`].
    length: u32,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Kind {
    /// From here on, every [`Class::Kept`] byte of the stream is one character.
    #[default]
    Run,
    /// One character.
    One,
    /// An escape that is not a character.
    Dropped,
    /// From here on, characters are repeated.
    Repeated,
}

impl zeroize::DefaultIsZeroes for Note {}

impl Canonical {
    pub(crate) fn new() -> Self {
        let text = Text { characters: Window::new(0, 0), notes: Window::new(0, 0), command: None };
        Canonical { decoder: Decoder::new(), text, scan: Scan::at(0), found: Vec::new() }
    }

    /// Takes the next bytes of the stream, at the position `at`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], mut at: usize) {
        while !bytes.is_empty() {
            if self.decoder.is_idle() {
                let mut count = self.text.run(bytes, at);
                while let Some((character, length)) = shortcut(&bytes[count..]) {
                    let start = at + count;
                    match character {
                        Some(b) => self.text.put(folded(b), start, start + length),
                        None => self.text.pass(start, start + length),
                    }
                    count += length;
                }
                bytes = &bytes[count..];
                at += count;
                // The next bytes may be plain again.
                if count > 0 {
                    continue;
                }
            }
            let Some((b, rest)) = bytes.split_first() else { break };
            self.decoder.feed(*b, at, at + 1, &mut self.text);
            bytes = rest;
            at += 1;
        }
    }

    /// Ends the stream.
    pub(crate) fn finish(&mut self) {
        self.decoder.finish(&mut self.text);
    }

    /// Continues the search. `stream` is the kept part of the stream.
    pub(crate) fn search(
        &mut self,
        set: &Set,
        hasher: &Hasher,
        stream: &Window<u8>,
        last: bool,
        spans: &mut Vec<ByteSpan>,
    ) -> Decided {
        loop {
            let text = &self.text.characters;
            let open = self.scan.run(set, hasher, text.all(), text.start(), last, &mut self.found);
            let decided = match open {
                None => {
                    let open = self.decoder.open_since().filter(|since| stream.end() - since <= widest(0));
                    let end = open.unwrap_or(stream.end());
                    // An escape at the end may take the first characters of the next bytes.
                    let escapes = Text::escapes(self.text.notes.all(), text.end(), end);
                    let until = escapes.map_or(end, |start| start.min(end));
                    Decided { until, needed: until, begun: 0 }
                }
                Some(open) => {
                    let begun = text.end() - open.at;
                    match self.undecided(open, begun, stream) {
                        Some(decided) => decided,
                        None => {
                            self.scan.skip();
                            continue;
                        }
                    }
                }
            };
            let mut cursors = [Cursor::new(), Cursor::new()];
            for run in self.found.chunk_by(Found::is_followed_by) {
                match self.text.span_of_run(run, stream, &mut cursors) {
                    Some(span) => spans.push(span),
                    None => spans
                        .extend(run.iter().filter_map(|found| self.text.span(*found, stream, &mut cursors))),
                }
            }
            self.found.clear();
            let outer = self.text.before_command().filter(|_| !last);
            let decided = match outer.and_then(|range| self.open_before(range, set, hasher, stream)) {
                Some(outer) => decided.min(outer),
                None => decided,
            };
            self.text.drop_before(self.scan.next());
            return decided;
        }
    }
}

impl Canonical {
    /// Returns the decided part of the stream while a pattern is open; `None` if the pattern has
    /// become too wide.
    fn undecided(&self, open: Open, begun: usize, stream: &Window<u8>) -> Option<Decided> {
        let since = self.text.locate(open.at, stream, &mut Cursor::new()).start;
        let escapes = self.text.escapes_before(open.at, since).filter(|_| open.lead > 0);
        let until = escapes.unwrap_or(since);
        let needed = self.text.needed(open.at).unwrap_or(since).min(until);
        (stream.end() - since <= widest(open.length)).then_some(Decided { until, needed, begun })
    }

    /// Returns the same for the text before a command that is still open: it continues after the
    /// command.
    fn open_before(
        &self,
        range: Range<usize>,
        set: &Set,
        hasher: &Hasher,
        stream: &Window<u8>,
    ) -> Option<Decided> {
        let text = self.text.characters.slice(range.clone());
        let open = Scan::at(range.start).run(set, hasher, text, range.start, false, &mut Vec::new())?;
        self.undecided(open, range.end - open.at, stream)
    }
}

impl Decided {
    fn min(self, other: Decided) -> Decided {
        Decided {
            until: self.until.min(other.until),
            needed: self.needed.min(other.needed),
            begun: self.begun.max(other.begun),
        }
    }
}

/// Returns the greatest width in the stream of an occurrence of `length` characters. Without a
/// limit, blanks would be held forever.
fn widest(length: usize) -> usize {
    128 * length + 4096
}

impl Text {
    /// Takes bytes while each is one character or none. Returns their number.
    fn run(&mut self, bytes: &[u8], at: usize) -> usize {
        let mut taken = 0;
        if bytes.first().is_some_and(|b| TABLE[usize::from(*b)] & SPECIAL != 0) {
            return 0;
        }
        for some in bytes.chunks(NOTE) {
            self.notes.push(Note {
                at: self.characters.end(),
                kind: Kind::Run,
                start: at + taken,
                length: 0,
            });
            let mut count = 0;
            self.characters.extend_with(NOTE + 8, |room| {
                let (read, written) = compact(some, room);
                count = read;
                written
            });
            taken += count;
            if count < some.len() {
                break;
            }
        }
        taken
    }

    /// Drops the characters before a position, except those that may be repeated.
    fn drop_before(&mut self, position: usize) {
        let repeated = self.command.map_or(position, |begin| begin.saturating_sub(REPEATED));
        let needed = position.min(repeated).min(self.source(position));
        self.characters.drop_before(needed);
        let Some(mut index) = self.note(needed) else { return };
        // Escapes before it may have taken its first characters.
        let notes = self.notes.all();
        let start = notes[index].start;
        while index > 0 && start.saturating_sub(notes[index - 1].start) <= widest(0) {
            index -= 1;
            if notes[index].at < needed {
                break;
            }
        }
        self.notes.drop_before(self.notes.start() + index);
    }

    /// Returns the range of the characters that are repeated when the command ends.
    fn before_command(&self) -> Option<Range<usize>> {
        let begin = self.command.filter(|begin| self.characters.end() - begin <= PAYLOAD)?;
        Some(begin.saturating_sub(REPEATED).max(self.characters.start())..begin)
    }

    /// Returns the index of the note for a character.
    fn note(&self, at: usize) -> Option<usize> {
        self.notes.all().partition_point(|note| note.at <= at).checked_sub(1)
    }

    /// Returns the position of the character that this one repeats; its own if it repeats none.
    fn source(&self, mut at: usize) -> usize {
        while let Some(note) = self.note(at).map(|index| self.notes.all()[index]) {
            match note.kind {
                Kind::Repeated if at < self.characters.end() => at = note.start + (at - note.at),
                _ => break,
            }
        }
        at
    }

    /// Returns the start of the part of the stream that is needed to locate a character.
    fn needed(&self, at: usize) -> Option<usize> {
        self.note(self.source(at)).map(|index| self.notes.all()[index].start)
    }

    /// Returns the range of a character in the stream. A dropped one is at the start of the kept
    /// part.
    fn locate(&self, at: usize, stream: &Window<u8>, cursor: &mut Cursor) -> ByteSpan {
        let gone = stream.start()..stream.start();
        let notes = self.notes.all();
        let first = self.notes.start();
        // Most searches go to the right, from the end of the last one.
        let known = cursor.index.checked_sub(first).filter(|index| *index < notes.len() && cursor.at <= at);
        let Some(mut index) = known.or_else(|| self.note(at)) else { return gone };
        while notes.get(index + 1).is_some_and(|next| next.at <= at) {
            index += 1;
        }
        let note = notes[index];
        match note.kind {
            Kind::One => {
                note.start.max(stream.start())..(note.start + note.length as usize).max(stream.start())
            }
            Kind::Run if note.start >= stream.start() => {
                let is_inside = cursor.index == first + index && cursor.at <= at && known.is_some();
                let (mut missing, mut position) =
                    if is_inside { (at - cursor.at, cursor.position) } else { (at - note.at, note.start) };
                let bytes = stream.slice(position..stream.end());
                let is_kept = |b: &u8| usize::from(TABLE[usize::from(*b)] >> 8 & 1);
                for block in bytes.as_chunks::<8>().0 {
                    let count: usize = block.iter().map(is_kept).sum();
                    if count > missing {
                        break;
                    }
                    missing -= count;
                    position += 8;
                }
                for b in stream.slice(position..stream.end()) {
                    if is_kept(b) == 1 && missing == 0 {
                        break;
                    }
                    missing -= is_kept(b);
                    position += 1;
                }
                *cursor = Cursor { index: first + index, at, position };
                position..position + 1
            }
            Kind::Repeated if at < self.characters.end() => {
                self.locate(note.start + (at - note.at), stream, &mut Cursor::new())
            }
            _ => gone,
        }
    }

    /// Returns the range of a run of occurrences in the stream, if it is narrow enough for each of
    /// them.
    fn span_of_run(&self, run: &[Found], stream: &Window<u8>, cursors: &mut [Cursor; 2]) -> Option<ByteSpan> {
        let [first, .., last] = run else { return None };
        let shortest = run.iter().map(|found| found.length).min()?;
        let start = self.locate(first.at, stream, &mut cursors[0]).start;
        let end = self.locate(last.at + last.length - 1, stream, &mut cursors[1]).end;
        (end.saturating_sub(start) <= widest(shortest)).then_some(start..end)
    }

    /// Returns the start of the first of the escapes at the end of these notes that have no
    /// character between them and the canonical position `at`, and are near the position `end` of
    /// the stream.
    fn escapes(notes: &[Note], at: usize, end: usize) -> Option<usize> {
        let mut first = None;
        for note in notes.iter().rev().take_while(|note| end.saturating_sub(note.start) <= widest(0)) {
            let after = note.at + usize::from(note.kind == Kind::One);
            if after != at || note.kind == Kind::Repeated {
                break;
            }
            if note.length > 1 {
                first = Some(note.start);
            }
            if note.kind == Kind::One {
                break;
            }
        }
        first
    }

    /// Returns the start of the escapes directly before a character that comes from this position.
    /// Only bytes that the canonical form leaves out may be between them.
    fn escapes_before(&self, at: usize, position: usize) -> Option<usize> {
        let notes = self.notes.all();
        let index = self.note(at).filter(|index| notes[*index].at == at)?;
        let before = match notes[index].kind {
            // Blanks may be in the same run.
            Kind::Run => &notes[..=index],
            _ => &notes[..index],
        };
        Self::escapes(before, at, position)
    }

    fn note_escape(&mut self, kind: Kind, start: usize, end: usize) {
        let length = u32::try_from(end - start).unwrap_or(u32::MAX);
        self.notes.push(Note { at: self.characters.end(), kind, start, length });
    }

    /// Returns the range of an occurrence in the stream, if it is valid there.
    fn span(&self, found: Found, stream: &Window<u8>, cursors: &mut [Cursor; 2]) -> Option<ByteSpan> {
        let start = self.locate(found.at, stream, &mut cursors[0]).start;
        let end = self.locate(found.at + found.length - 1, stream, &mut cursors[1]).end;
        if end.saturating_sub(start) > widest(found.length) {
            return None;
        }
        let bytes = stream.slice(start..end.max(start));
        if found.is_short && bytes.iter().any(u8::is_ascii_whitespace) {
            return None;
        }
        if found.lead == 0 {
            return Some(start..end);
        }
        let escapes = self.escapes_before(found.at, start)?;
        // All of them except their first character: `TOKEN=***`.
        (start - escapes > usize::from(found.lead)).then_some((escapes + 1).max(stream.start())..end)
    }
}

/// End of a search for a character in a run.
struct Cursor {
    /// Index of the note, counted from the start of the stream.
    index: usize,
    at: usize,
    position: usize,
}

impl Cursor {
    /// Returns the cursor before any search.
    fn new() -> Self {
        Cursor { index: usize::MAX, at: 0, position: 0 }
    }
}

impl Sink for Text {
    fn put(&mut self, b: u8, start: usize, end: usize) {
        self.note_escape(Kind::One, start, end);
        self.characters.push(b);
    }

    fn pass(&mut self, start: usize, end: usize) {
        self.note_escape(Kind::Dropped, start, end);
    }

    fn begin_command(&mut self) {
        self.command = Some(self.characters.end());
    }

    fn end_command(&mut self) {
        let range = self.before_command();
        self.command = None;
        let Some(range) = range else { return };
        // No pattern has a NUL, so none continues from the payload to the repeated characters.
        self.put(0, 0, 0);
        self.notes.push(Note {
            at: self.characters.end(),
            kind: Kind::Repeated,
            start: range.start,
            length: 0,
        });
        self.characters.repeat(range);
    }
}

/// For each byte: its character, and the flags [`KEPT`] and [`SPECIAL`].
const TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut b = 0_u8;
    loop {
        table[b as usize] = match class(b) {
            Class::Kept => KEPT | folded(b) as u16,
            Class::Blank | Class::Quote => 0,
            Class::Start | Class::Control => SPECIAL,
        };
        if b == u8::MAX {
            break table;
        }
        b += 1;
    }
};
/// The byte is a character. It is the ninth bit, so that a shift by eight gives a count.
const KEPT: u16 = 0x100;
/// The byte needs the decoder.
const SPECIAL: u16 = 0x200;

/// Returns `true` if a byte is a character outside of an escape.
pub(crate) fn is_character(b: u8) -> bool {
    TABLE[usize::from(b)] & KEPT != 0
}

/// Writes the characters of `bytes`, up to the first byte that needs the decoder, to `out`, which
/// is eight bytes longer than `bytes`. Returns the number of bytes read and of characters written.
///
/// Benchmark rows "masking, … keys, text: …".
fn compact(bytes: &[u8], out: &mut [u8]) -> (usize, usize) {
    let (mut read, mut written) = (0, 0);
    let (blocks, _) = bytes.as_chunks::<8>();
    for block in blocks {
        let Some(room) = out.get_mut(written..).and_then(<[u8]>::first_chunk_mut::<8>) else { break };
        let (mut count, mut all) = (0_usize, 0);
        // Without branches: each byte is written, and the next one overwrites it unless it is kept.
        for b in block {
            let entry = TABLE[usize::from(*b)];
            room[count & 7] = entry.to_le_bytes()[0];
            count += usize::from(entry & KEPT != 0);
            all |= entry;
        }
        if all & SPECIAL != 0 {
            break;
        }
        read += 8;
        written += count;
    }
    for b in &bytes[read..] {
        let entry = TABLE[usize::from(*b)];
        if entry & SPECIAL != 0 {
            break;
        }
        out[written] = entry.to_le_bytes()[0];
        written += usize::from(entry & KEPT != 0);
        read += 1;
    }
    (read, written)
}
