//! Why there is no evidence, and what to do about it.

use std::io;

use http::StatusCode;
use time::OffsetDateTime;
use weir_entra::model::Part;
use weir_entra::review::ReviewError;
use weir_entra::review::exports::ExportsError;
use weir_entra::store::StoreError;

use crate::clock;

/// Why there is no evidence.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvidenceError {
    /// Nothing is known of the tenant.
    #[error("`{}` of the tenant were never read{}", part.name(), why.as_ref().map_or_else(String::new, |why| format!(": {why}")))]
    NeverRead {
        /// What was not.
        part: Part,
        /// Why not, if it was tried.
        why: Option<String>,
    },
    /// Nothing is known of that time.
    #[error("nobody knows who was in the tenant at that time")]
    Before {
        /// From when on it is known.
        since: Option<OffsetDateTime>,
    },
    /// A time that has not come.
    #[error("{} has not come yet", clock::text(*.at))]
    Ahead {
        /// When that is.
        at: OffsetDateTime,
    },
    /// No such user.
    #[error("the directory has no user `{0}`")]
    NoUser(String),
    /// The user was deleted.
    #[error("user `{user}` was deleted{}", .at.map_or_else(String::new, |at| format!(" at {} or before", clock::text(at))))]
    Deleted {
        /// Who was asked for.
        user: String,
        /// When that was seen.
        at: Option<OffsetDateTime>,
    },
    /// More than one user has the name.
    #[error("several users are called `{user}`: {}", ids.join(", "))]
    Several {
        /// Who was asked for.
        user: String,
        /// Their object ids.
        ids: Vec<String>,
    },
    /// No export has this number.
    #[error("there is no export {0}")]
    NoExport(u64),
    /// Whoever asked has gone.
    #[error("whoever asked has gone, so it was not finished")]
    Gone,
    /// The export cannot be made from what is kept.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// It cannot be signed or found again.
    #[error(transparent)]
    Exports(#[from] ExportsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It has no place.
    #[error(
        "an export cannot be put down in the state directory: {0}; it must be one that weir-control may write, with room on the disk"
    )]
    Spool(#[source] io::Error),
}

impl EvidenceError {
    /// The status of an answer that says so.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NoUser(_) | Self::Deleted { .. } | Self::NoExport(_) => StatusCode::NOT_FOUND,
            Self::NeverRead { .. } | Self::Before { .. } | Self::Several { .. } => {
                StatusCode::CONFLICT
            }
            Self::Ahead { .. } | Self::Review(ReviewError::Backwards) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Whether a person asked for what cannot be, and nothing is wrong.
    pub(crate) fn is_a_slip(&self) -> bool {
        self.status().is_client_error()
    }

    /// What to do about it, where the message does not say.
    pub(crate) fn help(&self) -> Option<String> {
        Some(match self {
            Self::NeverRead { .. } => {
                "`weir entra status` shows how it stands, `weir entra sync` reads it now".to_owned()
            }
            Self::Before { since } => match since {
                Some(since) => format!("ask for {} or later", clock::text(*since)),
                None => "it was never read in full: `weir entra status` shows why".to_owned(),
            },
            Self::Ahead { .. } => "ask for a time that has come; today is known up to now".to_owned(),
            Self::NoUser(_) => {
                "ask by user principal name or object id; names of the organisation's own directory \
                 (DOMAIN\\name) are not looked up"
                    .to_owned()
            }
            Self::Deleted { .. } => "`weir review leavers --from DATE` shows who left and when".to_owned(),
            Self::Several { .. } => "ask by one of the object ids".to_owned(),
            Self::NoExport(_) => {
                "the number stands in `Weir-Export` of the answer that held the export".to_owned()
            }
            _ => return None,
        })
    }
}
