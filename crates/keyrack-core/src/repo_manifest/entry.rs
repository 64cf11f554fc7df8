//! Entries of an env section, in three forms: `NAME`, `NAME: grade`, and a record with `key`.

use super::node::{YamlNode, YamlValue};
use super::{KeySpec, RawManifest, UNREADABLE};
use crate::env::Env;
use crate::error::{Error, ErrorCode};
use crate::grade::MinimumGrade;
use crate::shorten::{NAME, PATH, quoted, shortened};
use crate::slug::{Slug, check_known_name};

/// Key as a section declares it, without a slug.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    grade: MinimumGrade,
    optional_if_has: Option<String>,
    fault: Option<Error>,
}

/// Location of an entry, for messages.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a RawManifest,
    pub(super) section: &'a str,
}

impl Place<'_> {
    /// Returns a fault of this section: file, line, section and cause.
    pub(super) fn fault(self, line: u64, what: &str) -> Error {
        let (path, section) = (shortened(&self.file.path, PATH), shortened(self.section, NAME));
        let line = if line == 0 { String::new() } else { format!(":{line}") };
        invalid(&format!("{path}{line}: {section}: {what}"))
    }
}

/// Error for an invalid manifest, on one line: a quoted name may contain line breaks.
pub(super) fn invalid(text: &str) -> Error {
    let ends_line = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    Error::new(ErrorCode::ManifestInvalid, text.replace(ends_line, " "))
}

impl Entry {
    /// Reads an entry, and adds its faults to `faults`. `None` if no key is left.
    pub(super) fn read(
        node: &YamlNode,
        at: usize,
        place: Place<'_>,
        faults: &mut Vec<Error>,
    ) -> Option<Self> {
        let nth = at + 1;
        let entry = match &node.value {
            YamlValue::Text(name) => Ok(Entry {
                name: name.clone(),
                grade: MinimumGrade::default(),
                optional_if_has: None,
                fault: None,
            }),
            YamlValue::Map(fields) if fields.iter().any(|(name, _)| name == "key") => {
                Self::record(fields, nth, node.line, place, faults)
            }
            YamlValue::Map(fields) => match fields.as_slice() {
                [] => Err(format!("entry {nth} is empty: it must name a key")),
                [(name, grade), rest @ ..] => {
                    if let Some((extra, value)) = rest.first() {
                        let (name, extra) = (shortened(name, NAME), quoted(extra));
                        let what = format!(
                            "{name}: {extra} is not understood here: give the entry as a record with `key: {name}`"
                        );
                        faults.push(place.fault(value.line, &what));
                    }
                    Ok(Self::graded(name, grade, place, faults))
                }
            },
            other => Err(format!("entry {nth} is {}: it must be the name of a key", other.kind())),
        };
        let checked = entry.and_then(|entry| match check_known_name(&entry.name) {
            Ok(()) => Ok(entry),
            Err(error) => Err(format!("entry {nth}: {error}")),
        });
        checked.map_err(|what| faults.push(place.fault(node.line, &what))).ok()
    }

    /// Reads `NAME: grade`.
    fn graded(name: &str, grade: &YamlNode, place: Place<'_>, faults: &mut Vec<Error>) -> Self {
        let shown = shortened(name, NAME);
        let read = match &grade.value {
            YamlValue::Null => Ok(MinimumGrade::default()),
            YamlValue::Text(text) => {
                MinimumGrade::parse(text).map_err(|word| format!("{shown}: {} is not a grade", quoted(&word)))
            }
            other => Err(format!("{shown}: its grade is {}, not a string", other.kind())),
        };
        let (grade, fault) = match read {
            Ok(minimum) => (minimum, None),
            Err(what) => {
                let fault = place.fault(grade.line, &what).hint(
                    "a grade is one of reference, encrypted, plaintext, one of transient, ephemeral, permanent, or both with a comma",
                );
                faults.push(fault.clone());
                (UNREADABLE, Some(fault))
            }
        };
        Entry { name: name.to_owned(), grade, optional_if_has: None, fault }
    }

    /// Reads a record with `key: NAME`. Unknown fields are left to a later version.
    fn record(
        fields: &[(String, YamlNode)],
        nth: usize,
        line: u64,
        place: Place<'_>,
        faults: &mut Vec<Error>,
    ) -> Result<Self, String> {
        let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, node)| node);
        let Some(name) = field("key").and_then(YamlNode::text) else {
            return Err(format!("entry {nth}: `key` must be the name of a key"));
        };
        let none = YamlNode { line, value: YamlValue::Null };
        let mut entry = Self::graded(name, field("grade").unwrap_or(&none), place, faults);
        match field("is-optional-if-has").map(|node| (node.line, &node.value)) {
            None | Some((_, YamlValue::Null)) => {}
            Some((_, YamlValue::Text(variable))) if !variable.is_empty() => {
                entry.optional_if_has = Some(variable.clone());
            }
            Some((line, _)) => {
                let what = format!(
                    "{}: `is-optional-if-has` must be the name of an environment variable",
                    shortened(name, NAME)
                );
                faults.push(place.fault(line, &what));
            }
        }
        Ok(entry)
    }

    /// Key that this entry declares in an env.
    pub(super) fn spec(&self, org: &str, env: Env) -> Result<KeySpec, Error> {
        let slug = Slug::new(org, env, &self.name)?;
        let fault = self.fault.clone().map(|fault| fault.of(&slug));
        let Entry { grade, optional_if_has, .. } = self.clone();
        Ok(KeySpec { slug, env, grade, optional_if_has, fault })
    }
}
