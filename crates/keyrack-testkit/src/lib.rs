//! Helpers that keyrack's tests share: hermetic homes, login sessions, the built binaries, and
//! saying what was not run.
//!
//! A dev-dependency only: no shipped crate may depend on it.
#![allow(clippy::print_stderr, reason = "a test says on stderr what it did not run")]

pub mod github_runner;
pub mod kernel;

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Something a test needs that not every machine has.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// The test runs as root.
    Root,
    /// A program is on PATH.
    Program(&'static str),
    /// A file or directory exists.
    Path(&'static str),
    /// The kernel gives processes an audit session, and root can make new ones.
    Sessions,
    /// Something the test looked for itself: whether it is there, and what it is.
    That(bool, &'static str),
}

impl Need {
    fn missing(self) -> Option<String> {
        match self {
            Need::Root => (!is_root()).then(|| "root".to_owned()),
            Need::Program(name) => (!on_path(name)).then(|| format!("the program `{name}`")),
            Need::Path(path) => (!Path::new(path).exists()).then(|| path.to_owned()),
            Need::Sessions => (!is_root() || !Path::new("/proc/self/sessionid").exists())
                .then(|| "root and kernel audit sessions".to_owned()),
            Need::That(there, what) => (!there).then(|| what.to_owned()),
        }
    }
}

/// Returns `true` if the needs of a test are met. If not, says so on stderr in one line that starts
/// with `not run:`, and the test returns early; with `KEYRACK_TEST_REQUIRE=all` it fails instead,
/// so that a complete run proves everything.
///
/// # Panics
/// When something is missing under `KEYRACK_TEST_REQUIRE=all`.
#[must_use]
pub fn can_run(test: &str, needs: &[Need]) -> bool {
    let missing: Vec<String> = needs.iter().filter_map(|need| need.missing()).collect();
    if missing.is_empty() {
        return true;
    }
    let line = format!("not run: {test}: needs {}", missing.join(" and "));
    assert!(std::env::var_os("KEYRACK_TEST_REQUIRE").is_none_or(|value| value != "all"), "{line}");
    eprintln!("{line}");
    false
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

fn on_path(program: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(program).is_file()))
}

/// A built binary, `keyrack` or `keyrackd`: from the directory `KEYRACK_TEST_BIN` names, else the
/// ones `npm run build` left.
///
/// # Panics
/// When it has not been built.
pub fn binary(name: &str) -> PathBuf {
    let dir = std::env::var_os("KEYRACK_TEST_BIN").map_or_else(
        || {
            let platform =
                format!("linux-{}-gnu", if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" });
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../npm").join(platform).join("bin")
        },
        PathBuf::from,
    );
    let path = dir.join(name);
    assert!(path.is_file(), "{} is not there: `npm run build` makes it", path.display());
    path.canonicalize().expect("the file was just seen")
}

/// A home and a runtime directory of one test's own, both 0700, gone when it ends.
#[derive(Debug)]
pub struct Home {
    root: tempfile::TempDir,
}

impl Home {
    /// A fresh one. Its path is short, so that socket paths fit.
    ///
    /// # Panics
    /// When the temporary directory cannot be written.
    pub fn new() -> Self {
        let root = tempfile::Builder::new().prefix("kr").tempdir_in("/tmp").expect("a temporary directory");
        let home = Home { root };
        for dir in [home.home(), home.runtime()] {
            fs::create_dir(&dir).expect("a fresh directory");
            fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).expect("our own directory");
        }
        home
    }

    /// The directory both are in.
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// HOME.
    pub fn home(&self) -> PathBuf {
        self.root.path().join("home")
    }

    /// `XDG_RUNTIME_DIR`.
    pub fn runtime(&self) -> PathBuf {
        self.root.path().join("run")
    }

    /// Gives everything to another user, for tests that run as one.
    ///
    /// # Panics
    /// When not root.
    pub fn give_to(&self, uid: u32) {
        for path in [self.root.path().to_owned(), self.home(), self.runtime()] {
            std::os::unix::fs::chown(&path, Some(uid), Some(uid)).expect("chown as root");
        }
    }

    /// A command with this home and nothing else of our environment but PATH.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.home()).env("XDG_RUNTIME_DIR", self.runtime()).current_dir(self.home());
        command
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

/// Wraps a command so that it runs in a new login session of its own (a new
/// `/proc/self/sessionid`), same user. Needs [`Need::Sessions`].
///
/// The environment and directory of `command` are kept; its stdio settings are not.
pub fn in_new_session(command: &Command) -> Command {
    wrap(command, &["sh", "-c", "echo 0 > /proc/self/loginuid && exec \"$0\" \"$@\""])
}

/// Wraps a command so that it runs as another user. Needs [`Need::Root`] and `setpriv`.
pub fn as_user(uid: u32, command: &Command) -> Command {
    let id = uid.to_string();
    wrap(command, &["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"])
}

pub(crate) fn wrap(command: &Command, prefix: &[&str]) -> Command {
    let mut wrapped = Command::new(prefix[0]);
    wrapped.args(&prefix[1..]).arg(command.get_program()).args(command.get_args());
    wrapped.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    if let Some(dir) = command.get_current_dir() {
        wrapped.current_dir(dir);
    }
    wrapped
}

/// A child that is killed and reaped when the test is done with it, whatever happens.
#[derive(Debug)]
pub struct Reaped(pub Child);

impl Reaped {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        Reaped(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// Its pid.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command to its end with `stdin` fed to it; kills it after `limit`.
///
/// # Errors
/// When it cannot be started, or did not end in time.
pub fn run(command: &mut Command, stdin: &[u8], limit: Duration) -> io::Result<Output> {
    use std::io::{Read as _, Write as _};
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().expect("stdin was asked to be piped");
    let stdin = stdin.to_vec();
    // A child that never reads its input closes the pipe: that is its right.
    let writer = std::thread::spawn(move || drop(input.write_all(&stdin)));
    let mut out = child.stdout.take().expect("stdout was asked to be piped");
    let mut err = child.stderr.take().expect("stderr was asked to be piped");
    let read_out = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let read_err = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        err.read_to_end(&mut bytes).map(|_| bytes)
    });
    let deadline = Instant::now() + limit;
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("{command:?} did not end within {limit:?}"),
                ));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let _ = writer.join();
    let gather = |thread: std::thread::JoinHandle<io::Result<Vec<u8>>>| {
        thread.join().expect("the reader does not panic")
    };
    Ok(Output { status, stdout: gather(read_out)?, stderr: gather(read_err)? })
}

/// Waits until `done` says so, looking every 2 ms.
///
/// # Panics
/// When it has not within `limit`.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + limit;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
