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
//! Both streams must match line by line, as snapbox matches: `[..]` stands for anything within a line, a line `...` for any lines, and
//! `[HOME]`, `[TIME]` and the like for what differs from run to run. `KEYRACK_CASES=rewrite` writes down what the commands do now, to be
//! read before it is kept.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use keyrack_testkit::{Home, binary, run};
use regex::Regex;
use snapbox::report::Palette;
use snapbox::{Assert, Redactions};

/// The longest a command of a scenario may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

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
        let faults: Vec<String> = [
            (exit != step.exit).then(|| format!("exit code {exit}, not {}\n", step.exit)),
            world.compare("stdout", &stdout, &step.stdout),
            world.compare("stderr", &stderr, &step.stderr),
        ]
        .into_iter()
        .flatten()
        .collect();
        if faults.is_empty() {
            continue;
        }
        if rewrite {
            step.exit = exit;
            // What matches stays as it was written, wildcards and all.
            if world.compare("stdout", &stdout, &step.stdout).is_some() {
                step.stdout = world.redacted(&stdout);
            }
            if world.compare("stderr", &stderr, &step.stderr).is_some() {
                step.stderr = world.redacted(&stderr);
            }
        } else {
            write!(failures, "$ {}\n{}", step.command, faults.concat()).expect("a String");
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

    /// Runs a line; returns exit code, and the lines of stdout and stderr.
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

    fn compare(&self, stream: &str, actual: &[String], wanted: &[String]) -> Option<String> {
        let assert =
            Assert::new().palette(Palette::plain()).normalize_paths(false).redact_with(self.redactions());
        assert
            .try_eq(Some(&stream), actual.join("\n").into(), wanted.join("\n").into())
            .err()
            .map(|error| error.to_string())
    }

    fn redacted(&self, lines: &[String]) -> Vec<String> {
        let redactions = self.redactions();
        lines.iter().map(|line| redactions.redact(line)).collect()
    }

    /// What differs from run to run.
    fn redactions(&self) -> Redactions {
        let mut redactions = Redactions::new();
        for (word, path) in [
            ("[HOME]", self.home.home()),
            ("[RUN]", self.home.runtime()),
            ("[ROOT]", self.home.root().to_owned()),
        ] {
            redactions.insert(word, path).expect("a word in brackets");
        }
        for (word, form) in [
            ("[TIME]", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
            ("[PID]", r#"pid"?: (?<redacted>\d+)"#),
            ("[MS]", r#""ttlLeftMs": (?<redacted>\d+)"#),
            ("[VERSION]", r#""keyrackBindVersion": (?<redacted>\d+)"#),
        ] {
            redactions.insert(word, Regex::new(form).expect("a sound form")).expect("a word in brackets");
        }
        redactions
    }
}

/// The lines of a stream, and a `%` after a last one without a newline.
fn lines(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !text.is_empty() && !text.ends_with('\n') {
        lines.push("%".to_owned());
    }
    lines
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
fn what_differs_is_told() {
    let world = World::new();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let home = world.home.home();
    let now = format!("{} (pid: 123)\n\"ttlLeftMs\": 59, 2026-11-22T22:38:17.659Z", home.display());
    for (wanted, got, same) in [
        ("a\nb", "a\nb", true),
        ("a\nb", "a", false),
        ("a", "a\nb", false),
        ("a [..] c", "a b c", true),
        ("a [..] c", "a b d", false),
        ("...\nz", "x\ny\nz", true),
        ("...\nz", "x\ny", false),
        ("", "x", false),
        ("[HOME] (pid: [PID])\n\"ttlLeftMs\": [MS], [TIME]", &now, true),
        ("[HOME]", "/elsewhere", false),
    ] {
        assert_eq!(world.compare("text", &lines(got), &lines(wanted)).is_none(), same, "{wanted:?} {got:?}");
    }
    assert_eq!(split("a 'b c' \"d\" e''f ''"), ["a", "b c", "d", "ef", ""]);
}
