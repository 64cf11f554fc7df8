//! The inbox leaves nothing of what came behind. What it gave back to the allocator is looked at through `/proc/self/mem`
//! (`proc_pid_mem(5)`), which is also where a wipe that the compiler left out would show.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::*;

const SECRET: &[u8; 16] = b"Zq7-what-came-Xw";

/// A block of memory to be looked at after it was freed. Everything needed for that is there before: a look allocates nothing.
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

    /// Whether any of it still has the secret, in part. What is no longer mapped has nothing.
    fn holds_secret(mut self) -> bool {
        let read = self.memory.read_exact_at(&mut self.seen, self.at);
        read.is_ok() && self.seen.windows(8).any(|window| SECRET.windows(8).any(|part| part == window))
    }
}

fn until() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// An inbox into which `count` secrets came, and a connection for more of them.
fn filled(count: usize) -> (ReadBuffer, UnixStream, UnixStream) {
    let (mut peer, stream) = UnixStream::pair().unwrap();
    let mut incoming = ReadBuffer::new(1 << 20);
    peer.write_all(&SECRET.repeat(count)).unwrap();
    while incoming.unused().len() < count * SECRET.len() {
        assert!(incoming.read(&stream, count * SECRET.len(), until(), false).unwrap());
    }
    (incoming, stream, peer)
}

#[test]
fn what_is_freed_unwiped_is_seen() {
    for count in [3, 60, 500] {
        // musl unmaps a group of blocks when the last of them is freed: with its neighbors in use it stays.
        let mut blocks: Vec<Vec<u8>> = (0..32).map(|_| SECRET.repeat(count)).collect();
        let unwiped = blocks.swap_remove(16);
        let block = Block::of(&unwiped);
        drop(unwiped);
        assert!(block.holds_secret(), "{count}: else the tests below show nothing");
    }
}

#[test]
fn what_came_is_wiped_when_the_inbox_is_dropped() {
    for count in [3, 60, 500] {
        let (incoming, _stream, _peer) = filled(count);
        let block = Block::of(&incoming.bytes);
        drop(incoming);
        assert!(!block.holds_secret(), "{count}");
    }
}

#[test]
fn what_was_used_is_wiped_too() {
    let (mut incoming, _stream, _peer) = filled(60);
    let first = incoming.split_off(20 * SECRET.len());
    assert_eq!(first.unused(), SECRET.repeat(20));
    assert_eq!(incoming.unused(), SECRET.repeat(40));
    for incoming in [first, incoming] {
        let block = Block::of(&incoming.bytes);
        drop(incoming);
        assert!(!block.holds_secret());
    }
}

#[test]
fn what_came_is_wiped_when_the_inbox_grows() {
    let (mut incoming, stream, mut peer) = filled(60);
    incoming.used += 5 * SECRET.len();
    let block = Block::of(&incoming.bytes);
    peer.write_all(&SECRET.repeat(600)).unwrap();
    while incoming.unused().len() < 655 * SECRET.len() {
        assert!(incoming.read(&stream, 655 * SECRET.len(), until(), false).unwrap());
    }
    assert_ne!(u64::try_from(incoming.bytes.as_ptr().addr()).unwrap(), block.at, "it has moved");
    assert!(!block.holds_secret(), "and left nothing");
    assert_eq!(incoming.unused(), SECRET.repeat(655), "and lost nothing");
}

#[test]
fn nothing_ever_lies_behind_what_came() {
    let (incoming, _stream, _peer) = filled(60);
    assert!(
        incoming.bytes[incoming.filled..].iter().all(|byte| *byte == 0),
        "what is wiped ends at `filled`"
    );
}
