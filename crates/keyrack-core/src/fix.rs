//! Fixes: commands that fix an error, complete, and ready to paste into a shell.

use crate::env::Env;
use crate::mechanism::Mechanism;
use crate::org::Org;
use crate::owner::Owner;
use crate::slug::Slug;
use crate::vault_id::VaultId;

/// Way in which keyrack was called. Every fix begins with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Invocation(Option<&'static str>);

impl Invocation {
    /// Invocations that a wrapper may claim through `KEYRACK_INVOKED_AS`. Others are ignored,
    /// because a fix is pasted into a shell.
    pub const KNOWN: [&'static str; 5] =
        ["keyrack", "npx keyrack", "pnpm keyrack", "yarn keyrack", "rhx keyrack"];

    /// Invocation through the npm package.
    pub const NPX: Invocation = Invocation(Some("npx keyrack"));

    /// Returns the claimed invocation if it is a known one, else `otherwise`.
    pub fn claimed(claim: Option<&str>, otherwise: Invocation) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|known| Some(*known) == claim)
            .map_or(otherwise, |known| Invocation(Some(known)))
    }

    /// Text of the invocation.
    pub fn as_str(self) -> &'static str {
        self.0.unwrap_or("keyrack")
    }
}

const ALLOW_DANGEROUS: &str = "--allow-dangerous";

/// Remedy for an error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fix {
    /// A keyrack command.
    Command(Box<FixCommand>),
    /// Another command, as it is.
    Text(String),
}

/// A keyrack command that fixes an error. Its words are unquoted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FixCommand {
    /// Name of the command, such as `unlock` or `daemon restart`.
    pub name: String,
    /// `--owner`.
    pub owner: Option<String>,
    /// `--org`.
    pub org: Option<String>,
    /// `--env`.
    pub env: Option<String>,
    /// `--key`.
    pub key: Option<String>,
    /// Words after these flags.
    pub args: Vec<String>,
}

impl FixCommand {
    /// Command without flags. `name` may be several words.
    pub fn new(name: &str) -> Self {
        FixCommand { name: name.to_owned(), ..FixCommand::default() }
    }

    /// Adds `--owner`, unless it is the default one.
    #[must_use]
    pub fn owner(mut self, owner: &Owner) -> Self {
        self.owner = owner.name().map(str::to_owned);
        self
    }

    /// Adds `--org`.
    #[must_use]
    pub fn org(mut self, org: &str) -> Self {
        self.org = Some(org.to_owned());
        self
    }

    /// Adds `--env`.
    #[must_use]
    pub fn env(mut self, env: &str) -> Self {
        self.env = Some(env.to_owned());
        self
    }

    /// Adds `--key`: a name or a full slug.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Adds the words after the flags above.
    #[must_use]
    pub fn args<S: AsRef<str>>(mut self, words: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// Adds `--env` and `--key` with the full slug, for a key of another repository.
    #[must_use]
    pub fn full_slug(self, slug: &Slug) -> Self {
        match slug.env_kind() {
            Some(_) => self.env(slug.env()).key(slug.as_str()),
            None => self.key(slug.as_str()),
        }
    }

    /// Adds the flags that name a key in the way that every keyrack understands.
    fn slug(self, slug: &Slug) -> Self {
        match (slug.is_machine(), slug.env_kind()) {
            // `unlock` of older keyracks has no --org. It finds a machine key by its full slug.
            (true, _) if self.name == "unlock" => self.env(slug.env()).key(slug.as_str()),
            (true, _) => self.org(Org::MACHINE).env(slug.env()).key(slug.name()),
            (false, Some(Env::All | Env::Sudo | Env::Prod | Env::Prep | Env::Test | Env::Camp)) => {
                self.env(slug.env()).key(slug.name())
            }
            (false, None) => self.key(slug.as_str()),
        }
    }

    fn words(&self) -> impl Iterator<Item = &str> {
        let flags =
            [("--owner", &self.owner), ("--org", &self.org), ("--env", &self.env), ("--key", &self.key)];
        let flags = flags.into_iter().filter_map(|(flag, value)| Some([flag, value.as_deref()?])).flatten();
        self.name.split(' ').chain(flags).chain(self.args.iter().map(String::as_str))
    }
}

impl From<FixCommand> for Fix {
    fn from(command: FixCommand) -> Self {
        Fix::Command(Box::new(command))
    }
}

impl Fix {
    /// Keyrack command of the given words, the first of which is its name.
    pub fn command<I, S>(words: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<str>,
    {
        let mut words = words.into_iter();
        let name = words.next();
        FixCommand::new(name.as_ref().map_or("", AsRef::as_ref)).args(words).into()
    }

    /// `unlock` of one key.
    pub fn unlock(owner: &Owner, slug: &Slug) -> Self {
        Self::for_slug("unlock", owner, slug).into()
    }

    /// `get` of one key.
    pub fn get(owner: &Owner, slug: &Slug) -> Self {
        Self::for_slug("get", owner, slug).into()
    }

    /// Adds the flag that skips the token check.
    #[must_use]
    pub fn allowing_dangerous(self) -> Self {
        match self {
            Fix::Command(command) => command.args([ALLOW_DANGEROUS]).into(),
            text @ Fix::Text(_) => text,
        }
    }

    /// Returns `true` for a command that skips the token check.
    pub fn allows_dangerous(&self) -> bool {
        matches!(self, Fix::Command(command) if command.args.iter().any(|word| word == ALLOW_DANGEROUS))
    }

    /// `set` of one key into a vault, by a mechanism. The mechanism is named unless `set` assumes
    /// it: a permanent one never is, and a fix without it would fail again.
    pub fn set(owner: &Owner, slug: &Slug, vault: &VaultId, mech: &Mechanism) -> Self {
        let command = Self::for_slug("set", owner, slug).args(["--vault", vault.as_str()]);
        let is_assumed = vault.mechanisms() == [mech.clone()] && mech.is_ephemeral();
        match mech {
            Mechanism::Other(_) => command.into(),
            _ if is_assumed => command.into(),
            mech => command.args(["--mech", mech.as_str()]).into(),
        }
    }

    /// `set` of one key as a static secret, into the vault that encrypts it.
    pub fn set_secure(owner: &Owner, slug: &Slug) -> Self {
        Self::set(owner, slug, &VaultId::OsSecure, &Mechanism::Replica)
    }

    /// `del` of one key.
    pub fn del(owner: &Owner, slug: &Slug) -> Self {
        Self::for_slug("del", owner, slug).into()
    }

    /// `relock` of one key, by its full slug.
    pub fn relock(owner: &Owner, slug: &Slug) -> Self {
        FixCommand::new("relock").owner(owner).key(slug.as_str()).into()
    }

    /// Command with `--owner` and the given words.
    pub fn with_owner<const N: usize>(name: &str, owner: &Owner, args: [&str; N]) -> Self {
        FixCommand::new(name).owner(owner).args(args).into()
    }

    fn for_slug(name: &str, owner: &Owner, slug: &Slug) -> FixCommand {
        FixCommand::new(name).owner(owner).slug(slug)
    }

    /// Returns the text to show and to paste. It begins as keyrack was called.
    pub fn render(&self, invocation: Invocation) -> String {
        match self {
            Fix::Text(text) => text.clone(),
            Fix::Command(command) => {
                let mut line = invocation.as_str().to_owned();
                for word in command.words() {
                    line.push(' ');
                    line.push_str(&shell_quote(word));
                }
                line
            }
        }
    }
}

/// Quotes a word for a POSIX shell if it needs it (POSIX.1-2024, 2.2 Quoting).
pub fn shell_quote(word: &str) -> String {
    let plain = |b: u8| {
        b.is_ascii_alphanumeric()
            || matches!(b, b'_' | b'-' | b'.' | b'/' | b'@' | b':' | b'=' | b'+' | b',' | b'%')
    };
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn render_quotes_words_and_orders_flags() {
        let slug = |text| Slug::parse(text).unwrap();
        let default = Owner::DEFAULT;
        let named: Owner = "ehmpath".parse().unwrap();
        let plain = Invocation::default();
        for (fix, text) in [
            (Fix::unlock(&default, &slug("acme.test.K")), "keyrack unlock --env test --key K"),
            (Fix::unlock(&named, &slug("acme.test.K")), "keyrack unlock --owner ehmpath --env test --key K"),
            (Fix::unlock(&default, &slug("@all.sudo.K")), "keyrack unlock --env sudo --key @all.sudo.K"),
            (
                Fix::set_secure(&default, &slug("@all.test.K")),
                "keyrack set --org @all --env test --key K --vault os.secure --mech PERMANENT_VIA_REPLICA",
            ),
            (
                Fix::set_secure(&named, &slug("acme.all.K")),
                "keyrack set --owner ehmpath --env all --key K --vault os.secure --mech PERMANENT_VIA_REPLICA",
            ),
            (
                Fix::set(&default, &slug("acme.test.K"), &VaultId::OsDirect, &Mechanism::Replica),
                "keyrack set --env test --key K --vault os.direct --mech PERMANENT_VIA_REPLICA",
            ),
            (
                Fix::set(&default, &slug("acme.test.K"), &VaultId::OsDaemon, &Mechanism::Session),
                "keyrack set --env test --key K --vault os.daemon",
            ),
            (
                Fix::set(
                    &default,
                    &slug("acme.test.K"),
                    &VaultId::OsSecure,
                    &Mechanism::Other("NEW; x".into()),
                ),
                "keyrack set --env test --key K --vault os.secure",
            ),
            (Fix::relock(&default, &slug("acme.test.K")), "keyrack relock --key acme.test.K"),
            (Fix::with_owner("daemon restart", &named, []), "keyrack daemon restart --owner ehmpath"),
            (Fix::command(["run", "a b", "it's"]), r"keyrack run 'a b' 'it'\''s'"),
        ] {
            assert_eq!(fix.render(plain), text);
        }
    }

    #[test]
    fn claimed_ignores_unknown_invocations() {
        let npx = Invocation::NPX;
        for (claim, words) in [
            (None, "npx keyrack"),
            (Some("rhx keyrack"), "rhx keyrack"),
            (Some("keyrack"), "keyrack"),
            (Some("rm -rf ~; keyrack"), "npx keyrack"),
            (Some(""), "npx keyrack"),
        ] {
            assert_eq!(Invocation::claimed(claim, npx).as_str(), words);
        }
    }
}
