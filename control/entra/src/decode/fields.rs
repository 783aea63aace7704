//! How single members are read.

use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer};

use crate::model::Id;

/// An id, in the one form in which Graph writes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guid(pub(super) Id);

impl<'de> Deserialize<'de> for Guid {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Read;

        impl Visitor<'_> for Read {
            type Value = Guid;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a GUID")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Guid, E> {
                // The parser also takes it in braces, and without hyphens.
                let id = Some(text).filter(|text| text.len() == 36);
                let id = id.and_then(|text| Id::try_parse(text).ok());
                id.map(Guid).ok_or_else(|| E::custom("an id is not a GUID"))
            }
        }

        from.deserialize_str(Read)
    }
}

/// An id that is kept as one; for `deserialize_with`.
pub(super) fn id<'de, D: Deserializer<'de>>(from: D) -> Result<Id, D::Error> {
    Guid::deserialize(from).map(|guid| guid.0)
}

/// Null is nothing, as absence is; for `deserialize_with`, beside `default`.
pub(super) fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    from: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}
