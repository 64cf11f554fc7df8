//! `keyrack status`: shows the unlocked keys, their TTL and how well the daemon protects them.

use clap::Args;
use keyrack_client::render::Style;
use keyrack_client::render::error::report;
use keyrack_client::render::status::{self as render, RecipientLine};
use keyrack_client::status::{RackStatus, status};
use keyrack_core::{Env, Error, Owner};
use keyrack_ops::recipient::get_without_prompt;
use serde_json::{Value, json};

use crate::app::App;
use crate::command::flags::{DaemonFlags, parse_env};
use crate::{output, watch};

const EXAMPLES: &str = "\
Examples:
  keyrack status
  keyrack status --watch
  keyrack status --env test --json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    /// Env to show
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Refresh every second until you press q; with --json, print a line at each change
    #[arg(long)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) daemon: DaemonFlags,
}

impl StatusArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.daemon.owner.resolve(app)?;
        let env = parse_env(self.env.as_deref())?;
        let rack = Rack { app, owner, env, watched: self.watch };
        match (self.watch, self.daemon.json) {
            (false, true) => output::print_json(&rack.value(&rack.read()?)).map(|()| 0),
            (false, false) => output::print(rack.text(&rack.read()?, app.style()).as_bytes()).map(|()| 0),
            (true, true) => watch::lines(|| Ok(rack.value(&rack.read()?)), "ttlLeftMs"),
            (true, false) => watch::screen(app, |style| match rack.read() {
                Ok(current) => watch::StatusFrame {
                    whole: rack.text(&current, style),
                    brief: Some(render::brief(&current.status, rack.env, style)),
                },
                // The next refresh may succeed.
                Err(error) => watch::StatusFrame {
                    whole: report("keyrack status", &error, app.invocation, style),
                    brief: None,
                },
            }),
        }
    }
}

/// Rack whose status is shown.
struct Rack<'a> {
    app: &'a App,
    owner: Owner,
    env: Option<Env>,
    /// `true` for `--watch`: the time for a refresh is bounded, since the keyboard waits for it.
    watched: bool,
}

/// Status of the daemon and recipients of the rack.
struct Snapshot {
    status: RackStatus,
    recipients: Option<Vec<keyrack_core::host_manifest::Recipient>>,
}

impl Rack<'_> {
    fn read(&self) -> Result<Snapshot, Error> {
        let mut context = self.app.context(self.owner.clone());
        if self.watched {
            context.deadline = watch::INTERVAL;
        }
        let status = status(&context)?;
        if !self.watched {
            status.error.iter().for_each(|error| self.app.warn(error));
        }
        // Shown only if reading the recipients needs no prompt.
        let recipients = match status.running {
            Some(_) => self.app.operate(self.owner.clone(), &[], |ctx| Ok(get_without_prompt(ctx)))?,
            None => None,
        };
        Ok(Snapshot { status, recipients })
    }

    fn value(&self, current: &Snapshot) -> Value {
        let recipients: Vec<_> = current.recipients.iter().flatten().map(|one| json!(one)).collect();
        render::status_value(&current.status, recipients, self.env)
    }

    fn text(&self, current: &Snapshot, style: Style) -> String {
        let shown: Option<Vec<RecipientLine<'_>>> = current
            .recipients
            .as_ref()
            .map(|all| all.iter().map(|one| RecipientLine { label: &one.label, mech: &one.mech }).collect());
        render::status(&current.status, shown.as_deref(), self.env, self.app.invocation, style)
    }
}
