//! `keyrack run --mask` at a terminal, with programs that change the terminal's settings: hidden
//! input stays hidden, keys reach the program as they are typed, and nothing is shown twice. Each
//! command also runs without `--mask`, as the reference.

use std::fs;
use std::time::Duration;

use keyrack_testkit::{Need, can_run};

use crate::fixture::Fixture;
use crate::terminal::typed_at_terminal;

const SECRET: &str = "hunter2/s3cr3t+hunter3";
/// Pause between a prompt and the answer.
const PAUSE: Duration = Duration::from_millis(100);
const UP: &str = "\u{1b}[A";
const TYPED: (&str, &str) = ("Password: ", "correct horse\n");
const HIDDEN: &[(&str, usize)] = &[("horse", 0), ("length 13", 1)];

/// A program that runs at a terminal.
struct Case {
    needs: &'static [Need],
    /// The command, for a shell.
    command: &'static str,
    /// Output to wait for, and the input to type then.
    dialogue: &'static [(&'static str, &'static str)],
    exit: i32,
    /// Texts in the output, each with its number of occurrences.
    shows: &'static [(&'static str, usize)],
}

/// Returns a home whose key K is granted from the environment, with a file of numbered lines that
/// contain K.
fn fixture() -> Fixture {
    let fixture = Fixture::new();
    assert_eq!(fixture.run("git init -q", b"").0, 0);
    let project = fixture.home.home().join("project");
    fs::create_dir(project.join(".agent")).unwrap();
    fs::write(project.join(".agent/keyrack.yml"), "org: acme\nenv.test:\n  - K\n").unwrap();
    let lines: String = (1..=99).map(|line| format!("line {line} {SECRET}\n")).collect();
    fs::write(project.join("lines"), lines).unwrap();
    fixture
}

/// Runs each case with and without `--mask`.
fn try_all(test: &str, cases: &[Case]) {
    if !can_run(test, &["script", "stty", "git", "bash"].map(Need::Program)) {
        return;
    }
    let fixture = fixture();
    for case in cases {
        if !can_run(test, case.needs) {
            continue;
        }
        for mask in ["", "--mask"] {
            fs::write(fixture.home.home().join("project/command"), case.command).unwrap();
            let line = format!(
                "stty rows 24 cols 80; TERM=xterm K={SECRET} keyrack run --env test {mask} -- bash command"
            );
            let (exit, shown) = typed_at_terminal(&fixture, &line, case.dialogue, PAUSE);
            let shown = shown.split("[exit ").next().unwrap();
            let what = format!("{mask} {}:\n{shown}", case.command);
            assert_eq!(exit, case.exit, "{what}");
            for (text, count) in case.shows {
                let text = if mask.is_empty() { text.replace("***", SECRET) } else { (*text).to_owned() };
                assert_eq!(shown.matches(&text).count(), *count, "{text:?} in {what}");
            }
            assert!(mask.is_empty() || !shown.contains("hunter2"), "{what}");
        }
    }
}

/// Programs hide passwords by settings of their input, of `/dev/tty`, or of the terminal of their
/// output.
#[test]
fn run_mask_terminal_shows_no_hidden_input() {
    try_all(
        "run_mask_terminal_shows_no_hidden_input",
        &[
            Case {
                needs: &[],
                command: "read -s -p 'Password: ' x; echo; echo \"length ${#x}\"; printf 'Visible: '; read y; echo \"got $y\"",
                dialogue: &[TYPED, ("Visible: ", "seen\n")],
                exit: 0,
                shows: &[("horse", 0), ("length 13", 1), ("seen", 2)],
            },
            Case {
                needs: &[],
                command: "stty -echo; printf 'Password: '; read x; stty echo; echo; echo \"length ${#x}\"",
                dialogue: &[TYPED],
                exit: 0,
                shows: HIDDEN,
            },
            // Through the terminal of the output, which is the same terminal for the program.
            Case {
                needs: &[],
                command: "stty -echo <&1; sleep 0.1; printf 'Password: '; read x; stty echo <&1; echo; echo \"length ${#x}\"",
                dialogue: &[TYPED],
                exit: 0,
                shows: HIDDEN,
            },
            Case {
                needs: &[],
                command: "stty -echo; less lines; printf 'Password: '; read x; stty echo; echo; echo \"length ${#x}\"",
                dialogue: &[("line 9 ", "q"), TYPED],
                exit: 0,
                shows: HIDDEN,
            },
            Case {
                needs: &[Need::Program("python3")],
                command: "python3 -c 'import getpass; print(\"length\", len(getpass.getpass()))'",
                dialogue: &[TYPED],
                exit: 0,
                shows: HIDDEN,
            },
            // This program writes its prompt to standard output.
            Case {
                needs: &[Need::Program("python3")],
                command: "python3 -c '\nimport sys, termios\nold = termios.tcgetattr(0)\nnew = termios.tcgetattr(0)\nnew[3] &= ~termios.ECHO\n\
                    termios.tcsetattr(0, termios.TCSAFLUSH, new)\nx = input(\"Password: \")\n\
                    termios.tcsetattr(0, termios.TCSAFLUSH, old)\nprint(); print(\"length\", len(x))'",
                dialogue: &[TYPED],
                exit: 0,
                shows: HIDDEN,
            },
            Case {
                needs: &[Need::Program("node")],
                command: "node -e '\nprocess.stdin.setRawMode(true); process.stdout.write(\"Password: \"); let x = \"\";\n\
                    process.stdin.on(\"data\", (keys) => { for (const key of keys.toString()) {\n\
                    if (key === \"\\n\" || key === \"\\r\") { console.log(\"\\nlength \" + x.length); process.exit(); } x += key; } })'",
                dialogue: &[TYPED],
                exit: 0,
                shows: HIDDEN,
            },
            Case {
                needs: &[Need::Program("openssl")],
                command: "openssl passwd -salt xx -5 >/dev/null; echo length 13",
                dialogue: &[TYPED],
                exit: 0,
                shows: HIDDEN,
            },
            Case {
                needs: &[Need::Program("ssh-keygen")],
                command: "install -m 600 $KEYS/sealed key; ssh-keygen -y -f key | cut -c 1-11; echo length 13",
                dialogue: &[("passphrase", "correct horse\n")],
                exit: 0,
                shows: &[("horse", 0), ("ssh-ed25519", 1)],
            },
            Case {
                needs: &[Need::Program("sudo"), Need::Program("setpriv"), Need::Root],
                command: "timeout --foreground 3 setpriv --reuid 65534 --regid 65534 --clear-groups sudo -k -p 'Password: ' true; echo ended",
                dialogue: &[TYPED],
                exit: 0,
                shows: &[("horse", 0), ("ended", 1)],
            },
            // The remote side shows the prompt and hides the input. The local side must pass on
            // each key.
            Case {
                needs: &[Need::Program("ssh"), Need::Path("/usr/sbin/sshd"), Need::Root],
                command: "mkdir -p /run/sshd; for name in host me; do ssh-keygen -q -t ed25519 -N '' -f $name; done
                    printf '%s\n' \"HostKey $PWD/host\" \"AuthorizedKeysFile $PWD/me.pub\" 'StrictModes no' 'UsePAM no' \
                    'PermitRootLogin yes' 'PidFile none' > conf
                    ssh -q -tt -F none -i me -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
                    -o ProxyCommand=\"/usr/sbin/sshd -i -f $PWD/conf\" host \
                    \"bash -c 'read -s -p \\\"Password: \\\" x; echo; echo length \\${#x}'\"; rm host* me*",
                dialogue: &[("Password: ", "correct horse\r")],
                exit: 0,
                shows: HIDDEN,
            },
            Case {
                needs: &[Need::Program("psql")],
                command: "psql -W -h /nonexistent 2>/dev/null; echo length 13",
                dialogue: &[TYPED],
                exit: 0,
                shows: HIDDEN,
            },
            // dialog draws with ncurses on its output and writes the result to another descriptor,
            // as in scripts.
            Case {
                needs: &[Need::Program("dialog")],
                command: "x=$(dialog --passwordbox P 8 40 3>&1 1>&2 2>&3 3>&-); echo \"length ${#x}\"",
                dialogue: &[("ancel", "correct horse\n")],
                exit: 0,
                shows: HIDDEN,
            },
            Case {
                needs: &[Need::Program("dialog")],
                command: "stty -echo; dialog --msgbox M 8 40; printf 'Password: '; read x; stty echo; echo; echo \"length ${#x}\"",
                dialogue: &[("K  ", "\n"), TYPED],
                exit: 0,
                shows: HIDDEN,
            },
        ],
    );
}

/// Line editors and full-screen programs: keys arrive one by one and are shown once.
#[test]
fn run_mask_terminal_passes_each_key_at_once() {
    try_all(
        "run_mask_terminal_passes_each_key_at_once",
        &[
            Case {
                needs: &[],
                command: "PS1='> ' bash --norc -i 2>&1",
                dialogue: &[
                    ("> ", "echo sum-$((40+2))-$K\n"),
                    ("sum-42-", UP),
                    ("echo sum-$((40+2))-$K", "\n"),
                    ("sum-42-", "exit\n"),
                ],
                exit: 0,
                shows: &[("sum-42-", 2), ("^[", 0), ("echo sum-$((40+2))-$K", 2), ("***", 2)],
            },
            Case {
                needs: &[Need::Program("python3")],
                command: "python3 -c '\nimport readline\nfor n in (1, 2): print(\"got\", n, input(\"name? \"))'",
                dialogue: &[("name? ", "joe\n"), ("got 1 joe", UP), ("joe", "\n"), ("got 2 joe", "")],
                exit: 0,
                shows: &[("joe", 4), ("^[", 0)],
            },
            Case {
                needs: &[Need::Program("node")],
                command: "node -e '\nconst rl = require(\"readline\").createInterface({ input: process.stdin, output: process.stdout });\n\
                    rl.question(\"name? \", (a) => rl.question(\"again? \", (b) => { console.log(\"got\", a, b); rl.close(); }))'",
                dialogue: &[("name? ", "joe\n"), ("again? ", UP), ("joe", "\n"), ("got joe joe", "")],
                exit: 0,
                shows: &[("got joe joe", 1), ("^[", 0)],
            },
            Case {
                needs: &[Need::Program("vim")],
                command: "rm -f new; vim -u NONE -i NONE -N new; cat new",
                dialogue: &[("[New]", "ihello"), ("hello", "\u{1b}:wq\n")],
                exit: 0,
                shows: &[("^[", 0)],
            },
            // vim duplicates its standard error to its standard input and reads keys from there.
            Case {
                needs: &[Need::Program("vim")],
                command: "echo from a pipe | vim -u NONE -i NONE -N -; cat new",
                dialogue: &[("from a pipe", "Gohello"), ("hello", "\u{1b}:wq! new\n")],
                exit: 0,
                shows: &[("^[", 0)],
            },
            Case {
                needs: &[Need::Program("less")],
                command: "less lines; echo end",
                dialogue: &[("line 9 ", " "), ("line 30 ", "q")],
                exit: 0,
                shows: &[("line 30 ***", 1), ("line 60", 0)],
            },
            Case {
                needs: &[Need::Program("less")],
                command: "cat lines | less; echo end",
                dialogue: &[("line 9 ", " "), ("line 30 ", "q")],
                exit: 0,
                shows: &[("line 60", 0)],
            },
            Case {
                needs: &[Need::Program("more")],
                command: "cat lines | more; echo end",
                dialogue: &[("line 9 ", " "), ("line 30 ", "q")],
                exit: 0,
                shows: &[("line 60", 0)],
            },
            Case {
                needs: &[Need::Program("nano")],
                command: "rm -f new2; nano -I new2; cat new2",
                dialogue: &[
                    ("New File", "hello"),
                    ("hello", "\u{18}"),
                    ("Save modified", "y"),
                    ("Write:", "\r"),
                ],
                exit: 0,
                shows: &[],
            },
            // A change of the terminal's size reaches each process of the command.
            Case {
                needs: &[],
                command: "(sleep 0.7; stty cols 91 rows 33 </dev/tty) & sh -c 'bash -c \"\
                    trap \\\"stty size <&1; exit\\\" WINCH; echo ready; while :; do sleep 0.1; done\"; true'",
                dialogue: &[("33 91", "")],
                exit: 0,
                shows: &[("33 91", 1)],
            },
            // A masked command inside a masked command.
            Case {
                needs: &[Need::Program("dialog")],
                command: "keyrack run --env test --mask -- dialog --inputbox I 8 40",
                dialogue: &[("ancel", "hello\n")],
                exit: 0,
                shows: &[],
            },
            // The parent also has the terminal open, as Node has for its own output.
            Case {
                needs: &[Need::Program("dialog"), Need::Program("node")],
                command: "node -e '\nconsole.log(\"node\");\n\
                    const box = require(\"child_process\").spawn(\"dialog\", [\"--inputbox\", \"I\", \"8\", \"40\"], { stdio: \"inherit\" });\n\
                    box.on(\"exit\", (code) => console.log(\"code\" + code))'",
                dialogue: &[("ancel", "hello\n"), ("code0", "")],
                exit: 0,
                shows: &[],
            },
        ],
    );
}
