//! One request from a managed source to the strict policy, and a reader of XML that shares no code with
//! the crate.

use std::net::IpAddr;
use std::sync::LazyLock;

use weir_abi::Class;
use weir_policy::{
    BodyNeed, Classified, Classify, Decision, DecisionKind, Facts, Head, Policy, PolicySpec,
    Uncounted, answer,
};

struct Managed;

impl Classify for Managed {
    fn classify(&self, _: IpAddr) -> Classified {
        Classified {
            class: Class::Managed,
            ..Classified::default()
        }
    }
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| {
    let spec = r#"{"service":"sts","profile":"adfs","rule_set":"office365-strict"}"#;
    let spec: PolicySpec = serde_json::from_str(spec).expect("the rest has defaults");
    Policy::compile(&spec).expect("a good policy")
});

/// What policy knows of a request with this body, and its decision. A body longer than policy asks for
/// is left out, as the proxy does.
pub fn judge(target: &str, content_type: &str, body: &[u8]) -> (Facts, Decision) {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let headers = [("Content-Type", content_type.as_bytes())];
    let head = Head {
        method: if content_type.is_empty() {
            "GET"
        } else {
            "POST"
        },
        host: "sts.corp.example",
        path,
        query,
        headers: if content_type.is_empty() {
            &[]
        } else {
            &headers
        },
    };
    let recognised = POLICY.recognise(&head).expect("a plain path");
    let body = match recognised.body {
        BodyNeed::UpTo(most) => (body.len() <= most).then_some(body),
        BodyNeed::None => None,
    };
    let peer = IpAddr::from([203, 0, 113, 10]);
    let facts = POLICY.facts(&head, &recognised, body, peer, &Managed);
    let decision = POLICY.decide(&facts, &Uncounted(None)).without_token();
    let block = Decision {
        kind: DecisionKind::Block,
        status: Some(403),
        ..decision.clone()
    };
    assert!(
        !answer::block(&facts, &block, "0123456789abcdef")
            .body
            .is_empty()
    );
    (facts, decision)
}

/// Local names of all start tags, in order, as the simplest of readers sees them; `!` for a DTD.
#[allow(dead_code, reason = "forms hold no XML")]
pub fn tags(document: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = document;
    while let Some(open) = rest.find('<') {
        rest = &rest[open + 1..];
        let end = if rest.starts_with("!--") {
            "-->"
        } else if rest.starts_with("![CDATA[") {
            "]]>"
        } else if rest.starts_with('?') {
            "?>"
        } else if rest.starts_with('/') {
            ">"
        } else {
            let name = rest.split(|c: char| c.is_ascii_whitespace() || "/>".contains(c));
            let name = name.into_iter().next().unwrap_or_default();
            found.push(match name.strip_prefix('!') {
                Some(_) => "!",
                None => name.rsplit(':').next().unwrap_or_default(),
            });
            rest = behind_attributes(rest);
            continue;
        };
        rest = rest.find(end).map_or("", |at| &rest[at + end.len()..]);
    }
    found
}

fn behind_attributes(tag: &str) -> &str {
    let mut quote = None;
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (None, b'>') => return &tag[at + 1..],
            (None, b'"' | b'\'') => quote = Some(byte),
            (Some(open), _) if open == byte => quote = None,
            _ => {}
        }
    }
    ""
}
