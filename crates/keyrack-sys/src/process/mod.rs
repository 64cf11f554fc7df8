//! Processes: this one, those it starts, and others by pidfd or through `/proc`.

pub mod ancestors;
pub mod drain;
pub mod exec;
pub mod pid;
pub mod pidfd;
pub(crate) mod procfs;
pub mod signal;
pub mod spawn;
pub mod startup_state;
pub mod supervise;
