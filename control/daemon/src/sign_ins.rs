//! Sign-ins of the tenant's log, each with what Weir had to do with it.
//!
//! What the kernel forwards is never decrypted, so nobody here sees whose sign-in it was. The tenant's own log tells
//! afterwards: who, from which address, with what result. By the lists in force the address has a class; by the
//! domain's federation settings the sign-in went to a service; and if the audit log has a decision of that address or
//! user at that time, Weir decided. Nothing here decides anything: clocks differ, users share addresses, and lists
//! are those of now.

mod decisions;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use time::{OffsetDateTime, UtcOffset};
use tokio::sync::Semaphore;
use url::Url;
use weir_abi::{Class, Verdict};
use weir_api::sign_ins::{Seen, SignInShown, SignIns};
use weir_entra::decode::domains::{Domain, Federation};
use weir_entra::decode::sign_ins::SignIn;
use weir_entra::model::Part;
use weir_entra::review::ReviewError;
use weir_entra::store::{Store, StoreError};

use crate::brain::{Brain, blocking};
use crate::evidence::{EvidenceError, Stated, is_read};
use crate::generation::Generation;
use crate::{Error, clock};
use decisions::Decisions;

/// Sign-ins that are shown when nobody says how many, and at most.
const DEFAULT_LIMIT: usize = 100;
const MOST: usize = 1000;

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// At this time or later.
    pub from: Option<Stated>,
    /// Not later than this.
    pub to: Option<Stated>,
    /// Of this user, by name or object id, ignoring case; `@domain` for all of a domain.
    pub user: Option<String>,
    /// From an address in it.
    pub source: Option<IpNet>,
    /// At most so many, the newest.
    pub limit: Option<usize>,
}

impl Brain {
    /// Sign-ins of the tenant's log; `readers` has the places of those who read files of the audit log.
    pub async fn sign_ins(
        &self,
        wanted: Wanted,
        readers: &Arc<Semaphore>,
    ) -> Result<SignIns, Error> {
        let tenant = self.known_tenant().await?;
        let log = blocking(move || Ok(Log::read(&tenant.store, &wanted)?)).await?;
        let found = Decisions::read(self.audit(), readers, &log.sign_ins).await;
        let decisions =
            found.map_err(|error| Error::file("read the audit log", self.audit().path())(error))?;
        let running = self.running();
        let sign_ins = log.sign_ins.iter();
        let sign_ins =
            sign_ins.map(|sign_in| shown(&running, log.domains.as_ref(), &decisions, sign_in));
        Ok(SignIns {
            generation: running.number,
            read: log.read.map(clock::text),
            sign_ins: sign_ins.collect(),
            more: log.more,
            looked: decisions.looked.clone(),
        })
    }
}

/// What of the tenant's log is wanted.
struct Log {
    read: Option<OffsetDateTime>,
    /// The newest first.
    sign_ins: Vec<SignIn>,
    more: bool,
    /// Unknown where domains were never read.
    domains: Option<HashMap<String, By>>,
}

/// Who signs the users of a domain in.
enum By {
    /// Entra itself.
    Entra,
    /// Another server, with its host name, if that is known.
    Server(Option<String>),
}

impl Log {
    fn read(store: &Store, wanted: &Wanted) -> Result<Self, EvidenceError> {
        is_read(store, Part::SignIns)?;
        let now = OffsetDateTime::now_utc();
        let from = wanted
            .from
            .map_or(i64::MIN, |from| from.begin().unix_timestamp());
        let to = wanted
            .to
            .map_or(i64::MAX, |to| to.end(now).unix_timestamp());
        if to < from {
            return Err(ReviewError::Backwards.into());
        }
        let limit = wanted.limit.unwrap_or(DEFAULT_LIMIT).min(MOST);
        let (mut newest, mut more) = (BTreeMap::new(), false);
        let view = store.read()?;
        view.each_document(Part::SignIns, |name, bytes| {
            // Names begin with the time, in seconds.
            let seconds = name.split(' ').next().and_then(|text| text.parse().ok());
            if seconds.is_some_and(|at: i64| at < from || at > to) {
                return Ok(());
            }
            // What this version cannot read was written by another one, and is told by nobody.
            let Ok(mut sign_in) = serde_json::from_slice::<SignIn>(&bytes) else {
                return Ok(());
            };
            let Some(at) = sign_in.created_date_time.checked_to_offset(UtcOffset::UTC) else {
                return Ok(());
            };
            sign_in.created_date_time = at;
            if wanted.takes(&sign_in) {
                newest.insert(name.to_owned(), sign_in);
            }
            if newest.len() > limit {
                newest.pop_first();
                more = true;
            }
            Ok::<_, StoreError>(())
        })?;
        let states = store.parts()?;
        let is_known = states
            .get(&Part::Domains)
            .is_some_and(|it| it.since.is_some());
        let documents = view.documents(Part::Domains)?;
        let last = states.get(&Part::SignIns).and_then(|it| it.last_success);
        Ok(Self {
            read: last,
            sign_ins: newest.into_values().rev().collect(),
            more,
            domains: is_known.then(|| domains(&documents)),
        })
    }
}

impl Wanted {
    fn takes(&self, sign_in: &SignIn) -> bool {
        let upn = sign_in.user_principal_name.as_deref().unwrap_or_default();
        let is_user = |wanted: &String| {
            let (upn, wanted) = (upn.to_lowercase(), wanted.to_lowercase());
            upn == wanted
                || sign_in.user_id.eq_ignore_ascii_case(&wanted)
                || wanted.starts_with('@') && upn.ends_with(&wanted)
        };
        let is_from = |net: &IpNet| source(sign_in).is_some_and(|from| net.contains(&from));
        self.user.as_ref().is_none_or(is_user) && self.source.as_ref().is_none_or(is_from)
    }
}

/// From where, as Entra saw it.
fn source(sign_in: &SignIn) -> Option<IpAddr> {
    let text = sign_in.ip_address.as_deref()?;
    Some(text.parse::<IpAddr>().ok()?.to_canonical())
}

/// Domains of the tenant by name, in lower case.
fn domains(documents: &BTreeMap<String, Vec<u8>>) -> HashMap<String, By> {
    let host = |domain: &str| {
        let bytes = documents.get(&format!("federation:{domain}"))?;
        let settings: Federation = serde_json::from_slice(bytes).ok()?;
        let place = settings
            .passive_sign_in_uri
            .or(settings.active_sign_in_uri)?;
        let place = Url::parse(&place).ok()?;
        Some(place.host_str()?.to_ascii_lowercase())
    };
    let domains = documents
        .iter()
        .filter(|(name, _)| name.starts_with("domain:"));
    let domains = domains.filter_map(|(_, bytes)| serde_json::from_slice::<Domain>(bytes).ok());
    domains
        .map(|domain| {
            let is_federated = domain.authentication_type.eq_ignore_ascii_case("Federated");
            let by = if is_federated {
                By::Server(host(&domain.id))
            } else {
                By::Entra
            };
            (domain.id.to_lowercase(), by)
        })
        .collect()
}

fn shown(
    running: &Generation,
    domains: Option<&HashMap<String, By>>,
    decisions: &Decisions,
    sign_in: &SignIn,
) -> SignInShown {
    let source = source(sign_in);
    let found = source.map(|source| running.candidate.compiled.find(source));
    let class = found.as_ref().map(|found| found.class);
    let upn = sign_in.user_principal_name.as_deref();
    let domain = upn.and_then(|upn| Some(upn.rsplit_once('@')?.1.to_lowercase()));
    let by_domain = by_domain(running, domains, domain.as_deref(), class);
    let decided = decisions.of(sign_in, source);
    let (weir, why) = match &decided {
        Some(decided) if decided.names_user => (
            Seen::Decided,
            "Weir decided about a request of this user at that time".to_owned(),
        ),
        Some(_) => (
            Seen::Decided,
            "Weir decided about a sign-in from the same address at that time, which names no user"
                .to_owned(),
        ),
        None if by_domain.weir == Seen::Unseen && !decisions.reach(sign_in) => (
            Seen::Unknown,
            "the audit log is too long to be read as far as this; ask for a shorter time"
                .to_owned(),
        ),
        None => (by_domain.weir, by_domain.why),
    };
    let status = sign_in.status.as_ref();
    let error = status.and_then(|status| status.error_code);
    SignInShown {
        time: clock::text(sign_in.created_date_time),
        id: sign_in.id.clone(),
        user_id: sign_in.user_id.clone(),
        user: sign_in.user_principal_name.clone(),
        application: sign_in.app_display_name.clone(),
        client: sign_in.client_app_used.clone(),
        interactive: sign_in.is_interactive,
        error,
        failure: status
            .filter(|_| error != Some(0))
            .and_then(|status| status.failure_reason.clone()),
        source,
        class,
        list: found
            .as_ref()
            .and_then(|found| found.list.map(str::to_owned)),
        prefix: found.as_ref().and_then(|found| found.prefix),
        domain,
        federated: by_domain.federated,
        service: by_domain.service,
        weir,
        why,
        decision: decided,
    }
}

/// What can be said of a sign-in without the audit log.
struct ByDomain {
    federated: Option<bool>,
    service: Option<String>,
    weir: Seen,
    why: String,
}

fn by_domain(
    running: &Generation,
    domains: Option<&HashMap<String, By>>,
    domain: Option<&str>,
    class: Option<Class>,
) -> ByDomain {
    let mut told = ByDomain {
        federated: None,
        service: None,
        weir: Seen::Unknown,
        why: String::new(),
    };
    let Some(domains) = domains else {
        "the tenant's domains were never read".clone_into(&mut told.why);
        return told;
    };
    let Some(by) = domain.and_then(|domain| domains.get(domain)) else {
        "the user's domain is none of the tenant's".clone_into(&mut told.why);
        return told;
    };
    told.federated = Some(matches!(by, By::Server(_)));
    let By::Server(host) = by else {
        told.weir = Seen::NotFederated;
        "Entra itself signs users of the domain in".clone_into(&mut told.why);
        return told;
    };
    let Some(host) = host else {
        "the domain's federation settings are not known".clone_into(&mut told.why);
        return told;
    };
    let mut services = running.candidate.config().services.iter();
    let fronts = |known: &String| known.eq_ignore_ascii_case(host);
    let Some(service) =
        services.find(|service| service.hosts.iter().chain(&service.tunnel).any(fronts))
    else {
        told.why = format!("no service of Weir stands in front of {host}");
        return told;
    };
    told.service = Some(service.name.clone());
    let Some(class) = class else {
        "Entra does not tell the address".clone_into(&mut told.why);
        return told;
    };
    let class_name = class.name();
    (told.weir, told.why) = match service.verdicts()[class as usize] {
        Verdict::Forward => (
            Seen::Forwarded,
            format!("sources of class {class_name} are forwarded in the kernel, undecrypted"),
        ),
        verdict => (
            Seen::Unseen,
            format!(
                "for class {class_name} the kernel says {}, and nothing of it is in the audit log: the \
                 sign-in went by a session that Entra had, or took another way, or its lines are gone",
                verdict.name()
            ),
        ),
    };
    told
}
