//! Pages of Microsoft Graph, from bytes to what they say.
//!
//! Members and values that are not known are left out or kept as text; what matters is strict: ids are GUIDs, a page
//! has an array, and it says in one way how it goes on. A page is taken whole or refused whole.

pub mod audits;
pub mod conditional_access;
pub mod credentials;
pub mod defaults;
pub mod domains;
mod envelope;
mod fields;
pub mod groups;
pub mod locations;
pub mod methods;
mod open;
pub mod organisation;
mod patch;
pub mod registrations;
pub mod roles;
pub mod sign_ins;
pub mod users;

use std::fmt::Write as _;

pub use self::envelope::Deleted;
pub use self::envelope::deleted;

/// Why a page is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Malformed {
    pub(crate) fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl From<&serde_json::Error> for Malformed {
    /// The parser's words without what it quotes from the page.
    fn from(error: &serde_json::Error) -> Self {
        let mut words = String::new();
        for (index, piece) in error.to_string().split('"').enumerate() {
            // What stands between quotation marks is the page's own.
            let shown = if index % 2 == 0 { piece } else { "\"…\"" };
            write!(words, "{shown}").expect("a String takes everything");
        }
        Self(words.chars().take(200).collect())
    }
}
