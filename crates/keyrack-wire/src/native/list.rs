//! Lists of strings that borrow from the header, which serde's own `Vec<Cow<str>>` would copy.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};

#[derive(Deserialize)]
struct Borrowed<'a>(#[serde(borrow)] Cow<'a, str>);

pub(super) fn list<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Cow<'de, str>>, D::Error> {
    let list = Vec::<Borrowed<'de>>::deserialize(from)?;
    Ok(list.into_iter().map(|Borrowed(text)| text).collect())
}

pub(super) fn some<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    let text = Option::<Borrowed<'de>>::deserialize(from)?;
    Ok(text.map(|Borrowed(text)| text))
}

pub(super) fn some_list<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<Cow<'de, str>>>, D::Error> {
    list(from).map(Some)
}
