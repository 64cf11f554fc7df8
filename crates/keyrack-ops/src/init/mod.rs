//! `init`: the rack of an owner with its first recipient, and the `keyrack.yml` of a repository. What is there already is found, not changed.

pub mod suggest;

use std::path::{Path, PathBuf};

use keyrack_client::{Context, manifest};
use keyrack_core::host_manifest::{HostManifest, Recipient};
use keyrack_core::{Error, ErrorCode, Org};
use keyrack_vaults::identity::FoundKeys;
use keyrack_vaults::{Identities, RackPaths, identity, manifest_file, recipient_file, recipient_set};

use crate::context::OpContext;
use crate::input::check_label;
use crate::locked_file::LockedFile;
use crate::repo::below;

/// What is to be made.
#[derive(Clone, Debug, Default)]
pub struct InitRequest {
    /// The ssh key of the first recipient: its private or its `.pub` file. One of those that
    /// [`FoundKeys`] finds if not given.
    pub key: Option<PathBuf>,
    /// What to call the recipient; `None` for `default`.
    pub label: Option<String>,
    /// The org of the repository's manifest, if one is to be made.
    pub org: Option<String>,
    /// Where that is to be, from the root of the repository.
    pub at: Option<String>,
}

/// Whether something was made or was there.
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

/// What there is now.
#[derive(Clone, Debug)]
pub struct InitReport {
    /// Whether the host manifest is new.
    pub host: InitOutcome,
    /// Where it is.
    pub host_path: PathBuf,
    /// Its first recipient.
    pub recipient: Recipient,
    /// The identity that later commands find from now on without `--prikey`, if this run remembered
    /// one.
    pub remembered: Option<PathBuf>,
    /// The repository's manifest, if one was asked for and there is a repository.
    pub repo: Option<InitRepo>,
    /// The root of the repository, if there is one.
    pub git_root: Option<PathBuf>,
}

/// A repository's manifest.
#[derive(Clone, Debug)]
pub struct InitRepo {
    /// Whether it is new.
    pub effect: InitOutcome,
    /// Where it is.
    pub path: PathBuf,
    /// The org it names.
    pub org: String,
}

/// Makes the rack, and the repository's manifest if an org is given.
///
/// # Errors
/// [`ErrorCode::BadOrg`] for an org no key could be stored for; [`ErrorCode::BadKeyFile`]; for a rack that is there, what keeps it from being opened;
/// what kept a file from being written. Everything that can be refused is, before anything is written.
pub fn init(ctx: &OpContext<'_>, request: &InitRequest) -> Result<InitReport, Error> {
    let label = check_label(request.label.as_deref().unwrap_or("default"))?;
    let org = request.org.as_deref().map(check_org).transpose()?;
    let git_root = manifest::find_git_root(&ctx.client.cwd);
    let repo_path = match (&git_root, org) {
        (Some(root), Some(_)) => {
            let at = request.at.as_deref().unwrap_or(keyrack_core::repo_manifest::MANIFEST_PATH);
            let path = below(root, at)?;
            stays_inside(root, &path)?;
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

/// The rack there is now.
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
                "no key could be stored for this org: it must begin with a-z and hold only a-z, 0-9, _ and -",
            );
            let lower = text.to_lowercase();
            let meant = Org::is_storable_name(&lower).then(|| "use lower case".to_owned());
            Err(Error { hint: meant, ..error })
        }
        Org::Machine | Org::This => Err(Error::new(
            ErrorCode::BadOrg,
            format!("{text} is no org a repository can be of: name your organisation"),
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
                "the host manifest names no recipient that can be understood",
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
    // Somebody else made it in the meantime.
    let manifest = manifest_file::load_existing(racks, &mut identities)?;
    found(manifest, &identities)
}

/// The file a person means by `--prikey` or `--pubkey`; a public key itself is not one.
fn key_path(cwd: &Path, typed: &Path) -> Result<PathBuf, Error> {
    let text = typed.to_string_lossy();
    if text.starts_with("ssh-") || text.starts_with("age1") || text.starts_with("AGE-SECRET-KEY-") {
        return Err(Error::new(ErrorCode::BadKeyFile, "the path of a key file is needed, not a key itself"));
    }
    Ok(cwd.join(typed))
}

fn private_half(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|ext| ext == "pub") { path.with_extension("") } else { path.to_owned() }
}

/// Refuses a path that a directory on the way, being a symbolic link, leads out of the repository: nothing is made there.
pub(crate) fn stays_inside(root: &Path, path: &str) -> Result<(), Error> {
    let unreadable = |at: &Path, error: std::io::Error| {
        Error::new(ErrorCode::Io, format!("cannot look at {}: {error}", at.display()))
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
    let held = LockedFile::take(&full)?;
    if held.read()?.is_some() {
        let there =
            manifest::load_from(ctx, root, path)?.map_or_else(|| org.to_owned(), |manifest| manifest.org);
        return Ok(InitRepo { effect: InitOutcome::Found, path: full, org: there });
    }
    held.write(&format!("org: {org}\n"))?;
    Ok(InitRepo { effect: InitOutcome::Created, path: full, org: org.to_owned() })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_is_made_outside_of_the_repository() {
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
                assert_eq!(stays_inside(root, path).is_ok(), inside, "{path}");
            }
        }
    }
}
