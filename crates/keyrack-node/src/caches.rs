//! Connections and manifests that are kept between reads: one set for each JavaScript environment,
//! which has a thread of its own. A worker never shares its parent's.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use keyrack_client::Context;
use keyrack_client::get::{GetOptions, PendingGet, ReadCache, Scope};
use keyrack_core::Error;
use napi::Env;
use napi_derive::napi;

/// Time after which an unused connection is closed.
const IDLE: Duration = Duration::from_secs(30);

thread_local! {
    static CACHE: RefCell<ReadCache> = RefCell::default();
    static HAS_CLEANUP_HOOK: Cell<bool> = const { Cell::new(false) };
}

/// Takes the first step of a read, over what earlier reads have kept.
pub(crate) fn read<'c>(
    env: &Env,
    ctx: &'c Context,
    scope: &Scope,
    options: GetOptions,
) -> Result<PendingGet<'c>, Error> {
    if !HAS_CLEANUP_HOOK.get() {
        // A worker that ends closes its connections before its thread ends.
        let hook = env.add_env_cleanup_hook((), |()| _ = CACHE.take());
        HAS_CLEANUP_HOOK.set(hook.is_ok());
    }
    CACHE.with_borrow_mut(|cache| cache.read(ctx, scope, options))
}

/// Closes connections that have not been used for 30 s. Returns in how many milliseconds the next
/// one is due, `null` if none is left.
#[napi]
pub fn close_idle_connections() -> Option<u32> {
    let left = CACHE.with_borrow_mut(|cache| cache.close_idle(IDLE))?;
    // A timer that fires a moment too early would only have to be set again.
    Some(u32::try_from(left.as_millis()).unwrap_or(u32::MAX).saturating_add(1))
}
