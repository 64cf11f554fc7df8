//! Vaults that this version supports.

use keyrack_core::display::clean;
use keyrack_core::{Error, ErrorCode, VaultId};

use crate::os_direct::OsDirect;
use crate::os_envvar::OsEnvvar;
use crate::os_secure::OsSecure;
use crate::vault::Vault;

/// Returns the vault with this id.
///
/// # Errors
/// [`ErrorCode::VaultUnsupported`] for one that this version does not support, and for os.daemon:
/// its keys are in the daemon's memory, and no vault of this crate talks to the daemon.
pub fn vault(id: &VaultId) -> Result<&'static dyn Vault, Error> {
    let why = match id {
        VaultId::OsSecure => return Ok(&OsSecure),
        VaultId::OsDirect => return Ok(&OsDirect),
        VaultId::OsEnvvar => return Ok(&OsEnvvar),
        VaultId::OsDaemon => {
            "os.daemon keeps keys in the daemon's memory only: nothing is stored on this machine".to_owned()
        }
        VaultId::Other(name) => {
            let shown: String = clean(name).chars().take(48).collect();
            format!("this version of keyrack does not know the vault {shown:?}")
        }
        known => format!("this version of keyrack does not support the vault {known}"),
    };
    Err(Error::new(ErrorCode::VaultUnsupported, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_vault_is_found_or_named_in_the_error() {
        for id in VaultId::ALL {
            match vault(&id) {
                Ok(found) => assert_eq!(found.id(), id),
                Err(error) => {
                    assert_eq!(error.code, ErrorCode::VaultUnsupported);
                    assert!(error.message.contains(id.as_str()), "{}", error.message);
                }
            }
        }
        let error = vault(&VaultId::Other("os.keyring".into())).err().unwrap();
        assert!(error.message.contains("os.keyring"), "{}", error.message);
    }
}
