//! The dispatcher without a socket, for fuzzers: keys in memory of their own, and clocks that are
//! set by hand. In no build that ships (feature `fuzzing`).

use std::cell::{Cell, RefCell};
use std::io;

use keyrack_core::Clock;
use keyrack_sys::memory::{Budget, MemoryMode, ModeRequest, Pool};
use keyrack_wire::native::Frame;

use crate::daemon_info::DaemonInfo;
use crate::dispatch::handler::RequestContext;
use crate::dispatch::response::{AfterReply, Response};
use crate::dispatch::{legacy, native};
use crate::key_service::KeyService;
use crate::reclaim::NoReclaim;
use crate::reply::Reply;

/// Keys that only the fuzzer reaches.
pub struct Bench {
    keys: RefCell<KeyService>,
    info: DaemonInfo,
    now: Cell<Clock>,
}

/// Response to a request.
pub struct Answered {
    reply: Reply,
    /// The connection stays open after the reply.
    pub goes_on: bool,
}

impl Answered {
    /// Returns the bytes to be sent.
    pub fn bytes(&self) -> &[u8] {
        self.reply.bytes()
    }

    /// Returns `true` if the reply lies in secret pages, as every reply with a secret must.
    pub fn is_in_secret_pages(&self) -> bool {
        matches!(self.reply, Reply::Secret { .. })
    }

    /// Returns `true` if a secret in the reply has been erased since.
    pub fn is_stale(&self) -> bool {
        self.reply.is_stale()
    }
}

impl From<Response> for Answered {
    fn from(response: Response) -> Self {
        let goes_on = matches!(response.then, AfterReply::Continue | AfterReply::Yield);
        Answered { reply: response.reply, goes_on }
    }
}

impl Bench {
    /// Creates a dispatcher without keys, with this many bytes of memory, at this time.
    ///
    /// # Errors
    /// The memory is unavailable.
    pub fn new(memory: usize, now: Clock) -> io::Result<Self> {
        let pool = Pool::new(ModeRequest::Require(MemoryMode::Unlocked), Budget::bytes(memory));
        let pool = pool.map_err(io::Error::other)?;
        let keys = RefCell::new(KeyService::new(pool, now));
        Ok(Bench { keys, info: DaemonInfo::example(), now: Cell::new(now) })
    }

    /// Lets time pass on both clocks.
    pub fn pass(&self, ms: u32) {
        let Clock { boot_ns, wall_ms } = self.now.get();
        let boot_ns = boot_ns.saturating_add(u64::from(ms) * 1_000_000);
        self.now.set(Clock { boot_ns, wall_ms: wall_ms.saturating_add(i64::from(ms)) });
    }

    /// Erases expired keys, as the timers do.
    pub fn expire(&self) {
        self.keys.borrow_mut().expire(self.now.get());
    }

    /// Answers a complete legacy request.
    pub fn legacy(&self, message: &[u8]) -> Answered {
        self.answer(|cx| legacy::answer(message, cx))
    }

    /// Answers a complete native request.
    pub fn native(&self, frame: &Frame<'_>) -> Answered {
        self.answer(|cx| native::answer(frame, cx))
    }

    fn answer(&self, handle: impl FnOnce(RequestContext<'_>) -> Response) -> Answered {
        let mut keys = self.keys.borrow_mut();
        let cx =
            RequestContext { keys: &mut keys, info: &self.info, reclaim: &NoReclaim, now: self.now.get() };
        handle(cx).into()
    }
}
