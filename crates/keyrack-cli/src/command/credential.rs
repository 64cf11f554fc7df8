//! `keyrack credential git|docker|aws|kubectl`: keyrack as the credential helper of other tools, in their own protocols.

use std::io::Read as _;

use clap::{Args, Subcommand};
use keyrack_client::get::{GetOptions, KeyOutcome, Scope};
use keyrack_core::{Attempt, Error, ErrorCode, Fix, FixCommand};
use keyrack_ops::credential::{CredentialKey, ReadOutcome, aws, docker, git, kubectl, line, read};
use zeroize::Zeroizing;

use crate::app::{App, now_ms};
use crate::command::flags::OwnerFlags;
use crate::output;

/// The commands below `credential`.
pub(crate) const NAMES: [&str; 4] = ["git", "docker", "aws", "kubectl"];

/// Largest request that is read, in bytes. Real requests are far smaller.
const LARGEST: usize = 1 << 16;

const EXAMPLES: &str = "\
Examples:
  git config credential.https://github.com.helper \\
    '!keyrack credential git --host github.com --env prep --key GITHUB_TOKEN'
  keyrack credential docker --registry ghcr.io --username me --env prep --key GHCR_TOKEN get
  keyrack credential aws --env prep --key AWS_CREDENTIALS
  keyrack credential kubectl --env prep --key CLUSTER_TOKEN";

const GIT_EXAMPLE: &str = "\
Examples:
  git config credential.https://github.com.helper '!keyrack credential git --host github.com --env prep --key GITHUB_TOKEN'";

#[derive(Subcommand, Debug)]
pub(crate) enum CredentialCommand {
    /// Answer git: a credential helper
    #[command(after_help = GIT_EXAMPLE)]
    Git(GitArgs),
    /// Answer docker: a credential helper
    Docker(DockerArgs),
    /// Answer the AWS tools: a credential_process
    Aws(AwsArgs),
    /// Answer kubectl: an exec credential plugin
    Kubectl(KubectlArgs),
}

/// The flags and examples, for the tree.
pub(crate) fn describe(command: clap::Command) -> clap::Command {
    CredentialCommand::augment_subcommands(command).subcommand_required(true).after_help(EXAMPLES)
}

// Where the keys are. No doc comment: it would become the description of every command that takes these flags.
#[derive(Args, Debug)]
pub(crate) struct KeySourceFlags {
    /// sudo, prod, prep, test, all or camp; taken from keyrack.yml if that leaves no doubt
    #[arg(long)]
    pub(crate) env: Option<String>,
    /// @this, the org of keyrack.yml, or @all, this machine
    #[arg(long, default_value = "@this")]
    pub(crate) org: String,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
    /// Release keys although they look like long-lived tokens
    #[arg(long)]
    pub(crate) allow_dangerous: bool,
}

impl KeySourceFlags {
    fn read(&self, app: &App, keys: &[&str]) -> Result<ReadOutcome, Error> {
        let owner = self.owner.resolve(app)?;
        let env = self.env.as_deref().map(str::parse).transpose()?;
        let asks = keys.iter().map(|key| (*key).to_owned()).collect();
        let scope = Scope::Keys { asks, org: self.org.parse()?, env };
        let options = GetOptions { allow_dangerous: self.allow_dangerous, undeclared_is_absent: true };
        let mut found = read(&app.context(owner), &scope, options)?;
        match &mut found {
            ReadOutcome::Missing(missing) => missing.iter_mut().for_each(mend_in_hook),
            ReadOutcome::Granted(held) => {
                for CredentialKey { slug, note, .. } in held {
                    note.iter().for_each(|note| app.notice(&format!("{slug}: {note}")));
                }
            }
        }
        Ok(found)
    }

    /// The keys, or `None` after those that are missing were named on stderr.
    fn held(&self, app: &App, keys: &[&str]) -> Result<Option<Vec<CredentialKey>>, Error> {
        match self.read(app, keys)? {
            ReadOutcome::Granted(held) => Ok(Some(held)),
            ReadOutcome::Missing(missing) => {
                output::eprint(&line::missing(&missing, app.invocation));
                Ok(None)
            }
        }
    }
}

#[derive(Args, Debug)]
pub(crate) struct GitArgs {
    /// A host the key is for, with its port if the URL has one; may be given again. Any other gets nothing
    #[arg(long, required = true)]
    pub(crate) host: Vec<String>,
    /// The key, by its name or full slug
    #[arg(long)]
    pub(crate) key: String,
    /// The user to send with it: the URL's if not given, else x-access-token
    #[arg(long)]
    pub(crate) username: Option<String>,
    #[command(flatten)]
    pub(crate) from: KeySourceFlags,
    /// get, store or erase: git says it
    #[arg(value_name = "OPERATION")]
    pub(crate) operation: String,
}

#[derive(Args, Debug)]
pub(crate) struct DockerArgs {
    /// The registry the key is for. Any other gets nothing
    #[arg(long)]
    pub(crate) registry: String,
    /// The user to send with it
    #[arg(long)]
    pub(crate) username: String,
    /// The key, by its name or full slug
    #[arg(long)]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) from: KeySourceFlags,
    /// get, list, store, erase or version: docker says it
    #[arg(value_name = "OPERATION")]
    pub(crate) operation: String,
}

#[derive(Args, Debug)]
pub(crate) struct AwsArgs {
    /// A key that holds all of it, as a JSON object with AccessKeyId and SecretAccessKey
    #[arg(long, required_unless_present = "access_key_id", conflicts_with = "access_key_id")]
    pub(crate) key: Option<String>,
    /// The key that holds the access key's id
    #[arg(long, value_name = "KEY", requires = "secret_access_key")]
    pub(crate) access_key_id: Option<String>,
    /// The key that holds the secret access key
    #[arg(long, value_name = "KEY", requires = "access_key_id")]
    pub(crate) secret_access_key: Option<String>,
    /// The key that holds the session token
    #[arg(long, value_name = "KEY", requires = "access_key_id")]
    pub(crate) session_token: Option<String>,
    #[command(flatten)]
    pub(crate) from: KeySourceFlags,
}

#[derive(Args, Debug)]
pub(crate) struct KubectlArgs {
    /// The key that holds a token
    #[arg(long, required_unless_present = "client_certificate", conflicts_with = "client_certificate")]
    pub(crate) key: Option<String>,
    /// The key that holds a client certificate
    #[arg(long, value_name = "KEY", requires = "client_key")]
    pub(crate) client_certificate: Option<String>,
    /// The key that holds the client certificate's private key
    #[arg(long, value_name = "KEY", requires = "client_certificate")]
    pub(crate) client_key: Option<String>,
    /// The cluster's address, if any other is to get nothing; takes provideClusterInfo in the kubeconfig
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) from: KeySourceFlags,
}

impl CredentialCommand {
    pub(crate) fn run(self, app: &App) -> Result<u8, Error> {
        let done = match self {
            CredentialCommand::Git(flags) => flags.run(app),
            CredentialCommand::Docker(flags) => flags.run(app),
            CredentialCommand::Aws(flags) => flags.run(app),
            CredentialCommand::Kubectl(flags) => flags.run(app),
        };
        done.or_else(|error| {
            output::eprint(&line::error(&error, app.invocation));
            Ok(error.exit())
        })
    }
}

impl GitArgs {
    fn run(&self, app: &App) -> Result<u8, Error> {
        let asked = requested()?;
        // What a helper is told to keep or to forget it may let pass, and it is to pass over what it does not know (gitcredentials(7)).
        if self.operation != "get" {
            return Ok(0);
        }
        let request = git::Request::read(&asked);
        let username = self.username.as_deref();
        if !request.is_for(&self.host, username) {
            output::eprint(&request.refused(&self.host, username));
            return Ok(0);
        }
        let answer = self.from.held(app, &[&self.key]).and_then(|held| match held.as_deref() {
            Some([key]) => request.answer(username, key).map(Some),
            _ => Ok(None),
        });
        // This host is ours to answer for: git need not ask at the terminal for what keyrack will have in a moment.
        if !matches!(answer, Ok(Some(_))) {
            output::print(git::QUIT)?;
        }
        match answer? {
            Some(answer) => output::print(&answer).map(|()| 0),
            None => Ok(2),
        }
    }
}

impl DockerArgs {
    fn run(&self, app: &App) -> Result<u8, Error> {
        match self.operation.as_str() {
            "get" => {
                let asked = requested()?;
                if !docker::is_for(&asked, &self.registry) {
                    let address = String::from_utf8_lossy(&asked);
                    output::eprint(&line::refused("docker", &address, &self.registry));
                    return refuse(docker::NOT_FOUND);
                }
                match self.from.read(app, &[&self.key]) {
                    Ok(ReadOutcome::Granted(held)) => {
                        let [key] = &held[..] else { return refuse(docker::NOT_FOUND) };
                        let answer = docker::answer(&asked, &self.username, key)?;
                        output::print(&answer).map(|()| 0)
                    }
                    // docker shows stderr. Other tools that use docker's helpers show stdout.
                    Ok(ReadOutcome::Missing(missing)) => {
                        refuse_aloud(&line::missing(&missing, app.invocation))
                    }
                    Err(error) => refuse_aloud(&line::error(&error, app.invocation)),
                }
            }
            "list" => output::print(format!("{}\n", docker::list(&self.registry, &self.username)).as_bytes())
                .map(|()| 0),
            "version" => {
                output::print(concat!("keyrack ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()).map(|()| 0)
            }
            "store" | "erase" => {
                requested()?;
                let command = if self.operation == "store" { "set" } else { "del" };
                let owner = self.from.owner.resolve(app)?;
                let fix = FixCommand::new(command).owner(&owner).org(&self.from.org).key(&self.key);
                let fix = FixCommand { env: self.from.env.clone(), ..fix };
                let fix = Fix::from(fix).render(app.invocation);
                refuse(&format!("keyrack: docker cannot store keys in keyrack; run: {fix}"))
            }
            _ => Err(Error::new(
                ErrorCode::Usage,
                "docker's operations are get, list, store, erase and version",
            )
            .fix(Fix::command(["credential", "docker", "--help"]))),
        }
    }
}

impl AwsArgs {
    fn run(&self, app: &App) -> Result<u8, Error> {
        let names: Vec<&str> = match &self.key {
            Some(key) => vec![key],
            None => [&self.access_key_id, &self.secret_access_key, &self.session_token]
                .into_iter()
                .filter_map(Option::as_deref)
                .collect(),
        };
        let Some(held) = self.from.held(app, &names)? else { return Ok(2) };
        let answer = match &held[..] {
            [key] => aws::of_object(key, now_ms())?,
            [id, secret] => aws::of_keys(id, secret, None)?,
            [id, secret, session] => aws::of_keys(id, secret, Some(session))?,
            _ => return Ok(2),
        };
        output::print(&answer).and_then(|()| output::print(b"\n")).map(|()| 0)
    }
}

impl KubectlArgs {
    fn run(&self, app: &App) -> Result<u8, Error> {
        let request = kubectl::Request::read(app.environment.text("KUBERNETES_EXEC_INFO"))?;
        request.check(self.server.as_deref())?;
        let names: Vec<&str> = match &self.key {
            Some(key) => vec![key],
            None => [&self.client_certificate, &self.client_key]
                .into_iter()
                .filter_map(Option::as_deref)
                .collect(),
        };
        let Some(held) = self.from.held(app, &names)? else { return Ok(2) };
        let answer = match &held[..] {
            [token] => request.token(token)?,
            [certificate, key] => request.certificate(certificate, key)?,
            _ => return Ok(2),
        };
        output::print(&answer).and_then(|()| output::print(b"\n")).map(|()| 0)
    }
}

/// No command changes a tool's settings, so the error names the flag that the hook needs.
fn mend_in_hook(answer: &mut KeyOutcome) {
    if let Attempt::Blocked { fix, .. } = &mut answer.attempt
        && fix.take_if(|fix| fix.allows_dangerous()).is_some()
    {
        let note = "a short-lived credential is safer; give the hook --allow-dangerous if you must";
        answer.note = Some(note.to_owned());
    }
}

/// What the tool asks, which may hold a password of its own.
///
/// A larger request than [`LARGEST`] is refused: the part that is not read could change its
/// meaning.
fn requested() -> Result<Zeroizing<Vec<u8>>, Error> {
    // One allocation of the final size, and room to see the end in: growing would leave copies behind.
    let mut asked = Zeroizing::new(Vec::with_capacity(LARGEST + 64));
    std::io::stdin().lock().take(LARGEST as u64 + 1).read_to_end(&mut asked).map_err(|error| {
        Error::new(ErrorCode::Io, format!("the request could not be read from stdin: {error}"))
    })?;
    if asked.len() > LARGEST {
        return Err(Error::new(ErrorCode::TooLarge, format!("the request is larger than {LARGEST} bytes")));
    }
    Ok(asked)
}

/// The same refusal on both streams. The line ends in a newline.
fn refuse_aloud(line: &str) -> Result<u8, Error> {
    output::eprint(line);
    refuse(line.trim_end())
}

/// Docker's way to be told of a refusal: a line on stdout and exit code 1.
fn refuse(line: &str) -> Result<u8, Error> {
    output::print(format!("{line}\n").as_bytes()).map(|()| 1)
}
