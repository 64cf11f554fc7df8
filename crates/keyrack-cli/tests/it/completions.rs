//! Completions in real shells: the tests press Tab at the prompt.

use std::fs;

use keyrack_testkit::{Need, can_run};

use crate::fixture::Fixture;
use crate::terminal::at_terminal;

/// Returns a repository that declares keys, some with names that try to inject shell code.
fn fixture(test: &str, shell: &'static str) -> Option<Fixture> {
    if !can_run(
        test,
        &[Need::Program("script"), Need::Program("stty"), Need::Program("git"), Need::Program(shell)],
    ) {
        return None;
    }
    let fixture = Fixture::new();
    assert_eq!(fixture.run("git init -q", b"").0, 0);
    let project = fixture.home.home().join("project");
    fs::create_dir(project.join(".agent")).unwrap();
    let names = [
        "API_KEY",
        "$(touch pwned)",
        "`touch pwned`",
        "B;touch pwned",
        "C'touch pwned",
        "D\\ntouch pwned",
        "E\\e[2J",
    ];
    let keys: String = names.iter().map(|name| format!("  - \"{name}\"\n")).collect();
    fs::write(project.join(".agent/keyrack.yml"), format!("org: acme\nenv.test:\n{keys}")).unwrap();
    assert_eq!(fixture.run("keyrack init --owner work", b"").0, 0);
    Some(fixture)
}

fn nothing_happened(fixture: &Fixture, shown: &str) {
    let project = fixture.home.home().join("project");
    assert!(!project.join("pwned").exists(), "{shown}");
    let started = fs::read_dir(fixture.home.runtime()).unwrap().count();
    assert_eq!(started, 0, "completing starts no daemon: {shown}");
    assert!(!shown.contains("rror") && !shown.contains("not found"), "{shown}");
}

/// Line that is typed into a shell, with Tab presses. The output shows which command the shell ran.
const TYPED: &str = "keyrack --owner wo\tget --key AP\t--env te\t--js\t\n";
const ANSWERED: &str = "\"slug\": \"acme.test.API_KEY\"";

#[test]
fn bash_completes_commands_flags_and_names() {
    let Some(fixture) = fixture("bash_completes_commands_flags_and_names", "bash") else { return };
    let line = "env PS1='READY> ' TERM=dumb bash --norc --noprofile -i";
    let answers = [
        ("READY> ", "bind 'set enable-bracketed-paste off'; source <(keyrack completions bash)\n"),
        ("READY> ", TYPED),
        (ANSWERED, ""),
        // The shell offers none of the names with shell code, neither in the list nor for their
        // beginning.
        ("READY> ", "keyrack get --key \t\n"),
        ("status: absent", ""),
        ("READY> ", "keyrack get --key '$(\t\t\u{15}\n"),
        ("READY> ", "keyrack get --env=te\t--key=AP\t--js\t\n"),
        (ANSWERED, ""),
        ("READY> ", "exit\n"),
    ];
    let (_, shown) = at_terminal(&fixture, line, &answers);
    nothing_happened(&fixture, &shown);
}

#[test]
fn zsh_completes_commands_flags_and_names() {
    let Some(fixture) = fixture("zsh_completes_commands_flags_and_names", "zsh") else { return };
    let line = "env PS1='READY> ' NO_COLOR=1 TERM=xterm zsh -f -i";
    let answers = [
        (
            "READY> ",
            "unset zle_bracketed_paste; unsetopt beep; autoload -U compinit; compinit -u -D; source <(keyrack completions zsh)\n",
        ),
        ("READY> ", TYPED),
        (ANSWERED, ""),
        ("READY> ", "keyrack get --key \t\n"),
        ("status: absent", ""),
        ("READY> ", "keyrack get --env=te\t--key=AP\t--js\t\n"),
        (ANSWERED, ""),
        ("READY> ", "exit\n"),
    ];
    let (_, shown) = at_terminal(&fixture, line, &answers);
    nothing_happened(&fixture, &shown);
    // The same with the completion file in a directory of `fpath`, as it is installed.
    assert_eq!(fixture.run("sh -c 'mkdir zfunc; keyrack completions zsh > zfunc/_keyrack'", b"").0, 0);
    let answers = [
        ("READY> ", "fpath=($PWD/zfunc $fpath); autoload -U compinit; compinit -u -D\n"),
        ("READY> ", TYPED),
        (ANSWERED, ""),
        ("READY> ", "exit\n"),
    ];
    at_terminal(&fixture, line, &answers);
}

#[test]
fn fish_completes_commands_flags_and_names() {
    let Some(fixture) = fixture("fish_completes_commands_flags_and_names", "fish") else { return };
    for (line, offered) in [
        ("keyrack get --env te", &["test\tdeclared in keyrack.yml"][..]),
        ("keyrack get --key ", &["API_KEY\ttest"]),
        ("keyrack get --key acme.", &["acme.test.API_KEY\tdeclared in keyrack.yml"]),
        ("keyrack get --env=te", &["--env=test\tdeclared in keyrack.yml"]),
        ("keyrack --owner wo", &["work"]),
        ("keyrack unl", &["unlock\tUnlock keys for this login session"]),
        (
            "keyrack daemon st",
            &[
                "start\tStart the daemon if it is not running",
                "status\tShow the daemon and how well it protects keys",
                "stop\tStop the daemon, which locks every key",
            ],
        ),
        ("keyrack set --prikey ../.ss", &["../.ssh/"]),
        ("keyrack get --key '$(", &[]),
    ] {
        let script =
            format!("keyrack completions fish | source; complete -C \"{}\"", line.replace('$', "\\$"));
        let words: Vec<String> = ["fish", "--no-config", "-c", &script].map(str::to_owned).to_vec();
        let output = fixture.command(&words).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut lines: Vec<&str> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, offered, "{line}: {}", String::from_utf8_lossy(&output.stderr));
        nothing_happened(&fixture, &String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn completion_prints_nothing_for_invalid_lines() {
    let fixture = Fixture::new();
    for line in [
        "keyrack complete",
        "keyrack complete words",
        "keyrack complete words --",
        "keyrack complete words -- keyrack",
        "keyrack complete line",
        "keyrack complete line '' ''",
        "keyrack complete words -- keyrack get --nope=",
        "env -u HOME keyrack complete words -- keyrack get --key ''",
        "env -u HOME keyrack complete words -- keyrack get --owner ''",
        "env XDG_RUNTIME_DIR=/nowhere keyrack complete words -- keyrack relock --key ''",
    ] {
        let (exit, stdout, stderr) = fixture.run(line, b"");
        assert_eq!((exit, stderr.len()), (0, 0), "{line}: {stderr:?}");
        assert!(stdout.is_empty() || stdout == [":files"], "{line}: {stdout:?}");
    }
}

#[test]
fn completion_offers_unlocked_keys() {
    let fixture = Fixture::new();
    let set = "keyrack set --key ROOT --org @all --env sudo --vault os.daemon";
    assert_eq!(fixture.run("keyrack init", b"").0, 0);
    assert_eq!(fixture.run(set, b"s3cret").0, 0);
    let (_, offered, _) = fixture.run("keyrack complete words -- keyrack relock --key @", b"");
    assert_eq!(offered, ["@all.sudo.ROOT\tunlocked"]);
    let (_, offered, _) = fixture.run("keyrack complete words -- keyrack relock --owner other --key @", b"");
    assert!(offered.is_empty(), "{offered:?}");
    let (_, offered, _) = fixture.run("keyrack complete words -- keyrack relock --env test --key @", b"");
    assert!(offered.is_empty(), "{offered:?}");
}
