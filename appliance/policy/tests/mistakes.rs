//! What the compiler says of an administrator's mistakes, and of what is probably not meant.

mod common;

use common::{compile, with};
use weir_policy::{Policy, PolicySpec, RuleError};

fn errors(spec: &PolicySpec) -> Vec<RuleError> {
    Policy::compile(spec).expect_err("the policy is wrong")
}

/// A rule, the field that is wrong, and the word that was probably meant.
const MISTAKES: &[(&str, &str, Option<&str>)] = &[
    (
        r#"{"name":"r","when":{"class":"manged"},"then":{"decision":"pass"}}"#,
        "when.class",
        Some("managed"),
    ),
    (
        r#"{"name":"r","when":{"flow":"oauth_token"},"then":{"decision":"pass"}}"#,
        "when.flow",
        Some("oauth-token"),
    ),
    (
        r#"{"name":"r","when":{"client":"Outlok"},"then":{"decision":"pass"}}"#,
        "when.client",
        Some("outlook"),
    ),
    (
        r#"{"name":"r","when":{"not":{"flow":"activ"}},"then":{"decision":"block"}}"#,
        "when.not.flow",
        Some("active"),
    ),
    (
        r#"{"name":"r","when":{"application":"m356"},"then":{"decision":"pass"}}"#,
        "when.application",
        Some("m365"),
    ),
    (
        r#"{"name":"r","then":{"decision":"bloc"}}"#,
        "then.decision",
        Some("block"),
    ),
    (
        r#"{"name":"r","then":{"decision":"stepup"}}"#,
        "then.decision",
        Some("step-up"),
    ),
    (
        r#"{"name":"r","when":{"source":"203.0.113.0/33"},"then":{"decision":"pass"}}"#,
        "when.source",
        None,
    ),
    (
        r#"{"name":"r","when":{"user":"alice"},"then":{"decision":"block"}}"#,
        "when.user",
        None,
    ),
    (
        r#"{"name":"r","when":{"user":"alice@"},"then":{"decision":"block"}}"#,
        "when.user",
        None,
    ),
    (
        r#"{"name":"r","when":{"list":[]},"then":{"decision":"block"}}"#,
        "when.list",
        None,
    ),
    (
        r#"{"name":"r","when":{"host":" "},"then":{"decision":"block"}}"#,
        "when.host",
        None,
    ),
    (r#"{"name":"","then":{"decision":"block"}}"#, "name", None),
    (
        r#"{"name":"a/b","then":{"decision":"block"}}"#,
        "name",
        None,
    ),
    (
        r#"{"name":"r","then":{"decision":"block","reason":"a\nb"}}"#,
        "then.reason",
        None,
    ),
    (
        r#"{"name":"r","then":{"decision":"block","target":"https://x.example/"}}"#,
        "then.target",
        None,
    ),
    (
        r#"{"name":"r","then":{"decision":"redirect","target":"http://x.example/"}}"#,
        "then.target",
        None,
    ),
    (
        r#"{"name":"r","when":{"client":"native"},"then":{"decision":"redirect"}}"#,
        "then.decision",
        None,
    ),
    (
        r#"{"name":"r","when":{"flow":["active","mex"]},"then":{"decision":"redirect"}}"#,
        "then.decision",
        None,
    ),
    (
        r#"{"name":"r","when":{"claim":{"departmnt":"it"}},"then":{"decision":"block"}}"#,
        "when.claim.departmnt",
        Some("department"),
    ),
    (
        r#"{"name":"r","when":{"device":"compliand"},"then":{"decision":"block"}}"#,
        "when.device",
        Some("compliant"),
    ),
    (
        r#"{"name":"r","when":{"method":"paswword"},"then":{"decision":"block"}}"#,
        "when.method",
        Some("password"),
    ),
    (
        r#"{"name":"r","when":{"authenticated_within":"8 hours"},"then":{"decision":"block"}}"#,
        "when.authenticated_within",
        None,
    ),
    (
        r#"{"name":"r","when":{"authenticated_within":"0h"},"then":{"decision":"block"}}"#,
        "when.authenticated_within",
        None,
    ),
    (
        r#"{"name":"r","when":{"country":["DE","UK"]},"then":{"decision":"block"}}"#,
        "when.country",
        None,
    ),
    (
        r#"{"name":"r","when":{"location":"ofice"},"then":{"decision":"block"}}"#,
        "when.location",
        None,
    ),
    (
        r#"{"name":"r","when":{"time":{"from":"25:00"}},"then":{"decision":"block"}}"#,
        "when.time.from",
        None,
    ),
    (
        r#"{"name":"r","when":{"time":{"days":"monday"}},"then":{"decision":"block"}}"#,
        "when.time.days",
        Some("mon"),
    ),
    (
        r#"{"name":"r","when":{"time":{"from":"08:00","to":"08:00"}},"then":{"decision":"block"}}"#,
        "when.time.from",
        None,
    ),
    (
        r#"{"name":"r","when":{"time":{}},"then":{"decision":"block"}}"#,
        "when.time",
        None,
    ),
    (
        r#"{"name":"r","when":{"time":{"days":"mon","zone":"Europe/Berlim"}},"then":{"decision":"block"}}"#,
        "when.time.zone",
        Some("Europe/Berlin"),
    ),
    (
        r#"{"name":"r","when":{},"then":{"decision":"pass","within":"1h"}}"#,
        "then.within",
        None,
    ),
    (
        r#"{"name":"r","when":{},"then":{"decision":"pass","grant":{"class":"managed","for":"30m"}}}"#,
        "then.grant",
        None,
    ),
];

#[test]
fn mistakes_are_named_with_their_field_and_what_was_probably_meant() {
    for &(json, field, suggestion) in MISTAKES {
        let found = errors(&with(&[
            r#"{"name":"first","when":{"flow":"mex"},"then":{"decision":"pass"}}"#,
            json,
        ]));
        let [error] = found.as_slice() else {
            panic!("{json}: {found:?}")
        };
        assert_eq!(
            (error.rule, error.field.as_str()),
            (Some(1), field),
            "{json}: {error}"
        );
        assert_eq!(error.suggestion.as_deref(), suggestion, "{json}: {error}");
    }
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let mut spec = with(&[
        r#"{"name":"twice","when":{"class":"a","flow":"b"},"then":{"decision":"c"}}"#,
        r#"{"name":"twice","then":{"decision":"pass"}}"#,
    ]);
    spec.profile = "adsf".into();
    spec.reverse_proxy = Some("proxy.example".into());
    spec.switched_off = vec![
        "office365-strict/browser-unmanged".into(),
        "office365-strict/internal-path".into(),
    ];
    let found = errors(&spec);
    let fields: Vec<&str> = found.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "profile",
            "reverse_proxy",
            "when.class",
            "when.flow",
            "then.decision",
            "name",
            "switched_off",
            "switched_off",
        ]
    );
    assert_eq!(
        found[6].suggestion.as_deref(),
        Some("office365-strict/browser-unmanaged")
    );
    assert!(found[7].message.contains("cannot be switched off"));
}

#[test]
fn what_is_legal_but_probably_not_meant_is_a_warning() {
    let warned = |rules: &[&str]| -> Vec<(Option<usize>, String)> {
        let policy = compile(&with(rules));
        policy
            .warnings()
            .iter()
            .map(|it| (it.rule, it.field.clone()))
            .collect()
    };
    assert_eq!(warned(&[]), []);
    let block_mex = r#"{"name":"a","when":{"flow":["mex","active"]},"then":{"decision":"block"}}"#;
    let pass_mex =
        r#"{"name":"b","when":{"flow":"mex","class":"managed"},"then":{"decision":"pass"}}"#;
    assert_eq!(
        warned(&[block_mex, pass_mex]),
        [(Some(1), "when".to_owned())]
    );
    assert_eq!(warned(&[pass_mex, block_mex]), []);
    // Whether the first matches may be unknown, and then the second does.
    let pass_party = r#"{"name":"a","when":{"relying_party":"x"},"then":{"decision":"pass"}}"#;
    let block_party = r#"{"name":"b","when":{"relying_party":"x"},"then":{"decision":"block"}}"#;
    assert_eq!(warned(&[pass_party, block_party]), []);
    let user = r#"{"name":"a","when":{"user":"@x.example"},"then":{"decision":"block"}}"#;
    assert_eq!(warned(&[user]), [(Some(0), "when.user".to_owned())]);
    let active =
        r#"{"name":"a","when":{"user":"@x.example","flow":"active"},"then":{"decision":"block"}}"#;
    assert_eq!(warned(&[active]), []);
    let server = r#"{"name":"a","when":{"client":"server"},"then":{"decision":"pass"}}"#;
    assert_eq!(warned(&[server]), [(Some(0), "when.client".to_owned())]);
    for sure in [
        r#"{"name":"a","when":{"client":"server","class":"managed"},"then":{"decision":"pass"}}"#,
        r#"{"name":"a","when":{"client":"server","source":"192.0.2.0/24"},"then":{"decision":"pass"}}"#,
        r#"{"name":"a","when":{"client":"server"},"then":{"decision":"block"}}"#,
        r#"{"name":"a","when":{"client":"native"},"then":{"decision":"pass"}}"#,
    ] {
        assert_eq!(warned(&[sure]), [], "{sure}");
    }
}

#[test]
fn grants_are_short_and_what_only_tokens_tell_needs_tokens() {
    let granted = |class: &str, lasts: &str, decision: &str| -> Vec<String> {
        let grant = format!(r#"{{"class":"{class}","for":"{lasts}"}}"#);
        let rule = format!(r#"{{"name":"r","then":{{"decision":"{decision}","grant":{grant}}}}}"#);
        let mut spec = with(&[&rule]);
        spec.decide_at_token = true;
        let found = Policy::compile(&spec).err().unwrap_or_default();
        found.into_iter().map(|error| error.field).collect()
    };
    assert_eq!(granted("bypass", "60m", "pass"), [""; 0]);
    assert_eq!(granted("bypass", "61m", "pass"), ["then.grant.for"]);
    assert_eq!(granted("blocked", "1h", "pass"), ["then.grant.class"]);
    assert_eq!(granted("managed", "1h", "block"), ["then.grant"]);

    let warned = |when: &str, decision: &str, decide: bool| -> Vec<String> {
        let rule = format!(r#"{{"name":"r","when":{when},"then":{{"decision":"{decision}"}}}}"#);
        let mut spec = with(&[&rule]);
        spec.decide_at_token = decide;
        let policy = compile(&spec);
        let fields = policy
            .warnings()
            .iter()
            .map(|warning| warning.field.clone());
        fields.collect()
    };
    let inner = r#"{"not":{"role":"Admin"},"claim":{"department":"it"}}"#;
    assert_eq!(warned(inner, "block", true), [""; 0]);
    assert_eq!(
        warned(inner, "block", false),
        ["when.claim", "when.not.role"]
    );
    assert_eq!(warned("{}", "step-up", false), ["then.decision"]);
    assert_eq!(
        warned(r#"{"flow":"active"}"#, "step-up", true),
        ["then.decision"]
    );
    // The rule is for others, who may look at tokens.
    assert_eq!(
        warned(r#"{"service":"other","role":"Admin"}"#, "block", false),
        [""; 0]
    );
}
