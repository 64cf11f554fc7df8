//! `keyrack unlock`: loads keys from their vaults into the daemon, for this login session.

use crate::unlock_tree::{UnlockLine, unlocked};
use clap::Args;
use keyrack_client::render::json::grant;
use keyrack_core::Error;
use keyrack_json::JsonWriter;
use keyrack_ops::unlock::{UnlockReport, UnlockRequest, unlock};

use crate::app::App;
use crate::command::flags::RackFlags;
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
    /// Env to unlock: sudo, prod, prep, test, all or camp; required unless keyrack.yml declares
    /// none
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Name or slug of a single key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Org of the keys: @this (the org of keyrack.yml and this machine) or @all (only this machine)
    #[arg(long, default_value = "@this")]
    pub(crate) org: String,
    /// Time that the keys stay unlocked, such as 10m; default 9h (sudo: 30m), maximum 24h (sudo:
    /// 1h)
    #[arg(long)]
    pub(crate) duration: Option<String>,
    /// Allow keys that look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

impl UnlockArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.rack.owner.resolve(app)?;
        let named = self.key.is_some();
        let request = UnlockRequest {
            env: self.env,
            key: self.key,
            org: Some(self.org),
            duration: self.duration,
            allow_dangerous: self.allow_dangerous,
        };
        let report = app.operate(owner, &self.rack.prikey, |ctx| unlock(ctx, &request))?;
        notices::daemon_spawned(app, report.started);
        report.notices.iter().for_each(|notice| app.notice(notice));
        report.nothing.iter().for_each(|error| app.warn(error));
        if self.rack.json {
            output::print(&value(&report, app)?)?;
        } else {
            show(&report, app)?;
        }
        Ok(report.exit(named))
    }
}

/// Prints the unlocked keys on stdout and the omitted ones on stderr.
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

/// Encodes `{unlocked: [grant without secret], omitted: [{slug, reason, fix?, cause?}]}`.
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
