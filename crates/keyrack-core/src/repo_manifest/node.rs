//! A tree of plain values, as YAML holds them: order kept, nothing judged.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value and the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The line, from 1; 0 if it is not known. That of a field is its name's: the value may begin lines below it.
    pub line: u64,
    /// The value.
    pub value: Value<Node>,
}

/// What a value's children are read as.
pub trait Child: Sized {
    /// What a field is called and the field itself, of the two as they were read.
    fn field(name: Self, value: Self) -> (String, Self);
}

/// A value whose children are `N`: [`Node`], or a type of the reader's that knows lines and becomes one by [`Value::map`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<N> {
    /// `null`, `~` or nothing.
    Null,
    /// `true` or `false`.
    Bool,
    /// A number; which one never matters here.
    Number,
    /// A string.
    Text(String),
    /// A sequence.
    List(Vec<N>),
    /// A mapping, in order. A field name that is no string is replaced by its kind in parentheses, which no field is called.
    Map(Vec<(String, N)>),
}

impl<N> Value<N> {
    /// The same value with other children.
    pub fn map<M>(self, mut child: impl FnMut(N) -> M) -> Value<M> {
        match self {
            Value::Null => Value::Null,
            Value::Bool => Value::Bool,
            Value::Number => Value::Number,
            Value::Text(text) => Value::Text(text),
            Value::List(items) => Value::List(items.into_iter().map(child).collect()),
            Value::Map(fields) => {
                Value::Map(fields.into_iter().map(|(name, value)| (name, child(value))).collect())
            }
        }
    }

    /// What a field is called whose name is this.
    pub fn into_name(self) -> String {
        match self {
            Value::Text(text) => text,
            other => format!("({})", other.kind()),
        }
    }

    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool => "a boolean",
            Value::Number => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl Node {
    /// The string, if it is one.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Ok(Node { line: 0, value: Value::deserialize(d)? })
    }
}

impl Child for Node {
    fn field(name: Self, value: Self) -> (String, Self) {
        (name.value.into_name(), value)
    }
}

impl<'de, N: Deserialize<'de> + Child> Deserialize<'de> for Value<N> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(AnyValue(PhantomData))
    }
}

struct AnyValue<N>(PhantomData<N>);

impl<'de, N: Deserialize<'de> + Child> Visitor<'de> for AnyValue<N> {
    type Value = Value<N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value<N>, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value<N>, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<Value<N>, D::Error> {
        Value::deserialize(d)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Value<N>, E> {
        Ok(Value::Bool)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Value<N>, E> {
        Ok(Value::Number)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Value<N>, E> {
        Ok(Value::Number)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Value<N>, E> {
        Ok(Value::Number)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Value<N>, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<N>, E> {
        Ok(Value::Number)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value<N>, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value<N>, E> {
        Ok(Value::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<N>, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<N>, A::Error> {
        let mut fields = Vec::new();
        while let Some((name, value)) = map.next_entry()? {
            fields.push(N::field(name, value));
        }
        Ok(Value::Map(fields))
    }
}
