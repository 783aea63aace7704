//! A client secret.

use std::fmt;

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::{CredentialError, LONGEST};
use crate::model::Id;

/// A client secret of the application.
pub struct Secret {
    value: Zeroizing<String>,
    expires: Option<OffsetDateTime>,
}

impl Secret {
    /// From what a file holds: one line, with or without its end. When it expires is what the operator says.
    pub fn new(bytes: &[u8], expires: Option<OffsetDateTime>) -> Result<Self, CredentialError> {
        if bytes.len() > LONGEST {
            return Err(CredentialError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| CredentialError::NotText)?;
        let text = text.trim();
        if text.is_empty() {
            return Err(CredentialError::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(CredentialError::NotText);
        }
        Ok(Self {
            value: Zeroizing::new(text.to_owned()),
            expires,
        })
    }

    /// Until when it can be used, by what the operator said.
    pub fn expires(&self) -> Option<OffsetDateTime> {
        self.expires
    }

    /// Its first three characters, which Graph shows too: tells which of several it is.
    pub fn hint(&self) -> String {
        self.value.chars().take(3).collect()
    }

    /// Whether it looks like the *id* of a secret, which the portal shows beside the value and which many copy.
    pub fn looks_like_an_id(&self) -> bool {
        self.value.len() == 36 && Id::try_parse(&self.value).is_ok()
    }

    pub(crate) fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
