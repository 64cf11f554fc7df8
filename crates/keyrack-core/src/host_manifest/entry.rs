//! Entries of the host manifest.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorCode};
use crate::grade::Grade;
use crate::mechanism::Mechanism;
use crate::org::Org;
use crate::slug::Slug;
use crate::ttl::Ttl;
use crate::vault_id::VaultId;

/// Entry of a key: its vault, and what is needed to open it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostEntry {
    /// Key of the entry.
    pub slug: Slug,
    /// Mechanism of the key.
    pub mech: Mechanism,
    /// Vault that stores it.
    pub vault: VaultId,
    /// The vault's own name for it, for a vault that keyrack only points to.
    #[serde(default)]
    pub exid: Option<String>,
    /// Env as written. The env of the slug counts.
    pub env: String,
    /// Org as written. The org of the slug counts.
    pub org: String,
    /// Data of the vault: an object, if any.
    #[serde(default)]
    pub meta: Option<Value>,
    /// Maximum TTL, as written.
    #[serde(default)]
    pub max_duration: Option<String>,
    /// Time of the first set, in ISO 8601.
    #[serde(default = "long_ago")]
    pub created_at: String,
    /// Time of the last change, in ISO 8601.
    #[serde(default = "long_ago")]
    pub updated_at: String,
    /// Unknown fields.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// Input for an entry of a key that is set.
#[derive(Clone, Debug, PartialEq)]
pub struct NewHostEntry {
    /// Vault that stores it.
    pub vault: VaultId,
    /// Mechanism of the key.
    pub mech: Mechanism,
    /// The vault's own name for it.
    pub exid: Option<String>,
    /// Data of the vault: an object, if any.
    pub meta: Option<Value>,
    /// Maximum TTL, as typed.
    pub max_duration: Option<String>,
}

fn long_ago() -> String {
    crate::timestamp::format_ms(0)
}

impl HostEntry {
    /// Grade of the key.
    pub fn grade(&self) -> Grade {
        Grade::of(&self.vault, &self.mech)
    }

    /// Maximum TTL.
    ///
    /// # Errors
    /// [`ErrorCode::BadDuration`], with the key: an unreadable limit must not count as none.
    pub fn max_ttl(&self) -> Result<Option<Ttl>, Error> {
        self.max_duration.as_deref().map(str::parse::<Ttl>).transpose().map_err(|error| {
            let message = format!("{}: its maxDuration: {}", self.slug, error.message);
            Error::new(ErrorCode::BadDuration, message).of(&self.slug)
        })
    }

    /// Reads the entry of `key`. `None` if it cannot be understood, or names another slug.
    pub(super) fn read(key: &str, value: &Value) -> Option<Self> {
        let slug = Slug::parse_stored(key).ok()?;
        let mut fields = value.as_object()?.clone();
        fields.entry("slug").or_insert_with(|| key.into());
        fields.entry("env").or_insert_with(|| slug.env().into());
        fields.entry("org").or_insert_with(|| slug.org().into());
        let host: HostEntry = serde_json::from_value(Value::Object(fields)).ok()?;
        (host.slug == slug).then_some(host)
    }

    pub(super) fn new(slug: &Slug, new: NewHostEntry, now: String) -> Self {
        let NewHostEntry { vault, mech, exid, meta, max_duration } = new;
        HostEntry {
            slug: slug.clone(),
            mech,
            vault,
            exid,
            env: slug.env().to_owned(),
            org: slug.org().to_owned(),
            meta,
            max_duration,
            created_at: now.clone(),
            updated_at: now,
            rest: Map::new(),
        }
    }

    /// Returns `true` if `new` would not change it.
    pub(super) fn is(&self, new: &NewHostEntry) -> bool {
        let NewHostEntry { vault, mech, exid, meta, max_duration } = new;
        (&self.vault, &self.mech, &self.exid, &self.meta, &self.max_duration)
            == (vault, mech, exid, meta, max_duration)
            && self.env == self.slug.env()
            && self.org == self.slug.org()
    }

    pub(super) fn change(&mut self, new: NewHostEntry, now: String) {
        let old = std::mem::replace(self, HostEntry::new(&self.slug.clone(), new, now));
        self.created_at = old.created_at;
        self.rest = old.rest;
    }

    /// Checks that today's TypeScript can read it back.
    pub(super) fn check_storable(&self) -> Result<(), Error> {
        if self.org != Org::MACHINE && !Org::is_storable_name(&self.org) {
            let message = format!(
                "the org {:?} cannot be stored: it must begin with a-z and hold only a-z, 0-9, _ and -",
                self.org
            );
            return Err(Error::new(ErrorCode::BadOrg, message).of(&self.slug));
        }
        if self.slug.env_kind().is_none() || self.env != self.slug.env() || self.org != self.slug.org() {
            let message =
                format!("{} cannot be stored: its org and env must be those of its slug", self.slug);
            return Err(Error::new(ErrorCode::BadSlug, message).of(&self.slug));
        }
        if self.meta.as_ref().is_some_and(|meta| !meta.is_object()) {
            let message = format!("{} cannot be stored: its meta must be an object", self.slug);
            return Err(Error::new(ErrorCode::Internal, message).of(&self.slug));
        }
        self.max_ttl().map(drop)
    }
}
