//! Parser of requests, for the daemon. It checks all of a request before the daemon acts on any of
//! it.

use std::borrow::Cow;

use super::MAX_ITEMS;
use super::error::{FieldError, LegacyError, escaped_name, field};
use super::grant::Grant;
use crate::{MAX_NAME, Relock};
use keyrack_json::{RawValue, ValueKind};

/// One request.
#[derive(Debug)]
pub enum Request<'a> {
    /// Unlock these keys: all of them or none.
    Unlock(Vec<Grant<'a>>),
    /// Return keys.
    Get(Get<'a>),
    /// List the unlocked keys.
    Status,
    /// Erase keys.
    Relock(Relock<'a>),
}

/// Keys to return, and filters on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Get<'a> {
    /// Full slugs, in the order of the reply.
    pub slugs: Vec<Cow<'a, str>>,
    /// Only keys of this org, or of `@all`.
    pub org: Option<Cow<'a, str>>,
    /// Only keys of this env, or of `all`.
    pub env: Option<Cow<'a, str>>,
}

impl<'a> Request<'a> {
    /// Parses a complete request: the buffer up to the end that the [`Scanner`](super::Scanner)
    /// found.
    ///
    /// # Errors
    /// [`LegacyError`]. Its text is the reply, and holds no value of the request but an escaped
    /// command or slug.
    pub fn parse(message: &'a [u8]) -> Result<Self, LegacyError> {
        let value = only_object(message)?;
        let [command, payload] = fields(value, "", ["command", "payload"])?;
        let command = text(command, "command")?;
        match &*command {
            "UNLOCK" => {
                let [keys] = fields(required(payload, "payload")?, "payload.", ["keys"])?;
                unlock(required(keys, "payload.keys")?).map(Self::Unlock)
            }
            "GET" => {
                let [slugs, org, env] =
                    fields(required(payload, "payload")?, "payload.", ["slugs", "org", "env"])?;
                Ok(Self::Get(Get {
                    slugs: texts(required(slugs, "payload.slugs")?, "payload.slugs")?,
                    org: optional_text(org, "payload.org")?,
                    env: optional_text(env, "payload.env")?,
                }))
            }
            "STATUS" => {
                // The payload is empty, so it is optional.
                if let Some(payload) = payload {
                    fields(payload, "payload.", [])?;
                }
                Ok(Self::Status)
            }
            "RELOCK" => {
                let [slugs, env] = fields(required(payload, "payload")?, "payload.", ["slugs", "env"])?;
                let env = optional_text(env, "payload.env")?;
                if env.as_deref() == Some("") {
                    // Without this check it would mean "no env", and erase everything.
                    return Err(field("payload.env", FieldError::Empty));
                }
                Ok(Self::Relock(match (slugs, env) {
                    (Some(slugs), _) => Relock::Slugs(texts(slugs, "payload.slugs")?),
                    (None, Some(env)) => Relock::Env(env),
                    (None, None) => Relock::All,
                }))
            }
            other => Err(LegacyError::UnknownCommand(escaped_name(other))),
        }
    }
}

fn unlock(keys: RawValue<'_>) -> Result<Vec<Grant<'_>>, LegacyError> {
    const PATH: &str = "payload.keys";
    let mut grants = Vec::new();
    let outcome = keys.elements(|value| {
        if grants.len() == MAX_ITEMS {
            return Err(field(PATH, FieldError::TooMany));
        }
        grants.push(Grant::read(value, PATH, grants.len())?);
        Ok(())
    });
    outcome.unwrap_or_else(|| Err(field(PATH, FieldError::Type("an array"))))?;
    Ok(grants)
}

/// Reads the message as the one JSON object that it must be.
pub(super) fn only_object(message: &[u8]) -> Result<RawValue<'_>, LegacyError> {
    let value = RawValue::parse(message)?;
    if value.kind() == ValueKind::Object { Ok(value) } else { Err(LegacyError::NotAnObject) }
}

/// Returns the known fields of an object that is not a grant, and skips unknown ones. `path` ends
/// with a dot, or is empty.
pub(super) fn fields<'a, const N: usize>(
    value: RawValue<'a>,
    path: &'static str,
    known: [&'static str; N],
) -> Result<[Option<RawValue<'a>>; N], LegacyError> {
    let mut found = [None; N];
    let outcome = value.members(|name, value| {
        // A name that is not text, such as a lone surrogate, is unknown.
        let Some(Ok(name)) = name.string() else { return Ok(()) };
        if name.len() > MAX_NAME {
            return Ok(());
        }
        let name = name.to_text();
        match known.iter().position(|known| *known == name) {
            Some(index) if found[index].replace(value).is_some() => {
                Err(field(&format!("{path}{}", known[index]), FieldError::Twice))
            }
            _ => Ok(()),
        }
    });
    outcome.unwrap_or_else(|| Err(field(path.trim_end_matches('.'), FieldError::Type("an object"))))?;
    Ok(found)
}

pub(super) fn required<'a>(value: Option<RawValue<'a>>, path: &str) -> Result<RawValue<'a>, LegacyError> {
    value.ok_or_else(|| field(path, FieldError::Missing))
}

pub(super) fn text<'a>(value: Option<RawValue<'a>>, path: &str) -> Result<Cow<'a, str>, LegacyError> {
    let value = required(value, path)?;
    let text = value.string().ok_or_else(|| field(path, FieldError::Type("a string")))?;
    let text = text.map_err(|error| field(path, FieldError::String(error)))?;
    if text.len() > MAX_NAME {
        return Err(field(path, FieldError::NameTooLong));
    }
    Ok(text.to_text())
}

pub(super) fn optional_text<'a>(
    value: Option<RawValue<'a>>,
    path: &str,
) -> Result<Option<Cow<'a, str>>, LegacyError> {
    value.map(|value| text(Some(value), path)).transpose()
}

pub(super) fn texts<'a>(value: RawValue<'a>, path: &'static str) -> Result<Vec<Cow<'a, str>>, LegacyError> {
    let mut texts = Vec::new();
    let outcome = value.elements(|value| {
        if texts.len() == MAX_ITEMS {
            return Err(field(path, FieldError::TooMany));
        }
        let index = texts.len();
        texts.push(text(Some(value), path).map_err(|error| match error {
            LegacyError::Field { at, error } => LegacyError::Field { at: format!("{at}[{index}]"), error },
            error => error,
        })?);
        Ok(())
    });
    outcome.unwrap_or_else(|| Err(field(path, FieldError::Type("an array"))))?;
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use keyrack_json::visits;

    use super::Request;

    /// The parser visits a value once for each known object around it, and a string once more to
    /// check it: a fixed number, whatever the sender nests or repeats.
    #[test]
    fn parsing_is_linear_in_the_length_of_the_message() {
        let grant = |secret: &str, more: &str| {
            format!(
                r#"{{"slug":"a.b.c","key":{{"secret":"{secret}","grade":{{"protection":"p","duration":"d"{more}}}{more}}},"source":{{"vault":"v","mech":"m"{more}}},"env":"b","org":"a"{more}}}"#
            )
        };
        let unlock = |grants: &[String]| {
            format!(r#"{{"command":"UNLOCK","payload":{{"keys":[{}]}}}}"#, grants.join(","))
        };
        let deep = format!(",\"x\":{}{}", "[".repeat(50), "]".repeat(50));
        let wide = format!(",\"x\":[{}1]", "[],".repeat(50_000));
        let many: String = (0..64).map(|n| format!(",\"x{n}\":{{\"\\u0061\":[null,true,1.5e3]}}")).collect();
        let long_names: String = (0..64).map(|n| format!(",\"{}{n:02}\":0", "x".repeat(1000))).collect();
        let messages = [
            unlock(&[grant(&"\\u0041".repeat(150_000), "")]),
            unlock(&vec![grant("s", &deep); 600]),
            unlock(&[grant("s", &wide)]),
            unlock(&vec![grant("s", &many); 50]),
            unlock(&[grant("s", &long_names)]),
            unlock(&vec![grant("s", ""); 4000]),
            format!(r#"{{"command":"GET","payload":{{"slugs":[{}"a"]}}}}"#, r#""\u0061.b.c","#.repeat(4000)),
            format!(
                r#"{{{}"command":"STATUS","payload":{{}}}}"#,
                r#""command_":{"payload":[{}]},"#.repeat(30_000)
            ),
        ];
        for message in &messages {
            visits::take();
            Request::parse(message.as_bytes()).unwrap();
            let visited = visits::take();
            assert!(visited <= 8 * message.len(), "{visited} for {} bytes: {:.60}", message.len(), message);
        }
    }
}
