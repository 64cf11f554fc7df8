//! Detached daemons: what they inherit, whose children they are, how a failure is told.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::process::signal::Signal;
use keyrack_sys::process::spawn::{READY_FD, SpawnedDaemon, spawn_detached, take_ready_pipe};
use keyrack_sys::socket::wait_readable;
use keyrack_testkit::wait_until;
use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, waitpid};

use crate::support::{again, arguments, in_child, refuse, role, role_variable};

const SOON: Duration = Duration::from_secs(10);

/// Says what it was started with, then stops, so that it can be looked at.
const STOP: &str = r#"echo "$0" "$@" >&3; kill -STOP $$"#;

fn all(mut started: SpawnedDaemon) -> String {
    assert!(wait_readable(started.ready.as_fd(), SOON).unwrap(), "the daemon never spoke");
    let mut text = String::new();
    started.ready.read_to_string(&mut text).unwrap();
    text
}

/// Ends a daemon that was stopped, whatever the test found out about it.
struct Ended(Pidfd);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.signal(Signal::Kill);
    }
}

/// Starts one and holds it against what a daemon of ours must be.
fn assert_detached() {
    let env = [(OsStr::new("KEYRACK_A"), OsStr::new("1 2")), (OsStr::new("B"), OsStr::new(""))];
    let args = ["-c", STOP, "name", "an argument", ""].map(OsStr::new);
    let mut started = spawn_detached(Path::new("/bin/sh"), &args, &env).unwrap();
    let ended = Ended(Pidfd::open(started.pid).unwrap());
    let of = |name: &str| PathBuf::from(format!("/proc/{}/{name}", started.pid));

    assert!(wait_readable(started.ready.as_fd(), SOON).unwrap(), "the daemon never spoke");
    let mut said = [0; 64];
    let n = started.ready.read(&mut said).unwrap();
    assert_eq!(&said[..n], b"name an argument \n");
    // State, then ppid, process group, session, terminal.
    let stat = || std::fs::read_to_string(of("stat")).unwrap();
    wait_until("the daemon stops", SOON, || stat().contains(") T "));
    let stat = stat();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let own = std::process::id().to_string();
    assert_ne!(fields[1], own, "the daemon is still our child");
    let pid = started.pid.to_string();
    assert_eq!(fields[2..5], [&pid, &pid, "0"]);

    assert_eq!(std::fs::read_link(of("cwd")).unwrap(), Path::new("/"));
    assert_eq!(std::fs::read(of("environ")).unwrap(), b"KEYRACK_A=1 2\0B=\0");
    let status = std::fs::read_to_string(of("status")).unwrap();
    for line in [
        "Umask:\t0077",
        "SigBlk:\t0000000000000000",
        "SigIgn:\t0000000000000000",
        "SigPnd:\t0000000000000000",
    ] {
        assert!(status.contains(line), "no {line} in {status}");
    }
    let mut open: Vec<(String, String)> = std::fs::read_dir(of("fd"))
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let target = std::fs::read_link(entry.path()).unwrap().to_string_lossy().into_owned();
            (entry.file_name().to_string_lossy().into_owned(), target)
        })
        .collect();
    open.sort_unstable();
    assert!(open.pop().is_some_and(|(fd, target)| fd == "3" && target.starts_with("pipe:")), "{open:?}");
    assert_eq!(open, ["0", "1", "2"].map(|fd| (fd.to_owned(), "/dev/null".to_owned())));

    // The intermediate child was reaped, the daemon is another's: nothing of ours to wait for.
    assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
    drop(ended);
}

#[test]
fn spawned_daemon_inherits_nothing_but_the_pipe() {
    in_child("spawn::spawned_daemon_inherits_nothing_but_the_pipe", assert_detached);
}

#[test]
fn spawn_works_in_any_state_of_the_parent() {
    in_child("spawn::spawn_works_in_any_state_of_the_parent", || {
        // Descriptors that are inherited, on low numbers and high ones.
        let file = File::open("/etc/passwd").unwrap();
        for target in [3, 4, 5, 10, 11, 12, 200] {
            // SAFETY: dup2 without CLOEXEC onto numbers nothing of this child uses.
            Errno::result(unsafe { libc::dup2(file.as_raw_fd(), target) }).unwrap();
        }
        // SAFETY: ignores and blocks signals of this child only.
        unsafe {
            for signal in [libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGPIPE, libc::SIGRTMIN()] {
                libc::signal(signal, libc::SIG_IGN);
            }
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&raw mut set);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        }
        std::env::set_current_dir("/tmp").unwrap();
        nix::sys::stat::umask(nix::sys::stat::Mode::empty());
        assert_detached();
    });
}

#[test]
fn spawn_works_with_low_descriptors_closed() {
    in_child("spawn::spawn_works_with_low_descriptors_closed", || {
        // The pipes then get these numbers, which the daemon's own must not fall over.
        for closed in [vec![0], vec![3, 4, 5, 6], vec![0, 3], vec![0, 3, 4, 5, 6]] {
            for fd in closed {
                // SAFETY: closes what nothing of this child uses; standard input is /dev/null here.
                unsafe { libc::close(fd) };
            }
            assert_detached();
        }
    });
}

#[test]
fn spawn_works_without_close_range() {
    in_child("spawn::spawn_works_without_close_range", || {
        refuse(libc::SYS_close_range, None, libc::ENOSYS);
        let file = File::open("/etc/passwd").unwrap();
        for target in [4, 200] {
            // SAFETY: dup2 without CLOEXEC onto numbers nothing of this child uses.
            Errno::result(unsafe { libc::dup2(file.as_raw_fd(), target) }).unwrap();
        }
        assert_detached();
    });
}

#[test]
fn spawn_works_in_a_parent_that_ignores_sigchld() {
    in_child("spawn::spawn_works_in_a_parent_that_ignores_sigchld", || {
        // SAFETY: ignores a signal of this child only. The kernel then reaps for it.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        assert_detached();
    });
}

#[test]
fn spawn_restores_the_signal_mask_of_the_caller() {
    in_child("spawn::spawn_restores_the_signal_mask_of_the_caller", || {
        let mask = || std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let blocked = |text: &str| text.lines().find(|l| l.starts_with("SigBlk:")).unwrap().to_owned();
        let before = blocked(&mask());
        assert_detached();
        assert_eq!(blocked(&mask()), before);
    });
}

#[test]
fn failed_spawn_returns_an_error_and_leaves_nothing() {
    in_child("spawn::failed_spawn_returns_an_error_and_leaves_nothing", || {
        let dir = tempfile::tempdir().unwrap();
        let plain = dir.path().join("plain");
        std::fs::write(&plain, "not a program").unwrap();
        let garbage = dir.path().join("garbage");
        std::fs::write(&garbage, "not a program").unwrap();
        std::fs::set_permissions(&garbage, PermissionsExt::from_mode(0o755)).unwrap();
        let nul = [OsStr::new("a\0b")];
        let pair = [(OsStr::new("A"), OsStr::new("b\0"))];
        let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open();
        for (program, args, env, expected) in [
            (Path::new("/no/such/program"), &[][..], &[][..], ErrorKind::NotFound),
            (&plain, &[], &[], ErrorKind::PermissionDenied),
            (dir.path(), &[], &[], ErrorKind::PermissionDenied),
            (Path::new("sh"), &[], &[], ErrorKind::InvalidInput),
            (Path::new("/bin/sh"), &nul, &[], ErrorKind::InvalidInput),
            (Path::new("/bin/sh"), &[], &pair, ErrorKind::InvalidInput),
        ] {
            let error = spawn_detached(program, args, env).unwrap_err();
            assert_eq!(error.kind(), expected, "{}: {error}", program.display());
        }
        let error = spawn_detached(&garbage, &[], &[]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENOEXEC));
        assert_eq!(open(), before, "descriptors were left open");
        assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
    });
}

#[test]
fn failure_of_each_step_in_the_child_is_reported() {
    let test = "spawn::failure_of_each_step_in_the_child_is_reported";
    let steps = [("chdir", libc::SYS_chdir), ("dup", libc::SYS_fcntl), ("setsid", libc::SYS_setsid)];
    let Some(role) = role() else {
        for (step, _) in steps {
            let output = again(test, step).output().unwrap();
            crate::support::assert_passed(step, &output);
        }
        return;
    };
    let (_, number) = steps.into_iter().find(|(step, _)| *step == role).unwrap();
    refuse(number, (role == "dup").then(|| (1, u32::try_from(libc::F_DUPFD_CLOEXEC).unwrap())), libc::ENOMEM);
    let error = spawn_detached(Path::new("/bin/true"), &[], &[]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM), "{role}");
}

#[test]
fn pipe_is_closed_when_the_daemon_dies() {
    let started = spawn_detached(Path::new("/bin/true"), &[], &[]).unwrap();
    assert_eq!(all(started), "");
}

#[test]
fn spawn_works_while_other_threads_allocate() {
    in_child("spawn::spawn_works_while_other_threads_allocate", || {
        let done = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for n in 0..4 {
                let done = &done;
                scope.spawn(move || {
                    for round in 0..10 {
                        let word = format!("{n} {round}");
                        let args = ["-c", "echo $0 >&3", &word].map(OsStr::new);
                        let started = spawn_detached(Path::new("/bin/sh"), &args, &[]).unwrap();
                        assert_eq!(all(started), format!("{word}\n"));
                    }
                    done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                });
            }
            while done.load(std::sync::atomic::Ordering::Relaxed) < 4 {
                std::hint::black_box((0..100).map(|n| vec![1_u8; n * 10]).collect::<Vec<_>>());
            }
        });
        assert_eq!(waitpid(None, Some(WaitPidFlag::WNOHANG)), Err(Errno::ECHILD));
    });
}

#[test]
fn take_ready_pipe_returns_the_pipe_once() {
    let test = "spawn::take_ready_pipe_returns_the_pipe_once";
    match role().as_deref() {
        Some("daemon") => {
            let mut ready = take_ready_pipe().expect("descriptor 3 is the pipe");
            assert_eq!(ready.as_raw_fd(), READY_FD);
            assert!(take_ready_pipe().is_none(), "it was taken twice");
            // SAFETY: F_GETFD touches no memory.
            let flags = unsafe { libc::fcntl(READY_FD, libc::F_GETFD) };
            write!(ready, "ready {flags}").unwrap();
        }
        Some("no pipe") => {
            let file = File::open("/dev/null").unwrap();
            // SAFETY: puts something other than a pipe at a number that nothing in this child uses.
            Errno::result(unsafe { libc::dup2(file.as_raw_fd(), READY_FD) }).unwrap();
            assert!(take_ready_pipe().is_none());
        }
        Some(_) => {
            // SAFETY: closes a number nothing of this child uses.
            unsafe { libc::close(READY_FD) };
            assert!(take_ready_pipe().is_none());
        }
        None => {
            let program = std::env::current_exe().unwrap();
            let (name, value) = role_variable("daemon");
            let args = arguments(test).map(OsStr::new);
            let started = spawn_detached(&program, &args, &[(OsStr::new(name), OsStr::new(value))]).unwrap();
            assert_eq!(all(started), "ready 1");
            for role in ["no pipe", "closed"] {
                crate::support::assert_passed(role, &again(test, role).output().unwrap());
            }
        }
    }
}

#[test]
fn spawn_costs_little_more_than_a_plain_process() {
    let cost = |run: &dyn Fn()| {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    let plain = || {
        std::process::Command::new("/bin/true").status().unwrap();
    };
    let daemon = || {
        all(spawn_detached(Path::new("/bin/true"), &[], &[]).unwrap());
    };
    // The best of interleaved runs: other tests are running beside.
    let pairs: Vec<_> = (0..100).map(|_| (cost(&plain), cost(&daemon))).collect();
    let plain = pairs.iter().map(|pair| pair.0).min().unwrap();
    let daemon = pairs.iter().map(|pair| pair.1).min().unwrap();
    eprintln!("/bin/true: {plain:?}, as a daemon, to its end: {daemon:?}");
    assert!(daemon < plain * 4, "{daemon:?} against {plain:?}");
}
