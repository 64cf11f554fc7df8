//! Request of a `set`.

/// A key to set, as the user typed it.
#[derive(Clone, Debug, Default)]
pub struct SetRequest {
    /// Name or full slug.
    pub key: String,
    /// Vault; prompted for if not given.
    pub vault: Option<String>,
    /// Mechanism; prompted for if not given and the vault has a permanent one.
    pub mech: Option<String>,
    /// Env; taken from `keyrack.yml` where that is unambiguous, else prompted for.
    pub env: Option<String>,
    /// `@this`, `@all` or the name of an org; `None` for `@this`.
    pub org: Option<String>,
    /// The vault's own name for the key.
    pub exid: Option<String>,
    /// Maximum TTL of the key once unlocked.
    pub max_duration: Option<String>,
    /// Another `keyrack.yml` of the repository, relative to its root.
    pub at: Option<String>,
    /// Accepts a full slug of any org where no `keyrack.yml` is found.
    pub anywhere: bool,
    /// Skips the token check.
    pub allow_dangerous: bool,
}
