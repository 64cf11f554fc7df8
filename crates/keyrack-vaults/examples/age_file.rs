//! Writes and reads one age file as keyrack does, for tests against other implementations. `seal
//! PUBKEY…` encrypts stdin to the public keys (`age1…` ones, or ssh ones, which stay ssh unless
//! they follow `--convert`); `open KEYFILE` decrypts stdin with a private key.
#![allow(clippy::disallowed_methods, reason = "a program reads its arguments")]

use std::error::Error;
use std::ffi::OsStr;
use std::io::{Read as _, Write as _};

use keyrack_core::Owner;
use keyrack_vaults::recipient_key::{self, StanzaKind};
use keyrack_vaults::{Identities, IdentitySource, NoPassphrasePrompt, RackPaths, age_file, recipient_set};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let output = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seal", "--convert", ref keys @ ..] => seal(keys, StanzaKind::Age, &input)?,
        ["seal", ref keys @ ..] => seal(keys, StanzaKind::Ssh, &input)?,
        ["open", key] => {
            let racks = RackPaths::new(Some(OsStr::new("/nonexistent")), Owner::DEFAULT)?;
            let source = IdentitySource { racks, prikeys: vec![key.into()], ssh_auth_sock: None };
            let mut identities = Identities::discover(source, Box::new(NoPassphrasePrompt))?;
            age_file::decrypt(&mut identities, &input, age_file::MAX_SECRET)?.to_vec()
        }
        _ => return Err("usage: age_file seal [--convert] PUBKEY… | age_file open KEYFILE".into()),
    };
    std::io::stdout().write_all(&output)?;
    Ok(())
}

fn seal(keys: &[&str], stanza: StanzaKind, plain: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut to = Vec::new();
    for key in keys {
        let stanza = if key.starts_with("age1") { StanzaKind::Age } else { stanza };
        to.push(recipient_set::entry(recipient_key::parse(key, stanza)?, key, 0));
    }
    Ok(age_file::encrypt(&to, plain)?.into_bytes())
}
