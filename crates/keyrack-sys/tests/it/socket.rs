//! Private sockets and bounded connects.

use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use keyrack_sys::socket::{
    PATH_BYTES, Sender, accept, bind_private, connect, note_senders, receive, wait_readable, wait_writable,
};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
use nix::sys::stat::{Mode, umask};

use crate::support::in_child;

const SOON: Duration = Duration::from_secs(10);

fn errno(error: &std::io::Error) -> Option<i32> {
    error.raw_os_error()
}

/// A path of exactly `bytes` bytes below `dir`.
fn path_of(dir: &Path, bytes: usize) -> PathBuf {
    dir.join("s".repeat(bytes - dir.as_os_str().len() - 1))
}

#[test]
fn bound_socket_is_private_under_any_umask() {
    in_child("socket::bound_socket_is_private_under_any_umask", || {
        let dir = tempfile::tempdir().unwrap();
        for (n, mask) in [0, 0o022, 0o077, 0o777].into_iter().enumerate() {
            let path = dir.path().join(n.to_string());
            umask(Mode::from_bits_truncate(mask));
            let listener = bind_private(&path).unwrap();
            assert_eq!(umask(Mode::empty()).bits(), mask, "the umask came back changed");
            let found = std::fs::symlink_metadata(&path).unwrap();
            assert!(found.file_type().is_socket());
            assert_eq!(found.permissions().mode() & 0o7777, 0o600, "umask {mask:o}");
            let descriptor = FdFlag::from_bits_retain(fcntl(&listener, FcntlArg::F_GETFD).unwrap());
            assert!(descriptor.contains(FdFlag::FD_CLOEXEC));
            let status = OFlag::from_bits_retain(fcntl(&listener, FcntlArg::F_GETFL).unwrap());
            assert!(status.contains(OFlag::O_NONBLOCK));
            assert_eq!(listener.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
        }
    });
}

#[test]
fn too_long_path_is_rejected_before_anything_happens() {
    let dir = tempfile::tempdir().unwrap();
    let longest = path_of(dir.path(), PATH_BYTES);
    assert_eq!(longest.as_os_str().as_bytes().len(), 107);
    let _listener = bind_private(&longest).unwrap();
    assert!(longest.exists());
    connect(&longest, SOON).unwrap();

    for bytes in [108, 109, 200] {
        let path = path_of(dir.path(), bytes);
        assert_eq!(errno(&bind_private(&path).unwrap_err()), Some(libc::ENAMETOOLONG));
        assert_eq!(errno(&connect(&path, SOON).unwrap_err()), Some(libc::ENAMETOOLONG));
    }
    assert_eq!(errno(&bind_private(Path::new("")).unwrap_err()), Some(libc::ENOENT));
    assert_eq!(errno(&connect(Path::new(""), SOON).unwrap_err()), Some(libc::ENOENT));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn bind_leaves_an_existing_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("file"), "x").unwrap();
    std::fs::create_dir(at("dir")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    symlink(at("file"), at("link")).unwrap();
    drop(bind_private(&at("dead")).unwrap());
    for name in ["file", "dir", "dangling", "link", "dead"] {
        assert_eq!(errno(&bind_private(&at(name)).unwrap_err()), Some(libc::EADDRINUSE), "{name}");
    }
    assert_eq!(std::fs::read(at("file")).unwrap(), b"x");
    assert!(!at("nowhere").exists());
    assert_eq!(errno(&bind_private(&at("no/dir")).unwrap_err()), Some(libc::ENOENT));
}

#[test]
fn connect_distinguishes_missing_dead_and_forbidden_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    drop(bind_private(&at("dead")).unwrap());
    std::fs::write(at("file"), "x").unwrap();
    for (name, expected) in
        [("nothing", libc::ENOENT), ("dead", libc::ECONNREFUSED), ("file", libc::ECONNREFUSED)]
    {
        let start = Instant::now();
        assert_eq!(errno(&connect(&at(name), SOON).unwrap_err()), Some(expected), "{name}");
        assert!(start.elapsed() < SOON / 2, "{name} was tried again");
    }
}

#[test]
fn wait_readable_returns_at_data_or_timeout() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = bind_private(&path).unwrap();
    let mut client = connect(&path, SOON).unwrap();
    assert!(wait_readable(listener.as_fd(), SOON).unwrap());
    let (mut server, _) = listener.accept().unwrap();

    assert!(!wait_readable(client.as_fd(), Duration::ZERO).unwrap());
    let start = Instant::now();
    assert!(!wait_readable(client.as_fd(), Duration::from_millis(30)).unwrap());
    assert!(start.elapsed() >= Duration::from_millis(30));
    assert_eq!(client.read(&mut [0; 8]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);

    server.write_all(b"hello").unwrap();
    assert!(wait_readable(client.as_fd(), SOON).unwrap());
    let mut said = [0; 5];
    client.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"hello");

    assert!(wait_writable(client.as_fd(), SOON).unwrap());
    while client.write(&[0; 65536]).is_ok() {}
    assert!(!wait_writable(client.as_fd(), Duration::from_millis(5)).unwrap());
    drop(server);
    // An end is something to read, and a broken pipe something to find out by writing.
    assert!(wait_readable(client.as_fd(), SOON).unwrap());
    assert!(wait_writable(client.as_fd(), SOON).unwrap());
}

#[test]
fn connect_retries_a_full_backlog_until_the_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &UnixAddr::new(&path).unwrap()).unwrap();
    listen(&fd, Backlog::new(1).unwrap()).unwrap();
    let listener = std::os::unix::net::UnixListener::from(fd);
    std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();

    let mut held = Vec::new();
    let error = loop {
        match connect(&path, Duration::from_millis(20)) {
            Ok(stream) => held.push(stream),
            Err(error) => break error,
        }
        assert!(held.len() < 10, "the backlog of 1 never filled");
    };
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);

    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(30));
            listener.accept().unwrap();
        });
        connect(&path, SOON).expect("room came, and was not taken");
    });
}

#[test]
fn wait_goes_on_after_a_signal() {
    in_child("socket::wait_goes_on_after_a_signal", || {
        extern "C" fn nothing(_: libc::c_int) {}
        let action = nix::sys::signal::SigAction::new(
            nix::sys::signal::SigHandler::Handler(nothing),
            nix::sys::signal::SaFlags::empty(),
            nix::sys::signal::SigSet::empty(),
        );
        // SAFETY: the handler does nothing.
        unsafe { nix::sys::signal::sigaction(nix::sys::signal::SIGUSR1, &action) }.unwrap();
        let (client, _server) = std::os::unix::net::UnixStream::pair().unwrap();
        let (process, waiter) = (std::process::id(), nix::unistd::gettid().as_raw());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(20));
                // SAFETY: takes integers only; the waiting thread outlives this scope.
                let sent = unsafe { libc::syscall(libc::SYS_tgkill, process, waiter, libc::SIGUSR1) };
                assert_eq!(sent, 0);
            });
            let start = Instant::now();
            assert!(!wait_readable(client.as_fd(), Duration::from_millis(80)).unwrap());
            assert!(start.elapsed() >= Duration::from_millis(80), "{:?}", start.elapsed());
        });
    });
}

/// Receives the next bytes and their sender.
fn received(stream: &UnixStream) -> (Vec<u8>, Option<Sender>) {
    let mut bytes = [0; 64];
    let (n, sender) = receive(stream.as_fd(), &mut bytes).unwrap();
    (bytes[..n].to_vec(), sender)
}

fn us() -> Sender {
    Sender { pid: keyrack_sys::process::pid::current(), uid: keyrack_sys::user::effective_uid() }
}

#[test]
fn sender_is_recorded_for_bytes_sent_before_accept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = bind_private(&path).unwrap();
    let mut client = connect(&path, SOON).unwrap();
    client.write_all(b"early").unwrap();
    let server = accept(&listener).unwrap();
    assert_eq!(received(&server), (b"early".to_vec(), Some(us())));
    assert_eq!(receive(server.as_fd(), &mut [0]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    client.write_all(b"late").unwrap();
    assert_eq!(received(&server), (b"late".to_vec(), Some(us())));
    drop(client);
    assert_eq!(received(&server), (Vec::new(), None), "the end has no sender");
}

#[test]
fn bytes_of_two_senders_are_never_read_together() {
    let (server, client) = UnixStream::pair().unwrap();
    note_senders(&server).unwrap();
    (&client).write_all(b"ours").unwrap();
    let mut child = std::process::Command::new("sh");
    let child = child.args(["-c", "printf theirs >&0"]).stdin(client.try_clone().map(OwnedFd::from).unwrap());
    let mut child = child.spawn().unwrap();
    let pid = child.id().try_into().unwrap();
    assert!(child.wait().unwrap().success());
    (&client).write_all(b" again").unwrap();
    assert_eq!(received(&server), (b"ours".to_vec(), Some(us())));
    // It has ended, and its number is told all the same.
    assert_eq!(received(&server), (b"theirs".to_vec(), Some(Sender { pid, ..us() })));
    assert_eq!(received(&server), (b" again".to_vec(), Some(us())));
}

#[test]
fn receive_closes_descriptors_that_were_sent_along() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    let (server, client) = UnixStream::pair().unwrap();
    note_senders(&server).unwrap();
    let open = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    in_child("socket::receive_closes_descriptors_that_were_sent_along", || {
        let before = open();
        for _ in 0..8 {
            let fds = [client.as_raw_fd(), 0, 1, 2];
            let parts = [std::io::IoSlice::new(b"x")];
            let rights = [ControlMessage::ScmRights(&fds)];
            sendmsg::<()>(client.as_raw_fd(), &parts, &rights, MsgFlags::empty(), None).unwrap();
            assert_eq!(received(&server), (b"x".to_vec(), Some(us())));
        }
        assert_eq!(open(), before);
    });
}

/// Only who may do anything else in that pid namespace too can give another's number.
#[test]
fn sender_cannot_claim_another_pid() {
    let test = "socket::sender_cannot_claim_another_pid";
    if !keyrack_testkit::can_run(test, &[keyrack_testkit::Need::Root]) {
        return;
    }
    in_child(test, || {
        use nix::sys::socket::{ControlMessage, MsgFlags, UnixCredentials, sendmsg};
        let (server, client) = UnixStream::pair().unwrap();
        note_senders(&server).unwrap();
        crate::support::become_stranger();
        let claim = |pid, uid| {
            let credentials: UnixCredentials = libc::ucred { pid, uid, gid: 61_234 }.into();
            let message = [ControlMessage::ScmCredentials(&credentials)];
            let parts = [std::io::IoSlice::new(b"x")];
            sendmsg::<()>(client.as_raw_fd(), &parts, &message, MsgFlags::empty(), None)
        };
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(claim(1, 61_234), Err(nix::errno::Errno::EPERM));
        assert_eq!(claim(own, 0), Err(nix::errno::Errno::EPERM));
        assert_eq!(claim(own, 61_234), Ok(1));
        assert_eq!(received(&server).1, Some(us()));
    });
}

#[test]
fn cookie_differs_between_sockets_and_stays_the_same_for_one() {
    let (one, other) = UnixStream::pair().unwrap();
    let first = keyrack_sys::socket::cookie(one.as_fd()).unwrap();
    assert_eq!(keyrack_sys::socket::cookie(one.as_fd()).unwrap(), first);
    assert_ne!(keyrack_sys::socket::cookie(other.as_fd()).unwrap(), first);
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(errno(&keyrack_sys::socket::cookie(file.as_fd()).unwrap_err()), Some(nix::libc::ENOTSOCK));
}
