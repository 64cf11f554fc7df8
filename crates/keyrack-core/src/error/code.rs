//! Error codes, each with the exit code of a command that fails with it.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal, $exit:literal;)*) => {
        /// Stable code of an error. The list is open: [`ErrorCode::Other`] keeps the code of a
        /// newer peer.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode {
            $($(#[$doc])* $variant,)*
            /// Unknown to this build, kept as it was read.
            Other(String),
        }

        impl ErrorCode {
            /// Every code that this build knows, in the order of the list.
            pub const ALL: &'static [ErrorCode] = &[$(ErrorCode::$variant,)*];

            /// Text on the wire and in `KeyrackError.code`.
            pub fn as_str(&self) -> &str {
                match self {
                    $(ErrorCode::$variant => $text,)*
                    ErrorCode::Other(text) => text,
                }
            }

            /// Exit code of a command that fails with it: 2 if the caller must act, 1 for a fault,
            /// 130 for an interrupt.
            pub fn exit(&self) -> u8 {
                match self {
                    $(ErrorCode::$variant => $exit,)*
                    ErrorCode::Other(_) => 1,
                }
            }
        }

        impl From<&str> for ErrorCode {
            fn from(text: &str) -> Self {
                match text {
                    $($text => ErrorCode::$variant,)*
                    other => ErrorCode::Other(other.to_owned()),
                }
            }
        }
    };
}

codes! {
    /// Arguments that do not fit together or are missing.
    Usage = "usage", 2;
    /// Not a slug: `org.env.NAME` with one of the six envs.
    BadSlug = "bad_slug", 2;
    /// Not one of the six envs.
    BadEnv = "bad_env", 2;
    /// Not an org name.
    BadOrg = "bad_org", 2;
    /// Not an owner name.
    BadOwner = "bad_owner", 2;
    /// Not a valid key name.
    BadKeyName = "bad_key_name", 2;
    /// Not a duration such as `30m`.
    BadDuration = "bad_duration", 2;
    /// Not a vault this build has.
    BadVault = "bad_vault", 2;
    /// Not a mechanism, or not one this vault has.
    BadMech = "bad_mech", 2;
    /// The requested duration is above the ceiling.
    DurationAboveCeiling = "duration_above_ceiling", 2;

    /// The requested org is not the org of `keyrack.yml`.
    OrgMismatch = "org_mismatch", 2;
    /// `--env` and the env of a full slug differ.
    EnvConflict = "env_conflict", 2;
    /// Only `--env` can tell which key is meant.
    EnvRequired = "env_required", 2;
    /// Several envs declare the name.
    AmbiguousKey = "ambiguous_key", 2;
    /// No such key is declared or known.
    KeyNotFound = "key_not_found", 2;
    /// There is no `keyrack.yml`, and the request needs one.
    NoManifest = "no_manifest", 2;
    /// `keyrack.yml` or one it extends is malformed.
    ManifestInvalid = "manifest_invalid", 2;
    /// The repository, or a file that declares keys in it, belongs to another user.
    RepositoryUntrusted = "repository_untrusted", 2;
    /// A file that keyrack generates has outdated content.
    OutOfDate = "out_of_date", 2;
    /// The command works only inside a git repository.
    NotARepo = "not_a_repo", 2;
    /// `sudo` keys must be requested one by one.
    SudoNeedsKey = "sudo_needs_key", 2;

    /// The key exists and is not unlocked.
    Locked = "locked", 2;
    /// The key was never set.
    Absent = "absent", 2;
    /// A rule withholds the key.
    Blocked = "blocked", 2;
    /// A long-lived token was rejected.
    LongLivedToken = "long_lived_token", 2;
    /// A weaker grade would replace a stronger one.
    GradeDegraded = "grade_degraded", 2;
    /// The key is weaker than its `keyrack.yml` entry requires.
    BelowDeclared = "below_declared", 2;
    /// A permanent mechanism must be named or confirmed.
    MechRequired = "mech_required", 2;
    /// The stored mechanism and the value disagree.
    MechMismatch = "mech_mismatch", 2;
    /// The secret is empty or holds only white space.
    EmptySecret = "empty_secret", 2;
    /// The secret is larger than keyrack supports.
    SecretTooLarge = "secret_too_large", 2;
    /// A value, or all values together, exceed the kernel's limits on variables.
    ValueTooLarge = "value_too_large", 2;
    /// The credential that a key holds has expired.
    CredentialExpired = "credential_expired", 2;

    /// There is no host manifest for this owner yet.
    HostManifestMissing = "host_manifest_missing", 2;
    /// The host manifest can be decrypted but not understood.
    HostManifestInvalid = "host_manifest_invalid", 2;
    /// No available identity opens the file.
    NoIdentity = "no_identity", 2;
    /// The passphrase does not open the ssh key.
    BadPassphrase = "bad_passphrase", 2;
    /// A key file given as identity or recipient cannot be used.
    BadKeyFile = "bad_key_file", 2;
    /// A recipient with this label exists.
    RecipientExists = "recipient_exists", 2;
    /// No recipient has this label.
    RecipientNotFound = "recipient_not_found", 2;
    /// The last recipient cannot be removed.
    LastRecipient = "last_recipient", 2;
    /// Not an age or ssh public key.
    BadRecipient = "bad_recipient", 2;
    /// The vault cannot be written.
    VaultReadOnly = "vault_read_only", 2;
    /// The vault cannot be read.
    VaultWriteOnly = "vault_write_only", 2;
    /// This build has no such vault.
    VaultUnsupported = "vault_unsupported", 2;
    /// This version of keyrack does not have the requested feature yet.
    NotAvailable = "not_available", 2;
    /// The host manifest names a key that the vault does not have.
    Lost = "lost", 2;
    /// A file of a vault is damaged.
    VaultCorrupt = "vault_corrupt", 2;
    /// A file of a vault is valid, but is not the one that the host manifest names.
    VaultMismatch = "vault_mismatch", 2;
    /// A prompt is needed, and the user cannot be prompted.
    PromptNeeded = "prompt_needed", 2;

    /// HOME is not set.
    NoHome = "no_home", 2;
    /// There is no runtime directory.
    RuntimeDirMissing = "runtime_dir_missing", 2;
    /// The runtime directory belongs to another user, is too open, a link, or not a directory.
    RuntimeDirUnsafe = "runtime_dir_unsafe", 2;
    /// The socket's path is over 107 bytes.
    SocketPathTooLong = "socket_path_too_long", 2;
    /// The socket's path is in use by something that is not a socket.
    SocketPathTaken = "socket_path_taken", 2;
    /// No daemon runs.
    DaemonAbsent = "daemon_absent", 2;
    /// The daemon did not answer in time.
    DaemonUnresponsive = "daemon_unresponsive", 1;
    /// The daemon speaks another major protocol.
    DaemonIncompatible = "daemon_incompatible", 2;
    /// The daemon of an older TypeScript keyrack runs and cannot do this.
    DaemonLegacy = "daemon_legacy", 2;
    /// The daemon did not start.
    DaemonStartFailed = "daemon_start_failed", 1;
    /// The socket is served by another user or another login session.
    ServerUntrusted = "server_untrusted", 2;
    /// The daemon rejected the caller: another user, or another login session.
    SessionMismatch = "session_mismatch", 2;
    /// The daemon's boundary or memory is weaker than the caller requires.
    BoundaryWeak = "boundary_weak", 2;
    /// The kernel is older than the daemon supports.
    KernelTooOld = "kernel_too_old", 2;
    /// The process runs in a namespace in which users or processes cannot be told apart, or that
    /// the daemon does not serve.
    Sandboxed = "sandboxed", 2;
    /// `/proc` hides the processes that the boundary must see.
    ProcHidden = "proc_hidden", 2;
    /// The process is being traced.
    Traced = "traced", 2;
    /// The required memory mode is not available.
    MemoryUnavailable = "memory_unavailable", 2;
    /// The daemon's secret memory is full.
    MemoryFull = "memory_full", 1;
    /// A frame that breaks the protocol.
    BadFrame = "bad_frame", 1;
    /// A request that the peer does not understand.
    BadRequest = "bad_request", 1;
    /// The request is larger than the protocol carries.
    TooLarge = "too_large", 1;
    /// An operation this daemon does not have.
    UnknownOp = "unknown_op", 1;

    /// One of keyrack's own files or directories is a link, belongs to another user, or is of
    /// another type.
    FileUnsafe = "file_unsafe", 2;
    /// A wait reached its limit.
    TimedOut = "timed_out", 1;
    /// The caller aborted.
    Aborted = "aborted", 1;
    /// A system call failed.
    Io = "io", 1;
    /// A bug in keyrack.
    Internal = "internal", 1;
    /// A command to run could not be started.
    CommandFailed = "command_failed", 1;
    /// The native part of the package is missing.
    BindingMissing = "binding_missing", 1;
    /// keyrack does not run on this platform.
    UnsupportedPlatform = "unsupported_platform", 1;
    /// The user pressed Ctrl-C.
    Interrupted = "interrupted", 130;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(ErrorCode::from(String::deserialize(d)?.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_round_trips_through_its_text() {
        for code in ErrorCode::ALL {
            assert_eq!(&ErrorCode::from(code.as_str()), code);
            assert!(matches!(code.exit(), 1 | 2 | 130), "{code}");
            let word = code.as_str();
            assert!(word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{word} is snake_case");
        }
    }

    #[test]
    fn code_texts_are_distinct() {
        let mut words: Vec<_> = ErrorCode::ALL.iter().map(ErrorCode::as_str).collect();
        words.sort_unstable();
        let all = words.len();
        words.dedup();
        assert_eq!(words.len(), all);
    }

    #[test]
    fn unknown_code_round_trips() {
        let code: ErrorCode = serde_json::from_str("\"from_the_future\"").unwrap();
        assert_eq!(code, ErrorCode::Other("from_the_future".into()));
        assert_eq!(serde_json::to_string(&code).unwrap(), "\"from_the_future\"");
        assert_eq!(code.exit(), 1);
    }
}
