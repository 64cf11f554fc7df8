//! Recipients: public keys that the host manifest and the files of os.secure are encrypted to.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
