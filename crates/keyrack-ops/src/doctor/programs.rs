//! The programs that belong together: the daemon's beside ours, and the addon of the package they came in.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyrack_core::Fix;
use keyrack_sys::hardening::protection::unprotect;

use super::check::Check;

/// This release.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How long a program may take to say its version.
const PATIENCE: Duration = Duration::from_secs(2);

pub(super) fn checks(keyrackd: &Path) -> Vec<Check> {
    let mut checks = vec![beside(keyrackd)];
    checks.extend(addon(keyrackd));
    checks
}

fn beside(keyrackd: &Path) -> Check {
    let name = "programs.keyrackd";
    let shown = keyrackd.display();
    match said(keyrackd) {
        Ok(text) if text == format!("keyrackd {VERSION}") => {
            Check::ok(name, format!("keyrack and keyrackd are both of version {VERSION}"))
        }
        Ok(text) => {
            let other = text.strip_prefix("keyrackd ").filter(|version| is_version(version));
            let other =
                other.map_or_else(|| "of no version it says".to_owned(), |v| format!("of version {v}"));
            Check::fail(name, format!("{shown} is {other}, and this keyrack of version {VERSION}"))
                .hint("install both from one package")
        }
        Err(why) => Check::fail(name, format!("{shown} cannot be run: {why}"))
            .hint("install keyrackd beside keyrack, from one package"),
    }
}

/// What the program prints when it is asked for its version.
fn said(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = unprotect(&mut command).spawn().map_err(|error| error.to_string())?;
    let until = Instant::now() + PATIENCE;
    let ended = loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < until => std::thread::sleep(Duration::from_millis(2)),
            Ok(Some(_)) => break true,
            _ => break false,
        }
    };
    if !ended {
        let _ = child.kill();
        let _ = child.wait();
        return Err(format!("it did not end within {} s", PATIENCE.as_secs()));
    }
    let mut text = String::new();
    if let Some(out) = child.stdout.take() {
        out.take(256).read_to_string(&mut text).map_err(|error| error.to_string())?;
    }
    Ok(text.trim().to_owned())
}

/// The addon in the same platform package (`bin/keyrack`, `keyrack.node`, `package.json`), if we are in one.
fn addon(keyrackd: &Path) -> Option<Check> {
    let package = keyrackd.parent()?.parent()?;
    if !package.join("keyrack.node").is_file() {
        return None;
    }
    let name = "programs.addon";
    let text = std::fs::read_to_string(package.join("package.json")).unwrap_or_default();
    Some(match version_in(&text) {
        Some(version) if version == VERSION => {
            Check::ok(name, format!("the addon beside them is of version {VERSION} too"))
        }
        Some(version) if is_version(version) => Check::fail(
            name,
            format!(
                "the package of the addon is of version {version}, and this keyrack of version {VERSION}"
            ),
        )
        .fix(Fix::Text("npm install keyrack".to_owned())),
        _ => Check::warn(name, format!("the version of the package {} cannot be told", package.display())),
    })
}

/// The value of `"version"` in a package.json. Enough for the files we ship; anything else is no version.
fn version_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\"version\"")?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    rest.split_once('"').map(|(version, _)| version)
}

fn is_version(text: &str) -> bool {
    (1..=32).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+'))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::check::CheckStatus;
    use super::*;

    #[test]
    fn what_is_beside_us() {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let keyrackd = bin.join("keyrackd");
        let states = || checks(&keyrackd).iter().map(|check| check.state).collect::<Vec<_>>();
        assert_eq!(states(), [CheckStatus::Fail], "it is missing");
        for (script, state) in [
            (format!("echo keyrackd {VERSION}"), CheckStatus::Ok),
            ("echo keyrackd 9.9.9".to_owned(), CheckStatus::Fail),
            ("printf 'keyrackd \\033[2J'".to_owned(), CheckStatus::Fail),
            ("exit 1".to_owned(), CheckStatus::Fail),
            ("sleep 60".to_owned(), CheckStatus::Fail),
        ] {
            // A file of its own each: one that is being run by a fork of another test cannot be written.
            let keyrackd = bin.join(format!("keyrackd{}", script.len()));
            fs::write(&keyrackd, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&keyrackd, fs::Permissions::from_mode(0o755)).unwrap();
            let found = checks(&keyrackd);
            assert_eq!(found[0].state, state, "{script}: {found:?}");
            assert!(!found[0].message.contains('\u{1b}'));
        }
        fs::write(dir.path().join("keyrack.node"), "").unwrap();
        for (package, state) in [
            (format!("{{\n  \"name\": \"x\",\n  \"version\": \"{VERSION}\"\n}}"), CheckStatus::Ok),
            ("{\"version\":\"9.9.9\"}".to_owned(), CheckStatus::Fail),
            ("{}".to_owned(), CheckStatus::Warn),
        ] {
            fs::write(dir.path().join("package.json"), &package).unwrap();
            assert_eq!(states(), [CheckStatus::Fail, state], "{package}");
        }
    }
}
