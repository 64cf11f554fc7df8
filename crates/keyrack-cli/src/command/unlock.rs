//! `keyrack unlock`: keys out of their vaults into the daemon, for this login session.

use std::path::PathBuf;

use crate::unlock_tree::{UnlockLine, unlocked};
use clap::Args;
use keyrack_client::render::json::{JsonWriter, grant};
use keyrack_core::Error;
use keyrack_ops::unlock::{UnlockReport, UnlockRequest, unlock};

use crate::app::App;
use crate::command::flags::OwnerFlags;
use crate::command::notices;
use crate::output;
use crate::report::to_json;

const EXAMPLES: &str = "\
Examples:
  keyrack unlock --env test
  keyrack unlock --env test --key API_KEY --duration 10m
  keyrack unlock --env sudo --key ROOT
  keyrack unlock --env prep --org @all --key GITHUB_TOKEN
  keyrack unlock --owner work --env prep --prikey ~/.ssh/work";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct UnlockArgs {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// sudo, prod, prep, test, all or camp; needed unless keyrack.yml declares none
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// One key only, by its name or full slug
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// @this, the org of keyrack.yml with this machine's own keys, or @all, this machine's alone
    #[arg(long, default_value = "@this")]
    pub(crate) org: String,
    /// How long they stay unlocked, such as 10m; 9h if not given (30m for sudo), at most 24h (1h for sudo)
    #[arg(long)]
    pub(crate) duration: Option<String>,
    /// An ssh key to open the rack with, tried first; may be given again
    #[arg(long, value_name = "PATH")]
    pub(crate) prikey: Vec<PathBuf>,
    /// Unlock keys although they look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
    /// Print JSON, without secrets
    #[arg(long)]
    pub(crate) json: bool,
}

impl UnlockArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.owner.resolve(app)?;
        let named = self.key.is_some();
        let request = UnlockRequest {
            env: self.env,
            key: self.key,
            org: Some(self.org),
            duration: self.duration,
            allow_dangerous: self.allow_dangerous,
        };
        let report = app.operate(owner, &self.prikey, |ctx| unlock(ctx, &request))?;
        notices::daemon_spawned(app, report.started);
        report.notices.iter().for_each(|notice| app.notice(notice));
        report.nothing.iter().for_each(|error| app.warn(error));
        if self.json {
            output::print(&value(&report, app)?)?;
        } else {
            show(&report, app)?;
        }
        Ok(report.exit(named))
    }
}

/// The keys the daemon keeps on stdout; those left out on stderr.
fn show(report: &UnlockReport, app: &App) -> Result<(), Error> {
    let kept: Vec<UnlockLine<'_>> = report
        .unlocked
        .iter()
        .map(|key| UnlockLine::Unlocked {
            slug: &key.grant.slug,
            vault: &key.grant.source.vault,
            ttl: key.ttl,
            note: key.note.as_deref(),
        })
        .collect();
    let left: Vec<UnlockLine<'_>> = report
        .omitted
        .iter()
        .map(|key| UnlockLine::Omitted {
            slug: &key.slug,
            reason: key.reason,
            cause: key.cause.as_ref(),
            fix: key.fix.as_ref(),
        })
        .collect();
    if !kept.is_empty() || left.is_empty() {
        output::print(unlocked(&kept, app.invocation, app.style()).as_bytes())?;
    }
    if !left.is_empty() {
        output::eprint(&unlocked(&left, app.invocation, app.style_of_stderr()));
    }
    Ok(())
}

/// `{unlocked: [grant without secret], omitted: [{slug, reason, fix?, cause?}]}`.
fn value(report: &UnlockReport, app: &App) -> Result<Vec<u8>, Error> {
    let mut json = JsonWriter::new();
    let mut written = Ok(());
    json.object(|json| {
        json.name("unlocked");
        json.array(|json| {
            for key in &report.unlocked {
                json.element();
                let result = grant(json, &key.grant, None);
                written = std::mem::replace(&mut written, Ok(())).and(result);
            }
        });
        json.name("omitted");
        json.array(|json| {
            for key in &report.omitted {
                json.element();
                json.object(|json| {
                    json.member("slug", key.slug.as_str());
                    json.member("reason", key.reason.as_str());
                    if let Some(fix) = &key.fix {
                        json.member("fix", &fix.render(app.invocation));
                    }
                    if let Some(cause) = &key.cause {
                        json.name("cause");
                        json.plain(&to_json(cause, app.invocation).to_string());
                    }
                });
            }
        });
    });
    written?;
    let mut text = json.into_bytes().to_vec();
    text.push(b'\n');
    Ok(text)
}
