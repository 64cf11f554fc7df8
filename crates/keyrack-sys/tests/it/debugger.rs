//! Attempts of a debugger of the same user on the real daemon, with the very calls that debuggers
//! use. And the real daemon where the kernel lacks what it confines itself with. Both need calls
//! that only this crate may make; the rest of the daemon's tests are its own.

use std::ffi::CString;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use keyrack_testkit::{Home, Need, Reaped, binary, can_run, wait_until};
use nix::errno::Errno;

use crate::support::{become_stranger, in_child, refuse};

const LONG: Duration = Duration::from_secs(20);

/// A daemon of the calling process's user, in a home of its own.
struct Daemon {
    home: Home,
    child: Reaped,
}

impl Daemon {
    fn start() -> Self {
        let home = Home::new();
        // Where every user who may be calling can run it.
        let program = home.root().join("keyrackd");
        fs::copy(binary("keyrackd"), &program).unwrap();
        let mut command = home.command(&program);
        command.arg("--socket").arg(home.runtime().join("k.sock"));
        let child = Reaped::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()));
        let daemon = Daemon { home, child };
        wait_until("the daemon serves", LONG, || UnixStream::connect(daemon.socket()).is_ok());
        daemon
    }

    fn socket(&self) -> PathBuf {
        self.home.runtime().join("k.sock")
    }

    /// Its answer to hello, as JSON.
    fn hello(&self) -> String {
        let header = br#"{"id":1,"op":"hello","proto":1,"min_proto":1,"version":"0","build":"t"}"#;
        let length = u32::try_from(header.len()).unwrap();
        let mut stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.write_all(&[&(length + 4).to_be_bytes()[..], &length.to_be_bytes(), header].concat()).unwrap();
        let mut lengths = [0; 8];
        stream.read_exact(&mut lengths).unwrap();
        let mut reply = vec![0; u32::from_be_bytes(lengths[..4].try_into().unwrap()) as usize - 4];
        stream.read_exact(&mut reply).unwrap();
        String::from_utf8(reply).unwrap()
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.pid()).unwrap()
    }
}

type Attempt = (&'static str, fn(i32) -> Result<(), Errno>);

const CORE_LIMIT: &str = "core dumps by prlimit";

/// Each way into another process of the same user, and what comes of it.
const ATTEMPTS: [Attempt; 8] = [
    ("PTRACE_SEIZE", |pid| ptrace(libc::PTRACE_SEIZE, pid)),
    ("PTRACE_ATTACH", |pid| {
        ptrace(libc::PTRACE_ATTACH, pid)?;
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None)?;
        ptrace(libc::PTRACE_DETACH, pid)
    }),
    ("process_vm_readv", |pid| transfer(libc::SYS_process_vm_readv, pid)),
    ("process_vm_writev", |pid| transfer(libc::SYS_process_vm_writev, pid)),
    ("pidfd_getfd", |pid| {
        let held = raw(libc::SYS_pidfd_open, [pid.into(), 0, 0])?;
        raw(libc::SYS_pidfd_getfd, [held, 0, 0]).map(drop)
    }),
    ("kcmp", |pid| {
        let own = libc::c_long::from(std::process::id());
        // SAFETY: KCMP_VM, 1, compares and follows no pointer.
        Errno::result(unsafe { libc::syscall(libc::SYS_kcmp, own, libc::c_long::from(pid), 1, 0, 0) })
            .map(drop)
    }),
    (CORE_LIMIT, |pid| {
        let wish = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
        // SAFETY: one structure is read, none is written.
        Errno::result(unsafe { libc::prlimit(pid, libc::RLIMIT_CORE, &raw const wish, std::ptr::null_mut()) })
            .map(drop)
    }),
    ("move_pages", |pid| {
        let none = std::ptr::null::<libc::c_void>();
        // SAFETY: no page is named.
        Errno::result(unsafe { libc::syscall(libc::SYS_move_pages, pid, 0, none, none, none, 0) }).map(drop)
    }),
];

/// Files of `/proc/<pid>` that show the inside of a process, and the flags to open them.
const FILES: [(&str, i32); 19] = [
    ("mem", libc::O_RDONLY),
    ("mem", libc::O_RDWR),
    ("environ", libc::O_RDONLY),
    ("maps", libc::O_RDONLY),
    ("smaps", libc::O_RDONLY),
    ("smaps_rollup", libc::O_RDONLY),
    ("numa_maps", libc::O_RDONLY),
    ("pagemap", libc::O_RDONLY),
    ("auxv", libc::O_RDONLY),
    ("clear_refs", libc::O_WRONLY),
    ("coredump_filter", libc::O_RDWR),
    ("oom_score_adj", libc::O_WRONLY),
    ("fd", libc::O_RDONLY | libc::O_DIRECTORY),
    ("fdinfo", libc::O_RDONLY | libc::O_DIRECTORY),
    ("map_files", libc::O_RDONLY | libc::O_DIRECTORY),
    ("exe", libc::O_RDONLY),
    ("cwd", libc::O_RDONLY),
    ("root", libc::O_RDONLY),
    ("task/self/mem", libc::O_RDONLY),
];

/// Attempts that may fail on any process: where its limit on core dumps is zero already, and before
/// Linux 5.9.
fn works_nowhere(what: &str) -> bool {
    [CORE_LIMIT, "map_files"].contains(&what)
}

/// The C libraries differ.
#[cfg(target_env = "musl")]
type Request = libc::c_int;
#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;

pub(crate) fn ptrace(request: Request, pid: i32) -> Result<(), Errno> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: none of the requests made here follows the pointers.
    Errno::result(unsafe { libc::ptrace(request, pid, none, none) }).map(drop)
}

fn raw(number: libc::c_long, [a, b, c]: [libc::c_long; 3]) -> Result<libc::c_long, Errno> {
    // SAFETY: of the calls made here none follows a pointer.
    Errno::result(unsafe { libc::syscall(number, a, b, c) })
}

/// Reads or writes a byte at an address that nothing is at: whose memory it may be is decided
/// before.
fn transfer(number: libc::c_long, pid: i32) -> Result<(), Errno> {
    let mut byte = 0_u8;
    let local = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let remote = libc::iovec { iov_base: std::ptr::without_provenance_mut(8), iov_len: 1 };
    // SAFETY: the local side is one byte of ours; the remote one is another process's.
    let done = unsafe { libc::syscall(number, pid, &raw const local, 1, &raw const remote, 1, 0) };
    match Errno::result(done) {
        Ok(_) | Err(Errno::EFAULT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn open(pid: i32, name: &str, flags: i32) -> Result<(), Errno> {
    let name = name.replace("self", &pid.to_string());
    let path = CString::new(format!("/proc/{pid}/{name}")).unwrap();
    // SAFETY: the path is a string that ends in NUL.
    let fd = Errno::result(unsafe { libc::open(path.as_ptr(), flags | libc::O_CLOEXEC) })?;
    // Some are opened by anybody, and read by few.
    let mut bytes = [0_u8; 64];
    let looked = match flags & (libc::O_DIRECTORY | libc::O_ACCMODE) {
        // SAFETY: the buffer is as long as is said.
        0 => Errno::result(unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) }).map(drop),
        _ => Ok(()),
    };
    // SAFETY: opened here, and not used after.
    unsafe { libc::close(fd) };
    match looked {
        // Nothing is at the address 0, and a directory is not read: the file was open.
        Err(Errno::EIO | Errno::EISDIR) => Ok(()),
        other => other,
    }
}

/// Asserts that every way into the process with this number fails for the user that this process
/// runs as, and works on another process of that user: what fails on any process proves nothing.
/// Its limits are out of reach only where its hard ones are zero.
pub(crate) fn assert_kept_out(process: i32, limits: bool) {
    // Where Yama keeps debuggers from all but their children, what works on another process is not
    // known.
    let yama =
        fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").is_ok_and(|scope| scope.trim() != "0");
    let kept_out = |what: &str, attempt: &dyn Fn(i32) -> Result<(), Errno>| {
        let result = attempt(process);
        if matches!(result, Err(Errno::ENOENT | Errno::ENOSYS)) {
            eprintln!("{what}: this kernel does not have it");
            return;
        }
        assert!(matches!(result, Err(Errno::EPERM | Errno::EACCES)), "{what}: {result:?}");
        // A fresh one each: some stay attached.
        let other = Reaped::spawn(Command::new("sleep").arg("60").current_dir("/"));
        let pid = i32::try_from(other.pid()).unwrap();
        // An exec makes it dumpable a moment after it is seen to have happened.
        let mut on_another = attempt(pid);
        for _ in 0..if works_nowhere(what) { 0 } else { 200 } {
            if on_another.is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
            on_another = attempt(pid);
        }
        eprintln!("{what}: {result:?}, on another process {on_another:?}");
        assert!(
            on_another.is_ok() || works_nowhere(what) || yama,
            "{what} on another process: {on_another:?}"
        );
    };
    for (name, flags) in FILES {
        kept_out(name, &|pid| open(pid, name, flags));
    }
    for (what, attempt) in ATTEMPTS.into_iter().filter(|(what, _)| limits || *what != CORE_LIMIT) {
        kept_out(what, &attempt);
    }
}

#[test]
fn the_same_users_debugger_is_kept_out_of_the_daemon() {
    let test = "debugger::the_same_users_debugger_is_kept_out_of_the_daemon";
    if !can_run(test, &[Need::Root]) {
        return;
    }
    in_child(test, || {
        become_stranger();
        let daemon = Daemon::start();
        assert_kept_out(daemon.pid(), true);
        assert!(daemon.hello().contains(r#""name":"not_dumpable","on":true"#), "it serves as before");
    });
}

#[test]
fn what_was_opened_before_it_hid_shows_nothing_of_a_daemon_in_the_background() {
    let test = "debugger::what_was_opened_before_it_hid_shows_nothing_of_a_daemon_in_the_background";
    if !can_run(test, &[Need::Root]) {
        return;
    }
    in_child(test, || {
        become_stranger();
        let home = Home::new();
        let program = home.root().join("keyrackd");
        fs::copy(binary("keyrackd"), &program).unwrap();
        let socket = home.runtime().join("k.sock");
        let (mut ready, writer) = std::io::pipe().unwrap();
        let mut command = home.command(&program);
        command
            .arg("--socket")
            .arg(&socket)
            .args(["--ready-fd", "3"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let end = writer.as_raw_fd();
        // SAFETY: between fork and exec, system calls on integers alone.
        unsafe {
            command.pre_exec(move || {
                Errno::result(libc::dup2(end, 3))?;
                ptrace(libc::PTRACE_TRACEME, 0)?;
                Ok(())
            })
        };
        // It halts at its first instruction: the moment that another process can only hit by trying
        // often.
        let mut starter = Reaped::spawn(&mut command);
        drop((writer, command));
        let pid = i32::try_from(starter.pid()).unwrap();
        nix::sys::wait::waitpid(nix::unistd::Pid::from_raw(pid), None).unwrap();
        let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
        let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        let stack = maps.lines().find(|line| line.ends_with("[stack]")).unwrap();
        let at = u64::from_str_radix(stack.split(['-', ' ']).nth(1).unwrap(), 16).unwrap() - 64;
        let mut bytes = [0; 64];
        assert_eq!(memory.read_at(&mut bytes, at).unwrap(), 64, "until it hides it can be read");
        ptrace(libc::PTRACE_DETACH, pid).unwrap();

        let mut word = String::new();
        ready.read_to_string(&mut word).unwrap();
        assert_eq!(word, "ready\n");
        let own: i32 = fs::read_to_string(socket.with_extension("pid")).unwrap().parse().unwrap();
        assert_ne!(own, pid, "it serves in the memory it was started in");
        let serving = nix::unistd::Pid::from_raw(own);
        wait_until("the first process ends", LONG, || starter.0.try_wait().unwrap().is_some());
        let after = memory.read_at(&mut bytes, at);
        let anew = open(own, "mem", libc::O_RDONLY);
        nix::sys::signal::kill(serving, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(matches!(after, Ok(0)), "what was opened is of memory that is gone: {after:?}");
        assert_eq!(anew, Err(Errno::EACCES));
    });
}

#[test]
fn where_the_kernel_confines_nobody_the_daemon_serves_and_says_so() {
    in_child("debugger::where_the_kernel_confines_nobody_the_daemon_serves_and_says_so", || {
        let status = |daemon: &Daemon| fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
        let filters = |daemon: &Daemon| {
            let status = status(daemon);
            let count = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
            count.map(|count| count.trim().parse::<u32>().unwrap())
        };
        let whole = Daemon::start();
        assert!(whole.hello().contains(r#"{"name":"seccomp","on":true}"#), "{}", whole.hello());
        assert!(status(&whole).contains("Seccomp:\t2\n"));
        let before = filters(&whole);

        refuse(libc::SYS_landlock_create_ruleset, None, libc::ENOSYS);
        let landless = Daemon::start();
        let hello = landless.hello();
        let off = r#"{"name":"landlock","on":false,"detail":"this kernel is built without it"}"#;
        assert!(hello.contains(off) && hello.contains(r#"{"name":"seccomp","on":true}"#), "{hello}");
        assert_eq!(filters(&landless), before.map(|count| count + 1), "the one that refuses, and its own");

        refuse(libc::SYS_seccomp, None, libc::EINVAL);
        let bare = Daemon::start();
        let hello = bare.hello();
        assert!(hello.contains(off), "{hello}");
        let off = r#"{"name":"seccomp","on":false,"detail":"the kernel does not take the filter"#;
        assert!(hello.contains(off), "{hello}");
        assert!(hello.contains(r#"{"name":"not_dumpable","on":true}"#), "{hello}");
        assert_eq!(filters(&bare), before.map(|count| count + 1), "those that refuse, and none of its own");
    });
}
