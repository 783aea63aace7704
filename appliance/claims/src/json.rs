//! JSON from outside: one reading only. A member that is there twice is refused at any depth, as readers
//! differ in which of them they take; so is what nests deeper than any honest document.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting: far more than tokens and key sets have.
const MAX_DEPTH: usize = 16;
/// Most values, of any kind: a token with all the groups that Entra writes into one has some 300.
const MAX_VALUES: usize = 4096;

/// It is not JSON, has a member twice, nests too deeply, or has too many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unreadable {
    Syntax,
    Twice,
    Deep,
    Many,
}

/// Reads a JSON object that fills the bytes.
pub(crate) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Unreadable> {
    let mut why = Unreadable::Syntax;
    let mut values = 0;
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let node = Node {
        depth: 0,
        values: &mut values,
        why: &mut why,
    };
    let read = node.deserialize(&mut reader);
    match read.and_then(|value| reader.end().map(|()| value)) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Unreadable::Syntax),
        Err(_) => Err(why),
    }
}

struct Node<'a> {
    depth: usize,
    values: &'a mut usize,
    why: &'a mut Unreadable,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        *self.values += 1;
        if *self.values > MAX_VALUES {
            return Err(self.refuse(Unreadable::Many));
        }
        reader.deserialize_any(self)
    }
}

impl Node<'_> {
    fn inside(&mut self) -> Node<'_> {
        Node {
            depth: self.depth + 1,
            values: self.values,
            why: self.why,
        }
    }

    fn refuse<E: serde::de::Error>(self, why: Unreadable) -> E {
        *self.why = why;
        E::custom("refused")
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(Unreadable::Deep));
        }
        let mut items = Vec::new();
        while let Some(item) = access.next_element_seed(self.inside())? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<Value, A::Error> {
        if self.depth == MAX_DEPTH {
            return Err(self.refuse(Unreadable::Deep));
        }
        let mut members = Map::new();
        while let Some(name) = access.next_key::<String>()? {
            let value = access.next_value_seed(self.inside())?;
            if members.insert(name, value).is_some() {
                return Err(self.refuse(Unreadable::Twice));
            }
        }
        Ok(Value::Object(members))
    }
}
