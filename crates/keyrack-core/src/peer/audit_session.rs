//! Login session of a process.

/// Audit session id, as `/proc/<pid>/sessionid` shows it (kernel
/// `Documentation/ABI/stable/procfs-audit_loginuid`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditSession {
    /// 4294967295: the process descends from no login.
    Unset,
    /// Id of a login. The kernel counts from 1.
    Set(u32),
}

impl AuditSession {
    /// Parses the content of the file: a decimal u32 without sign, blanks or leading zeros, and an
    /// optional newline. Returns `None` for anything else, and for 0, which the kernel gives to no
    /// login.
    pub fn parse(raw: &[u8]) -> Option<Self> {
        let digits = raw.strip_suffix(b"\n").unwrap_or(raw);
        if digits.first().is_none_or(|first| *first == b'0') || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        match std::str::from_utf8(digits).ok()?.parse::<u32>().ok()? {
            u32::MAX => Some(AuditSession::Unset),
            id => Some(AuditSession::Set(id)),
        }
    }
}
