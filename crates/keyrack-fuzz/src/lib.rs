//! Bodies of the fuzz targets: properties that keyrack's readers must have for any bytes, one
//! module for each reader.
//!
//! Each body takes bytes and panics if a property does not hold. The bodies run under libFuzzer
//! with the address sanitizer (`npm run fuzz`), and in this crate's own test, on any compiler, over
//! the checked-in corpus and mutations of it.
//!
//! A development tool only: no shipped crate may depend on it.

mod age_file;
mod direct_file;
mod dispatcher;
mod host_manifest;
mod json;
mod key_file;
mod legacy;
pub mod mask;
mod messages;
mod native;
mod repo_manifest;
mod secrets_json;
mod server;
mod words;

pub use age_file::age_file;
pub use direct_file::direct_file;
pub use dispatcher::dispatcher;
pub use host_manifest::host_manifest;
pub use json::json;
pub use key_file::key_file;
pub use legacy::legacy;
pub use messages::{BETWEEN, SECRETS, framed};
pub use native::native;
pub use repo_manifest::repo_manifest;
pub use secrets_json::secrets_json;
pub use server::server;
pub use words::words;

/// A fuzz target.
#[derive(Clone, Copy)]
pub struct FuzzTarget {
    /// Name of the target, its binary and the directory of its corpus.
    pub name: &'static str,
    /// Function that checks the bytes.
    pub body: fn(&[u8]),
}

/// All targets.
pub const TARGETS: &[FuzzTarget] = &[
    FuzzTarget { name: "native", body: native },
    FuzzTarget { name: "json", body: json },
    FuzzTarget { name: "legacy", body: legacy },
    FuzzTarget { name: "dispatcher", body: dispatcher },
    FuzzTarget { name: "server", body: server },
    FuzzTarget { name: "repo_manifest", body: repo_manifest },
    FuzzTarget { name: "host_manifest", body: host_manifest },
    FuzzTarget { name: "words", body: words },
    FuzzTarget { name: "age_file", body: age_file },
    FuzzTarget { name: "key_file", body: key_file },
    FuzzTarget { name: "direct_file", body: direct_file },
    FuzzTarget { name: "mask", body: mask::mask },
    FuzzTarget { name: "secrets_json", body: secrets_json },
];
