//! `keyrack.yml`: found upwards from the working directory, and read with the files it extends.
//! Files outside the repository or of another user are refused.

mod cache;
mod git_config;
mod git_root;
mod ownership;
mod yaml;

pub use cache::ManifestCache;
pub use git_root::find_git_root;
pub use yaml::parse;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use keyrack_core::repo_manifest::{
    MANIFEST_PATH, ManifestFile, RepoManifest, YamlNode, YamlValue, load_manifest,
};
use keyrack_core::shorten::{PATH, shortened};
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::fs::beneath::{BeneathError, Root};
use keyrack_sys::fs::file::FileId;
use ownership::Ownership;

use crate::context::Context;

/// Size limit of one manifest file, in bytes.
pub const LARGEST: u64 = 1 << 20;

/// Size limit of all files of one manifest together, in bytes.
pub const LARGEST_IN_ALL: u64 = 4 << 20;

/// Maximum number of YAML values in all files of one manifest together. Bounds the time to read
/// them.
pub const MAX_VALUES: usize = 200_000;

/// Reads the manifest of the repository that the context's working directory is in. `None` without
/// a repository or a manifest.
///
/// # Errors
/// As [`load`].
pub fn of(ctx: &Context) -> Result<Option<RepoManifest>, Error> {
    match find_git_root(&ctx.cwd) {
        Some(root) => load(ctx, &root),
        None => Ok(None),
    }
}

/// Reads the manifest of the repository with this root, and the files that it extends. `None` if it
/// has none. Errors in single keys are in [`RepoManifest::faults`].
///
/// # Errors
/// [`ErrorCode::ManifestInvalid`] naming file and line, [`ErrorCode::RepositoryUntrusted`] naming
/// what belongs to another user, [`ErrorCode::Io`].
pub fn load(ctx: &Context, git_root: &Path) -> Result<Option<RepoManifest>, Error> {
    load_from(ctx, git_root, MANIFEST_PATH)
}

/// Reads a manifest at another path below the root.
///
/// # Errors
/// As [`load`].
pub fn load_from(ctx: &Context, git_root: &Path, path: &str) -> Result<Option<RepoManifest>, Error> {
    load_traced(ctx, git_root, path).map(|(manifest, _)| manifest)
}

/// Reads a manifest. Also returns the trace of the files that were read.
fn load_traced(ctx: &Context, git_root: &Path, path: &str) -> Result<(Option<RepoManifest>, Trace), Error> {
    let Some(root) = open_root(git_root)? else { return Ok((None, Trace::default())) };
    let mut files = Files {
        root,
        ownership: Ownership::new(ctx),
        read_as: HashMap::new(),
        bytes: 0,
        values: 0,
        trace: Trace::default(),
    };
    let manifest = match files.read(path)? {
        Some(ManifestFile::Content(raw)) => Some(load_manifest(&raw, |path| files.read(path))?),
        _ => None,
    };
    files.trace.asked_for_exception = files.ownership.asked_for_exception();
    Ok((manifest, files.trace))
}

/// Paths and files that the result of reading a manifest depends on.
#[derive(Debug, Default)]
struct Trace {
    /// Each directory, symbolic link and file that was opened, by its path below the root.
    paths: Vec<PathBuf>,
    /// The files that were read, by the same paths.
    files: Vec<(PathBuf, FileId)>,
    /// `true` if the decision also depended on which directories are named as safe.
    asked_for_exception: bool,
}

/// Refuses a repository that belongs to another user, before anything is written into it.
///
/// # Errors
/// [`ErrorCode::RepositoryUntrusted`] naming what belongs to another user, [`ErrorCode::Io`].
pub fn check_ownership(ctx: &Context, git_root: &Path) -> Result<(), Error> {
    match open_root(git_root)? {
        Some(root) => Ownership::new(ctx).check_repository(&root),
        None => Ok(()),
    }
}

fn open_root(path: &Path) -> Result<Option<Root>, Error> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match Root::open(path) {
        Ok(root) => Ok(Some(root)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(Error::new(ErrorCode::Io, format!("cannot open {}: {error}", path.display()))),
    }
}

/// Files of one repository.
struct Files<'c> {
    root: Root,
    ownership: Ownership<'c>,
    /// Path by which each file was first read.
    read_as: HashMap<FileId, String>,
    /// Bytes read so far.
    bytes: u64,
    /// YAML values read so far.
    values: usize,
    trace: Trace,
}

impl Files<'_> {
    /// Reads the file at a path below the root. `None` if there is none.
    fn read(&mut self, path: &str) -> Result<Option<ManifestFile>, Error> {
        let shown = shortened(path, PATH);
        let failed =
            |error: &std::io::Error| Error::new(ErrorCode::Io, format!("cannot read {shown}: {error}"));
        let invalid = |what: &str| Error::new(ErrorCode::ManifestInvalid, format!("{shown}: {what}"));
        let opened = match self.root.open_file(Path::new(path)) {
            Ok(opened) => opened,
            Err(BeneathError::Missing) => return Ok(None),
            Err(BeneathError::Outside) => {
                return Err(invalid("it is a symbolic link that leads out of the repository"));
            }
            Err(BeneathError::NotAFile) => return Err(invalid("it is not a file")),
            Err(BeneathError::Io(error)) => return Err(failed(&error)),
        };
        if self.read_as.is_empty() {
            self.ownership.check_repository(&self.root)?;
        }
        for (path, owner) in &opened.way {
            self.ownership.check(&self.root, path, *owner)?;
            self.trace.paths.push(path.clone());
        }
        if let Some((path, _)) = opened.way.last() {
            self.trace.files.push((path.clone(), opened.id));
        }
        if let Some(first) = self.read_as.get(&opened.id) {
            return Ok(Some(ManifestFile::Same(first.clone())));
        }
        let mut bytes = Vec::new();
        opened.file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| failed(&error))?;
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if length > LARGEST {
            return Err(invalid(&format!("it is larger than {LARGEST} bytes")));
        }
        self.bytes += length;
        if self.bytes > LARGEST_IN_ALL {
            return Err(invalid(&format!(
                "with this file, the manifest is larger than {LARGEST_IN_ALL} bytes"
            )));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| invalid("it is not UTF-8"))?;
        let raw = parse(path, text)?;
        self.values += count(&raw.root);
        if self.values > MAX_VALUES {
            return Err(invalid(&format!("with this file, the manifest has more than {MAX_VALUES} values")));
        }
        self.read_as.insert(opened.id, path.to_owned());
        Ok(Some(ManifestFile::Content(raw)))
    }
}

/// Number of values in a tree.
fn count(root: &YamlNode) -> usize {
    let mut count = 0;
    let mut left = vec![root];
    while let Some(node) = left.pop() {
        count += 1;
        match &node.value {
            YamlValue::List(items) => left.extend(items),
            YamlValue::Map(fields) => left.extend(fields.iter().map(|(_, value)| value)),
            YamlValue::Null | YamlValue::Bool | YamlValue::Number | YamlValue::Text(_) => {}
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use crate::Environment;

    use super::*;

    struct Repo(tempfile::TempDir);

    impl Repo {
        fn new(manifest: &str) -> Self {
            let repo = Repo(tempfile::tempdir().unwrap());
            fs::create_dir(repo.path("repo")).ok();
            repo.put("repo/.agent/keyrack.yml", manifest);
            repo
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().join(path)
        }

        fn put(&self, path: &str, content: &str) {
            fs::create_dir_all(self.path(path).parent().unwrap()).unwrap();
            fs::write(self.path(path), content).unwrap();
        }

        fn load(&self) -> Result<Option<RepoManifest>, Error> {
            self.load_at("repo")
        }

        fn load_at(&self, root: &str) -> Result<Option<RepoManifest>, Error> {
            load(&Context::new("/", Environment::default()), &self.path(root))
        }

        fn refused(&self, part: &str) {
            let error = self.load().unwrap_err();
            assert_eq!(error.code, ErrorCode::ManifestInvalid);
            assert!(error.message.contains(part), "{part}: {error}");
        }
    }

    fn slugs(manifest: &RepoManifest) -> Vec<&str> {
        manifest.keys().iter().map(|key| key.slug.as_str()).collect()
    }

    #[test]
    fn manifest_includes_what_it_extends() {
        let repo =
            Repo::new("org: acme\nextends: [shared/keyrack.yml]\nenv.test:\n  - A\n  - B: encrypted\n");
        repo.put("repo/shared/keyrack.yml", "org: other\nenv.test: [C]\n");
        let manifest = repo.load().unwrap().unwrap();
        assert_eq!(slugs(&manifest), ["acme.test.C", "acme.test.A", "acme.test.B"]);
        assert_eq!(manifest.faults, []);
    }

    #[test]
    fn missing_manifest_is_not_an_error() {
        let repo = Repo::new("");
        fs::remove_file(repo.path("repo/.agent/keyrack.yml")).unwrap();
        assert_eq!(repo.load().unwrap(), None);
        fs::remove_dir(repo.path("repo/.agent")).unwrap();
        fs::write(repo.path("repo/.agent"), "").unwrap();
        assert_eq!(repo.load().unwrap(), None);
        assert_eq!(repo.load_at("nowhere").unwrap(), None);
    }

    #[test]
    fn link_out_of_the_repository_is_refused() {
        let repo = Repo::new("org: acme\nextends: [linked.yml]\nenv.test: [A]\n");
        repo.put("outside.yml", "org: evil\nenv.test: [E]\n");
        repo.put("repo/inside.yml", "org: fine\nenv.test: [I]\n");
        symlink(repo.path("outside.yml"), repo.path("repo/linked.yml")).unwrap();
        repo.refused("linked.yml: it is a symbolic link that leads out of the repository");
        fs::remove_file(repo.path("repo/linked.yml")).unwrap();
        symlink("inside.yml", repo.path("repo/linked.yml")).unwrap();
        assert_eq!(slugs(&repo.load().unwrap().unwrap()), ["acme.test.I", "acme.test.A"]);
        // The same for a directory on the way.
        fs::create_dir(repo.path("elsewhere")).unwrap();
        repo.put("elsewhere/k.yml", "org: evil\nenv.test: [E]\n");
        symlink(repo.path("elsewhere"), repo.path("repo/dir")).unwrap();
        repo.put("repo/.agent/keyrack.yml", "org: acme\nextends: [dir/k.yml]\n");
        repo.refused("dir/k.yml: it is a symbolic link");
        // The path of the root itself may contain a link.
        symlink(repo.path("repo"), repo.path("alias")).unwrap();
        repo.put("repo/.agent/keyrack.yml", "org: acme\nenv.test: [A]\n");
        assert!(repo.load_at("alias").unwrap().is_some());
    }

    #[test]
    fn manifest_that_is_not_a_file_is_refused() {
        let repo = Repo::new("org: acme\nextends: [x]\n");
        fs::create_dir(repo.path("repo/x")).unwrap();
        repo.refused("x: it is not a file");
        fs::remove_dir(repo.path("repo/x")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(repo.path("repo/x")).status();
        if made.is_ok_and(|status| status.success()) {
            repo.refused("x: it is not a file");
            fs::remove_file(repo.path("repo/x")).unwrap();
        }
        fs::write(repo.path("repo/x"), vec![b'#'; (1 << 20) + 1]).unwrap();
        repo.refused("x: it is larger than");
        fs::write(repo.path("repo/x"), b"org: \xff").unwrap();
        repo.refused("x: it is not UTF-8");
        fs::write(repo.path("repo/x"), "org: [").unwrap();
        repo.refused("x:1: not valid YAML");
    }

    #[test]
    fn total_manifest_size_is_limited() {
        let names: Vec<String> = (0..9).map(|at| format!("{at}.yml")).collect();
        let repo = Repo::new(&format!("org: acme\nextends: [{}]\n", names.join(", ")));
        let text = format!("org: acme\nenv.test:\n  - K\n#{}", "x".repeat(500_000));
        for name in &names[..8] {
            repo.put(&format!("repo/{name}"), &text);
        }
        repo.put("repo/8.yml", "org: acme\n");
        assert!(repo.load().is_ok(), "eight of half a megabyte");
        repo.put("repo/8.yml", &text);
        repo.refused("8.yml: with this file, the manifest is larger than 4194304 bytes");
        // The same file under nine names is read once.
        for name in &names[1..] {
            fs::remove_file(repo.path(&format!("repo/{name}"))).unwrap();
            fs::hard_link(repo.path("repo/0.yml"), repo.path(&format!("repo/{name}"))).unwrap();
        }
        let manifest = repo.load().unwrap().unwrap();
        assert_eq!((manifest.extends.len(), manifest.keys().len()), (1, 1));
    }

    #[test]
    fn number_of_values_is_limited() {
        let names: Vec<String> = (0..9).map(|at| format!("{at}.yml")).collect();
        let repo = Repo::new(&format!("org: acme\nextends: [{}]\n", names.join(", ")));
        let text = format!("org: acme\nx: [{}]\n", "x,".repeat(24_000));
        names.iter().for_each(|name| repo.put(&format!("repo/{name}"), &text));
        repo.refused("8.yml: with this file, the manifest has more than 200000 values");
    }

    #[test]
    fn errors_shorten_long_names() {
        let long = "x".repeat(900_000);
        for text in [
            format!("{long}: 1\n{long}: 2\n"),
            format!("a: *{long}\n"),
            format!("org: a\nextends: [{long}]\n"),
        ] {
            let error = Repo::new(&text).load().unwrap_err();
            assert!(error.message.len() < 1000, "{}", error.message.len());
        }
    }
}
