//! What holds for every request.
//!
//! The input is a line with a source and a policy, such as `unmanaged strict`, and then a request as
//! HTTP/1.1 writes it, with lines that end in a line feed. A carriage return is a byte like any other:
//! it must do no harm wherever it stands.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use weir_abi::Class;
use weir_policy::answer::{self, Answer};
use weir_policy::{
    ApplicationSpec, BodyNeed, Classified, Classify, DecisionKind, Facts, Flow, Head,
    OutlookSetting, Policy, PolicySpec, Rate, RuleSetName, RuleSpec, Uncounted, Users,
    WindowsLogonSetting, headers,
};

use crate::careless;

const REFERENCE: &str = "0123456789abcdef";

/// Every request is refused or judged, and judged the same way twice; nothing internal, nothing from a
/// blocked source and nothing that a policy closes passes; every answer is one that can be sent.
pub fn check(input: &[u8]) {
    let request = Request::read(input);
    let lines: Vec<(&str, &[u8])> = request
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), *value))
        .collect();
    let head = Head {
        method: &request.method,
        host: &request.host,
        path: &request.path,
        query: request.query.as_deref(),
        headers: &lines,
    };
    let policy = &POLICIES[request.policy];
    let recognised = match policy.recognise(&head) {
        Ok(recognised) => recognised,
        Err(refusal) => {
            assert!((400..500).contains(&refusal.status), "{refusal:?}");
            sendable(&answer::refuse(&refusal, REFERENCE));
            return;
        }
    };
    for body in bodies(recognised.body, request.body) {
        let facts = policy.facts(&head, &recognised, body, request.peer, &Lists);
        judge(&request, policy, &facts);
    }
    for relayed in [false, true] {
        let hygiene = headers::Hygiene::of(&head, relayed);
        for (name, _) in head.headers {
            let _ = hygiene.keeps(name);
        }
    }
}

fn judge(request: &Request<'_>, policy: &Policy, facts: &Facts) {
    let users = Uncounted(Some(&USERS));
    let decision = policy.decide(facts, &users).without_token();
    let (explained, tried) = policy.explain(facts, &users);
    let explained = explained.without_token();
    assert_eq!(decision, explained, "decide and explain disagree");
    assert!(
        tried.iter().rev().skip(1).all(|step| !step.matched),
        "a rule in front of the last one matched: {tried:?}"
    );
    serde_json::to_string(facts).expect("facts can be written to the audit log");

    if decision.kind == DecisionKind::Pass {
        assert!(
            !careless::is_internal(&request.path),
            "{} passes as {:?}",
            request.path,
            facts.flow
        );
        assert!(!matches!(facts.flow, Flow::Internal | Flow::Other));
        assert_ne!(facts.class, Class::Blocked, "a blocked source passes");
        // Nothing that a client says of itself opens WS-Trust to it.
        if request.policy == STRICT && facts.flow == Flow::Active && !facts.source.relayed {
            assert!(
                matches!(facts.class, Class::Managed | Class::Bypass),
                "an unmanaged application passes by {}",
                decision.rule
            );
        }
    }
    let blocked = answer::block(facts, &decision, REFERENCE);
    sendable(&blocked);
    assert!(blocked.body.contains(REFERENCE));
    // The query comes from the client: whatever is in it stays in one line of one header.
    let hostile = String::from_utf8_lossy(request.body);
    for query in [request.query.as_deref(), Some(&hostile)] {
        let redirect = answer::redirect(facts, &decision, query);
        assert_eq!(redirect.is_some(), decision.kind == DecisionKind::Redirect);
        let Some(redirect) = redirect else { continue };
        sendable(&redirect);
        assert!(matches!(redirect.status, 302 | 303));
        let (_, location) = redirect
            .headers
            .iter()
            .find(|(name, _)| *name == "location")
            .expect("a redirect says where to");
        let rest = location
            .strip_prefix("https://sts-corp-example.proxy.example")
            .expect("the host comes from the configuration alone");
        assert!(
            rest.is_empty() || rest.starts_with(['/', '?']),
            "{location}"
        );
    }
}

/// An answer is complete, holds nothing that could end a header, and can be read by its reader.
fn sendable(answer: &Answer) {
    assert!((300..600).contains(&answer.status), "{}", answer.status);
    assert!(!answer.body.is_empty());
    for (name, value) in &answer.headers {
        assert!(
            value.bytes().all(|byte| (b' '..=b'~').contains(&byte)),
            "header {name} holds {value:?}"
        );
    }
    let content_type = &answer.headers[0].1;
    if content_type.contains("json") {
        serde_json::from_str::<serde_json::Value>(&answer.body).expect("JSON");
    }
    if content_type.contains("xml") {
        let mut reader = quick_xml::Reader::from_str(&answer.body);
        while reader.read_event().expect("well-formed XML") != quick_xml::events::Event::Eof {}
    }
}

/// The body as the proxy hands it over, and once as if it had not been read whole.
fn bodies(need: BodyNeed, body: &[u8]) -> Vec<Option<&[u8]>> {
    match need {
        BodyNeed::UpTo(limit) if body.len() <= limit => vec![Some(body), None],
        BodyNeed::UpTo(_) | BodyNeed::None => vec![None],
    }
}

#[derive(Debug)]
struct Request<'a> {
    peer: IpAddr,
    /// Index into [`POLICIES`].
    policy: usize,
    method: String,
    host: String,
    path: String,
    query: Option<String>,
    headers: Vec<(String, &'a [u8])>,
    body: &'a [u8],
}

impl<'a> Request<'a> {
    fn read(input: &'a [u8]) -> Self {
        let mut rest = input;
        let settings = String::from_utf8_lossy(line(&mut rest));
        let (source, policy) = settings.split_once(' ').unwrap_or((&settings, ""));
        let start = String::from_utf8_lossy(line(&mut rest));
        let (method, target) = start.split_once(' ').unwrap_or(("GET", &start));
        let target = target.strip_suffix(" HTTP/1.1").unwrap_or(target);
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let mut headers = Vec::new();
        let mut host = String::new();
        loop {
            let header = line(&mut rest);
            if header.is_empty() {
                break;
            }
            let colon = header.iter().position(|byte| *byte == b':');
            let (name, value) = header.split_at(colon.unwrap_or(header.len()));
            let value = value.get(1..).unwrap_or_default().trim_ascii_start();
            if name.eq_ignore_ascii_case(b"host") {
                host = String::from_utf8_lossy(value).into_owned();
            }
            headers.push((String::from_utf8_lossy(name).into_owned(), value));
        }
        Self {
            peer: SOURCES
                .iter()
                .find(|(name, ..)| *name == source)
                .map_or(UNMANAGED, |(_, address, ..)| *address)
                .into(),
            policy: NAMES
                .iter()
                .position(|name| *name == policy)
                .unwrap_or(STRICT),
            method: method.to_owned(),
            host,
            path: path.to_owned(),
            query,
            headers,
            body: rest,
        }
    }
}

/// Takes a line off the front.
fn line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = rest.iter().position(|byte| *byte == b'\n');
    let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
    *rest = after.get(1..).unwrap_or_default();
    line
}

const UNMANAGED: Ipv4Addr = Ipv4Addr::new(100, 64, 7, 7);

/// One address of each class, with whether its list exempts browsers only.
const SOURCES: [(&str, Ipv4Addr, Class, bool); 5] = [
    (
        "managed",
        Ipv4Addr::new(203, 0, 113, 10),
        Class::Managed,
        false,
    ),
    (
        "bypass",
        Ipv4Addr::new(198, 51, 100, 10),
        Class::Bypass,
        false,
    ),
    (
        "web-bypass",
        Ipv4Addr::new(198, 51, 100, 20),
        Class::Bypass,
        true,
    ),
    (
        "blocked",
        Ipv4Addr::new(192, 0, 2, 66),
        Class::Blocked,
        false,
    ),
    ("relay", Ipv4Addr::new(40, 92, 0, 25), Class::Relay, false),
];

struct Lists;

impl Classify for Lists {
    fn classify(&self, source: IpAddr) -> Classified {
        SOURCES
            .iter()
            .find(|(_, address, ..)| source == *address)
            .map_or_else(Classified::default, |(name, _, class, web_only)| {
                Classified {
                    class: *class,
                    web_only: *web_only,
                    list: Some((*name).to_owned()),
                }
            })
    }
}

/// Whom Windows logon may be for.
static USERS: LazyLock<Users> =
    LazyLock::new(|| Users::parse("alice@corp.example").expect("a name"));

/// Words for [`POLICIES`] in the first line of an input.
const NAMES: [&str; 8] = [
    "strict",
    "documented",
    "open",
    "ruled",
    "okta",
    "pingfederate",
    "shibboleth",
    "simplesamlphp",
];
const STRICT: usize = 0;

/// The strict set, the documented one, that one with everything allowed that a setting can allow, and
/// the strict one behind an administrator's rules; and that one with the other profiles.
static POLICIES: LazyLock<[Policy; 8]> = LazyLock::new(|| {
    let strict = PolicySpec {
        service: "sts".into(),
        profile: "adfs".into(),
        rule_set: RuleSetName::Office365Strict,
        outlook: None,
        windows_logon: WindowsLogonSetting::Block,
        windows_logon_rate: Rate::default(),
        reverse_proxy: Some("https://sts-corp-example.proxy.example{query}".into()),
        rules: Vec::new(),
        switched_off: Vec::new(),
        applications: BTreeMap::new(),
        locations: BTreeMap::new(),
        claims: Vec::new(),
        claims_any_case: false,
        decide_at_token: false,
    };
    let documented = PolicySpec {
        rule_set: RuleSetName::Office365,
        ..strict.clone()
    };
    let open = PolicySpec {
        outlook: Some(OutlookSetting::Pass),
        windows_logon: WindowsLogonSetting::Pass,
        reverse_proxy: Some("https://sts-corp-example.proxy.example/go?from=weir&{query}".into()),
        ..documented.clone()
    };
    let mut ruled = strict.clone();
    ruled.applications.insert(
        "m365".into(),
        ApplicationSpec {
            relying_parties: vec!["urn:federation:MicrosoftOnline".into()],
            hosts: vec!["sts.corp.example".into()],
        },
    );
    ruled.rules = [
        r#"{"name":"app","when":{"application":"m365","not":{"client":"browser"}},"then":{"decision":"block"}}"#,
        r#"{"name":"user","when":{"flow":"active","user":"@corp.example"},"then":{"decision":"pass"}}"#,
        r#"{"name":"source","when":{"source":"100.64.0.0/10","flow":["passive","oauth-browser"]},"then":{"decision":"redirect","target":"https://sts-corp-example.proxy.example/{query}"}}"#,
    ]
    .map(|json| serde_json::from_str::<RuleSpec>(json).expect("a rule"))
    .to_vec();
    let [okta, pingfederate, shibboleth, simplesamlphp] =
        ["okta", "pingfederate", "shibboleth", "simplesamlphp"].map(|profile| PolicySpec {
            profile: profile.into(),
            ..ruled.clone()
        });
    [
        strict,
        documented,
        open,
        ruled,
        okta,
        pingfederate,
        shibboleth,
        simplesamlphp,
    ]
    .map(|spec| Policy::compile(&spec).expect("a good policy"))
});
