//! `doctor`: checks everything between the user and their keys, and reports each finding with the
//! command that fixes it.
//!
//! Doctor changes nothing: it creates, repairs and locks no file, starts no daemon and prompts for
//! nothing. It decrypts no key, and its report holds no secret and no value of a variable.

mod check;
mod daemon;
mod kernel;
mod namespaces;
mod paths;
mod programs;
mod rack;
mod repository;
mod session;
mod settings;

pub use self::check::{Check, CheckStatus};

use crate::context::OpContext;

/// Results of all checks, group by group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorReport {
    /// Checks, in the order they ran.
    pub checks: Vec<Check>,
}

impl DoctorReport {
    /// Returns `true` if no check failed. Warnings do not count.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.state != CheckStatus::Fail)
    }

    /// Number of checks with a status.
    pub fn count(&self, state: CheckStatus) -> usize {
        self.checks.iter().filter(|check| check.state == state).count()
    }
}

/// Runs all checks.
pub fn diagnose(ctx: &OpContext<'_>) -> DoctorReport {
    let client = &ctx.client;
    let mut checks = settings::checks(&client.env);
    checks.extend(paths::checks(client));
    checks.extend(programs::checks(&ctx.keyrackd));
    checks.push(namespaces::check());
    checks.extend(session::checks(client));
    checks.extend(kernel::checks(client, &ctx.keyrackd));
    checks.extend(daemon::checks(client, &ctx.keyrackd));
    checks.extend(rack::checks(ctx));
    checks.extend(repository::checks(client));
    DoctorReport { checks }
}
