//! Replays what fuzzing begins with and what it has found.

#[path = "../../fuzz/properties/entra_error.rs"]
mod entra_error;
#[path = "../../fuzz/properties/graph_page.rs"]
mod graph_page;
#[path = "../../../../tests/replay.rs"]
mod replay;

use proptest::prelude::*;
use replay::replay;

#[test]
fn pages_of_the_corpus() {
    replay("graph_page", graph_page::check);
}

#[test]
fn errors_of_the_corpus() {
    replay("entra_error", entra_error::check);
}

/// JSON as Graph's is made: its names, and values of any kind in any place.
fn json() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "value",
        "id",
        "@removed",
        "reason",
        "members@delta",
        "@odata.type",
        "@odata.nextLink",
        "@odata.deltaLink",
        "displayName",
        "accountEnabled",
        "createdDateTime",
        "principalId",
        "roleDefinitionId",
        "directoryScopeId",
        "conditions",
        "users",
        "state",
        "error",
        "code",
        "message",
        "innerError",
        "error_description",
        "error_codes",
    ]);
    let texts = prop::sample::select(vec![
        "\"1b6f6a0e-0c3b-4f0a-9a60-5f0f5d3a0001\"",
        "\"changed\"",
        "\"deleted\"",
        "\"\\u0000\"",
        "\"2026-08-22T07:41:12.1234567Z\"",
        "\"https://graph.microsoft.com/v1.0/users/delta\"",
        "\"#microsoft.graph.group\"",
        "null",
        "true",
        "-1",
        "1e999",
        "[]",
        "{}",
        "\"AADSTS7000222: x\"",
    ]);
    texts
        .prop_map(str::to_owned)
        .prop_recursive(5, 60, 6, move |inner| {
            let member = (names.clone(), inner.clone());
            prop_oneof![
                prop::collection::vec(inner, 0..5).prop_map(|all| format!("[{}]", all.join(","))),
                prop::collection::vec(member, 0..6).prop_map(|all| {
                    let all = all
                        .iter()
                        .map(|(name, value)| format!("\"{name}\":{value}"));
                    format!("{{{}}}", all.collect::<Vec<_>>().join(","))
                }),
            ]
        })
}

proptest! {
    #[test]
    fn nothing_panics(which in b'a'..=b'u', body in json(), cut in any::<prop::sample::Index>()) {
        graph_page::check(format!("{}{body}", char::from(which)).as_bytes());
        entra_error::check(body.as_bytes());
        let cut = cut.index(body.len() + 1);
        let half = body.get(..cut).unwrap_or_default();
        graph_page::check(format!("{}{half}", char::from(which)).as_bytes());
        entra_error::check(half.as_bytes());
    }
}
