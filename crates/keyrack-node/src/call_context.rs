//! What the caller's realm is: the addon itself asks the process for nothing.

use std::time::Duration;

use keyrack_client::{Context, Environment};
use keyrack_core::{Error, Invocation, Owner};
use napi_derive::napi;

/// The realm of one call, and what every call can be told.
#[napi(object, object_to_js = false)]
pub struct CallContext {
    /// The working directory.
    pub cwd: String,
    /// `HOME`, `XDG_RUNTIME_DIR` and `KEYRACK_*`, each as `NAME=value` with a NUL behind it (as in `/proc/<pid>/environ`, proc(5)).
    pub env: String,
    /// Whose rack; the default one when not given.
    pub owner: Option<String>,
    /// How long the daemon may take to answer, in milliseconds.
    pub deadline_ms: u32,
}

impl CallContext {
    /// How keyrack was called, for the fixes.
    pub(crate) fn invocation(&self) -> Invocation {
        let claim = self.variables().find(|(name, _)| *name == "KEYRACK_INVOKED_AS");
        Invocation::claimed(claim.map(|(_, value)| value), Invocation::NPX)
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.split_terminator('\0').filter_map(|variable| variable.split_once('='))
    }

    /// The context of the call.
    pub(crate) fn context(self) -> Result<Context, Error> {
        let invocation = self.invocation();
        let owner = self.owner.as_deref().map_or(Ok(Owner::DEFAULT), str::parse)?;
        let env: Environment = self.variables().collect();
        let deadline = Duration::from_millis(self.deadline_ms.into());
        Ok(Context { cwd: self.cwd.into(), env, owner, invocation, deadline })
    }
}
