//! Writes and reads one age file as keyrack does, for tests against other implementations. `seal PUBKEY…` encrypts stdin to the public keys
//! (`age1…` ones, or ssh ones, which stay ssh unless they follow `--convert`); `open KEYFILE` decrypts stdin with a private key.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{Read as _, Write as _};

use keyrack_core::Owner;
use keyrack_vaults::recipient::{self, Stanza};
use keyrack_vaults::{Identities, IdentitySource, NobodyToAsk, Racks, armor, recipients};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut input = Vec::new();
    std::io::stdin().read_to_end(&mut input)?;
    let output = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seal", "--convert", ref keys @ ..] => seal(keys, Stanza::Age, &input)?,
        ["seal", ref keys @ ..] => seal(keys, Stanza::Ssh, &input)?,
        ["open", key] => {
            let racks = Racks::new(Some(OsStr::new("/nonexistent")), Owner::DEFAULT)?;
            let source = IdentitySource { racks, prikeys: vec![key.into()], ssh_auth_sock: None };
            let mut identities = Identities::discover(source, Box::new(NobodyToAsk))?;
            armor::decrypt(&mut identities, &input, armor::MAX_SECRET)?.to_vec()
        }
        _ => return Err("usage: age_file seal [--convert] PUBKEY… | age_file open KEYFILE".into()),
    };
    std::io::stdout().write_all(&output)?;
    Ok(())
}

fn seal(keys: &[&str], stanza: Stanza, plain: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut to = Vec::new();
    for key in keys {
        let stanza = if key.starts_with("age1") { Stanza::Age } else { stanza };
        to.push(recipients::entry(recipient::parse(key, stanza)?, key, 0));
    }
    Ok(armor::encrypt(&to, plain)?.into_bytes())
}
