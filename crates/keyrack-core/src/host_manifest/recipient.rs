//! Recipients: public keys that the host manifest and the files of os.secure are encrypted to.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One public key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// What kind of key: `age` or `ssh`; `yubikey` and `passkey` stand in the format and encrypt nothing yet.
    pub mech: String,
    /// The public key.
    pub pubkey: String,
    /// The name by which it is removed.
    pub label: String,
    /// When it was added, in ISO 8601.
    pub added_at: String,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}
