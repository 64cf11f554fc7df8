//! One stream of a program on its way to where ours goes, masked: read, masked and written by a thread of its own, so that one that nobody
//! reads holds up nothing but itself.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keyrack_mask::{Masker, Patterns};
use keyrack_sys::pty::{OutputTerminal, waiting};
use keyrack_sys::socket::{wait_readable, wait_readable_either, wait_writable};
use zeroize::Zeroizing;

/// The most that is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// How long the second half of a line's end may take: a terminal writes both at once.
const TOGETHER: Duration = Duration::from_millis(2);

/// How long a stream may say nothing, once the program has ended, until it is taken for one that only a process it left behind keeps open.
const QUIET: Duration = Duration::from_millis(200);

/// The longest such a process is listened to.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of a stream.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// It was given up with somebody still at its other end.
    pub(super) left_open: bool,
    /// Why its target took no more, if it did not. One that nobody reads any more is no such case: the program was told so.
    pub(super) lost: Option<io::Error>,
}

/// A stream that is being relayed.
pub(super) struct Relay {
    /// Not kept open by this: when nobody reads on, the program is to be told.
    source: Weak<File>,
    busy: Arc<AtomicBool>,
    /// Dropped when the program has ended.
    running: Option<PipeWriter>,
    thread: JoinHandle<Way>,
}

impl Relay {
    /// Relays `source` to `target`. Where the program has a terminal of its own for it, that is followed.
    ///
    /// # Errors
    /// When no thread or pipe can be had.
    pub(super) fn start(
        source: File,
        target: OwnedFd,
        patterns: &Arc<Patterns>,
        terminal: Option<Arc<OutputTerminal>>,
    ) -> io::Result<Self> {
        let (ended, running) = io::pipe()?;
        let busy = Arc::new(AtomicBool::new(false));
        let source = Arc::new(source);
        let mut work = Work {
            source: Arc::clone(&source),
            target: File::from(target),
            masker: Masker::new(Arc::clone(patterns)),
            out: Zeroizing::new(Vec::with_capacity(patterns.longest() + 2 * CHUNK)),
            terminal,
            holds_return: false,
            busy: Arc::clone(&busy),
            lost: None,
        };
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || work.run(&ended))?;
        let source = Arc::downgrade(&source);
        Ok(Relay { source, busy, running: Some(running), thread })
    }

    /// Whether everything the program has written so far is handed on.
    pub(super) fn is_idle(&self) -> bool {
        let waiting = self.source.upgrade().map_or(0, |source| waiting(source.as_fd()));
        waiting == 0 && !self.busy.load(Ordering::Acquire)
    }

    /// The program has ended: hands on what is left.
    pub(super) fn end(mut self) -> Way {
        self.running = None;
        self.thread.join().unwrap_or_default()
    }
}

struct Work {
    source: Arc<File>,
    target: File,
    masker: Masker,
    /// What is to be written. It never grows beyond the room it was made with: a chunk and what was held back.
    out: Zeroizing<Vec<u8>>,
    terminal: Option<Arc<OutputTerminal>>,
    /// The last that was read is a carriage return, which may be a newline's.
    holds_return: bool,
    busy: Arc<AtomicBool>,
    lost: Option<io::Error>,
}

impl Work {
    /// Until the stream ends.
    fn run(&mut self, ended: &PipeReader) -> Way {
        let mut chunk = Zeroizing::new(vec![0; CHUNK]);
        let left_open = loop {
            match wait_readable_either(self.source.as_fd(), ended.as_fd()) {
                Ok((true, _)) => {}
                Ok((false, true)) => break self.rest(&mut chunk),
                Ok((false, false)) => continue,
                Err(_) => break false,
            }
            if !self.pass(&mut chunk) {
                break false;
            }
        };
        self.put_return();
        self.masker.finish(&mut self.out);
        if self.lost.is_none() {
            self.write();
        }
        let lost = self.lost.take().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
        Way { left_open, lost }
    }

    /// What the program wrote before it ended, all of it, and what the processes it left behind have to say in a while.
    fn rest(&mut self, chunk: &mut [u8]) -> bool {
        let mut backlog = waiting(self.source.as_fd());
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if backlog == 0 && left.is_zero() {
                return true;
            }
            match wait_readable(self.source.as_fd(), QUIET.min(left)) {
                Ok(true) if self.pass(chunk) => backlog = backlog.saturating_sub(CHUNK),
                Ok(false) => return true,
                _ => return false,
            }
        }
    }

    /// Hands on what there is; false at the end of the stream, and when nobody takes it any more.
    fn pass(&mut self, chunk: &mut [u8]) -> bool {
        self.busy.store(true, Ordering::Release);
        let read = match (&*self.source).read(chunk) {
            Ok(0) => None,
            Ok(count) => Some(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
            // A terminal has no end of file but EIO.
            Err(_) => None,
        };
        let mut goes_on = read.is_some();
        if let Some(count) = read {
            self.take(&chunk[..count]);
            // What the program says may be a secret until it is masked.
            chunk[..count].fill(0);
            // A terminal that is gone takes nothing more; the program was told by a signal, and what it writes is dropped.
            goes_on = self.write() || self.terminal.is_some();
            self.out.clear();
        }
        self.busy.store(false, Ordering::Release);
        goes_on
    }

    /// Masks what was read. From a terminal it is first made what the program wrote: its newlines have got a carriage return each, which the
    /// real one will give them too, and which no secret has.
    fn take(&mut self, chunk: &[u8]) {
        let Some(terminal) = &self.terminal else { return self.masker.push(chunk, &mut self.out) };
        terminal.sync_modes();
        if !terminal.adds_returns() {
            self.put_return();
            return self.masker.push(chunk, &mut self.out);
        }
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            if *first != b'\n' {
                self.put_return();
            }
            self.holds_return = false;
            let until = rest.iter().position(|&b| b == b'\r').unwrap_or(rest.len());
            self.masker.push(&rest[..until], &mut self.out);
            self.holds_return = until < rest.len();
            rest = rest.get(until + 1..).unwrap_or_default();
        }
        // Its newline is there at once, or it has none.
        if self.holds_return && !wait_readable(self.source.as_fd(), TOGETHER).unwrap_or(false) {
            self.put_return();
        }
    }

    fn put_return(&mut self) {
        if std::mem::take(&mut self.holds_return) {
            self.masker.push(b"\r", &mut self.out);
        }
    }

    /// Writes everything there is to be written. Our own output may be one that does not block, as when a program of Node's has made it so.
    fn write(&mut self) -> bool {
        match self.write_all() {
            Ok(()) => true,
            Err(error) => {
                self.lost.get_or_insert(error);
                false
            }
        }
    }

    fn write_all(&mut self) -> io::Result<()> {
        let mut rest = &self.out[..];
        while !rest.is_empty() {
            match self.target.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    wait_writable(self.target.as_fd(), Duration::from_secs(60))?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
