//! Answers that are too large to be read whole, while a rule waits for what their token says.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use weir_proxy::limits::{Limits, Room};

use crate::common::client::whole;
use crate::common::upstream::{Body, text};
use crate::common::{HOST, MANAGED, UNMANAGED, patiently};
use crate::stage::{ACTIVE, BROWSER, PAGE, browse, group, in_turn, limited, page, rule, stage};

const LARGE: usize = 3 << 20;
/// What hands a token on without a form.
const TELLS: &str = ";post('wresult', token);";

/// An answer with this type of content, and its length before it.
fn typed(kind: &str, body: &str) -> Response<Body> {
    let mut answer = text(200, body);
    let kind = HeaderValue::from_str(kind).expect("plain text");
    answer.headers_mut().insert("content-type", kind);
    answer
}

/// The same in parts, of which nobody knows how many come.
fn in_parts(kind: &str, body: &str) -> Response<Body> {
    let parts: Vec<_> = body
        .as_bytes()
        .chunks(10_000)
        .map(|part| Ok(Frame::data(Bytes::copy_from_slice(part))))
        .collect();
    typed(kind, "").map(|_| StreamBody::new(futures_util::stream::iter(parts)).boxed())
}

fn script(at: usize, what: &str) -> String {
    let mut script = "x".repeat(LARGE);
    script.insert_str(at, what);
    script
}

#[tokio::test]
async fn what_is_no_page_streams_through() {
    for decision in ["block", "pass"] {
        for kind in [
            "image/png",
            "font/woff2",
            "text/javascript; charset=utf-8",
            "text/css",
            "application/octet-stream",
        ] {
            let mut stage = stage(vec![rule("finance", group("Finance"), decision)], |seen| {
                let body = "x".repeat(LARGE);
                if seen.target.contains("parts") {
                    in_parts(kind, &body)
                } else {
                    typed(kind, &body)
                }
            })
            .await;
            for path in [PAGE.to_owned(), format!("{PAGE}&wctx=parts")] {
                let answer = browse(&stage, MANAGED, &path).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.body.len()),
                    (200, LARGE),
                    "{kind}"
                );
                let event = stage.event().await;
                assert_eq!((&*event.decision, &*event.rule), ("pass", "rule/finance"));
            }
        }
    }
}

#[tokio::test]
async fn what_may_be_a_page_is_blocked() {
    let rules = vec![rule("no-finance", group("Finance"), "block")];
    let body = "x".repeat(LARGE);
    let with = |kind: &str, name: &'static str, value: &'static str| {
        let mut answer = typed(kind, &body);
        let value = HeaderValue::from_static(value);
        answer.headers_mut().insert(name, value);
        answer
    };
    let leads = "https://login.microsoftonline.com/?code=abc";
    let mut failed = typed("image/png", &body);
    *failed.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    let mut untyped = typed("image/png", &body);
    untyped.headers_mut().remove("content-type");
    let answers = vec![
        ("page", typed("text/html", &body)),
        ("page in parts", in_parts("text/html", &body)),
        ("page with a token", page("wresult", &body)),
        ("picture with scripts", typed("image/svg+xml", &body)),
        ("json", typed("application/json", &body)),
        ("text", typed("text/plain", &body)),
        ("nothing said", untyped),
        ("two types", with("text/javascript, text/html", "x-a", "b")),
        (
            "other words",
            typed("text/javascript; charset=utf-16", &body),
        ),
        ("packed", with("text/javascript", "content-encoding", "br")),
        ("leads on", with("image/png", "location", leads)),
        ("leads on later", with("image/png", "refresh", "0; url=/")),
        ("error", failed),
        (
            "token at its begin",
            in_parts("text/javascript", &script(9, TELLS)),
        ),
    ];
    let names: Vec<&str> = answers.iter().map(|(name, _)| *name).collect();
    let answers = answers.into_iter().map(|(_, answer)| answer);
    let mut stage = in_turn(rules, answers.collect()).await;
    for name in names {
        let answer = browse(&stage, MANAGED, PAGE).await;
        assert_eq!(answer.status, 403, "{name}");
        let event = stage.event().await;
        assert_eq!(
            (&*event.decision, &*event.rule),
            ("block", "rule/no-finance"),
            "{name}"
        );
    }
}

#[tokio::test]
async fn who_asks_for_a_token_reads_whatever_comes() {
    let rules = vec![rule("no-finance", group("Finance"), "block")];
    let stage = stage(rules, |_| typed("image/png", &"x".repeat(LARGE))).await;
    for (path, kind, body) in [
        (ACTIVE, "application/soap+xml", "<s:Envelope/>"),
        (
            "/adfs/oauth2/token",
            "application/x-www-form-urlencoded",
            "grant_type=authorization_code&code=abc",
        ),
    ] {
        let answer = stage.http2(MANAGED).await.post(path, kind, body).await;
        assert!(answer.status.is_client_error(), "{path}: {}", answer.status);
        assert!(answer.body.len() < LARGE, "{path}");
    }
}

#[tokio::test]
async fn what_looks_like_a_token_ends_it() {
    let rules = vec![rule("no-finance", group("Finance"), "block")];
    // Across two parts, too.
    for at in [9, LARGE / 2, 2_599_990, LARGE] {
        let rules = rules.clone();
        let mut stage = stage(rules, move |seen| {
            let script = script(at, TELLS);
            if seen.target.contains("parts") {
                in_parts("text/javascript", &script)
            } else {
                typed("text/javascript", &script)
            }
        })
        .await;
        for path in [PAGE.to_owned(), format!("{PAGE}&wctx=parts")] {
            let mut http = stage.http1(MANAGED).await;
            let mut request = http.request("GET", &path, "");
            let agent = BROWSER.parse().expect("plain text");
            request.headers_mut().insert("user-agent", agent);
            let answer = http.begin(request).await.expect("a head");
            let blocked = answer.status() == 403;
            let read = whole(answer).await;
            assert!(blocked || read.is_err(), "{at} {path}");
        }
        let cut = if at < 2 << 20 { 1 } else { 2 };
        stage
            .control
            .counts(|counts| counts.answers_cut == cut)
            .await;
    }
}

#[tokio::test]
async fn one_that_no_rule_waits_for_comes_whole() {
    let page = "x".repeat(LARGE);
    let stage = stage(Vec::new(), move |seen| {
        if seen.target.contains("parts") {
            in_parts("text/html", &page)
        } else {
            typed("text/html", &page)
        }
    })
    .await;
    for path in [PAGE.to_owned(), format!("{PAGE}&wctx=parts")] {
        let answer = browse(&stage, MANAGED, &path).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, LARGE));
    }
}

#[tokio::test]
async fn one_that_is_not_taken_is_given_up() {
    let short = Duration::from_millis(50);
    let memory = Limits::default().answer_memory;
    let limits = Limits {
        answer_memory: Room {
            per_client: LARGE,
            ..memory
        },
        stalled: 4 * short,
        wait: short,
        ..Limits::default()
    };
    let waits = rule("staff", group("Staff"), "pass");
    let picture = "x".repeat(LARGE);
    let stage = limited(limits, vec![waits], move |_| {
        in_parts("image/png", &picture)
    })
    .await;
    let mut client = stage.windowless(UNMANAGED).await;
    let mut begin = async || {
        let request = Request::get(format!("https://{HOST}{PAGE}")).header("user-agent", BROWSER);
        let request = request.body(()).expect("a request");
        let (answer, _) = client.send_request(request, true).expect("it is open");
        patiently(answer).await.expect("an answer")
    };
    let first = begin().await;
    assert_eq!(
        (first.status(), begin().await.status().as_u16()),
        (http::StatusCode::OK, 503)
    );
    let has_room = async { while begin().await.status() != 200 {} };
    patiently(has_room).await;
}
