//! Everything that rules may ask about one request.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use time::UtcDateTime;
use weir_abi::Class;

use crate::body::form::{Parameter, Parameters};
use crate::body::saml::{self, Binding, Message};
use crate::body::{ecp, soap};
use crate::{
    BodyNeed, Classify, Client, Country, Envelope, Flow, Head, Heard, Profile, Reads, Recognised,
    Soap, Source, Told, TrustVersion, basic, client, token,
};

/// Everything that rules may ask about one request. Nothing in it is secret: recorded, it can be judged
/// again by other rules.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Method.
    pub method: String,
    /// Host: lower case, no port, no trailing dot.
    pub host: String,
    /// Normalised path; what is forwarded is the raw one.
    pub path: String,
    /// What the request is.
    pub flow: Flow,
    /// Who asks.
    pub client: Client,
    /// Where it comes from.
    pub source: Source,
    /// The class by which the request is judged: that of the effective source, except that a list
    /// which exempts browsers only counts as unmanaged for everyone else.
    pub class: Class,
    /// WS-Federation realm, SAML issuer or OAuth client id.
    pub relying_party: Said,
    /// The user who signs in.
    pub user: Said,
    /// Applications, by name, to which the relying party or the host belongs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
    /// OAuth grant type of a token call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<String>,
    /// What a SOAP answer must be, and refer to; on active and MEX flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soap: Option<Soap>,
    /// How often this browser was redirected a moment ago, by its own account.
    pub redirects: u8,
    /// Whether the browser goes to a page of its own, not to a part of another page, as far as it says
    /// (`Sec-Fetch-Dest`). Another site's page can make a browser ask for parts, not go anywhere.
    #[serde(skip)]
    pub navigates: bool,
    /// Whether it goes on with a sign-in that an earlier request began, as far as the profile tells.
    #[serde(skip)]
    pub step: bool,
    /// Correlation id of the client (`client-request-id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<String>,
    /// Country of the effective source, when somebody knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// When the request is judged. Nothing until whoever has a clock says it: rules about time are
    /// unknown until then.
    #[serde(
        default,
        with = "token::moment",
        skip_serializing_if = "Option::is_none"
    )]
    pub moment: Option<UtcDateTime>,
    /// What is known of the token that the sign-in ends with; whoever looks at tokens says it.
    #[serde(default, skip_serializing_if = "Told::is_untold")]
    pub token: Told,
    /// What the directory said when the request was judged. Recorded, it is what a later judgement goes by; only
    /// what was not asked is asked then.
    #[serde(default, skip_serializing_if = "Heard::is_empty")]
    pub directory: Heard,
}

/// What is known about a user or a relying party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "known", content = "value")]
pub enum Said {
    /// There is none: nobody signs in by this flow.
    None,
    /// There is one, but it cannot be read here; the words say why.
    Unknown(Cow<'static, str>),
    /// Somebody says so (`login_hint`, a form field ...), which proves nothing: it may only restrict.
    Stated(Vec<String>),
    /// It stands once, in the very bytes that are forwarded, where the server itself reads it.
    Bound(String),
}

impl Said {
    pub(crate) const fn unknown(why: &'static str) -> Self {
        Self::Unknown(Cow::Borrowed(why))
    }

    /// The value for people and logs: the first one that was given, verified or not.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::None | Self::Unknown(_) => None,
            Self::Stated(values) => values.first().map(String::as_str),
            Self::Bound(value) => Some(value),
        }
    }
}

/// Cookie in which a browser carries how often it was redirected a moment ago.
pub(crate) const REDIRECTS_COOKIE: &str = "__Host-weir-redirects";
/// The longest user or relying party that is looked at, in bytes.
pub(crate) const MAX_NAME: usize = 1024;

impl Facts {
    /// Gathers everything but the applications, which only the policy knows.
    pub(crate) fn gather(
        profile: &Profile,
        head: &Head<'_>,
        recognised: &Recognised,
        body: Option<&[u8]>,
        peer: IpAddr,
        lists: &dyn Classify,
    ) -> Self {
        let source = Source::of(head, peer, lists);
        let country = source.effective.and_then(|address| lists.country(address));
        let exact = profile.exact_names();
        let query = Parameters::parse(head.query.unwrap_or_default().as_bytes()).exact(exact);
        let form = form_of(head, recognised, body).exact(exact);
        let requests = SamlRequests::default();
        let is_step = is_step(profile, recognised, &query, &form);
        let flow = match recognised.flow {
            Flow::SignOut | Flow::Passive if is_step => Flow::Passive,
            Flow::Passive if is_sign_out(profile, head, recognised, &query, &form, &requests) => {
                Flow::SignOut
            }
            flow => flow,
        };
        let reads = recognised.reads;
        let client = client::recognise(head, reads, flow, source.relayed, &form);
        let is_trust = matches!(flow, Flow::Active | Flow::Mex) && !reads.has(Reads::Basic);
        let xml = body.filter(|_| is_readable_xml(head));
        let request = xml.filter(|_| is_trust).and_then(soap::read);
        let (message_party, user) = match flow {
            Flow::Active if reads.has(Reads::Basic) => {
                let request = xml.and_then(ecp::read);
                (
                    ecp_party(request.as_ref()),
                    basic::user(head, request.as_ref()),
                )
            }
            Flow::Active => (
                applies_to(request.as_ref()),
                token_user(request.as_ref(), reads.has(Reads::Password)),
            ),
            Flow::Passive | Flow::OauthBrowser => {
                let party = match flow {
                    _ if recognised.is_reply() => Said::unknown("the token says for whom it is"),
                    _ if is_step => {
                        Said::unknown("a later step of a sign-in names no relying party")
                    }
                    Flow::Passive => passive_party(profile, &query, &form, &requests),
                    _ => oauth_party(&query, &form),
                };
                (party, stated_user(profile, &query, &form))
            }
            Flow::OauthToken => {
                let nothing = Parameters::default();
                let party = if head.values("authorization").next().is_some() {
                    Said::unknown("the client names itself in its credential")
                } else {
                    oauth_party(&nothing, &form)
                };
                (party, stated_user(profile, &nothing, &form))
            }
            Flow::Device => {
                let why = "device registration is not read";
                (Said::unknown(why), Said::unknown(why))
            }
            _ => (Said::None, Said::None),
        };
        let relying_party = match &recognised.application {
            Some(path) if flow.signs_in() && path.len() <= MAX_NAME => Said::Bound(path.clone()),
            _ => message_party,
        };
        let version = if reads.has(Reads::WsTrust13) {
            TrustVersion::V13
        } else {
            let stated = request.as_ref().and_then(|request| request.version);
            stated.unwrap_or_default()
        };
        let grant_type = match form.get("grant_type") {
            Parameter::One(grant) if flow == Flow::OauthToken && grant.len() <= MAX_NAME => {
                Some(grant.to_owned())
            }
            _ => None,
        };
        Self {
            method: head.method.to_owned(),
            host: head.host.trim_end_matches('.').to_ascii_lowercase(),
            path: recognised.path.as_str().to_owned(),
            flow,
            client,
            class: source.class_for(client == Client::Browser),
            source,
            relying_party,
            user,
            applications: Vec::new(),
            grant_type,
            soap: matches!(flow, Flow::Active | Flow::Mex).then(|| Soap {
                envelope: Envelope::of(head, reads.has(Reads::Basic)),
                version,
                message_id: request.and_then(|it| it.message_id),
            }),
            redirects: redirects(head),
            navigates: navigates(head),
            step: is_step,
            client_request_id: correlation(head, &query),
            country,
            moment: None,
            token: Told::default(),
            directory: Heard::default(),
        }
    }
}

/// The form in the body. Without a form: no parameters, or unreadable ones when there is a body that
/// might hold some.
fn form_of<'b>(head: &Head<'_>, recognised: &Recognised, body: Option<&'b [u8]>) -> Parameters<'b> {
    let may_hold = match recognised.flow {
        Flow::Passive | Flow::OauthBrowser | Flow::OauthToken => true,
        Flow::SignOut => recognised.body != BodyNeed::None,
        _ => false,
    };
    match body {
        _ if !may_hold => Parameters::default(),
        Some([]) => Parameters::default(),
        Some(body) if has_type(head, |media| media == "application/x-www-form-urlencoded") => {
            Parameters::parse(body)
        }
        Some(_) => Parameters::unreadable(),
        None if head.method == "POST" || head.announces_body() => Parameters::unreadable(),
        None => Parameters::default(),
    }
}

fn is_readable_xml(head: &Head<'_>) -> bool {
    has_type(head, |media| {
        media.ends_with("/xml") || media.ends_with("+xml")
    })
}

/// Whether the body is of that media type, in UTF-8 and not packed.
fn has_type(head: &Head<'_>, wanted: impl Fn(&str) -> bool) -> bool {
    let mut types = head.values("content-type");
    let (Some(first), None) = (types.next(), types.next()) else {
        return false;
    };
    let first = String::from_utf8_lossy(first).to_ascii_lowercase();
    let mut parts = first.split(';').map(str::trim);
    let packed = head
        .values("content-encoding")
        .any(|value| value.trim_ascii() != b"identity");
    let is_wanted = parts.next().is_some_and(wanted);
    // Servers differ in what they make of a second charset, or of blanks around the `=`.
    let foreign = parts.any(|parameter| {
        parameter.contains("charset") && !matches!(parameter, "charset=utf-8" | "charset=\"utf-8\"")
    });
    is_wanted && !packed && !foreign
}

/// Beside a message about signing out, somebody may sign in by these all the same.
const SIGN_IN_BESIDE: [&str; 2] = ["wresult", "SAMLart"];

/// Whether this goes on with a sign-in that an earlier request began.
fn is_step(
    profile: &Profile,
    recognised: &Recognised,
    query: &Parameters,
    form: &Parameters,
) -> bool {
    let mut steps = profile.steps().iter();
    recognised.reads.has(Reads::Step)
        || steps.any(|name| query.may_have(name) || form.may_have(name))
}

/// Signing out is let through for everyone, so nothing else may look like it: the message stands once,
/// alone, and there is no body in which the server might find another.
fn is_sign_out(
    profile: &Profile,
    head: &Head<'_>,
    recognised: &Recognised,
    query: &Parameters,
    form: &Parameters,
    requests: &SamlRequests,
) -> bool {
    if !recognised.reads.has(Reads::SignOut) {
        return false;
    }
    let parties = profile.relying_parties().iter().map(String::as_str);
    let mut beside = SIGN_IN_BESIDE
        .into_iter()
        .chain(parties.filter(|name| *name != "wtrealm"));
    if beside.any(|name| query.may_have(name) || form.may_have(name)) {
        return false;
    }
    let has = |parameters: &Parameters, names: &[&str]| {
        names.iter().any(|name| parameters.may_have(name))
    };
    let names_user = |parameters: &Parameters| {
        let mut users = profile.users().iter().filter(|name| *name != "login_hint");
        users.any(|name| parameters.may_have(name))
    };
    let has_password = |parameters: &Parameters| {
        let mut passwords = profile.passwords().iter();
        passwords.any(|name| parameters.may_have(name))
    };
    if head.method == "POST" {
        return !has(query, &["wa", "wtrealm", "SAMLRequest", "SAMLResponse"])
            && !names_user(query)
            && !has(form, &["wa", "wtrealm", "authmethod"])
            && !names_user(form)
            && !has_password(form)
            && is_saml_sign_out(form, Binding::Post, requests);
    }
    if head.announces_body() || names_user(query) && has_password(query) {
        return false;
    }
    match query.get("wa") {
        Parameter::One("wsignout1.0" | "wsignoutcleanup1.0") => {
            !has(query, &["SAMLRequest", "SAMLResponse"])
        }
        Parameter::Absent => {
            !query.may_have("wtrealm") && is_saml_sign_out(query, Binding::Redirect, requests)
        }
        _ => false,
    }
}

fn is_saml_sign_out(parameters: &Parameters, binding: Binding, requests: &SamlRequests) -> bool {
    match (
        parameters.get("SAMLRequest"),
        parameters.get("SAMLResponse"),
    ) {
        (Parameter::One(request), Parameter::Absent) => {
            requests.read(request, binding) == Some(&Message::SignOut)
        }
        (Parameter::Absent, Parameter::One(response)) => {
            saml::read(response, binding) == Some(Message::SignOut)
        }
        _ => false,
    }
}

/// The SAML request in the query and that in the form. Reading one may mean inflating it, so that each is
/// read once, and only when somebody asks.
#[derive(Default)]
struct SamlRequests {
    in_query: OnceCell<Option<Message>>,
    in_form: OnceCell<Option<Message>>,
}

impl SamlRequests {
    /// `request` is the one that travels by this binding.
    fn read(&self, request: &str, binding: Binding) -> Option<&Message> {
        let place = match binding {
            Binding::Redirect => &self.in_query,
            Binding::Post => &self.in_form,
        };
        place.get_or_init(|| saml::read(request, binding)).as_ref()
    }
}

fn applies_to(request: Option<&soap::Request>) -> Said {
    match request.map(|request| request.applies_to.as_deref()) {
        Some(Some(address)) if !address.is_empty() && address.len() <= MAX_NAME => {
            Said::Bound(address.to_owned())
        }
        Some(_) => Said::unknown("the request does not name one relying party"),
        None => Said::unknown("the SOAP message cannot be read"),
    }
}

fn ecp_party(request: Option<&ecp::Request>) -> Said {
    match request.map(|request| request.issuer.clone()) {
        Some(issuer) => one_party(&[issuer]),
        None => Said::unknown("the SOAP message cannot be read"),
    }
}

/// `by_password`: the server takes nobody but the user of the one `UsernameToken`.
fn token_user(request: Option<&soap::Request>, by_password: bool) -> Said {
    let Some(request) = request else {
        return Said::unknown("the SOAP message cannot be read");
    };
    let users: Vec<String> = request
        .users
        .iter()
        .filter(|user| !user.is_empty() && user.len() <= MAX_NAME)
        .cloned()
        .collect();
    match users.as_slice() {
        [] => Said::unknown("the request names no user"),
        [user] if request.user_is_certain && by_password => Said::Bound(user.clone()),
        _ => Said::Stated(users),
    }
}

/// WS-Federation's realm or the issuer of a SAML request. Named in two places it is unknown, because
/// nobody can say which of them the server takes.
fn passive_party(
    profile: &Profile,
    query: &Parameters,
    form: &Parameters,
    requests: &SamlRequests,
) -> Said {
    let mut found: Vec<Option<String>> = Vec::new();
    for (parameters, binding) in [(query, Binding::Redirect), (form, Binding::Post)] {
        for name in profile.relying_parties() {
            match parameters.get(name) {
                Parameter::Absent => {}
                Parameter::One(value) => found.push(Some(value.to_owned())),
                Parameter::Unclear => found.push(None),
            }
        }
        match parameters.get("SAMLRequest") {
            Parameter::Absent => {}
            Parameter::One(value) => found.push(match requests.read(value, binding) {
                Some(Message::SignIn { issuer }) => issuer.clone(),
                _ => None,
            }),
            Parameter::Unclear => found.push(None),
        }
        // The answer of a claims provider goes on with the sign-in that asked for it.
        for name in ["SAMLResponse", "SAMLart", "wresult"] {
            if parameters.may_have(name) {
                found.push(None);
            }
        }
    }
    one_party(&found)
}

fn oauth_party(query: &Parameters, form: &Parameters) -> Said {
    let mut found: Vec<Option<String>> = Vec::new();
    for parameters in [query, form] {
        match parameters.get("client_id") {
            Parameter::Absent => {}
            Parameter::One(value) => found.push(Some(value.to_owned())),
            Parameter::Unclear => found.push(None),
        }
        // A request object may name another client (RFC 9101).
        if parameters.may_have("request") || parameters.may_have("request_uri") {
            found.push(None);
        }
    }
    one_party(&found)
}

fn one_party(found: &[Option<String>]) -> Said {
    match found {
        [Some(party)] if !party.is_empty() && party.len() <= MAX_NAME => Said::Bound(party.clone()),
        [] => Said::unknown("no relying party is named"),
        [_] => Said::unknown("the relying party cannot be read"),
        _ => Said::unknown("the relying party is named in more than one place"),
    }
}

/// Every user that query and form name, the form's first: it holds what was typed last.
fn stated_user(profile: &Profile, query: &Parameters, form: &Parameters) -> Said {
    let mut users: Vec<String> = Vec::new();
    for parameters in [form, query] {
        for name in profile.users() {
            let values = parameters.all(name).map(str::trim);
            users.extend(
                values
                    .filter(|user| !user.is_empty() && user.len() <= MAX_NAME)
                    .map(str::to_owned),
            );
        }
    }
    users.dedup();
    if users.is_empty() {
        Said::unknown("the request names no user")
    } else {
        Said::Stated(users)
    }
}

fn redirects(head: &Head<'_>) -> u8 {
    head.values("cookie")
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .filter_map(|cookie| std::str::from_utf8(cookie).ok())
        .filter_map(|cookie| {
            cookie
                .trim()
                .strip_prefix(REDIRECTS_COOKIE)?
                .strip_prefix('=')
        })
        .filter_map(|count| count.parse().ok())
        .max()
        .unwrap_or(0)
}

/// Fetch Metadata: a browser that says nothing is an old one.
fn navigates(head: &Head<'_>) -> bool {
    head.values("sec-fetch-dest")
        .all(|destination| destination.trim_ascii() == b"document")
}

/// The client's own id for this sign-in, when it looks like one: letters, digits, `-`, `{`, `}`.
fn correlation(head: &Head<'_>, query: &Parameters) -> Option<String> {
    let stated = match query.get("client-request-id") {
        Parameter::One(value) => Some(value),
        _ => head.text("client-request-id"),
    };
    stated
        .filter(|id| !id.is_empty() && id.len() <= 64)
        .filter(|id| {
            id.bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-{}".contains(&byte))
        })
        .map(str::to_owned)
}
