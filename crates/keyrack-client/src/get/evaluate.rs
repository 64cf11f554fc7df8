//! Evaluation of one key: from its value, or the lack of one, to an attempt with its fix. Checks
//! the declared minimum grade and long-lived tokens. No I/O.

use keyrack_core::declared_grade::below_declared;
use keyrack_core::{Attempt, Fix, FixCommand, Grade, Grant, GrantSource, Mechanism, Slug, VaultId, firewall};

use super::outcome::{GetOptions, KeyOutcome};
use super::plan::KeyRequest;
use crate::address::describe_other_sessions;
use crate::context::Context;
use crate::secret::Secret;
use crate::session::GrantedKey;

/// Value of an environment variable, as messages name it.
const FROM_ENV: &str = "the value in the environment";

pub(super) struct Evaluator<'a> {
    pub(super) ctx: &'a Context,
    pub(super) options: GetOptions,
    pub(super) manifest_org: Option<&'a str>,
}

impl Evaluator<'_> {
    /// Evaluates a key that the daemon holds.
    pub(super) fn daemon_key(&self, asked: &KeyRequest, granted: GrantedKey) -> KeyOutcome {
        let GrantedKey { grant, secret, .. } = granted;
        if !asked.minimum.is_met_by(grant.grade) {
            return self.below(asked, "the key", grant.grade);
        }
        self.through_firewall(asked, grant, secret, None)
    }

    /// Evaluates a value of the environment.
    pub(super) fn env_value(&self, asked: &KeyRequest, value: Secret) -> KeyOutcome {
        if let Some(mech) = firewall::blob_mech(value.expose()) {
            return self.blob(asked, &mech);
        }
        let source = GrantSource { vault: VaultId::OsEnvvar, mech: Mechanism::Replica };
        let grade = Grade::of(&source.vault, &source.mech);
        let below = !asked.minimum.is_met_by(grade);
        if below && self.ctx.strict_env() {
            return self.below(asked, FROM_ENV, grade);
        }
        let note = below.then(|| match &asked.fault {
            Some(fault) => fault.message.clone(),
            None => below_declared(FROM_ENV, grade, asked.minimum, "keyrack.yml"),
        });
        let grant = Grant { slug: asked.slug.clone(), grade, source, expires_at_ms: None };
        self.through_firewall(asked, grant, value, note)
    }

    fn through_firewall(
        &self,
        asked: &KeyRequest,
        grant: Grant,
        secret: Secret,
        note: Option<String>,
    ) -> KeyOutcome {
        // An empty value is not a key, even with `allow_dangerous`.
        if (secret.is_empty() || !self.options.allow_dangerous)
            && let Err(reasons) = firewall::check(secret.expose(), &grant.source.mech)
        {
            if secret.is_empty() {
                return self.blocked(asked, reasons, Some(self.set(&asked.slug)));
            }
            let note = Some("--allow-dangerous returns it anyway".to_owned());
            let fix = self.read_again(&asked.slug).allowing_dangerous();
            return KeyOutcome { note, ..self.blocked(asked, reasons, Some(fix)) };
        }
        let below_declared = note.is_some();
        KeyOutcome {
            attempt: Attempt::Granted { grant, below_declared },
            secret: Some(secret),
            note,
            waived: false,
        }
    }

    fn below(&self, asked: &KeyRequest, subject: &str, grade: Grade) -> KeyOutcome {
        let reason = below_declared(subject, grade, asked.minimum, "keyrack.yml");
        match asked.minimum.duration {
            None => self.blocked(asked, vec![reason], Some(self.set(&asked.slug))),
            Some(duration) => {
                let note = format!("set it again with a mechanism whose keys are {}", duration.as_str());
                KeyOutcome { note: Some(note), ..self.blocked(asked, vec![reason], None) }
            }
        }
    }

    fn blob(&self, asked: &KeyRequest, mech: &Mechanism) -> KeyOutcome {
        let known = !matches!(mech, Mechanism::Other(_));
        let what = if known { mech.as_str() } else { "a mechanism" };
        let name = asked.slug.name();
        let mut reasons = vec![format!(
            "the variable {name} holds the input of {what}, which keyrack never returns as a key"
        )];
        let mut note = None;
        let fix = match mech {
            // This version can set these.
            Mechanism::Replica | Mechanism::Session | Mechanism::Other(_) => {
                Some(Fix::set(&self.ctx.owner, &asked.slug, &VaultId::OsSecure, mech))
            }
            _ => {
                reasons.push(format!("this version of keyrack does not support {mech}"));
                let such = if *mech == Mechanism::GithubApp {
                    ", as by the action actions/create-github-app-token"
                } else {
                    ""
                };
                note = Some(format!("create the credential first{such}, and put it into {name}"));
                None
            }
        };
        KeyOutcome { note, ..self.blocked(asked, reasons, fix) }
    }

    fn blocked(&self, asked: &KeyRequest, reasons: Vec<String>, fix: Option<Fix>) -> KeyOutcome {
        let attempt = Attempt::Blocked { slug: asked.slug.clone(), reasons, fix };
        KeyOutcome { attempt, secret: None, note: None, waived: false }
    }

    /// Evaluates a key that neither the daemon nor the environment has. `known`: it was set once.
    /// `others`: login sessions in which the same rack is open.
    pub(super) fn not_found(&self, asked: &KeyRequest, known: bool, others: &[String]) -> KeyOutcome {
        let slug = asked.slug.clone();
        let undeclared = asked.undeclared && !slug.is_sudo() && !slug.is_machine();
        // A misspelled name gets the same answer everywhere. A key that was set once is probably
        // not misspelled, even if it is not declared.
        if undeclared && (self.options.undeclared_is_absent || (!known && asked.near.is_some())) {
            let (meant, fix) = match &asked.near {
                Some(near) => (format!("; did you mean {}?", near.name()), Fix::get(&self.ctx.owner, near)),
                None => (String::new(), self.set(&slug)),
            };
            let message = format!("{slug} is not declared in keyrack.yml{meant}");
            let fix = Some(fix);
            let note = format!("not declared in keyrack.yml{meant}");
            return self.plain(Attempt::Absent { slug, message, fix }, Some(note));
        }
        if !known {
            let message = format!("{slug} was never set on this machine");
            let fix = Some(self.set(&slug));
            return self.plain(Attempt::Absent { slug, message, fix }, None);
        }
        let note = describe_other_sessions(others);
        let message = match &note {
            None => format!("{slug} is locked"),
            Some(note) => format!("{slug} is locked; {note}"),
        };
        let fix = Some(self.unlock(&slug));
        self.plain(Attempt::Locked { slug, message, fix }, note)
    }

    fn plain(&self, attempt: Attempt, note: Option<String>) -> KeyOutcome {
        KeyOutcome { attempt, secret: None, note, waived: false }
    }

    /// `get` of the key: by its name if it belongs to the repository or the machine, else by its
    /// full slug.
    fn read_again(&self, slug: &Slug) -> Fix {
        if slug.is_machine() || self.manifest_org == Some(slug.org()) {
            return Fix::get(&self.ctx.owner, slug);
        }
        FixCommand::new("get").owner(&self.ctx.owner).full_slug(slug).into()
    }

    fn set(&self, slug: &Slug) -> Fix {
        Fix::set_secure(&self.ctx.owner, slug)
    }

    /// `unlock` of the key, named as in [`Self::read_again`].
    fn unlock(&self, slug: &Slug) -> Fix {
        if slug.is_machine() || self.manifest_org == Some(slug.org()) {
            return Fix::unlock(&self.ctx.owner, slug);
        }
        FixCommand::new("unlock").owner(&self.ctx.owner).full_slug(slug).into()
    }
}
