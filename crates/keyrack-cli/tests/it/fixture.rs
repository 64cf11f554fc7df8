//! Home directory in which tests run the binaries as a user would.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keyrack_testkit::{Home, binary, run};

/// Longest time that a command may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// Home with ssh keys and a project directory. Dropping it kills the daemons that were started in
/// it.
pub(crate) struct Fixture {
    pub(crate) home: Home,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let home = Home::new();
        let ssh = home.home().join(".ssh");
        let project = home.home().join("project");
        for dir in [&ssh, &project] {
            fs::create_dir(dir).expect("a fresh directory");
        }
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys");
        for name in ["id_ed25519", "id_ed25519.pub"] {
            fs::copy(keys.join(name), ssh.join(name)).expect("a key to copy");
        }
        Fixture { home }
    }

    /// Returns a command that runs in the project, as a user of this home would type it.
    pub(crate) fn command(&self, words: &[String]) -> Command {
        // Adds keyrack to PATH, as for a user, so that `sh` and `env` find it too.
        let keyrack = binary("keyrack");
        let bin = keyrack.parent().expect("a file is in a directory");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::join_paths(std::iter::once(bin.to_owned()).chain(std::env::split_paths(&path)));
        let program = if words[0] == "keyrack" { keyrack.as_os_str() } else { words[0].as_ref() };
        let mut command = self.home.command(program);
        command.args(&words[1..]).current_dir(self.home.home().join("project"));
        command.env("PATH", path.expect("directories of PATH"));
        command.env("KEYS", Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys"));
        command.env("GIT_CONFIG_GLOBAL", "/dev/null");
        command
    }

    /// Runs a command line. Returns its exit code and the lines of stdout and stderr.
    pub(crate) fn run(&self, line: &str, stdin: &[u8]) -> (i32, Vec<String>, Vec<String>) {
        let mut words = split(&line.replace("$HOME", &self.home.home().to_string_lossy()));
        let mut variables = Vec::new();
        while let Some((name, value)) = words[0].split_once('=').filter(|(name, _)| !name.contains('-')) {
            variables.push((name.to_owned(), value.to_owned()));
            words.remove(0);
        }
        let mut command = self.command(&words);
        command.envs(variables);
        let output = run(&mut command, stdin, LIMIT).unwrap_or_else(|error| panic!("{line}: {error}"));
        let exit = output.status.code().unwrap_or(-1);
        let (stdout, stderr) = (lines(&output.stdout), lines(&output.stderr));
        crate::schemas::check(&words, exit, &stdout, &stderr);
        (exit, stdout, stderr)
    }
}

/// Returns the lines of a stream. A `%` follows a last line without a newline.
fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        lines.push("%".to_owned());
    }
    lines
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // The command line of each daemon of this home names its socket, in our own runtime
        // directory.
        let ours = self.home.runtime();
        for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let cmdline = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if String::from_utf8_lossy(&cmdline).contains(&*ours.to_string_lossy()) {
                let pid = entry.file_name();
                let _ = Command::new("kill").arg(pid).status();
            }
        }
    }
}

/// Splits a line into words at blanks, outside of single and double quotes.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, ' ') => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn split_honors_quotes() {
    assert_eq!(split("a 'b c' \"d\" e''f ''"), ["a", "b c", "d", "ef", ""]);
}
