//! `init`: creates the rack of an owner with its first recipient, and the `keyrack.yml` of a
//! repository. Existing files are not changed.

pub mod suggest;

use std::path::{Path, PathBuf};

use keyrack_client::{Context, manifest};
use keyrack_core::host_manifest::{HostManifest, Recipient, check_label};
use keyrack_core::{Error, ErrorCode, Org};
use keyrack_vaults::identity::FoundKeys;
use keyrack_vaults::{Identities, RackPaths, identity, manifest_file, recipient_file, recipient_set};

use crate::context::OpContext;
use crate::locked_file::LockedFile;
use crate::repo::below;

/// Files to create.
#[derive(Clone, Debug, Default)]
pub struct InitRequest {
    /// The ssh key of the first recipient: its private or its `.pub` file. One of those that
    /// [`FoundKeys`] finds if not given.
    pub key: Option<PathBuf>,
    /// Label of the recipient; `None` for `default`.
    pub label: Option<String>,
    /// Org of the repository's manifest; `None` to create no such manifest.
    pub org: Option<String>,
    /// Path of that manifest, relative to the root of the repository.
    pub at: Option<String>,
}

/// Outcome for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InitOutcome {
    /// It was made.
    Created,
    /// It was there.
    Found,
}

impl InitOutcome {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            InitOutcome::Created => "created",
            InitOutcome::Found => "found",
        }
    }
}

/// Result of an `init`.
#[derive(Clone, Debug)]
pub struct InitReport {
    /// Outcome for the host manifest.
    pub host: InitOutcome,
    /// Path of the host manifest.
    pub host_path: PathBuf,
    /// Its first recipient.
    pub recipient: Recipient,
    /// The identity that later commands find from now on without `--prikey`, if this run remembered
    /// one.
    pub remembered: Option<PathBuf>,
    /// The repository's manifest, if an org was given in a repository.
    pub repo: Option<InitRepo>,
    /// Root of the repository.
    pub git_root: Option<PathBuf>,
}

/// A repository's manifest.
#[derive(Clone, Debug)]
pub struct InitRepo {
    /// Outcome for the file.
    pub effect: InitOutcome,
    /// Path of the file.
    pub path: PathBuf,
    /// The org it names.
    pub org: String,
}

/// Creates the rack, and the repository's manifest if an org is given.
///
/// # Errors
/// [`ErrorCode::BadOrg`] for an org that no key can be stored for; [`ErrorCode::BadKeyFile`]; those
/// of opening an existing rack; those of writing. All checks precede the first write.
pub fn init(ctx: &OpContext<'_>, request: &InitRequest) -> Result<InitReport, Error> {
    let label = request.label.as_deref().unwrap_or("default");
    check_label(label)?;
    let org = request.org.as_deref().map(check_org).transpose()?;
    let git_root = manifest::find_git_root(&ctx.client.cwd);
    let repo_path = match (&git_root, org) {
        (Some(root), Some(_)) => {
            let at = request.at.as_deref().unwrap_or(keyrack_core::repo_manifest::MANIFEST_PATH);
            let path = below(root, at)?;
            check_inside(root, &path)?;
            manifest::check_ownership(&ctx.client, root)?;
            Some((root.clone(), path))
        }
        _ => None,
    };
    let racks = ctx.racks()?;
    let Host { effect, recipient, remembered } = init_host(ctx, &racks, request.key.as_deref(), label)?;
    let repo = match (repo_path, org) {
        (Some((root, path)), Some(org)) => Some(init_repo(&ctx.client, &root, &path, org)?),
        _ => None,
    };
    let host_path = racks.manifest_path();
    Ok(InitReport { host: effect, host_path, recipient, remembered, repo, git_root })
}

/// The rack after an `init`.
struct Host {
    effect: InitOutcome,
    recipient: Recipient,
    remembered: Option<PathBuf>,
}

/// An org a repository can be of.
///
/// # Errors
/// [`ErrorCode::BadOrg`].
pub fn check_org(text: &str) -> Result<&str, Error> {
    match text.parse()? {
        Org::Named(name) if Org::is_storable_name(&name) => Ok(text),
        Org::Named(_) => {
            let error = Error::new(
                ErrorCode::BadOrg,
                "invalid org: it must begin with a-z and contain only a-z, 0-9, _ and -",
            );
            let lower = text.to_lowercase();
            let meant = Org::is_storable_name(&lower).then(|| "use lower case".to_owned());
            Err(Error { hint: meant, ..error })
        }
        Org::Machine | Org::This => Err(Error::new(
            ErrorCode::BadOrg,
            format!("{text} cannot be the org of a repository: use the name of your organization"),
        )),
    }
}

fn init_host(ctx: &OpContext<'_>, racks: &RackPaths, key: Option<&Path>, label: &str) -> Result<Host, Error> {
    let key = match key {
        Some(path) => Some(key_path(&ctx.client.cwd, path)?),
        None => None,
    };
    let mut identities = ctx.identities_with(racks, key.iter().map(|path| private_half(path)))?;
    let found = |manifest: HostManifest, identities: &Identities<'_>| {
        let first = manifest.recipients.into_iter().next();
        let first = first.ok_or_else(|| {
            Error::new(
                ErrorCode::HostManifestInvalid,
                "the host manifest has no recipient that this version can read",
            )
        })?;
        let remembered = ctx.remember(racks, identities);
        Ok(Host { effect: InitOutcome::Found, recipient: first, remembered })
    };
    if let Some(manifest) = manifest_file::load(racks, &mut identities)? {
        return found(manifest, &identities);
    }
    let path = match key {
        Some(path) => path,
        None => {
            let source = ctx.identity_source(racks, []);
            FoundKeys::search(racks, source.ssh_auth_sock.as_deref()).choose(racks)?.path
        }
    };
    let pubkey = recipient_file::for_init(&path).map_err(|error| match error.fix {
        // A file that is there and cannot be used.
        None if path.is_file() => error.fix(identity::new_key(racks)),
        _ => error,
    })?;
    let new = recipient_set::entry(pubkey, label, ctx.now_ms);
    let mut manifest = manifest_file::empty(racks);
    manifest.recipients.push(new.clone());
    if manifest_file::create(racks, &manifest, &mut identities)? {
        let private = private_half(&path);
        let remembered = !identity::is_default(racks, &private) && identity::remember(racks, &private)?;
        let remembered = remembered.then_some(private);
        return Ok(Host { effect: InitOutcome::Created, recipient: new, remembered });
    }
    // Another process created it in the meantime.
    let manifest = manifest_file::load_existing(racks, &mut identities)?;
    found(manifest, &identities)
}

/// Path of the file that the user passed as `--prikey` or `--pubkey`. A key itself is rejected.
fn key_path(cwd: &Path, typed: &Path) -> Result<PathBuf, Error> {
    let text = typed.to_string_lossy();
    if text.starts_with("ssh-") || text.starts_with("age1") || text.starts_with("AGE-SECRET-KEY-") {
        return Err(Error::new(ErrorCode::BadKeyFile, "expected the path of a key file, not the key itself"));
    }
    Ok(cwd.join(typed))
}

fn private_half(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|ext| ext == "pub") { path.with_extension("") } else { path.to_owned() }
}

/// Checks that no symbolic link on the way leads a path outside the repository.
pub(crate) fn check_inside(root: &Path, path: &str) -> Result<(), Error> {
    let unreadable = |at: &Path, error: std::io::Error| {
        Error::new(ErrorCode::Io, format!("cannot read {}: {error}", at.display()))
    };
    let real_root = root.canonicalize().map_err(|error| unreadable(root, error))?;
    // The closest of them that is there; `symlink_metadata` sees a link that leads nowhere, too.
    let full = root.join(path);
    let there = full.ancestors().skip(1).find(|dir| dir.symlink_metadata().is_ok()).unwrap_or(root);
    let real = there.canonicalize().map_err(|error| unreadable(there, error))?;
    if real.starts_with(&real_root) {
        return Ok(());
    }
    let message = format!("{path}: {} is a symbolic link that leads out of the repository", there.display());
    Err(Error::new(ErrorCode::ManifestInvalid, message))
}

fn init_repo(ctx: &Context, root: &Path, path: &str, org: &str) -> Result<InitRepo, Error> {
    let full = root.join(path);
    let file = LockedFile::lock(&full)?;
    if file.read()?.is_some() {
        let there =
            manifest::load_from(ctx, root, path)?.map_or_else(|| org.to_owned(), |manifest| manifest.org);
        return Ok(InitRepo { effect: InitOutcome::Found, path: full, org: there });
    }
    file.write(&format!("org: {org}\n"))?;
    Ok(InitRepo { effect: InitOutcome::Created, path: full, org: org.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn check_inside_rejects_symlinks_out_of_the_repository() {
        let dir = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (dir.path().join("repo"), dir.path().join("outside"));
        for made in [&root.join("real/deep"), &elsewhere] {
            fs::create_dir_all(made).unwrap();
        }
        symlink(&elsewhere, root.join("out")).unwrap();
        symlink("/nowhere/at/all", root.join("dangling")).unwrap();
        symlink("real", root.join("inner")).unwrap();
        symlink(&root, dir.path().join("alias")).unwrap();
        for (path, inside) in [
            ("keyrack.yml", true),
            ("new/deeper/keyrack.yml", true),
            ("real/keyrack.yml", true),
            ("inner/deep/keyrack.yml", true),
            ("inner/new/keyrack.yml", true),
            ("out/keyrack.yml", false),
            ("out/new/keyrack.yml", false),
            ("dangling/keyrack.yml", false),
        ] {
            for root in [&root, &dir.path().join("alias")] {
                assert_eq!(check_inside(root, path).is_ok(), inside, "{path}");
            }
        }
    }
}
