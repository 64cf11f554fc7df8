//! Where keyrack lives: the home directory, the runtime directory, and the socket's path in it.

use keyrack_client::paths::home_hash;
use keyrack_client::{Context, Place};
use keyrack_core::ErrorCode;

use super::Check;

pub(super) fn checks(ctx: &Context) -> Vec<Check> {
    let mut checks = Vec::new();
    checks.push(match home_hash(ctx) {
        Ok(_) => Check::ok("place.home", format!("HOME is {}", ctx.home().unwrap_or_default().display())),
        Err(problem) => Check::problem("place.home", problem),
    });
    checks.push(match Place::of(ctx) {
        Ok(place) => {
            let named = ctx.env.get("XDG_RUNTIME_DIR").is_some();
            let dir = place.dir.display();
            Check::ok(
                "place.runtime_dir",
                match (named, place.dir.exists()) {
                    (true, _) => format!("XDG_RUNTIME_DIR is {dir}: yours alone"),
                    (false, true) => format!("XDG_RUNTIME_DIR is not set, so {dir} is used: yours alone"),
                    (false, false) => format!("XDG_RUNTIME_DIR is not set, so {dir} will be made and used"),
                },
            )
        }
        // The directory is looked at first, so it is fine then.
        Err(problem) if problem.code == ErrorCode::SocketPathTooLong => {
            Check::problem("place.socket_path", problem)
        }
        // Told above.
        Err(problem) if problem.code == ErrorCode::NoHome => return checks,
        Err(problem) => Check::problem("place.runtime_dir", problem),
    });
    checks
}
