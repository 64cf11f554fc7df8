//! Runs a program with masked output: the program is a child process, each of its two streams
//! passes through a [`Masker`](keyrack_mask::Masker), and keyrack stops and exits as the child
//! does.
//!
//! The child is in our process group and has our terminal, so it receives the terminal's signals
//! itself: Ctrl-C is for the child, and when the child is stopped, so are we. Signals from other
//! processes are forwarded to it. It is killed if we are.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use keyrack_mask::Patterns;
use keyrack_sys::hardening::not_dumpable;
use keyrack_sys::process::exec::PreparedCommand;
use keyrack_sys::process::supervise::{
    BlockedSignals, ChildState, ReceivedSignal, SIGCHLD, SIGCONT, SIGWINCH, SupervisedChild,
    signal_process_group,
};
use keyrack_sys::tty::pty::{OutputPty, is_same_file, large_pipe};

use super::relay::Relay;

/// Interval at which the child is checked without a signal.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Longest wait for the last output of a stopped child before we stop too.
const MAX_OUTPUT_WAIT: Duration = Duration::from_millis(200);

/// Time without output after which all of it has arrived: a pseudo-terminal passes it on with a
/// delay.
const IDLE_TIME: Duration = Duration::from_millis(20);

/// Interval at which the terminal's input is checked for the program's own terminal.
const INPUT_INTERVAL: Duration = Duration::from_millis(50);

/// Target of one of our own streams.
#[derive(Debug)]
pub struct StreamTarget {
    /// A descriptor of it.
    pub fd: OwnedFd,
    /// `true` if it is a terminal. The program then gets a terminal too.
    pub terminal: bool,
}

/// Exit status of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramExit {
    /// With this exit code.
    Exited(i32),
    /// By the signal of this number.
    Killed(i32),
}

/// Result of a masked program.
#[derive(Debug)]
pub struct MaskedOutcome {
    /// Exit status of the program.
    pub ended: ProgramExit,
    /// Streams that a background process still has open. They must be read until that process exits
    /// ([`keyrack_sys::process::drain`]): if they were closed, its next write would fail.
    pub left_open: Vec<OwnedFd>,
    /// Error of output that could not be written, such as a full disk.
    pub lost: Option<io::Error>,
}

/// Runs a program with its standard output and error masked; a stream that is not given stays
/// closed. The process must have one thread, and do nothing else meanwhile. From here on it is not
/// dumpable.
///
/// # Errors
/// Those of `execve(2)`, and those of creating pipes, terminals and threads.
pub fn run(
    program: PreparedCommand,
    patterns: &Arc<Patterns>,
    stdout: Option<StreamTarget>,
    stderr: Option<StreamTarget>,
) -> io::Result<MaskedOutcome> {
    not_dumpable()?;
    let signals = BlockedSignals::hold()?;
    let run = start(program, patterns, stdout, stderr, &signals);
    match run {
        Ok(mut running) => {
            let ended = running.wait(&signals)?;
            // There is no process left to pass a signal on to: it is ours.
            signals.release();
            // All of them before the first is waited for.
            running.relays.iter_mut().for_each(Relay::program_ended);
            let mut done = MaskedOutcome { ended, left_open: Vec::new(), lost: None };
            for stream in running.relays.into_iter().map(Relay::end) {
                done.left_open.extend(stream.left_open);
                done.lost = done.lost.or(stream.lost);
            }
            running.terminals.iter().for_each(|terminal| terminal.restore());
            Ok(done)
        }
        Err(error) => {
            signals.release();
            Err(error)
        }
    }
}

struct Running {
    child: SupervisedChild,
    relays: Vec<Relay>,
    terminals: Vec<Arc<OutputPty>>,
}

/// A stream between the program and its target.
struct Stream {
    /// Our end, to be read.
    source: File,
    /// The program's end.
    end: OwnedFd,
    target: OwnedFd,
    terminal: Option<Arc<OutputPty>>,
}

impl Stream {
    fn to(target: StreamTarget) -> io::Result<Self> {
        if !target.terminal {
            let (source, end) = large_pipe()?;
            return Ok(Stream { source, end, target: target.fd, terminal: None });
        }
        let (terminal, end) = OutputPty::for_terminal(target.fd.as_fd())?;
        let source = File::from(terminal.output().try_clone_to_owned()?);
        Ok(Stream { source, end, target: target.fd, terminal: Some(Arc::new(terminal)) })
    }
}

fn start(
    program: PreparedCommand,
    patterns: &Arc<Patterns>,
    stdout: Option<StreamTarget>,
    stderr: Option<StreamTarget>,
    signals: &BlockedSignals,
) -> io::Result<Running> {
    // Two streams with the same target are merged, to keep the order of the output.
    let shared = match (&stdout, &stderr) {
        (Some(out), Some(err)) => is_same_file(out.fd.as_fd(), err.fd.as_fd()),
        _ => false,
    };
    let out = stdout.map(Stream::to).transpose()?;
    let err = if shared { None } else { stderr.map(Stream::to).transpose()? };
    let out_end = out.as_ref().map(|stream| stream.end.as_fd());
    let err_end = if shared { out_end } else { err.as_ref().map(|stream| stream.end.as_fd()) };
    let child = SupervisedChild::start(&program, out_end, err_end, signals)?;
    // With it the values of the keys.
    drop(program);
    let mut running = Running { child, relays: Vec::new(), terminals: Vec::new() };
    for Stream { source, end, target, terminal } in out.into_iter().chain(err) {
        drop(end);
        running.terminals.extend(terminal.clone());
        running.relays.push(Relay::start(source, target, patterns, terminal)?);
    }
    for terminal in &running.terminals {
        let terminal = Arc::downgrade(terminal);
        // Runs as long as the terminal exists. No thread waits for it.
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
            while let Some(terminal) = terminal.upgrade() {
                terminal.pass_keys(INPUT_INTERVAL);
            }
        })?;
    }
    Ok(running)
}

impl Running {
    /// Waits until the child exits.
    fn wait(&mut self, signals: &BlockedSignals) -> io::Result<ProgramExit> {
        let mut stopped = false;
        loop {
            let received = signals.next(CHECK_INTERVAL)?;
            while let Some(state) = self.child.wait()? {
                match state {
                    ChildState::Exited(code) => return Ok(ProgramExit::Exited(code)),
                    ChildState::Killed(signal) => return Ok(ProgramExit::Killed(signal)),
                    ChildState::Continued => stopped = false,
                    ChildState::Stopped(signal) => {
                        stopped = true;
                        self.stop_like(signals, signal);
                    }
                }
            }
            match received {
                Some(ReceivedSignal { number: SIGCONT, .. }) if std::mem::take(&mut stopped) => {
                    self.child.send(SIGCONT);
                }
                Some(received) => self.forward(received),
                None => {}
            }
        }
    }

    /// Stops this process after the child was stopped and its output was passed on.
    fn stop_like(&self, signals: &BlockedSignals, signal: i32) {
        let start = Instant::now();
        let mut idle_since = start;
        while start.elapsed() < MAX_OUTPUT_WAIT && idle_since.elapsed() < IDLE_TIME {
            std::thread::sleep(Duration::from_millis(1));
            if !self.relays.iter().all(Relay::is_idle) {
                idle_since = Instant::now();
            }
        }
        self.terminals.iter().for_each(|terminal| terminal.sync_modes());
        signals.stop_as(signal);
        self.terminals.iter().for_each(|terminal| terminal.resize());
    }

    fn forward(&self, received: ReceivedSignal) {
        match received.number {
            SIGCHLD | SIGCONT => {}
            SIGWINCH if self.terminals.is_empty() && received.sender.is_some() => self.child.send(SIGWINCH),
            SIGWINCH if self.terminals.is_empty() => {}
            // Our own, of below.
            SIGWINCH if received.sender.is_some_and(|pid| pid == keyrack_sys::process::pid::current()) => {}
            // The kernel has sent it to the whole group, before the program's own terminal had the
            // new size.
            SIGWINCH => {
                self.terminals.iter().for_each(|terminal| terminal.resize());
                signal_process_group(SIGWINCH);
            }
            // The terminal sends its signals to both processes, and a signal that the child sends
            // to its group has already reached the child.
            number if received.sender.is_some_and(|pid| pid != self.child.pid()) => self.child.send(number),
            _ => {}
        }
    }
}
