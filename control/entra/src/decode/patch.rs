//! Users and groups in pages of lists and of changes: what is said of each, and nothing more.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::fields::Guid;
use crate::model::{Item, Text, Told};

/// What is told of an object.
pub(super) trait Patch: Default {
    /// The texts of its kind.
    const TEXTS: &'static [(Text, &'static str)];

    /// Where they go.
    fn texts(&mut self) -> &mut BTreeMap<Text, Option<String>>;

    /// Takes the value of a member that is no text; `false` leaves it to be ignored.
    fn take<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<bool, M::Error>;
}

/// An item as it is read.
pub(super) struct Read<P>(pub(super) Item<P>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Why it is no longer there.
#[derive(Deserialize)]
struct Removed<'a> {
    #[serde(borrow, default)]
    reason: Option<Cow<'a, str>>,
}

impl<'de, P: Patch> Deserialize<'de> for Read<P> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(Object(PhantomData))
    }
}

struct Object<P>(PhantomData<P>);

impl<'de, P: Patch> Visitor<'de> for Object<P> {
    type Value = Read<P>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Read<P>, M::Error> {
        let mut id = None;
        let mut removed = None;
        let mut patch = P::default();
        while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
            if name == "id" {
                if id.replace(map.next_value::<Guid>()?).is_some() {
                    return Err(M::Error::custom("an object has two ids"));
                }
            } else if name == "@removed" {
                removed = map.next_value::<Option<Removed<'de>>>()?;
            } else if let Some((text, _)) = P::TEXTS.iter().find(|(_, known)| *known == name) {
                let value = map.next_value::<Option<String>>()?;
                patch.texts().insert(*text, value);
            } else if !patch.take(&name, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        let Some(Guid(id)) = id else {
            return Err(M::Error::custom("an object has no id"));
        };
        Ok(Read(match removed {
            None => Item::Live(id, patch),
            Some(removed) if removed.reason.as_deref() == Some("deleted") => Item::Purged(id),
            // What is not known to be gone for good may come back.
            Some(_) => Item::Gone(id),
        }))
    }
}

/// The value of a member that may be null.
pub(super) fn told<'de, M: MapAccess<'de>, T: Deserialize<'de>>(
    map: &mut M,
) -> Result<Told<T>, M::Error> {
    let value = map.next_value::<Option<T>>()?;
    Ok(value.map_or(Told::Null, Told::Is))
}

/// A moment.
pub(super) fn moment<'de, M: MapAccess<'de>>(
    map: &mut M,
) -> Result<Told<time::OffsetDateTime>, M::Error> {
    #[derive(Deserialize)]
    struct Moment(#[serde(with = "time::serde::rfc3339")] time::OffsetDateTime);
    Ok(match told::<M, Moment>(map)? {
        Told::Is(Moment(moment)) => Told::Is(moment),
        Told::Null => Told::Null,
        Told::Unsaid => Told::Unsaid,
    })
}
