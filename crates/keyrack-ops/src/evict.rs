//! Removal of the daemon's copy of a key whose stored secret has changed.

use keyrack_client::daemon;
use keyrack_client::session::RelockTarget;
use keyrack_core::{ErrorCode, Slug};

use crate::context::OpContext;

/// Makes the daemon drop its copy of a key, if a daemon runs. Returns a notice if that failed.
pub(crate) fn evict_from_daemon(ctx: &OpContext<'_>, slug: &Slug) -> Option<String> {
    let evicted = daemon::connect(&ctx.client).and_then(|found| match found {
        Some(mut daemon) => daemon.relock(&RelockTarget::Slugs(vec![slug.clone()])).map(drop),
        None => Ok(()),
    });
    match evicted {
        Ok(()) => None,
        // Where no daemon can run, none holds a copy.
        Err(error) if matches!(error.code, ErrorCode::DaemonAbsent | ErrorCode::RuntimeDirMissing) => None,
        Err(error) => Some(format!("the daemon may still hold the old value of {slug}: {error}")),
    }
}
