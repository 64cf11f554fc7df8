//! The cache over listeners of this process, in a home of each test's own. No daemon answers: the
//! cache decides before anything is sent.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read as _};
use std::os::unix::net::{UnixListener, UnixStream};

use keyrack_sys::peer::PeerReader;
use keyrack_sys::user::effective_uid;
use keyrack_testkit::{Home, Need, can_run};

use super::*;
use crate::context::Environment;

/// A home with a listener where the daemon's socket belongs.
struct Stage {
    home: Home,
    listener: UnixListener,
}

impl Stage {
    fn new() -> Self {
        // A server with another name is taken for a TypeScript daemon, which is never kept.
        std::fs::write("/proc/self/comm", "keyrackd").unwrap();
        let home = Home::new();
        let address = RackAddress::of(&context(&home, &[])).unwrap();
        let listener = UnixListener::bind(address.socket()).unwrap();
        Stage { home, listener }
    }

    fn context(&self) -> Context {
        context(&self.home, &[])
    }

    fn socket(&self) -> PathBuf {
        RackAddress::of(&self.context()).unwrap().socket()
    }

    /// Returns a cache with one connection, and the listener's end of it.
    fn cache(&self) -> (SessionCache, UnixStream) {
        let mut cache = SessionCache::new();
        let ctx = self.context();
        let lease = cache.take(&ctx, effective_uid()).unwrap();
        assert!(lease.daemon.is_some(), "the listener is taken for a daemon");
        cache.put_back(&ctx, lease, None);
        assert_eq!(cache.kept.len(), 1, "the connection is kept");
        (cache, self.listener.accept().unwrap().0)
    }
}

fn context(home: &Home, more: &[(&str, &str)]) -> Context {
    let own = [("HOME", home.home()), ("XDG_RUNTIME_DIR", home.runtime())];
    let own = own.map(|(name, value)| (name.to_owned(), value.into_os_string()));
    let more = more.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value)));
    let env: Environment = own.into_iter().chain(more).collect();
    let mut ctx = Context::new(home.home(), env);
    ctx.deadline = Duration::from_secs(2);
    ctx
}

fn can_keep(test: &str) -> bool {
    let (end, _other) = UnixStream::pair().unwrap();
    let has_pidfd = PeerReader::new().read(end.as_fd()).pidfd.is_some();
    can_run(test, &[Need::That(has_pidfd, "SO_PEERPIDFD (Linux 6.5)")])
}

/// Returns `true` if the next call uses the kept connection.
fn is_reused(cache: &mut SessionCache, ctx: &Context) -> bool {
    cache.take(ctx, effective_uid()).is_ok_and(|lease| lease.facts.is_some())
}

/// Returns `true` if the other end of a connection is closed.
fn is_closed(end: &mut UnixStream) -> bool {
    end.set_nonblocking(true).unwrap();
    match end.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

fn timeout() -> Error {
    Error::new(ErrorCode::DaemonUnresponsive, "the daemon did not answer")
}

#[test]
fn connection_is_reused_while_all_facts_hold() {
    if !can_keep("connection_is_reused_while_all_facts_hold") {
        return;
    }
    let stage = Stage::new();
    let (mut cache, mut end) = stage.cache();
    let ctx = stage.context();
    for _ in 0..3 {
        let lease = cache.take(&ctx, effective_uid()).unwrap();
        assert!(lease.facts.is_some(), "the kept connection is taken");
        cache.put_back(&ctx, lease, None);
    }
    assert!(!is_closed(&mut end));
    stage.listener.set_nonblocking(true).unwrap();
    assert_eq!(stage.listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "no second connection");
}

#[test]
fn connection_is_not_kept_after_an_error() {
    if !can_keep("connection_is_not_kept_after_an_error") {
        return;
    }
    let stage = Stage::new();
    let (mut cache, mut end) = stage.cache();
    let lease = cache.take(&stage.context(), effective_uid()).unwrap();
    cache.put_back(&stage.context(), lease, Some(&Error::new(ErrorCode::Io, "cut")));
    assert!(cache.kept.is_empty() && cache.stalls.is_empty());
    assert!(is_closed(&mut end));
}

#[test]
fn key_differs_by_user_owner_home_runtime_and_requirements() {
    let home = Home::new();
    let user = effective_uid();
    let own = context(&home, &[]);
    let key = Key::of(&own, user);
    assert!(key.is_of(&own, user));
    assert!(key.is_of(&context(&home, &[("OTHER", "x")]), user), "other variables do not count");
    assert!(!key.is_of(&own, Uid::from_raw(user.as_raw() + 1)));
    assert!(!key.is_of(&own.with_owner("work".parse().unwrap()), user));
    for (name, value) in [
        ("HOME", "/elsewhere"),
        ("XDG_RUNTIME_DIR", "/elsewhere"),
        ("KEYRACK_REQUIRE_SESSION", "1"),
        ("KEYRACK_MEMORY", "locked"),
    ] {
        let other = context(&home, &[(name, value)]);
        assert!(!key.is_of(&other, user), "{name}");
        assert_ne!(key, Key::of(&other, user), "{name}: both comparisons agree");
    }
}

#[test]
fn connection_with_one_changed_fact_is_not_reused() {
    if !can_keep("connection_with_one_changed_fact_is_not_reused") {
        return;
    }
    type Change = (&'static str, fn(&mut Facts));
    let changes: [Change; 5] = [
        ("cookie", |facts| facts.cookie += 1),
        ("home", |facts| facts.home.ino += 1),
        ("socket inode", |facts| facts.socket.0.ino += 1),
        ("socket ctime", |facts| facts.socket.1.1 += 1),
        ("process", |facts| facts.process = Pid::from_raw(1)),
    ];
    for (name, change) in changes {
        let stage = Stage::new();
        let (mut cache, _end) = stage.cache();
        change(&mut cache.kept[0].facts);
        assert!(!is_reused(&mut cache, &stage.context()), "{name}");
        assert!(cache.kept.is_empty(), "{name}: the old connection is dropped");
    }
}

#[test]
fn connection_is_not_reused_after_socket_or_home_was_replaced() {
    if !can_keep("connection_is_not_reused_after_socket_or_home_was_replaced") {
        return;
    }
    let stage = Stage::new();
    let (mut cache, mut end) = stage.cache();
    std::fs::remove_file(stage.socket()).unwrap();
    let _listener = UnixListener::bind(stage.socket()).unwrap();
    assert!(!is_reused(&mut cache, &stage.context()), "another socket has the path");
    assert!(is_closed(&mut end), "the old connection is closed");

    let stage = Stage::new();
    let (cache, _end) = stage.cache();
    std::fs::rename(stage.home.home(), stage.home.root().join("old")).unwrap();
    std::fs::create_dir(stage.home.home()).unwrap();
    assert!(!cache.kept[0].is_proven(), "HOME leads to another directory");
}

#[test]
fn close_leaves_a_descriptor_that_is_another_socket_now() {
    if !can_keep("close_leaves_a_descriptor_that_is_another_socket_now") {
        return;
    }
    let stage = Stage::new();
    let (mut cache, mut end) = stage.cache();
    cache.kept[0].facts.cookie += 1;
    cache.clear();
    assert!(!is_closed(&mut end), "the descriptor is not ours to close");

    let (mut cache, mut end) = stage.cache();
    cache.clear();
    assert!(is_closed(&mut end));
}

#[test]
fn connections_of_another_user_are_closed() {
    if !can_keep("connections_of_another_user_are_closed") {
        return;
    }
    let stage = Stage::new();
    let (mut cache, mut end) = stage.cache();
    cache.close_others(effective_uid());
    assert_eq!(cache.kept.len(), 1, "ours stays");
    cache.close_others(Uid::from_raw(effective_uid().as_raw() + 1));
    assert!(cache.kept.is_empty());
    assert!(is_closed(&mut end));
}

#[test]
fn idle_connection_is_closed_when_it_is_due() {
    if !can_keep("idle_connection_is_closed_when_it_is_due") {
        return;
    }
    let stage = Stage::new();
    let (mut cache, mut end) = stage.cache();
    let idle = Duration::from_secs(30);
    cache.kept[0].used = Instant::now() - Duration::from_secs(20);
    let left = cache.close_idle(idle).unwrap();
    assert!(left <= Duration::from_secs(10) && left > Duration::from_secs(5), "{left:?}");
    cache.kept[0].used = Instant::now() - idle;
    assert_eq!(cache.close_idle(idle), None);
    assert!(is_closed(&mut end));
}

#[test]
fn full_cache_closes_the_connection_used_longest_ago() {
    if !can_keep("full_cache_closes_the_connection_used_longest_ago") {
        return;
    }
    let stage = Stage::new();
    let (mut cache, mut first) = stage.cache();
    let mut listeners = Vec::new();
    for name in ["a", "b", "c", "d"] {
        let ctx = stage.context().with_owner(name.parse().unwrap());
        listeners.push(UnixListener::bind(RackAddress::of(&ctx).unwrap().socket()).unwrap());
        let lease = cache.take(&ctx, effective_uid()).unwrap();
        cache.put_back(&ctx, lease, None);
    }
    assert_eq!(cache.kept.len(), CAPACITY);
    let owners: BTreeSet<&str> = cache.kept.iter().filter_map(|kept| kept.key.owner.name()).collect();
    assert_eq!(owners, BTreeSet::from(["a", "b", "c", "d"]));
    assert!(is_closed(&mut first));
}

/// Cache in which a call with a deadline of 2 s timed out just now.
fn stalled(stage: &Stage) -> (SessionCache, Key, RackAddress) {
    let mut cache = SessionCache::new();
    let ctx = stage.context();
    let (key, address) = (Key::of(&ctx, effective_uid()), RackAddress::of(&ctx).unwrap());
    let socket = FileId::of(&address.socket()).ok();
    let started = Instant::now() - ctx.deadline;
    cache.note_stall(key.clone(), socket, ctx.deadline, started, &timeout());
    (cache, key, address)
}

#[test]
fn calls_fail_at_once_for_5_s_after_a_timeout() {
    let stage = Stage::new();
    let (mut cache, ..) = stalled(&stage);
    let remaining = cache.stalls[0].until - Instant::now();
    assert!(remaining <= Duration::from_secs(5) && remaining > Duration::from_secs(3), "{remaining:?}");
    let error = cache.take(&stage.context(), effective_uid()).unwrap_err();
    assert_eq!(error.code, ErrorCode::DaemonUnresponsive);
    stage.listener.set_nonblocking(true).unwrap();
    assert_eq!(stage.listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "nothing connected");

    cache.stalls[0].until = Instant::now();
    assert!(cache.take(&stage.context(), effective_uid()).is_ok(), "the 5 s are over");
    assert!(cache.stalls.is_empty());
}

#[test]
fn stall_does_not_apply_to_longer_deadline_other_rack_or_new_socket() {
    let stage = Stage::new();
    let (mut cache, key, address) = stalled(&stage);
    let second = Duration::from_secs(1);
    let deadline = stage.context().deadline;
    assert!(cache.check_stall(&key, &address, deadline + second).is_ok(), "it may take longer");
    let other = Key { owner: "work".parse().unwrap(), ..key.clone() };
    assert!(cache.check_stall(&other, &address, second).is_ok(), "another rack");
    assert!(cache.check_stall(&key, &address, second).is_err());
    std::fs::rename(stage.socket(), stage.home.root().join("old")).unwrap();
    let _listener = UnixListener::bind(stage.socket()).unwrap();
    assert!(cache.check_stall(&key, &address, second).is_ok(), "another daemon serves the socket");
}

#[test]
fn short_wait_or_other_error_is_no_stall() {
    let stage = Stage::new();
    let ctx = stage.context();
    let key = Key::of(&ctx, effective_uid());
    let mut cache = SessionCache::new();
    cache.note_stall(key.clone(), None, ctx.deadline, Instant::now(), &timeout());
    let long_ago = Instant::now() - ctx.deadline;
    cache.note_stall(key.clone(), None, ctx.deadline, long_ago, &Error::new(ErrorCode::Io, "cut"));
    assert!(cache.stalls.is_empty());
    for _ in 0..2 {
        cache.note_stall(key.clone(), None, ctx.deadline, long_ago, &timeout());
        assert_eq!(cache.stalls.len(), 1, "one for each key");
    }
}
