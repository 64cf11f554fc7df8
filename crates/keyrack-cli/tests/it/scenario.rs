//! Scenarios as data: files of commands with what they are to print and how they are to end, run one after the other in a home of their own.
//!
//! ```text
//! # a comment
//! $ keyrack get --key API_KEY --value     a command; its words are split as a shell would, nothing is expanded but $HOME and $RUN
//! < s3cret                                a line of its stdin; `<%` after it: the last line has no newline
//! ? 2                                     its exit code, 0 if not said
//! | text                                  a line of stdout; `|%` after it: the last line has no newline
//! ! text                                  a line of stderr
//! ```
//!
//! Both streams must match line by line; `[..]` stands for anything within a line and a line `...` for any lines. `KEYRACK_CASES=rewrite`
//! writes down what the commands do now, to be read before it is kept.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keyrack_testkit::{Home, binary, run};

/// The longest a command of a scenario may take.
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Step {
    comments: Vec<String>,
    command: String,
    stdin: Vec<u8>,
    stdin_lines: Vec<String>,
    exit: i32,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

/// Runs every scenario of a directory; fails with all that differed.
pub(crate) fn run_all(dir: &Path) {
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("the directory of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "case"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no case in {}", dir.display());
    let failures: Vec<String> = files.iter().filter_map(|file| run_file(file).err()).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn run_file(file: &Path) -> Result<(), String> {
    let text = fs::read_to_string(file).expect("the case is readable");
    let mut steps = parse(&text, file);
    let world = World::new();
    let rewrite = std::env::var_os("KEYRACK_CASES").is_some_and(|value| value == "rewrite");
    let mut failures = String::new();
    for step in &mut steps {
        if step.command.is_empty() {
            continue;
        }
        let (exit, stdout, stderr) = world.run(&step.command, &step.stdin);
        let same = exit == step.exit && matches(&step.stdout, &stdout) && matches(&step.stderr, &stderr);
        if rewrite && !same {
            step.exit = exit;
            if !matches(&step.stdout, &stdout) {
                step.stdout = stdout;
            }
            if !matches(&step.stderr, &stderr) {
                step.stderr = stderr;
            }
        } else if !same {
            let is = Step { command: step.command.clone(), exit, stdout, stderr, ..Step::default() };
            write!(failures, "--- wanted\n{}--- got\n{}", written(step), written(&is)).expect("a String");
        }
    }
    if rewrite {
        fs::write(file, steps.iter().map(written).collect::<String>()).expect("the case is writable");
    }
    if failures.is_empty() { Ok(()) } else { Err(format!("{}:\n{failures}", file.display())) }
}

fn parse(text: &str, file: &Path) -> Vec<Step> {
    let mut steps = vec![Step::default()];
    for line in text.lines() {
        let step = steps.last_mut().expect("never empty");
        let (mark, rest) = line.split_at(line.chars().next().map_or(0, char::len_utf8));
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        match mark {
            "" | "#" if step.command.is_empty() => step.comments.push(line.to_owned()),
            "" | "#" => steps.push(Step { comments: vec![line.to_owned()], ..Step::default() }),
            "$" if step.command.is_empty() => step.command = rest.to_owned(),
            "$" => steps.push(Step { command: rest.to_owned(), ..Step::default() }),
            "<" => {
                step.stdin_lines.push(rest.to_owned());
                if rest == "%" {
                    step.stdin.pop();
                } else {
                    step.stdin.extend(rest.as_bytes());
                    step.stdin.push(b'\n');
                }
            }
            "?" => step.exit = rest.parse().expect("an exit code"),
            "|" => step.stdout.push(rest.to_owned()),
            "!" => step.stderr.push(rest.to_owned()),
            _ => panic!("{}: not understood: {line:?}", file.display()),
        }
    }
    steps
}

fn written(step: &Step) -> String {
    let mut text: String = step.comments.iter().map(|line| format!("{line}\n")).collect();
    if step.command.is_empty() {
        return text;
    }
    let mut put = |mark: &str, rest: &str| {
        let blank = if rest.is_empty() || rest == "%" { "" } else { " " };
        writeln!(text, "{mark}{blank}{rest}").expect("a String");
    };
    put("$", &step.command);
    step.stdin_lines.iter().for_each(|line| put("<", line));
    if step.exit != 0 {
        put("?", &step.exit.to_string());
    }
    step.stdout.iter().for_each(|line| put("|", line));
    step.stderr.iter().for_each(|line| put("!", line));
    text
}

/// Whether lines are as wanted: `[..]` for anything in a line, `...` for any lines.
fn matches(wanted: &[String], lines: &[String]) -> bool {
    match wanted.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=lines.len()).any(|skipped| matches(rest, &lines[skipped..]))
        }
        Some((first, rest)) => {
            lines.split_first().is_some_and(|(line, after)| line_matches(first, line) && matches(rest, after))
        }
    }
}

fn line_matches(wanted: &str, line: &str) -> bool {
    let mut parts = wanted.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut left) = line.strip_prefix(first) else { return false };
    let parts: Vec<_> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return left.is_empty() };
    for part in middle {
        let Some(at) = left.find(part) else { return false };
        left = &left[at + part.len()..];
    }
    left.ends_with(last)
}

/// A home with ssh keys, a project directory in it, and the daemons that get started in it.
pub(crate) struct World {
    pub(crate) home: Home,
}

impl World {
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
        World { home }
    }

    /// A command as a user of this world types it, in the project.
    pub(crate) fn command(&self, words: &[String]) -> Command {
        // By PATH, as a user has it, so that `sh` and `env` find it too.
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

    /// Runs a line; returns exit code, stdout and stderr with the paths of this world redacted.
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
        (exit, self.lines(&output.stdout), self.lines(&output.stderr))
    }

    fn lines(&self, bytes: &[u8]) -> Vec<String> {
        let text = String::from_utf8_lossy(bytes)
            .replace(&*self.home.home().to_string_lossy(), "[HOME]")
            .replace(&*self.home.runtime().to_string_lossy(), "[RUN]")
            .replace(&*self.home.root().to_string_lossy(), "[ROOT]");
        let mut lines: Vec<String> = text.lines().map(steady).collect();
        if !text.is_empty() && !text.ends_with('\n') {
            lines.push("%".to_owned());
        }
        lines
    }
}

/// The line with what differs from run to run made the same: times, pids, what is left of a life.
fn steady(line: &str) -> String {
    let mut line = line.to_owned();
    for (mark, word) in
        [("(pid: ", "[PID]"), ("\"pid\": ", "[PID]"), ("pid: ", "[PID]"), ("\"ttlLeftMs\": ", "[MS]")]
    {
        if let Some(at) = line.find(mark).map(|at| at + mark.len()) {
            let digits = line[at..].bytes().take_while(u8::is_ascii_digit).count();
            line.replace_range(at..at + digits, if digits == 0 { "" } else { word });
        }
    }
    while let Some(at) = time_in(&line) {
        line.replace_range(at..at + TIME.len(), "[TIME]");
    }
    line
}

/// The form of a time: 0 stands for a digit.
const TIME: &str = "0000-00-00T00:00:00.000Z";

fn time_in(line: &str) -> Option<usize> {
    let same = |(form, byte): (u8, &u8)| if form == b'0' { byte.is_ascii_digit() } else { form == *byte };
    line.as_bytes().windows(TIME.len()).position(|window| TIME.bytes().zip(window).all(same))
}

impl Drop for World {
    fn drop(&mut self) {
        // Each daemon of this world names its socket, which is in our own runtime directory, on its command line.
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

/// Splits a line into words: blanks, single quotes, double quotes.
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
fn the_matcher_can_fail() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (wanted, got, same) in [
        ("a\nb", "a\nb", true),
        ("a\nb", "a", false),
        ("a", "a\nb", false),
        ("a [..] c", "a b c", true),
        ("a [..] c", "a b d", false),
        ("a[..]b[..]c", "a1b2c", true),
        ("a[..]b[..]c", "a1c2b", false),
        ("...\nz", "x\ny\nz", true),
        ("...\nz", "x\ny", false),
        ("...", "", true),
        ("", "x", false),
    ] {
        assert_eq!(matches(&lines(wanted), &lines(got)), same, "{wanted:?} {got:?}");
    }
    assert_eq!(split("a 'b c' \"d\" e''f ''"), ["a", "b c", "d", "ef", ""]);
    let line = "(pid: 123) at 2026-11-22T22:38:17.659Z, \"ttlLeftMs\": 599971";
    assert_eq!(steady(line), "(pid: [PID]) at [TIME], \"ttlLeftMs\": [MS]");
}
