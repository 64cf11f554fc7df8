//! `doctor`: everything that can be wrong between a person and their keys, looked at and told, each with its way out.
//!
//! It changes nothing: no file is made, mended or locked, no daemon started, nobody asked. It opens no key, and what it tells holds no
//! secret and no value of a variable.

mod daemon;
mod kernel;
mod namespaces;
mod paths;
mod programs;
mod rack;
mod repository;
mod session;
mod settings;

use keyrack_core::{Error, Fix};

use crate::context::OpContext;

/// What came of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// There is nothing to look at, or it cannot be looked at from here.
    Skip,
    /// It works, and less well than it could.
    Warn,
    /// Something does not work until it is mended.
    Fail,
}

impl CheckStatus {
    /// The word: `ok`, `skip`, `warn`, `fail`.
    pub fn as_str(self) -> &'static str {
        match self {
            CheckStatus::Ok => "ok",
            CheckStatus::Skip => "skip",
            CheckStatus::Warn => "warn",
            CheckStatus::Fail => "fail",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What, as `group.thing`. Several checks can have one name: one for each file, say.
    pub name: String,
    /// How it is.
    pub state: CheckStatus,
    /// What is the case, for people.
    pub message: String,
    /// The command that mends it.
    pub fix: Option<Fix>,
    /// What else to do, in a sentence.
    pub hint: Option<String>,
}

impl Check {
    fn new(name: impl Into<String>, state: CheckStatus, message: impl Into<String>) -> Self {
        Check { name: name.into(), state, message: message.into(), fix: None, hint: None }
    }

    fn ok(name: impl Into<String>, message: impl Into<String>) -> Self {
        Check::new(name, CheckStatus::Ok, message)
    }

    fn skip(name: impl Into<String>, message: impl Into<String>) -> Self {
        Check::new(name, CheckStatus::Skip, message)
    }

    fn warn(name: impl Into<String>, message: impl Into<String>) -> Self {
        Check::new(name, CheckStatus::Warn, message)
    }

    fn fail(name: impl Into<String>, message: impl Into<String>) -> Self {
        Check::new(name, CheckStatus::Fail, message)
    }

    /// A problem that keeps something from working, with its own way out.
    fn error(name: impl Into<String>, error: Error) -> Self {
        Check { fix: error.fix, hint: error.hint, ..Check::fail(name, error.message) }
    }

    fn fix(mut self, fix: Fix) -> Self {
        self.fix = Some(fix);
        self
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// `1 key`, `2 keys`.
fn counted(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// All that was looked at, group after group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoctorReport {
    /// The checks, in the order they were made.
    pub checks: Vec<Check>,
}

impl DoctorReport {
    /// Whether nothing fails. A warning is no failure.
    pub fn is_ok(&self) -> bool {
        self.checks.iter().all(|check| check.state != CheckStatus::Fail)
    }

    /// How many are in a state.
    pub fn count(&self, state: CheckStatus) -> usize {
        self.checks.iter().filter(|check| check.state == state).count()
    }
}

/// Looks at everything.
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
