//! The buffer leaves no copy of a reply in freed memory. The tests read freed blocks through
//! `/proc/self/mem` (`proc_pid_mem(5)`), which also shows a wipe that the compiler removed.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use super::*;

const SECRET: &[u8; 16] = b"Zq7-what-came-Xw";

/// Block of memory to read after it was freed. Reading allocates nothing.
struct Block {
    memory: File,
    at: u64,
    seen: Vec<u8>,
}

impl Block {
    fn of(bytes: &[u8]) -> Self {
        let at = u64::try_from(bytes.as_ptr().addr()).unwrap();
        Block { memory: File::open("/proc/self/mem").unwrap(), at, seen: vec![0; bytes.len()] }
    }

    /// Returns `true` if the block still holds a part of the secret. Unmapped memory holds none.
    fn holds_secret(mut self) -> bool {
        let read = self.memory.read_exact_at(&mut self.seen, self.at);
        read.is_ok() && self.seen.windows(8).any(|window| SECRET.windows(8).any(|part| part == window))
    }
}

fn deadline() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A buffer that holds `count` secrets, and a connection for more of them.
fn filled(count: usize) -> (ReadBuffer, UnixStream, UnixStream) {
    let (mut peer, stream) = UnixStream::pair().unwrap();
    let mut buffer = ReadBuffer::new(1 << 20);
    peer.write_all(&SECRET.repeat(count)).unwrap();
    while buffer.unread().len() < count * SECRET.len() {
        assert!(buffer.read(&stream, count * SECRET.len(), deadline(), false).unwrap());
    }
    (buffer, stream, peer)
}

#[test]
fn freed_memory_shows_an_unwiped_secret() {
    for count in [3, 60, 500] {
        // musl unmaps a group of blocks when the last of them is freed: with its neighbors in use
        // it stays.
        let mut blocks: Vec<Vec<u8>> = (0..32).map(|_| SECRET.repeat(count)).collect();
        let unwiped = blocks.swap_remove(16);
        let block = Block::of(&unwiped);
        drop(unwiped);
        assert!(block.holds_secret(), "{count}: otherwise the tests below prove nothing");
    }
}

#[test]
fn drop_wipes_the_buffer() {
    for count in [3, 60, 500] {
        let (buffer, _stream, _peer) = filled(count);
        let block = Block::of(&buffer.bytes);
        drop(buffer);
        assert!(!block.holds_secret(), "{count}");
    }
}

#[test]
fn drop_wipes_consumed_bytes() {
    let (mut buffer, _stream, _peer) = filled(60);
    let first = buffer.split_off(20 * SECRET.len());
    assert_eq!(first.unread(), SECRET.repeat(20));
    assert_eq!(buffer.unread(), SECRET.repeat(40));
    for buffer in [first, buffer] {
        let block = Block::of(&buffer.bytes);
        drop(buffer);
        assert!(!block.holds_secret());
    }
}

#[test]
fn growth_wipes_the_old_allocation() {
    let (mut buffer, stream, mut peer) = filled(60);
    buffer.consumed += 5 * SECRET.len();
    let block = Block::of(&buffer.bytes);
    peer.write_all(&SECRET.repeat(600)).unwrap();
    while buffer.unread().len() < 655 * SECRET.len() {
        assert!(buffer.read(&stream, 655 * SECRET.len(), deadline(), false).unwrap());
    }
    assert_ne!(u64::try_from(buffer.bytes.as_ptr().addr()).unwrap(), block.at, "it has moved");
    assert!(!block.holds_secret(), "it left nothing");
    assert_eq!(buffer.unread(), SECRET.repeat(655), "it lost nothing");
}

#[test]
fn no_byte_after_filled_is_written() {
    let (buffer, _stream, _peer) = filled(60);
    assert!(buffer.bytes[buffer.filled..].iter().all(|byte| *byte == 0), "wiping ends at `filled`");
}
