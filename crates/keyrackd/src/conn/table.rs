//! Table of the connections that wait: for the rest of a request, the next request, or a client
//! that does not take its reply.
//!
//! The table chooses which connection gives way when there are too many, or when they hold too much
//! memory. It returns that connection, and the caller closes it.

use std::cell::{Cell, RefCell};
use std::net::Shutdown as Direction;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Waker;

use keyrack_sys::memory::Buffer;

use crate::async_fd::StableFd;
use crate::conn::nonblocking::write;
use crate::reply::Reply;

/// The part of a connection that others may reach while its task waits.
///
/// Times are counts of the table, so that two are never equal.
pub(crate) struct ConnectionHandle {
    pub(crate) stream: UnixStream,
    /// Reply that the client has not taken yet.
    pub(crate) queued: RefCell<Option<Reply>>,
    queued_since: Cell<u64>,
    /// Part of a request, while its rest is awaited.
    partial: RefCell<Option<Buffer>>,
    /// Time at which the request was first parked; `None` without a partial request.
    reading_since: Cell<Option<u64>>,
    closed: Cell<bool>,
    /// Time since which the connection has no request in flight; `None` while it has one.
    idle_since: Cell<Option<u64>>,
    waker: RefCell<Option<Waker>>,
}

impl ConnectionHandle {
    pub(crate) fn new(stream: UnixStream) -> Self {
        ConnectionHandle {
            stream,
            queued: RefCell::new(None),
            queued_since: Cell::new(0),
            partial: RefCell::new(None),
            reading_since: Cell::new(None),
            closed: Cell::new(false),
            idle_since: Cell::new(Some(0)),
            waker: RefCell::new(None),
        }
    }

    /// Closes the connection. Before this returns, the queued reply and the partial request are
    /// wiped, their pages are given back, and the client sees the end of the stream.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        *self.queued.borrow_mut() = None;
        *self.partial.borrow_mut() = None;
        // Fails if the stream is closed already.
        let _ = self.stream.shutdown(Direction::Both);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Closes the connection after an error reply, if the client takes it at once.
    pub(crate) fn close_with(&self, reply: &[u8]) {
        write(&self.stream, reply, &mut 0);
        self.close();
    }

    /// Returns `true` if [`ConnectionHandle::close`] was called.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get()
    }

    /// Returns the first byte of the partial request, which names its protocol.
    pub(crate) fn partial_first_byte(&self) -> Option<u8> {
        self.partial.borrow().as_ref().and_then(|partial| partial.filled().first().copied())
    }

    /// Takes back the request that [`ConnectionTable::park`] parked. `None` if there was none or
    /// the connection was closed.
    pub(crate) fn resume(&self) -> Option<Buffer> {
        self.partial.borrow_mut().take()
    }

    /// Notes that the request in progress is complete.
    pub(crate) fn request_complete(&self) {
        self.reading_since.set(None);
    }

    /// Notes that the connection has a request in flight.
    pub(crate) fn mark_busy(&self) {
        self.idle_since.set(None);
    }

    /// Registers the task to wake when the connection is closed.
    pub(crate) fn wake_on_close(&self, waker: &Waker) {
        let mut registered = self.waker.borrow_mut();
        if !registered.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *registered = Some(waker.clone());
        }
    }
}

impl AsRawFd for ConnectionHandle {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

impl StableFd for Rc<ConnectionHandle> {}

/// Position of a connection in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotIndex(usize);

/// Every connection has a request in flight, so none can give way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableFull;

/// The connections that wait, up to a capacity.
pub(crate) struct ConnectionTable {
    slots: Vec<Option<Rc<ConnectionHandle>>>,
    free: Vec<usize>,
    capacity: usize,
    clock: u64,
}

impl ConnectionTable {
    pub(crate) fn new(capacity: usize) -> Self {
        ConnectionTable { slots: Vec::new(), free: Vec::new(), capacity, clock: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Returns `true` if a connection has a request that is not complete, or a reply that the
    /// client has not taken.
    pub(crate) fn has_request_in_flight(&self) -> bool {
        self.slots.iter().flatten().any(|handle| handle.idle_since.get().is_none())
    }

    /// Adds a connection and returns its slot. In a full table, the connection that has been idle
    /// longest gives way: it is returned too, and the caller closes it.
    pub(crate) fn insert(
        &mut self,
        handle: &Rc<ConnectionHandle>,
    ) -> Result<(SlotIndex, Option<Rc<ConnectionHandle>>), TableFull> {
        let evicted = match self.len() < self.capacity {
            true => None,
            false => Some(self.evict_idle().ok_or(TableFull)?),
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(Rc::clone(handle));
        if handle.idle_since.get().is_some() {
            self.mark_idle(handle);
        }
        Ok((SlotIndex(slot), evicted))
    }

    /// Removes a connection from its slot, unless another one has taken the slot since.
    pub(crate) fn remove(&mut self, SlotIndex(slot): SlotIndex, handle: &Rc<ConnectionHandle>) {
        if self.slots[slot].as_ref().is_some_and(|known| Rc::ptr_eq(known, handle)) {
            self.slots[slot] = None;
            self.free.push(slot);
        }
    }

    /// Removes the connection that has been idle longest. The caller closes it.
    #[must_use = "an evicted connection must be closed"]
    pub(crate) fn evict_idle(&mut self) -> Option<Rc<ConnectionHandle>> {
        self.evict_first(|handle| handle.idle_since.get())
    }

    /// Removes a connection that holds pages: the one whose request has been incomplete longest,
    /// else the one whose reply has waited longest. The caller closes it.
    #[must_use = "an evicted connection must be closed"]
    pub(crate) fn evict_buffered(&mut self) -> Option<Rc<ConnectionHandle>> {
        let has_page =
            |handle: &ConnectionHandle| matches!(*handle.queued.borrow(), Some(Reply::Secret { .. }));
        self.evict_first(|handle| handle.partial.borrow().as_ref().and(handle.reading_since.get()))
            .or_else(|| self.evict_first(|handle| has_page(handle).then(|| handle.queued_since.get())))
    }

    /// Removes the connection with the earliest time that `since` returns.
    fn evict_first(
        &mut self,
        since: impl Fn(&ConnectionHandle) -> Option<u64>,
    ) -> Option<Rc<ConnectionHandle>> {
        let waiting = self.slots.iter().enumerate();
        let waiting = waiting.filter_map(|(slot, handle)| Some((since(handle.as_ref()?)?, slot)));
        let (_, slot) = waiting.min()?;
        self.free.push(slot);
        self.slots[slot].take()
    }

    /// Returns the connections whose queued reply carries an erased secret. The caller closes them.
    pub(crate) fn stale(&self) -> impl Iterator<Item = &Rc<ConnectionHandle>> {
        let is_stale =
            |handle: &ConnectionHandle| handle.queued.borrow().as_ref().is_some_and(Reply::is_stale);
        self.slots.iter().flatten().filter(move |handle| is_stale(handle))
    }

    /// Leaves a partial request with its connection while the rest is awaited, so that its pages
    /// can be reclaimed.
    pub(crate) fn park(&mut self, handle: &ConnectionHandle, partial: Buffer) {
        *handle.partial.borrow_mut() = Some(partial);
        if handle.reading_since.get().is_none() {
            handle.reading_since.set(Some(self.tick()));
        }
    }

    /// Queues a reply until the client takes it.
    pub(crate) fn queue(&mut self, handle: &ConnectionHandle, reply: Reply) {
        handle.queued_since.set(self.tick());
        *handle.queued.borrow_mut() = Some(reply);
    }

    /// Notes that a connection has no request in flight.
    pub(crate) fn mark_idle(&mut self, handle: &ConnectionHandle) {
        handle.idle_since.set(Some(self.tick()));
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use keyrack_sys::memory::{Budget, ModeRequest, Pool};
    use smallvec::SmallVec;

    use super::*;
    use crate::stored_secret::StoredSecret;

    fn connection() -> (Rc<ConnectionHandle>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Rc::new(ConnectionHandle::new(ours)), theirs)
    }

    fn pool() -> Pool {
        Pool::new(ModeRequest::Auto, Budget::bytes(Budget::LEAST)).unwrap()
    }

    fn page(pool: &Pool) -> Buffer {
        let mut page = pool.buffer(4096);
        page.extend(b"{").unwrap();
        page
    }

    fn secret_reply(pool: &Pool, carries: &[&StoredSecret]) -> Reply {
        let carries = carries.iter().copied().cloned().collect();
        Reply::Secret { page: page(pool), carries }
    }

    /// Returns the index of a connection among `all`.
    fn position(all: &[(Rc<ConnectionHandle>, UnixStream)], one: &Rc<ConnectionHandle>) -> usize {
        all.iter().position(|(handle, _)| Rc::ptr_eq(handle, one)).unwrap()
    }

    #[test]
    fn insert_evicts_longest_idle_connection_of_a_full_table() {
        let mut table = ConnectionTable::new(3);
        let all: Vec<_> = (0..5).map(|_| connection()).collect();
        for (handle, _) in &all[..3] {
            assert!(table.insert(handle).unwrap().1.is_none());
        }
        // The first is busy; the second becomes idle again after the third.
        all[0].0.mark_busy();
        all[1].0.mark_busy();
        assert!(table.has_request_in_flight());
        table.mark_idle(&all[1].0);
        let (slot, evicted) = table.insert(&all[3].0).unwrap();
        assert_eq!((slot, table.len()), (SlotIndex(2), 3));
        assert_eq!(position(&all, &evicted.unwrap()), 2);

        all[1].0.mark_busy();
        all[3].0.mark_busy();
        assert_eq!(table.insert(&all[4].0).err(), Some(TableFull), "a request in flight never gives way");
        // An evicted connection does not free the slot of its successor.
        table.remove(SlotIndex(2), &all[2].0);
        assert_eq!(table.len(), 3);
        table.remove(SlotIndex(2), &all[3].0);
        assert_eq!(table.len(), 2);
        assert_eq!(table.insert(&all[4].0).unwrap().0, SlotIndex(2));
    }

    #[test]
    fn close_ends_the_stream_and_gives_pages_back() {
        let pool = pool();
        let mut table = ConnectionTable::new(3);
        let (handle, client) = connection();
        table.insert(&handle).unwrap();
        table.park(&handle, page(&pool));
        table.queue(&handle, secret_reply(&pool, &[]));
        assert_eq!(handle.partial_first_byte(), Some(b'{'));
        handle.close_with(b"why");
        assert!(handle.is_closed() && handle.resume().is_none() && handle.queued.borrow().is_none());
        let mut text = String::new();
        (&client).read_to_string(&mut text).unwrap();
        assert_eq!(text, "why");
        assert_eq!(pool.usage().requests, 64 * 1024, "one slab, with nothing in it");
    }

    #[test]
    fn evict_buffered_takes_longest_partial_request_then_longest_waiting_reply() {
        let pool = pool();
        let mut table = ConnectionTable::new(8);
        let all: Vec<_> = (0..5).map(|_| connection()).collect();
        for (handle, _) in &all {
            table.insert(handle).unwrap();
        }
        table.queue(&all[0].0, Reply::Plain(b"no page".to_vec()));
        table.queue(&all[2].0, secret_reply(&pool, &[]));
        table.queue(&all[1].0, secret_reply(&pool, &[]));
        table.park(&all[3].0, page(&pool));
        table.park(&all[4].0, page(&pool));
        // Parked again, it keeps its place.
        let parked = all[3].0.resume().unwrap();
        table.park(&all[3].0, parked);
        let order: Vec<_> = (0..4).map(|_| position(&all, &table.evict_buffered().unwrap())).collect();
        assert_eq!(order, [3, 4, 2, 1]);
        assert!(table.evict_buffered().is_none(), "no other connection holds a page");
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn stale_returns_connections_whose_reply_carries_an_erased_secret() {
        let pool = pool();
        let store = |bytes: &[u8]| StoredSecret { secret: pool.store(bytes).unwrap(), extras: None };
        let keys = [store(b"one"), store(b"two"), store(b"three")];
        let mut table = ConnectionTable::new(8);
        let all: Vec<_> = (0..5).map(|_| connection()).collect();
        let carried = [&[&keys[0]][..], &[&keys[1], &keys[2]], &[&keys[2], &keys[1], &keys[0]], &[]];
        for (handle, _) in &all {
            table.insert(handle).unwrap();
        }
        for (carries, (handle, _)) in carried.iter().zip(&all) {
            table.queue(handle, secret_reply(&pool, carries));
        }
        let stale = |table: &ConnectionTable| {
            table.stale().map(|handle| position(&all, handle)).collect::<SmallVec<[_; 8]>>()
        };
        assert!(stale(&table).is_empty());
        keys[0].secret.erase();
        assert_eq!(stale(&table)[..], [0, 2]);
        keys[2].secret.erase();
        assert_eq!(stale(&table)[..], [0, 1, 2]);
    }
}
