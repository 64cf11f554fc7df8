//! Number of times that a `set` decrypts the host manifest.

use std::fs;
use std::path::{Path, PathBuf};

use keyrack_client::{Context, Environment};
use keyrack_core::{Owner, Slug};
use keyrack_testkit::Home;
use zeroize::Zeroizing;

use super::*;
use crate::init::{InitRequest, init};
use crate::{NoPrompts, Prompts};

/// Prompts that supply a secret. `before` runs first.
struct SecretAfter<F: FnMut()> {
    before: F,
}

impl<F: FnMut()> Prompts for SecretAfter<F> {
    fn is_interactive(&self) -> bool {
        false
    }

    fn secret(&mut self, _: &Slug) -> Result<Zeroizing<Vec<u8>>, Error> {
        (self.before)();
        Ok(Zeroizing::new(b"v".to_vec()))
    }

    fn passphrase(&mut self, key: &Path, again: bool) -> Result<Zeroizing<String>, Error> {
        NoPrompts.passphrase(key, again)
    }

    fn confirm(&mut self, question: &str, flag: &str) -> Result<bool, Error> {
        NoPrompts.confirm(question, flag)
    }

    fn choose(
        &mut self,
        question: &str,
        options: &[String],
        default: Option<usize>,
        flag: &str,
    ) -> Result<usize, Error> {
        NoPrompts.choose(question, options, default, flag)
    }
}

fn home_with_rack() -> Home {
    let home = Home::new();
    let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keyrack-cli/tests/keys");
    fs::create_dir_all(home.home().join(".ssh")).unwrap();
    for name in ["id_ed25519", "id_ed25519.pub"] {
        fs::copy(keys.join(name), home.home().join(".ssh").join(name)).unwrap();
    }
    with_prompts(&home, &mut NoPrompts, |ctx| init(ctx, &InitRequest::default())).unwrap();
    home
}

fn with_prompts<T>(home: &Home, prompts: &mut dyn Prompts, operation: impl FnOnce(&OpContext<'_>) -> T) -> T {
    let variables = [("HOME", home.home()), ("XDG_RUNTIME_DIR", home.runtime())];
    let environment: Environment = variables.into_iter().collect();
    let client = Context::new(home.home(), environment).with_owner(Owner::DEFAULT);
    operation(&OpContext::new(client, PathBuf::from("/nonexistent/keyrackd"), 1_800_000_000_000, prompts))
}

/// Number of files that a `set` decrypts. Reading back what was written does not count.
fn decryptions(home: &Home, vault: &str, key: &str, before_secret: impl FnMut()) -> usize {
    let request = SetRequest {
        key: key.to_owned(),
        vault: Some(vault.to_owned()),
        mech: Some("PERMANENT_VIA_REPLICA".to_owned()),
        env: Some("test".to_owned()),
        org: Some("@all".to_owned()),
        ..SetRequest::default()
    };
    with_prompts(home, &mut SecretAfter { before: before_secret }, |ctx| {
        let valid = ValidatedSet::new(ctx, &request).unwrap();
        let racks = ctx.racks().unwrap();
        let mut identities = ctx.identities(&racks).unwrap();
        set_validated(ctx, &valid, false, &racks, &mut identities).unwrap();
        identities.decrypted_files()
    })
}

#[test]
fn set_decrypts_the_host_manifest_once() {
    let home = home_with_rack();
    for vault in ["os.secure", "os.direct"] {
        let key = vault.replace('.', "_").to_uppercase();
        assert_eq!(decryptions(&home, vault, &key, || ()), 1, "{vault}: a new key");
        assert_eq!(decryptions(&home, vault, &key, || ()), 1, "{vault}: a key that is replaced");
    }
}

#[test]
fn set_decrypts_the_host_manifest_again_if_another_process_changed_it() {
    let home = home_with_rack();
    let meanwhile = || assert_eq!(decryptions(&home, "os.secure", "OTHER", || ()), 1);
    assert_eq!(decryptions(&home, "os.secure", "KEY", meanwhile), 2);
    let keys = with_prompts(&home, &mut NoPrompts, crate::list::list).unwrap();
    assert_eq!(keys.hosts.len(), 2, "neither process loses the other's key");
}
