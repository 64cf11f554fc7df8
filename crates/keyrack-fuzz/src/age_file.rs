//! Age files, armored or not: any bytes are opened or rejected. A file that opens for us opens only
//! to a plaintext that was once sealed for us, because its header and its payload are
//! authenticated.

use std::cell::RefCell;
use std::path::PathBuf;

use keyrack_core::{ErrorCode, Owner};
use keyrack_vaults::{Identities, IdentitySource, NoPassphrasePrompt, RackPaths, age_file};

/// Most plaintext that is read, in bytes.
const LIMIT: usize = 4096;

/// Takes the file.
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

/// Returns the one fixed key that the files of the corpus are sealed for.
fn identities() -> Identities<'static> {
    let racks = RackPaths::new(Some("/nonexistent".as_ref()), Owner::DEFAULT).expect("a home");
    let key =
        PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../keyrack-vaults/tests/fixtures/keys/plain"));
    let source = IdentitySource { racks, prikeys: vec![key], ssh_auth_sock: None };
    Identities::discover(source, Box::new(NoPassphrasePrompt)).expect("a key without a passphrase")
}
