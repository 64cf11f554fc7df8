//! The login session: whether there is one, whether it is the user manager's, and what ends it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use keyrack_client::address::SESSION_UNSET;
use keyrack_client::{Context, RackAddress};
use keyrack_core::Fix;
use keyrack_core::peer::{AuditSession, Pid, ReadError};
use keyrack_sys::peer;
use keyrack_sys::user::{Uid, effective_uid};

use super::check::Check;

/// How many processes are looked at, to bound the walk.
const MOST_PROCESSES: usize = 100_000;

/// Our own login session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Own {
    Set(u32),
    Unset,
    Unknown,
}

pub(super) fn checks(ctx: &Context) -> Vec<Check> {
    let (own, login) = login();
    let manager = user_manager();
    let mut checks = vec![login, with_manager(own, manager), linger(own, manager)];
    checks.extend(RackAddress::of(ctx).ok().and_then(|address| elsewhere(&address)));
    checks
}

fn login() -> (Own, Check) {
    let name = "session.login";
    match peer::own_session() {
        Ok(AuditSession::Set(id)) => (Own::Set(id), Check::ok(name, format!("this is login session {id}"))),
        Ok(AuditSession::Unset) => (
            Own::Unset,
            Check::warn(
                name,
                "this process descends from no login session, so every process of yours that descends from none may read",
            )
            .hint("log in by a way that makes a login session: ssh, a display manager, `machinectl shell`"),
        ),
        Err(ReadError::NotFound) => (
            Own::Unset,
            Check::warn(
                name,
                "this kernel keeps no login sessions (it is built without audit), so every process of yours may read",
            ),
        ),
        Err(error) => {
            (Own::Unknown, Check::fail(name, format!("/proc/self/sessionid cannot be read: {error}")))
        }
    }
}

/// The login session of our user manager (`systemd --user`), if one runs. Its PAM file gives it one of its own.
fn user_manager() -> Option<u32> {
    let ours = effective_uid();
    let entries = fs::read_dir("/proc").ok()?;
    let pids = entries.take(MOST_PROCESSES).filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        (pid != 1 && fs::metadata(entry.path()).is_ok_and(|found| found.uid() == ours.as_raw()))
            .then(|| Pid::from_raw(pid))
    });
    let mut managers = pids.filter(|pid| peer::comm(*pid).is_ok_and(|name| name == "systemd"));
    managers.find_map(|pid| match peer::session(pid) {
        Ok(AuditSession::Set(id)) => Some(id),
        Ok(AuditSession::Unset) | Err(_) => None,
    })
}

fn with_manager(own: Own, manager: Option<u32>) -> Check {
    let name = "session.user_manager";
    match (manager, own) {
        (None, _) => Check::skip(name, "no user manager with a login session of its own runs"),
        (Some(id), Own::Set(own)) if id == own => Check::warn(
            name,
            format!(
                "this is the session of your user manager ({id}): what is unlocked here is seen by what it starts, such as desktop terminals, and not by your ssh or console logins; for it, to log out is to end the manager"
            ),
        )
        .hint("unlock in each kind of session you work in"),
        (Some(id), _) => Check::ok(
            name,
            format!(
                "your user manager has login session {id}: what it starts, such as desktop terminals, has a rack of its own, which is unlocked there"
            ),
        ),
    }
}

/// Whether the manager and the runtime directory stay after the last log-out (`loginctl enable-linger`).
fn linger(own: Own, manager: Option<u32>) -> Check {
    let name = "session.linger";
    if !Path::new("/run/systemd/users").exists() {
        return Check::skip(name, "there is no logind here, so nobody lingers");
    }
    let Some(user) = user_name(effective_uid()) else {
        return Check::skip(name, "your user has no name, so whether it lingers cannot be told");
    };
    if !Path::new("/var/lib/systemd/linger").join(&user).exists() {
        return Check::ok(
            name,
            "your user does not linger: the last log-out ends the user manager, and removes /run/user",
        );
    }
    match own {
        Own::Set(id) if manager != Some(id) => Check::ok(
            name,
            format!(
                "your user lingers: keys unlocked in login session {id} end with it all the same, those unlocked under your user manager by their lifetime alone"
            ),
        ),
        _ => Check::warn(
            name,
            "your user lingers: the user manager and the runtime directory outlive every log-out, so nothing but its lifetime ends a key that is unlocked here",
        )
        .fix(Fix::Text("loginctl disable-linger".to_owned()))
        .hint("or relock before you log out"),
    }
}

/// The name logind knows the user by, else that of the user database's own file.
fn user_name(uid: Uid) -> Option<PathBuf> {
    let logind = fs::read_to_string(format!("/run/systemd/users/{uid}")).unwrap_or_default();
    let named = logind.lines().find_map(|line| line.strip_prefix("NAME=").map(str::to_owned));
    let named = named.or_else(|| {
        let passwd = fs::read_to_string("/etc/passwd").ok()?;
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == uid.to_string()).then(|| name.to_owned())
        })
    })?;
    // One file name, whatever the database says.
    let fine = !named.is_empty() && !named.starts_with('.') && !named.contains('/');
    fine.then(|| PathBuf::from(named))
}

fn elsewhere(address: &RackAddress) -> Option<Check> {
    let others = address.other_sessions();
    if others.is_empty() {
        return None;
    }
    let name = "session.elsewhere";
    let (unset, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|id| id == SESSION_UNSET);
    let mut addresses = Vec::new();
    if !others.is_empty() {
        addresses.push(format!("in other login sessions ({})", others.join(", ")));
    }
    if !unset.is_empty() {
        addresses.push("outside any login session".to_owned());
    }
    let message = format!(
        "sockets of the same rack exist {}, and this session cannot reach them",
        addresses.join(" and ")
    );
    Some(Check::warn(name, message).hint("keys unlocked there are to be unlocked here too"))
}
