//! The default policy (DESIGN 3), every cell written by hand: client kind by class of the source, for
//! both rule sets and every setting.
//!
//! A cell is the decision and the rule that makes it: `+` passes, `-` blocks, `>` redirects.

mod common;

use common::{
    BLOCKED, BYPASS, FIREFOX, Known, MANAGED, OFFICE_VIEW, OUTLOOK, PASSIVE, RELAY, Request,
    UNMANAGED, WEB_BYPASS, WINDOWS, compile, msal, spec, strict,
};
use weir_policy::{DecisionKind, OutlookSetting, Policy, RuleSetName, WindowsLogonSetting};

const SETS: [(RuleSetName, &str); 2] = [
    (RuleSetName::Office365, "office365"),
    (RuleSetName::Office365Strict, "office365-strict"),
];

/// Class of the source, TCP peer, what a relay says of the client behind it.
const COLUMNS: [(&str, &str, Option<&str>); 14] = [
    ("managed", MANAGED, None),
    ("bypass", BYPASS, None),
    ("bypass, scope web", WEB_BYPASS, None),
    ("unmanaged", UNMANAGED, None),
    ("blocked", BLOCKED, None),
    ("relay, managed behind it", RELAY, Some(MANAGED)),
    ("relay, bypass behind it", RELAY, Some(BYPASS)),
    ("relay, unmanaged behind it", RELAY, Some(UNMANAGED)),
    ("relay, blocked behind it", RELAY, Some(BLOCKED)),
    ("relay, silent", RELAY, None),
    ("relay, browsers' bypass behind it", RELAY, Some(WEB_BYPASS)),
    (
        "relay, a forged address left of an unmanaged one",
        RELAY,
        Some("203.0.113.10, 100.64.7.7, 40.92.0.25"),
    ),
    (
        "relay, nothing but relays",
        RELAY,
        Some("40.92.0.25, 40.92.0.25"),
    ),
    (
        "relay, unreadable",
        RELAY,
        Some("203.0.113.10, 203.0.113.10:443"),
    ),
];

/// A request and its cells, one for each column.
type Row = (&'static str, &'static str);

fn request(name: &str) -> Request {
    let token = |form: &str| Request::form("/adfs/oauth2/token/", form);
    match name {
        "browser, WS-Federation" => Request::get(PASSIVE).agent(FIREFOX),
        "browser, OAuth" => {
            Request::get("/adfs/oauth2/authorize/?client_id=a&response_type=code").agent(FIREFOX)
        }
        "native, web view" => Request::get(PASSIVE).agent(OFFICE_VIEW),
        "native, active 2005" => msal("2005", "alice@corp.example"),
        "native, active 1.3" => msal("13", "alice@corp.example"),
        "native, MEX" => Request::get("/adfs/services/trust/mex").agent("python-requests/2.32.3"),
        "native, public client" => {
            token("grant_type=authorization_code&code=c&client_id=a&code_verifier=v")
        }
        "native, password grant" => {
            token("grant_type=password&username=alice%40corp.example&password=p&client_id=a")
        }
        "native, device code" => Request::form("/adfs/oauth2/devicecode", "client_id=a"),
        "native, device registration" => {
            Request::get("/EnrollmentServer/DeviceEnrollmentWebService.svc").agent("Dsreg/10.0")
        }
        "outlook, active" => msal("2005", "alice@corp.example")
            .agent(OUTLOOK)
            .with("X-MS-Client-Application", "Microsoft.Exchange.RPC"),
        "outlook, web view" => Request::get(PASSIVE)
            .agent(OUTLOOK)
            .with("X-MS-Client-Application", "Microsoft.Exchange.RPC"),
        "windows logon, active" => msal("13", "alice@corp.example").agent(WINDOWS),
        "windows logon, MEX" => Request::get("/adfs/services/trust/mex").agent(WINDOWS),
        "server, code" => token("grant_type=authorization_code&code=c&client_id=a&client_secret=s"),
        "server, own token" => token("grant_type=client_credentials&client_id=a&client_secret=s"),
        "metadata" => Request::get("/FederationMetadata/2007-06/FederationMetadata.xml"),
        "asset" => Request::get("/adfs/portal/css/style.css?id=1").agent(FIREFOX),
        "sign-out" => Request::get("/adfs/ls/?wa=wsignout1.0").agent(FIREFOX),
        "internal" => Request::get("/adfs/proxy/GetConfiguration?api-version=2"),
        "unknown" => Request::get("/owa/").agent(FIREFOX),
        other => panic!("no request is called {other}"),
    }
}

/// What holds under every setting.
const COMMON: &[Row] = &[
    (
        "browser, WS-Federation",
        "+browser-managed +browser-bypass +browser-bypass >browser-unmanaged \
         -blocked-source -browser-relay -browser-relay -browser-relay -blocked-source \
         -browser-relay -browser-relay -browser-relay -browser-relay -browser-relay",
    ),
    (
        "browser, OAuth",
        "+browser-managed +browser-bypass +browser-bypass >browser-unmanaged \
         -blocked-source -browser-relay -browser-relay -browser-relay -blocked-source \
         -browser-relay -browser-relay -browser-relay -browser-relay -browser-relay",
    ),
    (
        "native, web view",
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -blocked-source \
         -relay-flow -relay-flow -relay-flow -blocked-source -relay-flow -relay-flow \
         -relay-flow -relay-flow -relay-flow",
    ),
    (
        "native, active 2005",
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -blocked-source \
         +native-managed +native-bypass -native-unmanaged -blocked-source -native-unmanaged \
         -native-unmanaged -native-unmanaged -native-unmanaged -native-unmanaged",
    ),
    (
        "native, active 1.3",
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -blocked-source \
         +native-managed +native-bypass -native-unmanaged -blocked-source -native-unmanaged \
         -native-unmanaged -native-unmanaged -native-unmanaged -native-unmanaged",
    ),
    (
        "native, MEX",
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -blocked-source \
         +native-managed +native-bypass -native-unmanaged -blocked-source -native-unmanaged \
         -native-unmanaged -native-unmanaged -native-unmanaged -native-unmanaged",
    ),
    (
        "native, public client",
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -blocked-source \
         -relay-flow -relay-flow -relay-flow -blocked-source -relay-flow -relay-flow \
         -relay-flow -relay-flow -relay-flow",
    ),
    (
        "native, password grant",
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -blocked-source \
         -relay-flow -relay-flow -relay-flow -blocked-source -relay-flow -relay-flow \
         -relay-flow -relay-flow -relay-flow",
    ),
    (
        "native, device code",
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -blocked-source \
         -relay-flow -relay-flow -relay-flow -blocked-source -relay-flow -relay-flow \
         -relay-flow -relay-flow -relay-flow",
    ),
    (
        "native, device registration",
        "+native-managed +native-bypass -native-unmanaged -native-unmanaged -blocked-source \
         -relay-flow -relay-flow -relay-flow -blocked-source -relay-flow -relay-flow \
         -relay-flow -relay-flow -relay-flow",
    ),
    (
        "server, code",
        "+server-managed +server-bypass +server-unmanaged +server-unmanaged -blocked-source \
         -server-relay -server-relay -server-relay -blocked-source -server-relay \
         -server-relay -server-relay -server-relay -server-relay",
    ),
    (
        "server, own token",
        "+server-managed +server-bypass +server-unmanaged +server-unmanaged -blocked-source \
         -server-relay -server-relay -server-relay -blocked-source -server-relay \
         -server-relay -server-relay -server-relay -server-relay",
    ),
    (
        "metadata",
        "+metadata +metadata +metadata +metadata -blocked-source +metadata +metadata \
         +metadata -blocked-source +metadata +metadata +metadata +metadata +metadata",
    ),
    (
        "asset",
        "+asset +asset +asset +asset -blocked-source +asset +asset +asset -blocked-source \
         +asset +asset +asset +asset +asset",
    ),
    (
        "sign-out",
        "+sign-out +sign-out +sign-out +sign-out -blocked-source +sign-out +sign-out \
         +sign-out -blocked-source +sign-out +sign-out +sign-out +sign-out +sign-out",
    ),
    (
        "internal",
        "-internal-path -internal-path -internal-path -internal-path -internal-path \
         -internal-path -internal-path -internal-path -internal-path -internal-path \
         -internal-path -internal-path -internal-path -internal-path",
    ),
    (
        "unknown",
        "-unknown-path -unknown-path -unknown-path -unknown-path -unknown-path \
         -unknown-path -unknown-path -unknown-path -unknown-path -unknown-path \
         -unknown-path -unknown-path -unknown-path -unknown-path",
    ),
];

const OUTLOOK_PASS: &[Row] = &[
    (
        "outlook, active",
        "+outlook-managed +outlook-bypass +outlook-unmanaged +outlook-unmanaged \
         -blocked-source +outlook-relay +outlook-relay +outlook-relay -blocked-source \
         +outlook-relay +outlook-relay +outlook-relay +outlook-relay +outlook-relay",
    ),
    (
        "outlook, web view",
        "+outlook-managed +outlook-bypass +outlook-unmanaged +outlook-unmanaged \
         -blocked-source -relay-flow -relay-flow -relay-flow -blocked-source -relay-flow \
         -relay-flow -relay-flow -relay-flow -relay-flow",
    ),
];

const OUTLOOK_RELAY_ONLY: &[Row] = &[
    (
        "outlook, active",
        "+outlook-managed +outlook-bypass -outlook-unmanaged -outlook-unmanaged \
         -blocked-source +outlook-relay +outlook-relay +outlook-relay -blocked-source \
         +outlook-relay +outlook-relay +outlook-relay +outlook-relay +outlook-relay",
    ),
    (
        "outlook, web view",
        "+outlook-managed +outlook-bypass -outlook-unmanaged -outlook-unmanaged \
         -blocked-source -relay-flow -relay-flow -relay-flow -blocked-source -relay-flow \
         -relay-flow -relay-flow -relay-flow -relay-flow",
    ),
];

const OUTLOOK_BLOCK: &[Row] = &[
    (
        "outlook, active",
        "+outlook-managed +outlook-bypass -outlook-unmanaged -outlook-unmanaged \
         -blocked-source +outlook-managed +outlook-bypass -outlook-unmanaged \
         -blocked-source -outlook-unmanaged -outlook-unmanaged -outlook-unmanaged \
         -outlook-unmanaged -outlook-unmanaged",
    ),
    (
        "outlook, web view",
        "+outlook-managed +outlook-bypass -outlook-unmanaged -outlook-unmanaged \
         -blocked-source -relay-flow -relay-flow -relay-flow -blocked-source -relay-flow \
         -relay-flow -relay-flow -relay-flow -relay-flow",
    ),
];

const WINDOWS_BLOCK: &[Row] = &[
    (
        "windows logon, active",
        "+windows-logon-managed +windows-logon-bypass -windows-logon-unmanaged \
         -windows-logon-unmanaged -blocked-source -windows-logon-relay -windows-logon-relay \
         -windows-logon-relay -blocked-source -windows-logon-relay -windows-logon-relay \
         -windows-logon-relay -windows-logon-relay -windows-logon-relay",
    ),
    (
        "windows logon, MEX",
        "+windows-logon-managed +windows-logon-bypass -windows-logon-unmanaged \
         -windows-logon-unmanaged -blocked-source -windows-logon-relay -windows-logon-relay \
         -windows-logon-relay -blocked-source -windows-logon-relay -windows-logon-relay \
         -windows-logon-relay -windows-logon-relay -windows-logon-relay",
    ),
];

const WINDOWS_PASS: &[Row] = &[
    (
        "windows logon, active",
        "+windows-logon-managed +windows-logon-bypass +windows-logon-exempt \
         +windows-logon-exempt -blocked-source -windows-logon-relay -windows-logon-relay \
         -windows-logon-relay -blocked-source -windows-logon-relay -windows-logon-relay \
         -windows-logon-relay -windows-logon-relay -windows-logon-relay",
    ),
    (
        "windows logon, MEX",
        "+windows-logon-managed +windows-logon-bypass +windows-logon-mex +windows-logon-mex \
         -blocked-source -windows-logon-relay -windows-logon-relay -windows-logon-relay \
         -blocked-source -windows-logon-relay -windows-logon-relay -windows-logon-relay \
         -windows-logon-relay -windows-logon-relay",
    ),
];

#[test]
fn every_cell_of_the_default_policy() {
    for (set, prefix) in SETS {
        for (outlook, outlook_rows) in [
            (
                None,
                if set == RuleSetName::Office365 {
                    OUTLOOK_PASS
                } else {
                    OUTLOOK_RELAY_ONLY
                },
            ),
            (Some(OutlookSetting::Pass), OUTLOOK_PASS),
            (Some(OutlookSetting::RelayOnly), OUTLOOK_RELAY_ONLY),
            (Some(OutlookSetting::Block), OUTLOOK_BLOCK),
        ] {
            for (windows_logon, windows_rows) in [
                (WindowsLogonSetting::Block, WINDOWS_BLOCK),
                (WindowsLogonSetting::Pass, WINDOWS_PASS),
            ] {
                let mut spec = spec(set);
                spec.outlook = outlook;
                spec.windows_logon = windows_logon;
                let policy = compile(&spec);
                let rows = COMMON.iter().chain(outlook_rows).chain(windows_rows);
                for row in rows {
                    check(&policy, prefix, row);
                }
            }
        }
    }
}

fn check(policy: &Policy, prefix: &str, (name, cells): &Row) {
    let cells: Vec<&str> = cells.split_whitespace().collect();
    assert_eq!(cells.len(), COLUMNS.len(), "{name}");
    for ((class, peer, behind), expected) in COLUMNS.iter().zip(cells) {
        let mut request = request(name);
        // What a client says of itself must change nothing, so every peer but the silent relay says
        // that a managed device stands behind it.
        let forwarded = if *peer == RELAY {
            *behind
        } else {
            Some(MANAGED)
        };
        if let Some(address) = forwarded {
            request = request.with("X-MS-Forwarded-Client-IP", address);
        }
        let facts = request.facts(policy, peer).expect("a readable request");
        let decision = policy.decide(&facts, &Known).without_token();
        let sign = match decision.kind {
            DecisionKind::Pass => '+',
            DecisionKind::Redirect => '>',
            DecisionKind::Block => '-',
            DecisionKind::StepUp => '?',
        };
        let (set, rule) = decision.rule.split_once('/').expect("a full name");
        assert_eq!(set, prefix);
        assert_eq!(
            format!("{sign}{rule}"),
            expected,
            "{name} from {class}: {facts:?}"
        );
        let status = match (sign, rule) {
            ('+', _) => None,
            ('>', _) => Some(302),
            (_, "internal-path" | "unknown-path") => Some(404),
            _ => Some(403),
        };
        assert_eq!(decision.status, status, "{name} from {class}");
        let (explained, tried) = policy.explain(&facts, &Known);
        let explained = explained.without_token();
        assert_eq!(
            explained, decision,
            "explain tells of another evaluation: {name} from {class}"
        );
        assert!(
            tried
                .last()
                .is_some_and(|last| last.matched && last.rule == *decision.rule)
        );
        assert!(
            tried
                .iter()
                .rev()
                .skip(1)
                .all(|step| !step.matched && !step.why.is_empty())
        );
    }
}

#[test]
fn outlook_from_a_relay_is_believed_only_when_the_relay_says_so() {
    let policy = compile(&strict());
    let request = msal("2005", "alice@corp.example")
        .agent(OUTLOOK)
        .with("X-MS-Forwarded-Client-IP", UNMANAGED);
    let facts = request.facts(&policy, RELAY).expect("a readable request");
    assert_eq!(
        &*policy.decide(&facts, &Known).without_token().rule,
        "office365-strict/native-unmanaged"
    );
}

#[test]
fn tunnels_are_judged_by_class_alone() {
    for (set, prefix) in SETS {
        let policy = compile(&spec(set));
        for (peer, expected) in [
            (MANAGED, "+tunnel-managed"),
            (BYPASS, "+tunnel-bypass"),
            (WEB_BYPASS, "-tunnel-unmanaged"),
            (UNMANAGED, "-tunnel-unmanaged"),
            (BLOCKED, "-blocked-source"),
            (RELAY, "-tunnel-relay"),
        ] {
            let (_, decision) = policy.tunnel(peer.parse().expect("an address"), &common::Lists);
            let sign = if decision.kind == DecisionKind::Pass {
                '+'
            } else {
                '-'
            };
            let rule = decision.rule.strip_prefix(prefix).expect("a full name");
            assert_eq!(
                format!("{sign}{rule}"),
                expected.replacen(['+', '-'], &format!("{sign}/"), 1)
            );
        }
    }
    let mut spec = strict();
    spec.switched_off = vec!["office365-strict/tunnel-managed".into()];
    let (_, decision) = compile(&spec).tunnel(MANAGED.parse().expect("an address"), &common::Lists);
    assert_eq!(
        (decision.kind, &*decision.rule),
        (DecisionKind::Block, "office365-strict/no-rule")
    );
}

#[test]
fn a_browser_is_redirected_three_times_and_then_stopped() {
    let policy = compile(&strict());
    let after = |count: &str| {
        let cookie = format!("MSISAuth=x; __Host-weir-redirects={count}");
        let request = Request::get(PASSIVE).agent(FIREFOX).with("Cookie", &cookie);
        let facts = request.facts(&policy, UNMANAGED);
        policy
            .decide(&facts.expect("a readable request"), &Known)
            .without_token()
    };
    for count in ["0", "1", "2", "junk", ""] {
        assert_eq!(after(count).kind, DecisionKind::Redirect, "{count}");
    }
    for count in ["3", "4", "255"] {
        let stopped = after(count);
        assert_eq!(
            (stopped.kind, &*stopped.rule, stopped.status),
            (
                DecisionKind::Block,
                "office365-strict/redirect-loop",
                Some(403)
            )
        );
        assert!(stopped.reason.contains("three times"));
    }
    // A count is nothing to anyone who would not be redirected.
    let cookie = "__Host-weir-redirects=200";
    for (peer, rule) in [
        (MANAGED, "browser-managed"),
        (BYPASS, "browser-bypass"),
        (BLOCKED, "blocked-source"),
    ] {
        let request = Request::get(PASSIVE).agent(FIREFOX).with("Cookie", cookie);
        let facts = request.facts(&policy, peer).expect("a readable request");
        let decision = policy.decide(&facts, &Known).without_token();
        assert_eq!(decision.rule.strip_prefix("office365-strict/"), Some(rule));
    }
    let native = Request::get(PASSIVE)
        .agent(OFFICE_VIEW)
        .with("Cookie", cookie);
    let facts = native
        .facts(&policy, UNMANAGED)
        .expect("a readable request");
    let decision = policy.decide(&facts, &Known).without_token();
    assert_eq!(&*decision.rule, "office365-strict/native-unmanaged");
}

#[test]
fn the_loop_guard_stops_a_redirect_of_an_administrators_rule_too_and_stays_on() {
    let rule = r#"{"name":"app","when":{"flow":"passive"},"then":{"decision":"redirect"}}"#;
    let policy = compile(&common::with(&[rule]));
    let request = Request::form(PASSIVE, "UserName=alice%40corp.example&Password=p")
        .agent(FIREFOX)
        .with("Cookie", "__Host-weir-redirects=3");
    let facts = request.facts(&policy, MANAGED).expect("a readable request");
    let (decision, tried) = policy.explain(&facts, &Known);
    let decision = decision.without_token();
    assert_eq!(decision, policy.decide(&facts, &Known).without_token());
    assert_eq!(&*decision.rule, "office365-strict/redirect-loop");
    let [.., stopped, guard] = tried.as_slice() else {
        panic!("two rules at least were tried");
    };
    assert_eq!(
        (stopped.rule.as_str(), stopped.matched),
        ("rule/app", false)
    );
    assert!(stopped.why.ends_with("but it has done so too often"));
    assert!(guard.matched && guard.rule == *decision.rule);

    let mut spec = strict();
    spec.switched_off = vec!["office365-strict/redirect-loop".into()];
    let errors = Policy::compile(&spec).expect_err("it is a guard");
    assert!(errors[0].message.contains("cannot be switched off"));
}

#[test]
fn without_a_reverse_proxy_a_redirect_is_a_block_that_says_so() {
    let mut spec = strict();
    spec.reverse_proxy = None;
    let policy = compile(&spec);
    let facts = Request::get(PASSIVE)
        .agent(FIREFOX)
        .facts(&policy, UNMANAGED);
    let decision = policy
        .decide(&facts.expect("a readable request"), &Known)
        .without_token();
    assert_eq!(decision.kind, DecisionKind::Block);
    assert_eq!(&*decision.rule, "office365-strict/browser-unmanaged");
    assert!(decision.reason.contains("no reverse proxy is configured"));
    assert!(
        policy
            .warnings()
            .iter()
            .any(|warning| warning.field == "reverse_proxy")
    );
}
