//! `keyrack credential git|docker|aws|kubectl`: acts as the credential helper of other tools.

use std::io::Read as _;

use clap::{Args, Subcommand};
use keyrack_client::get::{KeyOutcome, Scope};
use keyrack_core::{Attempt, Error, ErrorCode, Fix, FixCommand};
use keyrack_ops::credential::{CredentialKey, ReadOutcome, aws, docker, git, kubectl, line, read};
use zeroize::Zeroizing;

use crate::app::{App, now_ms};
use crate::command::flags::{OwnerFlags, ReadFlags};
use crate::output;

/// Subcommands of `credential`.
pub(crate) const NAMES: [&str; 4] = ["git", "docker", "aws", "kubectl"];

/// Maximum size of a request, in bytes. Real requests are far smaller.
const MAX_REQUEST: usize = 1 << 16;

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
    /// Act as a credential helper of git
    #[command(after_help = GIT_EXAMPLE)]
    Git(GitArgs),
    /// Act as a credential helper of docker
    Docker(DockerArgs),
    /// Act as a credential_process of the AWS tools
    Aws(AwsArgs),
    /// Act as an exec credential plugin of kubectl
    Kubectl(KubectlArgs),
}

/// Adds the subcommands and examples to the command.
pub(crate) fn describe(command: clap::Command) -> clap::Command {
    CredentialCommand::augment_subcommands(command).subcommand_required(true).after_help(EXAMPLES)
}

// Selects keys and the rack. No doc comment: clap would print it as the description of the
// commands.
#[derive(Args, Debug)]
pub(crate) struct KeySourceFlags {
    #[command(flatten)]
    pub(crate) read: ReadFlags,
    #[command(flatten)]
    pub(crate) owner: OwnerFlags,
}

impl KeySourceFlags {
    fn read(&self, app: &App, keys: &[&str]) -> Result<ReadOutcome, Error> {
        let owner = self.owner.resolve(app)?;
        let env = self.read.env()?;
        let asks = keys.iter().map(|key| (*key).to_owned()).collect();
        let scope = Scope::Keys { asks, org: self.read.org()?, env };
        let options = self.read.options();
        let mut found = read(&app.context(owner), &scope, options)?;
        match &mut found {
            ReadOutcome::Missing(missing) => missing.iter_mut().for_each(name_flag_for_settings),
            ReadOutcome::Granted(held) => {
                for CredentialKey { slug, note, .. } in held {
                    note.iter().for_each(|note| app.notice(&format!("{slug}: {note}")));
                }
            }
        }
        Ok(found)
    }

    /// Returns the keys. Prints the missing ones and returns `None` if there are any.
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
    /// Host that the key is for, with the port if the URL has one; repeatable. Other hosts get no
    /// key
    #[arg(long, required = true)]
    pub(crate) host: Vec<String>,
    /// Name or slug of the key
    #[arg(long)]
    pub(crate) key: String,
    /// User name to send; default: the one in the URL, else x-access-token
    #[arg(long)]
    pub(crate) username: Option<String>,
    #[command(flatten)]
    pub(crate) from: KeySourceFlags,
    /// Operation, which git passes: get, store or erase
    #[arg(value_name = "OPERATION")]
    pub(crate) operation: String,
}

#[derive(Args, Debug)]
pub(crate) struct DockerArgs {
    /// Registry that the key is for. Other registries get no key
    #[arg(long)]
    pub(crate) registry: String,
    /// User name to send
    #[arg(long)]
    pub(crate) username: String,
    /// Name or slug of the key
    #[arg(long)]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) from: KeySourceFlags,
    /// Operation, which docker passes: get, list, store, erase or version
    #[arg(value_name = "OPERATION")]
    pub(crate) operation: String,
}

#[derive(Args, Debug)]
pub(crate) struct AwsArgs {
    /// Key that holds a JSON object with AccessKeyId and SecretAccessKey
    #[arg(long, required_unless_present = "access_key_id", conflicts_with = "access_key_id")]
    pub(crate) key: Option<String>,
    /// Key that holds the access key ID
    #[arg(long, value_name = "KEY", requires = "secret_access_key")]
    pub(crate) access_key_id: Option<String>,
    /// Key that holds the secret access key
    #[arg(long, value_name = "KEY", requires = "access_key_id")]
    pub(crate) secret_access_key: Option<String>,
    /// Key that holds the session token
    #[arg(long, value_name = "KEY", requires = "access_key_id")]
    pub(crate) session_token: Option<String>,
    #[command(flatten)]
    pub(crate) from: KeySourceFlags,
}

#[derive(Args, Debug)]
pub(crate) struct KubectlArgs {
    /// Key that holds a token
    #[arg(long, required_unless_present = "client_certificate", conflicts_with = "client_certificate")]
    pub(crate) key: Option<String>,
    /// Key that holds a client certificate
    #[arg(long, value_name = "KEY", requires = "client_key")]
    pub(crate) client_certificate: Option<String>,
    /// Key that holds the private key of the client certificate
    #[arg(long, value_name = "KEY", requires = "client_certificate")]
    pub(crate) client_key: Option<String>,
    /// Address of the only cluster that gets the key; requires provideClusterInfo in the kubeconfig
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
        let asked = read_request()?;
        // gitcredentials(7): a helper may ignore `store` and `erase`, and must ignore unknown
        // operations.
        if self.operation != "get" {
            return Ok(0);
        }
        let request = git::GitRequest::read(&asked);
        let username = self.username.as_deref();
        if !request.is_for(&self.host, username) {
            output::eprint(&request.refused(&self.host, username));
            return Ok(0);
        }
        let answer = self.from.held(app, &[&self.key]).and_then(|held| match held.as_deref() {
            Some([key]) => request.answer(username, key).map(Some),
            _ => Ok(None),
        });
        // The host is configured for keyrack: `quit` keeps git from prompting for a locked key.
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
                let asked = read_request()?;
                if !docker::is_for(&asked, &self.registry) {
                    let address = String::from_utf8_lossy(&asked);
                    output::eprint(&line::refused("docker", &address, &self.registry));
                    return reject(docker::NOT_FOUND);
                }
                match self.from.read(app, &[&self.key]) {
                    Ok(ReadOutcome::Granted(held)) => {
                        let [key] = &held[..] else { return reject(docker::NOT_FOUND) };
                        let answer = docker::answer(&asked, &self.username, key)?;
                        output::print(&answer).map(|()| 0)
                    }
                    // docker shows stderr. Other tools that use docker's helpers show stdout.
                    Ok(ReadOutcome::Missing(missing)) => {
                        reject_on_both_streams(&line::missing(&missing, app.invocation))
                    }
                    Err(error) => reject_on_both_streams(&line::error(&error, app.invocation)),
                }
            }
            "list" => output::print(format!("{}\n", docker::list(&self.registry, &self.username)).as_bytes())
                .map(|()| 0),
            "version" => {
                output::print(concat!("keyrack ", env!("CARGO_PKG_VERSION"), "\n").as_bytes()).map(|()| 0)
            }
            "store" | "erase" => {
                read_request()?;
                let command = if self.operation == "store" { "set" } else { "del" };
                let owner = self.from.owner.resolve(app)?;
                let fix = FixCommand::new(command).owner(&owner).org(&self.from.read.org).key(&self.key);
                let fix = FixCommand { env: self.from.read.env.clone(), ..fix };
                let fix = Fix::from(fix).render(app.invocation);
                reject(&format!("keyrack: docker cannot store keys in keyrack; run: {fix}"))
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
        let request = kubectl::KubectlRequest::read(app.environment.text("KUBERNETES_EXEC_INFO"))?;
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

/// Replaces a fix that runs a command by the flag that the tool's settings need.
fn name_flag_for_settings(answer: &mut KeyOutcome) {
    if let Attempt::Blocked { fix, .. } = &mut answer.attempt
        && fix.take_if(|fix| fix.allows_dangerous()).is_some()
    {
        let note =
            "a short-lived credential is safer; add `--allow-dangerous` to the helper command if you must";
        answer.note = Some(note.to_owned());
    }
}

/// Reads the request of the tool, which may contain a password.
///
/// Rejects a request larger than [`MAX_REQUEST`], since the rest could change its meaning.
fn read_request() -> Result<Zeroizing<Vec<u8>>, Error> {
    // One allocation of the final size: growing would leave copies in freed memory.
    let mut asked = Zeroizing::new(Vec::with_capacity(MAX_REQUEST + 64));
    std::io::stdin()
        .lock()
        .take(MAX_REQUEST as u64 + 1)
        .read_to_end(&mut asked)
        .map_err(|error| Error::new(ErrorCode::Io, format!("cannot read the request from stdin: {error}")))?;
    if asked.len() > MAX_REQUEST {
        return Err(Error::new(
            ErrorCode::TooLarge,
            format!("the request is larger than {MAX_REQUEST} bytes"),
        ));
    }
    Ok(asked)
}

/// Prints a rejection on both streams. The line ends with a newline.
fn reject_on_both_streams(line: &str) -> Result<u8, Error> {
    output::eprint(line);
    reject(line.trim_end())
}

/// Rejects a request as docker expects: a line on stdout and exit code 1.
fn reject(line: &str) -> Result<u8, Error> {
    output::print(format!("{line}\n").as_bytes()).map(|()| 1)
}
