//! Walks through the processes of a real login session: which count, which do not, and what is not
//! a answer.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use keyrack_core::peer::AuditSession;
use keyrack_sys::peer;
use keyrack_sys::process::pid::Pid;
use keyrack_sys::session::{ScanFilter, ScanStep, SessionProcess, SessionScan, check_scan_support};
use keyrack_testkit::{Need, Reaped, can_run, in_new_session, wait_until};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{again, become_stranger, in_child, refuse, role};

const SOON: Duration = Duration::from_secs(10);

/// A whole walk: a process, or whether one vanished.
fn walk(session: u32) -> std::io::Result<Result<SessionProcess, bool>> {
    let mut walk = SessionScan::start(ScanFilter { session, exclude_comm: "keyrackd" })?;
    loop {
        match walk.step()? {
            ScanStep::More => {}
            ScanStep::Found(member) => return Ok(Ok(member)),
            ScanStep::Done { vanished } => return Ok(Err(vanished)),
        }
    }
}

fn somebody(session: u32) -> Option<SessionProcess> {
    walk(session).unwrap().ok()
}

/// Returns the number of a session, as the kernel writes it.
fn number(session: AuditSession) -> u32 {
    match session {
        AuditSession::Set(id) => id,
        AuditSession::Unset => u32::MAX,
    }
}

/// The session of a process, once it is one of its own.
fn session_of(pid: u32) -> u32 {
    let own = peer::own_session().map(number).unwrap();
    let mut session = own;
    wait_until("the child is in a session of its own", SOON, || {
        session = peer::session(pid.try_into().unwrap()).map_or(own, number);
        session != own
    });
    session
}

/// A process in a login session of its own, that ends with its standard input.
fn in_session(script: &str) -> Reaped {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    Reaped::spawn(in_new_session(&command).stdin(Stdio::piped()))
}

fn state(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().unwrap().split_whitespace().next().unwrap_or_default().to_owned()
}

#[test]
fn scan_counts_processes_of_any_user_until_they_end() {
    if !can_run(
        "scan_counts_processes_of_any_user_until_they_end",
        &[Need::Sessions, Need::Program("setpriv")],
    ) {
        return;
    }
    check_scan_support().unwrap();
    let mut leader = in_session("setpriv --reuid 61234 --clear-groups sleep 60 & read line");
    let session = session_of(leader.pid());
    // The shell, and the other user's process that outlives it.
    let shell = somebody(session).unwrap();
    assert_eq!(shell.pid(), leader.pid().try_into().unwrap());
    assert!(shell.is_still_wanted());
    wait_until("the other user's process runs", SOON, || {
        children(leader.pid()).iter().any(|pid| peer::comm(*pid).is_ok_and(|comm| comm == "sleep"))
    });
    let other = children(leader.pid())[0];
    drop(leader.0.stdin.take());
    wait_until("the shell has ended", SOON, || !shell.is_still_wanted());
    assert_eq!(state(leader.pid()), "Z", "and was not reaped");
    let sleeper = somebody(session).unwrap();
    assert_eq!(sleeper.pid(), other, "a zombie does not count, its child does");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(other.as_raw()), nix::sys::signal::SIGKILL).unwrap();
    wait_until("it has ended", SOON, || !sleeper.is_alive());
    wait_until("only a zombie is left", SOON, || matches!(walk(session).unwrap(), Err(false)));
    assert_eq!(state(leader.pid()), "Z");
}

/// The processes whose parent this is.
fn children(pid: u32) -> Vec<Pid> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

#[test]
fn scan_ignores_the_excluded_name() {
    if !can_run("scan_ignores_the_excluded_name", &[Need::Sessions]) {
        return;
    }
    let mut leader = in_session("read line; printf keyrackd > /proc/self/comm; read line; read line");
    let session = session_of(leader.pid());
    let member = somebody(session).unwrap();
    assert!(member.is_still_wanted());
    let mut input = leader.0.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"\n").unwrap();
    wait_until("it has taken the name", SOON, || !member.is_still_wanted());
    assert!(member.is_alive());
    assert!(matches!(walk(session).unwrap(), Err(false)));
}

#[test]
fn scan_ignores_processes_that_left_the_session() {
    if !can_run("scan_ignores_processes_that_left_the_session", &[Need::Sessions]) {
        return;
    }
    // As a program does that logs people in.
    let mut leader = in_session("read line; echo 0 > /proc/self/loginuid; read line");
    let session = session_of(leader.pid());
    let member = somebody(session).unwrap();
    assert!(member.is_still_wanted());
    let mut input = leader.0.stdin.take().unwrap();
    std::io::Write::write_all(&mut input, b"\n").unwrap();
    wait_until("it has left", SOON, || !member.is_still_wanted());
    assert!(member.is_alive());
    assert!(somebody(session).is_none());
}

/// The first thread of a process may end before the others: the process is there still.
#[test]
fn scan_counts_a_process_whose_first_thread_ended() {
    let test = "session::scan_counts_a_process_whose_first_thread_ended";
    if !can_run(test, &[Need::Sessions]) {
        return;
    }
    if role().is_some() {
        // SAFETY: no thread of this process allocates meanwhile, and the child starts a thread and
        // ends its first one, no more.
        match unsafe { libc::fork() } {
            0 => {
                std::thread::spawn(|| {
                    let _ = std::io::stdin().read(&mut [0]);
                    // SAFETY: ends the process at once, as is meant.
                    unsafe { libc::_exit(0) }
                });
                // SAFETY: ends this thread alone; nothing of it is used by another.
                unsafe { libc::syscall(libc::SYS_exit, 0) };
            }
            // SAFETY: ends the process at once: the child must be alone in the session.
            _ => unsafe { libc::_exit(0) },
        }
    }
    let mut command = in_new_session(&again(test, "child"));
    let mut parent = Reaped::spawn(command.stdin(Stdio::piped()).stdout(Stdio::null()));
    let session = session_of(parent.pid());
    wait_until("the parent has ended", SOON, || state(parent.pid()) == "Z");
    let member = somebody(session).expect("the process lives");
    let pid = u32::try_from(member.pid().as_raw()).unwrap();
    wait_until("its first thread has ended", SOON, || state(pid) == "Z");
    assert_eq!(somebody(session).expect("it lives still").pid(), member.pid());
    assert!(member.is_still_wanted());
    drop(parent.0.stdin.take());
    wait_until("it has ended", SOON, || !member.is_alive());
    assert!(somebody(session).is_none());
}

/// A chain of processes, each of which starts the next and ends: there is always one, and never one
/// for long.
#[test]
fn scan_sees_a_chain_of_short_lived_processes() {
    let test = "session::scan_sees_a_chain_of_short_lived_processes";
    if !can_run(test, &[Need::Sessions]) {
        return;
    }
    const UNTIL: &str = "KEYRACK_SYS_TEST_UNTIL";
    if role().is_some() {
        let until = std::env::var(UNTIL).unwrap();
        let until = std::ffi::CString::new(until).unwrap();
        // At most so many, if nothing ends it.
        for _ in 0..20_000 {
            std::thread::sleep(Duration::from_micros(500));
            // SAFETY: each child goes on with this loop alone: it makes system calls, and the sleep
            // allocates nothing.
            match unsafe { libc::fork() } {
                0 => {}
                // SAFETY: both only make a system call; _exit ends the process.
                _ => unsafe { libc::_exit(0) },
            }
            // SAFETY: the path ends in NUL and lives.
            if unsafe { libc::access(until.as_ptr(), libc::F_OK) } == 0 {
                break;
            }
        }
        // SAFETY: ends the process.
        unsafe { libc::_exit(0) }
    }
    let dir = tempfile::tempdir().unwrap();
    let until = dir.path().join("until");
    let mut command = again(test, "child");
    command.env(UNTIL, &until);
    let mut command = in_new_session(&command);
    // The first of the chain is not reaped before the end, and is the one to ask for the session.
    let first = Reaped::spawn(command.stdin(Stdio::null()).stdout(Stdio::null()));
    let session = session_of(first.pid());
    wait_until("the chain has begun", SOON, || state(first.pid()) == "Z");
    let begun = Instant::now();
    let (mut found, mut vanished, mut empty) = (0, 0, 0);
    let mut last = Pid::from_raw(0);
    let mut links = 0;
    while begun.elapsed() < Duration::from_secs(3) {
        match walk(session).unwrap() {
            Ok(member) => {
                found += 1;
                links += u32::from(last != member.pid());
                last = member.pid();
            }
            Err(true) => vanished += 1,
            Err(false) => empty += 1,
        }
    }
    std::fs::write(&until, "").unwrap();
    eprintln!(
        "of {} walks: {found} found one, {vanished} missed one, {empty} found none",
        found + vanished + empty
    );
    assert!(links > 5, "it was a chain: {links}");
    // Code that relies on it requires two in a row.
    assert!(empty * 20 <= found, "{empty} of {found}");
    wait_until("the chain has ended", SOON, || matches!(walk(session).unwrap(), Err(false)));
}

#[test]
fn failed_scan_is_an_error_not_an_empty_session() {
    let test = "session::failed_scan_is_an_error_not_an_empty_session";
    in_child(test, || {
        // No process has this one.
        let nobody = 4_000_000_000;
        assert!(matches!(walk(nobody), Ok(Err(false))));
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, 64, hard).unwrap();
        let mut taken: Vec<_> = std::iter::from_fn(|| std::fs::File::open("/dev/null").ok()).collect();
        // No descriptor for the directory, then none for a file in it.
        for _ in 0..2 {
            assert_eq!(walk(nobody).unwrap_err().raw_os_error(), Some(libc::EMFILE));
            drop(taken.pop());
        }
        drop(taken);
        setrlimit(Resource::RLIMIT_NOFILE, soft, hard).unwrap();
        assert!(matches!(walk(nobody), Ok(Err(false))));
        refuse(libc::SYS_getdents64, None, libc::EIO);
        assert_eq!(walk(nobody).unwrap_err().raw_os_error(), Some(libc::EIO));
    });
}

#[test]
fn process_that_cannot_be_held_is_an_error() {
    let test = "session::process_that_cannot_be_held_is_an_error";
    in_child(test, || {
        let own = number(peer::own_session().unwrap());
        let _child = Reaped::spawn(Command::new("sleep").arg("60"));
        assert!(matches!(walk(own), Ok(Ok(_))));
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOSYS, Errno::EPERM, Errno::ENOMEM] {
            // The newest filter's errno is the one returned.
            refuse(libc::SYS_pidfd_open, None, errno as i32);
            assert_eq!(walk(own).unwrap_err().raw_os_error(), Some(errno as i32));
            assert_eq!(check_scan_support().unwrap_err().raw_os_error(), Some(errno as i32));
        }
    });
}

#[test]
fn scan_works_for_another_user() {
    let test = "session::scan_works_for_another_user";
    if !can_run(test, &[Need::Sessions]) {
        return;
    }
    if let Some(session) = role() {
        become_stranger();
        let member = somebody(session.parse().unwrap()).expect("a process of root's");
        assert!(member.is_still_wanted());
        return;
    }
    let leader = in_session("read line");
    let session = session_of(leader.pid());
    let output = again(test, &session.to_string()).stdin(Stdio::null()).output().unwrap();
    crate::support::assert_passed(test, &output);
    drop(leader);
}
