//! What the daemon knows while it runs: the store, the pages, who waits, and what it tells of itself. One thread owns all of
//! it; nothing is borrowed across an await.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::time::Duration;

use keyrack_core::store::Store;
use keyrack_core::{Clock, Deadlines};
use keyrack_sys::clock::DeadlineTimers;
use keyrack_sys::memory::{Buffer, OutOfMemory, Partition, Pool};
use keyrack_wire::Protocol;
use keyrack_wire::native::Hardening;

use crate::conn::table::ConnectionTable;
use crate::dispatch::out_of_memory_reply;
use crate::peer_auth::LocalIdentity;
use crate::shutdown::Shutdown;
use crate::stored_secret::StoredSecret;

/// Reads both clocks. Given by the binary's main; tests give their own.
pub type ReadClock = Rc<dyn Fn() -> Clock>;

/// What is told of a daemon, fixed at its start.
#[derive(Clone, Debug)]
pub(crate) struct DaemonInfo {
    /// Of the home it serves, from its socket's name; empty if that has none.
    pub(crate) home_hash: String,
    /// The owner it serves, for the fixes it names.
    pub(crate) owner: keyrack_core::Owner,
    pub(crate) boot_id: String,
    pub(crate) pid: u32,
    pub(crate) boundary: &'static str,
    pub(crate) namespaces: &'static str,
    pub(crate) memory: &'static str,
    pub(crate) hardening: Vec<Hardening<'static>>,
}

/// The state of a daemon.
pub(crate) struct Daemon {
    pub(crate) identity: LocalIdentity,
    pub(crate) info: DaemonInfo,
    pub(crate) pool: Pool,
    pub(crate) table: RefCell<ConnectionTable>,
    pub(crate) ending: Shutdown,
    pub(crate) timers: Rc<DeadlineTimers>,
    /// Strangers being told that they are.
    pub(crate) rejected_peers: Cell<usize>,
    store: RefCell<Store<StoredSecret>>,
    clock: ReadClock,
    /// When a caller of ours last asked something, on CLOCK_BOOTTIME.
    asked_ns: Cell<u64>,
    armed: Cell<Option<Deadlines>>,
    erasures: Cell<u64>,
    /// A page for bytes that nobody looks at.
    scratch: RefCell<Buffer>,
}

impl Daemon {
    pub(crate) fn new(
        identity: LocalIdentity,
        info: DaemonInfo,
        pool: Pool,
        connections: usize,
        clock: ReadClock,
    ) -> io::Result<Self> {
        let mut scratch = pool.buffer(SCRATCH);
        scratch.ensure_spare(SCRATCH).map_err(io::Error::other)?;
        Ok(Daemon {
            identity,
            info,
            table: RefCell::new(ConnectionTable::new(connections)),
            ending: Shutdown::default(),
            timers: Rc::new(DeadlineTimers::new()?),
            rejected_peers: Cell::new(0),
            store: RefCell::new(Store::new()),
            asked_ns: Cell::new(clock().boot_ns),
            clock,
            armed: Cell::new(None),
            erasures: Cell::new(0),
            scratch: RefCell::new(scratch),
            pool,
        })
    }

    /// Works on the store at this instant for a caller that asked. When this returns, every reply that carried a secret it
    /// erased is wiped, and the timers wait for the next deadline: so no answer may be sent before.
    pub(crate) fn with_store<R>(&self, work: impl FnOnce(&mut Store<StoredSecret>, Clock) -> R) -> R {
        self.unasked(|store, now| {
            self.asked_ns.set(now.boot_ns);
            work(store, now)
        })
    }

    /// The same for no caller: the daemon's idleness goes on.
    fn unasked<R>(&self, work: impl FnOnce(&mut Store<StoredSecret>, Clock) -> R) -> R {
        let now = (self.clock)();
        let mut store = self.store.borrow_mut();
        let result = work(&mut store, now);
        if store.erasures() != self.erasures.get() {
            self.erasures.set(store.erasures());
            self.table.borrow().close_stale();
        }
        let next = store.next_deadline();
        if next != self.armed.get() {
            self.arm(next);
        }
        result
    }

    fn arm(&self, next: Option<Deadlines>) {
        match self.timers.set(next.map(|at| at.boot_ns), next.map(|at| at.wall_ms)) {
            Ok(()) => self.armed.set(next),
            // Lookups still read the clocks; the next one tries again.
            Err(error) => tracing::error!(%error, "the deadline timers were not set"),
        }
    }

    /// Erases what has ended, after a timer fired or the clock was set, and arms the timers anew.
    pub(crate) fn expire(&self) {
        self.armed.set(None);
        self.unasked(|store, now| {
            for slug in store.expire(now) {
                tracing::info!(%slug, "a key has ended");
            }
        });
    }

    /// Erases every key, and every queued reply that carries one.
    pub(crate) fn erase_all(&self) {
        self.wipe();
        self.unasked(|store, _| store.erase_all());
    }

    /// Wipes every secret there is, and ends every connection a reply with one is queued for. At once: the store, which is to be
    /// taken apart key by key, still lists what is gone.
    pub(crate) fn wipe(&self) {
        self.pool.erase_all();
        self.table.borrow().close_stale();
    }

    /// A caller has asked something that is not in the store.
    pub(crate) fn touch(&self) {
        self.asked_ns.set((self.clock)().boot_ns);
    }

    /// Returns `true` if no key is held, there was no request for `window`, and no accepted caller
    /// has a request or a reply in flight. Each of those has a deadline, so none keeps the daemon
    /// for long.
    pub(crate) fn is_idle(&self, window: Duration) -> bool {
        let (held, now) = self.unasked(|store, now| {
            store.expire(now);
            (!store.is_empty(), now)
        });
        let quiet = Duration::from_nanos(now.boot_ns.saturating_sub(self.asked_ns.get()));
        !held && quiet >= window && !self.table.borrow().has_request_in_flight()
    }

    /// Sees to room for `n` bytes more in a buffer. If the share for requests is full, those longest in a request that is not whole
    /// give way, and then those who do not take their reply: neither must keep the others from being answered.
    ///
    /// # Errors
    /// As [`Buffer::ensure_spare`], when nobody is left to give way, or it would not help.
    pub(crate) fn ensure_spare(&self, buffer: &mut Buffer, n: usize) -> Result<(), OutOfMemory> {
        loop {
            let Err(full) = buffer.ensure_spare(n) else { return Ok(()) };
            let in_vain = full.partition != Partition::Requests || n > full.limit;
            // Each round ends a connection.
            if in_vain
                || !self
                    .table
                    .borrow_mut()
                    .evict_buffered(|first| out_of_memory_reply(Protocol::of(first), &full).reply)
            {
                return Err(full);
            }
            tracing::warn!("the memory for requests is full: a slow caller gave way");
        }
    }

    /// Lends the page for bytes that nobody looks at; wiped behind.
    pub(crate) fn with_scratch<R>(&self, read: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut scratch = self.scratch.borrow_mut();
        let result = read(scratch.spare_mut());
        scratch.clear();
        result
    }
}

const SCRATCH: usize = 4096;
