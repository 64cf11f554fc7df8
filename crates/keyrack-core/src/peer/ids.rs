//! Ids of users and processes, as types of their own.

use std::fmt;
use std::num::{ParseIntError, TryFromIntError};
use std::str::FromStr;

/// User id, as the kernel shows it in this process's user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u32);

impl Uid {
    /// The superuser.
    pub const ROOT: Uid = Uid(0);

    /// Wraps the number that a system call returned.
    pub const fn from_raw(raw: u32) -> Self {
        Uid(raw)
    }

    /// Returns the number, for a system call or a path.
    pub const fn as_raw(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Process id in this process's pid namespace. The kernel shows 0 for a process that the namespace
/// does not see, and a negative number for one that was reaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(i32);

impl Pid {
    /// Wraps the number that a system call returned.
    pub const fn from_raw(raw: i32) -> Self {
        Pid(raw)
    }

    /// Returns the number, for a system call or a path.
    pub const fn as_raw(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Pid {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        text.parse().map(Pid)
    }
}

impl TryFrom<u32> for Pid {
    type Error = TryFromIntError;

    /// Converts the id of a `std::process::Child`.
    fn try_from(raw: u32) -> Result<Self, TryFromIntError> {
        i32::try_from(raw).map(Pid)
    }
}
