//! Tree of plain values, as YAML has them, in their order and unchecked.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// Value with its line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct YamlNode {
    /// Line, from 1; 0 if unknown. For a field it is the line of its name; the value may begin on a
    /// later one.
    pub line: u64,
    /// Value at this line.
    pub value: YamlValue<YamlNode>,
}

/// Type that the children of a value are read as.
pub trait YamlChild: Sized {
    /// Returns the name of a field and its value.
    fn field(name: Self, value: Self) -> (String, Self);
}

/// Value whose children are `N`: [`YamlNode`], or a type of the reader that knows lines and is
/// converted with [`YamlValue::map`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum YamlValue<N> {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool,
    /// Any number. Its value does not matter.
    Number,
    /// A string.
    Text(String),
    /// A sequence.
    List(Vec<N>),
    /// A mapping, in order. A field name that is not a string is replaced by its kind in
    /// parentheses, which is never the name of a field.
    Map(Vec<(String, N)>),
}

impl<N> YamlValue<N> {
    /// Converts the children.
    pub fn map<M>(self, mut child: impl FnMut(N) -> M) -> YamlValue<M> {
        match self {
            YamlValue::Null => YamlValue::Null,
            YamlValue::Bool => YamlValue::Bool,
            YamlValue::Number => YamlValue::Number,
            YamlValue::Text(text) => YamlValue::Text(text),
            YamlValue::List(items) => YamlValue::List(items.into_iter().map(child).collect()),
            YamlValue::Map(fields) => {
                YamlValue::Map(fields.into_iter().map(|(name, value)| (name, child(value))).collect())
            }
        }
    }

    /// Name of a field with this key.
    pub fn into_name(self) -> String {
        match self {
            YamlValue::Text(text) => text,
            other => format!("({})", other.kind()),
        }
    }

    /// Kind of the value, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            YamlValue::Null => "nothing",
            YamlValue::Bool => "a boolean",
            YamlValue::Number => "a number",
            YamlValue::Text(_) => "a string",
            YamlValue::List(_) => "a list",
            YamlValue::Map(_) => "a mapping",
        }
    }
}

impl YamlNode {
    /// Text of a string.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            YamlValue::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for YamlNode {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(YamlNode { line: 0, value: YamlValue::deserialize(d)? })
    }
}

impl YamlChild for YamlNode {
    fn field(name: Self, value: Self) -> (String, Self) {
        (name.value.into_name(), value)
    }
}

impl<'de, N: Deserialize<'de> + YamlChild> Deserialize<'de> for YamlValue<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(YamlVisitor(PhantomData))
    }
}

struct YamlVisitor<N>(PhantomData<N>);

impl<'de, N: Deserialize<'de> + YamlChild> Visitor<'de> for YamlVisitor<N> {
    type Value = YamlValue<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Null)
    }

    fn visit_none<E>(self) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<YamlValue<N>, D::Error> {
        YamlValue::deserialize(d)
    }

    fn visit_bool<E>(self, _: bool) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<YamlValue<N>, E> {
        Ok(YamlValue::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<YamlValue<N>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(YamlValue::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<YamlValue<N>, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry()? {
            fields.push(N::field(name, value));
        }
        Ok(YamlValue::Map(fields))
    }
}
