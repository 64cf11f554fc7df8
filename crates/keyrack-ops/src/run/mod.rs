//! `run`: starts a program with the requested keys in its environment, and no other key.
//!
//! The values go into the program's environment, never into this process's own. The environment is
//! composed here; `keyrack-sys` then replaces this process with the program, or [`masked`]
//! supervises it.

pub mod masked;
mod relay;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt as _;

use keyrack_core::repo_manifest::RepoManifest;
use keyrack_core::{Error, ErrorCode, Reserved, reserved};
use zeroize::Zeroizing;

use keyrack_client::Environment;
use keyrack_client::get::GetOutcome;
use keyrack_client::source::Export;
use keyrack_client::source::limits::check_variable;

/// Suffix of the variable that holds the path of a key given as a file.
pub const FILE_SUFFIX: &str = "_FILE";

/// Names of the caller's variables that the program does not inherit: those of the requested keys,
/// which it gets from here or not at all, and those of every key that `keyrack.yml` declares.
/// Variables that control which code a program loads or runs are inherited: no key is ever passed
/// in one, and the program needs them.
pub fn withheld(outcome: &GetOutcome, manifest: Option<&RepoManifest>) -> BTreeSet<String> {
    let asked = outcome.keys.iter().map(|answer| answer.attempt.slug().name());
    let declared = manifest.into_iter().flat_map(RepoManifest::keys).map(|key| key.slug.name());
    let names = asked.chain(declared).filter(|name| reserved(name) != Some(Reserved::Loader));
    names.map(str::to_owned).collect()
}

/// Variables of a program: each is `NAME=value` and a NUL byte, in memory that is wiped.
pub type Variables = Vec<Zeroizing<Vec<u8>>>;

/// The caller's environment without the withheld names, and nothing of the keys yet.
pub fn inherited(environment: &Environment, withheld: &BTreeSet<String>) -> Variables {
    let given =
        environment.iter().filter(|(name, _)| name.to_str().is_none_or(|name| !withheld.contains(name)));
    given.map(|(name, value)| variable(name.as_bytes(), value.as_bytes())).collect()
}

/// Adds each key as a variable of its name.
///
/// # Errors
/// [`ErrorCode::BadKeyName`] for a value with a NUL byte, which no variable can hold;
/// [`ErrorCode::ValueTooLarge`] for one that is too large.
pub fn add_values(variables: &mut Variables, exports: &[Export]) -> Result<(), Error> {
    for export in exports {
        if export.secret.expose().contains(&0) {
            let message = format!("cannot pass {} as a variable: its value contains a NUL byte", export.slug);
            let error = Error::new(ErrorCode::BadKeyName, message).of(&export.slug);
            return Err(error.hint("pass it as a file with --files"));
        }
        check_variable(export)?;
        replace(variables, export.name.as_bytes(), export.secret.expose());
    }
    Ok(())
}

/// Adds the path of each descriptor as the variable `<NAME>_FILE`.
pub fn add_files<'n>(variables: &mut Variables, files: impl IntoIterator<Item = (&'n str, RawFd)>) {
    for (name, number) in files {
        let path = format!("/dev/fd/{number}");
        replace(variables, format!("{name}{FILE_SUFFIX}").as_bytes(), path.as_bytes());
    }
}

/// Sets a variable, and removes any other of that name.
fn replace(variables: &mut Variables, name: &[u8], value: &[u8]) {
    variables.retain(|entry| entry.strip_prefix(name).is_none_or(|rest| rest.first() != Some(&b'=')));
    variables.push(variable(name, value));
}

/// One variable, in an allocation of its exact size.
fn variable(name: &[u8], value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut entry = Zeroizing::new(Vec::with_capacity(name.len() + value.len() + 2));
    for part in [name, b"=", value, b"\0"] {
        entry.extend_from_slice(part);
    }
    entry
}

/// Exit code of a shell that cannot run a command (POSIX.1-2024, 2.8.2), with the error: 127 if it
/// is not found, 126 if it cannot be executed. The error names only the program, because its
/// arguments may be secrets.
pub fn start_error(program: &OsStr, error: &std::io::Error) -> (u8, Error) {
    let name = program.to_string_lossy();
    // An assignment before the command, which only a shell understands.
    let name = if name.contains('=') { "(a name with \"=\")".into() } else { name };
    let (exit, message) = match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory if name.contains('/') => {
            (127, format!("program not found: {name}"))
        }
        std::io::ErrorKind::NotFound => (127, format!("program not found on PATH: {name}")),
        _ => (126, format!("cannot execute {name}: {error}")),
    };
    let start_error = Error::new(ErrorCode::CommandFailed, message);
    let too_long = error.kind() == std::io::ErrorKind::ArgumentListTooLong;
    (exit, if too_long { start_error.hint("pass large keys as files with --files") } else { start_error })
}

#[cfg(test)]
mod tests {
    use keyrack_core::Slug;

    use super::*;
    use keyrack_client::Secret;

    fn shown(variables: &Variables) -> Vec<String> {
        let text = |entry: &Zeroizing<Vec<u8>>| String::from_utf8_lossy(entry).into_owned();
        variables.iter().map(text).collect()
    }

    fn export(name: &str, value: &[u8]) -> Export {
        let slug = Slug::parse(&format!("acme.test.{name}")).unwrap();
        Export { name: name.to_owned(), slug, ambient: false, secret: Secret::copy_of(value) }
    }

    #[test]
    fn inherited_environment_omits_withheld_keys() {
        let env: Environment =
            [("PATH", "/bin"), ("TOKEN", "old"), ("TOKEN_2", "x"), ("OTHER", "o"), ("EMPTY", "")]
                .into_iter()
                .collect();
        let withheld = ["TOKEN", "OTHER"].map(str::to_owned).into();
        let mut variables = inherited(&env, &withheld);
        assert_eq!(shown(&variables), ["EMPTY=\0", "PATH=/bin\0", "TOKEN_2=x\0"]);
        add_values(&mut variables, &[export("TOKEN", b"new=\xff"), export("PATH", b"p")]).unwrap();
        assert_eq!(shown(&variables), ["EMPTY=\0", "TOKEN_2=x\0", "TOKEN=new=\u{fffd}\0", "PATH=p\0"]);
        add_files(&mut variables, [("OTHER", 100)]);
        assert_eq!(variables.last().unwrap().as_slice(), b"OTHER_FILE=/dev/fd/100\0");
        assert!(variables.iter().all(|entry| entry.capacity() == entry.len()));
    }

    #[test]
    fn add_values_rejects_nul_bytes() {
        let error = add_values(&mut Vec::new(), &[export("K", b"a\0b")]).unwrap_err();
        assert_eq!(error.exit(), 2);
        assert!(error.message.contains("acme.test.K") && error.hint.unwrap().contains("--files"));
    }

    #[test]
    fn start_error_has_the_exit_code_of_a_shell() {
        use std::io::{Error, ErrorKind};
        for (program, kind, exit, says) in [
            ("x", ErrorKind::NotFound, 127, "program not found on PATH: x"),
            ("./x", ErrorKind::NotFound, 127, "program not found: ./x"),
            ("./x/y", ErrorKind::NotADirectory, 127, "program not found: ./x/y"),
            ("TOKEN=hunter2", ErrorKind::NotFound, 127, "program not found on PATH: (a name with \"=\")"),
            ("x", ErrorKind::PermissionDenied, 126, "cannot execute x: permission denied"),
            ("x", ErrorKind::ArgumentListTooLong, 126, "cannot execute x: argument list too long"),
        ] {
            let (code, error) = start_error(program.as_ref(), &Error::from(kind));
            assert_eq!((code, error.message.as_str()), (exit, says));
        }
    }
}
