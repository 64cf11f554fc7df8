//! Binding of a vault file to its key: a stanza in the age header that wraps no key.
//!
//! An os.secure file is encrypted to the same recipients as every other one, so without a binding
//! two files could change places and each key would yield the other's value. The stanza is `->
//! keyrack-bind v1 DIGEST` with an empty body. Every age reader skips stanzas it does not know, and
//! the header's MAC, keyed with the file key, authenticates them: only a program that can open the
//! file can edit, remove or copy one.
//!
//! DIGEST is the SHA-256, in unpadded Base64, of the domain `keyrack-bind v1` and the key's slug,
//! owner, grade, mechanism and version, each preceded by its length. The version rises with each
//! `set` of a slug and is kept in the `meta` of the host manifest's entry.

use std::collections::HashSet;

use age_core::format::{FileKey, Stanza};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use keyrack_core::host_manifest::HostEntry;
use keyrack_core::{Grade, Mechanism, Owner, Slug, VaultId, timestamp};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

/// Tag of the stanza.
const TAG: &str = "keyrack-bind";
/// Format of the digest.
const V1: &str = "v1";
const DOMAIN: &[u8] = b"keyrack-bind v1";
/// Member of an entry's `meta` that holds the version of the file.
const META_VERSION: &str = "keyrackBindVersion";
/// Number of earlier versions that are tried to tell an older file from one of another key.
const OLDER_TRIED: u64 = 1024;

/// A keyrack-bind stanza of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Label {
    args: Vec<String>,
    body: Vec<u8>,
}

impl Label {
    pub(crate) fn from_stanza(stanza: Stanza) -> Option<Self> {
        (stanza.tag == TAG).then_some(Label { args: stanza.args, body: stanza.body })
    }

    fn to_stanza(&self) -> Stanza {
        Stanza { tag: TAG.to_owned(), args: self.args.clone(), body: self.body.clone() }
    }

    /// Returns the digest of a label in the format of this version.
    fn digest(&self) -> Option<&str> {
        match &self.args[..] {
            [format, digest] if format == V1 && self.body.is_empty() => Some(digest),
            _ => None,
        }
    }
}

/// Labels as an age recipient that adds them to the header and wraps no key.
pub(crate) struct Labels<'a>(pub(crate) &'a [Label]);

impl age::Recipient for Labels<'_> {
    fn wrap_file_key(&self, _: &FileKey) -> Result<(Vec<Stanza>, HashSet<String>), age::EncryptError> {
        Ok((self.0.iter().map(Label::to_stanza).collect(), HashSet::new()))
    }
}

/// Key and version that a label is computed from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding<'a> {
    pub(crate) slug: &'a Slug,
    pub(crate) owner: &'a Owner,
    pub(crate) mech: &'a Mechanism,
    pub(crate) version: u64,
}

impl Binding<'_> {
    pub(crate) fn label(&self) -> Label {
        Label { args: vec![V1.to_owned(), self.digest()], body: Vec::new() }
    }

    fn digest(&self) -> String {
        let grade = Grade::of(&VaultId::OsSecure, self.mech).to_string();
        let version = self.version.to_be_bytes();
        let fields = [
            DOMAIN,
            self.slug.as_str().as_bytes(),
            self.owner.as_str().as_bytes(),
            grade.as_bytes(),
            self.mech.as_str().as_bytes(),
            &version,
        ];
        let mut hash = Sha256::new();
        for field in fields {
            let length = u64::try_from(field.len()).expect("a length in memory fits 64 bits");
            hash.update(length.to_be_bytes());
            hash.update(field);
        }
        BASE64_STANDARD_NO_PAD.encode(hash.finalize())
    }
}

/// Version of a key's file according to the host manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// The entry's `meta` names the version that the file is bound to.
    Bound(u64),
    /// The file was written by a keyrack that does not bind. The number is the version that the
    /// next binding follows on.
    Unbound(u64),
}

impl Recorded {
    /// Reads the version from an entry. `None` if `meta` holds something that this version does not
    /// understand.
    pub(crate) fn of(host: &HostEntry) -> Option<Self> {
        match host.meta.as_ref().and_then(|meta| meta.get(META_VERSION)) {
            Some(version) => version.as_u64().map(Recorded::Bound),
            // Later than every version a binding of this slug had before: versions begin at the
            // wall clock.
            None => Some(Recorded::Unbound(since_epoch(timestamp::parse_ms(&host.updated_at).unwrap_or(0)))),
        }
    }

    fn number(self) -> u64 {
        match self {
            Recorded::Bound(version) | Recorded::Unbound(version) => version,
        }
    }
}

/// Version of a slug's first binding where the host manifest has no entry for it: the wall clock,
/// so that a file from before a `del` is older than every file after it.
pub(crate) fn since_epoch(now_ms: i64) -> u64 {
    u64::try_from(now_ms).unwrap_or(0).max(1)
}

/// Returns the version that the next file of a key is bound to.
pub(crate) fn next_version(known: Option<&HostEntry>, now_ms: i64) -> u64 {
    let recorded = known.and_then(Recorded::of);
    recorded.and_then(|recorded| recorded.number().checked_add(1)).unwrap_or_else(|| since_epoch(now_ms))
}

/// Returns `meta` with the version of the bound file in it.
pub(crate) fn meta_with_version(meta: Option<&Value>, version: u64) -> Value {
    let mut members = match meta {
        Some(Value::Object(members)) => members.clone(),
        _ => Map::new(),
    };
    members.insert(META_VERSION.to_owned(), version.into());
    Value::Object(members)
}

/// Relation of a file to the entry of the host manifest that it was opened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// Bound to this key, at the recorded version.
    Bound,
    /// Bound to this key, one version ahead: the host manifest was not written after the file.
    Newer { version: u64, mech: Mechanism },
    /// Not bound, and not recorded as bound.
    Unbound,
}

/// Reason why a file is not the one that an entry of the host manifest names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Bound to an earlier version of this key.
    Older,
    /// Bound to another key, owner, grade or mechanism, or to a version far away.
    Other,
    /// Not bound although the host manifest says it is.
    Missing,
    /// The label or the entry is in a format this version does not know.
    Unknown,
}

impl Mismatch {
    /// Returns the reason as a phrase that follows "the file of KEY".
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Mismatch::Older => "holds an older value than the host manifest names",
            Mismatch::Other => "was written for another key, owner or mechanism",
            Mismatch::Missing => "is not bound to its key, although the host manifest says it is",
            Mismatch::Unknown => "is bound to its key in a format that this version of keyrack does not know",
        }
    }
}

/// Compares a file's labels with the entry of the host manifest.
pub(crate) fn compare(labels: &[Label], host: &HostEntry, owner: &Owner) -> Result<Match, Mismatch> {
    let recorded = Recorded::of(host).ok_or(Mismatch::Unknown)?;
    let found = match (labels, recorded) {
        ([], Recorded::Unbound(_)) => return Ok(Match::Unbound),
        ([], Recorded::Bound(_)) => return Err(Mismatch::Missing),
        ([label], _) => label.digest().ok_or(Mismatch::Unknown)?,
        _ => return Err(Mismatch::Unknown),
    };
    let number = recorded.number();
    let is =
        |mech: &Mechanism, version: u64| Binding { slug: &host.slug, owner, mech, version }.digest() == found;
    if matches!(recorded, Recorded::Bound(_)) && is(&host.mech, number) {
        return Ok(Match::Bound);
    }
    if let Some(version) = number.checked_add(1) {
        // The set that was cut short may have changed the mechanism too.
        let mechs = VaultId::OsSecure.mechanisms();
        if let Some(mech) = std::iter::once(&host.mech).chain(mechs).find(|mech| is(mech, version)) {
            return Ok(Match::Newer { version, mech: mech.clone() });
        }
    }
    let older = number.saturating_sub(OLDER_TRIED)..number;
    Err(if older.rev().any(|version| is(&host.mech, version)) { Mismatch::Older } else { Mismatch::Other })
}

#[cfg(test)]
mod tests {
    use keyrack_core::host_manifest::{HostManifest, NewHostEntry};

    use super::*;

    fn slug(text: &str) -> Slug {
        Slug::parse(text).unwrap()
    }

    fn host(mech: Mechanism, version: Option<u64>, updated_ms: i64) -> HostEntry {
        let slug = slug("acme.test.A");
        let meta = version.map(|version| meta_with_version(None, version));
        let new = NewHostEntry { vault: VaultId::OsSecure, mech, exid: None, meta, max_duration: None };
        let mut manifest = HostManifest::default();
        manifest.put(&slug, new, updated_ms);
        manifest.hosts.remove(&slug).unwrap()
    }

    fn label(slug_text: &str, owner: &str, mech: &Mechanism, version: u64) -> Label {
        let (slug, owner) = (slug(slug_text), owner.parse().unwrap());
        Binding { slug: &slug, owner: &owner, mech, version }.label()
    }

    #[test]
    fn digest_is_fixed() {
        // Files in use are bound with it. Computed by another program, from the description above.
        let label = label("acme.test.A", "default", &Mechanism::Replica, 1_780_000_000_000);
        assert_eq!(label.digest(), Some("d/fLKFbGRKBzTxfdK67XBcTjyWC0TaZNHaEjJ10pQZ0"));
    }

    #[test]
    fn digest_differs_in_every_field() {
        let replica = Mechanism::Replica;
        let own = label("acme.test.A", "default", &replica, 7);
        for other in [
            label("acme.test.B", "default", &replica, 7),
            label("acme.prod.A", "default", &replica, 7),
            label("acme.test.A", "work", &replica, 7),
            label("acme.test.A", "default", &Mechanism::GithubApp, 7),
            label("acme.test.A", "default", &Mechanism::Session, 7),
            label("acme.test.A", "default", &replica, 8),
            // The same bytes, parted elsewhere.
            label("acme.test.Adef", "ault", &replica, 7),
        ] {
            assert_ne!(own, other);
        }
    }

    #[test]
    fn compare_tells_bound_newer_and_mismatched_files() {
        let (replica, app) = (Mechanism::Replica, Mechanism::GithubApp);
        let own = |version| label("acme.test.A", "default", &replica, version);
        let newer = |version, mech: &Mechanism| Ok(Match::Newer { version, mech: mech.clone() });
        let foreign = |args: &[&str], body: &[u8]| Label {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            body: body.to_vec(),
        };
        let unknown = || host(Mechanism::Replica, None, 99);
        let odd_meta = HostEntry { meta: Some(serde_json::json!({ META_VERSION: "7" })), ..unknown() };
        let bound = || host(Mechanism::Replica, Some(5000), 99);
        let digest = own(5000).digest().unwrap().to_owned();
        for (labels, host, expected) in [
            (vec![own(5000)], bound(), Ok(Match::Bound)),
            (vec![own(5001)], bound(), newer(5001, &replica)),
            (vec![label("acme.test.A", "default", &app, 5001)], bound(), newer(5001, &app)),
            (vec![label("acme.test.A", "default", &app, 5000)], bound(), Err(Mismatch::Other)),
            (vec![own(5002)], bound(), Err(Mismatch::Other)),
            (vec![own(4999)], bound(), Err(Mismatch::Older)),
            (vec![own(5000 - OLDER_TRIED)], bound(), Err(Mismatch::Older)),
            (vec![own(1)], bound(), Err(Mismatch::Other)),
            (vec![label("acme.test.B", "default", &replica, 5000)], bound(), Err(Mismatch::Other)),
            (vec![label("acme.test.A", "work", &replica, 5000)], bound(), Err(Mismatch::Other)),
            (vec![], bound(), Err(Mismatch::Missing)),
            (vec![own(5000), own(5000)], bound(), Err(Mismatch::Unknown)),
            (vec![foreign(&["v2", &digest], b"")], bound(), Err(Mismatch::Unknown)),
            (vec![foreign(&["v1", &digest, "x"], b"")], bound(), Err(Mismatch::Unknown)),
            (vec![foreign(&["v1", &digest], b"x")], bound(), Err(Mismatch::Unknown)),
            (vec![foreign(&[], b"")], bound(), Err(Mismatch::Unknown)),
            // An entry without a binding: the file has none, or one of a set that was cut short.
            (vec![], unknown(), Ok(Match::Unbound)),
            (vec![own(100)], unknown(), newer(100, &replica)),
            (vec![own(98)], unknown(), Err(Mismatch::Older)),
            (vec![own(5000)], unknown(), Err(Mismatch::Other)),
            (vec![own(7)], odd_meta, Err(Mismatch::Unknown)),
        ] {
            let found = compare(&labels, &host, &Owner::DEFAULT);
            assert_eq!(found, expected, "{labels:?} {:?}", host.meta);
        }
    }

    #[test]
    fn next_version_is_above_the_recorded_one() {
        let replica = || Mechanism::Replica;
        for (known, expected) in [
            (None, 1000),
            (Some(host(replica(), Some(41), 5)), 42),
            (Some(host(replica(), None, 70)), 71),
            (Some(host(replica(), None, -1)), 2),
            (Some(host(replica(), Some(u64::MAX), 5)), 1000),
        ] {
            assert_eq!(next_version(known.as_ref(), 1000), expected, "{known:?}");
        }
        assert_eq!(next_version(None, -5), 1);
        let kept = meta_with_version(Some(&serde_json::json!({ "other": true, META_VERSION: 1 })), 2);
        assert_eq!(kept, serde_json::json!({ "other": true, META_VERSION: 2 }));
    }
}
