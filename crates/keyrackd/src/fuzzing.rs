//! The dispatcher without a socket, for a fuzzer: a daemon over pages of its own, with clocks that are turned by hand. Not part of any
//! build that ships (feature `fuzzing`).

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use keyrack_core::Clock;
use keyrack_sys::memory::{Budget, Mode, ModeRequest, Pool};
use keyrack_wire::native::Frame;

use crate::conn::reply::Reply;
use crate::dispatch::{AfterReply, Response, legacy, native};
use crate::peer_auth::LocalIdentity;
use crate::state::{Daemon, DaemonInfo};

/// A daemon that nothing but its caller reaches.
pub struct Bench {
    daemon: Daemon,
    now: Rc<Cell<Clock>>,
}

/// What a request came to.
pub struct Answered {
    reply: Reply,
    /// Whether the connection goes on after it.
    pub goes_on: bool,
}

impl Answered {
    /// What is sent.
    pub fn bytes(&self) -> &[u8] {
        self.reply.bytes()
    }

    /// Whether it lies in secret pages, as everything with a secret in it has to.
    pub fn is_in_secret_pages(&self) -> bool {
        matches!(self.reply, Reply::Secret { .. })
    }

    /// Whether a secret in it has been erased since.
    pub fn is_stale(&self) -> bool {
        self.reply.is_stale()
    }
}

impl From<Response> for Answered {
    fn from(answer: Response) -> Self {
        Answered { reply: answer.reply, goes_on: matches!(answer.then, AfterReply::Next | AfterReply::Yield) }
    }
}

impl Bench {
    /// An empty daemon with this many bytes of memory, at this time.
    ///
    /// # Errors
    /// When the memory or the timers cannot be had.
    pub fn new(memory: usize, now: Clock) -> io::Result<Self> {
        let info = DaemonInfo {
            home_hash: "83db27ef".into(),
            owner: keyrack_core::Owner::DEFAULT,
            boot_id: "b".into(),
            pid: 1,
            boundary: "session",
            namespaces: "pid and user",
            memory: "unlocked",
            hardening: Vec::new(),
        };
        let pool = Pool::new(ModeRequest::Require(Mode::Unlocked), Budget::bytes(memory));
        let now = Rc::new(Cell::new(now));
        let clock = Rc::clone(&now);
        let pool = pool.map_err(io::Error::other)?;
        let daemon = Daemon::new(LocalIdentity::read(), info, pool, 8, Rc::new(move || clock.get()))?;
        Ok(Bench { daemon, now })
    }

    /// Lets time pass on both clocks.
    pub fn pass(&self, ms: u32) {
        let Clock { boot_ns, wall_ms } = self.now.get();
        let boot_ns = boot_ns.saturating_add(u64::from(ms) * 1_000_000);
        self.now.set(Clock { boot_ns, wall_ms: wall_ms.saturating_add(i64::from(ms)) });
    }

    /// What the timers do when a deadline comes.
    pub fn expire(&self) {
        self.daemon.expire();
    }

    /// Answers a whole legacy request.
    pub fn legacy(&self, message: &[u8]) -> Answered {
        legacy::answer(&self.daemon, message).into()
    }

    /// Answers a whole native request.
    pub fn native(&self, frame: &Frame<'_>) -> Answered {
        native::answer(&self.daemon, frame).into()
    }
}
