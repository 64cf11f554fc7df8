//! Private parsers of this crate, for fuzzers. Not part of any build that ships (feature
//! `fuzzing`).

pub use crate::os_direct::fuzzing::{DirectFileError, StoredValue, get, with, without};
