//! Key files: their kind, and what they contain in the clear.
//!
//! No text that leaves this module contains key material, and nothing here prompts.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use keyrack_core::{Error, ErrorCode};
use sha2::{Digest as _, Sha256, Sha512};
use ssh_key::private::KeypairData;
use ssh_key::{Algorithm, Cipher, Kdf, LineEnding, PrivateKey, PublicKey};
use zeroize::{Zeroize as _, Zeroizing};

use super::pkcs8;
use crate::file_error::io_error;
use crate::private_file::read_bounded;
use crate::recipient_key;

/// Maximum size of a key file, in bytes. An RSA key of 16384 bits has 13 KiB.
pub(crate) const MAX_KEY_FILE: usize = 64 * 1024;
/// Maximum rounds of bcrypt of a key file (`ssh-keygen -a`): about a minute of work.
const MAX_ROUNDS: u32 = 10_000;

const OPENSSH: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const PKCS1: &str = "-----BEGIN RSA PRIVATE KEY-----";
const PKCS8_SEALED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----";
const AGE: &str = "AGE-SECRET-KEY-1";
const AGE_PLUGIN: &str = "AGE-PLUGIN-";

/// Identities of one key file, ready to open files.
pub(crate) struct DecryptionKeys {
    pub(crate) identities: Vec<Box<dyn age::Identity>>,
    /// X25519 recipient of an ed25519 key.
    pub(crate) recipient: Option<String>,
    /// Line of a `.pub` file, without its comment, of an rsa key. Such a key has no X25519
    /// recipient.
    pub(crate) ssh: Option<String>,
}

/// Parsed key file.
pub(crate) enum ParsedKeyFile {
    /// Key without a passphrase.
    Usable(DecryptionKeys),
    /// Key with a passphrase.
    Encrypted(EncryptedKey),
}

/// OpenSSH key with a passphrase.
pub(crate) struct EncryptedKey {
    private: Box<PrivateKey>,
    public: PublicPart,
}

/// Facts that an OpenSSH key file contains in the clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PublicPart {
    /// First argument of an age stanza for this key: the start of the SHA-256 of the public key, in
    /// base64.
    pub(crate) tag: String,
    /// X25519 recipient of an ed25519 key.
    pub(crate) age: Option<String>,
    /// Line of a `.pub` file, without its comment.
    pub(crate) line: String,
}

/// Kind of a key file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFileKind {
    /// Key without a passphrase.
    Plain,
    /// Key with a passphrase.
    Encrypted,
    /// It cannot be used. The reason follows its path in messages.
    Unusable(String),
}

/// Reads the bytes of a key file.
pub(crate) fn read_key_file(path: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, Error> {
    let bad = |why: String| Error::new(ErrorCode::BadKeyFile, why);
    if is_key_itself(path) {
        return Err(bad("the path of a key file is needed, not a key itself".to_owned()));
    }
    let found = std::fs::metadata(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => bad(format!("there is no key file {}", path.display())),
        _ => io_error("read the key file", path, &error),
    })?;
    if !found.is_file() {
        return Err(bad(format!("{} is not a regular file", path.display())));
    }
    let mut file = std::fs::File::open(path).map_err(|error| io_error("read the key file", path, &error))?;
    read_bounded(&mut file, path, MAX_KEY_FILE)
        .map_err(|_| bad(format!("{} is not a key file", path.display())))
}

/// Returns `true` if a private key was given instead of the path of one. Errors must not repeat it.
fn is_key_itself(path: &Path) -> bool {
    let text = path.to_string_lossy().to_ascii_uppercase();
    text.contains("AGE-SECRET-KEY-1") || text.contains("PRIVATE KEY-----")
}

/// Path of the public half beside a private key file.
pub(crate) fn with_pub(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

/// Parses a key file. `Err` is a reason that follows its path in messages.
pub(crate) fn parse(bytes: &[u8]) -> Result<ParsedKeyFile, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not a key file".to_owned())?.trim();
    if text.starts_with(OPENSSH) {
        return parse_openssh(text);
    }
    if text.starts_with(PKCS1) {
        return parse_pkcs1(text).map(ParsedKeyFile::Usable);
    }
    if text.starts_with(pkcs8::BEGIN) {
        return keys_of(&pkcs8::parse(text)?).map(ParsedKeyFile::Usable);
    }
    if text.starts_with(PKCS8_SEALED) {
        return Err("it is a PKCS#8 file with a passphrase, which keyrack does not read; write it without one: openssl pkey -in FILE -out NEW".to_owned());
    }
    for (begin, kind) in [("-----BEGIN EC ", "ecdsa"), ("-----BEGIN DSA ", "dsa")] {
        if text.starts_with(begin) {
            return Err(format!("only ed25519 and rsa keys open age files, and it is {kind}"));
        }
    }
    if text.starts_with("-----BEGIN ") && text.contains("PRIVATE KEY-----") {
        return Err("it is not in OpenSSH's format; convert it with: ssh-keygen -p -f FILE".to_owned());
    }
    if text.lines().any(|line| line.trim_start().starts_with(AGE_PLUGIN)) {
        return Err("it is an identity of an age plugin, and keyrack runs no age plugins".to_owned());
    }
    if text.lines().any(|line| line.trim_start().starts_with(AGE)) {
        return parse_age(text).map(ParsedKeyFile::Usable);
    }
    if text.starts_with("ssh-") || text.starts_with("age1") {
        return Err("it is a public key; the private key is needed".to_owned());
    }
    Err("it is neither an OpenSSH private key nor an age identity".to_owned())
}

fn parse_openssh(text: &str) -> Result<ParsedKeyFile, String> {
    let private = PrivateKey::from_openssh(text).map_err(|error| match error {
        ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
            let kind = kind_of(text).unwrap_or("another kind");
            format!("only ed25519 and rsa keys open age files, and it is {kind}")
        }
        _ => "it is damaged".to_owned(),
    })?;
    match private.algorithm() {
        Algorithm::Ed25519 | Algorithm::Rsa { .. } => {}
        Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256 => {
            return Err("its private half is in a security key, which signs and cannot decrypt".to_owned());
        }
        other => return Err(format!("only ed25519 and rsa keys open age files, and it is {other}")),
    }
    if !private.is_encrypted() {
        return keys_of(&private).map(ParsedKeyFile::Usable);
    }
    if let Kdf::Bcrypt { rounds, .. } = private.kdf()
        && *rounds > MAX_ROUNDS
    {
        return Err(format!("its passphrase takes {rounds} rounds of bcrypt, more than {MAX_ROUNDS}"));
    }
    // The only cipher of ssh-keygen that the library does not support.
    if private.cipher() == Cipher::TDesCbc {
        return Err("it is sealed with 3des-cbc; encrypt it again with: ssh-keygen -p -f FILE".to_owned());
    }
    let public = PublicPart::of(private.public_key())?;
    Ok(ParsedKeyFile::Encrypted(EncryptedKey { private: Box::new(private), public }))
}

/// Names the kind of an OpenSSH key that the library does not support. It is in the clear, also
/// with a passphrase.
fn kind_of(text: &str) -> Option<&'static str> {
    let lines = text.lines().filter(|line| !line.starts_with("-----"));
    let base64: Zeroizing<String> = Zeroizing::new(lines.collect());
    let bytes = Zeroizing::new(BASE64_STANDARD.decode(base64.as_bytes()).ok()?);
    let holds = |name: &str| bytes.windows(name.len()).any(|part| part == name.as_bytes());
    [("ecdsa-sha2-nistp", "ecdsa"), ("ssh-dss", "dsa")]
        .into_iter()
        .find(|(name, _)| holds(name))
        .map(|(_, kind)| kind)
}

fn parse_pkcs1(text: &str) -> Result<DecryptionKeys, String> {
    match ssh_identity(text)? {
        identity @ age::ssh::Identity::Unencrypted(_) => {
            let public = age::ssh::Recipient::try_from(identity.clone()).ok();
            let ssh = public.map(|public| public.to_string());
            Ok(DecryptionKeys { identities: vec![Box::new(identity)], recipient: None, ssh })
        }
        _ => {
            Err("it is an old PEM file with a passphrase; convert it with: ssh-keygen -p -f FILE".to_owned())
        }
    }
}

fn parse_age(text: &str) -> Result<DecryptionKeys, String> {
    let mut keys = DecryptionKeys { identities: Vec::new(), recipient: None, ssh: None };
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The library's reason could quote the line.
        let key: age::x25519::Identity =
            line.parse().map_err(|_| format!("its line {} is not an age identity", n + 1))?;
        keys.recipient.get_or_insert_with(|| key.to_public().to_string());
        keys.identities.push(Box::new(key));
    }
    Ok(keys)
}

impl EncryptedKey {
    /// Facts that the file contains in the clear.
    pub(crate) fn public(&self) -> &PublicPart {
        &self.public
    }

    /// Decrypts the key. `Ok(None)` for a wrong passphrase; `Err` is the reason why the key cannot
    /// be used.
    pub(crate) fn open(&self, passphrase: &str) -> Result<Option<DecryptionKeys>, String> {
        match self.private.decrypt(passphrase) {
            Ok(private) => keys_of(&private).map(Some),
            // With a wrong passphrase the library finds garbage in place of the key, and fails in
            // one of several ways.
            Err(_) => Ok(None),
        }
    }
}

impl PublicPart {
    /// Returns the facts of a public key. `Err` for a kind that age does not use.
    pub(crate) fn of(key: &PublicKey) -> Result<Self, String> {
        let blob = key.to_bytes().map_err(|_| "its public key is damaged".to_owned())?;
        let tag = BASE64_STANDARD_NO_PAD.encode(&Sha256::digest(&blob)[..4]);
        let age = match key.key_data().ed25519() {
            Some(ed25519) => {
                Some(recipient_key::from_ed25519(&ed25519.0).ok_or("its public key is damaged")?)
            }
            None => None,
        };
        let bare = PublicKey::new(key.key_data().clone(), "");
        let line = bare.to_openssh().map_err(|_| "its public key is damaged".to_owned())?;
        Ok(PublicPart { tag, age, line })
    }
}

/// Returns all identities of a key. An ed25519 key opens files for its X25519 recipient and files
/// with an `ssh-ed25519` stanza. The two are not interchangeable, and files of both kinds are in
/// use.
fn keys_of(private: &PrivateKey) -> Result<DecryptionKeys, String> {
    let mut keys = DecryptionKeys { identities: Vec::new(), recipient: None, ssh: None };
    if let KeypairData::Ed25519(pair) = private.key_data() {
        let x25519 = x25519_of_seed(pair.private.as_ref());
        keys.recipient = Some(x25519.to_public().to_string());
        keys.identities.push(Box::new(x25519));
    } else {
        keys.ssh = Some(PublicPart::of(private.public_key())?.line);
    }
    let pem: Zeroizing<String> =
        private.to_openssh(LineEnding::LF).map_err(|_| "it is damaged".to_owned())?;
    keys.identities.push(Box::new(ssh_identity(&pem)?));
    Ok(keys)
}

fn ssh_identity(pem: &str) -> Result<age::ssh::Identity, String> {
    age::ssh::Identity::from_buffer(Cursor::new(pem), None).map_err(|_| "it is damaged".to_owned())
}

/// Age identity of an ed25519 key: the first half of the SHA-512 of its seed, which is the scalar
/// that the signature scheme derives (RFC 8032, 5.1.5). X25519 clamps it.
fn x25519_of_seed(seed: &[u8; 32]) -> age::x25519::Identity {
    let mut hash = Zeroizing::new([0; 64]);
    let mut digest = Sha512::digest(seed);
    hash.copy_from_slice(&digest);
    digest.zeroize();
    let hrp = bech32::Hrp::parse("age-secret-key-").expect("a valid human-readable part");
    let text = bech32::encode::<bech32::Bech32>(hrp, &hash[..32]).map(Zeroizing::new);
    let text = text.expect("32 bytes fit the length limit of bech32");
    Zeroizing::new(text.to_uppercase()).parse().expect("an identity that was just encoded is one")
}
