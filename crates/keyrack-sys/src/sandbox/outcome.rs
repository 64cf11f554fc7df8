//! Result of one measure of confinement.

use crate::hardening;

/// Detail of a measure that is in force, or the reason why it is not.
pub(super) type Outcome = Result<Option<String>, String>;

/// Returns a number of `/proc/self/status`, or a reason for people.
pub(super) fn status_number(label: &str) -> Result<Option<i64>, String> {
    hardening::own_status(label).map_err(|errno| format!("/proc/self/status cannot be read: {errno}"))
}
