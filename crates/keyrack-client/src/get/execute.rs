//! The two steps of a read: asking the daemon, then the environment for the keys that it did not
//! have.

use std::borrow::Cow;
use std::collections::HashMap;

use keyrack_core::{Attempt, Error, ErrorCode, Slug};

use super::evaluate::Evaluator;
use super::outcome::{GetOptions, GetOutcome};
use super::plan::GetPlan;
use keyrack_sys::user::Uid;

use crate::address::{RackAddress, is_address_unavailable};
use crate::context::Context;
use crate::daemon::connect_at;
use crate::inventory::Inventory;
use crate::secret::Secret;
use crate::session::GrantedKey;
use crate::session_cache::SessionCache;

/// Read after its first step: it has the daemon's keys and still needs the values of the
/// environment.
#[derive(Debug)]
pub struct PendingGet<'c> {
    ctx: Cow<'c, Context>,
    plan: GetPlan,
    options: GetOptions,
    /// The daemon's key for each request.
    found: Vec<Option<GrantedKey>>,
    address: Option<RackAddress>,
    legacy_daemon: bool,
    error: Option<Error>,
    /// `true` if a daemon that cannot be asked may have keys that the environment does not have.
    /// Its error then fails the read.
    needs_daemon: bool,
}

/// Asks the daemon for all keys of the plan in one request. A daemon that cannot be asked is not an
/// error yet: the environment may have all keys. If the runtime directory is missing or unusable,
/// keys are missing as without a daemon, and the outcome has the reason.
pub fn read(ctx: &Context, plan: GetPlan, options: GetOptions) -> PendingGet<'_> {
    read_over(ctx, plan, options, None)
}

/// Asks the daemon as [`read`] does, if possible over a connection that the cache keeps between
/// reads. Takes the effective uid with the cache.
pub(super) fn read_over<'c>(
    ctx: &'c Context,
    plan: GetPlan,
    options: GetOptions,
    sessions: Option<(&mut SessionCache, Uid)>,
) -> PendingGet<'c> {
    let mut pending = PendingGet {
        ctx: Cow::Borrowed(ctx),
        found: plan.asked.iter().map(|_| None).collect(),
        plan,
        options,
        address: None,
        legacy_daemon: false,
        error: None,
        needs_daemon: true,
    };
    if !pending.plan.asked.is_empty() {
        pending.error = pending.ask_daemon(sessions).err();
        pending.needs_daemon = !pending.error.as_ref().is_some_and(is_address_unavailable);
    }
    pending
}

impl PendingGet<'_> {
    /// Adds variables to the context's environment that matter only if a key is missing, such as
    /// `KEYRACK_STRICT_ENV`.
    pub fn add_variables(&mut self, variables: impl IntoIterator<Item = (String, String)>) {
        self.ctx.to_mut().env.extend(variables);
    }

    fn ask_daemon(&mut self, sessions: Option<(&mut SessionCache, Uid)>) -> Result<(), Error> {
        let slugs: Vec<Slug> = self.plan.asked.iter().map(|asked| asked.slug.clone()).collect();
        let granted = match sessions {
            Some((sessions, user)) => {
                let mut lease = sessions.take(&self.ctx, user)?;
                let Some(daemon) = &mut lease.daemon else { return Ok(()) };
                self.legacy_daemon = daemon.is_legacy();
                let granted = daemon.get(&slugs);
                sessions.put_back(&self.ctx, lease, granted.as_ref().err());
                granted
            }
            None => {
                let address = self.address.insert(RackAddress::of(&self.ctx)?).clone();
                let Some(mut daemon) = connect_at(&self.ctx, address)? else { return Ok(()) };
                self.legacy_daemon = daemon.is_legacy();
                daemon.get(&slugs)
            }
        };
        match granted {
            Ok(granted) => self.found = matched(&slugs, granted),
            // The daemon exited in between, so its keys are erased.
            Err(error) if error.code == ErrorCode::DaemonAbsent => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Adapts the read to a machine without a daemon, as in CI: if there is no home, a key that the
    /// environment does not have is missing, not an error.
    #[must_use]
    pub fn without_need_of_daemon(mut self) -> Self {
        let no_home = |error: &Error| error.code == ErrorCode::NoHome;
        self.needs_daemon &= !self.error.as_ref().is_some_and(no_home);
        self
    }

    /// Returns the read with its own copy of the context.
    pub fn into_owned(self) -> PendingGet<'static> {
        PendingGet { ctx: Cow::Owned(self.ctx.into_owned()), ..self }
    }

    /// Returns the variables whose values [`PendingGet::answer`] needs: keys that the daemon did
    /// not have, and variables that make absent keys optional. Never the variable of a `sudo` key,
    /// which the environment cannot answer.
    pub fn names(&self) -> Vec<&str> {
        let missed = self.plan.asked.iter().zip(&self.found).filter(|(_, found)| found.is_none());
        let mut names: Vec<&str> = Vec::new();
        for (asked, _) in missed {
            let key = (!asked.slug.is_sudo()).then(|| asked.slug.name());
            names.extend(key.into_iter().chain(asked.optional_if_has.as_deref()));
        }
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Takes missing keys from the environment, and evaluates every key. `variable` returns the
    /// value of a variable. An empty value counts as unset.
    ///
    /// # Errors
    /// The error of asking the daemon, if the environment did not have all keys.
    pub fn answer(self, mut variable: impl FnMut(&str) -> Option<Secret>) -> Result<GetOutcome, Error> {
        let mut filled = |name: &str| variable(name).filter(|value| !value.is_empty());
        let evaluator = Evaluator {
            ctx: &self.ctx,
            options: self.options,
            manifest_org: self.plan.manifest_org.as_deref(),
        };
        let mut inventory = None;
        let mut others = None;
        let mut keys = Vec::with_capacity(self.plan.asked.len());
        for (asked, found) in self.plan.asked.iter().zip(self.found) {
            if let Some(granted) = found {
                keys.push(evaluator.daemon_key(asked, granted));
                continue;
            }
            let value = if asked.slug.is_sudo() { None } else { filled(asked.slug.name()) };
            if let Some(value) = value {
                keys.push(evaluator.env_value(asked, value));
                continue;
            }
            if self.needs_daemon
                && let Some(error) = self.error
            {
                return Err(error);
            }
            let inventory = inventory.get_or_insert_with(|| Inventory::of(&self.ctx));
            let known = inventory.as_ref().is_some_and(|inventory| inventory.knows(&asked.slug));
            let others: &Vec<String> = others.get_or_insert_with(|| {
                let address = self.address.clone().or_else(|| RackAddress::of(&self.ctx).ok());
                address.as_ref().map(RackAddress::other_sessions).unwrap_or_default()
            });
            let mut answer = evaluator.not_found(asked, known, others);
            let may_be_absent = matches!(answer.attempt, Attempt::Absent { .. });
            let stand_in = asked.optional_if_has.as_deref().filter(|_| may_be_absent);
            if let Some(name) = stand_in.filter(|name| filled(name).is_some()) {
                answer.waived = true;
                answer.note = Some(format!("not needed: {name} is set"));
            }
            keys.push(answer);
        }
        Ok(GetOutcome {
            keys,
            single: self.plan.single,
            legacy_daemon: self.legacy_daemon,
            daemon_error: self.error,
            manifest_faults: self.plan.manifest_faults,
        })
    }
}

/// Matches the daemon's keys to the requests: the exact key, else the `all` key of that name. A key
/// that answers several requests is copied. A key that answers none is dropped.
fn matched(asked: &[Slug], granted: Vec<GrantedKey>) -> Vec<Option<GrantedKey>> {
    // No map for the one key of most reads. Benchmark row: "getSync in Node by slug, against the
    // native Rust client".
    if let ([slug], [_]) = (asked, &granted[..]) {
        let answers = |found: &GrantedKey| {
            found.grant.slug == *slug || slug.fallback().is_some_and(|fallback| found.grant.slug == fallback)
        };
        return vec![granted.into_iter().find(answers)];
    }
    let mut by_slug: HashMap<Slug, GrantedKey> =
        granted.into_iter().map(|granted| (granted.grant.slug.clone(), granted)).collect();
    let mut uses: HashMap<Slug, usize> = HashMap::new();
    let choice = |slug: &Slug| {
        let fallback = || slug.fallback().filter(|fallback| by_slug.contains_key(fallback));
        by_slug.contains_key(slug).then(|| slug.clone()).or_else(fallback)
    };
    let choices: Vec<Option<Slug>> = asked.iter().map(choice).collect();
    for slug in choices.iter().flatten() {
        *uses.entry(slug.clone()).or_default() += 1;
    }
    choices
        .into_iter()
        .map(|choice| {
            let slug = choice?;
            let left = uses.get_mut(&slug)?;
            *left -= 1;
            if *left == 0 {
                return by_slug.remove(&slug);
            }
            let kept = by_slug.get(&slug)?;
            Some(GrantedKey {
                grant: kept.grant.clone(),
                secret: Secret::copy_of(kept.secret.expose()),
                remaining: kept.remaining,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use keyrack_core::{Grade, Grant, GrantSource, Mechanism, Ttl, VaultId};

    use super::*;

    fn granted(slug: &str) -> GrantedKey {
        let source = GrantSource { vault: VaultId::OsSecure, mech: Mechanism::Replica };
        GrantedKey {
            grant: Grant {
                slug: Slug::parse(slug).unwrap(),
                grade: Grade::of(&source.vault, &source.mech),
                source,
                expires_at_ms: Some(1),
            },
            secret: Secret::copy_of(slug.as_bytes()),
            remaining: Some(Ttl(1)),
        }
    }

    #[test]
    fn each_slug_gets_the_key_that_answers_it() {
        for (asked, held, expected) in [
            (&["a.test.K"][..], &["a.test.K"][..], &[Some("a.test.K")][..]),
            (&["a.test.K"], &["a.all.K"], &[Some("a.all.K")]),
            (&["a.test.K"], &["a.all.K", "a.test.K"], &[Some("a.test.K")]),
            (&["a.test.K", "a.prod.K"], &["a.all.K"], &[Some("a.all.K"), Some("a.all.K")]),
            (&["a.test.K", "a.test.K"], &["a.test.K"], &[Some("a.test.K"), Some("a.test.K")]),
            (&["a.sudo.K"], &["a.all.K"], &[None]),
            (&["a.test.K"], &["a.prod.K", "b.all.K"], &[None]),
            (&["a.all.K", "a.test.L"], &["a.test.L"], &[None, Some("a.test.L")]),
            (&[], &["a.test.K"], &[]),
        ] {
            let slugs: Vec<Slug> = asked.iter().map(|slug| Slug::parse(slug).unwrap()).collect();
            let found = matched(&slugs, held.iter().map(|slug| granted(slug)).collect());
            let found: Vec<Option<&str>> =
                found.iter().map(|key| key.as_ref().map(|key| key.grant.slug.as_str())).collect();
            assert_eq!(found, expected, "{asked:?} {held:?}");
        }
    }
}
