//! Fixes: the command that mends a failure, complete, and working when pasted into a shell.

use std::fmt::Write as _;

use crate::env::Env;
use crate::mechanism::Mechanism;
use crate::org::Org;
use crate::owner::Owner;
use crate::slug::Slug;
use crate::vault_id::VaultId;

/// How keyrack was called: the words every fix begins with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Invocation(Option<&'static str>);

impl Invocation {
    /// The invocations a wrapper may claim through `KEYRACK_INVOKED_AS`. Anything else is not believed: a fix gets pasted into a shell.
    pub const KNOWN: [&'static str; 5] =
        ["keyrack", "npx keyrack", "pnpm keyrack", "yarn keyrack", "rhx keyrack"];

    /// Called through the npm package.
    pub const NPX: Invocation = Invocation(Some("npx keyrack"));

    /// The claimed invocation if it is a known one, else `otherwise`.
    pub fn claimed(claim: Option<&str>, otherwise: Invocation) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|known| Some(*known) == claim)
            .map_or(otherwise, |known| Invocation(Some(known)))
    }

    /// The words.
    pub fn as_str(self) -> &'static str {
        self.0.unwrap_or("keyrack")
    }
}

const ALLOW_DANGEROUS: &str = "--allow-dangerous";

/// A way out of a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fix {
    /// A keyrack command: its words after the program's name, unquoted.
    Command(Vec<String>),
    /// Another command or an instruction, as it is.
    Text(String),
}

impl Fix {
    /// A keyrack command of the given words.
    pub fn command<I, S>(words: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Fix::Command(words.into_iter().map(Into::into).collect())
    }

    /// `unlock` of one key.
    pub fn unlock(owner: &Owner, slug: &Slug) -> Self {
        Self::about("unlock", owner, slug)
    }

    /// `get` of one key.
    pub fn get(owner: &Owner, slug: &Slug) -> Self {
        Self::about("get", owner, slug)
    }

    /// The same command with a flag more that lets a long-lived token pass.
    #[must_use]
    pub fn allowing_dangerous(mut self) -> Self {
        if let Fix::Command(words) = &mut self {
            words.push(ALLOW_DANGEROUS.to_owned());
        }
        self
    }

    /// Whether it is a command that lets a long-lived token pass.
    pub fn allows_dangerous(&self) -> bool {
        matches!(self, Fix::Command(words) if words.iter().any(|word| word == ALLOW_DANGEROUS))
    }

    /// `set` of one key into a vault, by a mechanism. It is named where `set` does not take it by itself: a permanent key is never assumed,
    /// and a fix without it would fail once more.
    pub fn set(owner: &Owner, slug: &Slug, vault: &VaultId, mech: &Mechanism) -> Self {
        let Fix::Command(mut words) = Self::about("set", owner, slug) else {
            unreachable!("about makes a command")
        };
        words.extend(["--vault".to_owned(), vault.to_string()]);
        let assumed = vault.mechanisms() == [mech.clone()] && mech.is_ephemeral();
        if !assumed && !matches!(mech, Mechanism::Other(_)) {
            words.extend(["--mech".to_owned(), mech.to_string()]);
        }
        Fix::Command(words)
    }

    /// `set` of one key as the static secret it most likely is, into the vault that keeps it encrypted.
    pub fn set_secure(owner: &Owner, slug: &Slug) -> Self {
        Self::set(owner, slug, &VaultId::OsSecure, &Mechanism::Replica)
    }

    /// `del` of one key.
    pub fn del(owner: &Owner, slug: &Slug) -> Self {
        Self::about("del", owner, slug)
    }

    /// `relock` of one key, by its full slug.
    pub fn relock(owner: &Owner, slug: &Slug) -> Self {
        Self::with_owner("relock", owner, ["--key", slug.as_str()])
    }

    /// A command that takes `--owner` and the given words.
    pub fn with_owner<const N: usize>(command: &str, owner: &Owner, rest: [&str; N]) -> Self {
        let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        if let Some(name) = owner.name() {
            words.extend(["--owner".to_owned(), name.to_owned()]);
        }
        words.extend(rest.into_iter().map(str::to_owned));
        Fix::Command(words)
    }

    fn about(command: &str, owner: &Owner, slug: &Slug) -> Self {
        let Fix::Command(mut words) = Self::with_owner(command, owner, []) else {
            unreachable!("with_owner makes a command")
        };
        // `unlock` of older keyracks has no --org: there a machine's key is asked for by its full slug, which every command understands.
        match (slug.is_machine(), slug.env_kind()) {
            (true, _) => {
                if command != "unlock" {
                    words.extend(["--org".to_owned(), Org::MACHINE.to_owned()]);
                }
                words.extend(["--env".to_owned(), slug.env().to_owned(), "--key".to_owned()]);
                words.push(if command == "unlock" {
                    slug.as_str().to_owned()
                } else {
                    slug.name().to_owned()
                });
            }
            (false, Some(Env::All | Env::Sudo | Env::Prod | Env::Prep | Env::Test | Env::Camp)) => {
                words.extend(["--env", slug.env(), "--key", slug.name()].map(str::to_owned));
            }
            (false, None) => words.extend(["--key", slug.as_str()].map(str::to_owned)),
        }
        Fix::Command(words)
    }

    /// The text to show and to paste, begun as keyrack was called.
    pub fn render(&self, invocation: Invocation) -> String {
        match self {
            Fix::Text(text) => text.clone(),
            Fix::Command(words) => {
                let mut line = invocation.as_str().to_owned();
                for word in words {
                    write!(line, " {}", shell_quote(word)).expect("writing to a String cannot fail");
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
    fn rendered() {
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
    fn only_known_invocations_are_believed() {
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
