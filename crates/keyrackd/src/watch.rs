//! Descriptors the runtime waits for.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A thing that owns one descriptor, the same and open for as long as the thing lives. Implemented for nothing that could be
/// made to own another.
pub(crate) trait OwnsOne: AsRawFd {}

impl OwnsOne for std::os::unix::net::UnixListener {}
impl OwnsOne for std::rc::Rc<crate::link::Link> {}

/// Lets the runtime wait for it.
pub(crate) fn watch<T: OwnsOne>(thing: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    #[allow(
        deprecated,
        reason = "its successor is unsafe for want of the bound that OwnsOne states; unsafe is not for here"
    )]
    AsyncFd::with_interest(thing, interest)
}
