//! Start of a program as a daemon: with its own session, without inherited state except what is
//! named here, and without leaving a zombie. Never through a shell, never by a search of PATH.
//!
//! The parent forks twice. The first child forks the daemon and ends at once, and the parent reaps
//! it; the daemon's parent is then init, which reaps it in its turn. A parent that lives for long
//! and reaps nothing it did not start itself, such as Node, keeps no zombie.
//!
//! Both children share the parent's memory and halt the thread that started them until they exec or
//! end, as vfork's do: a parent of 100 MiB would otherwise have its page tables copied twice, which
//! takes longer than all the rest.
#![expect(unsafe_code, reason = "clone, and what a child may do between clone and exec")]

use std::ffi::{CString, OsStr, c_char, c_int, c_void};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::sys::signal::{SigSet, SigmaskHow, pthread_sigmask};

use crate::hardening::protection;
use crate::process::pid::Pid;

/// Descriptor of the readiness pipe's write end in a started daemon.
pub const READY_FD: RawFd = 3;

/// Limit of the further descriptors that a started program can get.
pub const MAX_PASSED: usize = 2;

/// Number of the first further descriptor in the started program.
const FIRST_PASSED: RawFd = READY_FD + 1;

/// Count of the kernel's signals (`signal(7)`).
const SIGNALS: usize = 64;

/// A daemon that was started: the program runs, but is not ready yet.
#[derive(Debug)]
pub struct SpawnedDaemon {
    /// Pid and session it was started with, for messages only: another process can have the pid by
    /// now, and our daemon continues as a child ([`crate::hardening::refork`]).
    pub pid: Pid,
    /// Read end of the pipe that it has as descriptor [`READY_FD`]. End of file after it closed
    /// that or ended.
    pub ready: PipeReader,
}

/// Starts `program` (an absolute path) with these arguments after its name and only this
/// environment: working directory `/`, umask 077, its own session, standard streams on `/dev/null`,
/// the readiness pipe at [`READY_FD`], every other descriptor closed, no signal blocked or ignored.
/// Returns when it has been executed.
///
/// # Errors
/// `EINVAL` for a relative path or a NUL byte in any string; those of `pipe2(2)`, `clone(2)` and
/// `execve(2)`.
pub fn spawn_detached(
    program: &Path,
    args: &[&OsStr],
    env: &[(&OsStr, &OsStr)],
) -> io::Result<SpawnedDaemon> {
    spawn_detached_with_fds(program, args, env, &[])
}

/// Starts a program as [`spawn_detached`] does, with further descriptors from [`READY_FD`] + 1 on:
/// see [`take_passed_fds`].
///
/// # Errors
/// Those of [`spawn_detached`], and `EINVAL` for more than [`MAX_PASSED`] descriptors.
pub fn spawn_detached_with_fds(
    program: &Path,
    args: &[&OsStr],
    env: &[(&OsStr, &OsStr)],
    take_passed_fds: &[BorrowedFd<'_>],
) -> io::Result<SpawnedDaemon> {
    if !program.is_absolute() || take_passed_fds.len() > MAX_PASSED {
        return Err(Errno::EINVAL.into());
    }
    let mut numbers = [-1; MAX_PASSED];
    for (number, fd) in numbers.iter_mut().zip(take_passed_fds) {
        *number = fd.as_raw_fd();
    }
    let program = c_string(&[program.as_os_str().as_bytes()])?;
    let args = args.iter().map(|arg| c_string(&[arg.as_bytes()])).collect::<io::Result<Vec<_>>>()?;
    let env = env.iter().map(|(name, value)| c_string(&[name.as_bytes(), b"=", value.as_bytes()]));
    let env = env.collect::<io::Result<Vec<_>>>()?;
    let argv = pointers(std::iter::once(&program).chain(&args));
    let envp = pointers(env.iter());

    let (ready, ready_writer) = io::pipe()?;
    let (mut status, status_writer) = io::pipe()?;
    let (mut stack, mut daemon_stack) = (Stack::new(), Stack::new());
    let spec = ChildSpec {
        program: program.as_ptr(),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        ready: ready_writer.as_raw_fd(),
        status: status_writer.as_raw_fd(),
        daemon_stack: daemon_stack.top(),
        take_passed_fds: numbers,
    };

    // Handlers of this process must not run in the children, on its memory.
    let before = block_all_signals()?;
    let started = spec.halt_for(fork_daemon, stack.top());
    let restored = pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
    drop((ready_writer, status_writer));
    reap(started?);
    restored?;

    // Both children's ends close on exec or exit: the daemon's pid, then an errno if it got no
    // further.
    let mut said = Vec::new();
    status.read_to_end(&mut said)?;
    let number = |bytes: &[u8]| bytes.try_into().map(i32::from_ne_bytes).ok();
    match (said.get(..4).and_then(number), said.get(4..).and_then(number)) {
        (Some(pid), None) if said.len() == 4 => Ok(SpawnedDaemon { pid: Pid::from_raw(pid), ready }),
        (_, Some(errno)) => Err(io::Error::from_raw_os_error(errno)),
        _ => Err(io::Error::other("the child that was to start the daemon was killed")),
    }
}

/// Returns the readiness pipe of a process that [`spawn_detached`] started, and marks it
/// close-on-exec. `None` if descriptor [`READY_FD`] is not a pipe open for writing, and on a second
/// call. Call it before anything else opens a descriptor.
#[must_use]
pub fn take_ready_pipe() -> Option<PipeWriter> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    // SAFETY: fcntl by number touches no memory, and EBADF is an answer.
    let flags = Errno::result(unsafe { libc::fcntl(READY_FD, libc::F_GETFL) }).ok()?;
    // SAFETY: an all-zero stat is a valid value of that plain C structure.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: fstat fills in the structure it is given.
    Errno::result(unsafe { libc::fstat(READY_FD, &raw mut found) }).ok()?;
    if found.st_mode & libc::S_IFMT != libc::S_IFIFO || flags & libc::O_ACCMODE != libc::O_WRONLY {
        return None;
    }
    // SAFETY: as above.
    Errno::result(unsafe { libc::fcntl(READY_FD, libc::F_SETFD, libc::FD_CLOEXEC) }).ok()?;
    // SAFETY: the descriptor was inherited, so no value of this process owns it, and it is taken
    // once.
    Some(PipeWriter::from(unsafe { OwnedFd::from_raw_fd(READY_FD) }))
}

/// Returns the further descriptors of [`spawn_detached_with_fds`], if they are pipes or terminals,
/// and marks them close-on-exec. Call it after [`take_ready_pipe`]. Empty on a second call.
#[must_use]
pub fn take_passed_fds() -> Vec<OwnedFd> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    let numbers = (FIRST_PASSED..).take(MAX_PASSED);
    let open = numbers.filter(|number| {
        // SAFETY: an all-zero stat is a valid value of that plain C structure.
        let mut found: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: fstat fills in the structure it is given; EBADF is an answer.
        let known = unsafe { libc::fstat(*number, &raw mut found) } == 0;
        let kind = found.st_mode & libc::S_IFMT;
        // SAFETY: fcntl by number touches no memory.
        known
            && (kind == libc::S_IFIFO || kind == libc::S_IFCHR)
            && unsafe { libc::fcntl(*number, libc::F_SETFD, libc::FD_CLOEXEC) } == 0
    });
    // SAFETY: the descriptors were inherited, so no value of this process owns them, and they are
    // taken once.
    open.map(|number| unsafe { OwnedFd::from_raw_fd(number) }).collect()
}

/// Everything that the children need, made before them: they share the memory of a process whose
/// other threads run on, so they must not allocate, lock, or write to anything but their own
/// stacks.
struct ChildSpec {
    program: *const c_char,
    argv: *const *const c_char,
    envp: *const *const c_char,
    ready: RawFd,
    status: RawFd,
    daemon_stack: *mut c_void,
    /// −1 where there is none.
    take_passed_fds: [RawFd; MAX_PASSED],
}

/// A stack for one child, whose frames take a few hundred bytes.
#[repr(align(16))]
struct Stack([u8; 64 * 1024]);

impl Stack {
    fn new() -> Box<Self> {
        Box::new(Self([0; 64 * 1024]))
    }

    /// Returns its upper end, because stacks grow downwards.
    fn top(&mut self) -> *mut c_void {
        self.0.as_mut_ptr_range().end.cast()
    }
}

/// The first child: starts the daemon and ends.
extern "C" fn fork_daemon(spec: *mut c_void) -> c_int {
    // SAFETY: `halt_for` passes its own plan, and does not return before this child is done with
    // it.
    let spec = unsafe { &*spec.cast::<ChildSpec>() };
    match spec.halt_for(become_daemon, spec.daemon_stack) {
        Ok(_) => 0,
        Err(_) => spec.fail(Some(-1)),
    }
}

/// The second child: becomes the daemon.
extern "C" fn become_daemon(spec: *mut c_void) -> c_int {
    // SAFETY: as in `fork_daemon`.
    let spec = unsafe { &*spec.cast::<ChildSpec>() };
    // SAFETY: plain system calls on integers and on C strings that outlive them (`signal-safety(7)`
    // lists all).
    unsafe {
        libc::umask(0o077);
        protection::restore_core_limit();
        if libc::setsid() == -1 || libc::chdir(c"/".as_ptr()) == -1 {
            spec.fail(Some(libc::getpid()));
        }
        // An ignored signal would stay ignored after exec. A raw system call, because a libc
        // refuses the signals it uses itself. All zeros are the default action; SIGKILL and SIGSTOP
        // need none.
        let default = [0_u64; 32];
        for signal in 1..=SIGNALS {
            let nothing = std::ptr::null_mut::<u64>();
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), nothing, SIGNALS / 8);
        }
        // Above the numbers that are assigned next.
        let ready = libc::fcntl(spec.ready, libc::F_DUPFD_CLOEXEC, 10);
        let status = libc::fcntl(spec.status, libc::F_DUPFD_CLOEXEC, 10);
        if ready == -1 || status == -1 {
            spec.fail(Some(libc::getpid()));
        }
        let moved = ChildSpec { status, ..*spec };
        let mut take_passed_fds = [-1; MAX_PASSED];
        for (new, old) in take_passed_fds.iter_mut().zip(spec.take_passed_fds).filter(|(_, old)| *old != -1) {
            *new = libc::fcntl(old, libc::F_DUPFD_CLOEXEC, 10);
            if *new == -1 {
                moved.fail(Some(libc::getpid()));
            }
        }
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_RDWR);
        let in_place = (0..=2).all(|stream| libc::dup2(null, stream) != -1);
        if null == -1
            || !in_place
            || libc::dup2(ready, READY_FD) == -1
            || close_on_exec_from(FIRST_PASSED.cast_unsigned()) == -1
        {
            moved.fail(Some(libc::getpid()));
        }
        for (number, fd) in (FIRST_PASSED..).zip(take_passed_fds).filter(|(_, fd)| *fd != -1) {
            if libc::dup2(fd, number) == -1 {
                moved.fail(Some(libc::getpid()));
            }
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        moved.say(libc::getpid());
        libc::execve(spec.program, spec.argv, spec.envp);
        moved.fail(None)
    }
}

impl ChildSpec {
    /// Runs `child` on the stack below `stack` in a process that shares our memory. Returns its pid
    /// when it has executed a program or ended; until then this thread waits.
    fn halt_for(
        &self,
        child: extern "C" fn(*mut c_void) -> c_int,
        stack: *mut c_void,
    ) -> nix::Result<libc::pid_t> {
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let spec = std::ptr::from_ref(self).cast_mut().cast();
        // SAFETY: the stack is used by this one child, and outlives it, as does the plan: with
        // CLONE_VFORK this call returns only when the child no longer runs on our memory. The child
        // only reads the plan and makes system calls; its errno is this thread's, which stands
        // still. All signals are blocked.
        Errno::result(unsafe { libc::clone(child, stack, flags, spec) })
    }

    fn say(&self, number: i32) {
        let bytes = number.to_ne_bytes();
        // SAFETY: writes four bytes of this frame; a pipe takes so few whole. Failing, the parent
        // sees too few.
        unsafe { libc::write(self.status, bytes.as_ptr().cast(), bytes.len()) };
    }

    /// Reports errno to the parent, after a pid if none was reported yet, and exits.
    fn fail(&self, pid: Option<i32>) -> ! {
        let errno = Errno::last_raw();
        if let Some(pid) = pid {
            self.say(pid);
        }
        self.say(errno);
        // SAFETY: _exit only ends the process.
        unsafe { libc::_exit(127) }
    }
}

/// Marks every descriptor from `first` up as close-on-exec. Returns −1 and sets errno on failure.
fn close_on_exec_from(first: u32) -> i32 {
    // SAFETY: takes integers only.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0;
    if done {
        return 0;
    }
    // Before Linux 5.11, one by one. SAFETY: an all-zero rlimit is a valid value of that plain C
    // structure, getrlimit fills it in, and fcntl takes integers only.
    unsafe {
        let mut limit: libc::rlimit = std::mem::zeroed();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == -1 {
            return -1;
        }
        // No process has descriptors beyond `fs.nr_open`, which is 2^20 by default.
        let end = i32::try_from(limit.rlim_cur).unwrap_or(i32::MAX).min(1 << 20);
        for fd in i32::try_from(first).unwrap_or(i32::MAX)..end {
            libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
    0
}

fn block_all_signals() -> nix::Result<SigSet> {
    let mut before = SigSet::empty();
    pthread_sigmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut before))?;
    Ok(before)
}

fn reap(child: libc::pid_t) {
    // ECHILD: this process ignores SIGCHLD, or another thread reaps all children; gone is gone.
    // SAFETY: a null status is allowed.
    while unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) } == -1 && Errno::last() == Errno::EINTR {}
}

fn c_string(parts: &[&[u8]]) -> io::Result<CString> {
    CString::new(parts.concat()).map_err(|_| Errno::EINVAL.into())
}

fn pointers<'a>(strings: impl Iterator<Item = &'a CString>) -> Vec<*const c_char> {
    strings.map(|string| string.as_ptr()).chain(std::iter::once(std::ptr::null())).collect()
}
