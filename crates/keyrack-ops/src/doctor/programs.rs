//! Checks of the programs that belong together: keyrack, keyrackd, and the addon of the same
//! package.

use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyrack_core::Fix;
use keyrack_sys::hardening::protection::unprotect;

use super::check::Check;

/// Version of this release.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Longest wait for a program to print its version.
const MAX_WAIT: Duration = Duration::from_secs(2);

pub(super) fn checks(keyrackd: &Path) -> Vec<Check> {
    let mut checks = vec![beside(keyrackd)];
    checks.extend(addon(keyrackd));
    checks
}

fn beside(keyrackd: &Path) -> Check {
    let name = "programs.keyrackd";
    let shown = keyrackd.display();
    match version_output(keyrackd) {
        Ok(text) if text == format!("keyrackd {VERSION}") => {
            Check::ok(name, format!("keyrack and keyrackd have version {VERSION}"))
        }
        Ok(text) => {
            let other = text.strip_prefix("keyrackd ").filter(|version| is_version(version));
            let other = other.map_or_else(|| "an unknown version".to_owned(), |v| format!("version {v}"));
            Check::fail(name, format!("{shown} has {other}, this keyrack has version {VERSION}"))
                .hint("install both from the same package")
        }
        Err(why) => Check::fail(name, format!("cannot run {shown}: {why}"))
            .hint("install keyrackd next to keyrack, from the same package"),
    }
}

/// Runs a program with `--version` and returns its output.
fn version_output(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = unprotect(&mut command).spawn().map_err(|error| error.to_string())?;
    let until = Instant::now() + MAX_WAIT;
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
        return Err(format!("no answer within {} s", MAX_WAIT.as_secs()));
    }
    let mut text = String::new();
    if let Some(out) = child.stdout.take() {
        out.take(256).read_to_string(&mut text).map_err(|error| error.to_string())?;
    }
    Ok(text.trim().to_owned())
}

/// Checks the addon of the same platform package (`bin/keyrack`, `keyrack.node`, `package.json`).
/// `None` outside of a package.
fn addon(keyrackd: &Path) -> Option<Check> {
    let package = keyrackd.parent()?.parent()?;
    if !package.join("keyrack.node").is_file() {
        return None;
    }
    let name = "programs.addon";
    let text = std::fs::read_to_string(package.join("package.json")).unwrap_or_default();
    Some(match version_in(&text) {
        Some(version) if version == VERSION => Check::ok(name, format!("the addon has version {VERSION}")),
        Some(version) if is_version(version) => {
            Check::fail(name, format!("the addon has version {version}, this keyrack has version {VERSION}"))
                .fix(Fix::Text("npm install keyrack".to_owned()))
        }
        _ => Check::warn(name, format!("cannot read the version of the package {}", package.display())),
    })
}

/// Extracts `"version"` from a package.json. This is enough for the files that we ship.
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
    fn programs_check_compares_versions() {
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
            // Each script has its own file: a file that another test's fork executes cannot be
            // written.
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
