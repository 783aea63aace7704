//! Tokens in links: opaque to clients, sealed by the lab, so that one that it did not hand out is known.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::Refusal;
use crate::faults::opaque;
use crate::lab::Shared;
use crate::world::directory::Sequence;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// The tenant.
    pub tenant: Uuid,
    /// The path below `/v1.0/` that it goes on with.
    pub path: String,
    /// When it was handed out, in seconds since 1970.
    pub issued: i64,
    /// In which generation of the tenant's links.
    pub generation: u64,
    /// `$select` of the first request of the round.
    pub select: Option<String>,
    /// Ids that `$filter` of the first request named.
    pub ids: Vec<Uuid>,
    /// Where it goes on.
    pub at: At,
    /// Whether the page before was empty.
    pub empty: bool,
}

/// Where a walk over pages goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum At {
    /// A list, at this position.
    List(usize),
    /// The first round of a delta: everything as it was after a change.
    First {
        /// After which.
        seen: Sequence,
        /// Position.
        position: usize,
    },
    /// A later round: the changes in between.
    Round {
        /// After this one.
        since: Sequence,
        /// Up to this one.
        to: Sequence,
        /// Position.
        position: usize,
    },
    /// A round is over, and the next begins with the changes after this one.
    Done(Sequence),
}

const SEAL: usize = 8;

impl Link {
    /// As a token.
    pub(crate) fn seal(&self, shared: &Shared) -> String {
        let mut text = serde_json::to_vec(self).expect("string keys only");
        let tag = hmac::sign(&shared.seal, &text);
        text.extend(&tag.as_ref()[..SEAL]);
        opaque(&text)
    }

    /// Of a token that the lab handed out for that tenant and path.
    pub(crate) fn open(
        shared: &Shared,
        token: &str,
        tenant: Uuid,
        path: &str,
    ) -> Result<Self, Refusal> {
        let malformed = || Refusal::bad("Badly formed token.");
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| malformed())?;
        let split = bytes.len().checked_sub(SEAL).ok_or_else(malformed)?;
        let (text, tag) = bytes.split_at(split);
        if hmac::sign(&shared.seal, text).as_ref()[..SEAL] != *tag {
            return Err(malformed());
        }
        let link: Self = serde_json::from_slice(text).map_err(|_| malformed())?;
        if link.tenant != tenant || link.path != path {
            return Err(malformed());
        }
        Ok(link)
    }

    /// How old it is, in seconds.
    pub fn age(&self, now: OffsetDateTime) -> i64 {
        now.unix_timestamp() - self.issued
    }
}
