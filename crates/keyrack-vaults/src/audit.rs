//! Audit of an owner's files for reports. It changes nothing: it takes no lock, recovers nothing,
//! sets no mode, and does not prompt.
//!
//! Findings have a path and a reason, never content. Of a key's file in os.secure only the header
//! is read.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use keyrack_core::host_manifest::{HostEntry, HostManifest};
use keyrack_core::{Error, ErrorCode, Slug};

use crate::age_file::{AgeFile, DecryptError, MAX_MANIFEST, MAX_SECRET, file_limit};
use crate::binding::{self, Match};
use crate::file_error::io_error;
use crate::identity::{Identities, IdentitySource, KeyFileKind, NoPassphrasePrompt};
use crate::journal;
use crate::manifest_file;
use crate::os_direct;
use crate::private_dir;
use crate::private_file;
use keyrack_core::layout::RackPaths;

/// File that could be an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// Path of the file.
    pub path: PathBuf,
    /// Permission bits; `None` if they cannot be read.
    pub mode: Option<u32>,
    /// Kind of the file.
    pub kind: KeyFileKind,
}

/// Lists the key files that commands try, in their order.
///
/// # Errors
/// [`ErrorCode::BadKeyFile`] for one of `--prikey`.
pub fn key_files(source: IdentitySource) -> Result<Vec<KeyFile>, Error> {
    let mut identities = Identities::discover(source, Box::new(NoPassphrasePrompt))?;
    let files = identities.list_key_files().into_iter().map(|(path, kind)| {
        let mode = fs::metadata(&path).ok().map(|found| found.mode() & 0o7777);
        KeyFile { path, mode, kind }
    });
    Ok(files.collect())
}

/// Host manifest, as far as it opens without a prompt.
#[derive(Clone, Debug)]
pub enum ManifestAudit {
    /// It does not exist.
    Missing,
    /// It was opened with the key in this file.
    Opened(PathBuf, Box<HostManifest>),
    /// Only these keys could open it, and they have passphrases.
    NeedsPassphrase(Vec<PathBuf>),
}

/// Opens the host manifest without a prompt.
///
/// # Errors
/// Those of [`manifest_file::load`], except for a passphrase that is needed.
pub fn host_manifest(racks: &RackPaths, source: IdentitySource) -> Result<ManifestAudit, Error> {
    let path = racks.manifest_path();
    let limit = file_limit(MAX_MANIFEST);
    let Some(bytes) = private_file::read(&racks.dir(), &path, limit)? else {
        return Ok(ManifestAudit::Missing);
    };
    let file = AgeFile::parse(&bytes, 0).map_err(|error| manifest_file::does_not_open(&path, error))?;
    let mut identities = Identities::discover(source, Box::new(NoPassphrasePrompt))?;
    match file.open(&mut identities, None, MAX_MANIFEST) {
        Ok(plain) => {
            let manifest = manifest_file::parse(&path, &plain)?;
            let by = identities.last_used().map(Path::to_owned).unwrap_or_default();
            Ok(ManifestAudit::Opened(by, Box::new(manifest)))
        }
        Err(DecryptError::Identity(error)) if error.code == ErrorCode::PromptNeeded => {
            Ok(ManifestAudit::NeedsPassphrase(identities.keys_awaiting_passphrase()))
        }
        Err(error) => Err(manifest_file::does_not_open(&path, error)),
    }
}

/// Fault of a file of the rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// File or directory.
    pub path: PathBuf,
    /// Kind of the fault.
    pub kind: FindingKind,
}

/// Kind of a [`Finding`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Other users have rights on it. The mode of the file.
    TooOpen(u32),
    /// A replacement of several files was committed and not finished. The next change finishes it.
    Unfinished,
    /// It cannot be used, or must not be.
    Unusable(Error),
}

/// Binding of a key's file in os.secure, according to its header. Nothing is decrypted, so a forged
/// header is not noticed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileBinding {
    /// It is bound to this key.
    Bound,
    /// It is not bound, as other implementations write it.
    Unbound,
    /// It is not the file that the host manifest names, for this reason.
    Mismatch(&'static str),
}

/// Compares the header of a key's file with its entry. `None` if the file cannot be read.
pub fn file_binding(racks: &RackPaths, host: &HostEntry) -> Option<FileBinding> {
    let path = racks.secure_path(&host.slug);
    let bytes = private_file::read(&racks.dir(), &path, file_limit(MAX_SECRET)).ok()??;
    let file = AgeFile::parse(&bytes, 1).ok()?;
    Some(match binding::compare(file.labels(), host, racks.owner()) {
        Ok(Match::Bound | Match::Newer { .. }) => FileBinding::Bound,
        Ok(Match::Unbound) => FileBinding::Unbound,
        Err(mismatch) => FileBinding::Mismatch(mismatch.reason()),
    })
}

/// Files of an owner's rack.
#[derive(Clone, Debug, Default)]
pub struct RackFiles {
    /// Number of files with keys or the host manifest, with those that cannot be used.
    pub count: usize,
    /// Faults of the files.
    pub findings: Vec<Finding>,
    /// Slugs in the os.direct file; `None` if it cannot be read.
    pub direct: Option<Vec<String>>,
}

impl RackFiles {
    /// Inspects all files.
    pub fn inspect(racks: &RackPaths) -> Self {
        let mut files = RackFiles { direct: Some(Vec::new()), ..RackFiles::default() };
        let rack = racks.dir();
        match private_dir::exists(&rack, &rack) {
            Ok(true) => files.mode(&rack),
            Ok(false) => return files,
            Err(error) => {
                files.bad(&rack, error);
                return files;
            }
        }
        if files.see(racks, &racks.manifest_path()) {
            files.count += 1;
        }
        files.secure(racks);
        files.direct(racks);
        files
    }

    /// Returns `true` if the key has a file in os.secure.
    pub fn has_secure(racks: &RackPaths, slug: &Slug) -> bool {
        private_file::exists(&racks.dir(), &racks.secure_path(slug)).unwrap_or(true)
    }

    fn secure(&mut self, racks: &RackPaths) {
        let dir = racks.secure_dir();
        match private_dir::exists(&racks.dir(), &dir) {
            Ok(true) => self.mode(&dir),
            Ok(false) => return,
            Err(error) => return self.bad(&dir, error),
        }
        if journal::is_unfinished(racks) {
            self.findings.push(Finding { path: dir.clone(), kind: FindingKind::Unfinished });
        }
        let names = fs::read_dir(&dir).and_then(|entries| {
            entries.map(|entry| entry.map(|entry| entry.file_name())).collect::<io::Result<Vec<_>>>()
        });
        let mut names = match names {
            Ok(names) => names,
            Err(error) => return self.bad(&dir, io_error("read", &dir, &error)),
        };
        names.sort();
        for name in names.iter().filter_map(|name| name.to_str()).filter(|name| journal::is_secure_name(name))
        {
            let path = dir.join(name);
            self.count += 1;
            if !self.see(racks, &path) {
                continue;
            }
            let read = private_file::read(&racks.dir(), &path, file_limit(MAX_SECRET));
            match read.map(|bytes| bytes.map(|bytes| AgeFile::parse(&bytes, 1).map(drop))) {
                Ok(Some(Err(DecryptError::Damaged(why)))) => {
                    let message = format!("{} is damaged: {why}", path.display());
                    self.bad(&path, Error::new(ErrorCode::VaultCorrupt, message));
                }
                Err(error) => self.bad(&path, error),
                // Removed meanwhile, or intact as far as the header tells.
                _ => {}
            }
        }
    }

    fn direct(&mut self, racks: &RackPaths) {
        let path = racks.direct_path();
        if !self.see(racks, &path) {
            return;
        }
        self.count += 1;
        match os_direct::slugs(racks) {
            Ok(slugs) => self.direct = Some(slugs),
            Err(error) => {
                self.direct = None;
                self.bad(&path, error);
            }
        }
    }

    /// Inspects one file. Returns `true` if it exists and can be used.
    fn see(&mut self, racks: &RackPaths, path: &Path) -> bool {
        match private_file::exists(&racks.dir(), path) {
            Ok(true) => {
                self.mode(path);
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.bad(path, error);
                false
            }
        }
    }

    fn mode(&mut self, path: &Path) {
        let mode = fs::symlink_metadata(path).map_or(0, |found| found.mode() & 0o7777);
        if mode & 0o077 != 0 {
            self.findings.push(Finding { path: path.to_owned(), kind: FindingKind::TooOpen(mode) });
        }
    }

    fn bad(&mut self, path: &Path, error: Error) {
        // A directory above several files causes one finding, not one for each file.
        let known = self.findings.iter().any(|known| known.kind == FindingKind::Unusable(error.clone()));
        if !known {
            self.findings.push(Finding { path: path.to_owned(), kind: FindingKind::Unusable(error) });
        }
    }
}
