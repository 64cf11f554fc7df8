//! `recipient set|get|del`: who can open the host manifest and every file of os.secure.

use keyrack_core::host_manifest::{Recipient, check_label};
use keyrack_core::{Error, ErrorCode};
use keyrack_vaults::recipient_file::from_file;
use keyrack_vaults::recipient_key::{Pubkey, StanzaKind, parse};
use keyrack_vaults::{NoPassphrasePrompt, manifest_file, recipient_set};

pub use keyrack_vaults::recipient_set::RecipientChange;

use crate::context::OpContext;

/// Adds a recipient, by its public key or the path of a file that holds it. `stanza`: `None`, or
/// `ssh` to encrypt to the ssh key itself.
///
/// # Errors
/// [`ErrorCode::Usage`], [`ErrorCode::BadRecipient`], [`ErrorCode::BadKeyFile`],
/// [`ErrorCode::RecipientExists`]; those of encrypting a file again, after which nothing is
/// changed.
pub fn add(
    ctx: &OpContext<'_>,
    pubkey: &str,
    label: &str,
    stanza: Option<&str>,
) -> Result<RecipientChange, Error> {
    let stanza = match stanza {
        None => StanzaKind::Age,
        Some("ssh") => StanzaKind::Ssh,
        Some(_) => return Err(Error::new(ErrorCode::Usage, "--stanza only accepts ssh")),
    };
    check_label(label)?;
    let key = public_key(ctx, pubkey, stanza)?;
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    recipient_set::add(&racks, &mut identities, key, label, ctx.now_ms)
}

/// The public key that was typed, or that is in the file that was named.
fn public_key(ctx: &OpContext<'_>, typed: &str, stanza: StanzaKind) -> Result<Pubkey, Error> {
    if ["ssh-", "age1", "AGE-SECRET-KEY-"].iter().any(|start| typed.trim_start().starts_with(start)) {
        return parse(typed, stanza);
    }
    let path = ctx.client.cwd.join(typed);
    if path.is_file() {
        return from_file(&path, stanza);
    }
    // It is not repeated, since it may be what should not have been typed.
    parse(typed, stanza)
        .map_err(|error| error.hint("pass a public key, or the path of a .pub file that exists"))
}

/// Removes the recipient with a label.
///
/// # Errors
/// [`ErrorCode::RecipientNotFound`], [`ErrorCode::LastRecipient`]; those of encrypting a file
/// again, after which nothing is changed.
pub fn del(ctx: &OpContext<'_>, label: &str) -> Result<RecipientChange, Error> {
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    recipient_set::remove(&racks, &mut identities, label)
}

/// The recipients.
///
/// # Errors
/// [`ErrorCode::HostManifestMissing`], and what keeps it from being opened.
pub fn get(ctx: &OpContext<'_>) -> Result<Vec<Recipient>, Error> {
    let racks = ctx.racks()?;
    let mut identities = ctx.identities(&racks)?;
    recipient_set::list(&racks, &mut identities)
}

/// The recipients, if the host manifest is there and opens without a question.
pub fn get_without_prompt(ctx: &OpContext<'_>) -> Option<Vec<Recipient>> {
    let racks = ctx.racks().ok()?;
    let mut identities = ctx.identities_for(&racks, Box::new(NoPassphrasePrompt)).ok()?;
    Some(manifest_file::load(&racks, &mut identities).ok()??.recipients)
}
