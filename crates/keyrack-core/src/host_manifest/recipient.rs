//! Recipients: public keys that the host manifest and the files of os.secure are encrypted to.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorCode};

/// Public key that files are encrypted to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// Kind of the key: `age` or `ssh`. The format also has `yubikey` and `passkey`, which encrypt
    /// nothing yet.
    pub mech: String,
    /// Text of the public key.
    pub pubkey: String,
    /// Name for removing it.
    pub label: String,
    /// Time of its addition, in ISO 8601.
    pub added_at: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Maximum length of a label, in bytes.
const MAX_LABEL: usize = 64;

/// Checks the label of a new recipient: it must be visible, and short enough to type.
///
/// # Errors
/// [`ErrorCode::Usage`].
pub fn check_label(label: &str) -> Result<(), Error> {
    let is_visible = !label.trim().is_empty() && !label.chars().any(char::is_control);
    if is_visible && label.len() <= MAX_LABEL {
        return Ok(());
    }
    let message = format!("--label must be 1 to {MAX_LABEL} visible characters");
    Err(Error::new(ErrorCode::Usage, message))
}
