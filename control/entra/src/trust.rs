//! Whom the tenant lets sign its users in, held against the services that this appliance fronts. Pure.
//!
//! In: the tenant's domains with their federation settings, as they are kept, and for each service its hosts and the
//! keys that it publishes. Out: what does not fit, in words, with the next step of a person ([`check`]); and which
//! certificates the tenant has for a service ([`vouched`]).
//!
//! The tenant's settings are a second witness: a domain that points elsewhere is one whose sign-ins nobody here sees,
//! and a certificate there that no server publishes lets its owner sign in as anybody. What is not known, because no
//! keys were read or no settings may be, is not judged.

mod certificates;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;
use url::Url;
use weir_claims::{Certificate, Keys};

use crate::decode::Malformed;
use crate::decode::domains::{Domain, Federation, MfaBehavior};
use crate::health::State;

/// How a domain says that another server signs its users in.
const FEDERATED: &str = "Federated";

/// A domain, and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The domain.
    pub domain: Domain,
    /// Its settings, where it is federated and they may be read.
    pub federation: Option<Federation>,
}

/// A service that this appliance fronts.
#[derive(Clone, Copy, Debug)]
pub struct Fronted<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its host names, in lower case.
    pub hosts: &'a [String],
    /// What it publishes; nothing where nobody looks at its tokens, or none was read yet.
    pub keys: Option<&'a Keys>,
}

/// Something to know about domains of the tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// How bad it is.
    pub state: State,
    /// What it is about.
    pub about: About,
    /// The domains that it is true of, in order.
    pub domains: Vec<String>,
    /// What is so.
    pub words: String,
    /// What to do next.
    pub step: &'static str,
}

/// What a remark is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum About {
    /// No domain is federated.
    NothingFederated,
    /// The domain is not federated.
    Managed,
    /// Its settings are not known.
    SettingsUnread,
    /// Its users are signed in past this appliance.
    SignsInElsewhere,
    /// The tenant expects another issuer.
    OtherIssuer,
    /// The tenant's certificate cannot be used.
    CertificateUnreadable,
    /// It has expired, or does so soon.
    CertificateEnds,
    /// The service publishes none that the tenant has.
    CertificateUnknown,
    /// The tenant has one that the service does not publish.
    CertificateStrange,
    /// The service publishes one that the tenant does not have.
    CertificateUntold,
    /// The tenant did not manage to renew it by itself.
    RenewalFailed,
    /// What becomes of a second factor that the service asked for.
    SecondFactor,
}

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NothingFederated => "no domain is federated",
            Self::Managed => "the domain is not federated",
            Self::SettingsUnread => "federation settings are not known",
            Self::SignsInElsewhere => "sign-ins do not pass this Weir",
            Self::OtherIssuer => "the tenant expects another issuer",
            Self::CertificateUnreadable => "the tenant's certificate cannot be used",
            Self::CertificateEnds => "the tenant's certificate ends",
            Self::CertificateUnknown => "the tenant trusts none of the service's certificates",
            Self::CertificateStrange => "the tenant trusts a certificate that is not the service's",
            Self::CertificateUntold => "the tenant does not know a certificate of the service",
            Self::RenewalFailed => "the tenant could not renew its certificate",
            Self::SecondFactor => "a second factor is asked for elsewhere",
        })
    }
}

/// The domains of the kept documents: `domain:NAME` and `federation:NAME`.
pub fn read<'d>(
    documents: impl IntoIterator<Item = (&'d str, &'d [u8])>,
) -> Result<Vec<Known>, Malformed> {
    let (mut domains, mut federations) = (Vec::new(), BTreeMap::new());
    let malformed = |error: serde_json::Error| Malformed::from(&error);
    for (name, bytes) in documents {
        if let Some(domain) = name.strip_prefix("federation:") {
            let read: Federation = serde_json::from_slice(bytes).map_err(malformed)?;
            federations.insert(domain, read);
        } else if name.starts_with("domain:") {
            domains.push(serde_json::from_slice::<Domain>(bytes).map_err(malformed)?);
        }
    }
    let known = domains.into_iter().map(|domain| Known {
        federation: federations.remove(domain.id.as_str()),
        domain,
    });
    Ok(known.collect())
}

/// What does not fit, the worst first; of domains that say the same, once.
/// Nothing is said of those that are meant to be `elsewhere`.
pub fn check(
    domains: &[Known],
    services: &[Fronted<'_>],
    elsewhere: &BTreeSet<String>,
    now: OffsetDateTime,
) -> Vec<Remark> {
    let mut found = Found::default();
    let verified = domains.iter().filter(|known| known.domain.is_verified);
    let verified: Vec<_> = verified.collect();
    let is_federated = |known: &&Known| known.domain.authentication_type == FEDERATED;
    if !verified.is_empty() && !verified.iter().any(is_federated) {
        found.of_none(
            State::NeedsAttention,
            About::NothingFederated,
            "no domain of the tenant has its users signed in by a server of the organisation, so nobody's sign-in \
             passes this Weir",
            "Federate the domains of the users with the service that Weir fronts, or take Weir out of the way.",
        );
        return found.remarks();
    }
    for known in verified {
        let name = known.domain.id.as_str();
        if elsewhere.contains(&name.to_lowercase()) {
            continue;
        }
        if !is_federated(&known) {
            if !known.domain.is_initial {
                found.managed(name);
            }
        } else if let Some(federation) = &known.federation {
            found.federated(name, federation, services, now);
        } else if !is_under_another(name, domains) {
            found.unread(name);
        }
    }
    found.remarks()
}

/// The certificates by which the tenant believes the service with these hosts: of all domains whose users sign in
/// there.
pub fn vouched(domains: &[Known], hosts: &[String]) -> Vec<Certificate> {
    let federations = domains
        .iter()
        .filter(|known| known.domain.is_verified)
        .filter_map(|known| known.federation.as_ref());
    let here = federations.filter(|federation| {
        let mut signs_in = [
            &federation.passive_sign_in_uri,
            &federation.active_sign_in_uri,
        ]
        .into_iter()
        .flatten()
        .peekable();
        signs_in.peek().is_some() && signs_in.all(|uri| is_at(hosts, uri))
    });
    let mut certificates: Vec<_> = here
        .flat_map(|federation| {
            let both = [
                &federation.signing_certificate,
                &federation.next_signing_certificate,
            ];
            both.into_iter().flatten()
        })
        .filter_map(|text| Certificate::from_base64(text).ok())
        .collect();
    certificates.sort();
    certificates.dedup();
    certificates
}

/// A subdomain is federated as the domain above it is, and has no settings of its own.
fn is_under_another(name: &str, domains: &[Known]) -> bool {
    domains.iter().any(|other| {
        let above = name.strip_suffix(other.domain.id.as_str());
        other.federation.is_some() && above.is_some_and(|rest| rest.ends_with('.'))
    })
}

fn is_at(hosts: &[String], uri: &str) -> bool {
    host(uri).is_some_and(|host| hosts.contains(&host))
}

/// The host of an address that is asked over TLS.
fn host(uri: &str) -> Option<String> {
    let url = Url::parse(uri).ok().filter(|url| url.scheme() == "https")?;
    Some(url.host_str()?.to_ascii_lowercase())
}

/// What was found, with the domains that it is true of.
#[derive(Default)]
struct Found(BTreeMap<Said, BTreeSet<String>>);

/// All of a remark but its domains.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    state: std::cmp::Reverse<State>,
    about: About,
    words: String,
    step: &'static str,
}

impl Found {
    fn of_none(&mut self, state: State, about: About, words: &str, step: &'static str) {
        let said = Said {
            state: std::cmp::Reverse(state),
            about,
            words: words.to_owned(),
            step,
        };
        self.0.entry(said).or_default();
    }

    fn say(
        &mut self,
        domain: &str,
        (state, about): (State, About),
        words: impl Into<String>,
        step: &'static str,
    ) {
        let said = Said {
            state: std::cmp::Reverse(state),
            about,
            words: words.into(),
            step,
        };
        self.0.entry(said).or_default().insert(domain.to_owned());
    }

    fn remarks(self) -> Vec<Remark> {
        let remarks = self.0.into_iter().map(|(said, domains)| Remark {
            state: said.state.0,
            about: said.about,
            domains: domains.into_iter().collect(),
            words: said.words,
            step: said.step,
        });
        remarks.collect()
    }

    fn managed(&mut self, domain: &str) {
        self.say(
            domain,
            (State::Healthy, About::Managed),
            "Entra itself signs its users in, so these sign-ins do not pass this Weir",
            "Nothing, if that is meant: Conditional Access decides about them.",
        );
    }

    fn unread(&mut self, domain: &str) {
        self.say(
            domain,
            (State::Degraded, About::SettingsUnread),
            "it is federated, and nobody here knows with whom",
            "Consent to Domain-InternalFederation.Read.All; `weir entra connect` has the link.",
        );
    }

    fn federated(
        &mut self,
        domain: &str,
        federation: &Federation,
        services: &[Fronted<'_>],
        now: OffsetDateTime,
    ) {
        let here = self.places(domain, federation, services);
        let keys: Vec<_> = here.iter().filter_map(|service| service.keys).collect();
        if !here.is_empty() {
            self.issuer(domain, federation, &keys);
        }
        certificates::check(self, domain, federation, &keys, now);
        self.renewal(domain, federation);
        self.second_factor(domain, federation);
    }

    /// Where its users are sent, and at which services that is.
    fn places<'s, 'a>(
        &mut self,
        domain: &str,
        federation: &Federation,
        services: &'s [Fronted<'a>],
    ) -> Vec<&'s Fronted<'a>> {
        let mut here: Vec<&Fronted<'_>> = Vec::new();
        for (uri, who) in [
            (&federation.passive_sign_in_uri, "browsers are sent to"),
            (
                &federation.active_sign_in_uri,
                "applications ask for tokens at",
            ),
            (
                &federation.metadata_exchange_uri,
                "applications look for the server at",
            ),
        ] {
            let Some(uri) = uri.as_deref().filter(|uri| !uri.trim().is_empty()) else {
                continue;
            };
            let at: Vec<_> = services
                .iter()
                .filter(|one| is_at(one.hosts, uri))
                .collect();
            if at.is_empty() {
                let shown = host(uri).unwrap_or_else(|| format!("{uri:.100?}"));
                self.say(
                    domain,
                    (State::NeedsAttention, About::SignsInElsewhere),
                    format!("{who} {shown}, which is no host of a service here"),
                    "If that is meant, add the host to its service, or the domain to `elsewhere` in `[entra]`. If it is \
                     not, put the federation settings right, and look in the tenant's audit log for who changed them.",
                );
            }
            for service in at {
                if !here.iter().any(|known| known.name == service.name) {
                    here.push(service);
                }
            }
        }
        here
    }

    /// By which name the tenant knows the server. With several domains, AD FS names itself after the user's.
    fn issuer(&mut self, domain: &str, federation: &Federation, keys: &[&Keys]) {
        let Some(issuer) = &federation.issuer_uri else {
            return;
        };
        let mut published = keys.iter().flat_map(|keys| &keys.issuers).peekable();
        if published.peek().is_none() || published.any(|name| name == issuer) {
            return;
        }
        let of_domain = Url::parse(issuer).ok().is_some_and(|url| {
            let host = url.host_str().map(str::to_ascii_lowercase);
            host.is_some_and(|host| {
                host == domain
                    || domain
                        .strip_suffix(host.as_str())
                        .is_some_and(|rest| rest.ends_with('.'))
            })
        });
        if !of_domain {
            self.say(
                domain,
                (State::NeedsAttention, About::OtherIssuer),
                format!("it takes tokens of the issuer {issuer:.200?}, and the service calls itself otherwise"),
                "Compare the issuer in the federation settings with the sign-in server's own (AD FS: \
                 `Get-AdfsProperties`); if nobody knows the one in the settings, somebody else may sign users in.",
            );
        }
    }

    fn renewal(&mut self, domain: &str, federation: &Federation) {
        let update = federation.signing_certificate_update_status.as_ref();
        let result = update.and_then(|update| update.certificate_update_result.as_deref());
        if let Some(result) = result.filter(|result| !result.eq_ignore_ascii_case("success")) {
            self.say(
                domain,
                (State::Degraded, About::RenewalFailed),
                format!("its last try to read the server's certificates ended with {result:.100?}"),
                "See that the server's federation metadata can be read from the Internet, or update the federation \
                 settings by hand before the next certificate is used.",
            );
        }
    }

    fn second_factor(&mut self, domain: &str, federation: &Federation) {
        let (words, step) = match &federation.federated_idp_mfa_behavior {
            Some(MfaBehavior::Reject) => (
                "Entra asks for a second factor by itself, whatever the server did: a step-up here is asked for twice",
                "Leave second factors to Conditional Access, or set federatedIdpMfaBehavior to \
                 acceptIfMfaDoneByFederatedIdp.",
            ),
            None => (
                "nothing says what becomes of a second factor that the server asked for",
                "Set federatedIdpMfaBehavior, so that a step-up here counts.",
            ),
            Some(_) => return,
        };
        let about = (State::Healthy, About::SecondFactor);
        self.say(domain, about, words, step);
    }
}
