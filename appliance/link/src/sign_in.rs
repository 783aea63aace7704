//! What weir-proxy tells of sign-ins whose token it has verified.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use weir_abi::Class;

/// A sign-in that ended in a verified, fresh and never seen token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// Grows by one with each sign-in that this proxy tells of.
    pub number: u64,
    /// How long ago it was, in milliseconds, when it was told.
    pub ago: u64,
    /// Who signed in.
    pub principal: PrincipalId,
    /// The source that policy judged.
    pub source: IpAddr,
    /// The other end of the connection, as the kernel knows it.
    pub peer: SocketAddr,
    /// Service that was signed in at.
    pub service: String,
    /// Reference id of the request's event.
    pub id: String,
    /// What a rule grants for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grant: Option<GrantAsked>,
}

/// What a rule grants to the source of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantAsked {
    /// The rule, `SET/NAME`.
    pub rule: String,
    /// Class that the source is to have: managed or bypass.
    pub class: Class,
    /// For how long, in seconds.
    pub seconds: u64,
    /// Whether the kernel is to go by it too.
    pub kernel: bool,
}

impl SignIn {
    /// How long ago it was.
    pub const fn was_ago(&self) -> Duration {
        Duration::from_millis(self.ago)
    }
}

impl GrantAsked {
    /// For how long.
    pub const fn lasts(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// A user of a tenant, by the object ids of Entra; written `TENANT/OBJECT`, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PrincipalId {
    tenant: u128,
    object: u128,
}

/// This is no principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a principal is written TENANT/OBJECT, by the ids of Entra, such as \
     `8d3a1c52-0b1e-4c55-9d57-2f6f2b1f6c11/5e0f2d9a-77c4-4a5e-8a43-6a1f0f5b9d20`"
)]
pub struct NoPrincipal;

impl PrincipalId {
    /// The user of a tenant with these object ids, as numbers (RFC 9562 §4: the first digit is the highest).
    pub const fn new(tenant: u128, object: u128) -> Self {
        Self { tenant, object }
    }

    /// The tenant's id.
    pub const fn tenant(self) -> u128 {
        self.tenant
    }

    /// The user's id in it.
    pub const fn object(self) -> u128 {
        self.object
    }
}

impl FromStr for PrincipalId {
    type Err = NoPrincipal;

    fn from_str(text: &str) -> Result<Self, NoPrincipal> {
        let (tenant, object) = text.split_once('/').ok_or(NoPrincipal)?;
        Ok(Self {
            tenant: guid(tenant)?,
            object: guid(object)?,
        })
    }
}

/// Eight, four, four, four and twelve hexadecimal digits (RFC 9562 §4).
fn guid(text: &str) -> Result<u128, NoPrincipal> {
    let bytes = text.as_bytes();
    let dashes = [8, 13, 18, 23];
    if bytes.len() != 36 {
        return Err(NoPrincipal);
    }
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if dashes.contains(&at) {
            if *byte != b'-' {
                return Err(NoPrincipal);
            }
            continue;
        }
        let digit = char::from(*byte).to_digit(16).ok_or(NoPrincipal)?;
        number = number << 4 | u128::from(digit);
    }
    Ok(number)
}

impl fmt::Display for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, end) in [(self.tenant, "/"), (self.object, "")] {
            write!(
                f,
                "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}{end}",
                number >> 96,
                number >> 80 & 0xffff,
                number >> 64 & 0xffff,
                number >> 48 & 0xffff,
                number & 0xffff_ffff_ffff,
            )?;
        }
        Ok(())
    }
}

impl fmt::Debug for PrincipalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for PrincipalId {
    type Error = NoPrincipal;

    fn try_from(text: String) -> Result<Self, NoPrincipal> {
        text.parse()
    }
}

impl From<PrincipalId> for String {
    fn from(id: PrincipalId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_comes_back_in_lower_case() {
        let text = "8D3A1C52-0b1e-4c55-9d57-2f6f2b1f6c11/00000000-0000-0000-0000-00000000000A";
        let id: PrincipalId = text.parse().expect("both ids");
        assert_eq!(id.to_string(), text.to_lowercase());
        assert_eq!((id.tenant() >> 96, id.object()), (0x8d3a_1c52, 10));
        assert_eq!(PrincipalId::new(id.tenant(), id.object()), id);
        let json = serde_json::to_string(&id).expect("a string");
        assert_eq!(json, format!("\"{id}\""));
        assert_eq!(serde_json::from_str::<PrincipalId>(&json).ok(), Some(id));
    }

    #[test]
    fn what_is_none_is_refused() {
        let id = "8d3a1c52-0b1e-4c55-9d57-2f6f2b1f6c11";
        for text in [
            "",
            "/",
            id,
            &format!("{id}/"),
            &format!("{id}/{id}/"),
            &format!("{id}/{}", id.replace('-', "")),
            &format!("{id}/{}", id.replace('8', "g")),
            &format!("{id}/{}", id.replace("8d", "+d")),
            &format!("{id}/ {id}"),
            &format!("{id}/{}", id.replace("8d", "ü")),
        ] {
            assert_eq!(text.parse::<PrincipalId>(), Err(NoPrincipal), "{text}");
        }
    }
}
