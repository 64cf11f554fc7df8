//! The context of one call: directory and environment of the JavaScript that calls. The addon does
//! not ask the process for them: a worker thread and a test runner have an environment of their
//! own.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use keyrack_client::{Context, Environment};
use keyrack_core::{Error, Invocation, Owner};

/// Context of one call, as `lib/call_context.js` encodes it: one string crosses faster than an
/// object.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CallContext {
    text: String,
    deadline: Duration,
}

thread_local! {
    /// The last call of this thread, and its decoded context.
    static LAST: RefCell<Option<(CallContext, Rc<Context>)>> = const { RefCell::new(None) };
}

impl CallContext {
    /// Takes the working directory, the owner (empty for the default one) and then variables as
    /// `NAME=value`, with a NUL after each of them (as in `/proc/<pid>/environ`, proc(5)); and how
    /// long the daemon may take to answer.
    pub(crate) fn new(text: String, deadline_ms: u32) -> Self {
        CallContext { text, deadline: Duration::from_millis(deadline_ms.into()) }
    }

    /// Invocation of keyrack, for the commands that errors suggest.
    pub(crate) fn invocation(&self) -> Invocation {
        let claim = self.variables().find(|(name, _)| *name == "KEYRACK_INVOKED_AS");
        Invocation::claimed(claim.map(|(_, value)| value), Invocation::NPX)
    }

    fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.text.split_terminator('\0').skip(2).filter_map(|variable| variable.split_once('='))
    }

    /// Returns the context for the client. It is decoded once for calls in a row that have the same
    /// text. Benchmark row: "getSync in Node by slug, against the native Rust client".
    ///
    /// # Errors
    /// [`keyrack_core::ErrorCode::BadOwner`] for a malformed owner.
    pub(crate) fn to_context(&self) -> Result<Rc<Context>, Error> {
        LAST.with_borrow_mut(|last| {
            if let Some((call, context)) = last
                && call == self
            {
                return Ok(Rc::clone(context));
            }
            let context = Rc::new(self.decode()?);
            *last = Some((self.clone(), Rc::clone(&context)));
            Ok(context)
        })
    }

    fn decode(&self) -> Result<Context, Error> {
        let mut fields = self.text.split('\0');
        let cwd = fields.next().unwrap_or_default();
        let owner = fields.next().filter(|owner| !owner.is_empty());
        Ok(Context {
            cwd: cwd.into(),
            env: self.variables().collect::<Environment>(),
            owner: owner.map_or(Ok(Owner::DEFAULT), str::parse)?,
            invocation: self.invocation(),
            deadline: self.deadline,
        })
    }
}
