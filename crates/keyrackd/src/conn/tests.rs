//! Connections over a socket pair, on a runtime whose clock stands still but when everybody waits.

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use keyrack_core::Clock;
use keyrack_core::peer::PeerRejection;
use keyrack_sys::memory::{Budget, MemoryMode, ModeRequest, Pool};
use tokio::runtime::{Builder, LocalOptions};
use tokio::time::sleep;

use super::*;
use crate::daemon_info::DaemonInfo;
use crate::peer_auth::LocalIdentity;
use crate::shutdown::Shutdown;

const STATUS: &str = r#"{"command":"STATUS","payload":{}}"#;

/// Runs a test as a task of a server with this much memory and room for this many connections.
fn run(budget: usize, capacity: usize, test: impl AsyncFnOnce(Rc<Server>)) {
    let runtime = Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .start_paused(true)
        .build_local(LocalOptions::default())
        .unwrap();
    let pool = Pool::new(ModeRequest::Require(MemoryMode::Unlocked), Budget::bytes(budget)).unwrap();
    let clock = Rc::new(|| Clock { boot_ns: 1, wall_ms: 1 });
    let shutdown = Rc::new(Shutdown::default());
    let server = Server::new(DaemonInfo::example(), pool, capacity, shutdown, clock).unwrap();
    runtime.block_on(test(Rc::new(server)));
}

const PLENTY: usize = 64 << 20;

/// A connection that is being served, as its caller holds it.
struct Caller(UnixStream);

impl Caller {
    fn new(server: &Rc<Server>) -> Self {
        Self::with(|ours| {
            let peer = LocalIdentity::read().authenticate(ours.as_fd()).unwrap();
            tokio::task::spawn_local(serve(Rc::clone(server), ours, peer));
        })
    }

    fn rejected(server: &Rc<Server>) -> Self {
        Self::with(|ours| {
            tokio::task::spawn_local(reject(Rc::clone(server), ours));
        })
    }

    fn with(serve: impl FnOnce(UnixStream)) -> Self {
        let (ours, theirs) = pair();
        serve(ours);
        Caller(theirs)
    }

    fn send(&self, bytes: impl AsRef<[u8]>) -> bool {
        (&self.0).write_all(bytes.as_ref()).is_ok()
    }

    /// Bytes that arrived, and `true` at the end of the stream.
    async fn got(&self) -> (String, bool) {
        // Time enough for the daemon to act, and none for a deadline to come.
        sleep(Duration::from_millis(1)).await;
        let (mut all, mut chunk) = (Vec::new(), [0; 65_536]);
        loop {
            match (&self.0).read(&mut chunk) {
                Ok(0) => return (String::from_utf8_lossy(&all).into_owned(), true),
                Ok(n) => all.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    return (String::from_utf8_lossy(&all).into_owned(), false);
                }
                Err(error) => return (format!("{} {error}", String::from_utf8_lossy(&all)), true),
            }
        }
    }
}

/// Returns an accepted connection and its caller's end.
fn pair() -> (UnixStream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    keyrack_sys::socket::note_senders(&ours).unwrap();
    ours.set_nonblocking(true).unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours, theirs)
}

fn frame(header: &str, secrets: &[u8]) -> Vec<u8> {
    let length = u32::try_from(4 + header.len() + secrets.len()).unwrap();
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(u32::try_from(header.len()).unwrap().to_be_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(secrets);
    bytes
}

const PING: &str = r#"{"id":1,"op":"ping"}"#;

#[test]
fn long_request_gives_its_pages_back_before_the_next_reply() {
    // A quarter is for requests and replies: two of the longest do not fit beside each other.
    run(8 << 20, 8, async |server| {
        let caller = Caller::new(&server);
        let len = 983_036;
        let unlock = format!(
            r#"{{"id":1,"op":"unlock","keys":[{{"slug":"acme.test.K","grade":{{"protection":"encrypted","duration":"permanent"}},"source":{{"vault":"os.secure","mech":"PERMANENT_VIA_REPLICA"}},"ttl_ms":1000,"secret":{{"offset":0,"len":{len}}}}}]}}"#
        );
        let get = frame(r#"{"id":2,"op":"get","slugs":["acme.test.K"]}"#, b"");
        // The next request is there already when the first is answered.
        let all = [frame(&unlock, &vec![b'x'; len]), get].concat();
        let (mut sent, mut said) = (0, String::new());
        for _ in 0..1000 {
            sent += (&caller.0).write(&all[sent..]).unwrap_or(0);
            said.push_str(&caller.got().await.0);
            if said.len() > len {
                break;
            }
        }
        assert!(said.contains(r#""ok":true"#), "{}", &said[..said.len().min(300)]);
        assert!(said.ends_with(&"x".repeat(len)), "{}", &said[..said.len().min(300)]);
    });
}

#[test]
fn connection_closes_without_first_byte_in_five_seconds() {
    run(PLENTY, 8, async |server| {
        let caller = Caller::new(&server);
        sleep(Duration::from_millis(4900)).await;
        assert_eq!(caller.got().await, (String::new(), false));
        sleep(Duration::from_millis(200)).await;
        assert_eq!(caller.got().await, (String::new(), true));
        assert_eq!(server.connections().borrow().len(), 0);
    });
}

#[test]
fn request_times_out_ten_seconds_after_its_first_byte() {
    run(PLENTY, 8, async |server| {
        let (legacy, native) = (Caller::new(&server), Caller::new(&server));
        for byte in 0..9 {
            assert!(legacy.send(&STATUS[byte..=byte]));
            assert!(native.send(&frame(PING, b"")[byte..=byte]));
            sleep(Duration::from_secs(1)).await;
        }
        assert_eq!(legacy.got().await, (String::new(), false));
        assert_eq!(native.got().await, (String::new(), false));
        sleep(Duration::from_secs(1)).await;
        let (told, ended) = legacy.got().await;
        assert_eq!(told, r#"{"success":false,"error":"the request did not arrive within 10 s"}"#);
        assert!(ended);
        let (told, ended) = native.got().await;
        assert!(told.contains(r#"{"id":0,"error":{"code":"timed_out","#) && ended, "{told}");
    });
}

#[test]
fn native_client_times_out_within_a_request_but_not_between() {
    run(PLENTY, 8, async |server| {
        let caller = Caller::new(&server);
        for _ in 0..3 {
            assert!(caller.send(frame(PING, b"")));
            let (pong, ended) = caller.got().await;
            assert!(pong.contains(r#"{"id":1,"ok":{}}"#) && !ended, "{pong}");
            let idle = server.usage().requests;
            sleep(Duration::from_secs(3600)).await;
            assert_eq!(server.usage().requests, idle);
        }
        assert!(caller.send(&frame(PING, b"")[..5]));
        sleep(Duration::from_millis(10_100)).await;
        let (told, ended) = caller.got().await;
        assert!(told.contains("timed_out") && ended, "{told}");
    });
}

#[test]
fn connection_closes_when_reply_is_not_taken_in_ten_seconds() {
    run(PLENTY, 8, async |server| {
        let caller = Caller::new(&server);
        let unlock = r#"{"id":1,"op":"unlock","keys":[{"slug":"a.test.K","grade":{"protection":"encrypted","duration":"ephemeral"},"source":{"vault":"v","mech":"m"},"ttl_ms":60000,"secret":{"offset":0,"len":900000}}]}"#;
        let whole = frame(unlock, &vec![b's'; 900_000]);
        for part in whole.chunks(100_000) {
            assert!(caller.send(part));
            sleep(Duration::from_millis(1)).await;
        }
        assert!(caller.got().await.0.contains(r#""ok":true"#));
        let before = server.usage().requests;
        assert!(caller.send(frame(r#"{"id":2,"op":"get","slugs":["a.test.K"]}"#, b"")));
        sleep(Duration::from_secs(9)).await;
        assert!(server.usage().requests > before, "it waits in pages");
        sleep(Duration::from_secs(2)).await;
        assert_eq!(server.connections().borrow().len(), 0, "it was let go");
        let (some, ended) = caller.got().await;
        assert!(some.len() < 900_000 && ended);
    });
}

#[test]
fn server_is_not_idle_while_a_request_or_reply_is_in_flight() {
    run(PLENTY, 8, async |server| {
        let is_idle = || server.is_idle(Duration::ZERO);
        assert!(is_idle());
        let caller = Caller::new(&server);
        caller.got().await;
        assert!(is_idle(), "it has not begun to ask");
        for bytes in [STATUS.as_bytes().to_vec(), frame(PING, b"")] {
            let caller = Caller::new(&server);
            assert!(caller.send(&bytes[..5]));
            caller.got().await;
            assert!(!is_idle());
            assert!(caller.send(&bytes[5..]));
            assert!(!caller.got().await.0.is_empty());
            assert!(is_idle(), "it is answered");
        }
        let caller = Caller::new(&server);
        let unlock = r#"{"id":1,"op":"unlock","keys":[{"slug":"a.test.K","grade":{"protection":"encrypted","duration":"ephemeral"},"source":{"vault":"v","mech":"m"},"ttl_ms":60000,"secret":{"offset":0,"len":600000}}]}"#;
        for part in frame(unlock, &vec![b's'; 600_000]).chunks(100_000) {
            assert!(caller.send(part));
            sleep(Duration::from_millis(1)).await;
        }
        assert!(caller.got().await.0.contains(r#""ok":true"#));
        assert!(caller.send(frame(r#"{"id":2,"op":"get","slugs":["a.test.K"]}"#, b"")));
        sleep(Duration::from_millis(1)).await;
        server.erase_all();
        sleep(Duration::from_millis(1)).await;
        assert!(is_idle(), "a reply that was taken away is in flight no more");

        // A stranger keeps nothing alive.
        let stranger = Caller::rejected(&server);
        assert!(stranger.send("{"));
        assert!(is_idle());
    });
}

#[test]
fn full_table_evicts_longest_idle_connection() {
    run(PLENTY, 8, async |server| {
        let silent: Vec<_> = (0..8).map(|_| Caller::new(&server)).collect();
        sleep(Duration::from_millis(1)).await;
        // One of them has begun to ask.
        assert!(silent[0].send("{"));
        sleep(Duration::from_millis(1)).await;
        // One whose request is there at once needs no place.
        let (ours, theirs) = pair();
        (&theirs).write_all(STATUS.as_bytes()).unwrap();
        let peer = LocalIdentity::read().authenticate(ours.as_fd()).unwrap();
        let mut serving = Box::pin(serve(Rc::clone(&server), ours, peer));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(serving.as_mut().poll(&mut cx).is_ready(), "it is served at once");
        assert!(Caller(theirs).got().await.0.contains(r#""success":true"#));
        assert_eq!(server.connections().borrow().len(), 8);
        // Two that wait take those of the oldest that do.
        let two = [Caller::new(&server), Caller::new(&server)];
        let ended = |caller: &Caller| {
            let stream = caller.0.try_clone().unwrap();
            async move { Caller(stream).got().await.1 }
        };
        assert!(!ended(&two[0]).await && !ended(&two[1]).await);
        assert!(!ended(&silent[0]).await, "it has a request in flight");
        assert!(ended(&silent[1]).await && ended(&silent[2]).await);
        assert!(!ended(&silent[3]).await);
    });
}

#[test]
fn request_without_memory_gets_an_error_and_memory_recovers() {
    run(Budget::LEAST, 64, async |server| {
        // Requests have 64 KiB: replies that are never read hold all of it.
        let mut greedy = Vec::new();
        loop {
            let mut page = server.buffer(READ_SIZE);
            match page.ensure_spare(1) {
                Ok(()) => greedy.push(page),
                Err(_) => break,
            }
        }
        let mut held = Vec::new();
        let (mut legacy_told, mut native_told) = (false, false);
        for _ in 0..8 {
            for first in ["{", "\0"] {
                let caller = Caller::new(&server);
                assert!(caller.send(first));
                let (told, _) = caller.got().await;
                legacy_told |= told.contains(r#"{"success":false,"error":"the memory for requests is full"#);
                native_told |= told.contains(r#"{"id":0,"error":{"code":"memory_full","#);
                held.push(caller);
            }
        }
        assert!(legacy_told && native_told);
        drop(greedy);
        drop(held);
        sleep(Duration::from_millis(1)).await;
        let caller = Caller::new(&server);
        assert!(caller.send(STATUS));
        assert!(caller.got().await.0.contains(r#""success":true"#), "and then there is room again");
    });
}

#[test]
fn slowest_partial_requests_are_evicted_for_complete_ones() {
    run(Budget::LEAST, 64, async |server| {
        let unlock = r#"{"id":1,"op":"unlock","keys":[{"slug":"a.test.K","grade":{"protection":"encrypted","duration":"ephemeral"},"source":{"vault":"v","mech":"m"},"ttl_ms":60000,"secret":{"offset":0,"len":6}}]}"#;
        let owner = Caller::new(&server);
        assert!(owner.send(frame(unlock, b"secret")));
        assert!(owner.got().await.0.contains(r#""ok":true"#));
        // More of them than there are pages for requests, of both protocols; the first of all goes
        // on to say more.
        let mut hogs = Vec::new();
        for n in 0..40 {
            let hog = Caller::new(&server);
            assert!(hog.send(if n % 2 == 0 { "{" } else { "\0" }));
            hogs.push(hog);
            sleep(Duration::from_millis(1)).await;
            hogs[0].send(" ");
        }
        let before = server.connections().borrow().len();
        let (told, ended) = hogs[0].got().await;
        let full = r#"{"success":false,"error":"the memory for requests is full (64 KiB)"}"#;
        assert!(told.starts_with(full), "its request is the oldest, however lately it said more: {told}");
        assert!(ended);
        let (told, ended) = hogs[1].got().await;
        assert!(told.contains(r#"{"id":0,"error":{"code":"memory_full","#) && ended, "{told}");
        let last = hogs.last().unwrap().got().await;
        assert_eq!(last, (String::new(), false), "the last is still waited for");
        let get = frame(r#"{"id":2,"op":"get","slugs":["a.test.K"]}"#, b"");
        // One that came before is answered, with a page for its request and one for its reply.
        assert!(owner.send(&get));
        let (told, ended) = owner.got().await;
        assert!(told.ends_with("secret") && !ended, "{told}");
        // So are new ones, whether their request is there at once or not.
        for _ in 0..8 {
            let caller = Caller::new(&server);
            assert!(caller.send(STATUS));
            let (told, ended) = caller.got().await;
            assert!(told.contains(r#""success":true"#) && ended, "{told}");
            let caller = Caller::new(&server);
            assert!(caller.send(&get[..9]));
            assert_eq!(caller.got().await, (String::new(), false));
            assert!(caller.send(&get[9..]));
            let (told, _) = caller.got().await;
            assert!(told.ends_with("secret"), "{told}");
        }
        assert!(before > 2, "no more gave way than had to");
    });
}

#[test]
fn request_that_could_never_fit_evicts_no_connection() {
    run(Budget::LEAST, 64, async |server| {
        let hog = Caller::new(&server);
        assert!(hog.send("{"));
        sleep(Duration::from_millis(1)).await;
        let mut buffer = server.buffer(8 << 20);
        assert!(server.ensure_spare(&mut buffer, 4 << 20).is_err());
        let mut short = server.buffer(4096);
        assert!(server.ensure_spare(&mut short, 4097).is_err());
        assert_eq!(hog.got().await, (String::new(), false));
    });
}

#[test]
fn rejected_peer_gets_an_error_within_a_second() {
    run(PLENTY, 8, async |server| {
        let silent = Caller::rejected(&server);
        sleep(Duration::from_millis(900)).await;
        assert!(!silent.got().await.1);
        sleep(Duration::from_millis(200)).await;
        assert_eq!(silent.got().await, (String::new(), true));

        let told = format!(r#"{{"success":false,"error":"{}"}}"#, PeerRejection::PUBLIC_MESSAGE);
        for sent in [STATUS, "{", " ", "x"] {
            let caller = Caller::rejected(&server);
            assert!(caller.send(sent));
            assert_eq!(caller.got().await, (told.clone(), true), "{sent}");
        }
        let native = Caller::rejected(&server);
        assert!(native.send([0]));
        let (text, ended) = native.got().await;
        assert!(text.contains("session_mismatch") && text.contains(PeerRejection::PUBLIC_MESSAGE) && ended);
        assert_eq!(server.connections().borrow().len(), 0, "none of them takes a place");
        assert_eq!(server.usage(), {
            let scratch_alone =
                Pool::new(ModeRequest::Require(MemoryMode::Unlocked), Budget::bytes(PLENTY)).unwrap();
            let mut page = scratch_alone.buffer(4096);
            page.ensure_spare(4096).unwrap();
            scratch_alone.usage()
        });
    });
}

#[test]
fn input_of_rejected_peer_is_discarded_for_a_second() {
    run(PLENTY, 8, async |server| {
        let caller = Caller::rejected(&server);
        let mut sent = 0;
        for _ in 0..20 {
            while caller.send([b'x'; 4096]) {
                sent += 4096;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert!(sent > 300_000, "{sent}");
        sleep(Duration::from_secs(1)).await;
        assert!(caller.got().await.0.contains("session mismatch"));
        assert!(!caller.send("x"), "and then it is closed");
    });
}
