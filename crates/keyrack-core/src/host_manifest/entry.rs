//! Hosts: where one key rests.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorCode};
use crate::grade::Grade;
use crate::mechanism::Mechanism;
use crate::org::Org;
use crate::slug::Slug;
use crate::ttl::Ttl;
use crate::vault_id::VaultId;

/// Where a key rests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostEntry {
    /// Its slug.
    pub slug: Slug,
    /// How its secret comes to be.
    pub mech: Mechanism,
    /// The vault.
    pub vault: VaultId,
    /// What the vault calls it, for a vault that is only pointed to.
    #[serde(default)]
    pub exid: Option<String>,
    /// Its env as written; the slug's is what counts.
    pub env: String,
    /// Its org as written; the slug's is what counts.
    pub org: String,
    /// What else the vault needs to know: an object or nothing.
    #[serde(default)]
    pub meta: Option<Value>,
    /// The longest life it may be unlocked for, as written.
    #[serde(default)]
    pub max_duration: Option<String>,
    /// When it was first set, in ISO 8601.
    #[serde(default = "long_ago")]
    pub created_at: String,
    /// When it last changed, in ISO 8601.
    #[serde(default = "long_ago")]
    pub updated_at: String,
    /// Fields that are not known here.
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// What is to be known of a key that is set.
#[derive(Clone, Debug, PartialEq)]
pub struct NewHostEntry {
    /// The vault.
    pub vault: VaultId,
    /// How its secret comes to be.
    pub mech: Mechanism,
    /// What the vault calls it.
    pub exid: Option<String>,
    /// What else the vault needs to know: an object or nothing.
    pub meta: Option<Value>,
    /// The longest life it may be unlocked for.
    pub max_duration: Option<String>,
}

fn long_ago() -> String {
    crate::timestamp::format_ms(0)
}

impl HostEntry {
    /// The grade the key has.
    pub fn grade(&self) -> Grade {
        Grade::of(&self.vault, &self.mech)
    }

    /// The longest life it may be unlocked for. Fails with [`ErrorCode::BadDuration`] naming the key: a limit that cannot be read must not pass for
    /// none.
    pub fn max_ttl(&self) -> Result<Option<Ttl>, Error> {
        self.max_duration.as_deref().map(str::parse::<Ttl>).transpose().map_err(|error| {
            let message = format!("{}: its maxDuration: {}", self.slug, error.message);
            Error::new(ErrorCode::BadDuration, message).of(&self.slug)
        })
    }

    /// Reads an entry that stands under `key`. `None` if it cannot be understood, which is also when it says it is another slug than it stands under.
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

    /// Whether it already is what is to be set.
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

    /// Refuses what today's TypeScript could not read back.
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
