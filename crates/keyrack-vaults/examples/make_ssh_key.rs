//! Writes a new, unencrypted ed25519 key in OpenSSH form to the path given as the one argument,
//! mode 0600, and its public half beside it as `.pub`. For the quickstart and for tests, so that
//! neither needs `ssh-keygen`.
#![allow(clippy::disallowed_methods, reason = "a program reads its arguments")]

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use ssh_key::private::{Ed25519Keypair, Ed25519PrivateKey};
use ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

fn main() -> Result<(), Box<dyn Error>> {
    let path: PathBuf = std::env::args_os().nth(1).ok_or("usage: make_ssh_key PATH")?.into();
    let mut seed = Zeroizing::new([0; 32]);
    File::open("/dev/urandom")?.read_exact(&mut *seed)?;
    let pair = Ed25519Keypair::from(Ed25519PrivateKey::from_bytes(&seed));
    let key = PrivateKey::new(pair.into(), "keyrack quickstart")?;
    let text = key.to_openssh(LineEnding::LF)?;
    // Never overwrites a key.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    fs::write(path.with_extension("pub"), key.public_key().to_openssh()? + "\n")?;
    Ok(())
}
