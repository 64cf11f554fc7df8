//! Checks of the login session: if there is one, if it is the user manager's, and what ends it.

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

/// Maximum number of processes that are examined.
const MAX_PROCESSES: usize = 100_000;

/// Our own login session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum LoginSession {
    Set(u32),
    Unset,
    Unknown,
}

pub(super) fn checks(ctx: &Context) -> Vec<Check> {
    let (own, login) = login();
    let manager = user_manager();
    let mut checks = vec![login, user_manager_check(own, manager), linger(own, manager)];
    checks.extend(RackAddress::of(ctx).ok().and_then(|address| elsewhere(&address)));
    checks
}

fn login() -> (LoginSession, Check) {
    let name = "session.login";
    match peer::own_session() {
        Ok(AuditSession::Set(id)) => (LoginSession::Set(id), Check::ok(name, format!("this is login session {id}"))),
        Ok(AuditSession::Unset) => (
            LoginSession::Unset,
            Check::warn(
                name,
                "this process does not belong to a login session: all your processes outside a login session can read keys",
            )
            .hint("log in through a program that creates a login session: ssh, a display manager, `machinectl shell`"),
        ),
        Err(ReadError::NotFound) => (
            LoginSession::Unset,
            Check::warn(
                name,
                "this kernel has no login sessions (it is built without audit): all your processes can read keys",
            ),
        ),
        Err(error) => {
            (LoginSession::Unknown, Check::fail(name, format!("cannot read /proc/self/sessionid: {error}")))
        }
    }
}

/// Login session of our user manager (`systemd --user`), if one runs. Its PAM configuration gives
/// it a session of its own.
fn user_manager() -> Option<u32> {
    let keyrackd_checks = effective_uid();
    let entries = fs::read_dir("/proc").ok()?;
    let pids = entries.take(MAX_PROCESSES).filter_map(|entry| {
        let entry = entry.ok()?;
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        (pid != 1 && fs::metadata(entry.path()).is_ok_and(|found| found.uid() == keyrackd_checks.as_raw()))
            .then(|| Pid::from_raw(pid))
    });
    let mut managers = pids.filter(|pid| peer::comm(*pid).is_ok_and(|name| name == "systemd"));
    managers.find_map(|pid| match peer::session(pid) {
        Ok(AuditSession::Set(id)) => Some(id),
        Ok(AuditSession::Unset) | Err(_) => None,
    })
}

fn user_manager_check(own: LoginSession, manager: Option<u32>) -> Check {
    let name = "session.user_manager";
    match (manager, own) {
        (None, _) => Check::skip(name, "no user manager with its own login session is running"),
        (Some(id), LoginSession::Set(own)) if id == own => Check::warn(
            name,
            format!(
                "this is the login session of your user manager ({id}): programs that it starts, such as desktop terminals, can read keys unlocked here, but your ssh and console logins cannot; the session lasts until the manager stops"
            ),
        )
        .hint("unlock in each login session you work in"),
        (Some(id), _) => Check::ok(
            name,
            format!(
                "your user manager has login session {id}: programs that it starts, such as desktop terminals, have their own daemon; unlock keys there too"
            ),
        ),
    }
}

/// Checks if the manager and the runtime directory outlive the last logout (`loginctl
/// enable-linger`).
fn linger(own: LoginSession, manager: Option<u32>) -> Check {
    let name = "session.linger";
    if !Path::new("/run/systemd/users").exists() {
        return Check::skip(name, "logind is not running, so lingering does not apply");
    }
    let Some(user) = user_name(effective_uid()) else {
        return Check::skip(name, "your user has no name: cannot tell if lingering is on");
    };
    if !Path::new("/var/lib/systemd/linger").join(&user).exists() {
        return Check::ok(
            name,
            "lingering is off: your last logout stops the user manager and removes your directory in /run/user",
        );
    }
    match own {
        LoginSession::Set(id) if manager != Some(id) => Check::ok(
            name,
            format!(
                "lingering is on: keys unlocked in login session {id} are still locked at logout; keys unlocked under your user manager stay until their TTL expires"
            ),
        ),
        _ => Check::warn(
            name,
            "lingering is on: the user manager and the runtime directory outlive your logout, so keys unlocked here stay until their TTL expires",
        )
        .fix(Fix::Text("loginctl disable-linger".to_owned()))
        .hint("or run `keyrack relock` before you log out"),
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
    // Must be a single file name, even if the database holds something else.
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
    let message =
        format!("daemons of this rack exist {}, but this session cannot reach them", addresses.join(" and "));
    Some(Check::warn(name, message).hint("unlock the keys in this session too"))
}
