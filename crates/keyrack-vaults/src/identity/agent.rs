//! List of an ssh-agent's keys: one request, one bounded reply, one deadline.
//!
//! The comments matter here: `ssh-add` once put the path of a key's file there, and there are users
//! who rely on that. An agent only signs, so it can never open an age file. Its keys are listed to
//! tell the user.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use keyrack_sys::socket;

/// Time limit for an agent, in total. A command that may not need the agent must not wait for a
/// hung one.
const DEADLINE: Duration = Duration::from_secs(1);
/// Longest message of OpenSSH's agent (`AGENT_MAX_LEN`, 256 KiB).
const MAX_REPLY: usize = 256 * 1024;
/// Maximum number of keys. The length of the reply bounds them too.
const MAX_KEYS: u32 = 2048;

// draft-ietf-sshm-ssh-agent, section 6.1.
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;

/// Key that an agent holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Public key, in the encoding of RFC 4253.
    pub(super) blob: Vec<u8>,
    pub(super) comment: Vec<u8>,
}

/// Lists the keys of an agent, in its order. Empty if there is no agent, or it does not answer
/// properly in time.
pub(super) fn keys(socket: &Path) -> Vec<Key> {
    list(socket, Instant::now() + DEADLINE).and_then(|reply| parse(&reply)).unwrap_or_default()
}

fn list(path: &Path, end: Instant) -> Option<Vec<u8>> {
    let left = || Some(end.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero());
    let mut stream = socket::connect(path, left()?).ok()?;
    // Five bytes fit the buffer of a fresh socket.
    stream.write_all(&[0, 0, 0, 1, REQUEST_IDENTITIES]).ok()?;
    let mut length = [0; 4];
    read_exact(&mut stream, &mut length, left)?;
    let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
    if length > MAX_REPLY {
        return None;
    }
    let mut reply = vec![0; length];
    read_exact(&mut stream, &mut reply, left)?;
    Some(reply)
}

fn read_exact(
    stream: &mut UnixStream,
    mut into: &mut [u8],
    left: impl Fn() -> Option<Duration>,
) -> Option<()> {
    while !into.is_empty() {
        if !socket::wait_readable(stream.as_fd(), left()?).ok()? {
            return None;
        }
        match stream.read(into) {
            Ok(0) => return None,
            Ok(n) => into = &mut into[n..],
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted
                ) => {}
            Err(_) => return None,
        }
    }
    Some(())
}

/// Parses `byte 12, u32 n, n × (string key, string comment)` and nothing after it. `None` for
/// anything else.
fn parse(reply: &[u8]) -> Option<Vec<Key>> {
    let (&kind, mut rest) = reply.split_first()?;
    let count = take_u32(&mut rest)?;
    if kind != IDENTITIES_ANSWER || count > MAX_KEYS {
        return None;
    }
    let mut keys = Vec::new();
    for _ in 0..count {
        let blob = take_string(&mut rest)?.to_vec();
        keys.push(Key { blob, comment: take_string(&mut rest)?.to_vec() });
    }
    rest.is_empty().then_some(keys)
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    Some(u32::from_be_bytes(*bytes))
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_u32(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use proptest::prelude::*;

    use super::*;

    fn compose(keys: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut reply = vec![IDENTITIES_ANSWER];
        reply.extend(u32::try_from(keys.len()).unwrap().to_be_bytes());
        for text in keys.iter().flat_map(|(key, comment)| [key, comment]) {
            reply.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            reply.extend(text);
        }
        reply
    }

    proptest! {
        #[test]
        fn parse_reads_what_an_agent_writes(keys: Vec<(Vec<u8>, Vec<u8>)>) {
            let expected: Vec<_> = keys
                .iter()
                .map(|(blob, comment)| Key { blob: blob.clone(), comment: comment.clone() })
                .collect();
            prop_assert_eq!(parse(&compose(&keys)), Some(expected));
        }

        #[test]
        fn parse_rejects_cut_and_lengthened_replies(keys: Vec<(Vec<u8>, Vec<u8>)>, cut: prop::sample::Index, more: u8) {
            let mut reply = compose(&keys);
            prop_assert_eq!(parse(&reply[..cut.index(reply.len())]), None);
            reply.push(more);
            prop_assert_eq!(parse(&reply), None);
        }

        #[test]
        fn parse_does_not_panic_on_any_bytes(reply: Vec<u8>) {
            let _ = parse(&reply);
        }
    }

    #[test]
    fn parse_rejects_wrong_lengths() {
        for bad in [
            &[][..],
            &[IDENTITIES_ANSWER],
            &[5, 0, 0, 0, 0],
            &[IDENTITIES_ANSWER, 0xff, 0xff, 0xff, 0xff],
            &[IDENTITIES_ANSWER, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0],
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    /// Agent for one connection. It sends `answer` and then keeps the connection open.
    fn agent(answer: Vec<u8>) -> (tempfile::TempDir, std::path::PathBuf, std::sync::mpsc::Sender<()>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agent");
        let listener = UnixListener::bind(&path).unwrap();
        let (hang_up, wait) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 5];
            stream.read_exact(&mut request).unwrap();
            assert_eq!(request, [0, 0, 0, 1, 11]);
            stream.write_all(&answer).unwrap();
            let _: Result<(), _> = wait.recv_timeout(Duration::from_secs(20));
        });
        (dir, path, hang_up)
    }

    fn framed(reply: &[u8]) -> Vec<u8> {
        [&u32::try_from(reply.len()).unwrap().to_be_bytes()[..], reply].concat()
    }

    #[test]
    fn keys_lists_the_keys_of_an_agent() {
        let reply = compose(&[(b"key".to_vec(), b"/home/u/.ssh/x".to_vec()), (vec![], b"u@host".to_vec())]);
        let (_dir, path, _open) = agent(framed(&reply));
        let key = |blob: &[u8], comment: &[u8]| Key { blob: blob.to_vec(), comment: comment.to_vec() };
        assert_eq!(keys(&path), [key(b"key", b"/home/u/.ssh/x"), key(b"", b"u@host")]);
    }

    #[test]
    fn keys_is_empty_without_a_proper_agent() {
        assert!(keys(Path::new("/nonexistent/agent")).is_empty());
        let (_dir, path, _open) = agent(vec![0xff, 0xff, 0xff, 0xff]);
        assert!(keys(&path).is_empty());
    }

    #[test]
    fn keys_waits_for_a_hung_agent_until_the_deadline() {
        let (_dir, path, _open) = agent(vec![0, 0, 0, 9, IDENTITIES_ANSWER]);
        let start = Instant::now();
        assert!(keys(&path).is_empty());
        let took = start.elapsed();
        assert!(took >= DEADLINE && took < DEADLINE * 3, "{took:?}");
    }
}
