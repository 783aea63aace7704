//! Why nothing was done with the tenant, and what to do about it.

use http::StatusCode;
use weir_entra::consent::ConsentError;
use weir_entra::health::Finding;
use weir_entra::model::Part;
use weir_entra::store::StoreError;
use weir_entra::sync::CommandError;

/// Why nothing was done with the tenant. What is known of it stays in force.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// There is none.
    #[error("no tenant is configured")]
    NotConfigured,
    /// Its synchronisation has not begun.
    #[error("the synchronisation with the tenant has not begun: {0}")]
    NotBegun(String),
    /// The engine says no.
    #[error("{0}")]
    Command(CommandError),
    /// It was tried, and did not go.
    #[error("{0}")]
    Refused(Box<Finding>),
    /// What is kept cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No such part.
    #[error("there is no part `{0}` of a tenant")]
    NoPart(String),
    /// Nothing is held that begins so.
    #[error("nothing is held under `{0}`")]
    NotHeld(String),
    /// No address that a browser was sent back to.
    #[error("`{0}` is not where a browser is sent back to after consent")]
    NotCallback(String),
    /// The configuration names no address to send browsers back to.
    #[error("the configuration has no `callback`, so no browser is sent back from consent")]
    NoCallback,
    /// Consent.
    #[error(transparent)]
    Consent(#[from] ConsentError),
}

impl TenantError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotConfigured
            | Self::NotHeld(_)
            | Self::Command(CommandError::Store(StoreError::NotHeld { .. })) => {
                StatusCode::NOT_FOUND
            }
            Self::NotBegun(_)
            | Self::NoCallback
            | Self::Consent(_)
            | Self::Command(CommandError::Disconnected) => StatusCode::CONFLICT,
            Self::NoPart(_) | Self::NotCallback(_) | Self::Command(CommandError::NotRead(_)) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Refused(_) | Self::Command(CommandError::Refused(_)) => StatusCode::BAD_GATEWAY,
            Self::Command(_) | Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    pub(crate) fn help(&self) -> Option<String> {
        Some(match self {
            Self::NotConfigured => "`[entra]` in the configuration names one: its `tenant`, the `application` that \
                                    Weir is there, and a credential; then run `weir reload`"
                .to_owned(),
            Self::NotBegun(_) => {
                "it is tried again by itself; what was last known stays in force, and `weir entra` says more".to_owned()
            }
            Self::Command(CommandError::Disconnected) => {
                "`weir entra connect` begins to collect again".to_owned()
            }
            Self::Command(CommandError::NotRead(part)) => format!(
                "add \"{}\" to `parts` of [entra], and run `weir reload`",
                part.name()
            ),
            Self::NoPart(_) => {
                let names = Part::ALL.map(Part::name);
                format!("parts: {}", names.join(", "))
            }
            Self::NotHeld(_) => {
                "`weir entra` shows what is held now: a newer round may have come in its place, or somebody has \
                 decided already"
                    .to_owned()
            }
            Self::NoCallback => {
                "consent is granted in Entra's own portal as well; then run `weir entra connect`".to_owned()
            }
            Self::NotCallback(_) => {
                "copy all of the address that the browser shows after the consent, with its `?...`".to_owned()
            }
            Self::Consent(_) => "`weir entra connect` gives a new link".to_owned(),
            Self::Command(_) | Self::Refused(_) | Self::Store(_) => return None,
        })
    }
}

impl From<CommandError> for TenantError {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}
