//! Parsed manifests that are kept between reads, for as long as the files they were read from are
//! provably the same. Benchmark row of getSync: "the same by name, from a manifest of 20 keys".
//!
//! A manifest is used again only if each directory, symbolic link and file on the way is the same
//! (device, inode, owner), each file and link is unchanged (size, mtime, ctime), and no nearer
//! repository has appeared. A file that was changed shortly before it was read is not kept: its
//! next change may fall into the same tick of the file system's clock, with the same ctime and size
//! (as in git, gitformat-index(5) and `Documentation/technical/racy-git.txt`).

use std::ffi::OsString;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyrack_core::Error;
use keyrack_core::repo_manifest::{MANIFEST_PATH, RepoManifest};
use keyrack_sys::fs::file::{FileId, has_exact_times};

use super::{Trace, find_git_root, load_traced};
use keyrack_sys::user::Uid;

use crate::context::Context;

/// Minimum age of a change when a file is read: above the tick of every kernel (10 ms at 100 Hz).
const RACY: Duration = Duration::from_millis(20);

/// Working directories whose manifest is kept.
const CAPACITY: usize = 4;

/// The manifests of the directories that were read from last, for one thread.
#[derive(Debug, Default)]
pub struct ManifestCache {
    /// The one used last is the last.
    kept: Vec<Kept>,
}

/// A manifest and the state of the file system that it was read from.
#[derive(Debug)]
struct Kept {
    cwd: PathBuf,
    user: Uid,
    sudo_uid: Option<OsString>,
    manifest: Option<Rc<RepoManifest>>,
    watched: Vec<(PathBuf, FileState)>,
}

/// State of a path. Symbolic links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileState {
    Absent,
    /// A directory: which one it is, and its owner. What else is in it does not matter.
    Directory {
        id: FileId,
        owner: u32,
    },
    /// Anything else.
    File {
        id: FileId,
        owner: u32,
        size: u64,
        modified: (i64, i64),
        changed: (i64, i64),
    },
}

impl ManifestCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        ManifestCache::default()
    }

    /// The manifest of the repository that the context's working directory is in, like
    /// [`super::of`]. `user` is the effective uid.
    ///
    /// # Errors
    /// As [`super::load`].
    pub fn of(&mut self, ctx: &Context, user: Uid) -> Result<Option<Rc<RepoManifest>>, Error> {
        let sudo_uid = ctx.env.get("SUDO_UID");
        let at = self.kept.iter().position(|kept| {
            kept.cwd == ctx.cwd && kept.user == user && kept.sudo_uid.as_deref() == sudo_uid
        });
        if let Some(at) = at {
            let kept = self.kept.remove(at);
            if kept.watched.iter().all(|(path, state)| FileState::of(path) == Some(*state)) {
                let manifest = kept.manifest.clone();
                self.kept.push(kept);
                return Ok(manifest);
            }
        }
        let started = SystemTime::now();
        let root = find_git_root(&ctx.cwd);
        let (manifest, trace) = match &root {
            Some(root) => load_traced(ctx, root, MANIFEST_PATH)?,
            None => (None, Trace::default()),
        };
        let manifest = manifest.map(Rc::new);
        if let Some(watched) = watch(&ctx.cwd, root.as_deref(), manifest.is_some(), &trace, started) {
            if self.kept.len() == CAPACITY {
                self.kept.remove(0);
            }
            let sudo_uid = sudo_uid.map(ToOwned::to_owned);
            let manifest = manifest.clone();
            self.kept.push(Kept { cwd: ctx.cwd.clone(), user, sudo_uid, manifest, watched });
        }
        Ok(manifest)
    }
}

/// Returns the states that a manifest depends on, or `None` if it cannot be kept. They are read
/// after the files: a file that changed in between has a ctime that is too young.
fn watch(
    cwd: &Path,
    root: Option<&Path>,
    has_manifest: bool,
    trace: &Trace,
    started: SystemTime,
) -> Option<Vec<(PathBuf, FileState)>> {
    if trace.asked_for_exception {
        return None;
    }
    let mut watched = Vec::new();
    let mut add = |path: PathBuf| {
        let state = FileState::of(&path)?;
        watched.push((path, state));
        Some(state)
    };
    for directory in cwd.ancestors() {
        let is_root = Some(directory) == root;
        if (add(directory.join(".git"))? == FileState::Absent) == is_root {
            return None;
        }
        if is_root {
            break;
        }
    }
    let Some(root) = root else { return Some(watched) };
    add(root.to_owned())?;
    if !has_manifest {
        let absent = add(root.join(MANIFEST_PATH))? == FileState::Absent;
        return absent.then_some(watched);
    }
    let mut paths = trace.paths.clone();
    paths.sort_unstable();
    paths.dedup();
    for path in paths {
        let full = root.join(&path);
        let state = add(full.clone())?;
        let read = trace.files.iter().find(|(file, _)| *file == path);
        let is_kept = match state {
            FileState::Absent => false,
            FileState::Directory { .. } => read.is_none(),
            FileState::File { id, changed, .. } => {
                read.is_none_or(|(_, read)| *read == id) && is_settled(changed, started)
            }
        };
        if !is_kept || (read.is_some() && !has_exact_times(&full)) {
            return None;
        }
    }
    Some(watched)
}

/// Returns `true` if a change at `changed` (seconds and nanoseconds) is at least [`RACY`] before
/// `read`. A time in the future is not.
fn is_settled(changed: (i64, i64), read: SystemTime) -> bool {
    let Ok(read) = read.duration_since(UNIX_EPOCH) else { return false };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(changed.0), u32::try_from(changed.1)) else {
        return true;
    };
    read.checked_sub(Duration::new(seconds, nanos)).is_some_and(|age| age >= RACY)
}

impl FileState {
    /// Reads the state of a path, with one system call. `None` if the kernel does not tell.
    fn of(path: &Path) -> Option<Self> {
        match path.symlink_metadata() {
            Ok(found) => Some(Self::from_metadata(&found)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Some(FileState::Absent)
            }
            Err(_) => None,
        }
    }

    fn from_metadata(found: &Metadata) -> Self {
        let id = FileId { dev: found.dev(), ino: found.ino() };
        let owner = found.uid();
        if found.is_dir() {
            return FileState::Directory { id, owner };
        }
        FileState::File {
            id,
            owner,
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::Environment;

    use super::*;

    #[test]
    fn change_is_settled_20_ms_before_the_read_and_never_in_the_future() {
        let read = UNIX_EPOCH + Duration::new(1_000, 500_000_000);
        for (changed, settled) in [
            ((1_000, 480_000_000), true),
            ((1_000, 480_000_001), false),
            ((1_000, 500_000_000), false),
            ((1_001, 0), false),
            ((999, 999_999_999), true),
            ((-1, 0), true),
        ] {
            assert_eq!(is_settled(changed, read), settled, "{changed:?}");
        }
    }

    #[test]
    fn manifest_is_shared_while_unchanged_and_read_again_after_an_edit() {
        let base = tempfile::tempdir().unwrap();
        let manifest = base.path().join(MANIFEST_PATH);
        fs::create_dir(base.path().join(".git")).unwrap();
        fs::create_dir(manifest.parent().unwrap()).unwrap();
        fs::write(&manifest, "org: acme\nenv.test: [A]\n").unwrap();
        let ctx = Context::new(base.path(), Environment::default());
        let user = keyrack_sys::user::effective_uid();
        let mut cache = ManifestCache::new();
        let mut read = || cache.of(&ctx, user).unwrap().unwrap();
        // Too young to be kept.
        assert!(!Rc::ptr_eq(&read(), &read()));
        std::thread::sleep(RACY * 2);
        let kept = read();
        if has_exact_times(&manifest) {
            assert!(Rc::ptr_eq(&kept, &read()));
        }
        fs::write(&manifest, "org: acme\nenv.test: [B]\n").unwrap();
        assert_eq!(read().keys()[0].slug.as_str(), "acme.test.B");
    }
}
