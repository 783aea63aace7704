//! What `POST /v1/explain` says of a recorded decision is what was decided, for every one of many.

use std::net::IpAddr;

use http::{Method, StatusCode};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;
use time::{Duration, UtcDateTime};
use weir_api::RecordBody;
use weir_config::ByList;
use weir_control::testing::{Appliance, Settings, decided};
use weir_policy::{
    BodyNeed, DecisionKind, Facts, Head, Method as Proof, Policy, Ruling, TokenFacts, Told,
    Uncounted,
};

const DECISIONS: usize = 10_000;

/// Rules that ask for everything that can be asked for.
const RULES: &str = r#"
[[rule]]
name = "leavers"
when = { service = "sts", group = ["leavers", "5e0f2d9a-77c4-4a5e-8a43-6a1f0f5b9d20"] }
then = { decision = "block" }
[[rule]]
name = "finance"
when = { claim = { department = "Finance" }, service = ["sts"], client = "browser" }
then = { decision = "step-up", within = "1h" }
[[rule]]
name = "compliant"
when = { service = "sts", device = "compliant", method = ["certificate", "fido"], not = { country = "KP" } }
then = { decision = "pass", grant = { class = "managed", for = "30m" } }
[[rule]]
name = "admins"
when = { user = ["admin@corp.example", "@partner.example"] }
then = { decision = "pass" }
[[rule]]
name = "office-hours"
when = { application = "wiki", time = { days = ["mon", "tue", "wed"], from = "08:00", to = "18:00", zone = "Europe/Berlin" } }
then = { decision = "pass" }
[[rule]]
name = "wiki-elsewhen"
when = { application = "wiki", role = "reader" }
then = { decision = "redirect" }
[application.wiki]
relying_parties = ["urn:wiki"]
"#;

/// Three services: one decides at the token, one looks at tokens only, one does not look at any.
fn settings() -> Settings {
    let other = |name: &str, address: &str, rules: &str, tokens: &str| {
        format!(
            "[[service]]\nname = \"{name}\"\nhosts = [\"{name}.more.corp.example\"]\naddresses = [\"{address}\"]\n\
             ports = [443]\nprofile = \"adfs\"\nrules = \"{rules}\"\nmanaged = \"proxy\"\n\
             certificate = \"chain.pem\"\nkey = \"key.pem\"\n\
             reverse_proxy = \"https://{name}.proxy.example{{query}}\"\n[service.upstream]\nkind = \"wap\"\n\
             servers = [\"{address}:443\"]\nserver_name = \"sts.corp.example\"\n{tokens}\n"
        )
    };
    let mapping = "[service.tokens.claims]\ndepartment = [\"urn:department\"]";
    let decide = format!("[service.tokens]\ndecide = true\n{mapping}\n");
    let looks = format!("[service.tokens]\n{mapping}\n");
    let services = [
        other("watch", "192.0.2.11", "office365", &looks),
        other("plain", "192.0.2.12", "office365", ""),
    ];
    let before = "[[list]]\nname = \"hq-egress\"";
    Settings {
        edits: vec![(
            before,
            format!("{decide}{}{RULES}{before}", services.concat()),
        )],
        ..Settings::default()
    }
}

#[derive(Clone, Debug)]
struct Asked {
    source: IpAddr,
    method: &'static str,
    path: &'static str,
    query: Option<String>,
    agent: &'static str,
    forwarded: Option<&'static str>,
    body: String,
    kind: &'static str,
    hours: i64,
    /// What the answer tells, when somebody looks at it.
    told: Option<Told>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let source = select(vec![
        "198.51.100.7",
        "203.0.113.9",
        "198.51.100.130",
        "198.51.100.66",
        "2001:db8:aa::5",
        "192.0.2.200",
    ]);
    let place = select(vec![
        ("GET", "/adfs/ls/", ""),
        ("POST", "/adfs/ls/", "application/x-www-form-urlencoded"),
        ("GET", "/adfs/oauth2/authorize", ""),
        (
            "POST",
            "/adfs/oauth2/token",
            "application/x-www-form-urlencoded",
        ),
        (
            "POST",
            "/adfs/services/trust/2005/usernamemixed",
            "application/soap+xml",
        ),
        (
            "POST",
            "/adfs/services/trust/13/windowstransport",
            "application/soap+xml",
        ),
        ("POST", "/adfs/services/trust/mex", "application/soap+xml"),
        (
            "GET",
            "/federationmetadata/2007-06/federationmetadata.xml",
            "",
        ),
        ("GET", "/adfs/portal/css/style.css", ""),
        ("HEAD", "/adfs/ls/", ""),
        ("GET", "/nothing", ""),
    ]);
    let user = select(vec![
        "alice@corp.example",
        "admin@corp.example",
        "bob@partner.example",
        "CORP\\admin",
        "",
        "Admin@Corp.Example",
    ]);
    let party = select(vec![
        "urn:wiki",
        "urn:federation:MicrosoftOnline",
        "URN:WIKI/",
        "",
    ]);
    let agent = select(vec![
        "Mozilla/5.0",
        "Microsoft Office/16.0 (Microsoft Outlook 16.0.1)",
        "Windows-AzureAD-Authentication-Provider/1.0",
        "curl/8",
    ]);
    let forwarded = select(vec![None, Some("203.0.113.9"), Some("nonsense")]);
    let rest = (agent, forwarded, 0..240_i64, told());
    (source, place, user, party, rest).prop_map(|(source, place, user, party, rest)| {
        let (method, path, kind) = place;
        let (agent, forwarded, hours, told) = rest;
        let query = match path {
            "/adfs/ls/" => Some(format!("wa=wsignin1.0&wtrealm={party}&login_hint={user}")),
            "/adfs/oauth2/authorize" => Some(format!("client_id={party}&login_hint={user}")),
            _ => None,
        };
        let body = match kind {
            "application/soap+xml" => soap(user, party),
            "" => String::new(),
            _ => format!(
                "UserName={user}&Password=x&username={user}&client_id={party}&grant_type=password"
            ),
        };
        let source = source.parse().expect("an address");
        Asked {
            source,
            method,
            path,
            query,
            agent,
            forwarded,
            body,
            kind,
            hours,
            told,
        }
    })
}

fn soap(user: &str, party: &str) -> String {
    format!(
        "<s:Envelope xmlns:s='http://www.w3.org/2003/05/soap-envelope' xmlns:o='http://docs.oasis-open.org/wss/2004/01/\
         oasis-200401-wss-wssecurity-secext-1.0.xsd'><s:Header><o:Security><o:UsernameToken><o:Username>{user}\
         </o:Username><o:Password>x</o:Password></o:UsernameToken></o:Security></s:Header><s:Body>\
         <t:RequestSecurityToken xmlns:t='http://schemas.xmlsoap.org/ws/2005/02/trust'>\
         <p:AppliesTo xmlns:p='http://schemas.xmlsoap.org/ws/2004/09/policy'>\
         <a:EndpointReference xmlns:a='http://www.w3.org/2005/08/addressing'><a:Address>{party}</a:Address>\
         </a:EndpointReference></p:AppliesTo></t:RequestSecurityToken></s:Body></s:Envelope>"
    )
}

fn told() -> impl Strategy<Value = Option<Told>> {
    let value = |name: &'static str, values: &'static [&'static str]| {
        proptest::option::of(select(values)).prop_map(move |value| (name, value))
    };
    let claims = (
        value(
            "upn",
            &[
                "alice@corp.example",
                "admin@corp.example",
                "x@partner.example",
            ],
        ),
        value(
            "groups",
            &["leavers", "5E0F2D9A-77C4-4A5E-8A43-6A1F0F5B9D20", "staff"],
        ),
        value("department", &["Finance", "IT"]),
        value("device_compliant", &["true", "false", "perhaps"]),
        value("roles", &["reader", "writer"]),
    );
    let methods =
        proptest::collection::vec(select(vec!["mfa", "fido", "password", "strange"]), 0..3);
    let missing = proptest::option::of(select(vec!["groups", "roles"]));
    let verified = (claims, methods, missing, proptest::option::of(0..300_i64));
    let verified = verified.prop_map(|(claims, methods, missing, minutes)| {
        let claims = [claims.0, claims.1, claims.2, claims.3, claims.4].into_iter();
        Told::Verified(TokenFacts {
            values: claims
                .filter_map(|(name, value)| Some((name.to_owned(), vec![value?.to_owned()])))
                .collect(),
            missing: missing.into_iter().map(str::to_owned).collect(),
            methods: methods.into_iter().map(Proof::of).collect(),
            authenticated: minutes
                .map(|minutes| UtcDateTime::UNIX_EPOCH + Duration::minutes(minutes)),
        })
    });
    prop_oneof![
        6 => verified.prop_map(Some),
        1 => Just(Some(Told::Unbelieved("its signature is wrong".into()))),
        1 => Just(None),
    ]
}

/// What the proxy makes of it: the facts that it records, and its last word.
fn live(policy: &Policy, host: &str, lists: ByList<'_>, asked: &Asked) -> Option<(Facts, Ruling)> {
    let mut headers: Vec<(&str, &[u8])> = vec![("User-Agent", asked.agent.as_bytes())];
    if !asked.kind.is_empty() {
        headers.push(("Content-Type", asked.kind.as_bytes()));
    }
    headers.extend(
        asked
            .forwarded
            .map(|it| ("X-MS-Forwarded-Client-IP", it.as_bytes())),
    );
    let head = Head {
        method: asked.method,
        host,
        path: asked.path,
        query: asked.query.as_deref(),
        headers: &headers,
    };
    let recognised = policy.recognise(&head).ok()?;
    let body = match recognised.body {
        BodyNeed::UpTo(most) if asked.body.len() <= most => Some(asked.body.as_bytes()),
        _ => None,
    };
    let mut facts = policy.facts(&head, &recognised, body, asked.source, &lists);
    facts.moment = Some(UtcDateTime::UNIX_EPOCH + Duration::hours(asked.hours));
    let directory = Uncounted(None);
    let looks =
        host != "plain.more.corp.example" && facts.flow.signs_in() && asked.method != "HEAD";
    if looks && policy.decides_at_token() {
        facts.token = Told::Ahead;
    }
    let mut ruling = policy.decide(&facts, &directory);
    if let Some(told) = asked.told.clone().filter(|_| looks) {
        match &ruling {
            Ruling::Now(decision) if decision.kind == DecisionKind::Pass => facts.token = told,
            Ruling::Now(_) => {}
            Ruling::AtToken { .. } => {
                facts.token = told;
                ruling = policy.decide(&facts, &directory);
            }
        }
    }
    Some((facts, ruling))
}

#[tokio::test]
async fn every_recorded_decision_is_explained_as_it_was_made() {
    let appliance = Appliance::start_with(settings()).await;
    let running = appliance.brain.running();
    let candidate = &running.candidate;
    let mut runner = TestRunner::deterministic();
    let strategy = asked();
    let (mut made, mut told_afterwards) = (0, 0);
    let (mut rules, mut tokens) = (std::collections::BTreeSet::new(), [0; 3]);
    while made < DECISIONS {
        let mut batch = Vec::new();
        for _ in 0..30 {
            let asked = strategy.new_tree(&mut runner).expect("a request").current();
            let index = made % candidate.policies.len();
            let service = &candidate.config().services[index];
            let policy = &candidate.policies[index];
            let lists = candidate.by_list();
            let Some((facts, ruling)) = live(policy, &service.hosts[0], lists, &asked) else {
                continue;
            };
            let id = format!("{made:016x}");
            made += 1;
            let is_told = matches!(facts.token, Told::Verified(_));
            told_afterwards += usize::from(is_told && !policy.decides_at_token());
            tokens[match facts.token {
                Told::Verified(_) => 0,
                Told::Ahead => 1,
                _ => 2,
            }] += 1;
            let event = decided(&id, &service.name, &facts, &ruling);
            rules.insert(event.rule.clone());
            appliance
                .brain
                .audit()
                .append(RecordBody::Event(Box::new(event.clone())));
            batch.push((asked, event, ruling));
        }
        for (asked, event, ruling) in batch {
            let question = json!({ "id": event.id });
            let (status, answer) = appliance
                .ask(Method::POST, "/v1/explain", Some(question))
                .await;
            let here = format!("{asked:#?}\n{event:#?}\n{answer:#}");
            assert_eq!(status, StatusCode::OK, "{here}");
            assert_eq!(answer["recorded"]["rule"], event.rule.as_str(), "{here}");
            assert_eq!(answer["recorded"].get("differs"), None, "{here}");
            let proxy = &answer["proxy"];
            assert_eq!(proxy["decision"], event.decision.as_str(), "{here}");
            assert_eq!(proxy["rule"], event.rule.as_str(), "{here}");
            match ruling {
                Ruling::Now(decision) => {
                    assert_eq!(proxy.get("at_token"), None, "{here}");
                    let last = proxy["tried"].as_array().expect("rules").last();
                    let last = last.filter(|tried| tried["matched"] == true);
                    let no_rule = decision.rule.ends_with("/no-rule");
                    assert!(
                        no_rule || last.is_some_and(|it| it["rule"] == *decision.rule),
                        "{here}"
                    );
                }
                Ruling::AtToken {
                    pending, otherwise, ..
                } => {
                    assert_eq!(proxy["at_token"]["pending"], *pending, "{here}");
                    assert_eq!(proxy["at_token"]["rule"], *otherwise.rule, "{here}");
                }
            }
        }
    }
    // Otherwise this would have shown little.
    assert!(rules.len() > 20, "{rules:?}");
    assert!(tokens.iter().all(|number| *number > 300), "{tokens:?}");
    assert!(told_afterwards > 100, "{told_afterwards}");
}
