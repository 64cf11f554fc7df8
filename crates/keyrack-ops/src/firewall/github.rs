//! What a GitHub Actions runner is told: which texts to mask in its log, and which variables later steps get.
//!
//! The forms are those of docs.github.com, "Workflow commands for GitHub Actions": `::add-mask::` lines on stdout, and `NAME<<DELIMITER` blocks
//! in the file that `GITHUB_ENV` names. Everything that holds a secret is put together in one allocation and wiped.

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

/// Why a key cannot be a variable of later steps, or must not be; `None` if it can.
pub fn why_unfit(name: &str, value: &[u8]) -> Option<String> {
    // Variables that only a shell uses do no harm to the programs of a step.
    if let Some(whose @ Reserved::Loader) = reserved(name) {
        return Some(format!("{name} {} in every later step: no secret belongs there", whose.reason()));
    }
    if value.contains(&0) {
        return Some("its value holds a NUL byte, which no variable can".to_owned());
    }
    std::str::from_utf8(value)
        .is_err()
        .then(|| "its value is no UTF-8 text: the runner would change it, and could not mask it".to_owned())
}

/// Whether the runner sets the variable itself, in every step, so that what is exported does not last. GITHUB_TOKEN it does not.
pub fn is_runners_own(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    upper != "GITHUB_TOKEN" && (upper.starts_with("GITHUB_") || upper.starts_with("RUNNER_"))
}

/// `::add-mask::` lines for what later steps may print of the values: each line, and where a value is JSON, the lines of the members that
/// `keyrack run --mask` masks. A line with blanks at its ends is masked without them too: a program may print it so. What is shorter than
/// [`MIN`] is left out, as it would be found in every other word.
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

/// Without the white space of Unicode at its ends, which the runner does not mask by itself.
fn trim(line: &[u8]) -> &[u8] {
    std::str::from_utf8(line).map_or(line.trim_ascii(), |text| text.trim().as_bytes())
}

/// The runner reads `%25` as a percent sign, and would read `%0A` as a line break. A line has none of the others that it escapes.
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

/// Makes a problem one that may be told before the masks are: the runner obeys `::command::` at the start of a line and `##[command]` anywhere in it,
/// and a name in a manifest, quoted, could be one that makes it pass over the masks.
pub fn tame(error: &mut Error) {
    let tamed = |text: &str| text.replace("##[", "## [");
    error.message = format!("keyrack: {}", tamed(&error.message));
    error.hint = error.hint.as_deref().map(tamed);
    error.fix = None;
}

/// One `::notice::` line for every key that ends by itself.
pub fn notices(answers: &[KeyOutcome]) -> String {
    let ends = answers.iter().filter_map(|answer| match &answer.attempt {
        Attempt::Granted { grant, .. } => Some((grant.slug.name(), grant.expires_at_ms?)),
        _ => None,
    });
    ends.map(|(name, at)| format!("::notice::{name} expires at {}\n", timestamp::format_ms(at))).collect()
}

/// What is appended to the file of `GITHUB_ENV`: for every key a block between delimiters that are random and do not occur in its value.
///
/// # Errors
/// [`ErrorCode::Io`] when the kernel gives no randomness.
pub fn blocks(exports: &[Export]) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut kernel = File::open("/dev/urandom").map_err(|error| no_randomness(&error))?;
    blocks_with(exports, || {
        let mut bytes = [0; 16];
        kernel.read_exact(&mut bytes).map_err(|error| no_randomness(&error))?;
        Ok(bytes)
    })
}

fn no_randomness(error: &io::Error) -> Error {
    Error::new(ErrorCode::Io, format!("the kernel gives no randomness: {error}"))
}

/// The same with the randomness given.
pub(super) fn blocks_with(
    exports: &[Export],
    mut random: impl FnMut() -> Result<[u8; 16], Error>,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    let mut delimiters = Vec::with_capacity(exports.len());
    for export in exports {
        delimiters.push(delimiter_for(export.secret.expose(), &mut random)?);
    }
    // A line that somebody left without its end must not swallow our first one; an empty one the runner passes over.
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

/// All parts behind one another, in an allocation of their size: growing would leave copies behind.
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
    /// Opens it before anything is printed, and creates it if it is missing.
    ///
    /// # Errors
    /// [`ErrorCode::Usage`] when its directory is missing; [`ErrorCode::FileUnsafe`] for a link and for what is no file; [`ErrorCode::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let shown = path.display().to_string();
        let file = append_shared(path).map_err(|error| {
            let code = match error.kind() {
                io::ErrorKind::NotFound => ErrorCode::Usage,
                io::ErrorKind::InvalidInput => ErrorCode::FileUnsafe,
                _ => ErrorCode::Io,
            };
            Error::new(code, format!("the file of GITHUB_ENV, {shown}, cannot be appended to: {error}"))
                .hint("the runner makes one for each step")
        })?;
        Ok(EnvFile { file, shown })
    }

    /// Appends in one write. What was written of one that failed is taken back, unless somebody else has written behind it.
    ///
    /// # Errors
    /// [`ErrorCode::Io`]; nothing is exported then.
    pub fn append(mut self, bytes: &[u8]) -> Result<(), Error> {
        let before = self.file.metadata().map_err(|error| self.unwritten(&error))?.len();
        let mut written = 0;
        while written < bytes.len() {
            match self.file.write(&bytes[written..]) {
                Ok(0) => return Err(self.taken_back(before, written, &io::ErrorKind::WriteZero.into())),
                Ok(more) => written += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.taken_back(before, written, &error)),
            }
        }
        Ok(())
    }

    fn taken_back(&self, before: u64, written: usize, error: &io::Error) -> Error {
        let end = before.checked_add(u64::try_from(written).unwrap_or(u64::MAX));
        if self.file.metadata().ok().map(|found| found.len()) == end {
            let _ = self.file.set_len(before);
        }
        self.unwritten(error)
    }

    fn unwritten(&self, error: &io::Error) -> Error {
        Error::new(ErrorCode::Io, format!("nothing is exported: {} cannot be written: {error}", self.shown))
    }
}
