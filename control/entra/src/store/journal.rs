//! The journal: what was changed and when, with what was before, in entries that are chained by their hashes.
//!
//! An entry stands behind SHA-256(hash of the entry before · number · entry). The hash of the last one says all
//! of them: whoever keeps it elsewhere can show that nothing was altered since.
//!
//! The order of the entries is what counts. A clock that goes back a little is waited for, in that an entry is no
//! older than the one before it; one that goes back more was wrong before, and is believed now. What was known at
//! a time is what the last entry left that is not younger.

use redb::{ReadableTable, WriteTransaction};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use super::change::{Change, Counts};
use super::tables::{JOURNAL, META, META_HEAD, Place, decode, encode, get};
use super::{Digest, StoreError};
use crate::guard::Reason;
use crate::model::Part;

/// An entry of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number; they follow one another.
    pub number: u64,
    /// Hash up to it.
    pub hash: Digest,
    /// When it was written.
    pub at: OffsetDateTime,
    /// The part that it is about; none when it is about the store.
    pub part: Option<Part>,
    /// What it says.
    pub what: What,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum What {
    /// The first complete sync of the part: what was before, nobody knows.
    Baseline {
        /// What it brought.
        digest: Digest,
        /// How much.
        counts: Counts,
    },
    /// What was before the commit that is told next.
    Former(Vec<Change<'static>>),
    /// Changes are in force.
    Committed {
        /// Which.
        digest: Digest,
        /// How many.
        counts: Counts,
        /// Whether the part was read in full.
        full: bool,
        /// Who approved them, if they were held before.
        approved_by: Option<String>,
    },
    /// Changes wait for a person.
    Held {
        /// Which.
        digest: Digest,
        /// How many.
        counts: Counts,
        /// Why.
        reasons: Vec<Reason>,
    },
    /// Changes that waited do so no more, and were not put in force.
    Dropped {
        /// Which.
        digest: Digest,
        /// Who discarded them; nobody where a newer round took their place.
        by: Option<String>,
    },
    /// Rounds of the part begin to fail, or fail for another reason.
    Failing {
        /// Why.
        code: String,
    },
    /// Rounds of the part succeed again. What happened in between is not known by when.
    Recovered {
        /// Since when it was not current.
        from: Option<OffsetDateTime>,
        /// Why.
        code: String,
    },
    /// Collection was stopped.
    Disconnected {
        /// By whom.
        by: String,
        /// Whether what was known was destroyed.
        purged: bool,
    },
    /// The beginning of the journal was taken away.
    Pruned {
        /// Entries up to then.
        until: OffsetDateTime,
        /// So many.
        entries: u64,
    },
}

/// What the chain of hashes shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every entry is as it was written.
    Whole {
        /// So many.
        entries: u64,
        /// Hash of the last one.
        head: Digest,
    },
    /// This is the first that is not as it was written, or not there.
    Broken {
        /// Its number.
        number: u64,
    },
}

const DAMAGED: StoreError = StoreError::Damaged {
    what: "the journal",
};

type Body = (OffsetDateTime, Option<Part>, What);

/// A clock that goes back no further is waited for.
const WAITED_FOR: Duration = Duration::HOUR;

/// Writes entries.
pub(crate) struct Writing {
    head: Place,
    at: OffsetDateTime,
}

impl Writing {
    pub(crate) fn begin(
        transaction: &WriteTransaction,
        now: OffsetDateTime,
    ) -> Result<Self, StoreError> {
        let head: Place =
            get(&transaction.open_table(META)?, "the head", META_HEAD)?.unwrap_or_default();
        let is_waited_for = head.at - now <= WAITED_FOR;
        let at = if is_waited_for { now.max(head.at) } else { now };
        Ok(Self { head, at })
    }

    pub(crate) const fn at(&self) -> OffsetDateTime {
        self.at
    }

    pub(crate) const fn head(&self) -> Place {
        self.head
    }

    pub(crate) fn append(
        &mut self,
        transaction: &WriteTransaction,
        part: Option<Part>,
        what: What,
    ) -> Result<(), StoreError> {
        let body: Body = (self.at, part, what);
        let body = encode(&body);
        let number = self.head.number + 1;
        let hash = hash(&self.head.hash, number, &body);
        let row = [hash.bytes().as_slice(), &body].concat();
        transaction
            .open_table(JOURNAL)?
            .insert(number, row.as_slice())?;
        self.head = Place {
            number,
            hash,
            at: self.at,
        };
        Ok(())
    }

    pub(crate) fn finish(self, transaction: &WriteTransaction) -> Result<(), StoreError> {
        let head = encode(&self.head);
        transaction
            .open_table(META)?
            .insert(META_HEAD, head.as_slice())?;
        Ok(())
    }
}

pub(crate) fn read(number: u64, row: &[u8]) -> Result<Entry, StoreError> {
    let (hash, body) = split(row).ok_or(StoreError::Damaged {
        what: "the journal",
    })?;
    let (at, part, what): Body = decode("the journal", body)?;
    Ok(Entry {
        number,
        hash,
        at,
        part,
        what,
    })
}

/// When an entry was written.
pub(crate) fn time_of(row: &[u8]) -> Result<OffsetDateTime, StoreError> {
    let (_, body) = split(row).ok_or(DAMAGED)?;
    let (at, _) = postcard::take_from_bytes(body).map_err(|_| DAMAGED)?;
    Ok(at)
}

/// Follows the chain from behind `anchor` to `head`.
pub(crate) fn verify(
    journal: &impl ReadableTable<u64, &'static [u8]>,
    anchor: Place,
    head: Place,
) -> Result<Chain, StoreError> {
    let mut before = (anchor.number, anchor.hash);
    for row in journal.iter()? {
        let (number, row) = row?;
        let expected = before.0 + 1;
        let told = split(row.value()).filter(|(told, body)| {
            number.value() == expected && *told == hash(&before.1, expected, body)
        });
        let Some((told, _)) = told else {
            return Ok(Chain::Broken { number: expected });
        };
        before = (expected, told);
    }
    if before != (head.number, head.hash) {
        return Ok(Chain::Broken {
            number: before.0.min(head.number) + 1,
        });
    }
    Ok(Chain::Whole {
        entries: before.0 - anchor.number,
        head: before.1,
    })
}

fn hash(before: &Digest, number: u64, body: &[u8]) -> Digest {
    Digest::of([before.bytes().as_slice(), &number.to_be_bytes(), body])
}

fn split(row: &[u8]) -> Option<(Digest, &[u8])> {
    let (hash, body) = row.split_at_checked(32)?;
    Some((Digest::from_bytes(hash)?, body))
}
