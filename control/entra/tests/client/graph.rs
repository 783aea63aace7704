//! How Graph is asked, and what its answers mean.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::json;
use uuid::Uuid;
use weir_entra::cloud::Cloud;
use weir_entra::decode::users;
use weir_entra::graph::{Answer, Ask, At, Call, Failure, Graph, Kind, Priority};
use weir_entra::model::{Item, Page, Part, UserPatch};
use weir_entra::network::NetworkError;

use crate::support::{Asked, Reply, Scripted, registration, token, token_path};

const USER: &str = "1b6f6a0e-0c3b-4f0a-9a60-5f0f5d3a0001";

/// A page of one user that is the last.
fn page() -> serde_json::Value {
    json!({
        "@odata.deltaLink": "https://graph.example/v1.0/users/delta?$deltatoken=d1",
        "value": [{ "id": USER, "accountEnabled": true }],
    })
}

type Users = Answer<Page<Item<UserPatch>>>;

async fn ask(graph: &Graph) -> Result<Users, Failure> {
    graph
        .get(&Call::start(&Ask::UserChanges), users::changes)
        .await
}

#[tokio::test]
async fn a_request_says_who_asks_for_what() {
    let it = Scripted::start(|_, _| Reply::json(&page()).with("request-id", "r-1")).await;
    let answer = ask(&it.graph).await.expect("a page");
    assert_eq!(answer.said.items.len(), 1);
    assert_eq!(
        (answer.request_id.as_deref(), answer.tries),
        (Some("r-1"), 1)
    );
    let delta = format!("{}/v1.0/users/delta?$deltatoken=d1", it.server.origin);
    let next = format!("{}/v1.0/users/delta?$skiptoken=s1", it.server.origin);
    for at in [At::Next(&next), At::Delta(&delta)] {
        let call = Call::at(&Ask::UserChanges, at).priority(Priority::Normal);
        it.graph.get(&call, users::changes).await.expect("a page");
    }
    let asked = it.server.asked_for("/v1.0/");
    let expected = token(crate::support::TENANT, &["User.Read.All"], 1);
    for one in &asked {
        assert_eq!(one.method, "GET");
        assert_eq!(
            one.header("authorization"),
            Some(&*format!("Bearer {expected}"))
        );
        assert_eq!(one.header("accept"), Some("application/json"));
        let id = one.header("client-request-id").expect("an id");
        assert!(Uuid::try_parse(id).is_ok());
        assert!(
            one.header("user-agent")
                .expect("a name")
                .starts_with("weir/")
        );
    }
    let of = |name| asked.iter().map(|one| one.header(name)).collect::<Vec<_>>();
    assert_eq!(of("prefer"), [None, None, Some("return=minimal")]);
    assert_eq!(
        of("x-ms-throttle-priority"),
        [Some("low"), Some("normal"), Some("normal")]
    );
    assert!(
        asked[0]
            .target
            .starts_with("/v1.0/users/delta?$select=id,accountEnabled,")
    );
    assert_eq!(asked[1].target, "/v1.0/users/delta?$skiptoken=s1");
    assert_eq!(asked[2].target, "/v1.0/users/delta?$deltatoken=d1");
    assert_eq!(it.server.asked_for(&token_path()).len(), 1);
}

#[tokio::test]
async fn a_refused_token_is_replaced_once() {
    let unauthorized = || {
        Reply::error(
            401,
            "InvalidAuthenticationToken",
            "Access token has expired.",
        )
    };
    let it = Scripted::start(move |_, nth| match nth {
        1 => unauthorized(),
        _ => Reply::json(&page()),
    })
    .await;
    assert_eq!(ask(&it.graph).await.expect("a page").tries, 2);
    assert_eq!(it.server.asked_for(&token_path()).len(), 2);

    let it = Scripted::start(move |_, _| unauthorized()).await;
    for _ in 0..3 {
        let failure = ask(&it.graph).await.expect_err("no token will do");
        assert_eq!(failure.kind, Kind::Unauthorized);
        assert_eq!(failure.code.as_deref(), Some("InvalidAuthenticationToken"));
    }
    // Nobody asks for tokens in a circle.
    assert_eq!(it.server.asked_for(&token_path()).len(), 2);
    it.clock.turn(Duration::from_mins(6));
    ask(&it.graph).await.expect_err("no token will do");
    assert_eq!(it.server.asked_for(&token_path()).len(), 3);
}

#[tokio::test]
async fn each_error_means_something() {
    let by = |status: u16, code: &'static str, words: &'static str| (status, code, words);
    let cases = [
        (
            by(
                400,
                "Request_BadRequest",
                "Could not find a property named 'x'.",
            ),
            Kind::BadRequest,
        ),
        (by(400, "Request_UnsupportedQuery", "No."), Kind::BadRequest),
        (by(400, "Directory_ExpiredPageToken", "No."), Kind::PageGone),
        (
            by(400, "syncStateNotFound", "The delta token is expired."),
            Kind::Resync,
        ),
        (
            by(400, "Request_BadRequest", "Badly formed token."),
            Kind::Resync,
        ),
        (by(404, "SyncStateNotFound", "No."), Kind::Resync),
        (by(410, "resyncRequired", "Resync required."), Kind::Resync),
        (
            by(
                403,
                "Authorization_RequestDenied",
                "Insufficient privileges.",
            ),
            Kind::NotPermitted,
        ),
        (
            by(403, "AccessDenied", "required scopes are missing"),
            Kind::NotPermitted,
        ),
        (
            by(
                403,
                "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
                "no premium license",
            ),
            Kind::NotLicensed,
        ),
        (by(403, "insufficient_claims", "No."), Kind::Challenged),
        (
            by(404, "Request_ResourceNotFound", "Resource does not exist."),
            Kind::Missing,
        ),
        (
            by(
                404,
                "Directory_ObjectNotFound",
                "Unable to read the company information.",
            ),
            Kind::NoTenant,
        ),
        (
            by(400, "BadRequest", "Resource not found for the segment 'x'."),
            Kind::NotOffered,
        ),
        (by(501, "NotImplemented", "No."), Kind::NotOffered),
    ];
    for ((status, code, words), kind) in cases {
        let it = Scripted::start(move |_, _| Reply::error(status, code, words)).await;
        let link = format!("{}/v1.0/users/delta?$deltatoken=d1", it.server.origin);
        let call = Call::at(&Ask::UserChanges, At::Delta(&link));
        let failure = it.graph.get(&call, users::changes).await.expect_err(code);
        assert_eq!(failure.kind, kind, "{status} {code}");
        assert_eq!(failure.code.as_deref(), Some(code));
        assert_eq!(failure.status, Some(status));
        assert_eq!(failure.request_id.as_deref(), Some("11aa"));
        assert_eq!(failure.part, Part::Users);
        assert!(!failure.is_transient());
        assert_eq!(it.server.asked_for("/v1.0/").len(), 1, "{status} {code}");
    }
}

#[tokio::test]
async fn the_innermost_known_code_counts() {
    let body = json!({ "error": {
        "code": "UnknownError", "message": "See https://graph.example/v1.0/users?$skiptoken=private here",
        "innererror": { "code": "Authorization_RequestDenied", "innerError": { "code": "x_y", "request-id": "r9" } },
    } });
    let it = Scripted::start(move |_, _| Reply::status(403, &body)).await;
    let failure = ask(&it.graph).await.expect_err("denied");
    assert_eq!(failure.code.as_deref(), Some("Authorization_RequestDenied"));
    assert_eq!(failure.request_id.as_deref(), Some("r9"));
    assert!(!failure.to_string().contains("private"), "{failure}");
}

#[tokio::test]
async fn what_passes_is_asked_again() {
    let cases: [fn() -> Reply; 6] = [
        || Reply::error(500, "InternalServerError", "No."),
        || Reply::error(503, "serviceNotAvailable", "No.").with("retry-after", "3"),
        || Reply::error(504, "UnknownError", "gateway timeout"),
        || Reply::error(429, "TooManyRequests", "No."),
        || Reply::error(403, "Authorization_IdentityNotFound", "No."),
        || Reply::Whole(502, Vec::new(), b"<html>Bad gateway</html>".to_vec()),
    ];
    for case in cases {
        let it = Scripted::start(move |_, nth| match nth {
            1 | 2 => case(),
            _ => Reply::json(&page()),
        })
        .await;
        assert_eq!(ask(&it.graph).await.expect("a page").tries, 3);
        assert_eq!(it.clock.slept().len(), 2);

        let it = Scripted::start(move |_, _| case()).await;
        let failure = ask(&it.graph).await.expect_err("it stays");
        assert!(failure.is_transient());
        assert_eq!(failure.tries, 6);
        assert_eq!(it.server.asked_for("/v1.0/").len(), 6);
    }
}

#[tokio::test]
async fn half_an_answer_is_none() {
    let body = page().to_string();
    let raw = |head: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{head}\r\n\r\n");
        Reply::Raw([head.as_bytes(), body].concat())
    };
    let packed = packed(body.as_bytes());
    let bytes = body.as_bytes();
    let length = bytes.len();
    let gzip = "content-encoding: gzip\r\ncontent-length";
    let bomb = self::packed(&vec![b' '; 40 << 20]);
    let cases = [
        // Broken off, with and without saying how long it is.
        raw(&format!("content-length: {length}"), &bytes[..40]),
        raw("connection: close", &bytes[..40]),
        raw(
            "transfer-encoding: chunked",
            b"28\r\n{\"@odata.deltaLink\": \"https://graph.exam",
        ),
        // A wrong length.
        raw(&format!("content-length: {}", length + 9), bytes),
        raw(&format!("content-length: {}", length - 9), bytes),
        // Packed, and broken.
        raw(
            &format!("{gzip}: {}", packed.len() - 9),
            &packed[..packed.len() - 9],
        ),
        raw(&format!("{gzip}: {length}"), bytes),
        raw(&format!("{gzip}: {}", bomb.len()), &bomb),
        raw(
            &format!("content-encoding: br\r\ncontent-length: {length}"),
            bytes,
        ),
        // Nothing, and something else.
        raw("content-length: 0", b""),
        raw("content-length: 2", b"{}"),
        raw("content-length: 12", b"{\"value\":{}}"),
        raw("content-length: 13", b"<html></html>"),
    ];
    for (index, case) in cases.into_iter().enumerate() {
        let it = Scripted::start(move |_, nth| match nth {
            1 => case.clone(),
            _ => Reply::json(&page()),
        })
        .await;
        let outcome = ask(&it.graph).await;
        if index == 7 {
            // Asked again, it would be as long.
            let failure = outcome.expect_err("too long");
            assert!(matches!(
                failure.kind,
                Kind::Network(NetworkError::TooLong(_))
            ));
        } else {
            let answer = outcome.unwrap_or_else(|failure| panic!("case {index}: {failure}"));
            assert_eq!(
                (answer.tries, answer.said.items.len()),
                (2, 1),
                "case {index}"
            );
        }
    }
}

#[tokio::test]
async fn a_packed_page_is_unpacked() {
    let it = Scripted::start(|asked, _| {
        assert_eq!(asked.header("accept-encoding"), Some("gzip"));
        let body = packed(page().to_string().as_bytes());
        Reply::Whole(200, vec![("content-encoding", "gzip".to_owned())], body)
    })
    .await;
    let answer = ask(&it.graph).await.expect("a page");
    assert_eq!(answer.length, page().to_string().len());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let it = Scripted::start(|asked, _| {
        if asked.target.starts_with("/elsewhere") {
            return Reply::json(&page());
        }
        Reply::Whole(307, vec![("location", "/elsewhere".to_owned())], Vec::new())
    })
    .await;
    let failure = ask(&it.graph).await.expect_err("it leads away");
    assert_eq!(failure.kind, Kind::Network(NetworkError::Redirect(307)));
    assert!(it.server.asked_for("/elsewhere").is_empty());
}

#[tokio::test]
async fn who_says_nothing_is_late() {
    let it = Scripted::within(Duration::from_secs(2), |_, nth| match nth {
        1 => Reply::Silence,
        _ => Reply::json(&page()),
    })
    .await;
    assert!(ask(&it.graph).await.expect("a page").tries > 1);
}

#[tokio::test]
async fn a_box_on_the_way_is_told_from_graph() {
    for status in [200, 403] {
        let it = Scripted::start(move |_, _| {
            let html = ("content-type", "text/html".to_owned());
            Reply::Whole(
                status,
                vec![html],
                b"<html>Blocked by policy</html>".to_vec(),
            )
        })
        .await;
        let failure = ask(&it.graph).await.expect_err("blocked");
        assert_eq!(failure.kind, Kind::NotGraph);
        assert!(!failure.is_transient());
        assert!(failure.to_string().contains("text/html"), "{failure}");
        assert_eq!(it.server.asked_for("/v1.0/").len(), 1);
    }
}

#[tokio::test]
async fn without_a_token_graph_is_not_asked() {
    let it = Scripted::start(|_, _| Reply::json(&page())).await;
    let cloud = Cloud::custom("https://127.0.0.1:1", &it.server.origin).expect("origins");
    let graph = Graph::new(
        registration(cloud).into(),
        it.tokens.clone(),
        &it.network,
        it.clock.clone(),
    );
    let failure = ask(&graph.expect("a client")).await.expect_err("no token");
    assert!(matches!(failure.kind, Kind::Token(_)));
    assert!(it.server.asked().is_empty());
}

#[tokio::test]
async fn what_a_cloud_lacks_is_not_asked_for() {
    let it = Scripted::start(|_, _| Reply::json(&page())).await;
    let china = Cloud::named("china").expect("a cloud");
    let graph = Graph::new(
        registration(china).into(),
        it.tokens.clone(),
        &it.network,
        it.clock.clone(),
    )
    .expect("a client");
    let call = Call::start(&Ask::Methods);
    let failure = graph.get(&call, weir_entra::decode::methods::decode).await;
    assert_eq!(failure.expect_err("it is not there").kind, Kind::NotOffered);
}

#[tokio::test]
async fn nothing_secret_stands_in_a_failure() {
    let echo = |asked: &Asked, _| {
        let token = asked.header("authorization").unwrap_or_default().to_owned();
        Reply::error(400, "Request_BadRequest", &format!("Bad header {token}"))
    };
    let it = Scripted::start(echo).await;
    let failure = ask(&it.graph).await.expect_err("refused");
    let shown = format!("{failure} {failure:?} {:?}", it.graph);
    assert!(shown.contains("Bad header"), "{shown}");
    assert!(!shown.contains("eyJ"), "{shown}");
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    packer.write_all(bytes).expect("in memory");
    packer.finish().expect("in memory")
}
