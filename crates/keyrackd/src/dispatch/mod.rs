//! From a whole request to its reply. Everything here is done in one go, without an await: a secret is copied from page to
//! page and is never in between.

pub(crate) mod legacy;
pub(crate) mod native;
#[cfg(test)]
mod tests;

use keyrack_core::{DurationGrade, Error, Grade, Invocation, Protection};
use keyrack_sys::memory::OutOfMemory;
use keyrack_wire::Protocol;
use keyrack_wire::native::ErrorBody;

use crate::conn::reply::Reply;

/// A reply, and what becomes of the connection when it is out.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) reply: Reply,
    pub(crate) then: AfterReply,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterReply {
    /// The next request.
    Next,
    /// The next request, once others had a turn: this one may have taken long.
    Yield,
    /// It ends: this was all it may carry.
    Close,
    /// It ends, and what the caller still sends is let in unseen for a while, so that it gets to read why.
    Refuse,
    /// It ends, and so does the daemon.
    Shutdown,
}

/// Reads a grade by its words; `Err` is the field that has none, and what it must be.
fn grade(words: &keyrack_wire::Grade<'_>) -> Result<Grade, (&'static str, &'static str)> {
    let protection = Protection::parse(&words.protection)
        .ok_or(("grade.protection", "must be one of reference, encrypted, plaintext"))?;
    let duration = DurationGrade::parse(&words.duration)
        .ok_or(("grade.duration", "must be one of transient, ephemeral, permanent"))?;
    Ok(Grade { protection, duration })
}

fn source(names: &keyrack_wire::Source<'_>) -> keyrack_core::GrantSource {
    keyrack_core::GrantSource {
        vault: keyrack_core::VaultId::parse(&names.vault),
        mech: keyrack_core::Mechanism::parse(&names.mech),
    }
}

/// The refusal of a request that found no page, or had to give its own away.
pub(crate) fn out_of_memory_reply(protocol: Protocol, full: &OutOfMemory) -> Response {
    match protocol {
        Protocol::Native => native::refuse(keyrack_core::ErrorCode::MemoryFull.as_str(), &full.to_string()),
        Protocol::Legacy | Protocol::Neither => legacy::refuse(&full.to_string()),
    }
}

/// What a caller is told when there is no room, which changed nothing.
fn full(full: &OutOfMemory) -> Error {
    Error::new(keyrack_core::ErrorCode::MemoryFull, format!("{full}; relock keys that are not needed"))
}

/// A problem in the words of the native wire.
fn error_body(error: &Error) -> ErrorBody<'static> {
    ErrorBody {
        code: error.code.as_str().to_owned().into(),
        message: error.message.clone().into(),
        slug: error.slug.as_ref().map(|slug| slug.as_str().to_owned().into()),
        fix: error.fix.as_ref().map(|fix| fix.render(Invocation::default()).into()),
    }
}
