//! Age files, armored or not: any bytes are opened or refused. A file that opens for us opens to no other plaintext than one that was once sealed
//! for us, for both its header and its payload are authenticated.

use std::cell::RefCell;
use std::path::PathBuf;

use keyrack_core::{ErrorCode, Owner};
use keyrack_vaults::{Identities, IdentitySource, NoPassphrasePrompt, RackPaths, age_file};

/// The most plaintext that is taken.
const LIMIT: usize = 4096;

/// The file.
pub fn age_file(data: &[u8]) {
    match IDENTITIES.with_borrow_mut(|identities| age_file::decrypt(identities, data, LIMIT)) {
        Ok(plain) => assert!(plain.len() <= LIMIT, "no more than was allowed"),
        Err(error) => {
            let code = &error.code;
            assert!(matches!(code, ErrorCode::VaultCorrupt | ErrorCode::NoIdentity), "{error:?}");
        }
    }
}

thread_local! {
    static IDENTITIES: RefCell<Identities<'static>> = RefCell::new(identities());
}

/// The fixed key the files of the corpus are sealed for, and no other.
fn identities() -> Identities<'static> {
    let racks = RackPaths::new(Some("/nonexistent".as_ref()), Owner::DEFAULT).expect("a home");
    let key =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../keyrack-vaults/tests/fixtures/keys/plain"));
    let source = IdentitySource { racks, prikeys: vec![key], ssh_auth_sock: None };
    Identities::discover(source, Box::new(NoPassphrasePrompt)).expect("a key without a passphrase")
}
