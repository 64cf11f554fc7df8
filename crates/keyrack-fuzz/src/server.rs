//! A hostile server: whatever a daemon says, a client's call ends, with what was asked for or an error, and keeps no more than it said.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use keyrack_client::address::RackAddress;
use keyrack_client::session::{DaemonStatus, GrantedKey, KeyToUnlock, RelockScope};
use keyrack_client::{Context, fuzzing};
use keyrack_core::layout::SocketName;
use keyrack_core::{
    DurationGrade, Error, Grade, GrantSource, Mechanism, Owner, Protection, Slug, Ttl, VaultId,
};

use crate::messages::{framed, messages};

/// All of it is in the socket before the client reads, so it has to fit there.
const MOST: usize = 128 << 10;

/// The first byte says what the client asks: `g`et, `s`tatus, `r`elock, `u`nlock, `p`ing, a `q`uit, several in a row (`m`), and in capitals the same
/// of a TypeScript daemon. What follows is what the server says: frames with their lengths, or headers and secrets without.
pub fn server(data: &[u8]) {
    let Some((op, said)) = data.split_first() else { return };
    let mut bytes = Vec::new();
    if op.is_ascii_uppercase() {
        bytes.extend(said);
    } else {
        for message in messages(said) {
            bytes.extend(framed(message).as_deref().unwrap_or(message));
        }
    }
    // What a server that knows the secret says of it is no leak.
    if bytes.len() > MOST || bytes.windows(SECRET.len()).any(|window| window == SECRET) {
        return;
    }
    let (client, mut server) = UnixStream::pair().expect("a pair of sockets");
    server.set_nonblocking(true).expect("a socket of ours");
    if server.write_all(&bytes).is_err() {
        // The kernel gives less room than it commonly does.
        return;
    }
    server.shutdown(Shutdown::Write).expect("nothing has ended it before");
    let begun = Instant::now();
    let talk = if op.is_ascii_uppercase() { legacy } else { native };
    talk(*op, client, bytes.len());
    assert!(begun.elapsed() < DEADLINE, "a server that has hung up is not waited for");
    drop(server);
}

/// Far longer than reading what is there takes.
const DEADLINE: Duration = Duration::from_secs(5);

static CONTEXT: LazyLock<Context> = LazyLock::new(|| {
    let mut context = Context::new("/", [("HOME", "/nonexistent")].into_iter().collect());
    context.deadline = DEADLINE;
    context
});

/// Where nobody listens.
fn address() -> RackAddress {
    let name =
        SocketName { session: "1".to_owned(), home_hash: "83db27ef".to_owned(), owner: Owner::DEFAULT };
    RackAddress { dir: PathBuf::from("/nonexistent"), name }
}

fn slugs() -> Vec<Slug> {
    ["acme.test.API_KEY", "acme.all.B"].iter().map(|slug| Slug::parse(slug).expect("a slug")).collect()
}

fn native(op: u8, client: UnixStream, said: usize) {
    let mut session = fuzzing::session(client, address(), &CONTEXT).expect("a socket of ours");
    let slugs = slugs();
    match op {
        b'g' => got(session.get(&slugs), said),
        b's' => listed(session.status(), said),
        b'r' => told(session.relock(&RelockScope::Slugs(slugs)).map(drop)),
        b'u' => {
            let grade = Grade { protection: Protection::Encrypted, duration: DurationGrade::Permanent };
            let source = GrantSource { vault: VaultId::OsSecure, mech: Mechanism::Replica };
            let keys: Vec<KeyToUnlock<'_>> = slugs
                .iter()
                .map(|slug| KeyToUnlock {
                    slug,
                    grade,
                    source: &source,
                    ttl: Ttl::DEFAULT,
                    credential_expires_at_ms: None,
                    granted: keyrack_core::GrantedTtl::default(),
                    secret: SECRET,
                })
                .collect();
            match session.unlock(&keys) {
                Ok(outcomes) => {
                    assert_eq!(outcomes.len(), keys.len(), "an outcome for each key");
                    outcomes.into_iter().for_each(|unlocked| keeps_quiet(unlocked.outcome.map(drop)));
                }
                Err(error) => keeps_quiet(Err(error)),
            }
        }
        b'p' => {
            told(session.ping());
            told(session.hello().map(drop));
        }
        b'q' => told(session.shutdown()),
        _ => {
            got(session.get(&slugs), said);
            listed(session.status(), said);
            got(session.get(&slugs[..1]), said);
            told(session.relock(&RelockScope::All).map(drop));
        }
    }
}

fn legacy(op: u8, client: UnixStream, said: usize) {
    let daemon = fuzzing::legacy(client, address(), &CONTEXT).expect("a socket of ours");
    let mut daemon = daemon.expect("nothing is demanded of it");
    match op {
        b'G' => got(daemon.get(&slugs()), said),
        b'S' => listed(daemon.status(), said),
        _ => told(daemon.relock(&RelockScope::All).map(drop)),
    }
}

/// What is unlocked, and must be in no message.
const SECRET: &[u8] = b"hJ3-kd8sLq0";

fn got(granted: Result<Vec<GrantedKey>, Error>, said: usize) {
    match granted {
        Ok(granted) => {
            let bytes: usize = granted.iter().map(|granted| granted.secret.len()).sum();
            assert!(bytes <= said, "no more than was said");
            let shown = format!("{granted:?}");
            assert!(shown.len() <= 2048 + 64 * said, "nor much more in words");
        }
        Err(error) => told(Err(error)),
    }
}

fn listed(holdings: Result<DaemonStatus, Error>, said: usize) {
    match holdings {
        Ok(holdings) => assert!(holdings.keys.len() <= said, "no more than was said"),
        Err(error) => told(Err(error)),
    }
}

/// A problem with what was unlocked says nothing of it.
fn keeps_quiet(outcome: Result<(), Error>) {
    if let Err(error) = &outcome {
        let shown = format!("{error:?}");
        assert!(!shown.contains(std::str::from_utf8(SECRET).expect("text")), "a problem holds no secret");
    }
    told(outcome);
}

/// A problem is for people: on one line, and of a length that can be read.
fn told(outcome: Result<(), Error>) {
    let Err(error) = outcome else { return };
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control), "a problem holds no control characters: {text:?}");
    assert!(text.len() < 64 << 10, "a problem is no longer than a header");
}
