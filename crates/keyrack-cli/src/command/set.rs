//! `keyrack set`: stores a key in a vault. Reads the secret from stdin or a hidden prompt.

use std::path::PathBuf;

use clap::Args;
use keyrack_client::render::tree::{Branch, tree};
use keyrack_client::source::is_shell_name;
use keyrack_core::host_manifest::HostEntry;
use keyrack_core::{Error, reserved};
use keyrack_ops::set::{SetRequest, set};
use serde::Serialize;

use crate::app::App;
use crate::command::flags::RackFlags;
use crate::output;

const EXAMPLES: &str = "\
keyrack reads the secret from stdin or prompts for it; it is never an argument. A newline at the end of stdin is dropped if it is \
the only one. Everything else is stored as it is.

Examples:
  keyrack set --key API_KEY
  keyrack set --key API_KEY --env test --vault os.secure --mech PERMANENT_VIA_REPLICA < secret.txt
  keyrack set --key DEPLOY_KEY --env prod --vault os.daemon
  keyrack set --key ROOT --org @all --env sudo --vault os.secure --mech PERMANENT_VIA_REPLICA";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SetArgs {
    /// Name of the key, or its full slug org.env.NAME
    #[arg(long)]
    pub(crate) key: String,
    /// Vault for the key: os.secure, os.direct or os.daemon; prompted for at a terminal
    #[arg(long)]
    pub(crate) vault: Option<String>,
    /// Mechanism that obtains the secret; prompted for at a terminal. A permanent key must be
    /// chosen explicitly
    #[arg(long)]
    pub(crate) mech: Option<String>,
    /// Env of the key: sudo, prod, prep, test, all or camp; taken from keyrack.yml if unambiguous,
    /// else prompted for at a terminal
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// Org of the key: @this (the org of keyrack.yml) or @all (this machine)
    #[arg(long, default_value = "@this")]
    pub(crate) org: String,
    /// External ID of the key, for vaults that store a reference
    #[arg(long)]
    pub(crate) exid: Option<String>,
    /// Longest time that the key may stay unlocked, such as 1h
    #[arg(long, value_name = "DURATION")]
    pub(crate) max_duration: Option<String>,
    /// Path of the keyrack.yml to declare the key in, from the root of the repository
    #[arg(long, value_name = "PATH")]
    pub(crate) at: Option<PathBuf>,
    /// Trust the org of a full slug without a keyrack.yml that confirms it
    #[arg(long)]
    pub(crate) anywhere: bool,
    /// Store the key even if it looks like a long-lived token
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
    /// Keep a newline at the end of stdin; for the Node API
    #[arg(long, hide = true)]
    pub(crate) stdin_exact: bool,
    #[command(flatten)]
    pub(crate) rack: RackFlags,
}

/// Output of `--json`: the entry of the host manifest, and notices if there are any.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    host: &'a HostEntry,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notices: &'a [String],
}

impl SetArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.rack.owner.resolve(app)?;
        let request = SetRequest {
            key: self.key,
            vault: self.vault,
            mech: self.mech,
            env: self.env,
            org: Some(self.org),
            exid: self.exid,
            max_duration: self.max_duration,
            at: self.at.map(|path| path.to_string_lossy().into_owned()),
            anywhere: self.anywhere,
            allow_dangerous: self.allow_dangerous,
        };
        let terminal = app.terminal().taking_stdin_exactly(self.stdin_exact);
        let mut done = app.operate_with(terminal, owner, &self.rack.prikey, |ctx| set(ctx, &request))?;
        if !is_shell_name(done.host.slug.name()) {
            done.notices.push(format!(
                "{} is not a valid shell variable name: `{} source` cannot export it, but `get` reads it",
                done.host.slug.name(),
                app.invocation.as_str()
            ));
        }
        if let Some(whose) = reserved(done.host.slug.name()) {
            let name = done.host.slug.name();
            done.notices
                .push(format!("{name} {}: `source` leaves this key out, but `get` reads it", whose.reason()));
        }
        done.notices.iter().for_each(|notice| app.notice(notice));
        if self.rack.json {
            return output::print_json(&Answer { host: &done.host, notices: &done.notices }).map(|()| 0);
        }
        let style = app.style();
        let slug = &done.host.slug;
        let mut key = vec![
            Branch::pair("mech", done.host.mech.as_str()),
            Branch::pair("vault", done.host.vault.as_str()),
        ];
        key.extend(done.host.max_duration.as_ref().map(|most| Branch::pair("max duration", most)));
        if done.declared {
            key.push(Branch::pair("keyrack.yml", format!("declared in env.{}", slug.env())));
        }
        if slug.is_sudo() {
            key.push(Branch::note("a sudo key is never declared in keyrack.yml"));
        }
        let title = style.titled("🔐", &format!("keyrack set (org: {}, env: {})", slug.org(), slug.env()));
        output::print(tree(&title, &[Branch::key(slug).with(key)], style).as_bytes()).map(|()| 0)
    }
}
