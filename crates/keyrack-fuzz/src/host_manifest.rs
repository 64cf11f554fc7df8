//! The plaintext of the host manifest: what is read, written and read again is the same, and
//! unknown fields survive.

use keyrack_core::host_manifest::{Change, HostManifest, NewHostEntry};
use keyrack_core::{ErrorCode, Mechanism, Slug, VaultId};

/// Takes the plaintext.
pub fn host_manifest(data: &[u8]) {
    let mut manifest = match HostManifest::parse(data) {
        Ok(manifest) => manifest,
        Err(error) => {
            assert_eq!(error.code, ErrorCode::HostManifestInvalid, "{error}");
            return;
        }
    };
    let written = again(&manifest);
    assert_eq!(written, manifest, "what is written reads as the same again");
    assert_eq!(manifest.to_plaintext(), written.to_plaintext(), "and is written as the same again");
    assert_eq!(manifest.faults().len(), manifest.strange_hosts.len() + manifest.strange_recipients.len());
    for (slug, host) in &manifest.hosts {
        assert_eq!(*slug, host.slug, "an entry has its own slug");
        let (_, _) = (host.grade(), host.max_ttl());
    }
    let _ = manifest.check_storable(&HostManifest::default());
    assert_eq!(manifest.check_storable(&manifest).is_ok(), {
        !manifest.recipients.is_empty() && manifest.strange_recipients.is_empty()
    });

    let slug = Slug::parse("acme.test.API_KEY").expect("a slug");
    let new = NewHostEntry {
        vault: VaultId::OsSecure,
        mech: Mechanism::Replica,
        exid: None,
        meta: None,
        max_duration: Some("1h".to_owned()),
    };
    let before = manifest.clone();
    let change = manifest.put(&slug, new.clone(), 1_767_225_600_000);
    assert_eq!(change == Change::Unchanged, manifest == before, "a change is reported");
    assert_eq!(manifest.put(&slug, new, 0), Change::Unchanged, "the same again changes nothing");
    for (other, host) in before.hosts.iter().filter(|(other, _)| **other != slug) {
        assert_eq!(manifest.hosts.get(other), Some(host), "no other key is touched");
    }
    assert_eq!(again(&manifest), manifest, "what is written reads as the same again");
}

fn again(manifest: &HostManifest) -> HostManifest {
    HostManifest::parse(manifest.to_plaintext().as_bytes()).expect("what is written is read")
}
