//! Recipients in files: `.pub` files, age recipients, and the public half of a private key file.

use std::path::Path;

use keyrack_core::{Error, ErrorCode};
use ssh_key::PublicKey;

use crate::identity::{ParsedKeyFile, PublicPart, parse_key_file, read_key_file, with_pub};
use crate::recipient_key::{Pubkey, StanzaKind, bad, parse};

/// Reads a public key from a file that contains one, blank lines and `#` comments only: a `.pub`
/// file, or an age recipient.
///
/// # Errors
/// [`ErrorCode::BadRecipient`] as for [`parse`], and for a file with a private key, which the error
/// does not repeat; [`ErrorCode::BadKeyFile`] if it cannot be read.
pub fn from_file(path: &Path, stanza: StanzaKind) -> Result<Pubkey, Error> {
    let shown = path.display();
    let bytes = read_key_file(path)?;
    let holds = |sign: &[u8]| bytes.windows(sign.len()).any(|part| part.eq_ignore_ascii_case(sign));
    if [&b"PRIVATE KEY-----"[..], b"AGE-SECRET-KEY-", b"PuTTY-User-Key-File"].into_iter().any(holds) {
        let public = with_pub(path);
        let hint = if public.is_file() {
            format!("give its public half, {}", public.display())
        } else {
            "give its public half: `ssh-keygen -y -f FILE` prints that of an ssh key, `age-keygen -y FILE` of an age identity".to_owned()
        };
        return Err(bad(format!("{shown} is a private key, and nothing of it was taken")).hint(hint));
    }
    let not_one = || bad(format!("{shown} does not hold one public key on one line"));
    let text = std::str::from_utf8(&bytes).map_err(|_| not_one())?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (Some(line), None) = (lines.next(), lines.next()) else { return Err(not_one()) };
    parse(line, stanza).map_err(|mut error| {
        error.message = format!("cannot use {shown}: {}", error.message);
        error
    })
}

/// Returns the recipient of a private key file for a new host manifest. A path that ends in `.pub`
/// means the private key beside it. A key without a passphrase becomes an X25519 recipient. A key
/// with a passphrase and an rsa key stay ssh ones, as the line of their `.pub` file, so that both
/// implementations in use open the same files with it. Without a `.pub` file the public half in the
/// key file is used.
///
/// # Errors
/// [`ErrorCode::BadKeyFile`] if the key is missing or cannot be used, or the `.pub` file is that of
/// another key.
pub fn for_init(path: &Path) -> Result<Pubkey, Error> {
    let private = if path.extension().is_some_and(|ext| ext == "pub") {
        path.with_extension("")
    } else {
        path.to_owned()
    };
    let unusable = |path: &Path, why: &str| {
        Error::new(ErrorCode::BadKeyFile, format!("cannot use {} as a key: {why}", path.display()))
            .hint("name another key with --prikey")
    };
    let bytes = read_key_file(&private)?;
    let public_path = with_pub(&private);
    match parse_key_file(&bytes).map_err(|why| unusable(&private, &why))? {
        ParsedKeyFile::Encrypted(sealed) => {
            let line = match read_key_file(&public_path) {
                Ok(bytes) => String::from_utf8_lossy(&bytes).trim().to_owned(),
                // The key file contains its public half too.
                Err(_) => sealed.public().line.clone(),
            };
            let stated = PublicKey::from_openssh(&line)
                .map_err(|_| unusable(&public_path, "it is not an ssh public key"))?;
            let stated = PublicPart::of(&stated).map_err(|why| unusable(&public_path, &why))?;
            if &stated != sealed.public() {
                return Err(unusable(
                    &public_path,
                    &format!("it is not the public half of {}", private.display()),
                ));
            }
            parse(&line, StanzaKind::Ssh)
        }
        ParsedKeyFile::Usable(keys) => match (keys.recipient, keys.ssh) {
            (Some(pubkey), _) => parse(&pubkey, StanzaKind::Age),
            (None, Some(line)) => parse(&line, StanzaKind::Ssh),
            (None, None) => Err(unusable(&private, "it holds no key that files can be encrypted to")),
        },
    }
}
