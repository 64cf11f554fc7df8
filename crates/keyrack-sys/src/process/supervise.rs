//! A supervised child: this process runs it in its own place at the terminal, learns its changes of
//! state, receives signals so that they can be forwarded, and finally exits as the child did.
//!
//! The child stays in our process group, so the terminal and the shell treat both as one: a signal
//! of the terminal reaches both. Only for a process that does nothing else, because its signals are
//! blocked.
#![expect(
    unsafe_code,
    reason = "fork, sigtimedwait and waitpid, which nix gives without the sender or not at all"
)]

use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, pthread_sigmask};

use crate::hardening;
use crate::process::exec::PreparedCommand;
use crate::process::pid::Pid;
use crate::process::startup_state;

/// Number of a signal (`signal(7)`). A program may get more signals than
/// [`crate::process::signal::Signal`] has.
pub type SignalNumber = i32;

/// The child changed its state.
pub const SIGCHLD: SignalNumber = libc::SIGCHLD;
/// Continue after a stop.
pub const SIGCONT: SignalNumber = libc::SIGCONT;
/// The window of the terminal changed its size.
pub const SIGWINCH: SignalNumber = libc::SIGWINCH;

/// Signals that are never blocked: they cannot be, report a fault of this process, or stop a
/// background process that writes to the terminal, which we must be able to do.
const NEVER_BLOCKED: [SignalNumber; 12] = [
    libc::SIGKILL,
    libc::SIGSTOP,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
    libc::SIGPIPE,
    libc::SIGTTOU,
    libc::SIGXFSZ,
];

/// A signal that this process received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedSignal {
    /// Number of the signal.
    pub number: SignalNumber,
    /// Process that sent it. `None` for the kernel, which sends a terminal's signals to the whole
    /// process group.
    pub sender: Option<Pid>,
}

/// Blocks all signals, so that they can be waited for.
pub struct BlockedSignals {
    before: SigSet,
    ignores_child: bool,
}

impl BlockedSignals {
    /// Blocks signals from now on, in this thread and those it starts.
    ///
    /// # Errors
    /// Those of `sigaction(2)`.
    pub fn hold() -> io::Result<Self> {
        let mut held = SigSet::all();
        for left in NEVER_BLOCKED {
            held.remove(Signal::try_from(left).expect("a signal of the list"));
        }
        let mut before = SigSet::empty();
        pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&held), Some(&mut before))?;
        // A process that was started with SIGCHLD ignored never learns that a child ended
        // (waitpid(2)). SAFETY: the default action runs no code of ours.
        let previous = unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
        Ok(Self { before, ignores_child: matches!(previous, SigHandler::SigIgn) })
    }

    /// Returns the next signal that comes within `wait`.
    ///
    /// # Errors
    /// Those of `sigtimedwait(2)`.
    pub fn next(&self, wait: Duration) -> io::Result<Option<ReceivedSignal>> {
        let mut all = SigSet::all().as_ref().to_owned();
        for left in NEVER_BLOCKED {
            // SAFETY: sigdelset changes the set it is given, which is a whole one.
            unsafe { libc::sigdelset(&raw mut all, left) };
        }
        let wait = nix::sys::time::TimeSpec::from_duration(wait);
        // SAFETY: an all-zero siginfo is a valid value of that plain C structure.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: it reads the set and the time, and fills in the structure it is given.
        let came = unsafe { libc::sigtimedwait(&raw const all, &raw mut info, wait.as_ref()) };
        match Errno::result(came) {
            Ok(number) => {
                let by_process = matches!(info.si_code, libc::SI_USER | libc::SI_QUEUE | libc::SI_TKILL);
                // SAFETY: with these codes the kernel has filled in the sender (sigaction(2)).
                let sender = by_process.then(|| Pid::from_raw(unsafe { info.si_pid() }));
                Ok(Some(ReceivedSignal { number, sender }))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Unblocks the signals. Pending ones take effect.
    pub fn release(&self) {
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&self.before), None);
    }

    /// Stops this process as a child was stopped. Returns when it is continued.
    pub fn stop_as(&self, number: SignalNumber) {
        let Ok(signal) = Signal::try_from(number) else { return };
        let only: SigSet = std::iter::once(signal).collect();
        let mut held = SigSet::empty();
        // Sent while it is blocked. If the terminal's own signal is already pending, both count as
        // one. The stop happens before the second call returns. Where the signal cannot stop us (an
        // orphaned group, or it is ignored), we go on.
        let _ = pthread_sigmask(SigmaskHow::SIG_BLOCK, Some(&only), Some(&mut held));
        let _ = nix::sys::signal::kill(nix::unistd::getpid(), signal);
        let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&only), None);
        let _ = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&held), None);
    }
}

/// Sends a signal to every process of our group, this one included.
pub fn signal_process_group(number: SignalNumber) {
    // SAFETY: kill takes two numbers; 0 is our own group.
    unsafe { libc::kill(0, number) };
}

/// State of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildState {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Killed(SignalNumber),
    /// This signal stopped it.
    Stopped(SignalNumber),
    /// It was continued.
    Continued,
}

/// A child that runs in our place at the terminal.
#[derive(Debug)]
pub struct SupervisedChild {
    pid: libc::pid_t,
    ended: bool,
}

impl SupervisedChild {
    /// Starts a program with these streams as its standard output and error, or ours where none is
    /// given. It gets everything else as this process was started with it. The kernel kills it when
    /// this process ends.
    ///
    /// # Errors
    /// Those of `fork(2)`, and of `execve(2)` in the child; `EBUSY` when this process has a second
    /// thread.
    pub fn start(
        program: &PreparedCommand,
        stdout: Option<BorrowedFd<'_>>,
        stderr: Option<BorrowedFd<'_>>,
        signals: &BlockedSignals,
    ) -> io::Result<Self> {
        if hardening::threads()?.is_some_and(|threads| threads != 1) {
            return Err(Errno::EBUSY.into());
        }
        let (mut failed, mut failing) = io::pipe()?;
        let parent = std::process::id();
        // SAFETY: no other thread could hold a lock that the child would wait for.
        let pid = Errno::result(unsafe { libc::fork() })?;
        if pid == 0 {
            let errno = become_child(program, [(1, stdout), (2, stderr)], signals, parent);
            let _ = failing.write_all(&(errno as i32).to_ne_bytes());
            // SAFETY: _exit only ends the process.
            unsafe { libc::_exit(127) };
        }
        drop(failing);
        let mut child = Self { pid, ended: false };
        let mut errno = Vec::new();
        failed.read_to_end(&mut errno)?;
        match <[u8; 4]>::try_from(errno) {
            Ok(errno) => {
                while !matches!(child.wait()?, Some(ChildState::Exited(_) | ChildState::Killed(_))) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
            }
            Err(_) => Ok(child),
        }
    }

    /// Returns its pid, which no other process has until [`Self::wait`] returned its end.
    #[must_use]
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.pid)
    }

    /// Returns the change of its state since the last call, or `None` if there was none.
    ///
    /// # Errors
    /// Those of `waitpid(2)`.
    pub fn wait(&mut self) -> io::Result<Option<ChildState>> {
        if self.ended {
            return Ok(None);
        }
        let mut status = 0;
        let flags = libc::WNOHANG | libc::WUNTRACED | libc::WCONTINUED;
        // SAFETY: waitpid fills in the number it is given.
        match Errno::result(unsafe { libc::waitpid(self.pid, &raw mut status, flags) }) {
            Ok(0) | Err(Errno::EINTR) => Ok(None),
            Ok(_) if libc::WIFEXITED(status) => {
                self.ended = true;
                Ok(Some(ChildState::Exited(libc::WEXITSTATUS(status))))
            }
            Ok(_) if libc::WIFSIGNALED(status) => {
                self.ended = true;
                Ok(Some(ChildState::Killed(libc::WTERMSIG(status))))
            }
            Ok(_) if libc::WIFSTOPPED(status) => Ok(Some(ChildState::Stopped(libc::WSTOPSIG(status)))),
            Ok(_) => Ok(Some(ChildState::Continued)),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Sends it a signal. Does nothing after [`Self::wait`] returned its end, because another
    /// process could have its pid by then.
    pub fn send(&self, number: SignalNumber) {
        if !self.ended {
            // SAFETY: kill takes two numbers. The child has not been waited for, so the number is
            // its own.
            unsafe { libc::kill(self.pid, number) };
        }
    }
}

/// Runs in the child: restores the state that this process was started with, and becomes the
/// program. Returns if that fails.
fn become_child(
    program: &PreparedCommand,
    streams: [(i32, Option<BorrowedFd<'_>>); 2],
    signals: &BlockedSignals,
    parent: u32,
) -> Errno {
    // A program in our place would be killed too, and after our end no process reads its output.
    if let Err(errno) = prctl::set_pdeathsig(Signal::SIGKILL) {
        return errno;
    }
    if u32::try_from(nix::unistd::getppid().as_raw()) != Ok(parent) {
        // The parent has ended already.
        return Errno::ESRCH;
    }
    startup_state::restore();
    for (number, stream) in streams {
        // SAFETY: dup2 touches no memory, and nothing of this process uses its standard streams any
        // more.
        let done = stream.map_or(0, |stream| unsafe { libc::dup2(stream.as_raw_fd(), number) });
        if done == -1 {
            return Errno::last();
        }
    }
    if signals.ignores_child {
        // SAFETY: to ignore a signal runs no code of ours.
        let _ = unsafe { nix::sys::signal::signal(Signal::SIGCHLD, SigHandler::SigIgn) };
    }
    signals.release();
    program.execute()
}

/// Ends this process by the signal that ended a child, without a core dump, which would be of this
/// process's memory. If the signal does not end it, exits with the code that a shell uses for that
/// signal.
pub fn exit_by_signal(number: SignalNumber) -> ! {
    let _ = hardening::no_core();
    if let Ok(signal) = Signal::try_from(number) {
        // SAFETY: the default action runs no code of ours.
        let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
        let only: SigSet = std::iter::once(signal).collect();
        let _ = nix::sys::signal::raise(signal);
        let _ = pthread_sigmask(SigmaskHow::SIG_UNBLOCK, Some(&only), None);
    } else {
        // A real-time signal, for which nix has no name. SAFETY: system calls on numbers and on a
        // whole set.
        unsafe {
            let mut only: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut only);
            libc::sigaddset(&raw mut only, number);
            libc::signal(number, libc::SIG_DFL);
            libc::raise(number);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const only, std::ptr::null_mut());
        }
    }
    std::process::exit(128 + number)
}
