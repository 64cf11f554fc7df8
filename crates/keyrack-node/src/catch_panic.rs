//! The boundary that every call goes through. No panic leaves the addon. A failure is plain data,
//! which the JavaScript side throws as an error of its own realm.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

use keyrack_client::render;
use keyrack_core::{Error, ErrorCode, Invocation};
use serde_json::json;

/// Failure of a call.
pub(crate) enum CallError {
    /// An error of keyrack.
    Error(Error),
    /// An exception of a JavaScript function that the addon called, or of Node when it could not
    /// make a value. It is passed on unchanged.
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
    /// Source location of the last panic of this thread.
    static LOCATION: Cell<Option<String>> = const { Cell::new(None) };
}

/// Runs a call. `invocation` is called for a failure only. Returns `Err` with the failure as JSON:
/// `{"error": {code, message, exit, …}}`.
pub(crate) fn catch_panic<T>(
    invocation: impl Fn() -> Invocation,
    call: impl FnOnce() -> Result<T, CallError>,
) -> napi::Result<Result<T, String>> {
    // The hook belongs to this addon alone, because each addon has its own copy of the standard
    // library. It prints nothing: the text of a panic may hold anything. Only its location goes
    // into the error.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        panic::set_hook(Box::new(|info| {
            LOCATION.set(info.location().map(|at| format!("{}:{}", at.file(), at.line())));
        }));
    });
    match panic::catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(Ok(value)),
        Ok(Err(CallError::Error(error))) => Ok(Err(failure(&error, invocation()))),
        Ok(Err(CallError::Thrown(error))) => Err(error),
        Err(_) => {
            let location = LOCATION.take().unwrap_or_else(|| "an unknown location".to_owned());
            let error = Error::new(ErrorCode::Internal, format!("keyrack has a bug at {location}"));
            Ok(Err(failure(&error, invocation())))
        }
    }
}

fn failure(error: &Error, invocation: Invocation) -> String {
    let mut fields = render::error::value(error, invocation);
    fields["exit"] = error.exit().into();
    json!({ "error": fields }).to_string()
}
