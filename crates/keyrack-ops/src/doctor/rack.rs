//! Checks of the rack on disk: the ssh keys that could open it, the host manifest, and the files of
//! the vaults. Keys stay encrypted: of a file in os.secure only the header is read.

use std::path::Path;

use keyrack_core::fix::shell_quote;
use keyrack_core::host_manifest::HostManifest;
use keyrack_core::{Fix, Owner, Slug, VaultId};
use keyrack_vaults::audit::{self, FileBinding, FindingKind, ManifestAudit, RackFiles};
use keyrack_vaults::identity::{self, FoundKeys, KeyFileKind};
use keyrack_vaults::{RackPaths, registry};

use super::check::{Check, counted};
use crate::context::OpContext;

const IDENTITY: &str = "rack.identity";
const MANIFEST: &str = "rack.host_manifest";
const FILES: &str = "rack.files";
const KEYS: &str = "rack.keys";
const BINDING: &str = "rack.binding";
/// Maximum number of unbound keys that are named.
const UNBOUND_NAMED: usize = 8;

pub(super) fn checks(ctx: &OpContext<'_>) -> Vec<Check> {
    let Ok(racks) = ctx.racks() else {
        return vec![Check::skip(MANIFEST, "HOME is not set, so there is no rack")];
    };
    let mut checks = identities(ctx, &racks);
    let files = RackFiles::inspect(&racks);
    let manifest = host_manifest(ctx, &racks, &mut checks);
    checks.extend(files_checks(&files, &racks, manifest.as_ref()));
    if let Some(manifest) = &manifest {
        checks.extend(keys(&racks, manifest, &files));
        checks.extend(bindings(&racks, manifest));
    }
    checks
}

fn identities(ctx: &OpContext<'_>, racks: &RackPaths) -> Vec<Check> {
    let found = match audit::key_files(ctx.identity_source(racks, [])) {
        Ok(found) => found,
        Err(error) => return vec![Check::error(IDENTITY, error)],
    };
    let found_keys = FoundKeys::search(racks, ctx.identity_source(racks, []).ssh_auth_sock.as_deref());
    if found.is_empty() {
        return vec![no_identity(racks, &found_keys)];
    }
    let told = found.into_iter().map(|file| {
        let path = file.path.display().to_string();
        match (file.kind, file.mode) {
            (KeyFileKind::Unusable(why), _) => Check::warn(IDENTITY, format!("{path} is unusable: {why}")),
            (_, Some(mode)) if mode & 0o077 != 0 => {
                Check::warn(IDENTITY, format!("{path} is readable by other users (mode {mode:04o})"))
                    .fix(Fix::Text(format!("chmod 600 {}", shell_quote(&path))))
            }
            (KeyFileKind::Plain, _) => Check::ok(IDENTITY, format!("{path} is a key without a passphrase")),
            (KeyFileKind::Encrypted, _) => {
                Check::ok(IDENTITY, format!("{path} is a key with a passphrase (not tried)"))
            }
        }
    });
    told.collect()
}

/// No key is found by its name, or remembered.
fn no_identity(racks: &RackPaths, found_keys: &FoundKeys) -> Check {
    let dir = racks.ssh_dir().display().to_string();
    if let Some(usable) = found_keys.usable.first() {
        let path = usable.path.to_string_lossy();
        return Check::warn(
            IDENTITY,
            format!("{path} can open a rack, but is not one of the default key files"),
        )
        .fix(Fix::with_owner("init", racks.owner(), ["--prikey", &*path]));
    }
    let check =
        Check::warn(IDENTITY, format!("no ssh key in {dir} can open the rack")).fix(identity::new_key(racks));
    if found_keys.unusable.is_empty() {
        return check.hint("or pass a key with --prikey");
    }
    check.hint(format!("found {}; or pass a key with --prikey", found_keys.reasons()))
}

fn host_manifest(ctx: &OpContext<'_>, racks: &RackPaths, checks: &mut Vec<Check>) -> Option<HostManifest> {
    let path = racks.manifest_path().display().to_string();
    match audit::host_manifest(racks, ctx.identity_source(racks, [])) {
        Ok(ManifestAudit::Missing) => {
            let message = format!("there is no host manifest yet for the owner {}", racks.owner());
            checks.push(Check::skip(MANIFEST, message).fix(Fix::with_owner("init", racks.owner(), [])));
            None
        }
        Ok(ManifestAudit::NeedsPassphrase(by)) => {
            let by: Vec<String> = by.iter().map(|path| path.display().to_string()).collect();
            let message = format!("{path} was not opened: it needs the passphrase of {}", by.join(" or "));
            checks.push(Check::skip(MANIFEST, message));
            None
        }
        Ok(ManifestAudit::Opened(key, manifest)) => {
            let message = format!(
                "{path} opens with {}: {}, {}",
                key.display(),
                counted(manifest.hosts.len(), "key"),
                counted(manifest.recipients.len(), "recipient")
            );
            checks.push(Check::ok(MANIFEST, message));
            checks.extend(manifest.faults().into_iter().map(|fault| Check::error(MANIFEST, fault)));
            Some(*manifest)
        }
        Err(error) => {
            checks.push(Check::error(MANIFEST, error));
            None
        }
    }
}

fn files_checks(files: &RackFiles, racks: &RackPaths, manifest: Option<&HostManifest>) -> Vec<Check> {
    if files.findings.is_empty() {
        return match files.count {
            0 => Vec::new(),
            count => vec![Check::ok(
                FILES,
                format!("checked {} of the rack: intact and private", counted(count, "file")),
            )],
        };
    }
    let told = files
        .findings
        .iter()
        .filter(|trouble| trouble.path != racks.manifest_path() || !is_bad(&trouble.kind));
    told.map(|trouble| {
        let path = trouble.path.display().to_string();
        match &trouble.kind {
            FindingKind::TooOpen(open) => {
                let mode = if trouble.path.is_dir() { "700" } else { "600" };
                Check::warn(FILES, format!("{path} is accessible to other users (mode {open:04o})"))
                    .fix(Fix::Text(format!("chmod {mode} {}", shell_quote(&path))))
            }
            FindingKind::Unfinished => {
                Check::warn(FILES, format!("a change of recipients in {path} was interrupted"))
                    .hint("the next command that changes the rack completes it")
            }
            FindingKind::Unusable(error) => {
                let check = Check::error(FILES, error.clone());
                match manifest.and_then(|manifest| slug_of(&trouble.path, racks, manifest)) {
                    Some(slug) => {
                        Check { message: format!("{} (the file of {slug})", check.message), ..check }
                            .fix(Fix::set_secure(racks.owner(), &slug))
                    }
                    None => check,
                }
            }
        }
    })
    .collect()
}

/// Returns `true` for an unusable file. For the host manifest this is reported when it is opened.
fn is_bad(kind: &FindingKind) -> bool {
    matches!(kind, FindingKind::Unusable(_))
}

/// The key whose file of os.secure this is.
fn slug_of(path: &Path, racks: &RackPaths, manifest: &HostManifest) -> Option<Slug> {
    manifest.hosts.keys().find(|slug| racks.secure_path(slug) == path).cloned()
}

/// Names the keys whose file in os.secure is not bound to them, or is another key's.
fn bindings(racks: &RackPaths, manifest: &HostManifest) -> Vec<Check> {
    let owner = racks.owner();
    let mut checks = Vec::new();
    let mut unbound = Vec::new();
    for host in manifest.hosts.values().filter(|host| host.vault == VaultId::OsSecure) {
        let slug = &host.slug;
        match audit::file_binding(racks, host) {
            Some(FileBinding::Unbound) => unbound.push(slug),
            Some(FileBinding::Mismatch(reason)) => {
                let path = racks.secure_path(slug);
                let message = format!("the file of {slug} {reason}: {}", path.display());
                checks.push(
                    Check::fail(BINDING, message)
                        .fix(Fix::set_secure(owner, slug))
                        .hint("a program or a person replaced the file: restore it, or set the key again"),
                );
            }
            Some(FileBinding::Bound) | None => {}
        }
    }
    if let Some(first) = unbound.first() {
        let named: Vec<&str> = unbound.iter().take(UNBOUND_NAMED).map(|slug| slug.as_str()).collect();
        let more = match unbound.len().saturating_sub(UNBOUND_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let verb = if unbound.len() == 1 { "is" } else { "are" };
        let message = format!(
            "{} in os.secure {verb} not bound to a file, because another keyrack wrote it: {}{more}",
            counted(unbound.len(), "key"),
            named.join(", ")
        );
        checks.push(Check::warn(BINDING, message).fix(Fix::set_secure(owner, first)).hint(
            "keyrack cannot detect that their files were swapped; the next `set` of a key binds its file",
        ));
    }
    checks
}

/// Checks that each key of the host manifest is in its vault.
fn keys(racks: &RackPaths, manifest: &HostManifest, files: &RackFiles) -> Vec<Check> {
    let owner: &Owner = racks.owner();
    let mut checks = Vec::new();
    for host in manifest.hosts.values() {
        let slug = &host.slug;
        let lost = match &host.vault {
            VaultId::OsSecure => !RackFiles::has_secure(racks, slug),
            VaultId::OsDirect => {
                files.direct.as_ref().is_some_and(|slugs| slugs.iter().all(|known| known != slug.as_str()))
            }
            VaultId::OsDaemon | VaultId::OsEnvvar => false,
            other => {
                if let Err(error) = registry::vault(other) {
                    checks.push(Check::warn(KEYS, format!("cannot read {slug}: {}", error.message)));
                }
                false
            }
        };
        if lost {
            checks.push(
                Check::fail(KEYS, format!("{slug} is recorded, but missing from {}", host.vault))
                    .fix(Fix::set(owner, slug, &host.vault, &host.mech))
                    .hint(format!("or delete it: {}", Fix::del(owner, slug).render(Default::default()))),
            );
        }
    }
    if checks.is_empty() && !manifest.hosts.is_empty() {
        checks.push(Check::ok(KEYS, "all recorded keys are in their vaults"));
    }
    checks
}
