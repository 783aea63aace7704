//! What can be asked: one table, from which routing, `Allow` and the check of the queries follow.
//! `openapi.json` describes the same operations.

use std::collections::BTreeSet;

use http::Method;
use weir_entra::review::What;

use super::refusal::Refusal;

/// A method on a path.
#[derive(Debug)]
pub struct Operation {
    /// The method.
    pub method: Method,
    /// The path; `{name}` stands for one segment.
    pub path: &'static str,
    /// Keys that its query may have.
    pub keys: &'static [&'static str],
    /// Keys that its body, a JSON object, may have; `None` when it has no body.
    pub body: Option<&'static [&'static str]>,
    /// Whether it changes what is in force, and so needs the socket that may.
    pub changes: bool,
    /// What it does.
    pub(super) does: Does,
}

/// What an operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Does {
    Status,
    Counters,
    Metrics,
    Events,
    Flows,
    Capture,
    Lists,
    TestLists,
    List,
    AddEntry,
    RemoveEntry,
    RefreshList,
    ApproveList,
    Reload,
    Confirm,
    Undo,
    Explain,
    Claims,
    DiffRules,
    Grants,
    TakeGrants,
    Revoke,
    Restore,
    Keys,
    RefreshKeys,
    ApproveKeys,
    ExplainUser,
    Review(What),
    ReviewKey,
    ReviewSignature,
    SignIns,
    Entra,
    CheckEntra,
    ConnectEntra,
    SyncEntra,
    ApproveEntra,
    DiscardEntra,
    DisconnectEntra,
    Describe,
}

/// All operations; of two paths that fit, the first one is meant.
pub static OPERATIONS: [Operation; 42] = [
    get("/v1/status", &[], Does::Status),
    get("/v1/counters", &[], Does::Counters),
    get("/v1/metrics", &[], Does::Metrics),
    get(
        "/v1/events",
        &[
            "after", "limit", "follow", "source", "user", "rule", "id", "decision", "service",
            "kind", "since", "until",
        ],
        Does::Events,
    ),
    get(
        "/v1/flows",
        &[
            "limit", "follow", "source", "service", "class", "verdict", "reason", "hook",
        ],
        Does::Flows,
    ),
    change(
        Method::POST,
        "/v1/capture",
        &[],
        Some(&[
            "source", "service", "verdicts", "payload", "seconds", "packets",
        ]),
        Does::Capture,
    ),
    get("/v1/lists", &[], Does::Lists),
    get("/v1/lists/test", &["source"], Does::TestLists),
    get("/v1/lists/{name}", &["prefix", "limit"], Does::List),
    change(
        Method::POST,
        "/v1/lists/{name}/entries",
        &[],
        Some(&["prefix", "comment"]),
        Does::AddEntry,
    ),
    change(
        Method::DELETE,
        "/v1/lists/{name}/entries",
        &["prefix"],
        None,
        Does::RemoveEntry,
    ),
    change(
        Method::POST,
        "/v1/lists/{name}/refresh",
        &[],
        None,
        Does::RefreshList,
    ),
    change(
        Method::POST,
        "/v1/lists/{name}/approve",
        &[],
        Some(&["digest"]),
        Does::ApproveList,
    ),
    change(
        Method::POST,
        "/v1/reload",
        &[],
        Some(&["dry_run", "confirm_within"]),
        Does::Reload,
    ),
    change(Method::POST, "/v1/confirm", &[], None, Does::Confirm),
    change(Method::POST, "/v1/undo", &[], None, Does::Undo),
    Operation {
        method: Method::POST,
        path: "/v1/explain",
        keys: &[],
        body: Some(&[
            "source",
            "id",
            "port",
            "service",
            "host",
            "method",
            "url",
            "headers",
            "body",
            "claims",
            "methods",
            "authenticated",
            "time",
        ]),
        changes: false,
        does: Does::Explain,
    },
    get("/v1/claims", &["user", "service"], Does::Claims),
    Operation {
        method: Method::POST,
        path: "/v1/rules/diff",
        keys: &[],
        body: Some(&["policies", "since", "service"]),
        changes: false,
        does: Does::DiffRules,
    },
    get("/v1/grants", &[], Does::Grants),
    change(
        Method::DELETE,
        "/v1/grants",
        &["address", "principal"],
        None,
        Does::TakeGrants,
    ),
    change(
        Method::POST,
        "/v1/principals/revoke",
        &[],
        Some(&["principal", "reason"]),
        Does::Revoke,
    ),
    change(
        Method::POST,
        "/v1/principals/restore",
        &[],
        Some(&["principal"]),
        Does::Restore,
    ),
    get("/v1/keys", &[], Does::Keys),
    change(
        Method::POST,
        "/v1/keys/refresh",
        &[],
        Some(&["service"]),
        Does::RefreshKeys,
    ),
    change(
        Method::POST,
        "/v1/keys/approve",
        &[],
        Some(&["service", "fingerprints"]),
        Does::ApproveKeys,
    ),
    get("/v1/explain/user", &["user"], Does::ExplainUser),
    get(
        "/v1/entra/review/access",
        &["format", "as_of"],
        Does::Review(What::Access),
    ),
    get(
        "/v1/entra/review/joiners",
        &["format", "from", "to"],
        Does::Review(What::Joiners),
    ),
    get(
        "/v1/entra/review/leavers",
        &["format", "from", "to"],
        Does::Review(What::Leavers),
    ),
    get(
        "/v1/entra/review/posture",
        &["format", "as_of"],
        Does::Review(What::Posture),
    ),
    get("/v1/entra/review/key", &[], Does::ReviewKey),
    get(
        "/v1/entra/review/signature",
        &["export"],
        Does::ReviewSignature,
    ),
    get(
        "/v1/entra/sign-ins",
        &["from", "to", "user", "source", "limit"],
        Does::SignIns,
    ),
    get("/v1/entra", &[], Does::Entra),
    change(Method::POST, "/v1/entra/check", &[], None, Does::CheckEntra),
    change(
        Method::POST,
        "/v1/entra/connect",
        &[],
        Some(&["callback"]),
        Does::ConnectEntra,
    ),
    change(
        Method::POST,
        "/v1/entra/sync",
        &[],
        Some(&["part", "full"]),
        Does::SyncEntra,
    ),
    change(
        Method::POST,
        "/v1/entra/approve",
        &[],
        Some(&["digest"]),
        Does::ApproveEntra,
    ),
    change(
        Method::POST,
        "/v1/entra/discard",
        &[],
        Some(&["digest"]),
        Does::DiscardEntra,
    ),
    change(
        Method::POST,
        "/v1/entra/disconnect",
        &[],
        Some(&["purge"]),
        Does::DisconnectEntra,
    ),
    get("/v1/openapi.json", &[], Does::Describe),
];

const fn get(path: &'static str, keys: &'static [&'static str], does: Does) -> Operation {
    Operation {
        method: Method::GET,
        path,
        keys,
        body: None,
        changes: false,
        does,
    }
}

const fn change(
    method: Method,
    path: &'static str,
    keys: &'static [&'static str],
    body: Option<&'static [&'static str]>,
    does: Does,
) -> Operation {
    Operation {
        method,
        path,
        keys,
        body,
        changes: true,
        does,
    }
}

impl Operation {
    /// The operation that a method on a path asks for; `segments` are those of `path`, decoded.
    pub(super) fn find(
        method: &Method,
        path: &str,
        segments: &[&str],
    ) -> Result<&'static Self, Refusal> {
        let here = || OPERATIONS.iter().filter(|one| one.is_at(segments));
        if let Some(found) = here().find(|one| one.method == *method) {
            return Ok(found);
        }
        let methods: BTreeSet<_> = here().map(|one| one.method.as_str()).collect();
        if methods.is_empty() {
            let known: BTreeSet<_> = OPERATIONS.iter().map(|one| one.path).collect();
            return Err(Refusal::NoPath {
                path: path.to_owned(),
                known: known.into_iter().collect(),
            });
        }
        Err(Refusal::Method {
            method: method.as_str().to_owned(),
            path: path.to_owned(),
            allow: methods.into_iter().collect::<Vec<_>>().join(", "),
        })
    }

    fn is_at(&self, segments: &[&str]) -> bool {
        let mut mine = self.path.split('/');
        let mut theirs = segments.iter();
        loop {
            match (mine.next(), theirs.next()) {
                (None, None) => return true,
                (Some(mine), Some(theirs)) if mine == *theirs => {}
                (Some(mine), Some(theirs)) if mine.starts_with('{') && !theirs.is_empty() => {}
                _ => return false,
            }
        }
    }
}
