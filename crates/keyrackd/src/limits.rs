//! How much one caller may take, and how long. A caller that passes a limit loses its own connection and nothing else.

use std::time::Duration;

/// From accept to the first byte of the first request.
pub(crate) const FIRST_BYTE: Duration = Duration::from_secs(5);

/// From the first byte of a request to its last.
pub(crate) const REQUEST: Duration = Duration::from_secs(10);

/// From the first byte of a reply to its last being taken by the kernel.
pub(crate) const REPLY: Duration = Duration::from_secs(10);

/// A request for more keys than this takes a whole turn: the others come next.
pub(crate) const FEW: usize = 16;

/// How long a refused caller's last words are listened to, so that closing does not cut off what it was told.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

/// The most bytes that are read, unseen, of one that lingers.
pub(crate) const LINGER_BYTES: usize = 2 << 20;

/// How many strangers are answered at a time. The others are closed without a word.
pub(crate) const REJECTED_PEERS: usize = 32;

/// How long a stranger is attended to.
pub(crate) const REJECT: Duration = Duration::from_secs(1);

/// The longest legacy reply, in bytes.
pub(crate) const LEGACY_REPLY: usize = 8 << 20;

/// Pauses of the accept loop when the process is out of descriptors.
pub(crate) const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(640));

/// How often the socket and its directory are looked after.
pub(crate) const WATCH: Duration = Duration::from_secs(5);

/// How long a start tries for the lock while another process holds it.
pub(crate) const CLAIM: Duration = Duration::from_secs(5);

/// Descriptors that are not for callers: standard ones, the socket, the lock, timers, the runtime's own, and strangers.
const RESERVED: u64 = 64;

/// The least limit on open files a daemon serves with: its own seventeen, three to look through its login session, and room to look at
/// a caller meanwhile.
pub(crate) const MIN_FILES: u64 = 22;

/// How many callers may wait at a time, by the limit on open files. Each takes two descriptors, its socket and its pidfd.
pub(crate) fn connections(nofile: u64) -> usize {
    let room = nofile.saturating_sub(RESERVED) / 2;
    usize::try_from(room.clamp(4, 1024)).unwrap_or(1024)
}

#[cfg(test)]
mod tests {
    #[test]
    fn connections_by_open_files() {
        for (nofile, expected) in
            [(0, 4), (64, 4), (80, 8), (256, 96), (1024, 480), (4096, 1024), (u64::MAX, 1024)]
        {
            assert_eq!(super::connections(nofile), expected, "{nofile}");
        }
    }
}
