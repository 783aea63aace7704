//! Security defaults: Microsoft's own minimum, for tenants without Conditional Access.

use serde::{Deserialize, Serialize};

use super::{Malformed, envelope};

/// Whether they are on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityDefaults {
    /// Whether they are on.
    pub is_enabled: bool,
}

/// Security defaults.
pub fn decode(body: &[u8]) -> Result<SecurityDefaults, Malformed> {
    envelope::read(body)
}
