//! Reasons for which `unlock` leaves a key out.

/// Reason for which a key was left out of an unlock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Omission {
    /// The key was never set.
    Absent,
    /// The host manifest lists the key, but its vault no longer has it.
    Lost,
    /// The vault can only be written to.
    Remote,
    /// Reading the key failed.
    Errored,
}

impl Omission {
    /// The word in JSON and on the screen.
    pub fn as_str(self) -> &'static str {
        match self {
            Omission::Absent => "absent",
            Omission::Lost => "lost",
            Omission::Remote => "remote",
            Omission::Errored => "errored",
        }
    }
}
