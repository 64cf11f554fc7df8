//! Keys into an environment: as `export` lines for a shell, or as assignments for a process that sets its own variables. Nothing is set
//! here.

use keyrack_core::{ErrorCode, Problem, Slug};
use keyrack_wire::{Sink, WipedBuffer};
use zeroize::Zeroizing;

use crate::get::{Answer, Outcome};
use crate::render::json::JsonWriter;
use crate::secret::Secret;

/// Whether keys that are not granted stop everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All of them or nothing, but for those that may be absent.
    #[default]
    Strict,
    /// Those there are.
    Lenient,
}

/// A variable and its value.
#[derive(Debug)]
pub struct Export {
    /// The variable: everything behind the slug's second dot.
    pub name: String,
    /// The key's true slug.
    pub slug: Slug,
    /// Whether the value is that of the environment rather than of the daemon.
    pub ambient: bool,
    /// Its value.
    pub secret: Secret,
}

/// What is there to be exported, and what is not.
#[derive(Debug)]
pub struct Sourced {
    /// One for each variable, in the order asked. Of several keys of one name the first granted one.
    pub exports: Vec<Export>,
    /// The keys that are not granted, those that may be absent among them.
    pub missing: Vec<Answer>,
}

/// What strict mode stops at.
#[derive(Debug)]
pub struct Refused {
    /// The keys that are needed and not granted.
    pub missing: Vec<Answer>,
}

/// Sorts what came of a read by what can be exported.
///
/// # Errors
/// In strict mode the keys that are not granted and may not be absent; every granted one is wiped then.
pub fn sort(outcome: Outcome, mode: Mode) -> Result<Sourced, Refused> {
    if mode == Mode::Strict && !outcome.all_fine() {
        let missing = outcome.answers.into_iter().filter(|answer| !answer.is_fine()).collect();
        return Err(Refused { missing });
    }
    let mut sourced = Sourced { exports: Vec::new(), missing: Vec::new() };
    for mut answer in outcome.answers {
        match (answer.secret.take(), &answer.attempt) {
            (Some(secret), keyrack_core::Attempt::Granted { grant, .. }) => {
                let name = grant.slug.name();
                if sourced.exports.iter().any(|export| export.name == name) {
                    continue;
                }
                sourced.exports.push(Export {
                    name: name.to_owned(),
                    slug: grant.slug.clone(),
                    ambient: grant.source.vault == keyrack_core::VaultId::OsEnvvar,
                    secret,
                });
            }
            _ => sourced.missing.push(answer),
        }
    }
    Ok(sourced)
}

/// The same as a JSON object: the value of each variable by its name, as any name can be one there.
///
/// # Errors
/// [`ErrorCode::Usage`] when a value is no text, which JSON cannot carry.
pub fn json(exports: &[Export]) -> Result<Zeroizing<Vec<u8>>, Problem> {
    let mut json = JsonWriter::new();
    let mut result = Ok(());
    json.object(|json| {
        for export in exports {
            json.name(&export.name);
            if json.secret(export.secret.expose()).is_err() {
                json.plain("null");
                let message = format!("the value of {} is no text, which JSON cannot carry", export.slug);
                result = Err(Problem::new(ErrorCode::Usage, message)
                    .of(&export.slug)
                    .hint("get it with `get --value`"));
            }
        }
    });
    result.map(|()| json.into_bytes())
}

/// The lines a shell evaluates: `export NAME='value'`, one for each variable.
#[derive(Debug)]
pub struct Lines {
    /// The lines, each with a line break at its end.
    pub text: Script,
    /// The keys no shell variable can hold, and why.
    pub unfit: Vec<Problem>,
}

/// Shell text that holds secrets.
pub struct Script(Zeroizing<Vec<u8>>);

impl Script {
    /// The bytes, to be written out and not kept.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Script({} bytes)", self.0.len())
    }
}

/// Writes the exports for a shell. A key whose name is no shell name, or whose value holds a NUL byte, is left out and said.
pub fn lines(exports: &[Export]) -> Lines {
    let mut out = WipedBuffer::new(usize::MAX);
    let mut unfit = Vec::new();
    for export in exports {
        if let Some(why) = why_unfit(export) {
            let message = format!("{} cannot be exported: {why}", export.slug);
            let problem = Problem::new(ErrorCode::BadKeyName, message).of(&export.slug);
            unfit.push(problem.hint("read it with `get --value`, and put it into a variable of your own"));
            continue;
        }
        put(&mut out, b"export ");
        put(&mut out, export.name.as_bytes());
        put(&mut out, b"=");
        quote(&mut out, export.secret.expose());
        put(&mut out, b"\n");
    }
    Lines { text: Script(out.into_inner()), unfit }
}

fn why_unfit(export: &Export) -> Option<&'static str> {
    if !is_shell_name(&export.name) {
        return Some("its name is no name a shell variable can have");
    }
    export.secret.expose().contains(&0).then_some("its value holds a NUL byte, which no variable can")
}

/// A name as POSIX has it: letters, digits and underscores, no digit first (POSIX.1-2024, 3.216 Name).
pub fn is_shell_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Quotes a value for any POSIX shell: in single quotes (POSIX.1-2024, 2.2.2), line breaks and tabs as they are. Other control characters
/// would steer the terminal the lines may be shown on, so the shell's own `printf` makes them. Never `$'…'`: a shell that does not know it,
/// such as dash, takes the quote in `\'` for the end and runs what comes behind it.
fn quote(out: &mut WipedBuffer, value: &[u8]) {
    let is_control = |b: &u8| (*b < 0x20 && !matches!(b, b'\n' | b'\t')) || *b == 0x7f;
    if value.is_empty() {
        put(out, b"''");
    }
    for run in value.chunk_by(|a, b| is_control(a) == is_control(b)) {
        if run.first().is_some_and(is_control) {
            put(out, br#""$(printf '"#);
            for b in run {
                put(out, &[b'\\', b'0' + (b >> 6), b'0' + (b >> 3 & 7), b'0' + (b & 7)]);
            }
            put(out, br#"')""#);
            continue;
        }
        put(out, b"'");
        for (index, part) in run.split(|b| *b == b'\'').enumerate() {
            if index > 0 {
                put(out, br"'\''");
            }
            put(out, part);
        }
        put(out, b"'");
    }
}

fn put(out: &mut WipedBuffer, bytes: &[u8]) {
    out.put(bytes).expect("the buffer has no limit but memory");
}

/// What a process that sources into itself has to do.
#[derive(Debug)]
pub struct Assignments {
    /// The variables to set, with their values.
    pub set: Vec<(String, Secret)>,
    /// The names in `set`, and those that hold the right value already and were sourced before.
    pub sourced: Vec<String>,
    /// The variables that are left as somebody else set them.
    pub kept: Vec<String>,
    /// Those of `kept` for which the daemon holds another value.
    pub differing: Vec<String>,
    /// The names of keys that are not granted.
    pub missing: Vec<String>,
}

/// Compares what was sourced with the process's variables. `current` gives a variable's value, `ours` says whether it was set by an
/// earlier sourcing. A variable that is set, not empty and not ours stays unless `override_others`.
pub fn assign(
    sourced: Sourced,
    mut current: impl FnMut(&str) -> Option<Secret>,
    ours: impl Fn(&str) -> bool,
    override_others: bool,
) -> Assignments {
    let mut plan = Assignments {
        set: Vec::new(),
        sourced: Vec::new(),
        kept: Vec::new(),
        differing: Vec::new(),
        missing: Vec::new(),
    };
    for answer in &sourced.missing {
        // A name may be missing in one env and there in another: it is one variable.
        let name = answer.attempt.slug().name();
        if !sourced.exports.iter().any(|export| export.name == name)
            && !plan.missing.iter().any(|it| it == name)
        {
            plan.missing.push(name.to_owned());
        }
    }
    for Export { name, ambient, secret, .. } in sourced.exports {
        let value = current(&name).filter(|value| !value.is_empty());
        let same = value.as_ref().is_some_and(|value| value.expose() == secret.expose());
        let is_ours = ours(&name);
        match value {
            Some(_) if same && is_ours => plan.sourced.push(name),
            Some(_) if same || ambient => plan.kept.push(name),
            Some(_) if !is_ours && !override_others => {
                plan.differing.push(name.clone());
                plan.kept.push(name);
            }
            _ => {
                plan.sourced.push(name.clone());
                plan.set.push((name, secret));
            }
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use keyrack_core::{Attempt, Grade, Grant, Mechanism, Source, VaultId};

    use super::*;

    fn granted(slug: &str, value: &[u8], vault: VaultId) -> Answer {
        let source = Source { vault, mech: Mechanism::Replica };
        let grant = Grant {
            slug: Slug::parse(slug).unwrap(),
            grade: Grade::of(&source.vault, &source.mech),
            source,
            expires_at_ms: None,
        };
        Answer {
            attempt: Attempt::Granted { grant, below_declared: false },
            secret: Some(Secret::copy_of(value)),
            note: None,
            waived: false,
        }
    }

    fn missing(slug: &str, waived: bool) -> Answer {
        let slug = Slug::parse(slug).unwrap();
        let attempt = Attempt::Absent { slug, message: String::new(), fix: None };
        Answer { attempt, secret: None, note: None, waived }
    }

    fn outcome(answers: Vec<Answer>) -> Outcome {
        Outcome {
            answers,
            single: false,
            legacy_daemon: false,
            daemon_problem: None,
            manifest_faults: Vec::new(),
        }
    }

    #[test]
    fn strict_is_all_or_nothing_but_for_waived_ones() {
        let secure = VaultId::OsSecure;
        let with =
            |waived| outcome(vec![granted("a.test.K", b"v", secure.clone()), missing("a.test.L", waived)]);
        let refused = sort(with(false), Mode::Strict).unwrap_err();
        assert_eq!(refused.missing.len(), 1);
        for (waived, mode) in [(true, Mode::Strict), (false, Mode::Lenient), (true, Mode::Lenient)] {
            let sourced = sort(with(waived), mode).unwrap();
            assert_eq!((sourced.exports.len(), sourced.missing.len()), (1, 1));
            assert_eq!(sourced.exports[0].name, "K");
        }
    }

    #[test]
    fn the_first_of_one_name_counts() {
        let answers =
            vec![granted("a.all.K", b"1", VaultId::OsSecure), granted("a.test.K", b"2", VaultId::OsSecure)];
        let sourced = sort(outcome(answers), Mode::Strict).unwrap();
        assert_eq!(sourced.exports.len(), 1);
        assert_eq!(sourced.exports[0].slug.as_str(), "a.all.K");
    }

    fn line(name: &str, value: &[u8]) -> Lines {
        let slug = Slug::parse(&format!("a.test.{name}")).unwrap();
        lines(&[Export { name: name.to_owned(), slug, ambient: false, secret: Secret::copy_of(value) }])
    }

    #[test]
    fn quoting() {
        for (value, quoted) in [
            (&b"plain"[..], &b"'plain'"[..]),
            (b"", b"''"),
            (b"it's", br"'it'\''s'"),
            (b"$(rm -rf ~) `x` \\n \"", br#"'$(rm -rf ~) `x` \n "'"#),
            (b"a\nb", b"'a\nb'"),
            (b"\n'; x #", b"'\n'\\''; x #'"),
            (b"a\r\t\\'\x01\x7f2", br#"'a'"$(printf '\015')"'	\'\'''"$(printf '\001\177')"'2'"#),
            (b"\x1b[2J", br#""$(printf '\033')"'[2J'"#),
            ("grüße".as_bytes(), "'grüße'".as_bytes()),
            (b"\xff", b"'\xff'"),
        ] {
            let lines = line("K", value);
            let expected = [b"export K=", quoted, b"\n"].concat();
            assert_eq!(lines.text.expose(), expected, "{}", String::from_utf8_lossy(&expected));
        }
    }

    /// Also shells that do not know `$'…'`; and what looks like a command in a value is none.
    #[test]
    fn every_shell_reads_back_every_byte() {
        let every: Vec<u8> = (1..=255).chain(*b"0'\\x41\\041").collect();
        let hostile = b"line\n'; echo ran; #\n\x1b';echo ran;'\n";
        for shell in ["sh", "bash", "dash"] {
            let name = format!("every_shell_reads_back_every_byte({shell})");
            if !keyrack_testkit::can_run(&name, &[keyrack_testkit::Need::Program(shell)]) {
                continue;
            }
            for value in [&every[..], hostile] {
                let lines = line("K", value);
                let script = [lines.text.expose(), b"printf '%s.' \"$K\""].concat();
                let file = tempfile::NamedTempFile::new().unwrap();
                std::fs::write(file.path(), script).unwrap();
                let output = Command::new(shell).arg(file.path()).env("LC_ALL", "C").output().unwrap();
                let expected = [value, b"."].concat();
                assert_eq!(output.stdout, expected, "{shell}: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
    }

    #[test]
    fn what_no_variable_can_hold_is_said() {
        for (name, value) in [("a.b", &b"v"[..]), ("A-1", b"v"), ("K", b"a\0b")] {
            let lines = line(name, value);
            assert_eq!(lines.text.expose(), b"");
            assert_eq!(lines.unfit.len(), 1);
            assert!(!format!("{lines:?}").contains("a\\0b"));
        }
        for bad in ["", "1A", "a b", "a=b", "é", "a;b"] {
            assert!(!is_shell_name(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_variable_is_missing_where_no_env_has_it() {
        let answers = vec![
            missing("a.prod.K", false),
            granted("a.test.K", b"v", VaultId::OsSecure),
            missing("a.prod.L", false),
            missing("a.test.L", false),
        ];
        let plan = assign(sort(outcome(answers), Mode::Lenient).unwrap(), |_| None, |_| false, false);
        assert_eq!((plan.sourced, plan.missing), (vec!["K".to_owned()], vec!["L".to_owned()]));
    }

    #[test]
    fn assigning() {
        for (current, ours, over, vault, expected) in [
            (None, false, false, VaultId::OsSecure, "set"),
            (Some(""), false, false, VaultId::OsSecure, "set"),
            (Some("other"), false, false, VaultId::OsSecure, "differing"),
            (Some("other"), false, true, VaultId::OsSecure, "set"),
            (Some("other"), true, false, VaultId::OsSecure, "set"),
            (Some("v"), true, false, VaultId::OsSecure, "sourced"),
            (Some("v"), false, false, VaultId::OsSecure, "kept"),
            (Some("v"), false, false, VaultId::OsEnvvar, "kept"),
        ] {
            let sourced = sort(outcome(vec![granted("a.test.K", b"v", vault)]), Mode::Strict).unwrap();
            let plan = assign(sourced, |_| current.map(|v| Secret::copy_of(v.as_bytes())), |_| ours, over);
            let found = match (plan.set.len(), plan.sourced.len(), plan.kept.len(), plan.differing.len()) {
                (1, 1, 0, 0) => "set",
                (0, 1, 0, 0) => "sourced",
                (0, 0, 1, 0) => "kept",
                (0, 0, 1, 1) => "differing",
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{current:?} {ours} {over}");
        }
    }
}
