//! Everything that rules may ask about one request.

use std::cell::OnceCell;
use std::net::IpAddr;

use serde::Serialize;
use weir_abi::Class;

use crate::body::form::{Parameter, Parameters};
use crate::body::saml::{self, Binding, Message};
use crate::body::soap;
use crate::{Classify, Client, Flow, Head, Recognised, Source, client};

/// Everything that rules may ask about one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
    /// OAuth grant type of a token call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant_type: Option<String>,
    /// What a SOAP answer must refer to; on active and MEX flows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soap: Option<Soap>,
    /// How often this browser was redirected a moment ago, by its own account.
    pub redirects: u8,
    /// Whether the browser goes to a page of its own, not to a part of another page, as far as it says
    /// (`Sec-Fetch-Dest`). Another site's page can make a browser ask for parts, not go anywhere.
    #[serde(skip)]
    pub navigates: bool,
    /// Correlation id of the client (`client-request-id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<String>,
}

/// What is known about a user or a relying party.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "known", content = "value")]
pub enum Said {
    /// There is none: nobody signs in by this flow.
    None,
    /// There is one, but it cannot be read here; the words say why.
    Unknown(&'static str),
    /// Somebody says so (`login_hint`, a form field ...), which proves nothing: it may only restrict.
    Stated(Vec<String>),
    /// It stands once, in the very bytes that are forwarded, where the server itself reads it.
    Bound(String),
}

/// What a SOAP answer must refer to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Soap {
    /// Version of WS-Trust that was asked.
    pub version: TrustVersion,
    /// `wsa:MessageID` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
}

/// Versions of WS-Trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum TrustVersion {
    /// WS-Trust, February 2005.
    #[default]
    #[serde(rename = "2005")]
    V2005,
    /// WS-Trust 1.3.
    #[serde(rename = "1.3")]
    V13,
}

impl Said {
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
const MAX_NAME: usize = 1024;

impl Facts {
    /// Gathers everything but the applications, which only the policy knows.
    pub(crate) fn gather(
        head: &Head<'_>,
        recognised: &Recognised,
        body: Option<&[u8]>,
        peer: IpAddr,
        lists: &dyn Classify,
    ) -> Self {
        let source = Source::of(head, peer, lists);
        let query = Parameters::parse(head.query.unwrap_or_default().as_bytes());
        let form = form_of(head, recognised.flow, body);
        let requests = SamlRequests::default();
        let flow = if is_sign_out(head, recognised, &query, &form, &requests) {
            Flow::SignOut
        } else {
            recognised.flow
        };
        let client = client::recognise(head, &recognised.path, flow, source.relayed, &form);
        let request = match (flow, body) {
            (Flow::Active | Flow::Mex, Some(body)) if is_readable_xml(head) => soap::read(body),
            _ => None,
        };
        let path = recognised.path.as_str();
        let (relying_party, user) = match flow {
            Flow::Active => (
                applies_to(request.as_ref()),
                token_user(request.as_ref(), path),
            ),
            Flow::Passive => (
                passive_party(&query, &form, &requests),
                stated_user(&query, &form),
            ),
            Flow::OauthBrowser => (oauth_party(&query, &form), stated_user(&query, &form)),
            Flow::OauthToken => {
                let nothing = Parameters::default();
                let party = if head.values("authorization").next().is_some() {
                    Said::Unknown("the client names itself in its credential")
                } else {
                    oauth_party(&nothing, &form)
                };
                (party, stated_user(&nothing, &form))
            }
            Flow::Device => {
                let why = "device registration is not read";
                (Said::Unknown(why), Said::Unknown(why))
            }
            _ => (Said::None, Said::None),
        };
        let version = if path.contains("/trust/13/") {
            TrustVersion::V13
        } else {
            TrustVersion::V2005
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
            path: path.to_owned(),
            flow,
            client,
            class: source.class_for(client == Client::Browser),
            source,
            relying_party,
            user,
            applications: Vec::new(),
            grant_type,
            soap: matches!(flow, Flow::Active | Flow::Mex).then(|| Soap {
                version,
                message_id: request.and_then(|it| it.message_id),
            }),
            redirects: redirects(head),
            navigates: navigates(head),
            client_request_id: correlation(head, &query),
        }
    }
}

/// The form in the body. Without a form: no parameters, or unreadable ones when there is a body that
/// might hold some.
fn form_of(head: &Head<'_>, flow: Flow, body: Option<&[u8]>) -> Parameters {
    let may_hold = matches!(flow, Flow::Passive | Flow::OauthBrowser | Flow::OauthToken);
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
const SIGN_IN_BESIDE: [&str; 3] = ["wresult", "samlart", "logintorp"];

/// Signing out is let through for everyone, so nothing else may look like it: the message stands once,
/// alone, and there is no body in which the server might find another.
fn is_sign_out(
    head: &Head<'_>,
    recognised: &Recognised,
    query: &Parameters,
    form: &Parameters,
    requests: &SamlRequests,
) -> bool {
    if recognised.flow != Flow::Passive || recognised.path.trimmed() != "/adfs/ls" {
        return false;
    }
    let may_have = |name: &&str| query.may_have(name) || form.may_have(name);
    if SIGN_IN_BESIDE.iter().any(may_have) {
        return false;
    }
    if head.method == "POST" {
        return !["wa", "wtrealm", "samlrequest", "samlresponse", "username"]
            .iter()
            .any(|name| query.may_have(name))
            && !["wa", "wtrealm", "username", "password", "authmethod"]
                .iter()
                .any(|name| form.may_have(name))
            && is_saml_sign_out(form, Binding::Post, requests);
    }
    if head.announces_body() || query.may_have("username") && query.may_have("password") {
        return false;
    }
    match query.get("wa") {
        Parameter::One("wsignout1.0" | "wsignoutcleanup1.0") => !["samlrequest", "samlresponse"]
            .iter()
            .any(|name| query.may_have(name)),
        Parameter::Absent => {
            !query.may_have("wtrealm") && is_saml_sign_out(query, Binding::Redirect, requests)
        }
        _ => false,
    }
}

fn is_saml_sign_out(parameters: &Parameters, binding: Binding, requests: &SamlRequests) -> bool {
    match (
        parameters.get("samlrequest"),
        parameters.get("samlresponse"),
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
        Some(_) => Said::Unknown("the request does not name one relying party"),
        None => Said::Unknown("the SOAP message cannot be read"),
    }
}

fn token_user(request: Option<&soap::Request>, path: &str) -> Said {
    let Some(request) = request else {
        return Said::Unknown("the SOAP message cannot be read");
    };
    let users: Vec<String> = request
        .users
        .iter()
        .filter(|user| !user.is_empty() && user.len() <= MAX_NAME)
        .cloned()
        .collect();
    let by_password = path.trim_end_matches('/').ends_with("/usernamemixed");
    match users.as_slice() {
        [] => Said::Unknown("the request names no user"),
        [user] if request.user_is_certain && by_password => Said::Bound(user.clone()),
        _ => Said::Stated(users),
    }
}

/// WS-Federation's realm or the issuer of a SAML request. Named in two places it is unknown, because
/// nobody can say which of them the server takes.
fn passive_party(query: &Parameters, form: &Parameters, requests: &SamlRequests) -> Said {
    let mut found: Vec<Option<String>> = Vec::new();
    for (parameters, binding) in [(query, Binding::Redirect), (form, Binding::Post)] {
        for name in ["wtrealm", "logintorp"] {
            match parameters.get(name) {
                Parameter::Absent => {}
                Parameter::One(value) => found.push(Some(value.to_owned())),
                Parameter::Unclear => found.push(None),
            }
        }
        match parameters.get("samlrequest") {
            Parameter::Absent => {}
            Parameter::One(value) => found.push(match requests.read(value, binding) {
                Some(Message::SignIn { issuer }) => issuer.clone(),
                _ => None,
            }),
            Parameter::Unclear => found.push(None),
        }
        // The answer of a claims provider goes on with the sign-in that asked for it.
        for name in ["samlresponse", "samlart", "wresult"] {
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
        [] => Said::Unknown("no relying party is named"),
        [_] => Said::Unknown("the relying party cannot be read"),
        _ => Said::Unknown("the relying party is named in more than one place"),
    }
}

/// Every user that query and form name, the form's first: it holds what was typed last.
fn stated_user(query: &Parameters, form: &Parameters) -> Said {
    let mut users: Vec<String> = Vec::new();
    for parameters in [form, query] {
        for name in ["username", "login_hint"] {
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
        Said::Unknown("the request names no user")
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
