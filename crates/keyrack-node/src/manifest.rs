//! `keyrack.yml` of the caller's repository, with the files it extends. It holds no secret.

use keyrack_client::manifest::{find_git_root, load};
use keyrack_core::Env;
use keyrack_core::grade::MinimumGrade;
use keyrack_core::repo_manifest::{KeySpec, MANIFEST_PATH, RepoManifest};
use napi_derive::napi;
use serde_json::{Map, Value, json};

use crate::call_context::CallContext;
use crate::catch_panic::{CallError, catch_panic};

/// Returns the manifest of the repository that the working directory is in, as JSON: `null` where
/// there is none, `{uri, org, envs, extends?, keys}` with the keys in their order, or `{error}`.
#[napi]
pub fn manifest(context: String, deadline_ms: u32) -> napi::Result<String> {
    let context = CallContext::new(context, deadline_ms);
    let manifest = catch_panic(
        || context.invocation(),
        || {
            let ctx = context.to_context()?;
            let Some(root) = find_git_root(&ctx.cwd) else { return Ok("null".to_owned()) };
            let uri = root.join(MANIFEST_PATH);
            Ok::<_, CallError>(match load(&ctx, &root)? {
                Some(found) => value(&found, &uri.to_string_lossy()).to_string(),
                None => "null".to_owned(),
            })
        },
    )?;
    Ok(manifest.unwrap_or_else(|failure| failure))
}

fn value(manifest: &RepoManifest, uri: &str) -> Value {
    let words = |envs: &[Env]| envs.iter().map(|env| env.as_str()).collect::<Vec<_>>();
    let mut members = Map::new();
    members.insert("uri".into(), uri.into());
    members.insert("org".into(), manifest.org.as_str().into());
    members.insert("envs".into(), words(&manifest.envs).into());
    if !manifest.extends.is_empty() {
        members.insert("extends".into(), manifest.extends.clone().into());
    }
    // A list: an object would not keep the order of names that read as numbers.
    members.insert("keys".into(), manifest.keys().iter().map(key).collect());
    Value::Object(members)
}

fn key(spec: &KeySpec) -> Value {
    json!({
        "slug": spec.slug.as_str(),
        "mech": null,
        "env": spec.env.as_str(),
        "name": spec.slug.name(),
        "grade": grade(spec.grade),
        "flags": { "isOptionalIfHas": spec.optional_if_has },
    })
}

/// Returns the minimum grade of an entry; `null` if it has none.
fn grade(minimum: MinimumGrade) -> Value {
    if minimum == MinimumGrade::default() {
        return Value::Null;
    }
    json!({
        "protection": minimum.protection.map(|word| word.as_str()),
        "duration": minimum.duration.map(|word| word.as_str()),
    })
}
