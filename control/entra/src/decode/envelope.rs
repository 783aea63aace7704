//! What is around the items of a page.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use super::Malformed;
use super::fields::Guid;
use crate::model::{Id, Next, Page};

#[derive(Deserialize)]
struct Envelope<T> {
    value: Vec<T>,
    #[serde(rename = "@odata.nextLink", default)]
    next: Option<String>,
    #[serde(rename = "@odata.deltaLink", default)]
    delta: Option<String>,
}

/// A page of a list: it goes on behind a link, or it was the last.
pub(super) fn list<T: DeserializeOwned>(body: &[u8]) -> Result<Page<T>, Malformed> {
    let Envelope { value, next, delta } = read::<Envelope<T>>(body)?;
    if delta.is_some() {
        return Err(Malformed::new("a page of a list has a link to changes"));
    }
    Ok(Page {
        items: value,
        next: next.map_or(Next::Done(None), Next::More),
    })
}

/// A page of changes: it has one link, to the next page or to the next changes.
pub(super) fn changes<T: DeserializeOwned>(body: &[u8]) -> Result<Page<T>, Malformed> {
    let Envelope { value, next, delta } = read::<Envelope<T>>(body)?;
    let next = match (next, delta) {
        (Some(next), None) => Next::More(next),
        (None, Some(delta)) => Next::Done(Some(delta)),
        (Some(_), Some(_)) => {
            return Err(Malformed::new(
                "the page says both that there is more and that there is not",
            ));
        }
        (None, None) => return Err(Malformed::new("the page does not say how it goes on")),
    };
    Ok(Page { items: value, next })
}

/// The one item of a list that has one.
pub(super) fn only<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    let mut page = list::<T>(body)?;
    match (page.items.pop(), page.items.is_empty(), page.next) {
        (Some(item), true, Next::Done(None)) => Ok(item),
        _ => Err(Malformed::new("there is not exactly one of it")),
    }
}

/// One object.
pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body).map_err(|error| Malformed::from(&error))
}

impl<T> Page<T> {
    pub(super) fn map<U>(self, each: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(each).collect(),
            next: self.next,
        }
    }
}

/// An object that can still be restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Which.
    pub id: Id,
    /// Since when.
    pub at: Option<OffsetDateTime>,
}

/// Users or groups that can still be restored.
pub fn deleted(body: &[u8]) -> Result<Page<Deleted>, Malformed> {
    #[derive(Deserialize)]
    struct Item {
        id: Guid,
        #[serde(
            rename = "deletedDateTime",
            default,
            with = "time::serde::rfc3339::option"
        )]
        at: Option<OffsetDateTime>,
    }
    let page = list::<Item>(body)?;
    Ok(page.map(|item| Deleted {
        id: item.id.0,
        at: item.at,
    }))
}
