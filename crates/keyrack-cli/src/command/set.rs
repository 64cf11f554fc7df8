//! `keyrack set`: a key into a vault. The secret comes from stdin or a hidden prompt.

use std::path::PathBuf;

use clap::Args;
use keyrack_client::render::tree::{Branch, tree};
use keyrack_client::source::is_shell_name;
use keyrack_core::host_manifest::HostEntry;
use keyrack_core::{Error, reserved};
use keyrack_ops::set::{SetRequest, set};
use serde::Serialize;

use crate::app::App;
use crate::command::flags::OwnerFlags;
use crate::output;

const EXAMPLES: &str = "\
The secret is read from stdin, or asked for at the terminal. It is never an argument. A newline at the end of stdin is dropped where \
it is the only one; everything else is stored as it is.

Examples:
  keyrack set --key API_KEY
  keyrack set --key API_KEY --env test --vault os.secure --mech PERMANENT_VIA_REPLICA < secret.txt
  keyrack set --key DEPLOY_KEY --env prod --vault os.daemon
  keyrack set --key ROOT --org @all --env sudo --vault os.secure --mech PERMANENT_VIA_REPLICA";

#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SetArgs {
    /// The key's name, or its full slug org.env.NAME
    #[arg(long)]
    pub(crate) key: String,
    /// Where it is to rest: os.secure, os.direct or os.daemon; asked for at a terminal, else needed
    #[arg(long)]
    pub(crate) vault: Option<String>,
    /// How its secret comes to be; asked for if the vault has several, and a permanent one must be named or confirmed
    #[arg(long)]
    pub(crate) mech: Option<String>,
    /// sudo, prod, prep, test, all or camp; taken from keyrack.yml if that leaves no doubt, else asked for at a terminal
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// @this, the org of keyrack.yml, or @all, this machine
    #[arg(long, default_value = "@this")]
    pub(crate) org: String,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// What the vault calls the key, for vaults that keep a pointer
    #[arg(long)]
    pub(crate) exid: Option<String>,
    /// The longest it may stay unlocked, such as 1h
    #[arg(long, value_name = "DURATION")]
    pub(crate) max_duration: Option<String>,
    /// The keyrack.yml to declare it in, from the root of the repository
    #[arg(long, value_name = "PATH")]
    pub(crate) at: Option<PathBuf>,
    /// Where no keyrack.yml says whose the key is, take a full slug at its word
    #[arg(long)]
    pub(crate) anywhere: bool,
    /// An ssh key to open the rack with, tried first; may be given again
    #[arg(long, value_name = "PATH")]
    pub(crate) prikey: Vec<PathBuf>,
    /// Store it although it looks like a long-lived token
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
    /// Store stdin byte for byte, a newline at its end included; for the Node API
    #[arg(long, hide = true)]
    pub(crate) stdin_exact: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Output of `--json`: the entry of the host manifest, and the notices if there are any.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    host: &'a HostEntry,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notices: &'a [String],
}

impl SetArgs {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let owner = self.owner.resolve(app)?;
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
        let person = app.terminal().taking_stdin_exactly(self.stdin_exact);
        let mut done = app.operate_with(person, owner, &self.prikey, |ctx| set(ctx, &request))?;
        if !is_shell_name(done.host.slug.name()) {
            done.notices.push(format!(
                "{} is not a valid shell variable name: `{} source` cannot export it; `get` reads it",
                done.host.slug.name(),
                app.invocation.as_str()
            ));
        }
        if let Some(whose) = reserved(done.host.slug.name()) {
            let name = done.host.slug.name();
            done.notices
                .push(format!("{name} {}: `source` leaves this key out; `get` reads it", whose.reason()));
        }
        done.notices.iter().for_each(|notice| app.notice(notice));
        if self.json {
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
