//! The edge every call goes through: no panic leaves the addon, and a failure is plain data, which the JavaScript face throws as an error
//! of its own realm.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use keyrack_client::render;
use keyrack_core::{Error, ErrorCode, Invocation};
use serde_json::json;

/// Why a call did not succeed.
pub(crate) enum CallError {
    /// keyrack says no.
    Error(Error),
    /// A JavaScript function we called threw, or Node refused to make a value: what it threw goes on as it is.
    Thrown(napi::Error),
}

impl From<Error> for CallError {
    fn from(error: Error) -> Self {
        CallError::Error(error)
    }
}

impl From<keyrack_core::NameError> for CallError {
    fn from(error: keyrack_core::NameError) -> Self {
        keyrack_core::Error::from(error).into()
    }
}

impl From<napi::Error> for CallError {
    fn from(error: napi::Error) -> Self {
        CallError::Thrown(error)
    }
}

thread_local! {
    static PLACE: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs a call. `Err` with the failure as JSON: `{"error": {code, message, exit, …}}`.
pub(crate) fn catch_panic<T>(
    invocation: Invocation,
    call: impl FnOnce() -> Result<T, CallError>,
) -> napi::Result<Result<T, String>> {
    // The hook is this addon's own: each one carries its own copy of the standard library. It says nothing, because a panic's text may
    // hold anything; the place alone goes into the error.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        panic::set_hook(Box::new(|info| {
            PLACE.set(info.location().map(|place| format!("{}:{}", place.file(), place.line())));
        }));
    });
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(Ok(value)),
        Ok(Err(CallError::Error(error))) => Ok(Err(failure(&error, invocation))),
        Ok(Err(CallError::Thrown(error))) => Err(error),
        Err(_) => {
            let place = PLACE.take().unwrap_or_else(|| "an unknown place".to_owned());
            let error = Error::new(ErrorCode::Internal, format!("keyrack met a bug of its own at {place}"));
            Ok(Err(failure(&error, invocation)))
        }
    }
}

fn failure(error: &Error, invocation: Invocation) -> String {
    let mut fields = render::error::value(error, invocation);
    fields["exit"] = error.exit().into();
    json!({ "error": fields }).to_string()
}
