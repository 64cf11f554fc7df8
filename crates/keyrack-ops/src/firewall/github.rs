//! Output for a GitHub Actions runner: texts to mask in its log, and variables for later steps.
//!
//! The formats are those of docs.github.com, "Workflow commands for GitHub Actions": `::add-mask::`
//! lines on stdout, and `NAME<<DELIMITER` blocks in the file that `GITHUB_ENV` names. Everything
//! that holds a secret is composed in one allocation and wiped.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::Path;

use keyrack_client::get::KeyOutcome;
use keyrack_client::source::Export;
use keyrack_core::{Attempt, Error, ErrorCode, Reserved, reserved, timestamp};
use keyrack_mask::{MIN, members};
use keyrack_sys::fs::file::append_shared;
use zeroize::Zeroizing;

/// Returns the reason for which a key cannot, or must not, be a variable of later steps; `None` if
/// it can.
pub fn unfit_reason(name: &str, value: &[u8]) -> Option<String> {
    // Variables that only a shell uses do no harm to the programs of a step.
    if let Some(whose @ Reserved::Loader) = reserved(name) {
        return Some(format!("{name} {} in every later step: no secret belongs there", whose.reason()));
    }
    if value.contains(&0) {
        return Some("its value contains a NUL byte, which a variable cannot hold".to_owned());
    }
    std::str::from_utf8(value)
        .is_err()
        .then(|| "its value is not valid UTF-8: the runner would change it and could not mask it".to_owned())
}

/// Returns `true` if the runner sets the variable itself in every step, so that an exported value
/// is lost. It does not set GITHUB_TOKEN.
pub fn is_set_by_runner(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper != "GITHUB_TOKEN" && (upper.starts_with("GITHUB_") || upper.starts_with("RUNNER_"))
}

/// Composes `::add-mask::` lines for what later steps may print of the values: each line, and where
/// a value is JSON, the lines of the members that `keyrack run --mask` masks. A line with
/// surrounding blanks is also masked without them, because a program may print it so. Texts shorter
/// than [`MIN`] are omitted, because they occur in other words.
pub fn masks(exports: &[Export]) -> Zeroizing<Vec<u8>> {
    let values = exports.iter().map(|export| export.secret.expose());
    let members: Vec<_> = values.clone().flat_map(members).collect();
    let mut told = BTreeSet::new();
    let mut parts: Vec<&[u8]> = Vec::new();
    for line in values.chain(members.iter().map(|member| &member[..])).flat_map(lines) {
        for text in [line, trim(line)] {
            if told.insert(text) {
                mask(&mut parts, text);
            }
        }
    }
    assemble(&parts)
}

/// Returns `true` if [`masks`] masks any of a value.
pub fn is_masked(value: &[u8]) -> bool {
    lines(value).next().is_some()
}

/// The lines of a text that are long enough to be masked.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| trim(line).len() >= MIN)
}

/// Trims Unicode white space, which the runner does not mask.
fn trim(line: &[u8]) -> &[u8] {
    std::str::from_utf8(line).map_or(line.trim_ascii(), |text| text.trim().as_bytes())
}

/// Escapes a percent sign as `%25`: the runner would read `%0A` as a line break. A line has no
/// other character that the runner unescapes.
fn mask<'a>(parts: &mut Vec<&'a [u8]>, line: &'a [u8]) {
    parts.push(b"::add-mask::");
    for (at, piece) in line.split(|byte| *byte == b'%').enumerate() {
        if at > 0 {
            parts.push(b"%25");
        }
        parts.push(piece);
    }
    parts.push(b"\n");
}

/// Makes an error safe to print before the masks: the runner obeys `::command::` at the start of a
/// line and `##[command]` anywhere in it, and a name quoted from a manifest could hold a command
/// that disables the masks.
pub fn neutralize(error: &mut Error) {
    let tamed = |text: &str| text.replace("##[", "## [");
    error.message = format!("keyrack: {}", tamed(&error.message));
    error.hint = error.hint.as_deref().map(tamed);
    error.fix = None;
}

/// Composes one `::notice::` line for every key that expires.
pub fn notices(answers: &[KeyOutcome]) -> String {
    let ends = answers.iter().filter_map(|answer| match &answer.attempt {
        Attempt::Granted { grant, .. } => Some((grant.slug.name(), grant.expires_at_ms?)),
        _ => None,
    });
    ends.map(|(name, at)| format!("::notice::{name} expires at {}\n", timestamp::format_ms(at))).collect()
}

/// Composes the text to append to the file of `GITHUB_ENV`: a block for every key, between random
/// delimiters that do not occur in its value.
///
/// # Errors
/// [`ErrorCode::Io`] if the kernel provides no randomness.
pub fn blocks(exports: &[Export]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut kernel = File::open("/dev/urandom").map_err(|error| no_randomness(&error))?;
    blocks_with(exports, || {
        let mut bytes = [0; 16];
        kernel.read_exact(&mut bytes).map_err(|error| no_randomness(&error))?;
        Ok(bytes)
    })
}

fn no_randomness(error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("cannot read /dev/urandom: {error}"))
}

/// As [`blocks`], with the randomness given.
pub(super) fn blocks_with(
    exports: &[Export],
    mut random: impl FnMut() -> Result<[u8; 16], Error>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut delimiters = Vec::with_capacity(exports.len());
    for export in exports {
        delimiters.push(delimiter_for(export.secret.expose(), &mut random)?);
    }
    // Ends a last line that another program left open. The runner skips an empty line.
    let mut parts: Vec<&[u8]> = vec![b"\n"];
    for (export, delimiter) in exports.iter().zip(&delimiters) {
        let delimiter = delimiter.as_bytes();
        parts.extend([export.name.as_bytes(), b"<<", delimiter, b"\n"]);
        parts.extend([export.secret.expose(), b"\n", delimiter, b"\n"]);
    }
    Ok(if exports.is_empty() { Zeroizing::default() } else { assemble(&parts) })
}

fn delimiter_for(
    value: &[u8],
    random: &mut impl FnMut() -> Result<[u8; 16], Error>,
) -> Result<String, Error> {
    loop {
        let hex: String = random()?.iter().map(|byte| format!("{byte:02x}")).collect();
        let delimiter = format!("keyrack_{hex}");
        if !value.windows(delimiter.len()).any(|part| part == delimiter.as_bytes()) {
            return Ok(delimiter);
        }
    }
}

/// Concatenates the parts in an allocation of the exact size: growing it would leave copies.
fn assemble(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut whole = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| whole.extend_from_slice(part));
    whole
}

/// The file that `GITHUB_ENV` names, open to be appended to.
pub struct EnvFile {
    file: File,
    shown: String,
}

impl EnvFile {
    /// Opens the file before anything is printed, and creates it if it is missing.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`] if its directory is missing; [`ErrorCode::FileUnsafe`] for a link and
    /// for anything but a regular file; [`ErrorCode::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let file = append_shared(path).map_err(|error| {
            let code = match error.kind() {
                io::ErrorKind::NotFound => ErrorCode::Usage,
                io::ErrorKind::InvalidInput => ErrorCode::FileUnsafe,
                _ => ErrorCode::Io,
            };
            Error::new(code, format!("cannot append to {shown} (GITHUB_ENV): {error}"))
                .hint("the runner creates this file for each step")
        })?;
        Ok(EnvFile { file, shown })
    }

    /// Appends in one write. A partial write is rolled back, unless another program has appended
    /// since.
    ///
    /// # Errors
    /// [`ErrorCode::Io`]; then nothing is exported.
    pub fn append(mut self, bytes: &[u8]) -> Result<(), Error> {
        let before = self.file.metadata().map_err(|error| self.write_error(&error))?.len();
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err(self.roll_back(before, written, &io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.roll_back(before, written, &error)),
            }
        }
        Ok(())
    }

    fn roll_back(&self, before: u64, written: usize, error: &io::Error) -> Error {
        let end = before.checked_add(u64::try_from(written).unwrap_or(u64::MAX));
        if self.file.metadata().ok().map(|found| found.len()) == end {
            let _ = self.file.set_len(before);
        }
        self.write_error(error)
    }

    fn write_error(&self, error: &io::Error) -> Error {
        Error::new(ErrorCode::Io, format!("nothing was exported: cannot write {}: {error}", self.shown))
    }
}
