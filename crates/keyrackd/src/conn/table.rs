//! The connections that wait for something: who they are, how to end one at once, and which gives way when there are too
//! many. A connection that is served in one go never gets here.

use std::cell::{Cell, RefCell};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Waker;

use keyrack_sys::memory::Buffer;

use crate::conn::io::write;
use crate::conn::reply::Reply;

/// A connection, as others may touch it.
pub(crate) struct ConnectionHandle {
    pub(crate) stream: UnixStream,
    /// The reply the caller has not taken yet.
    pub(crate) queued: RefCell<Option<Reply>>,
    /// When that was queued, on the table's own count.
    queued_since: Cell<u64>,
    /// What has come of a request of which the rest is waited for.
    partial: RefCell<Option<Buffer>>,
    /// When the first part of that request was left to wait for the rest, on the table's own count; `None` while there is none.
    reading_since: Cell<Option<u64>>,
    ended: Cell<bool>,
    /// When it was last left without a request in flight, on the table's own count; `None` while there is one.
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
            ended: Cell::new(false),
            idle_since: Cell::new(Some(0)),
            waker: RefCell::new(None),
        }
    }

    /// Ends the connection: what was queued and what had come of a request is wiped, its pages are given back, and the caller
    /// sees the end, before this returns.
    pub(crate) fn close(&self) {
        self.ended.set(true);
        *self.queued.borrow_mut() = None;
        *self.partial.borrow_mut() = None;
        // Failing, it is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Takes back what [`ConnectionTable::leave`] left; `None` if there was nothing or it has given way.
    pub(crate) fn resume(&self) -> Option<Buffer> {
        self.partial.borrow_mut().take()
    }

    /// The request that was read in parts is whole.
    pub(crate) fn request_complete(&self) {
        self.reading_since.set(None);
    }

    /// Whether it was ended from outside.
    pub(crate) fn is_closed(&self) -> bool {
        self.ended.get()
    }

    /// Notes whom to wake when it is ended.
    pub(crate) fn wake_on_close(&self, waker: &Waker) {
        let mut place = self.waker.borrow_mut();
        if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *place = Some(waker.clone());
        }
    }
}

impl AsRawFd for ConnectionHandle {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}

/// The connections that wait, at most so many.
pub(crate) struct ConnectionTable {
    links: Vec<Option<Rc<ConnectionHandle>>>,
    free: Vec<usize>,
    most: usize,
    count: u64,
}

impl ConnectionTable {
    pub(crate) fn new(most: usize) -> Self {
        ConnectionTable { links: Vec::new(), free: Vec::new(), most, count: 0 }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.links.len() - self.free.len()
    }

    /// Returns `true` if a connection has a request that is not whole, or a reply that is not taken.
    pub(crate) fn has_request_in_flight(&self) -> bool {
        self.links.iter().flatten().any(|link| link.idle_since.get().is_none())
    }

    /// Takes a connection in and says where. At the cap the one longest without a request in flight is ended for it; if each
    /// has one in flight, there is no place.
    pub(crate) fn insert(&mut self, link: &Rc<ConnectionHandle>) -> Option<usize> {
        if self.len() >= self.most && !self.evict_idle() {
            return None;
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.links.push(None);
            self.links.len() - 1
        });
        self.links[place] = Some(Rc::clone(link));
        if link.idle_since.get().is_some() {
            self.idle(link);
        }
        Some(place)
    }

    /// Forgets the connection at `place`, if it is still this one.
    pub(crate) fn remove(&mut self, place: usize, link: &Rc<ConnectionHandle>) {
        if self.links[place].as_ref().is_some_and(|known| Rc::ptr_eq(known, link)) {
            self.links[place] = None;
            self.free.push(place);
        }
    }

    /// Ends the connection longest without a request in flight. False if there is none.
    pub(crate) fn evict_idle(&mut self) -> bool {
        self.evict_first(|link| link.idle_since.get(), |_| {})
    }

    /// Leaves what has come of a request with its connection while the rest is waited for.
    pub(crate) fn park(&mut self, link: &ConnectionHandle, partial: Buffer) {
        *link.partial.borrow_mut() = Some(partial);
        if link.reading_since.get().is_none() {
            self.count += 1;
            link.reading_since.set(Some(self.count));
        }
    }

    /// Queues a reply until its caller takes it.
    pub(crate) fn queue(&mut self, link: &ConnectionHandle, reply: Reply) {
        self.count += 1;
        link.queued_since.set(self.count);
        *link.queued.borrow_mut() = Some(reply);
    }

    /// Ends a connection whose pages others need: the one longest in a request that is not whole, which is told `why`, by the first byte
    /// of its request, if it takes that at once; if there is none, the one whose reply waits longest to be taken. False if there is
    /// neither.
    pub(crate) fn evict_buffered(&mut self, why: impl FnOnce(u8) -> Reply) -> bool {
        let tell = |link: &ConnectionHandle| {
            let first = link.partial.borrow().as_ref().and_then(|came| came.filled().first().copied());
            if let Some(first) = first {
                write(&link.stream, why(first).bytes(), &mut 0);
            }
        };
        let has_page = |link: &ConnectionHandle| matches!(*link.queued.borrow(), Some(Reply::Secret { .. }));
        self.evict_first(|link| link.partial.borrow().as_ref().and(link.reading_since.get()), tell)
            || self.evict_first(|link| has_page(link).then(|| link.queued_since.get()), |_| {})
    }

    /// Ends the connection that is the first by `since`, of those that have it, after some last words.
    fn evict_first(
        &mut self,
        since: impl Fn(&ConnectionHandle) -> Option<u64>,
        last: impl FnOnce(&ConnectionHandle),
    ) -> bool {
        let waiting = self.links.iter().enumerate();
        let waiting = waiting.filter_map(|(place, link)| Some((since(link.as_ref()?)?, place)));
        let Some((_, place)) = waiting.min() else { return false };
        if let Some(link) = self.links[place].take() {
            last(&link);
            link.close();
            self.free.push(place);
        }
        true
    }

    /// A connection has no request in flight from now on.
    pub(crate) fn idle(&mut self, link: &ConnectionHandle) {
        self.count += 1;
        link.idle_since.set(Some(self.count));
    }

    /// A connection has a request in flight.
    pub(crate) fn busy(link: &ConnectionHandle) {
        link.idle_since.set(None);
    }

    /// Ends each connection whose queued reply carries an erased secret.
    pub(crate) fn close_stale(&self) {
        for link in self.links.iter().flatten() {
            let stale = link.queued.borrow().as_ref().is_some_and(Reply::is_stale);
            if stale {
                link.close();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use keyrack_sys::memory::{Budget, ModeRequest, Pool};

    use super::*;
    use crate::conn::reply::Carries;
    use crate::stored_secret::StoredSecret;

    fn link() -> (Rc<ConnectionHandle>, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Rc::new(ConnectionHandle::new(ours)), theirs)
    }

    #[test]
    fn at_the_cap_the_longest_idle_gives_way() {
        let mut table = ConnectionTable::new(3);
        let links: Vec<_> = (0..5).map(|_| link()).collect();
        for (link, _) in &links[..3] {
            table.insert(link).unwrap();
        }
        // The first is busy, the second becomes idle again after the third.
        ConnectionTable::busy(&links[0].0);
        ConnectionTable::busy(&links[1].0);
        assert!(table.has_request_in_flight());
        table.idle(&links[1].0);
        assert_eq!(table.insert(&links[3].0), Some(2));
        assert_eq!(table.len(), 3);
        assert_eq!([0, 1, 2, 3].map(|n| links[n].0.is_closed()), [false, false, true, false]);
        let mut end = [0];
        assert_eq!((&links[2].1).read(&mut end).unwrap(), 0, "the caller saw the end");

        ConnectionTable::busy(&links[1].0);
        ConnectionTable::busy(&links[3].0);
        assert_eq!(table.insert(&links[4].0), None, "a request in flight never gives way");
        // One that was displaced does not free the place of its successor.
        table.remove(2, &links[2].0);
        assert_eq!(table.len(), 3);
        table.remove(2, &links[3].0);
        assert_eq!(table.len(), 2);
        assert_eq!(table.insert(&links[4].0), Some(2));
    }

    #[test]
    fn pages_are_had_from_who_is_longest_in_a_request_and_then_from_who_takes_no_reply() {
        let pool = Pool::new(ModeRequest::Auto, Budget::bytes(Budget::LEAST)).unwrap();
        let page = || {
            let mut page = pool.buffer(4096);
            page.extend(b"{").unwrap();
            page
        };
        let secret = || Reply::Secret { page: page(), carries: Carries::None };
        let mut table = ConnectionTable::new(8);
        let links: Vec<_> = (0..5).map(|_| link()).collect();
        for (link, _) in &links {
            table.insert(link).unwrap();
        }
        table.queue(&links[0].0, Reply::Plain(b"no page".to_vec()));
        table.queue(&links[2].0, secret());
        table.queue(&links[1].0, secret());
        table.park(&links[4].0, page());
        let mut told = Vec::new();
        let ended = |links: &[(Rc<ConnectionHandle>, UnixStream)]| {
            links.iter().map(|(link, _)| u8::from(link.is_closed())).collect::<Vec<_>>()
        };
        for expected in [[0, 0, 0, 0, 1], [0, 0, 1, 0, 1], [0, 1, 1, 0, 1]] {
            assert!(table.evict_buffered(|first| {
                told.push(first);
                Reply::Plain(b"full".to_vec())
            }));
            assert_eq!(ended(&links), expected);
        }
        assert!(!table.evict_buffered(|_| unreachable!()), "nobody else has a page");
        assert_eq!(told, [b'{']);
        let mut why = String::new();
        (&links[4].1).read_to_string(&mut why).unwrap();
        assert_eq!(why, "full");
        assert_eq!(pool.usage().requests, 64 * 1024, "one slab, in which nothing is");
    }

    #[test]
    fn a_queued_reply_ends_with_the_secret_it_carries() {
        let pool = Pool::new(ModeRequest::Auto, Budget::bytes(Budget::LEAST)).unwrap();
        let held = |bytes: &[u8]| StoredSecret { secret: pool.store(bytes).unwrap(), extras: None };
        let keys = [held(b"one"), held(b"two"), held(b"three")];
        let mut table = ConnectionTable::new(8);
        let queue = |carries: &[&StoredSecret]| {
            let (link, theirs) = link();
            let mut all = Carries::None;
            for held in carries {
                all.push(StoredSecret::clone(held));
            }
            let mut page = pool.buffer(4096);
            page.extend(b"reply").unwrap();
            *link.queued.borrow_mut() = Some(Reply::Secret { page, carries: all });
            (link, theirs)
        };
        let links = [
            queue(&[&keys[0]]),
            queue(&[&keys[1], &keys[2]]),
            queue(&[&keys[2], &keys[1], &keys[0]]),
            queue(&[]),
            link(),
        ];
        for (link, _) in &links {
            table.insert(link).unwrap();
        }
        keys[0].secret.erase();
        table.close_stale();
        assert_eq!(links.each_ref().map(|(link, _)| link.is_closed()), [true, false, true, false, false]);
        assert!(links[0].0.queued.borrow().is_none(), "its pages are given back, wiped");
        keys[2].secret.erase();
        table.close_stale();
        assert_eq!(links.each_ref().map(|(link, _)| link.is_closed()), [true, true, true, false, false]);
    }
}
