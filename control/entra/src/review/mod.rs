//! Evidence: who has access to what, who came and who left, and how sign-ins are protected; as of a date.
//!
//! In flow the store's views and its journal, at a [`Moment`]. Out come typed rows ([`access`], [`joiners`],
//! [`leavers`], [`posture`], [`user`]), and exports of them ([`export`]) that are signed and chained
//! ([`exports`]), so that an auditor can tell what was known, when, from where, and that nobody changed it since.
//!
//! What is not known is never written as none: a part that was not read, is not licensed or not permitted is
//! named in the [`Head`], and its cells are `null` in JSON and `unknown` in CSV. Conditional Access is reported,
//! and not evaluated. Nothing here asks the tenant, reads a clock, or changes the store.
//!
//! Rows are handed over one at a time; memory is bounded by the tenant's memberships and by one small entry for each
//! user, of joiners and leavers by what changed in their period.

mod access;
mod changes;
mod documents;
mod exclusions;
pub mod export;
pub mod exports;
mod facts;
mod gaps;
mod legacy;
mod moment;
mod person;
mod posture;
mod roles;
mod row;
mod user;

pub use access::{Access, Via, access};
pub use changes::{Actor, Event, Move, joiners, leavers};
pub use gaps::{Head, Missing, Source, Unread, head, head_between};
pub use moment::Moment;
pub use person::{Mfa, Person, Status};
pub use posture::{Area, Finding, posture};
pub use row::{Cell, Known, Row};
pub use user::{Explained, InGroup, user};

use std::io;

use crate::model::Part;
use crate::store::StoreError;

/// What an export is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Who belongs to what.
    Access,
    /// Who came.
    Joiners,
    /// Who left.
    Leavers,
    /// How sign-ins are protected.
    Posture,
}

impl What {
    /// As it is written in exports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Joiners => "joiners",
            Self::Leavers => "leavers",
            Self::Posture => "posture",
        }
    }
}

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// The store does not give it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A document is not what it should be; left out, it would be missing without anybody noticing.
    #[error(
        "a document of {part:?} is not understood ({why}): have that part read in full again, then repeat the export"
    )]
    Document {
        /// Of which part.
        part: Part,
        /// What the parser says, without what the document holds.
        why: String,
    },
    /// The period ends before it begins.
    #[error("the period ends before it begins: put the earlier date first")]
    Backwards,
    /// The export cannot be written.
    #[error(
        "cannot write the export: {0}; what was written is no evidence, so delete it and look for room on the disk"
    )]
    Write(#[from] io::Error),
}
