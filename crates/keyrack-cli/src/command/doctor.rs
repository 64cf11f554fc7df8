//! `keyrack doctor`: checks the setup and suggests fixes. Changes nothing and never prompts.

use clap::Args;
use keyrack_client::render::tree::{Branch, tree};
use keyrack_client::render::{Role, Style};
use keyrack_core::{Error, Invocation};
use keyrack_ops::doctor::{Check, CheckStatus, DoctorReport, diagnose};
use serde_json::{Value, json};

use crate::app::App;
use crate::command::flags::RackFlags;
use crate::output;

const EXAMPLES: &str = "\
Examples:
  keyrack doctor
  keyrack doctor --json";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

impl DoctorArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let report = self.rack.operate(app, |ctx| Ok(diagnose(ctx)))?;
        let exit = if report.is_ok() { 0 } else { 2 };
        if self.rack.json {
            return output::print_json(&value(&report, app.invocation)).map(|()| exit);
        }
        let text = text(&report, app.invocation, app.style());
        output::print(text.as_bytes()).map(|()| exit)
    }
}

/// Renders a branch for each group, with a branch for each check below it.
fn text(report: &DoctorReport, invocation: Invocation, style: Style) -> String {
    let mut groups: Vec<(&str, Vec<Branch>)> = Vec::new();
    for check in &report.checks {
        let group = check.name.split('.').next().unwrap_or_default();
        let node = branch(check, invocation, style);
        match groups.last_mut() {
            Some((last, nodes)) if *last == group => nodes.push(node),
            _ => groups.push((group, vec![node])),
        }
    }
    let mut nodes: Vec<Branch> = groups
        .into_iter()
        .map(|(group, below)| Branch::new(group).with_role(Role::Title).with(below))
        .collect();
    let role = match report.is_ok() {
        false => Role::Bad,
        true if report.count(CheckStatus::Warn) > 0 => Role::Warn,
        true => Role::Good,
    };
    nodes.push(Branch::new(summary(report)).with_role(role));
    tree(&style.titled("🩺", "keyrack doctor"), &nodes, style)
}

fn branch(check: &Check, invocation: Invocation, style: Style) -> Branch {
    let (mark, role) = match check.state {
        CheckStatus::Ok => (style.titled("✅", "ok"), Role::Plain),
        CheckStatus::Skip => (style.titled("➖", "skip"), Role::Quiet),
        CheckStatus::Warn => (style.titled("🔶", "warn"), Role::Warn),
        CheckStatus::Fail => (style.titled("❌", "fail"), Role::Bad),
    };
    let hint = check.hint.as_ref().map(Branch::hint);
    let fix = check.fix.as_ref().map(|fix| Branch::fix(fix.render(invocation)));
    Branch::pair(&mark, &check.message).with_role(role).with(hint.into_iter().chain(fix))
}

fn summary(report: &DoctorReport) -> String {
    let of = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let (fails, warns) = (report.count(CheckStatus::Fail), report.count(CheckStatus::Warn));
    match (fails, warns) {
        (0, 0) => "no problems found".to_owned(),
        (0, warns) => of(warns, "warning"),
        (fails, 0) => of(fails, "failure"),
        (fails, warns) => format!("{}, {}", of(fails, "failure"), of(warns, "warning")),
    }
}

/// Encodes `{checks: [{name, state, message, fix?, hint?}], ok}`.
fn value(report: &DoctorReport, invocation: Invocation) -> Value {
    let checks: Vec<Value> = report
        .checks
        .iter()
        .map(|check| {
            let mut value =
                json!({ "name": check.name, "state": check.state.as_str(), "message": check.message });
            if let Some(members) = value.as_object_mut() {
                if let Some(fix) = &check.fix {
                    members.insert("fix".to_owned(), fix.render(invocation).into());
                }
                if let Some(hint) = &check.hint {
                    members.insert("hint".to_owned(), hint.as_str().into());
                }
            }
            value
        })
        .collect();
    json!({ "checks": checks, "ok": report.is_ok() })
}
