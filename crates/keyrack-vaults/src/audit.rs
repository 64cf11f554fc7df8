//! A look at an owner's files that changes none of them: no lock is taken, nothing half done is finished, no mode is mended, nobody is
//! asked for a passphrase. For reports on their condition.
//!
//! What is found is told by path and reason, never by content. No key's file of os.secure is opened further than its header.

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

/// A file that could be an identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its permission bits and owner; `None` when they cannot be read.
    pub mode: Option<u32>,
    /// What it is.
    pub kind: KeyFileKind,
}

/// The key files that would be tried, in their order.
///
/// # Errors
/// [`ErrorCode::BadKeyFile`] for one given by name.
pub fn key_files(source: IdentitySource) -> Result<Vec<KeyFile>, Error> {
    let mut identities = Identities::discover(source, Box::new(NoPassphrasePrompt))?;
    let files = identities.list_key_files().into_iter().map(|(path, kind)| {
        let mode = fs::metadata(&path).ok().map(|found| found.mode() & 0o7777);
        KeyFile { path, mode, kind }
    });
    Ok(files.collect())
}

/// The host manifest, as far as it opens without a question.
#[derive(Clone, Debug)]
pub enum ManifestAudit {
    /// There is none.
    Missing,
    /// It opened, with the key in this file.
    Opened(PathBuf, Box<HostManifest>),
    /// Only these keys could open it, and they have passphrases.
    NeedsPassphrase(Vec<PathBuf>),
}

/// Opens the host manifest with what opens without a question.
///
/// # Errors
/// Those of [`manifest_file::load`], but for a passphrase that would be needed.
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
            let by = identities.last_used().unwrap_or_default();
            Ok(ManifestAudit::Opened(by, Box::new(manifest)))
        }
        Err(DecryptError::Identity(error)) if error.code == ErrorCode::PromptNeeded => {
            Ok(ManifestAudit::NeedsPassphrase(identities.keys_awaiting_passphrase()))
        }
        Err(error) => Err(manifest_file::does_not_open(&path, error)),
    }
}

/// What is wrong with a file of the rack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which file or directory.
    pub path: PathBuf,
    /// How bad it is.
    pub kind: FindingKind,
}

/// How bad a file of the rack is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FindingKind {
    /// Others than its owner have rights on it: its mode.
    TooOpen(u32),
    /// A replacement of several files was decided and not finished; the next change finishes it.
    Unfinished,
    /// It is of no use, or not to be used.
    Unusable(Error),
}

/// Binding of a key's file in os.secure, as its header states it. Nothing is opened, so a forged
/// header is not noticed here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileBinding {
    /// Bound to this key.
    Bound,
    /// Not bound, as other implementations write it.
    Unbound,
    /// Not the file that the host manifest names, for this reason.
    Mismatch(&'static str),
}

/// Compares the header of a key's file with its entry. `None` where there is no file that can be
/// read.
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

/// The files of an owner's rack, looked at one by one.
#[derive(Clone, Debug, Default)]
pub struct RackFiles {
    /// How many hold a key or the host manifest, good or not.
    pub count: usize,
    /// What is wrong with some.
    pub findings: Vec<Finding>,
    /// The slugs the os.direct file has; `None` where it cannot be read.
    pub direct: Option<Vec<String>>,
}

impl RackFiles {
    /// Looks at all of them.
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

    /// Whether the key's file of os.secure is there.
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
                // Gone by now, or whole as far as it can be told without opening it.
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

    /// Looks at one file; true when it is there and ours.
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
        // A directory on the way is bad for every file below it, and is told once.
        let known = self.findings.iter().any(|known| known.kind == FindingKind::Unusable(error.clone()));
        if !known {
            self.findings.push(Finding { path: path.to_owned(), kind: FindingKind::Unusable(error) });
        }
    }
}
