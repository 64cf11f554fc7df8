//! Owner of a repository. keyrack finds a `keyrack.yml` by walking upwards, possibly through
//! directories of other users. A manifest of another user would decide which keys a command gets,
//! and how strong they must be. It is refused as git refuses such a repository (git-config(1),
//! `safe.directory`), unless git or `KEYRACK_SAFE_DIRECTORY` accepts it.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use keyrack_core::fix::shell_quote;
use keyrack_core::layout::variables::SAFE_DIRECTORY;
use keyrack_core::shorten::{PATH, shortened};
use keyrack_core::{Error, ErrorCode, Fix};
use keyrack_sys::fs::beneath::Root;
use keyrack_sys::fs::file::FileId;
use keyrack_sys::user::{Uid, effective_uid};

use super::git_config::safe_directories;
use crate::context::Context;

/// Size limit of a git configuration file, in bytes.
const LARGEST_CONFIG: u64 = 1 << 20;

/// Check of the owners of one repository's files.
pub(super) struct Ownership<'c> {
    ctx: &'c Context,
    user: Uid,
    /// `Some(true)` if the repository is named as safe; `None` until that was looked up.
    named_safe: Option<bool>,
}

impl<'c> Ownership<'c> {
    pub(super) fn new(ctx: &'c Context) -> Self {
        Ownership { ctx, user: effective_uid(), named_safe: None }
    }

    /// Returns `true` if the decision also depended on which directories are named as safe.
    pub(super) fn asked_for_exception(&self) -> bool {
        self.named_safe.is_some()
    }

    /// Checks the repository itself: its root, and its `.git`.
    pub(super) fn check_repository(&mut self, root: &Root) -> Result<(), Error> {
        self.check(root, Path::new(""), root.owner())?;
        let owner = root.owner_of(".git".as_ref()).map_err(|error| {
            Error::new(ErrorCode::Io, format!("cannot access {}: {error}", shown(root, Path::new(".git"))))
        })?;
        owner.map_or(Ok(()), |owner| self.check(root, Path::new(".git"), owner))
    }

    /// Refuses a file that belongs to another user. The error has its path below the root.
    pub(super) fn check(&mut self, root: &Root, path: &Path, owner: Uid) -> Result<(), Error> {
        let sudo = || self.ctx.env.text("SUDO_UID").and_then(|uid| uid.parse().ok().map(Uid::from_raw));
        if !is_unknown(self.user, owner) && is_accepted(self.user, owner, root.owner(), sudo) {
            return Ok(());
        }
        let named = self.named_safe.unwrap_or_else(|| is_named_safe(self.ctx, self.user, root));
        self.named_safe = Some(named);
        if named { Ok(()) } else { Err(untrusted(root, path, owner)) }
    }
}

/// Returns `true` if the owner may be any user: in a user namespace all users that it does not map
/// have one uid. A process that is not mapped itself has that uid too. It is refused by every
/// daemon and refuses every one ([`crate::sandbox::Sandbox::blocking`]), so a manifest can only
/// choose among the variables that the process has.
fn is_unknown(user: Uid, owner: Uid) -> bool {
    // A setting of the machine, read once: reads of a key take microseconds.
    static OVERFLOW_UID: OnceLock<Uid> = OnceLock::new();
    owner != user
        && owner == *OVERFLOW_UID.get_or_init(keyrack_sys::user::overflow_uid)
        && !keyrack_sys::peer::own_namespaces().is_initial_user()
}

/// Returns `true` if a process of `user` accepts what `owner` owns in a repository whose root
/// belongs to `root_owner`.
///
/// Every user accepts its own files and root's. Root also accepts the user that ran sudo, as git
/// does. Without sudo, root accepts the user that owns the root directory, so that a CI job in a
/// container can use a checkout of the runner's user.
fn is_accepted(user: Uid, owner: Uid, root_owner: Uid, sudo: impl FnOnce() -> Option<Uid>) -> bool {
    owner == user || owner == Uid::ROOT || (user == Uid::ROOT && owner == sudo().unwrap_or(root_owner))
}

fn untrusted(root: &Root, path: &Path, owner: Uid) -> Error {
    let message = format!("{} belongs to another user, {}", shown(root, path), user(owner));
    let error = Error::new(ErrorCode::RepositoryUntrusted, message)
        .hint(format!("accept it only if you trust that user; {SAFE_DIRECTORY} accepts it for one command"));
    let directory = root.path().to_string_lossy();
    if directory.chars().any(char::is_control) {
        return error;
    }
    error.fix(Fix::Text(format!("git config --global --add safe.directory {}", shell_quote(&directory))))
}

fn shown(root: &Root, path: &Path) -> String {
    // An empty path would leave a slash at the end.
    let full = if path.as_os_str().is_empty() { root.path().to_owned() } else { root.path().join(path) };
    shortened(&full.to_string_lossy(), PATH).into_owned()
}

/// Returns a user's name, if /etc/passwd has one, and uid.
fn user(uid: Uid) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid.as_raw())).then_some(name)
    });
    name.map_or_else(|| format!("uid {uid}"), |name| format!("{name} (uid {uid})"))
}

/// Returns `true` if the repository is named by `KEYRACK_SAFE_DIRECTORY`, or by `safe.directory` in
/// git's system or global configuration.
fn is_named_safe(ctx: &Context, user: Uid, root: &Root) -> bool {
    // The path of the opened directory, not of one that has this name now.
    let real = root.path().canonicalize().ok();
    let Some(real) = real.filter(|real| FileId::of(real).is_ok_and(|id| id == root.id())) else {
        return false;
    };
    let listed = ctx.env.text(SAFE_DIRECTORY).unwrap_or_default();
    if listed.split(':').any(|entry| matches(entry, &real, None)) {
        return true;
    }
    let home = ctx.home();
    let mut safe = false;
    for file in git_configs(ctx) {
        let Some(values) = read_config(&file, user) else { return false };
        for value in values {
            safe = !value.is_empty() && (safe || matches(&value, &real, home.as_deref()));
        }
    }
    safe
}

/// Returns `true` if an entry names a directory: itself, everything below it (`/*` at its end), or
/// all directories (`*`).
fn matches(entry: &str, real: &Path, home: Option<&Path>) -> bool {
    if entry == "*" {
        return true;
    }
    let path = match (entry.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(entry),
    };
    if !path.is_absolute() {
        return false;
    }
    match path.file_name().filter(|name| *name == "*").and(path.parent()) {
        Some(above) => above.canonicalize().is_ok_and(|above| real != above && real.starts_with(above)),
        None => path.canonicalize().is_ok_and(|path| path == real),
    }
}

/// Git's configuration files that the user and the system own, in the order git reads them
/// (git-config(1), "FILES").
fn git_configs(ctx: &Context) -> Vec<PathBuf> {
    let path = |name: &str| ctx.env.filled(name).map(PathBuf::from);
    let mut files = Vec::new();
    let skips_system = ctx.env.text("GIT_CONFIG_NOSYSTEM");
    if skips_system.is_none_or(|value| ["0", "false", "no", "off"].contains(&value)) {
        files.push(path("GIT_CONFIG_SYSTEM").unwrap_or_else(|| "/etc/gitconfig".into()));
    }
    match path("GIT_CONFIG_GLOBAL") {
        Some(global) => files.push(global),
        None => {
            let config = path("XDG_CONFIG_HOME").or_else(|| Some(ctx.home()?.join(".config")));
            files.extend(config.map(|config| config.join("git/config")));
            files.extend(ctx.home().map(|home| home.join(".gitconfig")));
        }
    }
    files
}

/// Returns the values of `safe.directory` in a file, none if it does not exist. `None` if the file
/// does not belong to the user or root, or cannot be parsed.
fn read_config(path: &Path, user: Uid) -> Option<Vec<String>> {
    // Checked before it is opened, because opening a pipe would block. For git, /dev/null means no
    // file.
    match path.metadata() {
        Ok(found) if found.is_file() => {}
        Ok(_) if path == Path::new("/dev/null") => return Some(Vec::new()),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Some(Vec::new());
        }
        _ => return None,
    }
    let file = File::open(path).ok()?;
    let found = file.metadata().ok()?;
    if !found.is_file()
        || ![Uid::ROOT, user].contains(&Uid::from_raw(found.uid()))
        || found.len() > LARGEST_CONFIG
    {
        return None;
    }
    let mut text = Vec::new();
    file.take(LARGEST_CONFIG).read_to_end(&mut text).ok()?;
    safe_directories(&text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::context::Environment;

    #[test]
    fn owners_are_accepted_as_by_git() {
        const ROOT: Uid = Uid::ROOT;
        const ME: Uid = Uid::from_raw(1000);
        const OTHER: Uid = Uid::from_raw(1001);
        for (user, owner, root_owner, sudo, accepted) in [
            (ME, ME, ME, None, true),
            (ME, ROOT, ROOT, None, true),
            (ME, OTHER, ME, None, false),
            (ME, OTHER, OTHER, None, false),
            // Only root acts for another user.
            (ME, OTHER, OTHER, Some(OTHER), false),
            (ROOT, ROOT, ROOT, None, true),
            (ROOT, ME, ME, Some(ME), true),
            (ROOT, ROOT, ME, Some(ME), true),
            (ROOT, OTHER, OTHER, Some(ME), false),
            // A container's root on a checkout of one other user.
            (ROOT, ME, ME, None, true),
            (ROOT, ROOT, ME, None, true),
            (ROOT, OTHER, ME, None, false),
            (ROOT, OTHER, ROOT, None, false),
        ] {
            let found = is_accepted(user, owner, root_owner, || sudo);
            assert_eq!(found, accepted, "{user} {owner} {root_owner} {sudo:?}");
        }
    }

    #[test]
    fn safe_directory_entries_match_as_in_git() {
        let base = tempfile::tempdir().unwrap();
        let at = |path: &str| base.path().canonicalize().unwrap().join(path);
        fs::create_dir_all(at("work/repo/deep")).unwrap();
        fs::create_dir_all(at("work/repo2")).unwrap();
        symlink(at("work"), at("alias")).unwrap();
        let real = at("work/repo");
        let full = |path: &str| at(path).to_string_lossy().into_owned();
        for (entry, is) in [
            ("*".to_owned(), true),
            (full("work/repo"), true),
            (full("work/repo/"), true),
            (full("alias/repo"), true),
            (full("work/../work/repo"), true),
            ("~/repo".to_owned(), true),
            (full("work/*"), true),
            (full("alias/*"), true),
            (full("*"), true),
            ("/*".to_owned(), true),
            (full("work"), false),
            (full("work/repo/*"), false),
            (full("work/repo/deep"), false),
            (full("work/rep"), false),
            (full("work/repo*"), false),
            (full("work/r*"), false),
            (full("nothing/*"), false),
            ("work/repo".to_owned(), false),
            (".".to_owned(), false),
            ("~root/repo".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(matches(&entry, &real, Some(&at("work"))), is, "{entry}");
        }
        assert!(!matches("~/repo", &real, None));
    }

    #[test]
    fn safe_directories_come_from_git_and_environment() {
        let base = tempfile::tempdir().unwrap();
        let at = |path: &str| base.path().canonicalize().unwrap().join(path);
        for dir in ["repo", "home/.config/git", "xdg/git"] {
            fs::create_dir_all(at(dir)).unwrap();
        }
        let repo = at("repo").to_string_lossy().into_owned();
        let names = format!("[safe]\ndirectory = {repo}\n");
        let forgets = "[safe]\ndirectory =\n";
        let files = ["home/.gitconfig", "home/.config/git/config", "xdg/git/config", "system", "global"];
        let home = at("home").to_string_lossy().into_owned();
        let at_text = |path: &str| at(path).to_string_lossy().into_owned();
        let base_env = [("HOME", home), ("GIT_CONFIG_SYSTEM", at_text("system"))];
        let xdg = ("XDG_CONFIG_HOME", at_text("xdg"));
        let global = ("GIT_CONFIG_GLOBAL", at_text("global"));
        let nosystem = ("GIT_CONFIG_NOSYSTEM", "1".to_owned());
        let listed = |value: &str| (SAFE_DIRECTORY, value.to_owned());
        for (contents, more, safe) in [
            (&[][..], vec![], false),
            (&[("home/.gitconfig", names.as_str())], vec![], true),
            (&[("home/.config/git/config", &names)], vec![], true),
            (&[("home/.config/git/config", &names)], vec![xdg.clone()], false),
            (&[("xdg/git/config", &names)], vec![xdg.clone()], true),
            (&[("system", &names)], vec![], true),
            (&[("system", &names)], vec![nosystem.clone()], false),
            (&[("system", &names), ("home/.gitconfig", forgets)], vec![], false),
            (&[("system", forgets), ("home/.gitconfig", &names)], vec![], true),
            (&[("home/.config/git/config", &names), ("home/.gitconfig", forgets)], vec![], false),
            (&[("home/.gitconfig", &names)], vec![global.clone()], false),
            (&[("global", &names)], vec![global.clone()], true),
            (&[("system", &names)], vec![("GIT_CONFIG_GLOBAL", "/dev/null".to_owned())], true),
            (&[("home/.gitconfig", &names)], vec![("GIT_CONFIG_GLOBAL", "/dev/zero".to_owned())], false),
            // A broken file might forget what others name.
            (&[("system", &names), ("home/.gitconfig", "[safe\n")], vec![], false),
            (&[], vec![listed(&repo)], true),
            (&[], vec![listed(&format!("/nowhere::{repo}"))], true),
            (&[], vec![listed("*")], true),
            (&[], vec![listed("/nowhere")], false),
            (&[("home/.gitconfig", forgets)], vec![listed(&repo)], true),
        ] {
            files.iter().for_each(|file| _ = fs::remove_file(at(file)));
            contents.iter().for_each(|(file, text)| fs::write(at(file), text).unwrap());
            let env: Environment = base_env.iter().cloned().chain(more.clone()).collect();
            let ctx = Context::new(at("repo"), env);
            let root = Root::open(&at("repo")).unwrap();
            let found = is_named_safe(&ctx, effective_uid(), &root);
            assert_eq!(found, safe, "{contents:?} {more:?}");
        }
    }

    #[test]
    fn replaced_directory_is_not_the_safe_one() {
        let base = tempfile::tempdir().unwrap();
        let at = |path: &str| base.path().join(path);
        fs::create_dir(at("repo")).unwrap();
        let root = Root::open(&at("repo")).unwrap();
        let env = [(SAFE_DIRECTORY, at("repo").to_string_lossy().into_owned())].into_iter().collect();
        let ctx = Context::new("/", env);
        assert!(is_named_safe(&ctx, Uid::ROOT, &root));
        fs::rename(at("repo"), at("moved")).unwrap();
        fs::create_dir(at("repo")).unwrap();
        assert!(!is_named_safe(&ctx, Uid::ROOT, &root));
    }
}
