//! `GET /v1/claims`: what a token told of a user, and which rules asked for it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// What the newest verified token of a user told. Never the token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownClaims {
    /// Generation whose rules are shown.
    pub generation: u64,
    /// Number of the line of the audit log.
    pub seq: u64,
    /// Reference id of the sign-in.
    pub id: String,
    /// When it was received.
    pub time: String,
    /// Service that it was for.
    pub service: Option<String>,
    /// Address that signed in.
    pub source: IpAddr,
    /// Client kind.
    pub client: Option<String>,
    /// Relying party.
    pub relying_party: Option<String>,
    /// What was decided then.
    pub decision: String,
    /// By which rule.
    pub rule: String,
    /// Every claim that was received, is missing, or is asked for by a rule in force.
    pub claims: Vec<ShownClaim>,
    /// Which claims no rule can see, or another doubt, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// How far back was looked.
    pub looked: Looked,
}

/// A claim by its name for rules.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownClaim {
    /// Its name.
    pub name: String,
    /// Claim types of the token that the mapping in force reads for it.
    pub types: Vec<String>,
    /// Its values.
    pub values: Vec<String>,
    /// Whether values may be missing: the issuer left them out, or they contradict each other.
    pub missing: bool,
    /// The rules in force that ask for it, in order.
    pub rules: Vec<RuleSaw>,
}

/// What a rule in force makes of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleSaw {
    /// Full name.
    pub rule: String,
    /// Whether it decides this sign-in.
    pub matched: bool,
    /// Whether it waits for the token, which was not verified when it was asked.
    #[serde(default)]
    pub waits: bool,
    /// Whether it is tried at all, or another one decides before.
    pub tried: bool,
    /// What it makes of the whole request.
    pub why: String,
}

/// How much of the audit log was read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// Number of the oldest line.
    pub oldest: u64,
    /// Its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Whether there are more lines, which were left out: so much is read at most.
    pub cut: bool,
}
