//! What the caller's realm is: the addon itself asks the process for nothing.

use std::time::Duration;

use keyrack_client::{Context, Environment};
use keyrack_core::{Invocation, Owner, Problem};
use napi_derive::napi;

/// The realm of one call, and what every call can be told.
#[napi(object, object_to_js = false)]
pub struct Realm {
    /// The working directory.
    pub cwd: String,
    /// Names and values by turns: `HOME`, `XDG_RUNTIME_DIR`, `KEYRACK_*`.
    pub env: Vec<String>,
    /// Whose rack; the default one when not given.
    pub owner: Option<String>,
    /// How long the daemon may take to answer, in milliseconds.
    pub deadline_ms: u32,
}

impl Realm {
    /// How keyrack was called, for the fixes.
    pub(crate) fn invocation(&self) -> Invocation {
        let claim = self.env.chunks_exact(2).find(|pair| pair[0] == "KEYRACK_INVOKED_AS");
        Invocation::claimed(claim.map(|pair| pair[1].as_str()), Invocation::NPX)
    }

    /// The context of the call.
    pub(crate) fn context(self) -> Result<Context, Problem> {
        let invocation = self.invocation();
        let owner = self.owner.as_deref().map_or(Ok(Owner::DEFAULT), str::parse)?;
        let mut variables = Vec::with_capacity(self.env.len() / 2);
        let mut words = self.env.into_iter();
        while let (Some(name), Some(value)) = (words.next(), words.next()) {
            variables.push((name, value));
        }
        let env: Environment = variables.into_iter().collect();
        let deadline = Duration::from_millis(self.deadline_ms.into());
        Ok(Context { cwd: self.cwd.into(), env, owner, invocation, deadline })
    }
}
