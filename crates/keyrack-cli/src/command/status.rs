//! `keyrack status`: what is unlocked, for how long, and how well it is kept.

use clap::Args;
use keyrack_client::render::Style;
use keyrack_client::render::error::report;
use keyrack_client::render::status::{self as render, RecipientLine};
use keyrack_client::status::{RackStatus, status};
use keyrack_core::{Env, Error, Owner};
use keyrack_ops::recipient::get_without_prompt;
use serde_json::{Value, json};

use crate::app::App;
use crate::command::flags::OwnerFlags;
use crate::{output, watch};

const EXAMPLES: &str = "\
Examples:
  keyrack status
  keyrack status --watch
  keyrack status --env test --json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Only keys of this env
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Show it again every second, until q is pressed; with --json a line whenever something changes
    #[arg(long)]
    pub(crate) watch: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

impl StatusArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.owner.resolve(app)?;
        let env: Option<Env> = self.env.as_deref().map(str::parse).transpose()?;
        let rack = Rack { app, owner, env, watched: self.watch };
        match (self.watch, self.json) {
            (false, true) => output::print_json(&rack.value(&rack.read()?)).map(|()| 0),
            (false, false) => output::print(rack.text(&rack.read()?, app.style()).as_bytes()).map(|()| 0),
            (true, true) => watch::lines(|| Ok(rack.value(&rack.read()?)), "ttlLeftMs"),
            (true, false) => watch::screen(app, |style| match rack.read() {
                Ok(seen) => watch::Drawn {
                    whole: rack.text(&seen, style),
                    brief: Some(render::brief(&seen.status, rack.env, style)),
                },
                // It may be over at the next look.
                Err(error) => watch::Drawn {
                    whole: report("keyrack status", &error, app.invocation, style),
                    brief: None,
                },
            }),
        }
    }
}

/// The rack that is looked at.
struct Rack<'a> {
    app: &'a App,
    owner: Owner,
    env: Option<Env>,
    /// Whether it is looked at over and over: then no look may take long, since keys wait for it.
    watched: bool,
}

/// What is seen of it.
struct Seen {
    status: RackStatus,
    recipients: Option<Vec<keyrack_core::host_manifest::Recipient>>,
}

impl Rack<'_> {
    fn read(&self) -> Result<Seen, Error> {
        let mut context = self.app.context(self.owner.clone());
        if self.watched {
            context.deadline = watch::EVERY;
        }
        let status = status(&context)?;
        if !self.watched {
            status.error.iter().for_each(|error| self.app.warn(error));
        }
        // Who can open the rack is shown only where that asks nobody anything.
        let recipients = match status.running {
            Some(_) => self.app.operate(self.owner.clone(), &[], |ctx| Ok(get_without_prompt(ctx)))?,
            None => None,
        };
        Ok(Seen { status, recipients })
    }

    fn value(&self, seen: &Seen) -> Value {
        let recipients: Vec<_> = seen.recipients.iter().flatten().map(|one| json!(one)).collect();
        render::status_value(&seen.status, recipients, self.env)
    }

    fn text(&self, seen: &Seen, style: Style) -> String {
        let shown: Option<Vec<RecipientLine<'_>>> = seen
            .recipients
            .as_ref()
            .map(|all| all.iter().map(|one| RecipientLine { label: &one.label, mech: &one.mech }).collect());
        render::status(&seen.status, shown.as_deref(), self.env, self.app.invocation, style)
    }
}
