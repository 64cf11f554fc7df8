//! Recipients: public keys that files are encrypted to.
//!
//! Two kinds are written. `age`: an X25519 recipient, `age1…`, also converted from an ed25519 ssh
//! key. `ssh`: the line of a `.pub` file, which gets a stanza of age's ssh kind. Every recipient is
//! checked before it is used or stored.

use curve25519_dalek::edwards::CompressedEdwardsY;
use keyrack_core::host_manifest::Recipient;
use keyrack_core::{Error, ErrorCode};
use ssh_key::{Algorithm, PublicKey};

/// `mech` of an X25519 recipient.
pub const AGE: &str = "age";
/// `mech` of an ssh recipient.
pub const SSH: &str = "ssh";

/// Maximum number of characters of a recipient that errors repeat. The input may be something else.
const SHOWN: usize = 24;

/// Kind of stanza for a public key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StanzaKind {
    /// X25519 if possible: an ed25519 ssh key is converted.
    #[default]
    Age,
    /// Ssh, so that the key opens files while it has a passphrase.
    Ssh,
}

/// Public key that files can be encrypted to. With a label it is a recipient of the manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pubkey {
    /// [`AGE`] or [`SSH`].
    pub mech: &'static str,
    /// Text: `age1…`, or the line of a `.pub` file.
    pub pubkey: String,
}

/// Recipient that the age library accepts.
#[derive(Clone, Debug)]
pub(crate) enum ParsedRecipient {
    X25519(age::x25519::Recipient),
    Ssh(Box<age::ssh::Recipient>),
}

impl ParsedRecipient {
    pub(crate) fn as_age(&self) -> &dyn age::Recipient {
        match self {
            ParsedRecipient::X25519(recipient) => recipient,
            ParsedRecipient::Ssh(recipient) => recipient.as_ref(),
        }
    }
}

pub(crate) fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::BadRecipient, message)
}

/// Parses a public key that a user typed: `age1…`, or an ssh public key with or without its
/// comment.
///
/// # Errors
/// [`ErrorCode::BadRecipient`] if it is neither, or damaged, or does not fit the stanza.
pub fn parse(text: &str, stanza: StanzaKind) -> Result<Pubkey, Error> {
    let text = text.trim();
    if text.contains(['\n', '\r']) {
        return Err(bad("a recipient is one public key, on one line"));
    }
    let pubkey = if text.starts_with("ssh-") {
        match stanza {
            StanzaKind::Age => Pubkey { mech: AGE, pubkey: from_ssh_public_key(text)? },
            StanzaKind::Ssh => Pubkey { mech: SSH, pubkey: without_odd_comment(text) },
        }
    } else if stanza == StanzaKind::Ssh {
        return Err(bad(
            "an ssh stanza needs an ssh public key, one that begins with ssh-ed25519 or ssh-rsa",
        ));
    } else if text.starts_with("age1") {
        Pubkey { mech: AGE, pubkey: text.to_owned() }
    } else if text.starts_with("AGE-PLUGIN-") {
        return Err(bad("that is an identity of an age plugin, and keyrack runs no age plugins"));
    } else if text.starts_with("AGE-SECRET-KEY-") {
        return Err(bad("that is a private age identity, not a recipient; its public half begins with age1")
            .hint("it may now be in your shell's history: consider it known to others"));
    } else {
        return Err(bad(
            "a recipient must be an age public key (age1…) or an ssh public key (ssh-ed25519 …, ssh-rsa …)",
        ));
    };
    parse_one(pubkey.mech, &pubkey.pubkey).map_err(bad)?;
    Ok(pubkey)
}

/// Returns an ssh public key, with its comment only if that is plain: the other implementation puts
/// the whole line into a shell command.
fn without_odd_comment(line: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, ' ' | '@' | '.' | '_' | '-' | '+' | ':' | '/');
    let mut words = line.split_ascii_whitespace();
    let key = [words.next(), words.next()].map(Option::unwrap_or_default).join(" ");
    let comment = words.collect::<Vec<_>>().join(" ");
    if comment.is_empty() || !comment.chars().all(plain) { key } else { format!("{key} {comment}") }
}

/// Converts an ed25519 ssh public key to its X25519 recipient.
///
/// # Errors
/// [`ErrorCode::BadRecipient`] for another kind of key, and for a damaged one.
pub fn from_ssh_public_key(line: &str) -> Result<String, Error> {
    let key = PublicKey::from_openssh(line.trim()).map_err(|_| bad("the ssh public key is damaged"))?;
    match key.key_data().ed25519() {
        Some(ed25519) => from_ed25519(&ed25519.0).ok_or_else(|| bad("the ssh public key is damaged")),
        None => Err(bad(format!(
            "only an ed25519 key converts to an age recipient, and this is {}",
            key.algorithm()
        ))
        .hint("an rsa key can be added as it is, with --stanza ssh")),
    }
}

/// Converts an ed25519 public key to its X25519 recipient: the same point on the Montgomery form of
/// the curve. `None` if it is not a point.
pub(crate) fn from_ed25519(key: &[u8; 32]) -> Option<String> {
    let point = CompressedEdwardsY(*key).decompress()?.to_montgomery();
    let hrp = bech32::Hrp::parse("age").expect("a valid human-readable part");
    Some(bech32::encode::<bech32::Bech32>(hrp, point.as_bytes()).expect("32 bytes fit the limit of bech32"))
}

/// Parses every recipient of a manifest, in its order.
///
/// # Errors
/// [`ErrorCode::BadRecipient`] if there is none, and for the first one that files cannot be
/// encrypted to, with its label. If keyrack skipped it, its owner would lose access.
pub(crate) fn parse_all(recipients: &[Recipient]) -> Result<Vec<ParsedRecipient>, Error> {
    if recipients.is_empty() {
        return Err(bad("there is no recipient, so the file could never be opened"));
    }
    recipients
        .iter()
        .map(|recipient| {
            parse_one(recipient.mech.as_str(), &recipient.pubkey).map_err(|why| {
                bad(format!("the recipient {:?} cannot be encrypted to: {why}", recipient.label))
            })
        })
        .collect()
}

fn parse_one(mech: &str, pubkey: &str) -> Result<ParsedRecipient, String> {
    match mech {
        AGE => pubkey.trim().parse().map(ParsedRecipient::X25519).map_err(|_| {
            if let Some(kind) = other_age_kind(pubkey.trim()) {
                return kind;
            }
            let start: String = pubkey.chars().take(SHOWN).collect();
            format!("{start:?} is not a whole age public key")
        }),
        SSH => {
            let key = PublicKey::from_openssh(pubkey.trim())
                .map_err(|_| "the ssh public key is damaged or of a kind age does not know".to_owned())?;
            match key.algorithm() {
                Algorithm::Ed25519 | Algorithm::Rsa { .. } => {}
                other => return Err(format!("age knows ed25519 and rsa keys only, and this is {other}")),
            }
            pubkey.trim().parse().map(|ssh| ParsedRecipient::Ssh(Box::new(ssh))).map_err(
                |error| match error {
                    age::ssh::ParseRecipientKeyError::RsaModulusTooSmall => {
                        "an rsa key must have 2048 bits or more".to_owned()
                    }
                    age::ssh::ParseRecipientKeyError::RsaModulusTooLarge => {
                        "the rsa key has more bits than age takes".to_owned()
                    }
                    _ => "the ssh public key is damaged".to_owned(),
                },
            )
        }
        other => Err(format!("this version cannot encrypt to {other:?}")),
    }
}

/// Kinds of recipients that age 1.3 and later have besides X25519.
const NEWER_AGE_KINDS: [&str; 3] = ["pq", "tag", "tagpq"];

/// Names the kind of a valid age recipient that is not an X25519 one: that of a plugin, or of a
/// newer age.
fn other_age_kind(pubkey: &str) -> Option<String> {
    // They are longer than bech32 allows, so the library does not read them.
    if let Some(kind) = NEWER_AGE_KINDS.iter().find(|kind| pubkey.starts_with(&format!("age1{kind}1"))) {
        return Some(format!(
            "it is an age recipient of the kind {kind:?}, and keyrack encrypts to X25519 and ssh recipients only"
        ));
    }
    let (hrp, _) = bech32::decode(pubkey).ok()?;
    let kind = hrp.to_lowercase().strip_prefix("age1")?.to_owned();
    Some(format!(
        "it is a recipient of the age plugin {kind:?}, and keyrack runs no age plugins; give an X25519 recipient (age1…) or an ssh key"
    ))
}

/// Returns the X25519 recipients. With them, keyrack can tell without a passphrase whether a key
/// opens a file.
pub(crate) fn age_recipients(recipients: &[Recipient]) -> Vec<&str> {
    recipients.iter().filter(|r| r.mech.as_str() == AGE).map(|r| r.pubkey.trim()).collect()
}
