//! The commands, one file each: flags in, operations called, an answer out.

pub(crate) mod completions;
pub(crate) mod credential;
pub(crate) mod daemon;
pub(crate) mod del;
pub(crate) mod doctor;
pub(crate) mod fill;
pub(crate) mod firewall;
pub(crate) mod flags;
pub(crate) mod get;
pub(crate) mod infra;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod man;
pub(crate) mod notices;
pub(crate) mod recipient;
pub(crate) mod relock;
pub(crate) mod run;
pub(crate) mod schema;
pub(crate) mod set;
pub(crate) mod source;
pub(crate) mod status;
pub(crate) mod types;
pub(crate) mod unlock;
