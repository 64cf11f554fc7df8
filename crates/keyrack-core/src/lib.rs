//! Domain of keyrack: slugs, grades, grants, manifests, and the rules between them.
//!
//! This crate does no I/O, reads no clock and holds no secret: a secret travels beside its
//! [`Grant`], in memory that the caller chose. The TTL store (feature `store`) is generic over the
//! handle to a secret.
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, clippy::disallowed_types, reason = "tests have an environment")
)]

pub mod attempt;
pub mod declared_grade;
pub mod display;
pub mod env;
pub mod error;
pub mod firewall;
pub mod fix;
pub mod grade;
pub mod grant;
pub mod host_manifest;
pub mod layout;
pub mod mechanism;
pub mod name_error;
pub mod org;
pub mod owner;
pub mod peer;
pub mod repo_manifest;
pub mod reserved;
pub mod resolve;
pub mod secret_text;
pub mod set_rule;
pub mod shorten;
pub mod slug;
#[cfg(feature = "store")]
pub mod store;
pub mod suggest;
pub mod timestamp;
pub mod ttl;
pub mod vault_id;

pub use attempt::Attempt;
pub use env::Env;
pub use error::{Error, ErrorCode};
pub use fix::{Fix, FixCommand, Invocation};
pub use grade::{DurationGrade, Grade, Protection};
pub use grant::{Grant, GrantSource};
pub use mechanism::Mechanism;
pub use name_error::NameError;
pub use org::Org;
pub use owner::Owner;
pub use reserved::{Reserved, reserved};
pub use slug::Slug;
pub use ttl::{Clock, Deadlines, GrantedTtl, Ttl, TtlLimit, TtlRequest, clamp_ttl, resolve_ttl};
pub use vault_id::VaultId;
