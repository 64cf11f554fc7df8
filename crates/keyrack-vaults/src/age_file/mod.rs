//! Age files. They are encrypted to recipients of any kind and armored. They are decrypted in
//! either form, up to a limit, into memory that is wiped and does not move while it fills.
//!
//! No plaintext leaves this process, and none is written to a temporary file.

mod header;

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::iter;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
use age::{Decryptor, Encryptor};
use age_core::format::{FileKey, Stanza};
use keyrack_core::host_manifest::Recipient;
use keyrack_core::{Error, ErrorCode};
use zeroize::Zeroizing;

use self::header::HeaderFirstReader;
use crate::binding::{self, Label};
use crate::identity::{DecryptionKeys, EncryptedFile, Identities};
use crate::recipient_key::{self, ParsedRecipient};

pub use keyrack_core::set_rule::MAX_SECRET;

/// Maximum size of a host manifest's plaintext, in bytes.
pub const MAX_MANIFEST: usize = 16 << 20;

const BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// Maximum size of an age file that is read for `plain` bytes of plaintext: armor takes a third
/// more, and each of many recipients a few hundred bytes of header.
pub(crate) const fn file_limit(plain: usize) -> usize {
    plain + plain / 2 + (1 << 20)
}

/// Error of decrypting an age file.
#[derive(Debug)]
pub(crate) enum DecryptError {
    /// It is not a complete age file. The reason follows its path in messages.
    Damaged(&'static str),
    /// Its plaintext is over the limit.
    TooLarge,
    /// No identity opens it, or one could not be used.
    Identity(Error),
}

/// Age file, parsed as far as possible without a key.
pub(crate) struct AgeFile {
    binary: Vec<u8>,
    /// Length of the header at the start of `binary`.
    header: usize,
    ssh_tags: Vec<String>,
    x25519: usize,
    labels: Vec<Label>,
}

impl AgeFile {
    /// Parses the header. `recipients` is the expected number of recipients, as far as it is known.
    /// It bounds the header.
    pub(crate) fn parse(bytes: &[u8], recipients: usize) -> Result<Self, DecryptError> {
        let binary = dearmor(bytes)?;
        let header = header::length(&binary, recipients).ok_or(DecryptError::Damaged(header::TOO_LONG))?;
        let probe = Probe::default();
        let file = Decryptor::new_buffered(HeaderFirstReader::new(&binary, header));
        match file.map(|file| file.decrypt(iter::once(&probe as _))) {
            Ok(Err(age::DecryptError::NoMatchingKeys)) => {}
            Ok(Err(error)) | Err(error) => return Err(DecryptError::Damaged(damage(&error))),
            Ok(Ok(_)) => unreachable!("a probe unwraps nothing"),
        }
        let stanzas = probe.0.into_inner();
        let is_ssh = |tag: &str| tag == "ssh-ed25519" || tag == "ssh-rsa";
        let first_arg = |stanza: &Stanza| stanza.args.first().cloned().unwrap_or_default();
        let ssh_tags = stanzas.iter().filter(|stanza| is_ssh(&stanza.tag)).map(first_arg).collect();
        let x25519 = stanzas.iter().filter(|stanza| stanza.tag == "X25519").count();
        let labels = stanzas.into_iter().filter_map(Label::from_stanza).collect();
        Ok(AgeFile { binary, header, ssh_tags, x25519, labels })
    }

    /// Labels of the header. They are not authentic before the file was decrypted: the header's MAC
    /// is keyed with the file key.
    pub(crate) fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Decrypts the file. `known` are the recipients that it should be encrypted to, if they are
    /// known: a key that is not among them is not prompted for. `limit` bounds the plaintext.
    pub(crate) fn open(
        &self,
        identities: &mut Identities<'_>,
        known: Option<&[Recipient]>,
        limit: usize,
    ) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
        identities.count_decryption();
        let known = known.map(recipient_key::age_recipients);
        let target = EncryptedFile {
            ssh_tags: &self.ssh_tags,
            has_x25519: self.x25519 > 0,
            age_recipients: known.as_deref(),
        };
        identities
            .try_identities(&target, |keys| self.attempt(keys, limit))
            .map_err(DecryptError::Identity)?
    }

    /// Decrypts with these keys. `None` if they do not fit.
    fn attempt(
        &self,
        keys: &DecryptionKeys,
        limit: usize,
    ) -> Option<Result<Zeroizing<Vec<u8>>, DecryptError>> {
        let decryptor = match Decryptor::new_buffered(HeaderFirstReader::new(&self.binary, self.header)) {
            Ok(decryptor) => decryptor,
            Err(error) => return Some(Err(DecryptError::Damaged(damage(&error)))),
        };
        match decryptor.decrypt(keys.identities.iter().map(AsRef::as_ref)) {
            Ok(reader) => Some(read_plain(reader, self.binary.len(), limit)),
            Err(age::DecryptError::NoMatchingKeys) => None,
            Err(error) => Some(Err(DecryptError::Damaged(damage(&error)))),
        }
    }
}

/// Reads plaintext, which is never longer than its file, into one buffer.
fn read_plain(mut reader: impl Read, file: usize, limit: usize) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    let mut plain = Zeroizing::new(vec![0; file.min(limit + 1)]);
    let mut filled = 0;
    loop {
        if filled == plain.len() {
            // The reader knows that the file is complete only after it saw the end.
            return match reader.read(&mut [0]) {
                Ok(0) => finish(plain, filled, limit),
                Ok(_) => Err(DecryptError::TooLarge),
                Err(_) => Err(DecryptError::Damaged(CUT)),
            };
        }
        match reader.read(&mut plain[filled..]) {
            Ok(0) => return finish(plain, filled, limit),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(DecryptError::Damaged(CUT)),
        }
    }
}

const CUT: &str = "it is cut off or was changed";

fn finish(
    mut plain: Zeroizing<Vec<u8>>,
    filled: usize,
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, DecryptError> {
    if filled > limit {
        return Err(DecryptError::TooLarge);
    }
    plain.truncate(filled);
    Ok(plain)
}

/// Records the stanzas of a header and unwraps none.
#[derive(Default)]
struct Probe(RefCell<Vec<Stanza>>);

impl age::Identity for Probe {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, age::DecryptError>> {
        let Stanza { tag, args, body } = stanza;
        self.0.borrow_mut().push(Stanza { tag: tag.clone(), args: args.clone(), body: body.clone() });
        None
    }
}

fn dearmor(bytes: &[u8]) -> Result<Vec<u8>, DecryptError> {
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Err(DecryptError::Damaged("it is empty"));
    }
    if !text.starts_with(BEGIN) {
        return Ok(bytes.to_vec());
    }
    let mut binary = Vec::with_capacity(text.len());
    ArmoredReader::new(text)
        .read_to_end(&mut binary)
        .map_err(|_| DecryptError::Damaged("its armor is broken or cut off"))?;
    Ok(binary)
}

fn damage(error: &age::DecryptError) -> &'static str {
    match error {
        age::DecryptError::UnknownFormat => "it is an age file of a newer kind, or none",
        age::DecryptError::InvalidMac | age::DecryptError::DecryptionFailed => "it was changed",
        age::DecryptError::InvalidHeader => "its header is broken",
        age::DecryptError::Io(_) => "it is not a complete age file",
        _ => "it is not an age file keyrack can read",
    }
}

/// Encrypts to every recipient, armored, with a newline at the end.
///
/// # Errors
/// [`ErrorCode::BadRecipient`], before anything is encrypted.
pub fn encrypt(recipients: &[Recipient], plain: &[u8]) -> Result<String, Error> {
    encrypt_to(&recipient_key::parse_all(recipients)?, &[], plain)
}

/// Encrypts to every recipient, with these labels in the header.
pub(crate) fn encrypt_to(
    recipients: &[ParsedRecipient],
    labels: &[Label],
    plain: &[u8],
) -> Result<String, Error> {
    let failed = || Error::new(ErrorCode::Internal, "the encryption failed");
    let labels = binding::Labels(labels);
    let all = recipients.iter().map(ParsedRecipient::as_age).chain(iter::once(&labels as _));
    let encryptor = Encryptor::with_recipients(all).map_err(|_| failed())?;
    let mut out = Vec::with_capacity(file_limit(plain.len()).min(1 << 21));
    let write = |out: &mut Vec<u8>| -> io::Result<()> {
        let mut writer = encryptor.wrap_output(ArmoredWriter::wrap_output(out, Format::AsciiArmor)?)?;
        writer.write_all(plain)?;
        writer.finish()?.finish().map(drop)
    };
    write(&mut out).map_err(|_| failed())?;
    String::from_utf8(out).map_err(|_| failed())
}

/// Decrypts an age file, armored or not, with any identity that fits.
///
/// # Errors
/// [`ErrorCode::VaultCorrupt`] if it is not a complete age file; [`ErrorCode::SecretTooLarge`] if
/// it holds more than `limit` bytes; [`ErrorCode::NoIdentity`], [`ErrorCode::BadPassphrase`], and
/// those of the passphrase prompt.
pub fn decrypt(
    identities: &mut Identities<'_>,
    bytes: &[u8],
    limit: usize,
) -> Result<Zeroizing<Vec<u8>>, Error> {
    AgeFile::parse(bytes, 0).and_then(|file| file.open(identities, None, limit)).map_err(
        |fault| match fault {
            DecryptError::Damaged(why) => {
                Error::new(ErrorCode::VaultCorrupt, format!("the age file does not open: {why}"))
            }
            DecryptError::TooLarge => too_large("the age file", limit),
            DecryptError::Identity(error) => error,
        },
    )
}

/// Error for a file with too large a plaintext.
pub(crate) fn too_large(what: impl std::fmt::Display, limit: usize) -> Error {
    Error::new(
        ErrorCode::SecretTooLarge,
        format!("{what} is larger than the {limit} bytes that keyrack supports"),
    )
}

/// Checks a new age file against the expected plaintext: by decrypting it if an identity can
/// without a prompt, else by its structure. `Err` is a reason that follows its path in messages.
pub(crate) fn verify(
    written: &[u8],
    expected: &[u8],
    labels: &[Label],
    recipients: usize,
    identities: Option<&mut Identities<'_>>,
) -> Result<(), &'static str> {
    let file = AgeFile::parse(written, recipients).map_err(|fault| match fault {
        DecryptError::Damaged(why) => why,
        DecryptError::TooLarge | DecryptError::Identity(_) => "it does not open",
    })?;
    // The library adds stanzas of random kinds on purpose, so that readers keep ignoring them.
    if file.x25519 + file.ssh_tags.len() != recipients {
        return Err("a recipient is missing from it");
    }
    if file.labels != labels {
        return Err("its label is not the one that was written");
    }
    let Some(identities) = identities else { return Ok(()) };
    let mut opened = None;
    identities.try_without_prompt(|keys| {
        opened = file.attempt(keys, expected.len());
        opened.as_ref().map(drop)
    });
    match opened {
        None => Ok(()),
        Some(Ok(plain)) if plain.as_slice() == expected => Ok(()),
        Some(_) => Err("it does not read back the same"),
    }
}

#[cfg(test)]
mod tests;
