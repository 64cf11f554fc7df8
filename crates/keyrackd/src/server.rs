//! State that all connections share. Only this module connects the keys to the connections: after
//! each change, it drops replies with erased secrets and arms the timers for the next deadline.

use std::cell::{RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use keyrack_core::Clock;
use keyrack_sys::memory::{Buffer, OutOfMemory, Pool};
use keyrack_wire::Protocol;
use keyrack_wire::native::Frame;

use crate::conn::table::ConnectionTable;
use crate::daemon_info::DaemonInfo;
use crate::dispatch::handler::RequestContext;
use crate::dispatch::response::Response;
use crate::dispatch::{legacy, native, out_of_memory_reply};
use crate::key_service::KeyService;
use crate::reclaim::{self, ReclaimPages};
use crate::shutdown::Shutdown;
use crate::timers::ExpiryTimers;

/// Reads both clocks. The binary's main provides it; tests provide their own.
pub type ReadClock = Rc<dyn Fn() -> Clock>;

/// Bytes read at a time from a client whose input is discarded.
const SCRATCH: usize = 4096;

/// State that all connections share. One thread owns all of it; nothing is borrowed across an
/// await.
pub(crate) struct Server {
    keys: RefCell<KeyService>,
    connections: Rc<RefCell<ConnectionTable>>,
    timers: ExpiryTimers,
    shutdown: Rc<Shutdown>,
    info: DaemonInfo,
    clock: ReadClock,
    pool: Pool,
    /// Page for input that is discarded. Wiped after each use.
    scratch: RefCell<Buffer>,
}

impl Server {
    /// # Errors
    /// No memory or no descriptors are left.
    pub(crate) fn new(
        info: DaemonInfo,
        pool: Pool,
        capacity: usize,
        shutdown: Rc<Shutdown>,
        clock: ReadClock,
    ) -> io::Result<Self> {
        let mut scratch = pool.buffer(SCRATCH);
        scratch.ensure_spare(SCRATCH).map_err(io::Error::other)?;
        Ok(Server {
            keys: RefCell::new(KeyService::new(pool.clone(), clock())),
            connections: Rc::new(RefCell::new(ConnectionTable::new(capacity))),
            timers: ExpiryTimers::new()?,
            shutdown,
            info,
            clock,
            pool,
            scratch: RefCell::new(scratch),
        })
    }

    /// Facts that the daemon reports, to be completed before it serves.
    pub(crate) fn info_mut(&mut self) -> &mut DaemonInfo {
        &mut self.info
    }

    pub(crate) fn connections(&self) -> &Rc<RefCell<ConnectionTable>> {
        &self.connections
    }

    pub(crate) fn timers(&self) -> &ExpiryTimers {
        &self.timers
    }

    pub(crate) fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    pub(crate) fn scratch(&self) -> &RefCell<Buffer> {
        &self.scratch
    }

    /// Returns an empty buffer for requests of at most `limit` bytes.
    pub(crate) fn buffer(&self, limit: usize) -> Buffer {
        self.pool.buffer(limit)
    }

    /// Returns how much memory is in use.
    #[cfg(test)]
    pub(crate) fn usage(&self) -> keyrack_sys::memory::Usage {
        self.pool.usage()
    }

    /// Ensures room for `n` more bytes in a request buffer, evicting slow connections if needed.
    pub(crate) fn ensure_spare(&self, buffer: &mut Buffer, n: usize) -> Result<(), OutOfMemory> {
        reclaim::ensure_spare(buffer, n, self)
    }

    /// Answers a complete legacy request.
    pub(crate) fn answer_legacy(&self, message: &[u8]) -> Response {
        self.with_keys(|keys, now| legacy::answer(message, self.context(keys, now)))
    }

    /// Answers a complete native request.
    pub(crate) fn answer_native(&self, frame: &Frame<'_>) -> Response {
        self.with_keys(|keys, now| native::answer(frame, self.context(keys, now)))
    }

    fn context<'a>(&'a self, keys: &'a mut KeyService, now: Clock) -> RequestContext<'a> {
        RequestContext { keys, info: &self.info, reclaim: self, now }
    }

    /// Erases expired keys, after a timer fired or the wall clock was set.
    pub(crate) fn expire(&self) {
        // The timers have to be armed again, even for the same deadline.
        self.timers.invalidate();
        self.with_keys(KeyService::expire);
    }

    /// Erases every key, and drops every queued reply that carries one.
    pub(crate) fn erase_all(&self) {
        self.with_keys(|keys, _| keys.erase_all());
    }

    /// Wipes every secret and drops every queued reply that carries one: for a daemon that exits,
    /// which does not take the store apart.
    pub(crate) fn wipe(&self) {
        self.keys.borrow().wipe();
        self.close_stale();
    }

    /// Returns `true` if no key is live, no client has sent a request for `window`, and no request
    /// or reply is in flight. Each of those has a deadline, so none keeps the daemon running for
    /// long.
    pub(crate) fn is_idle(&self, window: Duration) -> bool {
        let is_idle = self.with_keys(|keys, now| keys.is_idle(window, now));
        is_idle && !self.connections.borrow().has_request_in_flight()
    }

    /// Runs `work` on the keys. When this returns, every reply with a secret that `work` erased is
    /// dropped, and the timers wait for the next deadline: so nothing is acknowledged before.
    fn with_keys<R>(&self, work: impl FnOnce(&mut KeyService, Clock) -> R) -> R {
        let mut keys: RefMut<'_, KeyService> = self.keys.borrow_mut();
        let result = work(&mut keys, (self.clock)());
        if keys.take_erased() {
            self.close_stale();
        }
        self.timers.arm(keys.next_deadline());
        result
    }

    fn close_stale(&self) {
        for handle in self.connections.borrow().stale() {
            handle.close();
        }
    }
}

impl ReclaimPages for Server {
    /// Evicts the connection that is slowest to send its request, after an error reply, or else the
    /// slowest to take its reply: neither may block others.
    fn reclaim(&self, error: &OutOfMemory) -> bool {
        let Some(evicted) = self.connections.borrow_mut().evict_buffered() else { return false };
        match evicted.partial_first_byte() {
            Some(first) => {
                evicted.close_with(out_of_memory_reply(Protocol::of(first), error).reply.bytes());
            }
            None => evicted.close(),
        }
        tracing::warn!("slow connection evicted: the memory for requests is full");
        true
    }
}
