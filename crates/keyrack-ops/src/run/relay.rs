//! One output stream of a program. Its own thread reads, masks and writes it, so a target that
//! blocks does not delay the other stream.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keyrack_mask::{Masker, Patterns};
use keyrack_sys::socket::{wait_readable, wait_readable_either, wait_writable};
use keyrack_sys::tty::pty::{OutputPty, readable_bytes};
use zeroize::Zeroizing;

/// The most that is read at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// Time within which the rest of one write arrives, such as the second half of a line break.
const TOGETHER: Duration = Duration::from_millis(2);

/// Longest wait for the rest of a key whose beginning is held back. A user at a terminal waits for
/// the echo of each keystroke.
const HOLD_AT_TERMINAL: Duration = Duration::from_millis(50);
const HOLD_IN_PIPE: Duration = Duration::from_secs(1);

/// Time without output after the program's exit, after which only a background process can have the
/// stream open.
const QUIET: Duration = Duration::from_millis(200);

/// Longest time that the output of such a process is passed on.
const MAX_BACKGROUND_WAIT: Duration = Duration::from_secs(2);

/// Result of a stream.
#[derive(Debug, Default)]
pub(super) struct RelayOutcome {
    /// Descriptor that was read, if a background process has the other end open.
    pub(super) left_open: Option<OwnedFd>,
    /// Error of a write to the target. `None` if the target has no reader any more, because the
    /// program gets that error itself.
    pub(super) lost: Option<io::Error>,
}

/// A stream that is being relayed.
pub(super) struct Relay {
    /// Weak, so that it does not keep the stream open: if the target has no reader any more, the
    /// program must get the error.
    source: Weak<File>,
    busy: Arc<AtomicBool>,
    /// Dropped once the program has exited.
    running: Option<PipeWriter>,
    thread: JoinHandle<RelayOutcome>,
}

impl Relay {
    /// Relays `source` to `target`. If the program has its own terminal for it, its modes are
    /// followed.
    ///
    /// # Errors
    /// Those of `pipe2(2)` and of starting a thread.
    pub(super) fn start(
        source: File,
        target: OwnedFd,
        patterns: &Arc<Patterns>,
        terminal: Option<Arc<OutputPty>>,
    ) -> io::Result<Self> {
        let (ended, running) = io::pipe()?;
        let busy = Arc::new(AtomicBool::new(false));
        let source = Arc::new(source);
        let mut work = RelayThread {
            source: Arc::clone(&source),
            target: File::from(target),
            masker: Masker::new(Arc::clone(patterns)),
            out: Zeroizing::new(Vec::with_capacity(patterns.longest() + 2 * CHUNK)),
            terminal,
            holds_return: false,
            hold_until: None,
            busy: Arc::clone(&busy),
            lost: None,
        };
        let thread = std::thread::Builder::new().name("relay".to_owned()).spawn(move || work.run(&ended))?;
        let source = Arc::downgrade(&source);
        Ok(Relay { source, busy, running: Some(running), thread })
    }

    /// Returns `true` if all output so far is passed on.
    pub(super) fn is_idle(&self) -> bool {
        let waiting = self.source.upgrade().map_or(0, |source| readable_bytes(source.as_fd()));
        waiting == 0 && !self.busy.load(Ordering::Acquire)
    }

    /// Notes that the program has exited. From then on the stream waits only for background
    /// processes.
    pub(super) fn program_ended(&mut self) {
        self.running = None;
    }

    /// Passes on the remaining output, once the program has exited.
    pub(super) fn end(mut self) -> RelayOutcome {
        self.program_ended();
        self.thread.join().unwrap_or_default()
    }
}

struct RelayThread {
    source: Arc<File>,
    target: File,
    masker: Masker,
    /// Masked output. It never grows beyond its first capacity: a chunk and what was held back.
    out: Zeroizing<Vec<u8>>,
    terminal: Option<Arc<OutputPty>>,
    /// The last that was read is a carriage return, which may be a newline's.
    holds_return: bool,
    /// Time at which the bytes that the masker holds back are released.
    hold_until: Option<Instant>,
    busy: Arc<AtomicBool>,
    lost: Option<io::Error>,
}

impl RelayThread {
    /// Runs until the stream ends.
    fn run(&mut self, ended: &PipeReader) -> RelayOutcome {
        let mut chunk = Zeroizing::new(vec![0; CHUNK]);
        let is_left_open = loop {
            let hold = self.hold_until.map(|until| until.saturating_duration_since(Instant::now()));
            let is_open = match wait_readable_either(self.source.as_fd(), ended.as_fd(), hold) {
                Ok((true, _)) => self.pass(&mut chunk),
                Ok((false, true)) => break self.rest(&mut chunk),
                Ok((false, false)) => self.release(),
                Err(_) => false,
            };
            if !is_open {
                break false;
            }
        };
        self.put_return();
        self.masker.finish(&mut self.out);
        if self.lost.is_none() {
            self.write();
        }
        let left_open = is_left_open.then(|| self.source.as_fd().try_clone_to_owned().ok()).flatten();
        let lost = self.lost.take().filter(|error| error.kind() != io::ErrorKind::BrokenPipe);
        RelayOutcome { left_open, lost }
    }

    /// Passes on all that the program wrote before it exited, and for a while the output of its
    /// background processes. Returns `true` if one of those still has the stream open.
    fn rest(&mut self, chunk: &mut [u8]) -> bool {
        let mut backlog = readable_bytes(self.source.as_fd());
        let until = Instant::now() + MAX_BACKGROUND_WAIT;
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

    /// Releases the bytes that are held back, if their time is over. Returns `false` if the target
    /// accepts no more.
    fn release(&mut self) -> bool {
        if self.hold_until.is_none_or(|until| until > Instant::now()) {
            return true;
        }
        self.hold_until = None;
        self.masker.release(&mut self.out);
        let is_open = self.flush();
        self.busy.store(false, Ordering::Release);
        is_open
    }

    /// Writes the masked output. Returns `false` if the target takes no more.
    fn flush(&mut self) -> bool {
        // A terminal that is gone accepts no more. The program got a signal, and its output is
        // dropped.
        let is_open = self.write() || self.terminal.is_some();
        self.out.clear();
        is_open
    }

    /// Reads once, and passes on what is not held back. Returns `false` at the end of the stream,
    /// and if the target accepts no more.
    fn pass(&mut self, chunk: &mut [u8]) -> bool {
        self.busy.store(true, Ordering::Release);
        let read = match (&*self.source).read(chunk) {
            Ok(0) => None,
            Ok(count) => Some(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
            // A terminal signals end of file with EIO.
            Err(_) => None,
        };
        let mut is_open = read.is_some();
        if let Some(count) = read {
            self.take(&chunk[..count]);
            // The output may be a secret until it is masked.
            chunk[..count].fill(0);
            is_open = self.flush();
            self.hold_until = self.hold().map(|hold| Instant::now() + hold);
        }
        self.busy.store(self.hold_until.is_some(), Ordering::Release);
        is_open
    }

    /// Longest time that bytes are held back for what follows. A prefix too short to be distinctive
    /// waits only for the rest of the same write.
    fn hold(&self) -> Option<Duration> {
        match () {
            () if self.masker.holds() == 0 => None,
            () if !self.masker.must_wait() => Some(TOGETHER),
            () if self.terminal.is_some() => Some(HOLD_AT_TERMINAL),
            () => Some(HOLD_IN_PIPE),
        }
    }

    /// Masks a chunk. Output of a terminal is first restored to what the program wrote: the
    /// carriage return that the terminal adds to each newline is removed, because it is in no
    /// secret, and the real terminal adds it again.
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

    /// Writes the masked output. The target may be one that does not block: Node makes its own so.
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
