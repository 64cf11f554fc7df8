//! The shell that reads the output of `source`: named by the caller, or detected from the ancestors
//! of this process.

use std::str::FromStr;

use keyrack_core::suggest::did_you_mean;
use keyrack_core::{Error, ErrorCode};
use keyrack_sys::process::ancestors::Ancestor;

/// A family of shells with one syntax.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// sh, bash, dash, zsh, ksh and all others that quote as POSIX says.
    Posix,
    /// fish
    Fish,
    /// Nushell
    Nu,
    /// PowerShell
    PowerShell,
}

/// The words of `--shell`.
pub const WORDS: [(&str, Shell); 4] =
    [("posix", Shell::Posix), ("fish", Shell::Fish), ("nu", Shell::Nu), ("powershell", Shell::PowerShell)];

impl Shell {
    /// Its word.
    pub fn as_str(self) -> &'static str {
        WORDS.iter().find(|(_, shell)| *shell == self).map_or("", |(word, _)| word)
    }
}

impl FromStr for Shell {
    type Err = Error;

    /// Takes the names of POSIX shells too. Fails with [`ErrorCode::Usage`].
    fn from_str(text: &str) -> Result<Self, Error> {
        let word = WORDS.iter().find(|(word, _)| *word == text).map(|(_, shell)| *shell);
        let named = || match identify(text) {
            Program::Shell(shell) => Some(shell),
            Program::Unsupported(_) | Program::Other => None,
        };
        word.or_else(named).ok_or_else(|| {
            let words = WORDS.map(|(word, _)| word);
            let message = format!("invalid shell: must be {}", words.join(", "));
            Error { hint: did_you_mean(text, words), ..Error::new(ErrorCode::Usage, message) }
        })
    }
}

/// Kind of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Program {
    Shell(Shell),
    /// A shell whose syntax `source` does not write.
    Unsupported(&'static str),
    Other,
}

const POSIX: [&str; 20] = [
    "sh", "bash", "dash", "zsh", "ksh", "ash", "busybox", "mksh", "lksh", "oksh", "loksh", "pdksh", "yash",
    "posh", "osh", "bosh", "pbosh", "rbash", "rzsh", "toybox",
];

const UNSUPPORTED: [&str; 9] = ["csh", "tcsh", "elvish", "xonsh", "rc", "es", "ion", "ysh", "murex"];

/// The shell of a program's name, its version, a login shell's dash and what a wrapper of Nix adds
/// left aside.
fn identify(name: &str) -> Program {
    let wrapped = name.strip_prefix('.').and_then(|name| name.strip_suffix("-wrapped"));
    let name = wrapped.unwrap_or(name).trim_start_matches(['-', '.']);
    let version = name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(name.len());
    let (word, version) = name.split_at(version);
    if !version.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_')) {
        return Program::Other;
    }
    match word {
        "fish" => Program::Shell(Shell::Fish),
        "nu" => Program::Shell(Shell::Nu),
        "pwsh" | "powershell" => Program::Shell(Shell::PowerShell),
        posix if POSIX.contains(&posix) => Program::Shell(Shell::Posix),
        other => UNSUPPORTED
            .iter()
            .find(|name| **name == other)
            .map_or(Program::Other, |name| Program::Unsupported(name)),
    }
}

/// A script has its own name, and its interpreter's program.
fn program(process: &Ancestor) -> Program {
    match process.program.as_deref().map_or(Program::Other, identify) {
        Program::Other if process.program.is_none() || process.comm == "xonsh" => identify(&process.comm),
        known => known,
    }
}

/// Returns `true` if a process is, or may be, a shell with a syntax of its own. Under an emulator
/// of another processor the program is the emulator, and only the name in the kernel is the
/// shell's.
fn may_be_foreign(process: &Ancestor) -> bool {
    let is_foreign = |program| !matches!(program, Program::Other | Program::Shell(Shell::Posix));
    match program(process) {
        Program::Other => is_foreign(identify(&process.comm)),
        known => is_foreign(known),
    }
}

/// The name to show of a process.
fn shown(process: &Ancestor) -> &str {
    process.program.as_deref().unwrap_or(&process.comm)
}

/// Returns the shell that will read our output, where that is certain. `ancestors` begins with the
/// parent; `to_program`: stdout is something that only a program reads.
///
/// It is the shell that holds the other end of the pipe, as in `eval "$(…)"`, however many programs
/// are between. A program that reads the output, or an output that is not a pipe, may hand it to
/// any shell above, so all of them must agree.
///
/// # Errors
/// [`ErrorCode::Usage`], naming the processes, where they do not agree or a shell has a syntax of
/// its own.
pub fn detect(ancestors: &[Ancestor], to_program: bool) -> Result<Shell, Error> {
    let reader = ancestors.iter().find(|process| process.reads_stdout);
    let starter = ancestors.first().filter(|_| !to_program);
    let certain = match (reader, starter) {
        (Some(reader), _) => program(reader),
        // The program that started us is not a wrapper, unless it is a POSIX shell: package
        // managers run commands with `sh -c`.
        (None, Some(starter)) if program(starter) != Program::Shell(Shell::Posix) => program(starter),
        _ => Program::Other,
    };
    match certain {
        Program::Shell(shell) => return Ok(shell),
        Program::Unsupported(name) => {
            return Err(unclear(format!("`source` does not write the syntax of {name}")));
        }
        Program::Other => {}
    }
    // The search continues past session leaders: `script` and `setsid` create one within a
    // pipeline.
    let foreign = ancestors.iter().find(|process| may_be_foreign(process));
    match foreign {
        None => Ok(Shell::Posix),
        Some(foreign) => {
            let by = reader.or(ancestors.first()).filter(|by| *by != foreign).map(shown);
            let by = by.map_or_else(String::new, |by| format!(" through {by}"));
            Err(unclear(format!(
                "cannot tell which shell reads the output: {} started keyrack{by}",
                shown(foreign)
            )))
        }
    }
}

fn unclear(message: String) -> Error {
    Error::new(ErrorCode::Usage, message)
        .hint(format!("name it with --shell {}, or use --json", WORDS.map(|(word, _)| word).join("|")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name` or `script=program`, with `<` where the process reads our output.
    fn chain(text: &str) -> Vec<Ancestor> {
        let one = |word: &str| {
            let reads_stdout = word.contains('<');
            let word = word.trim_end_matches('<');
            let (comm, program) = word.split_once('=').unwrap_or((word, word));
            let program = Some(program).filter(|program| *program != "?").map(str::to_owned);
            Ancestor { comm: comm.to_owned(), program, reads_stdout }
        };
        text.split_whitespace().map(one).collect()
    }

    #[test]
    fn shell_is_detected_if_certain() {
        use Shell::{Fish, Nu, Posix, PowerShell};
        for (ancestors, expected) in [
            // eval "$(keyrack source)", or its like, at a prompt
            ("bash<", Some(Posix)),
            ("dash<", Some(Posix)),
            ("zsh<", Some(Posix)),
            ("ksh93<", Some(Posix)),
            ("sh=busybox<", Some(Posix)),
            ("zsh=zsh-5.9<", Some(Posix)),
            ("fish<", Some(Fish)),
            ("nu<", Some(Nu)),
            ("pwsh<", Some(PowerShell)),
            // in a script
            ("deploy.sh=bash< fish", Some(Posix)),
            ("deploy=fish< bash", Some(Fish)),
            ("nu=bash<", Some(Posix)),
            ("fish=?<", Some(Fish)),
            // in a subshell, whose parent reads
            ("bash bash<", Some(Posix)),
            // by way of npx, sudo, timeout
            ("sh=dash node fish<", Some(Fish)),
            ("node sh=dash node bash<", Some(Posix)),
            ("timeout fish<", Some(Fish)),
            ("sh=dash node fish< bash", Some(Fish)),
            // make and node with `sh -c 'eval "$(keyrack source)"'`
            ("sh=dash< make fish", Some(Posix)),
            ("sh=dash< node fish", Some(Posix)),
            // make's $(shell …), node's execSync, a test runner: programs that know the POSIX form
            ("sh=dash make< bash", Some(Posix)),
            ("node< bash", Some(Posix)),
            ("keyrack-test<", Some(Posix)),
            ("sh=dash node< fish", None),
            ("node< nu", None),
            ("python3< tcsh", None),
            // into a file or to a terminal
            ("bash", Some(Posix)),
            ("bash make sshd", Some(Posix)),
            ("fish", Some(Fish)),
            ("fish bash", Some(Fish)),
            ("pwsh bash", Some(PowerShell)),
            ("sh=dash node fish", None),
            ("bash fish", None),
            ("timeout fish", None),
            // by way of script and setsid, whose output a shell further up may read
            ("sh=dash script fish", None),
            ("sh=dash setsid fish", None),
            ("sh=dash node fish konsole bash", None),
            ("bash konsole plasma fish", None),
            ("bash< konsole plasma fish", Some(Posix)),
            ("setsid fish<", Some(Fish)),
            // under an emulator, and under a wrapper of Nix
            ("fish=qemu-x86_64<", None),
            ("fish=qemu-x86_64", None),
            ("bash=qemu-x86_64<", Some(Posix)),
            (".fish-wrapped<", Some(Fish)),
            (".nu-wrapped<", Some(Nu)),
            (".git-wrapped< bash", Some(Posix)),
            ("", Some(Posix)),
            ("systemd", Some(Posix)),
            // shells that are not supported
            ("tcsh<", None),
            ("csh", None),
            ("elvish<", None),
            ("xonsh=python3.11<", None),
            ("xonsh=python3.11", None),
            // names that only begin like a shell's
            ("ssh-agent", Some(Posix)),
            ("nushell-bench< bash", Some(Posix)),
            ("fish-like bash", Some(Posix)),
            ("gnome-shell", Some(Posix)),
        ] {
            let detected = detect(&chain(ancestors), false);
            assert_eq!(detected.as_ref().ok().copied(), expected, "{ancestors}: {detected:?}");
            if let Err(error) = detected {
                assert!(error.hint.unwrap().contains("--shell posix|fish|nu|powershell"), "{ancestors}");
                assert_eq!(error.code.exit(), 2);
            }
        }
        // Node gives its children sockets, and no shell reads one.
        assert_eq!(detect(&chain("node bash"), true).unwrap(), Posix);
        for ancestors in ["fish", "node fish", "sh=dash node fish"] {
            let error = detect(&chain(ancestors), true).unwrap_err();
            assert!(error.message.contains("fish started keyrack"), "{error}");
        }
    }

    #[test]
    fn detection_errors_name_the_processes() {
        for (ancestors, message) in [
            (
                "sh=dash node fish",
                "cannot tell which shell reads the output: fish started keyrack through dash",
            ),
            ("node< fish", "cannot tell which shell reads the output: fish started keyrack through node"),
            ("tcsh<", "`source` does not write the syntax of tcsh"),
        ] {
            assert_eq!(detect(&chain(ancestors), false).unwrap_err().message, message);
        }
    }

    #[test]
    fn shells_parse_from_words_and_names() {
        for (text, shell) in [
            ("posix", Some(Shell::Posix)),
            ("bash", Some(Shell::Posix)),
            ("zsh", Some(Shell::Posix)),
            ("fish", Some(Shell::Fish)),
            ("nu", Some(Shell::Nu)),
            ("pwsh", Some(Shell::PowerShell)),
            ("powershell", Some(Shell::PowerShell)),
            ("tcsh", None),
            ("cmd", None),
            ("", None),
        ] {
            assert_eq!(text.parse::<Shell>().ok(), shell, "{text}");
        }
        for (word, shell) in WORDS {
            assert_eq!((shell.as_str(), word.parse::<Shell>().unwrap()), (word, shell));
        }
    }
}
