//! A grant: `{"slug","key":{"secret","grade":{"protection","duration"}},"source":{"vault","mech"},"env","org",
//! "expiresAt"?}`. Every known field must be there, once, and a string; names are not judged here.

use std::borrow::Cow;

use super::error::{FieldError, JsonPath, LegacyError};
use super::extras::{Extras, Level};
use crate::names::{Grade, Source};
use crate::{MAX_NAME, MAX_SECRET};
use keyrack_json::{RawString, RawValue};

/// One grant of a message, its secret still escaped in the message.
pub struct Grant<'a> {
    /// Its slug.
    pub slug: Cow<'a, str>,
    /// Its secret, as text between quotes in the message.
    pub secret: RawString<'a>,
    /// Its grade.
    pub grade: Grade<'a>,
    /// Where it came from.
    pub source: Source<'a>,
    /// Its env, as the sender says.
    pub env: Cow<'a, str>,
    /// Its org, as the sender says.
    pub org: Cow<'a, str>,
    /// When it ends, as text that no one has yet found to be a time; `None` if the field is absent.
    pub expires_at: Option<Cow<'a, str>>,
    /// The fields this version does not know.
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
        let place = JsonPath { list, index, slug: None };
        let [slug, key, source, env, org, expires_at] = object(
            value,
            &place,
            "",
            ["slug", "key", "source", "env", "org", "expiresAt"],
            (&mut extras, Level::Grant),
        )?;
        let slug = name(slug, &place, "slug")?;
        let place = JsonPath { slug: Some(&slug), ..place };
        let key = key.ok_or_else(|| place.error("key", FieldError::Missing))?;
        let [secret, grade] = object(key, &place, "key", ["secret", "grade"], (&mut extras, Level::Key))?;
        let secret = string(secret, &place, "key.secret")?;
        if secret.len() > MAX_SECRET {
            return Err(place.error("key.secret", FieldError::SecretTooLong));
        }
        let grade = grade.ok_or_else(|| place.error("key.grade", FieldError::Missing))?;
        let [protection, duration] =
            object(grade, &place, "key.grade", ["protection", "duration"], (&mut extras, Level::Grade))?;
        let source = source.ok_or_else(|| place.error("source", FieldError::Missing))?;
        let [vault, mech] =
            object(source, &place, "source", ["vault", "mech"], (&mut extras, Level::Source))?;
        let grade = Grade {
            protection: name(protection, &place, "key.grade.protection")?,
            duration: name(duration, &place, "key.grade.duration")?,
        };
        let source =
            Source { vault: name(vault, &place, "source.vault")?, mech: name(mech, &place, "source.mech")? };
        let env = name(env, &place, "env")?;
        let org = name(org, &place, "org")?;
        let expires_at = match expires_at {
            Some(text) => Some(name(Some(text), &place, "expiresAt")?),
            None => None,
        };
        Ok(Self { slug, secret, grade, source, env, org, expires_at, extras })
    }
}

/// The known fields of one object of a grant; the others go to `extras`.
fn object<'a, const N: usize>(
    value: RawValue<'a>,
    place: &JsonPath<'_>,
    path: &str,
    known: [&'static str; N],
    (extras, level): (&mut Extras<'a>, Level),
) -> Result<[Option<RawValue<'a>>; N], LegacyError> {
    let mut found = [None; N];
    let inner = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    let outcome = value.members(|name, value| {
        let fault = |error| place.error(&inner("<name>"), error);
        let text = name.string().unwrap_or(Ok(RawString::default()));
        let text = text.map_err(|string| fault(FieldError::String(string)))?;
        if text.len() > MAX_NAME {
            return Err(fault(FieldError::NameTooLong));
        }
        let decoded = text.to_text();
        let Some(index) = known.iter().position(|known| *known == decoded) else {
            return extras.add(level, name.text(), decoded, value).map_err(|error| match error {
                FieldError::Twice => fault(error),
                error => place.error(path, error),
            });
        };
        if found[index].replace(value).is_some() {
            return Err(place.error(&inner(known[index]), FieldError::Twice));
        }
        Ok(())
    });
    outcome.unwrap_or_else(|| Err(place.error(path, FieldError::Type("an object"))))?;
    Ok(found)
}

fn string<'a>(
    value: Option<RawValue<'a>>,
    place: &JsonPath<'_>,
    field: &'static str,
) -> Result<RawString<'a>, LegacyError> {
    let value = value.ok_or_else(|| place.error(field, FieldError::Missing))?;
    let text = value.string().ok_or_else(|| place.error(field, FieldError::Type("a string")))?;
    text.map_err(|fault| place.error(field, FieldError::String(fault)))
}

fn name<'a>(
    value: Option<RawValue<'a>>,
    place: &JsonPath<'_>,
    field: &'static str,
) -> Result<Cow<'a, str>, LegacyError> {
    let text = string(value, place, field)?;
    if text.len() > MAX_NAME {
        return Err(place.error(field, FieldError::NameTooLong));
    }
    Ok(text.to_text())
}
