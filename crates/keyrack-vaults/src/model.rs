//! Stand-in.
use keyrack_core::{Mechanism, VaultId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HostManifest {
    /// uri
    pub uri: String,
    /// owner
    #[serde(default)]
    pub owner: Option<String>,
    /// recipients
    #[serde(default)]
    pub recipients: Vec<Recipient>,
    /// hosts
    pub hosts: BTreeMap<String, Host>,
    /// rest
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A recipient.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Recipient {
    /// mech
    pub mech: String,
    /// pubkey
    pub pubkey: String,
    /// label
    pub label: String,
    /// added
    pub added_at: String,
    /// rest
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// A host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Host {
    /// slug
    pub slug: String,
    /// exid
    #[serde(default)]
    pub exid: Option<String>,
    /// vault
    pub vault: VaultId,
    /// mech
    pub mech: Mechanism,
    /// env
    pub env: String,
    /// org
    pub org: String,
    /// meta
    #[serde(default)]
    pub meta: Option<Value>,
    /// max
    #[serde(default)]
    pub max_duration: Option<String>,
    /// c
    pub created_at: String,
    /// u
    pub updated_at: String,
    /// rest
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}
