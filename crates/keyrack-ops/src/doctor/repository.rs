//! Checks of the repository: what its `keyrack.yml` declares, and its faults by file and line.

use keyrack_client::{Context, manifest};
use keyrack_core::repo_manifest::MANIFEST_PATH;

use super::check::{Check, counted};

const NAME: &str = "repository.manifest";

pub(super) fn checks(ctx: &Context) -> Vec<Check> {
    let Some(root) = manifest::find_git_root(&ctx.cwd) else {
        return vec![Check::skip(NAME, "not in a git repository")];
    };
    match manifest::load(ctx, &root) {
        Ok(None) => vec![Check::skip(NAME, format!("{} has no {MANIFEST_PATH}", root.display()))],
        Ok(Some(found)) => {
            let mut checks: Vec<Check> =
                found.faults.iter().map(|fault| Check::error(NAME, fault.clone())).collect();
            if checks.is_empty() {
                let (keys, org) = (counted(found.keys().len(), "key"), &found.org);
                checks.push(Check::ok(NAME, format!("{MANIFEST_PATH} declares {keys} of the org {org}")));
            }
            checks
        }
        Err(error) => vec![Check::error(NAME, error)],
    }
}
