//! Case files: commands with the output and exit codes that they must have.
//!
//! Each file in `tests/cmd` is a test of its own: `unlock.case` is `cases::unlock`. Its commands
//! run one after the other, in a home of their own.
//!
//! ```text
//! # a comment
//! $ keyrack get --key API_KEY --value     a command; quotes as in sh, only $HOME is expanded
//! < s3cret                                a line of its stdin; `<%` after it: no newline at its end
//! ? 2                                     its exit code; 0 if left out
//! | text                                  a line of stdout; `|%` after it: no newline at its end
//! ! text                                  a line of stderr
//! ```
//!
//! Both streams must match line by line, as snapbox matches: `[..]` is any text within a line, a
//! line `...` is any lines, and `[HOME]`, `[TIME]` and the like are values that differ from run to
//! run. `KEYRACK_CASES=rewrite` writes what the commands print now into the file; read the diff
//! before you commit it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use snapbox::report::Palette;
use snapbox::{Assert, Redactions};

use crate::fixture::Fixture;

/// Makes a test of each case file.
macro_rules! cases {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run_case(stringify!($name));
            }
        )*

        const CASES: &[&str] = &[$(stringify!($name)),*];
    };
}

cases! {
    credential
    daemon_errors
    daemon_requirements
    del
    fill
    firewall
    get
    infra
    init
    locked
    org_all
    os_daemon
    outside_repo
    owner
    positional_args
    quickstart
    recipient
    relock
    run
    set
    set_declared
    source
    suggestions
    types
    unlock
    usage
}

#[test]
fn every_case_file_has_a_test() {
    let files: BTreeSet<String> = fs::read_dir(directory())
        .expect("the directory of cases")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    let tests: BTreeSet<String> = CASES.iter().map(|name| format!("{name}.case")).collect();
    assert_eq!(files, tests, "the list in `cases!` names every file of tests/cmd");
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cmd")
}

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

/// Runs a case file. Panics with every difference, or rewrites the file under
/// `KEYRACK_CASES=rewrite`.
fn run_case(name: &str) {
    let file = &directory().join(format!("{name}.case"));
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let mut steps = parse(&text, file);
    let fixture = Fixture::new();
    let rewrite = std::env::var_os("KEYRACK_CASES").is_some_and(|value| value == "rewrite");
    let mut failures = String::new();
    for step in &mut steps {
        if step.command.is_empty() {
            continue;
        }
        let (exit, stdout, stderr) = fixture.run(&step.command, &step.stdin);
        let differences: Vec<String> = [
            (exit != step.exit).then(|| format!("exit code {exit}, not {}\n", step.exit)),
            compare(&fixture, "stdout", &stdout, &step.stdout),
            compare(&fixture, "stderr", &stderr, &step.stderr),
        ]
        .into_iter()
        .flatten()
        .collect();
        if differences.is_empty() {
            continue;
        }
        if rewrite {
            step.exit = exit;
            // A stream that matches is not rewritten, so it keeps its `...` lines.
            if compare(&fixture, "stdout", &stdout, &step.stdout).is_some() {
                step.stdout = rewritten(&fixture, &stdout, &step.stdout);
            }
            if compare(&fixture, "stderr", &stderr, &step.stderr).is_some() {
                step.stderr = rewritten(&fixture, &stderr, &step.stderr);
            }
        } else {
            write!(failures, "$ {}\n{}", step.command, differences.concat()).expect("a String");
        }
    }
    if rewrite {
        fs::write(file, steps.iter().map(written).collect::<String>()).expect("the case is writable");
    }
    assert!(
        failures.is_empty(),
        "{}:\n{failures}\nto accept: KEYRACK_CASES=rewrite cargo test -p keyrack-cli --test it cases::{name}",
        file.display()
    );
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

fn compare(fixture: &Fixture, stream: &str, actual: &[String], wanted: &[String]) -> Option<String> {
    let assert =
        Assert::new().palette(Palette::plain()).normalize_paths(false).redact_with(redactions(fixture));
    assert
        .try_eq(Some(&stream), actual.join("\n").into(), wanted.join("\n").into())
        .err()
        .map(|error| error.to_string())
}

/// Returns the lines of a stream with placeholders. Where an old line still matches, it is kept
/// with its wildcards.
fn rewritten(fixture: &Fixture, actual: &[String], old: &[String]) -> Vec<String> {
    let redactions = redactions(fixture);
    let new: Vec<String> = actual.iter().map(|line| redactions.redact(line)).collect();
    keep_matching_lines(&new, old, |line, pattern| {
        line == pattern
            || pattern.contains("[..]")
                && compare(fixture, "line", &[line.to_owned()], &[pattern.to_owned()]).is_none()
    })
}

/// Returns the new lines, each replaced by the old line that it is paired with. The pairs are a
/// longest common subsequence, where a pair is a new line that matches an old one.
fn keep_matching_lines(new: &[String], old: &[String], matches: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let is_match: Vec<Vec<bool>> =
        new.iter().map(|line| old.iter().map(|pattern| matches(line, pattern)).collect()).collect();
    // longest[i][j] is the number of pairs between new[i..] and old[j..].
    let mut longest = vec![vec![0_usize; old.len() + 1]; new.len() + 1];
    for i in (0..new.len()).rev() {
        for j in (0..old.len()).rev() {
            let skip = longest[i + 1][j].max(longest[i][j + 1]);
            let pair = if is_match[i][j] { longest[i + 1][j + 1] + 1 } else { 0 };
            longest[i][j] = skip.max(pair);
        }
    }
    let mut lines = Vec::with_capacity(new.len());
    let (mut i, mut j) = (0, 0);
    while i < new.len() {
        if j < old.len() && is_match[i][j] && longest[i][j] == longest[i + 1][j + 1] + 1 {
            lines.push(old[j].clone());
            i += 1;
            j += 1;
        } else if j < old.len() && longest[i][j] == longest[i][j + 1] {
            j += 1;
        } else {
            lines.push(new[i].clone());
            i += 1;
        }
    }
    lines
}

/// Returns placeholders for values that differ from run to run.
fn redactions(fixture: &Fixture) -> Redactions {
    let mut redactions = Redactions::new();
    for (word, path) in [
        ("[HOME]", fixture.home.home()),
        ("[RUN]", fixture.home.runtime()),
        ("[ROOT]", fixture.home.root().to_owned()),
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

#[test]
fn compare_reports_differences() {
    let fixture = Fixture::new();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let home = fixture.home.home();
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
        assert_eq!(
            compare(&fixture, "text", &lines(got), &lines(wanted)).is_none(),
            same,
            "{wanted:?} {got:?}"
        );
    }
}

#[test]
fn rewrite_keeps_lines_that_still_match() {
    let fixture = Fixture::new();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    for (old, new, result) in [
        ("a [..]\nb", "a 1\nc", "a [..]\nc"),
        ("a [..]\nb", "x\na 1", "x\na [..]"),
        ("x\na [..]\nb", "a 1\nb", "a [..]\nb"),
        ("a [..]\na [..] z", "a 1 z", "a [..]"),
        ("a [..]\nb [..]", "b 1\na 1\nb 2", "b 1\na [..]\nb [..]"),
        ("[..]", "a\nb", "[..]\nb"),
        ("...\nb", "a\nc", "a\nc"),
        ("", "a", "a"),
        ("a [..]", "", ""),
    ] {
        assert_eq!(rewritten(&fixture, &lines(new), &lines(old)), lines(result), "{old:?} {new:?}");
    }
}
