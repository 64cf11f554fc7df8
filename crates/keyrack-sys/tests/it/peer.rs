//! Readings of real peers: of other users, other sessions, dead ones, and those the kernel says
//! less of.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use keyrack_core::peer::{AuditSession, Pid, PidfdError, ReadError, Uid};
use keyrack_sys::peer::{PeerReader, PeerReading, comm, own_namespaces, own_session};
use keyrack_sys::process::pid;
use keyrack_sys::process::pidfd::Pidfd;
use keyrack_sys::socket::{bind_private, connect, wait_readable};
use keyrack_sys::user;
use keyrack_testkit::{Need, can_run, in_new_session};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::support::{STRANGER, again, assert_passed, become_stranger, forked_as, in_child, refuse, role};

const SOON: Duration = Duration::from_secs(10);
const SOCKET: &str = "KEYRACK_SYS_TEST_SOCKET";

/// A reading by one that remembers nothing.
fn read(socket: BorrowedFd<'_>) -> PeerReading {
    PeerReader::new().read(socket)
}

fn listener(dir: &Path) -> UnixListener {
    let listener = bind_private(&dir.join("s")).unwrap();
    // On purpose: only what the reading says is to stand between the peer and us.
    std::fs::set_permissions(dir, PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::set_permissions(dir.join("s"), PermissionsExt::from_mode(0o666)).unwrap();
    listener
}

fn accept(listener: &UnixListener) -> UnixStream {
    assert!(wait_readable(listener.as_fd(), SOON).unwrap(), "no client connected");
    listener.accept().unwrap().0
}

/// In a child: connects to the socket named by the environment.
fn connect_as_told() -> UnixStream {
    connect(Path::new(&std::env::var_os(SOCKET).unwrap()), SOON).unwrap()
}

/// In a child: stays until the parent closes its standard input.
fn wait_for_parent() {
    let _ = std::io::stdin().read(&mut [0]);
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Lets a child of [`start`] go on to its end, which must be a passed test.
fn finish(test: &str, mut child: Child) {
    drop(child.stdin.take());
    assert_passed(test, &child.wait_with_output().unwrap());
}

fn told(test: &str, role: &str, dir: &Path) -> Command {
    let mut command = again(test, role);
    command.env(SOCKET, dir.join("s"));
    command
}

#[test]
fn reading_of_this_process_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(dir.path());
    let client = connect(&dir.path().join("s"), SOON).unwrap();
    let server = accept(&listener);
    // Both ways: the listener's end was made by listen().
    for reading in [read(server.as_fd()), read(client.as_fd())] {
        assert_eq!(reading.facts.uid, Ok(user::effective_uid()));
        assert_eq!(reading.facts.pid, Some(pid::current()));
        assert!(reading.pidfd.unwrap().is_alive());
        assert_eq!(reading.facts.session, own_session());
        assert_eq!(reading.facts.uid_map, own_namespaces().uid_map);
        assert_eq!((reading.facts.own_proc, reading.facts.pid_levels), (true, Ok(1)));
        assert!(reading.facts.alive);
    }
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    assert_eq!(comm(pid::current()).unwrap(), name.trim_end());
    assert_eq!(comm(Pid::from_raw(i32::MAX)).unwrap_err().raw_os_error(), Some(libc::ENOENT));
}

#[test]
fn reading_names_another_user() {
    let test = "peer::reading_names_another_user";
    if !can_run(test, &[Need::Root]) {
        return;
    }
    if role().is_some() {
        become_stranger();
        let _stream = connect_as_told();
        return wait_for_parent();
    }
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(dir.path());
    let child = start(&mut told(test, "peer", dir.path()));
    let reading = read(accept(&listener).as_fd());
    assert_eq!(reading.facts.uid, Ok(Uid::from_raw(STRANGER)));
    assert_eq!(reading.facts.pid, Some(child.id().try_into().unwrap()));
    // Not dumpable since it changed its user: its session can be read all the same.
    assert_eq!(reading.facts.session, own_session());
    assert!(reading.facts.alive);
    finish(test, child);
}

#[test]
fn reading_of_a_non_dumpable_peer_works_for_its_user() {
    let test = "peer::reading_of_a_non_dumpable_peer_works_for_its_user";
    match role().as_deref() {
        None if can_run(test, &[Need::Root]) => in_child(test, || {}),
        None => {}
        Some("child") => {
            become_stranger();
            let dir = tempfile::tempdir().unwrap();
            let listener = listener(dir.path());
            let child = start(&mut told(test, "peer", dir.path()));
            let reading = read(accept(&listener).as_fd());
            assert_eq!((reading.facts.uid, reading.facts.alive), (Ok(Uid::from_raw(STRANGER)), true));
            assert_eq!(reading.facts.pid, Some(child.id().try_into().unwrap()));
            assert_eq!(reading.facts.session, own_session());
            finish(test, child);
        }
        Some(_) => {
            keyrack_sys::hardening::not_dumpable().unwrap();
            let _stream = connect_as_told();
            wait_for_parent();
        }
    }
}

#[test]
fn reading_names_another_session() {
    let test = "peer::reading_names_another_session";
    if !can_run(test, &[Need::Sessions]) {
        return;
    }
    if role().is_some() {
        let mut stream = connect_as_told();
        stream.write_all(&std::fs::read("/proc/self/sessionid").unwrap()).unwrap();
        return wait_for_parent();
    }
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(dir.path());
    let mut seen = vec![own_session().unwrap()];
    for _ in 0..2 {
        let child = start(&mut in_new_session(&told(test, "peer", dir.path())));
        let mut server = accept(&listener);
        let reading = read(server.as_fd());
        assert!(reading.facts.alive);
        let session = reading.facts.session.unwrap();
        assert!(wait_readable(server.as_fd(), SOON).unwrap());
        let mut said = [0; 64];
        let n = server.read(&mut said).unwrap();
        let own = AuditSession::parse(&said[..n]);
        assert_eq!(Some(session), own, "the reading differs from what the peer reads itself");
        assert!(matches!(session, AuditSession::Set(_)), "{session:?}");
        assert!(!seen.contains(&session), "every login has a session of its own");
        seen.push(session);
        finish(test, child);
    }
}

/// Asserts that nothing was read of a peer below `/proc`.
fn assert_not_read(reading: &PeerReading) {
    assert_eq!(reading.facts.session, Err(ReadError::NotRead), "a session was read without a peer");
    assert_eq!(reading.facts.uid_map, Err(ReadError::NotRead));
    assert_eq!(reading.facts.pid_levels, Err(ReadError::NotRead));
}

/// A reading of a peer that has ended says so, in whichever way this kernel has.
fn assert_gone(reading: &PeerReading) {
    match &reading.pidfd {
        Some(pidfd) => {
            assert!(!pidfd.is_alive());
            assert!(!reading.facts.alive);
        }
        None => assert_eq!(reading.facts.pidfd, Err(PidfdError::PeerReaped), "{reading:?}"),
    }
    assert_not_read(reading);
}

#[test]
fn reading_of_a_peer_reaped_before_accept_is_empty() {
    let test = "peer::reading_of_a_peer_reaped_before_accept_is_empty";
    if role().is_some() {
        drop(connect_as_told());
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(dir.path());
    finish(test, start(&mut told(test, "peer", dir.path())));
    let reading = read(accept(&listener).as_fd());
    assert_eq!(reading.facts.uid, Ok(user::effective_uid()));
    assert_gone(&reading);
}

#[test]
fn reading_of_a_peer_that_ended_after_accept_is_not_alive() {
    let test = "peer::reading_of_a_peer_that_ended_after_accept_is_not_alive";
    if role().is_some() {
        let _stream = connect_as_told();
        return wait_for_parent();
    }
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(dir.path());
    let mut child = start(&mut told(test, "peer", dir.path()));
    let server = accept(&listener);
    let before = read(server.as_fd());
    assert!(before.facts.alive);
    let pidfd = before.pidfd.unwrap();

    // A zombie is dead, though its number and session can still be read.
    drop(child.stdin.take());
    assert!(pidfd.wait_exit(SOON));
    assert!(!pidfd.is_alive());
    assert!(!read(server.as_fd()).facts.alive);
    assert_passed(test, &child.wait_with_output().unwrap());
    assert_eq!(pidfd.levels(before.facts.pid.unwrap()), Err(ReadError::ProcessGone));
    assert_gone(&read(server.as_fd()));
}

/// In a child that is about to end: connects as told, and leaves the connection to a process that
/// keeps it, says so through it, and stays until the server hangs up.
#[expect(clippy::zombie_processes, reason = "its parent ends before it does")]
fn leave_an_heir() {
    let stream = connect_as_told();
    fcntl(&stream, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let script = format!("echo heir >&{0}; cat <&{0}", stream.as_raw_fd());
    let mut heir = Command::new("sh");
    heir.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    heir.spawn().unwrap();
}

#[test]
fn reading_of_a_socket_that_outlives_its_opener_is_not_alive() {
    let test = "peer::reading_of_a_socket_that_outlives_its_opener_is_not_alive";
    if role().is_some() {
        return leave_an_heir();
    }
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(dir.path());
    finish(test, start(&mut told(test, "peer", dir.path())));
    let mut server = accept(&listener);
    assert!(wait_readable(server.as_fd(), SOON).unwrap());
    let mut said = [0; 16];
    let n = server.read(&mut said).unwrap();
    assert_eq!(&said[..n], b"heir\n", "the connection must be in use for this to prove anything");
    assert_gone(&read(server.as_fd()));
}

#[test]
fn recycled_pid_of_a_dead_opener_is_not_read() {
    let test = "peer::recycled_pid_of_a_dead_opener_is_not_read";
    if !can_run(test, &[Need::Sessions]) {
        return;
    }
    if role().is_some() {
        return leave_an_heir();
    }
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(dir.path());
    let child = start(&mut in_new_session(&told(test, "peer", dir.path())));
    let number = i32::try_from(child.id()).unwrap();
    finish(test, child);
    let server = accept(&listener);

    // One that lives, in our own session, under the very number SO_PEERCRED still gives.
    let recycled = forked_as(number, || {
        loop {
            // SAFETY: waits for a signal.
            unsafe { libc::pause() };
        }
    });
    assert_eq!(recycled.as_raw(), number);
    let of_number = keyrack_sys::peer::session(Pid::from_raw(number));
    let credentials = nix::sys::socket::getsockopt(&server, nix::sys::socket::sockopt::PeerCredentials);
    let reading = read(server.as_fd());
    nix::sys::signal::kill(recycled, nix::sys::signal::SIGKILL).unwrap();
    nix::sys::wait::waitpid(recycled, None).unwrap();
    assert_eq!(credentials.unwrap().pid(), number);
    assert_eq!(of_number, own_session(), "the number must lead to our session for this to prove anything");
    assert_gone(&reading);
}

#[test]
fn peer_outside_our_pid_namespace_is_never_looked_up() {
    let test = "peer::peer_outside_our_pid_namespace_is_never_looked_up";
    if !can_run(test, &[Need::Root, Need::Program("unshare")]) {
        return;
    }
    if role().is_some() {
        // Never looked up by the number that a `/proc` of the outer namespace has for it.
        let reading = read(std::io::stdin().as_fd());
        assert_eq!(
            (reading.facts.uid, reading.facts.pid),
            (Ok(user::effective_uid()), Some(Pid::from_raw(0)))
        );
        assert_eq!(reading.facts.own_proc, role().as_deref() == Some("own /proc"));
        assert_eq!(reading.facts.pidfd, Err(PidfdError::NotRead));
        assert_not_read(&reading);
        return;
    }
    for (role, options) in
        [("own /proc", &["--pid", "--fork", "--mount-proc"][..]), ("outer /proc", &["--pid", "--fork"])]
    {
        let (theirs, _ours) = UnixStream::pair().unwrap();
        let mut inside = unshared(options, &again(test, role));
        let output = inside.stdin(Stdio::from(OwnedFd::from(theirs))).output().unwrap();
        assert_passed(test, &output);
    }
}

/// Wraps a command so that it runs in namespaces of its own.
fn unshared(options: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new("unshare");
    wrapped.args(options).arg("--").arg(command.get_program()).args(command.get_args());
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped
}

#[test]
fn reading_names_the_namespaces_of_a_peer() {
    let test = "peer::reading_names_the_namespaces_of_a_peer";
    if role().is_some() {
        let _stream = connect_as_told();
        return wait_for_parent();
    }
    if !can_run(test, &[Need::Root, Need::Program("unshare")]) {
        return;
    }
    let own = String::from_utf8(own_namespaces().uid_map.unwrap().as_bytes().to_vec()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(dir.path());
    // What was remembered of one peer is never taken for the next one.
    let reader = PeerReader::with_memory();
    for round in 0..2 {
        for (options, levels, map) in [
            (&["--mount"][..], 1, own.as_str()),
            (&["--pid", "--fork", "--mount-proc"], 2, &own),
            (&["--pid", "--fork"], 2, &own),
            (&["--user"], 1, ""),
            (&["--user", "--map-current-user"], 1, "0 0 1\n"),
            (&["--user", "--map-user=7"], 1, "7 0 1\n"),
            (&["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"], 2, "0 0 1\n"),
        ] {
            let child = start(&mut unshared(options, &told(test, "peer", dir.path())));
            let server = accept(&listener);
            for _ in 0..2 {
                let reading = reader.read(server.as_fd());
                assert!(reading.facts.alive && reading.facts.own_proc, "{options:?}: {reading:?}");
                assert_eq!(reading.facts.pid_levels, Ok(levels), "{options:?}, round {round}");
                let found = String::from_utf8(reading.facts.uid_map.unwrap().as_bytes().to_vec()).unwrap();
                let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
                assert_eq!(words(&found), words(map), "{options:?}, round {round}");
            }
            finish(test, child);
        }
    }
}

/// A process changes its user namespace and keeps its number and inode.
#[test]
fn user_namespace_is_read_each_time() {
    let test = "peer::user_namespace_is_read_each_time";
    if !can_run(test, &[Need::Root]) {
        return;
    }
    if role().is_some() {
        // The harness has a thread of its own, which would be left behind: so this is done by a
        // fork.
        let mut child = Command::new("unshare");
        let stream = connect_as_told();
        fcntl(&stream, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
        child.args(["--user", "sleep", "30"]).stdin(Stdio::null());
        panic!("{}", std::os::unix::process::CommandExt::exec(&mut child));
    }
    let dir = tempfile::tempdir().unwrap();
    let listener = listener(dir.path());
    let mut child = start(&mut told(test, "peer", dir.path()));
    let server = accept(&listener);
    let reader = PeerReader::with_memory();
    let mut maps = Vec::new();
    keyrack_testkit::wait_until("the peer has changed its namespace", SOON, || {
        let reading = reader.read(server.as_fd());
        assert_eq!((reading.facts.alive, reading.facts.pid_levels), (true, Ok(1)));
        maps.push(reading.facts.uid_map.unwrap());
        maps.last().is_some_and(|map| map.as_bytes().is_empty())
    });
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn reader_remembers_nothing_where_processes_share_an_inode() {
    let test = "peer::reader_remembers_nothing_where_processes_share_an_inode";
    in_child(test, || {
        assert!(!format!("{:?}", PeerReader::with_memory()).contains("None"), "pidfs: Linux 6.9");
        assert!(keyrack_sys::peer::own_proc());
        // As on a kernel that has no pidfs.
        refuse(libc::SYS_fstatfs, None, libc::ENOSYS);
        let reader = PeerReader::with_memory();
        assert!(format!("{reader:?}").contains("None"), "{reader:?}");
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(reader.read(one.as_fd()).facts.pid_levels, Ok(1));
    });
}

#[test]
fn proc_of_another_pid_namespace_is_never_read() {
    let test = "peer::proc_of_another_pid_namespace_is_never_read";
    if !can_run(test, &[Need::Root, Need::Program("unshare")]) {
        return;
    }
    if role().is_some() {
        let of_proc = std::fs::read_link("/proc/self").unwrap();
        let of_proc: Pid = of_proc.to_str().unwrap().parse().unwrap();
        assert_ne!(of_proc, pid::current());
        let (one, _other) = UnixStream::pair().unwrap();
        let reading = read(one.as_fd());
        // In that `/proc` our own number is another process's.
        assert!(!reading.facts.own_proc && !keyrack_sys::peer::own_proc());
        assert_eq!(reading.facts.pid, Some(pid::current()));
        assert_eq!(reading.facts.pidfd, Err(PidfdError::NotRead));
        assert_not_read(&reading);
        return;
    }
    assert_passed(test, &unshared(&["--pid", "--fork"], &again(test, "inside")).output().unwrap());
}

/// With `SO_PEERPIDFD` failing in every way there is: only "no such option" lets the weaker number
/// in.
#[test]
fn only_an_unsupported_pidfd_leaves_the_other_facts() {
    let test = "peer::only_an_unsupported_pidfd_leaves_the_other_facts";
    let Some(role) = role() else {
        for errno in [libc::ENOPROTOOPT, libc::EINVAL, libc::ESRCH, libc::ENODATA, libc::EMFILE, libc::EPERM]
        {
            let output = again(test, &errno.to_string()).stdin(Stdio::null()).output().unwrap();
            assert_passed(test, &output);
        }
        return;
    };
    let errno: i32 = role.parse().unwrap();
    let expected = match errno {
        libc::ENOPROTOOPT => PidfdError::Unsupported,
        libc::EINVAL | libc::ESRCH | libc::ENODATA => PidfdError::PeerReaped,
        libc::EMFILE => PidfdError::OutOfDescriptors,
        _ => PidfdError::Io(ErrorKind::PermissionDenied),
    };
    let (one, _other) = UnixStream::pair().unwrap();
    let option = u32::try_from(libc::SO_PEERPIDFD).unwrap();
    refuse(libc::SYS_getsockopt, Some((2, option)), errno);
    let reading = read(one.as_fd());
    assert_eq!(reading.facts.uid, Ok(user::effective_uid()));
    assert!(reading.pidfd.is_none());
    assert_eq!(reading.facts.pidfd, Err(expected));
    assert!(reading.facts.alive, "without a pidfd there is nothing that could say no");
    if errno == libc::ENOPROTOOPT {
        assert_eq!(reading.facts.pid, Some(pid::current()));
        assert_eq!(reading.facts.session, own_session());
        assert_eq!((reading.facts.uid_map, reading.facts.pid_levels), (own_namespaces().uid_map, Ok(1)));
    } else {
        assert_not_read(&reading);
    }
}

#[test]
fn lack_of_descriptors_is_reported_for_each_fact() {
    in_child("peer::lack_of_descriptors_is_reported_for_each_fact", || {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(keyrack_sys::peer::own_proc());
        let next = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
        for spare in 0..2_u64 {
            let limit = u64::try_from(next).unwrap() + spare;
            let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
            setrlimit(Resource::RLIMIT_NOFILE, limit, hard).unwrap();
            let reading = read(one.as_fd());
            assert_eq!(reading.facts.uid, Ok(user::effective_uid()));
            // With none left there is no pidfd; with one, nothing is left to read by.
            match spare {
                0 => {
                    assert_eq!(reading.facts.pidfd, Err(PidfdError::OutOfDescriptors));
                    assert_not_read(&reading);
                }
                _ => {
                    assert!(reading.facts.alive);
                    assert_eq!(reading.facts.session, Err(ReadError::OutOfDescriptors));
                    assert_eq!(
                        (reading.facts.uid_map, reading.facts.pid_levels),
                        (Err(ReadError::OutOfDescriptors), Err(ReadError::OutOfDescriptors))
                    );
                }
            }
        }
    });
}

#[test]
fn reading_takes_well_under_a_millisecond() {
    let (one, _other) = UnixStream::pair().unwrap();
    let reader = PeerReader::with_memory();
    let mut costs: Vec<Duration> = (0..2000)
        .map(|_| {
            let start = Instant::now();
            assert!(reader.read(one.as_fd()).facts.alive);
            start.elapsed()
        })
        .collect();
    costs.sort_unstable();
    // About 10 µs here, mostly the kernel's; the bar is for catching something of another order.
    assert!(costs[1000] < Duration::from_micros(200), "{:?}", costs[1000]);
    eprintln!("a reading: median {:?}", costs[1000]);
}

#[test]
fn reading_of_another_kind_of_descriptor_is_empty() {
    let file = std::fs::File::open("/dev/null").unwrap();
    let reading = read(file.as_fd());
    let not_a_socket = std::io::Error::from_raw_os_error(libc::ENOTSOCK).kind();
    assert_eq!((reading.facts.uid, reading.facts.pid), (Err(ReadError::Io(not_a_socket)), None));
    assert_eq!(reading.facts.pidfd, Err(PidfdError::NotRead));
    assert_not_read(&reading);
    // Held open, this would be another pidfd: it does not count as alive.
    assert!(Pidfd::open(pid::current()).unwrap().is_alive());
}
