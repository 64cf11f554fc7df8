//! Limits on what one client may take, in memory and time. A client that exceeds a limit loses its
//! own connection and nothing else.

use std::time::Duration;

/// Time from accept to the first byte of the first request.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(5);

/// Time from the first byte of a request to its last.
pub(crate) const REQUEST: Duration = Duration::from_secs(10);

/// Time from the first byte of a reply until the kernel has taken its last.
pub(crate) const REPLY: Duration = Duration::from_secs(10);

/// Maximum number of keys in a request that does not end the turn of its connection.
pub(crate) const SMALL_GET: usize = 16;

/// Time for which the input of a refused client is discarded, so that it can read the error.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// Maximum number of bytes that are discarded in that time.
pub(crate) const LINGER_BYTES: usize = 2 << 20;

/// Maximum number of rejected peers that are answered at a time. Others are closed without a reply.
pub(crate) const MAX_REJECTED_PEERS: usize = 32;

/// Time that a rejected peer has to send its first byte and read the reply.
pub(crate) const REJECTED_PEER: Duration = Duration::from_secs(1);

/// Maximum length of a legacy reply, in bytes.
pub(crate) const LEGACY_REPLY: usize = 8 << 20;

/// Shortest and longest pause of the accept loop when descriptors run out.
pub(crate) const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(640));

/// Interval between checks of the socket, its directory and the login session.
pub(crate) const WATCH: Duration = Duration::from_secs(5);

/// Time that a start waits for the lock while another process holds it.
pub(crate) const CLAIM: Duration = Duration::from_secs(5);

/// Descriptors that are not for clients: standard streams, socket, lock, timers, those of the
/// runtime, and rejected peers.
const RESERVED: u64 = 64;

/// Lowest limit on open files that a daemon starts with: its own seventeen, three to scan its login
/// session, and two to authenticate a client meanwhile.
pub(crate) const MIN_FILES: u64 = 22;

/// Returns the number of connections that may wait at a time under a limit on open files. Each has
/// two descriptors: its socket and its pidfd.
pub(crate) fn connections(nofile: u64) -> usize {
    let room = nofile.saturating_sub(RESERVED) / 2;
    usize::try_from(room.clamp(4, 1024)).unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn connections_follow_the_limit_on_open_files() {
        for (nofile, expected) in
            [(0, 4), (64, 4), (80, 8), (256, 96), (1024, 480), (4096, 1024), (u64::MAX, 1024)]
        {
            assert_eq!(super::connections(nofile), expected, "{nofile}");
        }
    }
}
