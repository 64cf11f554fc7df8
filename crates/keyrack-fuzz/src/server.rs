//! A hostile server: for any reply, the client's call ends with a result or an error, and keeps no
//! more than the server sent.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use keyrack_client::address::RackAddress;
use keyrack_client::session::{DaemonStatus, GrantedKey, KeyToUnlock, RelockTarget};
use keyrack_client::{Context, fuzzing};
use keyrack_core::layout::SocketName;
use keyrack_core::{
    DurationGrade, Error, Grade, GrantSource, Mechanism, Owner, Protection, Slug, Ttl, VaultId,
};

use crate::messages::{framed, messages};

/// Longest reply. It is in the socket before the client reads, so it must fit there.
const MOST: usize = 128 << 10;

/// Takes the client's request as the first byte: `g`et, `s`tatus, `r`elock, `u`nlock, `p`ing,
/// `q`uit, several in a row (`m`), and in capitals the same to a TypeScript daemon. The rest is the
/// server's reply: frames with or without their lengths.
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
    // A server that knows the secret may send it: that is not a leak.
    if bytes.len() > MOST || bytes.windows(SECRET.len()).any(|window| window == SECRET) {
        return;
    }
    let (client, mut server) = UnixStream::pair().expect("a pair of sockets");
    server.set_nonblocking(true).expect("a socket of ours");
    if server.write_all(&bytes).is_err() {
        // The socket buffer is smaller than usual.
        return;
    }
    server.shutdown(Shutdown::Write).expect("nothing has ended it before");
    let begun = Instant::now();
    let talk = if op.is_ascii_uppercase() { legacy } else { native };
    talk(*op, client, bytes.len());
    assert!(begun.elapsed() < DEADLINE, "the client does not wait for a closed server");
    drop(server);
}

/// Much longer than reading the reply takes.
const DEADLINE: Duration = Duration::from_secs(5);

static CONTEXT: LazyLock<Context> = LazyLock::new(|| {
    let mut context = Context::new("/", [("HOME", "/nonexistent")].into_iter().collect());
    context.deadline = DEADLINE;
    context
});

/// Address without a daemon.
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
        b'r' => check_error(session.relock(&RelockTarget::Slugs(slugs)).map(drop)),
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
                    outcomes.into_iter().for_each(|unlocked| check_no_secret(unlocked.outcome.map(drop)));
                }
                Err(error) => check_no_secret(Err(error)),
            }
        }
        b'p' => {
            check_error(session.ping());
            check_error(session.hello().map(drop));
        }
        b'q' => check_error(session.shutdown()),
        _ => {
            got(session.get(&slugs), said);
            listed(session.status(), said);
            got(session.get(&slugs[..1]), said);
            check_error(session.relock(&RelockTarget::All).map(drop));
        }
    }
}

fn legacy(op: u8, client: UnixStream, said: usize) {
    let daemon = fuzzing::legacy(client, address(), &CONTEXT).expect("a socket of ours");
    let mut daemon = daemon.expect("nothing is demanded of it");
    match op {
        b'G' => got(daemon.get(&slugs()), said),
        b'S' => listed(daemon.status(), said),
        _ => check_error(daemon.relock(&RelockTarget::All).map(drop)),
    }
}

/// Secret that is unlocked and must not be in any error.
const SECRET: &[u8] = b"hJ3-kd8sLq0";

fn got(granted: Result<Vec<GrantedKey>, Error>, said: usize) {
    match granted {
        Ok(granted) => {
            let bytes: usize = granted.iter().map(|granted| granted.secret.len()).sum();
            assert!(bytes <= said, "no more than the server sent");
            let shown = format!("{granted:?}");
            assert!(shown.len() <= 2048 + 64 * said, "nor a much longer error");
        }
        Err(error) => check_error(Err(error)),
    }
}

fn listed(holdings: Result<DaemonStatus, Error>, said: usize) {
    match holdings {
        Ok(holdings) => assert!(holdings.keys.len() <= said, "no more than the server sent"),
        Err(error) => check_error(Err(error)),
    }
}

/// Checks that an error holds no secret.
fn check_no_secret(outcome: Result<(), Error>) {
    if let Err(error) = &outcome {
        let shown = format!("{error:?}");
        assert!(!shown.contains(std::str::from_utf8(SECRET).expect("text")), "an error holds no secret");
    }
    check_error(outcome);
}

/// Checks that an error is one line of a bounded length.
fn check_error(outcome: Result<(), Error>) {
    let Err(error) = outcome else { return };
    let text = error.to_string();
    assert!(!text.chars().any(char::is_control), "an error holds no control characters: {text:?}");
    assert!(text.len() < 64 << 10, "an error is no longer than a header");
}
