//! The policy as an administrator states it, before it is compiled.
//!
//! These types are what the configuration file holds (TOML) and what travels to the proxy (JSON).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ProfileChoice;

/// Policy of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicySpec {
    /// Name of the service.
    pub service: String,
    /// How requests are recognised: a preset's name, such as `adfs`, or a profile of one's own.
    pub profile: ProfileChoice,
    /// Built-in rule set at the end of the list.
    pub rule_set: RuleSetName,
    /// Row "Outlook" of the default policy; each rule set has its own default.
    #[serde(default)]
    pub outlook: Option<OutlookSetting>,
    /// Row "Windows logon" of the default policy.
    #[serde(default)]
    pub windows_logon: WindowsLogonSetting,
    /// How often Windows logon is let through where `windows_logon` lets it through.
    #[serde(default)]
    pub windows_logon_rate: Rate,
    /// Where unmanaged browsers are sent: an absolute https URL with at most one `{query}` slot
    /// ([`crate::Template`]).
    #[serde(default)]
    pub reverse_proxy: Option<String>,
    /// The administrator's rules, in front of the built-in set; first match wins.
    #[serde(default)]
    pub rules: Vec<RuleSpec>,
    /// Rules that are skipped, by full name (`SET/NAME`).
    #[serde(default)]
    pub switched_off: Vec<String>,
    /// Applications by name.
    #[serde(default)]
    pub applications: BTreeMap<String, ApplicationSpec>,
    /// Named locations.
    #[serde(default)]
    pub locations: BTreeMap<String, LocationSpec>,
    /// Names that the service's mapping gives to claims, besides [`crate::BUILT_IN_CLAIMS`].
    #[serde(default)]
    pub claims: Vec<String>,
    /// Whether values of claims are the same whatever their case.
    #[serde(default)]
    pub claims_any_case: bool,
    /// Whether the tokens that sign-ins end with are looked at: only then can rules know what stands in
    /// them.
    #[serde(default)]
    pub decide_at_token: bool,
}

/// The built-in rule sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleSetName {
    /// The table that commercial auth proxies document.
    #[serde(rename = "office365")]
    Office365,
    /// The same, without what anyone can forge.
    #[serde(rename = "office365-strict")]
    Office365Strict,
}

/// What happens to Outlook from unmanaged sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutlookSetting {
    /// A User-Agent is believed (it can be forged).
    Pass,
    /// Only Outlook that Exchange Online relays is believed.
    RelayOnly,
    /// Outlook is a native application like any other.
    Block,
}

/// What happens to Windows logon from unmanaged sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WindowsLogonSetting {
    /// Blocked like any native application.
    #[default]
    Block,
    /// Let through on the named endpoints (it can be forged).
    Pass,
}

/// How often something is let through. Each may be used up at once, and comes back evenly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rate {
    /// Sign-ins of one user at one service in an hour.
    pub user_per_hour: u32,
    /// Sign-ins of all users together at one service in a minute; a quarter of them from one source.
    pub service_per_minute: u32,
}

impl Default for Rate {
    /// Windows renews its token every four hours; AD FS locks an account out, from outside, after some
    /// fifteen wrong passwords in half an hour.
    fn default() -> Self {
        Self {
            user_per_hour: 10,
            service_per_minute: 600,
        }
    }
}

/// A named set of relying parties and host names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationSpec {
    /// WS-Federation realms, SAML entity ids, OAuth client ids.
    #[serde(default)]
    pub relying_parties: Vec<String>,
    /// Host names.
    #[serde(default)]
    pub hosts: Vec<String>,
}

/// Places, by network and by country.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocationSpec {
    /// Addresses and prefixes.
    #[serde(default)]
    pub prefixes: Vec<String>,
    /// Countries: ISO 3166-1 alpha-2.
    #[serde(default)]
    pub countries: Vec<String>,
}

/// A rule of the administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Unique among the administrator's rules.
    pub name: String,
    /// All conditions must hold; an empty table matches everything.
    #[serde(default)]
    pub when: WhenSpec,
    /// What is done.
    pub then: ThenSpec,
}

/// Conditions; each may be one value or several, of which any may match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WhenSpec {
    /// Classes of the effective source; `relay` matches what a relay passes on, besides the class of
    /// whoever stands behind it.
    pub class: Values,
    /// Names of lists that gave the class.
    pub list: Values,
    /// Prefixes that hold the effective source.
    pub source: Values,
    /// Flow kinds.
    pub flow: Values,
    /// Client kinds.
    pub client: Values,
    /// Host names.
    pub host: Values,
    /// Relying parties.
    pub relying_party: Values,
    /// Applications.
    pub application: Values,
    /// Users: `name@domain`, or `@domain` for all of a domain. A user is certain on flow `active` alone,
    /// where the password and the name travel in the same message. A user who is merely stated
    /// (`username`, `login_hint`, a form) is unknown: such a rule restricts everyone on that flow, and
    /// passes nobody.
    pub user: Values,
    /// Services for which the rule is.
    pub service: Values,
    /// Groups, by their Entra id or by name. The token's `groups` tell, and the directory.
    pub group: Values,
    /// Roles, by name or by the id of their template. The token's `roles` tell, and the directory.
    pub role: Values,
    /// Claims of the token by their mapped names; each must have one of its values.
    pub claim: BTreeMap<String, Values>,
    /// What the directory has written of the user, by name ([`crate::UserAttribute`]); each must have one of its
    /// values, whatever their case.
    pub attribute: BTreeMap<String, Values>,
    /// What the token says of the device: `registered`, `managed`, `compliant`, `joined`.
    pub device: Values,
    /// How the user proved who they are: [`crate::Method`].
    pub method: Values,
    /// How long ago at most that was: `30m`, `8h`, `7d`.
    pub authenticated_within: Option<String>,
    /// Country of the effective source: ISO 3166-1 alpha-2.
    pub country: Values,
    /// Named locations of the effective source.
    pub location: Values,
    /// When the request is made.
    pub time: Option<TimeSpec>,
    /// Whether the sign-in server says that the client is inside the corporate network.
    pub inside_network: Option<bool>,
    /// Matches when the conditions inside do not.
    pub not: Option<Box<WhenSpec>>,
}

/// Days and hours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeSpec {
    /// `mon` to `sun`; every day when absent. Hours past midnight belong to the day before.
    pub days: Values,
    /// `HH:MM`; from the beginning of the day when absent.
    pub from: Option<String>,
    /// `HH:MM`, which is not part of it; to the end of the day when absent. Earlier than `from` means
    /// past midnight.
    pub to: Option<String>,
    /// Time zone of the IANA database, such as `Europe/Berlin`; UTC when absent.
    pub zone: Option<String>,
}

/// One value or several.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Values {
    /// The condition is absent.
    #[default]
    Absent,
    /// `class = "managed"`
    One(String),
    /// `class = ["managed", "bypass"]`
    Many(Vec<String>),
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThenSpec {
    /// pass, redirect, block or step-up.
    pub decision: String,
    /// Words for the person who is blocked and for the audit log.
    #[serde(default)]
    pub reason: Option<String>,
    /// Another redirect target than the service's `reverse_proxy`.
    #[serde(default)]
    pub target: Option<String>,
    /// How long ago at most the multi-factor authentication of a step-up may be: `1h`.
    #[serde(default)]
    pub within: Option<String>,
    /// Class that the source address gets for a while when this rule passes a sign-in. Not, where nobody can say
    /// whether a rule in front of it holds that passes and grants less.
    #[serde(default)]
    pub grant: Option<GrantSpec>,
}

/// A class for a while, earned by a sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantSpec {
    /// managed or bypass.
    pub class: String,
    /// How long, an hour at most: `30m`.
    #[serde(rename = "for")]
    pub lasts: String,
    /// Whether the kernel acts on it too, and not the proxy alone.
    #[serde(default)]
    pub kernel: bool,
}
