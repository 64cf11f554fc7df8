//! Private key files: any bytes are a key, or are rejected with a text that quotes nothing of them.

use std::cell::RefCell;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use keyrack_core::{ErrorCode, Owner};
use keyrack_vaults::{Identities, IdentitySource, NoPassphrasePrompt, RackPaths, age_file};
use tempfile::TempDir;

/// Takes the file.
pub fn key_file(data: &[u8]) {
    FILE.with_borrow_mut(|(_, path)| {
        let mut file = File::create(&*path).expect("a directory of ours");
        file.write_all(data).expect("a short file");
        drop(file);
        let racks = RackPaths::new(Some("/nonexistent".as_ref()), Owner::DEFAULT).expect("a home");
        let source = IdentitySource { racks, prikeys: vec![path.clone()], ssh_auth_sock: None };
        match Identities::discover(source, Box::new(NoPassphrasePrompt)) {
            Ok(mut identities) => {
                assert_eq!(identities.candidate_paths(), [path.as_path()], "it was tried");
                let opened = age_file::decrypt(&mut identities, SEALED, 4096);
                assert!(
                    opened.as_ref().is_ok_and(|plain| !plain.is_empty())
                        || opened.as_ref().is_err_and(|error| error.code != ErrorCode::VaultCorrupt),
                    "a whole file is not found damaged, whatever the key"
                );
            }
            Err(error) => {
                assert_eq!(error.code, ErrorCode::BadKeyFile, "{error}");
                let text = String::from_utf8_lossy(data);
                // Our own text, which has blanks, and the name of the file do not count: a fuzzer
                // finds them and writes them into the file.
                let said = error.message.replace(&*path.to_string_lossy(), "");
                let quoted = text
                    .lines()
                    .map(str::trim)
                    .find(|line| line.len() > 12 && !line.contains(' ') && said.contains(line));
                assert_eq!(quoted, None, "an error quotes nothing");
            }
        }
    });
}

/// Sealed for the key `plain`.
const SEALED: &[u8] = include_bytes!("../../keyrack-vaults/tests/fixtures/cli/plain.age");

thread_local! {
    static FILE: RefCell<(TempDir, PathBuf)> = RefCell::new({
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("key");
        (dir, path)
    });
}
