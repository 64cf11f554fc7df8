//! Reads that reuse the connections and manifests of earlier reads on the same thread.

use std::time::Duration;

use keyrack_core::Error;

use super::execute::read_over;
use super::{GetOptions, GetPlan, PendingGet, Scope};
use crate::context::Context;
use crate::manifest::ManifestCache;
use crate::session_cache::SessionCache;

/// Connections and manifests that a long-lived process keeps between reads, for one thread.
#[derive(Debug, Default)]
pub struct ReadCache {
    manifests: ManifestCache,
    sessions: SessionCache,
}

impl ReadCache {
    /// Takes the first step of a read, as [`GetPlan::of`] and [`super::read`] do.
    ///
    /// # Errors
    /// As [`GetPlan::of`].
    pub fn read<'c>(
        &mut self,
        ctx: &'c Context,
        scope: &Scope,
        options: GetOptions,
    ) -> Result<PendingGet<'c>, Error> {
        let user = keyrack_sys::user::effective_uid();
        self.sessions.close_others(user);
        let plan = GetPlan::cached(ctx, scope, &mut self.manifests, user)?;
        Ok(read_over(ctx, plan, options, Some((&mut self.sessions, user))))
    }

    /// Closes connections that have not been used for `idle`. Returns the time until the next one
    /// is due, `None` if none is left.
    pub fn close_idle(&mut self, idle: Duration) -> Option<Duration> {
        self.sessions.close_idle(idle)
    }
}
