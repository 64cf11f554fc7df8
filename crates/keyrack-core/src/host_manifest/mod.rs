//! Host manifest: the vault of each key of an owner, and the recipients who can decrypt it. It
//! contains no secret.
//!
//! Unknown fields, vaults and mechanisms survive a rewrite, and so do whole entries that cannot be
//! understood. Such entries are faults, and do not affect the others.

mod entry;
mod recipient;
#[cfg(test)]
mod tests;

pub use entry::{HostEntry, NewHostEntry};
pub use recipient::{Recipient, check_label};

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorCode};
use crate::slug::Slug;
use crate::timestamp;

/// Content of a host manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Read", into = "Written")]
pub struct HostManifest {
    /// Path of the manifest, with `~` for the home directory.
    pub uri: String,
    /// Name of the owner; `None` for the default owner.
    pub owner: Option<String>,
    /// Public keys that it is encrypted to.
    pub recipients: Vec<Recipient>,
    /// Entries, by key.
    pub hosts: BTreeMap<Slug, HostEntry>,
    /// Unknown fields of the top level.
    pub rest: Map<String, Value>,
    /// Recipients that cannot be understood.
    pub strange_recipients: Vec<Value>,
    /// Keys that cannot be understood, by the text in place of their slug.
    pub strange_hosts: BTreeMap<String, Value>,
}

/// Effect of [`HostManifest::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The key is new.
    Added,
    /// The entry of the key changed.
    Updated,
    /// The entry was the same.
    Unchanged,
}

impl HostManifest {
    /// Parses the plaintext of a manifest.
    ///
    /// # Errors
    /// [`ErrorCode::HostManifestInvalid`], with the position and without any of the text, which is
    /// private.
    pub fn parse(plain: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(plain).map_err(|error| {
            let what = if error.is_data() { "is not of the expected kind" } else { "is not JSON" };
            let (line, column) = (error.line(), error.column());
            let message = format!("the host manifest {what} (line {line}, column {column} of its plaintext)");
            Error::new(ErrorCode::HostManifestInvalid, message)
        })
    }

    /// Returns the plaintext to write: JSON with an indent of two spaces and without a newline at
    /// the end, as today's TypeScript writes it.
    pub fn to_plaintext(&self) -> String {
        serde_json::to_string_pretty(self).expect("maps with string keys and plain values are JSON")
    }

    /// Lists what cannot be understood, one error each.
    pub fn faults(&self) -> Vec<Error> {
        let error = |message| Error::new(ErrorCode::HostManifestInvalid, message);
        let recipients = (1..=self.strange_recipients.len())
            .map(|nth| error(format!("the host manifest has a recipient that cannot be understood ({nth})")));
        let hosts = self.strange_hosts.keys().map(|slug| {
            let fault = error(format!("the host manifest's entry {slug:?} cannot be understood"));
            match Slug::parse_stored(slug) {
                Ok(slug) => fault.of(&slug),
                Err(_) => fault,
            }
        });
        recipients.chain(hosts).collect()
    }

    /// Adds or replaces an entry. An existing one keeps its creation time and unknown fields. An
    /// equal one is left unchanged.
    pub fn put(&mut self, slug: &Slug, new: NewHostEntry, now_ms: i64) -> Change {
        let now = timestamp::format_ms(now_ms);
        // An entry that cannot be understood is replaced, since the user sets the key.
        let strange = self.strange_hosts.remove(slug.as_str()).is_some();
        match self.hosts.get_mut(slug) {
            Some(host) if host.is(&new) => Change::Unchanged,
            Some(host) => {
                host.change(new, now);
                Change::Updated
            }
            None => {
                self.hosts.insert(slug.clone(), HostEntry::new(slug, new, now));
                if strange { Change::Updated } else { Change::Added }
            }
        }
    }

    /// Checks that today's TypeScript can read the manifest back: it checks on reading only, and
    /// one bad entry makes the whole file unreadable. Entries that are equal in `before` are not
    /// checked.
    ///
    /// # Errors
    /// [`ErrorCode::BadOrg`], [`ErrorCode::BadSlug`], [`ErrorCode::BadRecipient`],
    /// [`ErrorCode::LastRecipient`], [`ErrorCode::BadDuration`].
    pub fn check_storable(&self, before: &HostManifest) -> Result<(), Error> {
        if self.recipients.is_empty() {
            let message = "the host manifest needs a recipient: without one, it could never be opened again";
            return Err(Error::new(ErrorCode::LastRecipient, message));
        }
        if !self.strange_recipients.is_empty() {
            let message = "the host manifest has a recipient that cannot be understood, and so cannot be encrypted to it";
            return Err(Error::new(ErrorCode::BadRecipient, message));
        }
        self.hosts
            .iter()
            .filter(|(slug, host)| before.hosts.get(*slug) != Some(host))
            .try_for_each(|(_, host)| host.check_storable())
    }
}

/// Form for reading: each entry is a value of its own, so that one that cannot be understood does
/// not affect the others.
#[derive(Deserialize)]
struct Read {
    uri: String,
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    recipients: Vec<Value>,
    hosts: BTreeMap<String, Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl From<Read> for HostManifest {
    fn from(text: Read) -> Self {
        let Read { uri, owner, recipients, hosts, rest } = text;
        let mut manifest = HostManifest { uri, owner, rest, ..HostManifest::default() };
        for value in recipients {
            match Recipient::deserialize(&value) {
                Ok(recipient) => manifest.recipients.push(recipient),
                Err(_) => manifest.strange_recipients.push(value),
            }
        }
        for (key, value) in hosts {
            match HostEntry::read(&key, &value) {
                Some(host) => {
                    manifest.hosts.insert(host.slug.clone(), host);
                }
                None => {
                    manifest.strange_hosts.insert(key, value);
                }
            }
        }
        manifest
    }
}

/// Form for writing.
#[derive(Serialize)]
struct Written {
    uri: String,
    owner: Option<String>,
    recipients: Vec<Kept<Recipient>>,
    hosts: BTreeMap<String, Kept<HostEntry>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Kept<T> {
    Known(T),
    Strange(Value),
}

impl From<HostManifest> for Written {
    fn from(manifest: HostManifest) -> Self {
        let HostManifest { uri, owner, recipients, hosts, rest, strange_recipients, strange_hosts } =
            manifest;
        let known = hosts.into_iter().map(|(slug, host)| (slug.as_str().to_owned(), Kept::Known(host)));
        let strange = strange_hosts.into_iter().map(|(slug, value)| (slug, Kept::Strange(value)));
        let hosts = known.chain(strange).collect();
        let recipients = recipients.into_iter().map(Kept::Known);
        let recipients = recipients.chain(strange_recipients.into_iter().map(Kept::Strange)).collect();
        Written { uri, owner, recipients, hosts, rest }
    }
}
