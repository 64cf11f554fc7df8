//! Starting, stopping, restarting and pruning the real daemon.

use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

use keyrack_client::daemon::{self, PruneOutcome};
use keyrack_core::{ErrorCode, Ttl, TtlLimit, VaultId};
use keyrack_testkit::wait_until;

use crate::harness::{Rack, keyrackd, slug, unlock};

#[test]
fn daemon_starts_once_and_stops() {
    let rack = Rack::new();
    let ctx = rack.context();
    assert!(daemon::connect(&ctx).unwrap().is_none());
    assert_eq!(daemon::stop(&ctx).unwrap(), None);
    let (mut first, started) = daemon::ensure(&ctx, &keyrackd()).unwrap();
    assert!(started);
    let (mut second, started) = daemon::ensure(&ctx, &keyrackd()).unwrap();
    assert!(!started);
    assert_eq!(first.hello().unwrap().pid, second.hello().unwrap().pid);
    let pid = i64::from(first.hello().unwrap().pid);
    assert_eq!(daemon::stop(&ctx).unwrap().unwrap().pid, Some(pid));
    assert!(daemon::connect(&ctx).unwrap().is_none());
    assert!(!rack.socket().exists());
}

#[test]
fn owners_have_separate_racks() {
    let rack = Rack::new();
    rack.unlock(&[("a.test.K", b"default")]);
    let other = rack.context().with_owner("robot".parse().unwrap());
    let (mut session, _) = daemon::ensure(&other, &keyrackd()).unwrap();
    assert_eq!(session.get(&[slug("a.test.K")]).unwrap().len(), 0);
    unlock(&mut session, "a.test.K", b"robot", VaultId::OsSecure, Ttl(60_000));
    assert_eq!(rack.session().get(&[slug("a.test.K")]).unwrap()[0].secret.expose(), b"default");
    daemon::stop(&other).unwrap().unwrap();
    assert_eq!(rack.session().get(&[slug("a.test.K")]).unwrap().len(), 1);
}

#[test]
fn concurrent_starts_make_one_daemon() {
    let rack = Rack::new();
    let pids: Vec<u32> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..12)
            .map(|_| {
                scope.spawn(|| daemon::ensure(&rack.context(), &keyrackd()).unwrap().0.hello().unwrap().pid)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(pids.iter().all(|pid| pid == &pids[0]), "{pids:?}");
}

#[test]
fn restart_carries_keys_over_for_their_remaining_ttl() {
    let rack = Rack::new();
    let ctx = rack.context();
    let mut session = rack.session();
    let before = session.hello().unwrap().pid;
    unlock(&mut session, "a.test.K", b"\0\xffbytes", VaultId::OsSecure, Ttl(60_000));
    unlock(&mut session, "a.sudo.S", b"s", VaultId::OsDaemon, Ttl::CEILING_SUDO);
    let ends = session.get(&[slug("a.test.K")]).unwrap()[0].grant.expires_at_ms.unwrap();

    let mut restarted = daemon::restart(&ctx, &keyrackd()).unwrap();
    assert_eq!(restarted.stopped.as_ref().unwrap().pid, Some(i64::from(before)));
    assert_eq!(restarted.carried, [slug("a.test.K"), slug("a.sudo.S")]);
    assert!(restarted.lost.is_empty(), "{:?}", restarted.lost);
    assert_ne!(restarted.session.hello().unwrap().pid, before);

    let granted = restarted.session.get(&[slug("a.test.K"), slug("a.sudo.S")]).unwrap();
    assert_eq!(granted[0].secret.expose(), b"\0\xffbytes");
    assert_eq!(granted[0].grant.source.vault, VaultId::OsSecure);
    assert_eq!(granted[1].grant.grade.to_string(), "encrypted,transient");
    let after = granted[0].grant.expires_at_ms.unwrap();
    let given = restarted.session.status().unwrap().keys[0].granted;
    assert_eq!((given.ttl, given.limit), (Some(Ttl(60_000)), Some(TtlLimit::MaxDuration)), "the whole of it");
    assert!(after <= ends && after > ends - 5_000, "{ends} {after}: a life is never lengthened");
}

#[test]
fn restart_without_a_program_stops_nothing() {
    let rack = Rack::new();
    rack.unlock(&[("a.test.K", b"v")]);
    let error = daemon::restart(&rack.context(), &rack.home.root().join("nowhere")).unwrap_err();
    assert_eq!(error.code, ErrorCode::DaemonStartFailed);
    assert_eq!(rack.session().get(&[slug("a.test.K")]).unwrap().len(), 1);
}

#[test]
fn restart_with_invalid_settings_keeps_the_keys() {
    let rack = Rack::new();
    rack.unlock(&[("a.test.K", b"v")]);
    let ctx = rack.context_with([("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "soon")]);
    let error = daemon::restart(&ctx, &keyrackd()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Usage);
    assert!(error.hint.unwrap().contains("holds the keys"));
    assert_eq!(rack.session().get(&[slug("a.test.K")]).unwrap().len(), 1);
}

#[test]
fn restart_requires_memory_of_the_new_daemon() {
    let rack = Rack::new();
    rack.unlock(&[("a.test.K", b"v")]);
    let memory = rack.session().hello().unwrap().memory.clone();
    if memory == "unlocked" {
        return;
    }
    let ctx = rack.context_with([("KEYRACK_MEMORY", memory.as_str())]);
    assert_eq!(daemon::restart(&ctx, &keyrackd()).unwrap().carried, [slug("a.test.K")]);
}

#[test]
fn startup_errors_of_the_daemon_are_reported() {
    let rack = Rack::new();
    let ctx = rack.context_with([("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "soon")]);
    let error = daemon::ensure(&ctx, &keyrackd()).unwrap_err();
    assert_eq!(error.code, ErrorCode::Usage);
    assert!(error.message.contains("KEYRACK_DAEMON_IDLE_TIMEOUT_MS"), "{error}");

    let error = daemon::ensure(&rack.context(), &rack.home.root().join("nowhere")).unwrap_err();
    assert_eq!(error.code, ErrorCode::DaemonStartFailed);
    assert!(error.message.contains("nowhere"), "{error}");

    let error = daemon::ensure(&rack.context(), "/bin/true".as_ref()).unwrap_err();
    assert_eq!(error.code, ErrorCode::DaemonStartFailed);
}

#[test]
fn daemon_gets_only_its_own_variables() {
    let rack = Rack::new();
    let ctx = rack.context_with([
        ("KEYRACK_DAEMON_IDLE_TIMEOUT_MS", "60000"),
        ("KEYRACK_SOMETHING_SECRET", "hunter2"),
        ("TOKEN", "hunter2"),
    ]);
    let script = rack.home.root().join("keyrackd-like");
    let seen = rack.home.root().join("seen");
    fs::write(&script, format!("#!/bin/sh\n/usr/bin/env > {}\n", seen.display())).unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    daemon::ensure(&ctx, &script).unwrap_err();
    let seen = fs::read_to_string(seen).unwrap();
    assert!(seen.contains("KEYRACK_DAEMON_IDLE_TIMEOUT_MS=60000"), "{seen}");
    assert!(!seen.contains("hunter2"), "{seen}");
    assert!(!seen.contains("HOME="), "{seen}");
}

/// Creates a socket without a listener. A child that another test forks meanwhile also has the
/// listener until its execve.
fn create_dead_socket(rack: &Rack) {
    drop(UnixListener::bind(rack.socket()).unwrap());
    wait_until("it is dead", Duration::from_secs(10), || UnixStream::connect(rack.socket()).is_err());
}

#[test]
fn dead_socket_is_removed() {
    let rack = Rack::new();
    create_dead_socket(&rack);
    assert!(daemon::connect(&rack.context()).unwrap().is_none());
    assert_eq!(daemon::stop(&rack.context()).unwrap(), None);
    assert!(!rack.socket().exists());

    create_dead_socket(&rack);
    rack.unlock(&[("a.test.K", b"v")]);
    assert_eq!(rack.session().get(&[slug("a.test.K")]).unwrap().len(), 1);
}

#[test]
fn file_in_place_of_the_socket_is_kept_and_named() {
    let rack = Rack::new();
    fs::write(rack.socket(), "precious").unwrap();
    let error = daemon::connect(&rack.context()).unwrap_err();
    assert_eq!(error.code, ErrorCode::SocketPathTaken);
    assert!(error.message.contains(rack.socket().to_str().unwrap()));
    assert_eq!(daemon::stop(&rack.context()).unwrap_err().code, ErrorCode::SocketPathTaken);
    assert_eq!(daemon::ensure(&rack.context(), &keyrackd()).unwrap_err().code, ErrorCode::SocketPathTaken);
    let pruned = daemon::prune_all(&rack.context()).unwrap();
    assert!(
        matches!(&pruned[0].outcome, PruneOutcome::Kept(error) if error.code == ErrorCode::SocketPathTaken)
    );
    assert_eq!(fs::read_to_string(rack.socket()).unwrap(), "precious");
    fs::remove_file(rack.socket()).unwrap();
}

#[test]
fn prune_stops_daemons_of_this_session() {
    let rack = Rack::new();
    let ctx = rack.context();
    assert_eq!(daemon::prune_owner(&ctx).unwrap(), []);
    assert_eq!(daemon::prune_all(&ctx).unwrap(), []);
    let mut session = rack.session();
    let pid = i64::from(session.hello().unwrap().pid);
    let robot = ctx.clone().with_owner("robot".parse().unwrap());
    daemon::ensure(&robot, &keyrackd()).unwrap();
    let pruned = daemon::prune_owner(&ctx).unwrap();
    assert_eq!(pruned.len(), 1);
    assert_eq!(pruned[0].outcome, PruneOutcome::Stopped { pid: Some(pid) });
    assert!(daemon::connect(&robot).unwrap().is_some(), "another owner's daemon stays");

    // A dead socket of another home, and one of another session.
    let address = rack.address();
    let mut dead = address.clone();
    dead.name.home_hash = "00000000".into();
    let mut foreign = address;
    foreign.name.session = "77".into();
    drop(UnixListener::bind(dead.socket()).unwrap());
    let _listening = UnixListener::bind(foreign.socket()).unwrap();
    let pruned = daemon::prune_all(&ctx).unwrap();
    let fates: Vec<_> = pruned
        .iter()
        .map(|pruned| (pruned.owner.as_str(), matches!(pruned.outcome, PruneOutcome::Stopped { .. })))
        .collect();
    assert_eq!(fates, [("default", false), ("robot", true)]);
    assert!(!dead.socket().exists());
    assert!(foreign.socket().exists());
    assert!(daemon::connect(&robot).unwrap().is_none());
}
