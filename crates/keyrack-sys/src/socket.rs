//! Unix sockets that are private from the first instant, and connects that never hang. Nothing here
//! unlinks a path: the caller decides about a file that is in the way.
#![expect(unsafe_code, reason = "accept4 returns a bare descriptor, and recvmsg takes pointers")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use keyrack_core::peer::{Pid, Uid};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::socket::sockopt::PassCred;
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use nix::sys::socket::{accept4, bind, connect as connect_socket, listen, setsockopt, socket};
use nix::sys::stat::{Mode, umask};
use nix::sys::time::TimeSpec;

/// Longest path of a socket in bytes: `sun_path` has 108 (`unix(7)`), one of them for the NUL.
pub const PATH_BYTES: usize = 107;

/// Pause between two tries at a full backlog.
const RETRY: Duration = Duration::from_millis(2);

/// Process that sent what a read returned, as the kernel recorded when it was sent
/// (`SCM_CREDENTIALS` of `unix(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Pid in our pid namespace; 0 if the namespace does not see the process.
    pub pid: Pid,
    /// Real uid.
    pub uid: Uid,
}

/// Binds and listens at `path` with mode 0600 from the first instant (the umask is set around the
/// bind, for the whole process: files other threads make meanwhile are private too). Non-blocking,
/// close-on-exec.
///
/// # Errors
/// `ENAMETOOLONG` before anything else is touched when the path is over [`PATH_BYTES`];
/// `EADDRINUSE` when any file has this name already, a dangling link included.
///
/// The kernel records the sender of all bytes on an accepted connection, including those sent
/// before it was accepted: see [`receive`].
pub fn bind_private(path: &Path) -> io::Result<UnixListener> {
    static UMASK: Mutex<()> = Mutex::new(());
    let address = address(path)?;
    let fd = stream()?;
    {
        // Two threads at once would restore each other's umask.
        let _one = UMASK.lock().unwrap_or_else(PoisonError::into_inner);
        let before = umask(Mode::from_bits_truncate(0o177));
        let bound = bind(fd.as_raw_fd(), &address);
        umask(before);
        bound?;
    }
    note_senders(&fd)?;
    // As many waiting connections as the kernel allows (`net.core.somaxconn`, 4096 by default). Not
    // libc's SOMAXCONN, which musl has at 128.
    listen(&fd, Backlog::MAXALLOWABLE)?;
    Ok(UnixListener::from(fd))
}

/// Accepts one connection, non-blocking and close-on-exec from the first instant, in one system
/// call.
///
/// # Errors
/// `WouldBlock` if no connection is pending on a non-blocking listener; others of `accept(2)`.
pub fn accept(listener: &UnixListener) -> io::Result<UnixStream> {
    let fd = accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK)?;
    // SAFETY: the kernel has just made this descriptor for us and nothing else owns it.
    Ok(UnixStream::from(unsafe { OwnedFd::from_raw_fd(fd) }))
}

/// Makes the kernel record the sender of each read of a socket, for [`receive`] (`SO_PASSCRED`).
/// Accepted connections inherit it.
///
/// # Errors
/// Those of `setsockopt(2)`.
pub fn note_senders(socket: &impl AsFd) -> io::Result<()> {
    Ok(setsockopt(socket, PassCred, &true)?)
}

/// Returns the number that the kernel gives to a socket for as long as the machine runs
/// (`SO_COOKIE` of socket(7), Linux 4.12). It tells whether a descriptor still refers to that
/// socket.
///
/// # Errors
/// `ENOTSOCK` if the descriptor refers to something else, `EBADF` if it was closed.
pub fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    /// `SO_COOKIE` of asm-generic/socket.h; libc does not have it.
    const SO_COOKIE: libc::c_int = 57;
    let mut cookie = 0_u64;
    let mut length = libc::socklen_t::try_from(size_of::<u64>()).expect("8 fits");
    // SAFETY: the kernel writes at most `length` bytes to `cookie`, which has that many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    Errno::result(result)?;
    Ok(cookie)
}

/// Reads what has come, at most what `into` has room for, and who sent it. One read never has bytes
/// of two senders: it ends where the sender changes. `None` if the kernel recorded no sender, and
/// at the end of the stream. Descriptors that were sent along are closed.
///
/// # Errors
/// As `recvmsg(2)`; `EAGAIN` if there is nothing to read yet.
pub fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<(usize, Option<Sender>)> {
    let mut part = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    // SAFETY: these are plain C structures, of which all zeros is a value; musl's have padding with
    // names of its own.
    let (mut control, mut message): (Credentials, libc::msghdr) = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    // Room for the credentials alone, so that the kernel drops everything else.
    message.msg_controllen = CREDENTIALS.into();
    // SAFETY: the kernel writes at most the lengths given to `into` and to `control`, which are
    // ours alone for the call.
    let came = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
    let came = usize::try_from(Errno::result(came)?).map_err(io::Error::other)?;
    let Credentials { header, sender } = control;
    // All zeros if the kernel wrote none.
    let noted = (header.cmsg_level, header.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS);
    let sender = (came > 0 && noted)
        .then(|| Sender { pid: Pid::from_raw(sender.pid), uid: Uid::from_raw(sender.uid) });
    Ok((came, sender))
}

/// The control message of `SCM_CREDENTIALS` (`cmsg(3)`, `unix(7)`).
#[repr(C)]
struct Credentials {
    header: libc::cmsghdr,
    sender: libc::ucred,
}

/// Its size, in a type that converts to what either C library has for lengths.
#[expect(clippy::cast_possible_truncation, reason = "it has 32 bytes")]
const CREDENTIALS: u16 = size_of::<Credentials>() as u16;

/// Connects within `deadline`. A full backlog (`EAGAIN`: the server lives, but does not accept) is
/// tried again until then. The stream is non-blocking and close-on-exec; see [`wait_readable`] and
/// [`wait_writable`].
///
/// # Errors
/// `ENAMETOOLONG`, `ENOENT`, `ECONNREFUSED` (no listener: the socket is dead), `EACCES`;
/// `TimedOut` at the deadline.
pub fn connect(path: &Path, deadline: Duration) -> io::Result<UnixStream> {
    let address = address(path)?;
    let fd = stream()?;
    let end = Instant::now() + deadline;
    loop {
        match connect_socket(fd.as_raw_fd(), &address) {
            Ok(()) => return Ok(UnixStream::from(fd)),
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(io::Error::new(io::ErrorKind::TimedOut, "the socket's backlog stayed full"));
                }
                sleep(left.min(RETRY));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

/// Waits until a read on `fd` would not block (data, end, or error), at most `timeout`. Returns
/// `true` if so.
///
/// # Errors
/// Those of `ppoll(2)`.
pub fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    wait(fd, PollFlags::POLLIN, timeout)
}

/// Waits until a write on `fd` would not block (room, or error), at most `timeout`. Returns `true`
/// if so.
///
/// # Errors
/// Those of `ppoll(2)`.
pub fn wait_writable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    wait(fd, PollFlags::POLLOUT, timeout)
}

/// Waits until the last reader of what is written to `fd` is gone, at most `timeout`. Returns
/// `true` if so. Anything but a pipe, socket or terminal always has a reader.
///
/// # Errors
/// Those of `ppoll(2)`.
pub fn wait_hung_up(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    // POLLERR and POLLHUP are reported without being requested.
    wait(fd, PollFlags::empty(), timeout)
}

/// Waits until a read on one of two descriptors would not block. Returns `true` for each such
/// descriptor; both are `false` after `timeout` or a signal.
///
/// # Errors
/// Those of `ppoll(2)`.
pub fn wait_readable_either(
    one: BorrowedFd<'_>,
    other: BorrowedFd<'_>,
    timeout: Option<Duration>,
) -> io::Result<(bool, bool)> {
    let mut fds = [PollFd::new(one, PollFlags::POLLIN), PollFd::new(other, PollFlags::POLLIN)];
    match ppoll(&mut fds, timeout.map(TimeSpec::from_duration), None) {
        Ok(_) => Ok((fds[0].any().unwrap_or(true), fds[1].any().unwrap_or(true))),
        Err(Errno::EINTR) => Ok((false, false)),
        Err(errno) => Err(errno.into()),
    }
}

/// Returns, for each of two descriptors, `true` if a read on it would not block now. Never waits.
///
/// # Errors
/// Those of `ppoll(2)`.
pub fn poll_readable(one: BorrowedFd<'_>, other: BorrowedFd<'_>) -> io::Result<(bool, bool)> {
    let mut fds = [PollFd::new(one, PollFlags::POLLIN), PollFd::new(other, PollFlags::POLLIN)];
    loop {
        match ppoll(&mut fds, Some(TimeSpec::from_duration(Duration::ZERO)), None) {
            Ok(_) => return Ok((fds[0].any().unwrap_or(true), fds[1].any().unwrap_or(true))),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn wait(fd: BorrowedFd<'_>, events: PollFlags, timeout: Duration) -> io::Result<bool> {
    let mut left = timeout;
    let start = (!timeout.is_zero()).then(Instant::now);
    loop {
        let mut fds = [PollFd::new(fd.as_fd(), events)];
        match ppoll(&mut fds, Some(TimeSpec::from_duration(left)), None) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::EINTR) => {
                left = start.map_or(Duration::ZERO, |start| timeout.saturating_sub(start.elapsed()));
            }
            Err(errno) => return Err(errno.into()),
        }
    }
}

fn address(path: &Path) -> io::Result<UnixAddr> {
    match path.as_os_str().as_bytes().len() {
        // The kernel would bind an empty path to a new name in the abstract namespace.
        0 => Err(Errno::ENOENT.into()),
        1..=PATH_BYTES => Ok(UnixAddr::new(path)?),
        _ => Err(Errno::ENAMETOOLONG.into()),
    }
}

fn stream() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socket(AddressFamily::Unix, SockType::Stream, flags, None)?)
}
