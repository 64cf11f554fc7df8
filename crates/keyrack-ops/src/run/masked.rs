//! A program whose output is masked: it runs as a child that is waited for, its two streams pass through a [`Masker`](keyrack_mask::Masker)
//! each, and whatever befalls it befalls us.
//!
//! It is in our process group and has our terminal, so what the terminal sends reaches it without us: Ctrl-C is for it to act on, and when it
//! is stopped we stop as it did. What another process sends to us is handed on to it. It is killed when we are.

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

/// How often the child is looked after although no signal came.
const LOOK: Duration = Duration::from_secs(1);

/// How long a stopped child's last words are waited for before we stop too.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// How long nothing may have come for all to be there: a pseudo-terminal hands on what is written to it a little later.
const SETTLED: Duration = Duration::from_millis(20);

/// How often it is looked whether keys are for the program's own terminal.
const KEYS: Duration = Duration::from_millis(50);

/// Where one of our own streams goes.
#[derive(Debug)]
pub struct Target {
    /// A descriptor of it.
    pub fd: OwnedFd,
    /// `true` if it is a terminal. The program then gets a terminal too.
    pub terminal: bool,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Exited(i32),
    /// By the signal of this number.
    Killed(i32),
}

/// Result of a masked program.
#[derive(Debug)]
pub struct Done {
    /// How the program ended.
    pub ended: Ended,
    /// Its streams that a background process still has open. They must be read until that process
    /// ends ([`keyrack_sys::process::drain`]): if they were closed, its next write would fail.
    pub left_open: Vec<OwnedFd>,
    /// Why a part of its output could not be written, if so: a full disk, say.
    pub lost: Option<io::Error>,
}

/// Runs a program with its standard output and error masked; one that is not given stays closed. The process must have one thread, and do
/// nothing else meanwhile. From here on it is not dumpable.
///
/// # Errors
/// Those of `execve(2)` when the program cannot be executed; those of the pipes, terminals and threads it takes.
pub fn run(
    program: PreparedCommand,
    patterns: &Arc<Patterns>,
    stdout: Option<Target>,
    stderr: Option<Target>,
) -> io::Result<Done> {
    not_dumpable()?;
    let signals = BlockedSignals::hold()?;
    let run = start(program, patterns, stdout, stderr, &signals);
    match run {
        Ok(mut running) => {
            let ended = running.wait(&signals)?;
            // Nobody is left to hand a signal on to: it is ours.
            signals.release();
            // All of them before the first is waited for.
            running.relays.iter_mut().for_each(Relay::program_ended);
            let mut done = Done { ended, left_open: Vec::new(), lost: None };
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
    /// Where it is read.
    source: File,
    /// The program's end.
    end: OwnedFd,
    target: OwnedFd,
    terminal: Option<Arc<OutputPty>>,
}

impl Stream {
    fn to(target: Target) -> io::Result<Self> {
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
    stdout: Option<Target>,
    stderr: Option<Target>,
    signals: &BlockedSignals,
) -> io::Result<Running> {
    // Two streams to one place are one: what the program writes first is there first.
    let shared = match (&stdout, &stderr) {
        (Some(out), Some(err)) => is_same_file(out.fd.as_fd(), err.fd.as_fd()),
        _ => false,
    };
    let out = stdout.map(Stream::to).transpose()?;
    let err = if shared { None } else { stderr.map(Stream::to).transpose()? };
    let out_end = out.as_ref().map(|way| way.end.as_fd());
    let err_end = if shared { out_end } else { err.as_ref().map(|way| way.end.as_fd()) };
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
        // For as long as there is the terminal; nothing waits for it.
        std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
            while let Some(terminal) = terminal.upgrade() {
                terminal.pass_keys(KEYS);
            }
        })?;
    }
    Ok(running)
}

impl Running {
    /// Until the child ends.
    fn wait(&mut self, signals: &BlockedSignals) -> io::Result<Ended> {
        let mut stopped = false;
        loop {
            let came = signals.next(LOOK)?;
            while let Some(state) = self.child.wait()? {
                match state {
                    ChildState::Exited(code) => return Ok(Ended::Exited(code)),
                    ChildState::Killed(signal) => return Ok(Ended::Killed(signal)),
                    ChildState::Continued => stopped = false,
                    ChildState::Stopped(signal) => {
                        stopped = true;
                        self.stop_too(signals, signal);
                    }
                }
            }
            match came {
                Some(ReceivedSignal { number: SIGCONT, .. }) if std::mem::take(&mut stopped) => {
                    self.child.send(SIGCONT);
                }
                Some(came) => self.hand_on(came),
                None => {}
            }
        }
    }

    /// The child was stopped: we are as well, when what it said is handed on.
    fn stop_too(&self, signals: &BlockedSignals, signal: i32) {
        let start = Instant::now();
        let mut idle_since = start;
        while start.elapsed() < LAST_WORDS && idle_since.elapsed() < SETTLED {
            std::thread::sleep(Duration::from_millis(1));
            if !self.relays.iter().all(Relay::is_idle) {
                idle_since = Instant::now();
            }
        }
        self.terminals.iter().for_each(|terminal| terminal.sync_modes());
        signals.stop_as(signal);
        self.terminals.iter().for_each(|terminal| terminal.resize());
    }

    fn hand_on(&self, came: ReceivedSignal) {
        match came.number {
            SIGCHLD | SIGCONT => {}
            SIGWINCH if self.terminals.is_empty() && came.sender.is_some() => self.child.send(SIGWINCH),
            SIGWINCH if self.terminals.is_empty() => {}
            // Our own, of below.
            SIGWINCH if came.sender.is_some_and(|pid| pid == keyrack_sys::process::pid::current()) => {}
            // The kernel has told the whole group already, before the program's own terminal had the new size.
            SIGWINCH => {
                self.terminals.iter().for_each(|terminal| terminal.resize());
                signal_process_group(SIGWINCH);
            }
            // What the terminal sends, it sends to both; and what the child sends to all of its group, it has had.
            number if came.sender.is_some_and(|pid| pid != self.child.pid()) => self.child.send(number),
            _ => {}
        }
    }
}
