//! A rack for one test.

use std::path::PathBuf;
use std::time::Duration;

use keyrack_client::session::{KeyToUnlock, Session};
use keyrack_client::{Context, Environment, RackAddress, daemon};
use keyrack_core::{Grade, GrantSource, GrantedTtl, Mechanism, Slug, Ttl, TtlLimit, VaultId};
use keyrack_testkit::Home;

/// A home and its daemon, which is stopped on drop.
pub(crate) struct Rack {
    pub(crate) home: Home,
}

impl Rack {
    pub(crate) fn new() -> Self {
        Rack { home: Home::new() }
    }

    pub(crate) fn context(&self) -> Context {
        self.context_with([])
    }

    /// Returns a context with more variables.
    pub(crate) fn context_with<const N: usize>(&self, more: [(&str, &str); N]) -> Context {
        let own = [("HOME", self.home.home()), ("XDG_RUNTIME_DIR", self.home.runtime())];
        let own = own.map(|(name, value)| (name.to_owned(), value.into_os_string()));
        let more = more.map(|(name, value)| (name.to_owned(), value.into()));
        let env: Environment = own.into_iter().chain(more).collect();
        let mut ctx = Context::new(self.home.home(), env);
        ctx.deadline = Duration::from_secs(5);
        ctx
    }

    pub(crate) fn address(&self) -> RackAddress {
        RackAddress::of(&self.context()).unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.address().socket()
    }

    /// Returns a session with the daemon, which is started if needed.
    pub(crate) fn session(&self) -> Session {
        daemon::ensure(&self.context(), &keyrackd()).unwrap().0
    }

    /// Unlocks keys for an hour.
    pub(crate) fn unlock(&self, keys: &[(&str, &[u8])]) {
        let mut session = self.session();
        for (slug, secret) in keys {
            unlock(&mut session, slug, secret, VaultId::OsSecure, Ttl(3_600_000));
        }
    }
}

impl Drop for Rack {
    fn drop(&mut self) {
        let stopped = daemon::stop(&self.context());
        if !std::thread::panicking() {
            stopped.unwrap();
        }
    }
}

pub(crate) fn keyrackd() -> PathBuf {
    keyrack_testkit::binary("keyrackd")
}

pub(crate) fn slug(text: &str) -> Slug {
    Slug::parse(text).unwrap()
}

pub(crate) fn unlock(session: &mut Session, slug: &str, secret: &[u8], vault: VaultId, ttl: Ttl) {
    let slug = self::slug(slug);
    let mech = if vault == VaultId::OsDaemon { Mechanism::Session } else { Mechanism::Replica };
    let source = GrantSource { vault, mech };
    let key = KeyToUnlock {
        slug: &slug,
        grade: Grade::of(&source.vault, &source.mech),
        source: &source,
        ttl,
        credential_expires_at_ms: None,
        granted: GrantedTtl { ttl: None, limit: Some(TtlLimit::MaxDuration) },
        secret,
    };
    for unlocked in session.unlock(&[key]).unwrap() {
        unlocked.outcome.unwrap();
    }
}
