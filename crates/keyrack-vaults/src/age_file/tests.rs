//! Age files that were changed or made up: no panic, and no other plaintext.

use std::path::Path;
use std::sync::LazyLock;

use keyrack_core::Owner;
use proptest::prelude::*;

use super::*;
use crate::identity::parse_key_file;
use crate::recipient_key::{StanzaKind, parse};
use crate::{IdentitySource, NoPassphrasePrompt, RackPaths, recipient_set};

const PLAIN: &[u8] = b"a secret";

fn fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn recipient(key: &str, stanza: StanzaKind) -> Recipient {
    let line = std::fs::read_to_string(fixture(&format!("keys/{key}.pub"))).unwrap();
    recipient_set::entry(parse(&line, stanza).unwrap(), key, 0)
}

fn identities() -> Identities<'static> {
    let racks = RackPaths::new(Some("/nonexistent".as_ref()), Owner::DEFAULT).unwrap();
    let source = IdentitySource { racks, prikeys: vec![fixture("keys/plain")], ssh_auth_sock: None };
    Identities::discover(source, Box::new(NoPassphrasePrompt)).unwrap()
}

static ARMORED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let to = [recipient("plain", StanzaKind::Age), recipient("plain", StanzaKind::Ssh)];
    encrypt(&to, PLAIN).unwrap().into_bytes()
});
static BINARY: LazyLock<Vec<u8>> = LazyLock::new(|| dearmor(&ARMORED).unwrap());

/// Every change of a file is noticed, except in the layout of its armor and in a stanza that is not
/// used: the header and the payload have a MAC each.
fn opens_as_it_was_or_not_at_all(bytes: &[u8]) -> Result<(), TestCaseError> {
    match decrypt(&mut identities(), bytes, 100) {
        Ok(plain) => prop_assert_eq!(plain.as_slice(), PLAIN),
        Err(error) => {
            prop_assert!(matches!(error.code, ErrorCode::VaultCorrupt | ErrorCode::NoIdentity), "{error:?}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_open_unchanged_or_not_at_all(bytes: Vec<u8>) {
        opens_as_it_was_or_not_at_all(&bytes)?;
    }

    #[test]
    fn any_armored_text_opens_unchanged_or_not_at_all(body in "[A-Za-z0-9+/=\n\r -]{0,300}") {
        let text = format!("-----BEGIN AGE ENCRYPTED FILE-----\n{body}\n-----END AGE ENCRYPTED FILE-----\n");
        opens_as_it_was_or_not_at_all(text.as_bytes())?;
    }

    #[test]
    fn any_header_opens_unchanged_or_not_at_all(body in "(-> (X25519|ssh-ed25519|ssh-rsa|scrypt|x)( [A-Za-z0-9+/]{0,44}){0,3}\n[A-Za-z0-9+/]{0,64}\n){0,4}(--- [A-Za-z0-9+/]{43}\n)?.{0,40}") {
        opens_as_it_was_or_not_at_all(format!("age-encryption.org/v1\n{body}").as_bytes())?;
    }

    #[test]
    fn changed_byte_is_noticed(armored: bool, at: prop::sample::Index, to: u8) {
        let mut bytes = if armored { ARMORED.clone() } else { BINARY.clone() };
        let at = at.index(bytes.len());
        bytes[at] = to;
        opens_as_it_was_or_not_at_all(&bytes)?;
    }

    #[test]
    fn truncated_file_is_noticed(armored: bool, at: prop::sample::Index) {
        let bytes = if armored { &*ARMORED } else { &*BINARY };
        opens_as_it_was_or_not_at_all(&bytes[..at.index(bytes.len())])?;
    }

    #[test]
    fn parse_key_file_does_not_panic_on_changed_bytes(
        name in prop::sample::select(vec!["plain", "sealed", "rsa", "rsa_pem", "rsa_pem_sealed", "ecdsa", "age.txt"]),
        at: prop::sample::Index,
        to: u8,
        cut: Option<prop::sample::Index>,
    ) {
        let mut bytes = std::fs::read(fixture(&format!("keys/{name}"))).unwrap();
        let at = at.index(bytes.len());
        bytes[at] = to;
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Err(why) = parse_key_file(&bytes) {
            prop_assert!(why.len() < 120, "says why and quotes nothing: {why}");
        }
    }
}

#[test]
fn encrypt_writes_armor_that_ends_in_a_newline() {
    let text = std::str::from_utf8(&ARMORED).unwrap();
    assert!(text.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
    assert!(text.ends_with("\n-----END AGE ENCRYPTED FILE-----\n"));
    assert!(text.lines().all(|line| line.len() <= 64));
}

#[test]
fn white_space_around_armor_is_ignored() {
    for (before, after) in [("\n", ""), ("", "\n\n"), (" \r\n", " \t")] {
        let bytes = [before.as_bytes(), &ARMORED, after.as_bytes()].concat();
        assert_eq!(decrypt(&mut identities(), &bytes, 100).unwrap().as_slice(), PLAIN);
    }
    let crlf = String::from_utf8(ARMORED.clone()).unwrap().replace('\n', "\r\n");
    assert_eq!(decrypt(&mut identities(), crlf.as_bytes(), 100).unwrap().as_slice(), PLAIN);
}

#[test]
fn decrypt_limits_the_plaintext() {
    for (limit, ok) in [(PLAIN.len(), true), (PLAIN.len() - 1, false), (0, false)] {
        let got = decrypt(&mut identities(), &ARMORED, limit).map(drop).map_err(|error| error.code);
        assert_eq!(got, if ok { Ok(()) } else { Err(ErrorCode::SecretTooLarge) }, "{limit}");
    }
}

#[test]
fn plaintext_buffer_never_grows() {
    for len in [0, 1, 65_535, 65_536, 65_537, 200_000] {
        let file = encrypt(&[recipient("plain", StanzaKind::Age)], &vec![7; len]).unwrap();
        let plain = decrypt(&mut identities(), file.as_bytes(), MAX_SECRET).unwrap();
        assert_eq!(plain.len(), len);
        // It never grew: it is as large as the file from the start.
        assert!(plain.capacity() >= len && plain.capacity() < len + 1000, "{len}: {}", plain.capacity());
    }
}

#[test]
fn verify_rejects_a_wrong_file() {
    let written = |to: &[Recipient], plain: &[u8]| encrypt(to, plain).unwrap().into_bytes();
    let (own, other) = (recipient("plain", StanzaKind::Age), recipient("other", StanzaKind::Age));
    let both = [own.clone(), other.clone()];
    let mut identities = identities();
    let mut check =
        |bytes: &[u8], recipients| verify(bytes, PLAIN, &[], recipients, Some(&mut identities)).is_ok();
    assert!(check(&written(&both, PLAIN), 2));
    assert!(!check(&written(&both, b"another"), 2), "another content");
    assert!(!check(&written(&both, b""), 2), "no content");
    assert!(!check(&written(&both, b"a secret and more"), 2), "more content");
    assert!(!check(&written(&[own], PLAIN), 2), "a recipient missing");
    assert!(!check(b"", 0), "nothing");
    // No identity opens it: only the structure is checked.
    assert!(check(&written(&[other], b"another"), 1));
}
