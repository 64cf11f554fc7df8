//! A grant: `{"slug","key":{"secret","grade":{"protection","duration"}},"source":{"vault","mech"},
//! "env","org","expiresAt"?}`. Every known field must be there once, and be a string. The caller
//! validates the names.

use std::borrow::Cow;

use super::error::{FieldError, JsonPath, LegacyError};
use super::extras::{Extras, Level};
use crate::names::{Grade, Source};
use crate::{MAX_NAME, MAX_SECRET};
use keyrack_json::{RawString, RawValue};

/// One grant of a message. Its secret is still escaped in the message.
pub struct Grant<'a> {
    /// Slug.
    pub slug: Cow<'a, str>,
    /// Secret, as a string in the message.
    pub secret: RawString<'a>,
    /// Grade.
    pub grade: Grade<'a>,
    /// Vault and mechanism.
    pub source: Source<'a>,
    /// Env, as the sender states it.
    pub env: Cow<'a, str>,
    /// Org, as the sender states it.
    pub org: Cow<'a, str>,
    /// Expiry, as text that is not validated yet; `None` if the field is absent.
    pub expires_at: Option<Cow<'a, str>>,
    /// Fields that this version does not know.
    pub extras: Extras<'a>,
}

impl std::fmt::Debug for Grant<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant")
            .field("slug", &self.slug)
            .field("secret", &self.secret)
            .field("grade", &self.grade)
            .field("source", &self.source)
            .field("env", &self.env)
            .field("org", &self.org)
            .field("expires_at", &self.expires_at)
            .field("extras", &self.extras)
            .finish()
    }
}

impl<'a> Grant<'a> {
    pub(super) fn read(value: RawValue<'a>, list: &'static str, index: usize) -> Result<Self, LegacyError> {
        let mut extras = Extras::default();
        let at_path = JsonPath { list, index, slug: None };
        let [slug, key, source, env, org, expires_at] = object(
            value,
            &at_path,
            "",
            ["slug", "key", "source", "env", "org", "expiresAt"],
            (&mut extras, Level::Grant),
        )?;
        let slug = name(slug, &at_path, "slug")?;
        let at_path = JsonPath { slug: Some(&slug), ..at_path };
        let key = key.ok_or_else(|| at_path.error("key", FieldError::Missing))?;
        let [secret, grade] = object(key, &at_path, "key", ["secret", "grade"], (&mut extras, Level::Key))?;
        let secret = string(secret, &at_path, "key.secret")?;
        if secret.len() > MAX_SECRET {
            return Err(at_path.error("key.secret", FieldError::SecretTooLong));
        }
        let grade = grade.ok_or_else(|| at_path.error("key.grade", FieldError::Missing))?;
        let [protection, duration] =
            object(grade, &at_path, "key.grade", ["protection", "duration"], (&mut extras, Level::Grade))?;
        let source = source.ok_or_else(|| at_path.error("source", FieldError::Missing))?;
        let [vault, mech] =
            object(source, &at_path, "source", ["vault", "mech"], (&mut extras, Level::Source))?;
        let grade = Grade {
            protection: name(protection, &at_path, "key.grade.protection")?,
            duration: name(duration, &at_path, "key.grade.duration")?,
        };
        let source = Source {
            vault: name(vault, &at_path, "source.vault")?,
            mech: name(mech, &at_path, "source.mech")?,
        };
        let env = name(env, &at_path, "env")?;
        let org = name(org, &at_path, "org")?;
        let expires_at = match expires_at {
            Some(text) => Some(name(Some(text), &at_path, "expiresAt")?),
            None => None,
        };
        Ok(Self { slug, secret, grade, source, env, org, expires_at, extras })
    }
}

/// Returns the known fields of one object of a grant, and adds the others to `extras`.
fn object<'a, const N: usize>(
    value: RawValue<'a>,
    at_path: &JsonPath<'_>,
    path: &str,
    known: [&'static str; N],
    (extras, level): (&mut Extras<'a>, Level),
) -> Result<[Option<RawValue<'a>>; N], LegacyError> {
    let mut found = [None; N];
    let inner = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    let outcome = value.members(|name, value| {
        let error = |error| at_path.error(&inner("<name>"), error);
        let text = name.string().unwrap_or(Ok(RawString::default()));
        let text = text.map_err(|invalid| error(FieldError::String(invalid)))?;
        if text.len() > MAX_NAME {
            return Err(error(FieldError::NameTooLong));
        }
        let unescaped = text.to_text();
        let Some(index) = known.iter().position(|known| *known == unescaped) else {
            return extras.add(level, name.text(), unescaped, value).map_err(
                |field_error| match field_error {
                    FieldError::Twice => error(field_error),
                    _ => at_path.error(path, field_error),
                },
            );
        };
        if found[index].replace(value).is_some() {
            return Err(at_path.error(&inner(known[index]), FieldError::Twice));
        }
        Ok(())
    });
    outcome.unwrap_or_else(|| Err(at_path.error(path, FieldError::Type("an object"))))?;
    Ok(found)
}

fn string<'a>(
    value: Option<RawValue<'a>>,
    at_path: &JsonPath<'_>,
    field: &'static str,
) -> Result<RawString<'a>, LegacyError> {
    let value = value.ok_or_else(|| at_path.error(field, FieldError::Missing))?;
    let text = value.string().ok_or_else(|| at_path.error(field, FieldError::Type("a string")))?;
    text.map_err(|invalid| at_path.error(field, FieldError::String(invalid)))
}

fn name<'a>(
    value: Option<RawValue<'a>>,
    at_path: &JsonPath<'_>,
    field: &'static str,
) -> Result<Cow<'a, str>, LegacyError> {
    let text = string(value, at_path, field)?;
    if text.len() > MAX_NAME {
        return Err(at_path.error(field, FieldError::NameTooLong));
    }
    Ok(text.to_text())
}
