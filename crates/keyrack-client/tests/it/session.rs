//! Requests and replies with the real daemon.

use keyrack_client::session::{KeyToUnlock, RelockTarget};
use keyrack_client::{daemon, daemon::Daemon};
use keyrack_core::{Env, ErrorCode, Grade, GrantSource, Mechanism, Ttl, VaultId};
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::process::signal::Signal;

use crate::harness::{Rack, slug, unlock};

#[test]
fn unlocked_key_is_returned() {
    let rack = Rack::new();
    let mut session = rack.session();
    unlock(&mut session, "acme.test.K", b"hunter2", VaultId::OsSecure, Ttl(60_000));
    let granted = session.get(&[slug("acme.test.K"), slug("acme.test.NONE")]).unwrap();
    assert_eq!(granted.len(), 1);
    let key = &granted[0];
    assert_eq!(key.secret.expose(), b"hunter2");
    assert_eq!(key.grant.slug.as_str(), "acme.test.K");
    assert_eq!(key.grant.source, GrantSource { vault: VaultId::OsSecure, mech: Mechanism::Replica });
    assert_eq!(key.grant.grade.to_string(), "encrypted,permanent");
    let left = key.remaining.unwrap().as_ms();
    assert!((50_000..=60_000).contains(&left), "{left}");
    let now = keyrack_sys::clock::wall_ms();
    let ends = key.grant.expires_at_ms.unwrap();
    assert!((now + 50_000..=now + 61_000).contains(&ends), "{ends}");
}

#[test]
fn any_bytes_are_returned() {
    let rack = Rack::new();
    let mut session = rack.session();
    let all: Vec<u8> = (0..=255).collect();
    let large = vec![0xA5; 300_000];
    for (name, secret) in [("a.test.ALL", &all), ("a.test.LARGE", &large)] {
        unlock(&mut session, name, secret, VaultId::OsSecure, Ttl(60_000));
        let granted = session.get(&[slug(name)]).unwrap();
        assert_eq!(granted[0].secret.expose(), secret.as_slice());
    }
}

#[test]
fn keys_beyond_one_frame_are_split() {
    let rack = Rack::new();
    let mut session = rack.session();
    let source = GrantSource { vault: VaultId::OsSecure, mech: Mechanism::Replica };
    let slugs: Vec<_> = (0..40).map(|i| slug(&format!("acme.test.KEY_{i:03}"))).collect();
    let secrets: Vec<Vec<u8>> = (0..40_u8).map(|i| vec![i; 100_000]).collect();
    let keys: Vec<KeyToUnlock<'_>> = slugs
        .iter()
        .zip(&secrets)
        .map(|(slug, secret)| KeyToUnlock {
            slug,
            grade: Grade::of(&source.vault, &source.mech),
            source: &source,
            ttl: Ttl(60_000),
            credential_expires_at_ms: None,
            granted: keyrack_core::GrantedTtl::default(),
            secret,
        })
        .collect();
    let unlocked = session.unlock(&keys).unwrap();
    assert_eq!(unlocked.len(), 40);
    for (unlocked, slug) in unlocked.iter().zip(&slugs) {
        assert_eq!(&unlocked.slug, slug);
        unlocked.outcome.as_ref().unwrap();
    }
    let granted = session.get(&slugs).unwrap();
    assert_eq!(granted.len(), 40);
    for ((granted, slug), secret) in granted.iter().zip(&slugs).zip(&secrets) {
        assert_eq!(&granted.grant.slug, slug);
        assert!(granted.secret.expose() == secret.as_slice(), "the bytes of {slug}");
    }
}

#[test]
fn many_keys_are_listed_and_relocked() {
    let rack = Rack::new();
    let mut session = rack.session();
    let source = GrantSource { vault: VaultId::OsDirect, mech: Mechanism::Replica };
    let slugs: Vec<_> =
        (0..1500).map(|i| slug(&format!("acme.prep.A_RATHER_LONG_KEY_NAME_{i:05}"))).collect();
    let keys: Vec<KeyToUnlock<'_>> = slugs
        .iter()
        .map(|slug| KeyToUnlock {
            slug,
            grade: Grade::of(&source.vault, &source.mech),
            source: &source,
            ttl: Ttl(60_000),
            credential_expires_at_ms: None,
            granted: keyrack_core::GrantedTtl::default(),
            secret: b"v",
        })
        .collect();
    assert!(session.unlock(&keys).unwrap().iter().all(|unlocked| unlocked.outcome.is_ok()));
    assert_eq!(session.get(&slugs).unwrap().len(), 1500);

    let daemon_status = session.status().unwrap();
    let listed: Vec<_> = daemon_status.keys.iter().map(|key| key.slug.clone()).collect();
    assert_eq!(listed, slugs, "in the order they were kept");
    assert_eq!(daemon_status.home_hash, rack.address().name.home_hash);
    assert_eq!(daemon_status.health.unwrap().bytes, 1500);

    let some = session.relock(&RelockTarget::Slugs(slugs[..200].to_vec())).unwrap();
    assert_eq!(some.slugs.len(), 200);
    assert_eq!(session.relock(&RelockTarget::Env(Env::Test)).unwrap().slugs, []);
    let rest = session.relock(&RelockTarget::Env(Env::Prep)).unwrap();
    assert_eq!(rest.slugs.len() as u64 + rest.unnamed, 1300);
    assert_eq!(session.status().unwrap().keys, []);
}

#[test]
fn each_key_of_an_unlock_has_its_own_outcome() {
    let rack = Rack::new();
    let mut session = rack.session();
    let source = GrantSource { vault: VaultId::OsSecure, mech: Mechanism::Replica };
    let grade = Grade::of(&source.vault, &source.mech);
    let (good, long, big) = (slug("a.test.GOOD"), slug("a.test.LONG"), slug("a.test.BIG"));
    let large = vec![0; 2 << 20];
    let key = |slug, ttl, secret| KeyToUnlock {
        slug,
        grade,
        source: &source,
        ttl,
        credential_expires_at_ms: None,
        granted: keyrack_core::GrantedTtl::default(),
        secret,
    };
    let keys = [
        key(&long, Ttl(Ttl::CEILING.as_ms() + 1), &b"v"[..]),
        key(&big, Ttl(60_000), &large),
        key(&good, Ttl(60_000), b"v"),
    ];
    let outcomes = session.unlock(&keys).unwrap();
    let codes: Vec<_> = outcomes
        .iter()
        .map(|unlocked| unlocked.outcome.as_ref().map_err(|error| error.code.clone()))
        .collect();
    assert_eq!(codes[0].unwrap_err_ref(), &ErrorCode::DurationAboveCeiling);
    assert_eq!(codes[1].unwrap_err_ref(), &ErrorCode::SecretTooLarge);
    assert!(codes[2].is_ok());
    assert_eq!(session.get(&[good, long, big]).unwrap().len(), 1);
}

trait UnwrapErrRef<E> {
    fn unwrap_err_ref(&self) -> &E;
}

impl<T, E> UnwrapErrRef<E> for Result<T, E> {
    #[track_caller]
    fn unwrap_err_ref(&self) -> &E {
        self.as_ref().err().expect("an error")
    }
}

#[test]
fn weaker_key_does_not_replace_a_stronger_one() {
    let rack = Rack::new();
    let mut session = rack.session();
    unlock(&mut session, "a.test.K", b"strong", VaultId::OsSecure, Ttl(60_000));
    let source = GrantSource { vault: VaultId::OsDirect, mech: Mechanism::Replica };
    let name = slug("a.test.K");
    let weak = KeyToUnlock {
        slug: &name,
        grade: Grade::of(&source.vault, &source.mech),
        source: &source,
        ttl: Ttl(60_000),
        credential_expires_at_ms: None,
        granted: keyrack_core::GrantedTtl::default(),
        secret: b"weak",
    };
    let outcome = session.unlock(&[weak]).unwrap().remove(0).outcome;
    assert_eq!(outcome.unwrap_err().code, ErrorCode::GradeDegraded);
    assert_eq!(session.get(&[name]).unwrap()[0].secret.expose(), b"strong");
}

#[test]
fn session_survives_a_replaced_daemon() {
    let rack = Rack::new();
    let mut session = rack.session();
    session.ping().unwrap();
    daemon::stop(&rack.context()).unwrap().unwrap();
    let error = session.ping().unwrap_err();
    assert_eq!(error.code, ErrorCode::DaemonAbsent);
    rack.unlock(&[("a.test.K", b"v")]);
    assert_eq!(session.get(&[slug("a.test.K")]).unwrap().len(), 1);
}

#[test]
fn closed_connection_is_opened_again() {
    let rack = Rack::new();
    rack.unlock(&[("a.test.K", b"v")]);
    let mut session = rack.session();
    let first = session.hello().unwrap().pid;
    // A new daemon at the same socket: the open connection of the session is dead.
    daemon::restart(&rack.context(), &crate::harness::keyrackd()).unwrap();
    assert_eq!(session.get(&[slug("a.test.K")]).unwrap().len(), 1);
    assert_ne!(session.hello().unwrap().pid, first);
}

#[test]
fn suspended_daemon_costs_one_deadline() {
    let rack = Rack::new();
    rack.unlock(&[("a.test.K", b"v")]);
    let mut ctx = rack.context();
    ctx.deadline = std::time::Duration::from_millis(300);
    let Some(Daemon::Native(mut session)) = daemon::connect(&ctx).unwrap() else { panic!("it runs") };
    let pid = rack.session().hello().unwrap().pid.try_into().unwrap();
    let pidfd = Pidfd::open(pid).unwrap();
    pidfd.signal(Signal::Stop).unwrap();
    let started = std::time::Instant::now();
    let error = session.get(&[slug("a.test.K")]).unwrap_err();
    let took = started.elapsed();
    pidfd.signal(Signal::Cont).unwrap();
    assert_eq!(error.code, ErrorCode::DaemonUnresponsive);
    assert!((300..1500).contains(&took.as_millis()), "{took:?}");
    assert_eq!(session.get(&[slug("a.test.K")]).unwrap().len(), 1);
}

#[test]
fn requirements_are_checked_before_a_secret_is_sent() {
    let rack = Rack::new();
    let mut session = rack.session();
    let hello = session.hello().unwrap().clone();
    if hello.memory != "secret" {
        let ctx = rack.context_with([("KEYRACK_MEMORY", "secret")]);
        let Some(mut daemon) = daemon::connect(&ctx).unwrap() else { panic!("it runs") };
        assert_eq!(daemon.get(&[slug("a.test.K")]).unwrap_err().code, ErrorCode::BoundaryWeak);
    }
    let ctx = rack.context_with([("KEYRACK_REQUIRE_SESSION", "1")]);
    let Some(mut daemon) = daemon::connect(&ctx).unwrap() else { panic!("it runs") };
    let served = daemon.get(&[slug("a.test.K")]);
    assert_eq!(served.is_ok(), hello.boundary == keyrack_core::peer::Boundary::Session);
}
