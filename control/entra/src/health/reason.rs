//! The reasons, what they mean for the whole, and the next step for each.

use std::fmt;

use serde::Serialize;

use super::State;
use crate::credential::Registration;

/// Why something is not as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// An administrator has not consented, or not to all.
    ConsentMissing,
    /// An administrator was asked, and said no.
    ConsentDeclined,
    /// The registration asks for the wrong things.
    AppMisconfigured,
    /// The tenant has no subscription for what is asked.
    ServiceAbsent,
    /// The tenant does not know the application.
    AppNotFound,
    /// The application was switched off.
    AppDisabled,
    /// The certificate is not one of the application's.
    CertificateNotRegistered,
    /// The secret is not one of the application's.
    SecretWrong,
    /// The secret has expired.
    SecretExpired,
    /// Entra refuses the credential, and does not say why.
    CredentialRefused,
    /// The credential cannot be used here.
    CredentialUnusable,
    /// The credential ends soon, or has ended.
    CredentialEnds,
    /// The credential should be replaced.
    CredentialOld,
    /// The machine has no such identity.
    NoManagedIdentity,
    /// There is no such tenant.
    TenantNotFound,
    /// The tenant lives in another cloud.
    WrongCloud,
    /// The sign-in ended in another tenant.
    OtherTenant,
    /// Clocks differ.
    ClockWrong,
    /// A policy of the tenant blocks the application.
    Blocked,
    /// Something was refused that only a person's sign-in meets.
    Delegated,
    /// Entra sees the same request too often.
    Loop,
    /// The question or the configuration is wrong.
    Fault,
    /// Graph does not take the token.
    TokenRefused,
    /// The application may do more than Weir needs.
    TooMuch,
    /// The tenant has no licence.
    NotLicensed,
    /// The cloud does not have it.
    NotOffered,
    /// A change in Entra is not known everywhere yet.
    Spreading,
    /// A link was gone; all is read again.
    ReadAgain,
    /// Graph wants to be asked less.
    Throttled,
    /// Microsoft is out of order.
    Unavailable,
    /// A name cannot be resolved.
    NameUnknown,
    /// There is no connection.
    Unreachable,
    /// The certificate of the other side cannot be trusted.
    NotTrusted,
    /// The proxy refuses.
    ProxyRefuses,
    /// Something else answers.
    NotMicrosoft,
    /// An answer cannot be used.
    Malformed,
    /// A link leads elsewhere.
    ForeignLink,
    /// What is known is old.
    Stale,
    /// A change waits.
    Held,
    /// Stopped on purpose.
    Disconnected,
}

/// What the numbers of Entra mean (`AADSTS…`).
const CODES: &[(u32, Reason)] = &[
    (65001, Reason::ConsentMissing),
    (90094, Reason::ConsentMissing),
    (65004, Reason::ConsentDeclined),
    (65005, Reason::AppMisconfigured),
    (650_056, Reason::AppMisconfigured),
    (650_057, Reason::AppMisconfigured),
    (700_025, Reason::AppMisconfigured),
    (50011, Reason::AppMisconfigured),
    (650_052, Reason::ServiceAbsent),
    (700_011, Reason::AppNotFound),
    (700_016, Reason::AppNotFound),
    (7_000_112, Reason::AppDisabled),
    (700_027, Reason::CertificateNotRegistered),
    (700_030, Reason::CertificateNotRegistered),
    (7_000_215, Reason::SecretWrong),
    (7_000_222, Reason::SecretExpired),
    (90002, Reason::TenantNotFound),
    (900_023, Reason::TenantNotFound),
    (90038, Reason::WrongCloud),
    (900_382, Reason::WrongCloud),
    (900_432, Reason::WrongCloud),
    (700_024, Reason::ClockWrong),
    (50013, Reason::ClockWrong),
    (500_133, Reason::ClockWrong),
    (53003, Reason::Blocked),
    (530_035, Reason::Blocked),
    (50057, Reason::Delegated),
    (50074, Reason::Delegated),
    (50076, Reason::Delegated),
    (50079, Reason::Delegated),
    (50105, Reason::Delegated),
    (50173, Reason::Delegated),
    (54005, Reason::Delegated),
    (501_481, Reason::Delegated),
    (70008, Reason::Delegated),
    (70043, Reason::Delegated),
    (700_082, Reason::Delegated),
    (50196, Reason::Loop),
    (70011, Reason::Fault),
    (700_022, Reason::Fault),
    (700_023, Reason::Fault),
    (7_000_216, Reason::Fault),
    (7_000_218, Reason::Fault),
    (90023, Reason::Fault),
    (9_001_023, Reason::Fault),
    (90055, Reason::Throttled),
    (90006, Reason::Unavailable),
    (90024, Reason::Unavailable),
    (90033, Reason::Unavailable),
];

impl Reason {
    /// What a number of Entra means.
    pub(super) fn of_code(code: u32) -> Option<Self> {
        let known = CODES.iter().find(|(known, _)| *known == code);
        known.map(|(_, reason)| *reason)
    }

    /// How bad it is, as far as the reason alone tells.
    pub(super) fn state(self) -> State {
        match self {
            Self::CredentialOld
            | Self::TooMuch
            | Self::NotLicensed
            | Self::NotOffered
            | Self::Spreading
            | Self::ReadAgain
            | Self::Throttled
            | Self::Unavailable
            | Self::NameUnknown
            | Self::Unreachable
            | Self::Malformed
            | Self::Loop => State::Degraded,
            Self::Stale => State::Stale,
            Self::Held => State::Held,
            Self::Disconnected => State::Disconnected,
            _ => State::NeedsAttention,
        }
    }

    /// What an administrator grants.
    pub(super) fn grant(registration: &Registration, permissions: &str) -> String {
        format!(
            "Have an administrator grant admin consent to application {} in the tenant, as application permissions, \
             for: {permissions}. A new consent takes up to two minutes.",
            registration.client
        )
    }

    /// What to do next.
    #[expect(clippy::too_many_lines, reason = "one sentence for each reason")]
    pub(super) fn step(self, registration: &Registration) -> String {
        let Registration {
            cloud,
            tenant,
            client,
            credential,
        } = registration;
        let login = cloud.login_host();
        let graph = cloud.graph_host();
        let cloud = cloud.name();
        let kind = credential.kind();
        match self {
            Self::ConsentMissing => format!(
                "Have an administrator grant admin consent to application {client}, by the consent link or in the \
                 portal; a new consent takes up to two minutes."
            ),
            Self::ConsentDeclined => {
                "Ask the administrator who declined, then send a new consent link.".to_owned()
            }
            Self::AppMisconfigured => format!(
                "Compare the registration of application {client} with what Weir needs: application permissions of \
                 Microsoft Graph, no public client, the redirect address to the letter."
            ),
            Self::ServiceAbsent => format!(
                "Tenant {tenant} has no subscription for what was asked; check that it is the right tenant."
            ),
            Self::AppNotFound => format!(
                "Check that {client} is the application (client) ID, that {tenant} is its tenant, that the cloud is \
                 `{cloud}`, and that an administrator of the tenant has consented."
            ),
            Self::AppDisabled => format!(
                "Enable the enterprise application {client} in Entra: someone has set \"Enabled for users to sign \
                 in\" to No, or Microsoft has disabled it."
            ),
            Self::CertificateNotRegistered => format!(
                "Upload the certificate to application {client} under \"Certificates & secrets\", or name the key \
                 and certificate that are registered there."
            ),
            Self::SecretWrong => "Copy the secret's value, not its ID, into the secret's file; the value is shown \
                                  only once, so make a new secret if it is lost. A new one takes up to two minutes."
                .to_owned(),
            Self::SecretExpired => format!(
                "Make a new client secret for application {client}, or better register a certificate, and put it \
                 into place."
            ),
            Self::CredentialRefused => format!(
                "Check that the {kind} is one of those of application {client}, and that it has not expired."
            ),
            Self::CredentialUnusable => format!("Put a {kind} into place that can be used."),
            Self::CredentialEnds => format!(
                "Register a new {kind} with application {client} beside the old one, put it into place, and remove \
                 the old one a day later."
            ),
            Self::CredentialOld => format!(
                "Replace the {kind} of application {client}: it should not be used for longer than a quarter."
            ),
            Self::NoManagedIdentity => "Assign a managed identity to this machine in Azure, and name it as it is \
                                        assigned, or use a certificate instead."
                .to_owned(),
            Self::TenantNotFound => format!(
                "Check that {tenant} is the tenant's ID. When it is, the tenant lives in another cloud than \
                 `{cloud}`: set `cloud`."
            ),
            Self::WrongCloud => format!(
                "Set `cloud` to the one that the tenant lives in: it is not `{cloud}`, and an application must be \
                 registered in the tenant's own."
            ),
            Self::OtherTenant => format!(
                "Compare the tenant ID in the configuration, {tenant}, with the one that application {client} is \
                 registered in."
            ),
            Self::ClockWrong => {
                "Set this machine's clock by NTP: assertions are good for minutes, and Entra refuses those of \
                 another time."
                    .to_owned()
            }
            Self::Blocked => format!(
                "A Conditional Access policy for workload identities, or security defaults, blocks application \
                 {client} from here: add this site's egress addresses to a trusted location, or exempt the \
                 application."
            ),
            Self::Delegated => format!(
                "Weir signs in as itself, and this is about a person's sign-in: check that {client} is registered \
                 with application permissions, then connect again."
            ),
            Self::Loop => {
                "Nothing is to be done at once: Entra saw the same request too often. When it stays, report it as a \
                 fault."
                    .to_owned()
            }
            Self::Fault => format!(
                "Check tenant, application and cloud in the configuration ({tenant}, {client}, `{cloud}`). When \
                 they are right, this is a fault of Weir: report it, with the code and the request ID."
            ),
            Self::TokenRefused => format!(
                "Graph at {graph} does not take the token, not even a new one: check the cloud (`{cloud}`) and \
                 whether the sessions of application {client} were revoked."
            ),
            Self::TooMuch => format!(
                "Remove from application {client} every permission that writes: Weir only reads."
            ),
            Self::NotLicensed => {
                "Nothing, or buy the licence (Entra ID P1 or P2): the part is left out.".to_owned()
            }
            Self::NotOffered => {
                format!("Nothing: the cloud `{cloud}` does not have it, and the part is left out.")
            }
            Self::Spreading => {
                "Wait some minutes: a change in Entra is not known to all of its servers yet.".to_owned()
            }
            Self::ReadAgain => "Nothing: all of it is read anew by itself.".to_owned(),
            Self::Throttled => format!(
                "Nothing at once: Weir asks less. When it stays, see which other applications ask {graph} for \
                 this tenant."
            ),
            Self::Unavailable => {
                "Nothing at once: it is tried again. When it stays, look at Microsoft's service health."
                    .to_owned()
            }
            Self::NameUnknown => {
                format!("Check that this machine's resolver knows {login} and {graph}, or set a proxy.")
            }
            Self::Unreachable => format!(
                "Let this machine reach {login} and {graph} on port 443, past firewalls and past Weir's own lists, \
                 or set a proxy."
            ),
            Self::NotTrusted => format!(
                "A box on the way opens the TLS connections to {login} and {graph}: exempt this machine, or add \
                 that box's authority to the configuration."
            ),
            Self::ProxyRefuses => format!(
                "Let the proxy make tunnels (CONNECT) to {login} and {graph} on port 443, and check its user and \
                 password."
            ),
            Self::NotMicrosoft => format!(
                "Something on the way answers in place of {login} or {graph}: exempt this machine from filtering \
                 and captive portals."
            ),
            Self::Malformed => {
                "Nothing at once: it is asked again, and what is known stays. When it stays, look for a box on the \
                 way that changes answers."
                    .to_owned()
            }
            Self::ForeignLink => format!(
                "A link led away from {graph} and was not followed. Look for a box on the way that changes answers, \
                 and for changes to Weir's state; a full reading starts without the link."
            ),
            Self::Stale => {
                "See the other findings for why it could not be read; what is known stays in force until then."
                    .to_owned()
            }
            Self::Held => {
                "Look at what would change (`weir entra`); approve it when it is meant, or find out who removed so \
                 much."
                    .to_owned()
            }
            Self::Disconnected => format!(
                "Connect again when it is wanted. Application {client} and its consent are still in Entra, and are \
                 removed there."
            ),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConsentMissing => "consent is missing",
            Self::ConsentDeclined => "consent was declined",
            Self::AppMisconfigured => "the application is registered wrongly",
            Self::ServiceAbsent => "the tenant has no such service",
            Self::AppNotFound => "the application is not known",
            Self::AppDisabled => "the application is disabled",
            Self::CertificateNotRegistered => "the certificate is not registered",
            Self::SecretWrong => "the secret is wrong",
            Self::SecretExpired => "the secret has expired",
            Self::CredentialRefused => "the credential is refused",
            Self::CredentialUnusable => "the credential cannot be used",
            Self::CredentialEnds => "the credential ends",
            Self::CredentialOld => "the credential is old",
            Self::NoManagedIdentity => "there is no such managed identity",
            Self::TenantNotFound => "the tenant is not known",
            Self::WrongCloud => "the tenant is in another cloud",
            Self::OtherTenant => "this is another tenant",
            Self::ClockWrong => "clocks differ",
            Self::Blocked => "a policy of the tenant blocks it",
            Self::Delegated => "a person's sign-in is asked for",
            Self::Loop => "it was asked too often",
            Self::Fault => "it is not understood",
            Self::TokenRefused => "the token is refused",
            Self::TooMuch => "there are more permissions than needed",
            Self::NotLicensed => "there is no licence",
            Self::NotOffered => "the cloud does not have it",
            Self::Spreading => "a change still spreads",
            Self::ReadAgain => "it is read anew",
            Self::Throttled => "it is throttled",
            Self::Unavailable => "Microsoft is out of order",
            Self::NameUnknown => "a name cannot be resolved",
            Self::Unreachable => "there is no connection",
            Self::NotTrusted => "TLS cannot be trusted",
            Self::ProxyRefuses => "the proxy refuses",
            Self::NotMicrosoft => "something else answers",
            Self::Malformed => "an answer cannot be used",
            Self::ForeignLink => "a link leads elsewhere",
            Self::Stale => "what is known is old",
            Self::Held => "a change is held",
            Self::Disconnected => "it is disconnected",
        })
    }
}
