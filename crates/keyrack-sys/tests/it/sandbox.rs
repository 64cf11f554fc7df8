//! A confined process, tried from within: what it can still do, what fails, and what is the end of
//! it; and that no wall is claimed that does not stand.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use keyrack_sys::clock::{DeadlineTimers, boot_ns};
use keyrack_sys::fs::file::{FileId, unlink_if_same};
use keyrack_sys::fs::private_dir::PrivateDir;
use keyrack_sys::hardening::HardeningMeasure;
use keyrack_sys::memory::{Budget, ModeRequest, Pool};
use keyrack_sys::process::pid::Pid;
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::{peer, sandbox, socket};
use keyrack_testkit::{Need, can_run};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};

use crate::support::{exit_code, forked, in_child, refuse};

/// Returns `true` if this kernel has landlock (`LANDLOCK_CREATE_RULESET_VERSION`).
fn landlock_abi() -> i64 {
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: asked for its version, the call takes no structure.
    unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, none, 0, 1) }
}

fn has_landlock(test: &str) -> bool {
    can_run(test, &[Need::That(landlock_abi() > 0, "a kernel with landlock")])
}

fn private() -> (tempfile::TempDir, PrivateDir) {
    let dir = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(dir.path(), mode).unwrap();
    let held = PrivateDir::open(&dir.path().canonicalize().unwrap()).unwrap();
    (dir, held)
}

fn find(measures: &[HardeningMeasure], name: &str) -> HardeningMeasure {
    measures.iter().find(|measure| measure.name == name).unwrap().clone()
}

/// Runs `body` in a forked process, which unlike a test has one thread alone. Says which check
/// failed, if one did.
#[track_caller]
fn alone(body: impl FnOnce(&mut Checks)) {
    let child = forked(|| {
        let mut checks = Checks(0);
        body(&mut checks);
        checks.0
    });
    assert_eq!(exit_code(child), 0, "that many checks failed, see above");
}

struct Checks(u8);

impl Checks {
    fn hold(&mut self, what: &str, holds: bool) {
        if !holds {
            eprintln!("does not hold: {what} ({})", io::Error::last_os_error());
            self.0 += 1;
        }
    }

    fn fails<T>(&mut self, what: &str, result: io::Result<T>, errno: Errno) {
        let failure = result.err().and_then(|error| error.raw_os_error()).map(Errno::from_raw);
        if failure != Some(errno) {
            eprintln!("{what}: {failure:?} instead of {errno}");
            self.0 += 1;
        }
    }
}

/// A system call by number. Of those used here none follows a pointer that is given.
fn call(number: libc::c_long, arguments: [libc::c_long; 6]) -> io::Result<libc::c_long> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: see above; where a pointer is expected, null is given.
    Ok(Errno::result(unsafe { libc::syscall(number, a, b, c, d, e, f) })?)
}

/// The groups of a user come before other lines of `/proc/self/status`, and may fill more than the
/// page that one read gives.
#[test]
fn process_with_many_groups_is_confined() {
    let test = "sandbox::process_with_many_groups_is_confined";
    if !has_landlock(test) || !can_run(test, &[Need::Root]) {
        return;
    }
    in_child(test, || {
        let (_dir, held) = private();
        alone(|checks| {
            let groups: Vec<_> = (100_000..102_000).map(nix::unistd::Gid::from_raw).collect();
            nix::unistd::setgroups(&groups).unwrap();
            let measures = sandbox::confine(&held);
            eprintln!("{measures:?}");
            checks.hold("landlock", find(&measures, "landlock").on);
            checks.hold("seccomp", find(&measures, "seccomp").on);
        });
    });
}

#[test]
fn landlock_and_seccomp_are_on_and_name_what_they_lack() {
    let test = "sandbox::landlock_and_seccomp_are_on_and_name_what_they_lack";
    if !has_landlock(test) {
        return;
    }
    let abi = landlock_abi();
    in_child(test, || {
        let (_dir, held) = private();
        alone(|checks| {
            let measures = sandbox::confine(&held);
            eprintln!("{measures:?}");
            checks.hold("two measures", measures.len() == 2);
            let landlock = find(&measures, "landlock");
            checks.hold("landlock is on", landlock.on);
            let detail = landlock.detail.unwrap_or_default();
            let number = detail.split([' ', ',']).nth(1).and_then(|number| number.parse().ok());
            checks.hold("its ABI is told", number == Some(abi));
            checks.hold(
                "seccomp",
                find(&measures, "seccomp") == HardeningMeasure { name: "seccomp", on: true, detail: None },
            );
            let status = fs::read_to_string("/proc/self/status").unwrap();
            for line in ["Seccomp:\t2\n", "NoNewPrivs:\t1\n"] {
                checks.hold(line, status.contains(line));
            }
        });
    });
}

#[test]
fn confined_process_can_do_what_a_daemon_needs() {
    let test = "sandbox::confined_process_can_do_what_a_daemon_needs";
    in_child(test, || {
        let (dir, held) = private();
        let path = held.path().join("k.sock");
        let listener = socket::bind_private(&path).unwrap();
        let id = FileId::of(&path).unwrap();
        let mut client = UnixStream::connect(&path).unwrap();
        io::Write::write_all(&mut client, b"request").unwrap();
        let own = std::process::id();
        let reader = peer::PeerReader::with_memory();
        alone(|checks| {
            let _ = sandbox::confine(&held);
            checks.hold("a file of our own is seen", FileId::of(&path).ok() == Some(id));
            let accepted = socket::accept(&listener);
            checks.hold("a caller is accepted", accepted.is_ok());
            for _ in 0..2 {
                let reading = accepted.as_ref().map(|stream| reader.read(stream.as_fd())).unwrap();
                checks.hold("and told", reading.facts.pid == own.try_into().ok());
                checks.hold("and alive", reading.facts.alive && reading.facts.session.is_ok());
                checks.hold(
                    "and its namespaces",
                    reading.facts.pid_levels == Ok(1) && reading.facts.uid_map.is_ok(),
                );
            }
            let mut bytes = [0; 16];
            let came = accepted.as_ref().map(|stream| socket::receive(stream.as_fd(), &mut bytes).ok());
            let sender = came.ok().flatten().and_then(|(_, sender)| sender);
            checks.hold("and heard", sender.is_some_and(|sender| Ok(sender.pid) == own.try_into()));
            let written = accepted.and_then(|mut stream| io::Write::write_all(&mut stream, b"reply"));
            checks.hold("and answered", written.is_ok());
            checks
                .hold("processes are listed", fs::read_dir("/proc").is_ok_and(|entries| entries.count() > 2));
            checks.hold("and named", peer::comm(Pid::from_raw(1)).is_ok());
            checks.hold("and held", Pidfd::open(own.try_into().unwrap()).is_ok_and(|held| held.is_alive()));
            let timers = DeadlineTimers::new();
            let fired = timers.and_then(|timers| {
                timers.set(Some(boot_ns()), None)?;
                socket::wait_readable(timers.boot_fd(), Duration::from_secs(5))
            });
            checks.hold("a timer fires", fired.ok() == Some(true));
            let pool = Pool::new(ModeRequest::Auto, Budget::default());
            let secret = pool.ok().and_then(|pool| pool.store(&[7; 300_000]).ok());
            checks.hold("there is room for secrets", secret.is_some());
            checks.hold("and for all else", !std::hint::black_box(vec![1_u8; 50 << 20]).is_empty());
            checks.hold("a number by chance", std::collections::HashSet::from([1]).contains(&1));
            checks.hold("an own file is removed", unlink_if_same(&path, id).ok() == Some(true));
            // An abort signals itself.
            let own = libc::c_long::from(std::process::id());
            checks.hold("a signal to ourselves", call(libc::SYS_tgkill, [own, own, 0, 0, 0, 0]).is_ok());
        });
        let mut reply = String::new();
        io::Read::read_to_string(&mut client, &mut reply).unwrap();
        assert_eq!(reply, "reply");
        assert!(!path.exists());
        drop(dir);
    });
}

#[test]
fn confined_process_cannot_do_anything_else() {
    let test = "sandbox::confined_process_cannot_do_anything_else";
    if !has_landlock(test) {
        return;
    }
    in_child(test, || {
        let (dir, held) = private();
        let other = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        for path in [&file, &other.path().join("file")] {
            fs::write(path, "precious").unwrap();
        }
        let _listener = UnixListener::bind(other.path().join("s")).unwrap();
        let open = File::options().write(true).open("/dev/null").unwrap();
        let parent = libc::c_long::from(std::process::id());
        alone(|c| {
            let own = libc::c_long::from(std::process::id());
            let _ = sandbox::confine(&held);
            let (eperm, eacces) = (Errno::EPERM, Errno::EACCES);
            // Files, by landlock where they are read, by seccomp where more is asked.
            for path in ["/etc/passwd", "/", "/dev/null", "/sys/power/disk", "/run"] {
                if Path::new(path).exists() {
                    c.fails(path, File::open(path), eacces);
                }
            }
            c.fails("our own directory, listed", fs::read_dir(dir.path()), eacces);
            c.fails("a file of our own, read", File::open(&file), eacces);
            c.fails("written", File::options().write(true).open(&file), eperm);
            c.fails("appended", File::options().append(true).open(&file), eperm);
            c.fails("made", File::create_new(dir.path().join("new")), eperm);
            c.fails(
                "a secret file",
                File::open("/proc/self/mem").and_then(|_| File::options().write(true).open("/proc/self/mem")),
                eperm,
            );
            c.fails(
                "below /proc, written",
                File::options().write(true).open("/proc/self/oom_score_adj"),
                eperm,
            );
            c.fails("another's file removed", fs::remove_file(other.path().join("file")), eacces);
            c.fails("a directory made", fs::create_dir(dir.path().join("d")), eperm);
            c.fails("renamed", fs::rename(&file, dir.path().join("n")), eperm);
            c.fails("linked", fs::hard_link(&file, dir.path().join("n")), eperm);
            c.fails("a link made", std::os::unix::fs::symlink(&file, dir.path().join("n")), eperm);
            c.fails(
                "its mode",
                fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o777)),
                eperm,
            );
            c.fails("read as a link", fs::read_link("/proc/self/exe"), eperm);
            // The network, and other processes' sockets.
            c.fails("a socket", UnixStream::connect(other.path().join("s")), eperm);
            c.fails("a listener", std::net::TcpListener::bind("127.0.0.1:0"), eperm);
            c.fails("a pair", UnixStream::pair(), eperm);
            // Processes and threads. musl gives another reason.
            c.hold("no thread", std::thread::Builder::new().spawn(|| {}).is_err());
            let none = [0; 6];
            for (name, number) in [
                ("clone", libc::SYS_clone),
                ("clone3", libc::SYS_clone3),
                ("unshare", libc::SYS_unshare),
                ("setns", libc::SYS_setns),
                ("kill", libc::SYS_kill),
                ("pidfd_send_signal", libc::SYS_pidfd_send_signal),
                ("pidfd_getfd", libc::SYS_pidfd_getfd),
                ("kcmp", libc::SYS_kcmp),
                ("process_madvise", libc::SYS_process_madvise),
                ("prctl", libc::SYS_prctl),
                ("prlimit64", libc::SYS_prlimit64),
                ("setuid", libc::SYS_setuid),
                ("capset", libc::SYS_capset),
                ("personality", libc::SYS_personality),
                ("seccomp", libc::SYS_seccomp),
                ("bpf", libc::SYS_bpf),
                ("perf_event_open", libc::SYS_perf_event_open),
                ("userfaultfd", libc::SYS_userfaultfd),
                ("io_uring_setup", libc::SYS_io_uring_setup),
                ("add_key", libc::SYS_add_key),
                ("keyctl", libc::SYS_keyctl),
                ("memfd_create", libc::SYS_memfd_create),
                ("shmat", libc::SYS_shmat),
                ("pkey_mprotect", libc::SYS_pkey_mprotect),
                ("vmsplice", libc::SYS_vmsplice),
                ("ioctl", libc::SYS_ioctl),
                ("sendmsg", libc::SYS_sendmsg),
                ("dup3", libc::SYS_dup3),
                ("setsockopt", libc::SYS_setsockopt),
                ("mount", libc::SYS_mount),
                ("chdir", libc::SYS_chdir),
                ("clock_settime", libc::SYS_clock_settime),
                ("openat2", libc::SYS_openat2),
                ("open_by_handle_at", libc::SYS_open_by_handle_at),
            ] {
                c.fails(name, call(number, none), eperm);
            }
            let usr1 = libc::c_long::from(libc::SIGUSR1);
            c.fails("a signal to another", call(libc::SYS_tgkill, [parent, parent, usr1, 0, 0, 0]), eperm);
            c.fails("to a thread", call(libc::SYS_tkill, [parent, usr1, 0, 0, 0, 0]), eperm);
            c.fails(
                "prctl(PR_SET_DUMPABLE)",
                nix::sys::prctl::set_dumpable(true).map_err(io::Error::from),
                eperm,
            );
            let duplicate =
                [libc::c_long::from(open.as_raw_fd()), libc::c_long::from(libc::F_DUPFD), 3, 0, 0, 0];
            c.fails("a descriptor twice", call(libc::SYS_fcntl, duplicate), eperm);
            // Code.
            let (read, exec) = (libc::c_long::from(libc::PROT_READ), libc::c_long::from(libc::PROT_EXEC));
            let flags = libc::c_long::from(libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            c.fails("code", call(libc::SYS_mmap, [0, 4096, read | exec, flags, -1, 0]), eperm);
            let page = call(libc::SYS_mmap, [0, 4096, read, flags, -1, 0]);
            c.hold("data", page.is_ok());
            c.fails(
                "data into code",
                call(libc::SYS_mprotect, [page.unwrap_or(0), 4096, exec, 0, 0, 0]),
                eperm,
            );
            // The other numbering of calls on this machine.
            #[cfg(target_arch = "x86_64")]
            c.fails("x32", call(0x4000_0000 | libc::SYS_getpid, none), eperm);
            c.hold("the process is as it was", libc::c_long::from(std::process::id()) == own);
        });
        assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
        assert_eq!(fs::read_to_string(other.path().join("file")).unwrap(), "precious");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    });
}

#[test]
fn exec_and_foreign_memory_kill_a_confined_process() {
    in_child("sandbox::exec_and_foreign_memory_kill_a_confined_process", || {
        let (_dir, held) = private();
        let mut calls = vec![
            ("execve", libc::SYS_execve),
            ("execveat", libc::SYS_execveat),
            ("ptrace", libc::SYS_ptrace),
            ("process_vm_readv", libc::SYS_process_vm_readv),
            ("process_vm_writev", libc::SYS_process_vm_writev),
        ];
        if cfg!(target_arch = "x86_64") {
            calls.push(("int 0x80", -1));
        }
        for (name, number) in calls {
            let child = forked(|| {
                let _ = sandbox::confine(&held);
                let _ = if number == -1 { old_call() } else { call(number, [0; 6]) };
                1
            });
            let ended = waitpid(child, None).unwrap();
            let killed = matches!(ended, WaitStatus::Signaled(_, Signal::SIGSYS, _));
            // Kernels without 32-bit calls know no such interrupt.
            let unknown = number == -1 && matches!(ended, WaitStatus::Signaled(_, Signal::SIGSEGV, _));
            assert!(killed || unknown, "{name}: {ended:?}");
        }
    });
}

#[test]
fn abort_works_in_a_confined_process() {
    in_child("sandbox::abort_works_in_a_confined_process", || {
        let (_dir, held) = private();
        let child = forked(|| {
            let _ = sandbox::confine(&held);
            std::process::abort()
        });
        let ended = waitpid(child, None).unwrap();
        assert!(matches!(ended, WaitStatus::Signaled(_, Signal::SIGABRT, _)), "{ended:?}");
    });
}

/// getpid by the 32-bit numbering, where it is 20.
#[cfg(target_arch = "x86_64")]
fn old_call() -> io::Result<libc::c_long> {
    let result: i64;
    // SAFETY: the call takes nothing and touches no memory.
    unsafe { std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => result) };
    Ok(result)
}

#[cfg(not(target_arch = "x86_64"))]
fn old_call() -> io::Result<libc::c_long> {
    Ok(0)
}

#[test]
fn confine_reports_what_the_kernel_lacks_and_does_the_rest() {
    in_child("sandbox::confine_reports_what_the_kernel_lacks_and_does_the_rest", || {
        let cases: [(&str, libc::c_long, i32, &str); 6] = [
            ("landlock", libc::SYS_landlock_create_ruleset, libc::ENOSYS, "built without it"),
            ("landlock", libc::SYS_landlock_create_ruleset, libc::EOPNOTSUPP, "started without it"),
            ("landlock", libc::SYS_landlock_restrict_self, libc::E2BIG, "cannot be set up"),
            // A call that claims to be done, and is not.
            ("landlock", libc::SYS_landlock_restrict_self, 0, "what it forbids still works"),
            ("seccomp", libc::SYS_seccomp, libc::EINVAL, "does not take the filter"),
            ("seccomp", libc::SYS_seccomp, 0, "it is not confirmed"),
        ];
        let landlock = landlock_abi() > 0;
        for (name, number, errno, expected) in cases {
            if number == libc::SYS_landlock_restrict_self && !landlock {
                continue;
            }
            let (_dir, held) = private();
            alone(|checks| {
                refuse(number, None, errno);
                let measures = sandbox::confine(&held);
                eprintln!("{measures:?}");
                let measure = find(&measures, name);
                checks.hold(expected, !measure.on && measure.detail.unwrap_or_default().contains(expected));
                let other = find(&measures, if name == "landlock" { "seccomp" } else { "landlock" });
                checks.hold("the other one is on", other.on || !landlock);
            });
        }
    });
}

#[test]
fn confine_does_nothing_with_a_second_thread() {
    in_child("sandbox::confine_does_nothing_with_a_second_thread", || {
        let (_dir, held) = private();
        // A test has one beside the main thread.
        for measure in sandbox::confine(&held) {
            let detail = measure.detail.unwrap_or_default();
            assert!(!measure.on && detail.contains("threads already"), "{}: {detail}", measure.name);
        }
        File::open("/etc/passwd").unwrap();
    });
}
