//! Documents of the polled parts, from bytes to what they say.
//!
//! A document is the JSON of one of [`crate::decode`]'s types, or of several in an array; its id matters nowhere but
//! for a [`Federation`], whose id is the domain's name, or ends with `/` or `:` and that.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Moment, ReviewError};
use crate::decode::Malformed;
use crate::decode::domains::{Domain, Federation};
use crate::decode::roles::Definition;
use crate::model::{Part, RoleAssignment};

/// A document: one of a kind, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept<T> {
    Several(Vec<T>),
    One(T),
}

/// A document of [`Part::Roles`].
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OfRoles {
    Assignment(RoleAssignment),
    Definition(Definition),
}

/// A document of [`Part::Domains`].
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum OfDomains {
    Domain(Domain),
    Federation(Box<Federation>),
}

/// Hands over every document of a part with its id, one at a time. Nothing is handed over of a part that was never
/// read; ask [`Moment::is_known`] first.
pub(super) fn each<T: DeserializeOwned, E: From<ReviewError>>(
    moment: &Moment,
    part: Part,
    mut take: impl FnMut(&str, T) -> Result<(), E>,
) -> Result<(), E> {
    if !moment.is_known(part) {
        return Ok(());
    }
    let documents = moment.view().each_document(part, |id, bytes| {
        let several = read(part, &bytes).map_err(Stop::Review)?;
        for one in several {
            take(id, one).map_err(Stop::Taker)?;
        }
        Ok(())
    });
    documents.map_err(|stop| match stop {
        Stop::Review(error) => error.into(),
        Stop::Taker(error) => error,
    })
}

/// All documents of a part; none where it was never read.
pub(super) fn all<T: DeserializeOwned>(
    moment: &Moment,
    part: Part,
) -> Result<Option<Vec<(String, T)>>, ReviewError> {
    let mut all = Vec::new();
    each(moment, part, |id, one| {
        all.push((id.to_owned(), one));
        Ok::<_, ReviewError>(())
    })?;
    Ok(moment.is_known(part).then_some(all))
}

/// What one document holds.
pub(super) fn read<T: DeserializeOwned>(part: Part, bytes: &[u8]) -> Result<Vec<T>, ReviewError> {
    let kept = serde_json::from_slice(bytes).map_err(|error| ReviewError::Document {
        part,
        why: Malformed::from(&error).to_string(),
    })?;
    Ok(match kept {
        Kept::Several(several) => several,
        Kept::One(one) => vec![one],
    })
}

/// Why documents are not read on.
enum Stop<E> {
    Review(ReviewError),
    Taker(E),
}

impl<E> From<crate::store::StoreError> for Stop<E> {
    fn from(error: crate::store::StoreError) -> Self {
        Self::Review(error.into())
    }
}
