//! What is private in this crate and has readers a fuzzer should get at. Not part of any build that ships (feature `fuzzing`).

pub use crate::os_direct::fuzzing::{DirectFileError, StoredValue, get, with, without};
