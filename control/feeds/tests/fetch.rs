//! Lists over real TLS: what comes, what does not, and what becomes of what is in force.

mod support;

use std::collections::BTreeSet;

use support::{Answer, Server};
use weir_feeds::guard::Limits;
use weir_feeds::microsoft365::Instance;
use weir_feeds::{Feed, Fetched, NotHeld, Taken, Web};

const NOW: &str = "2026-11-21T08:00:00Z";
const LATER: &str = "2026-11-21T09:00:00Z";

/// A list of `/29`s, one a line.
fn lines(count: u32) -> String {
    let line = |n| format!("198.51.{}.{}/29", n / 32, n % 32 * 8);
    let lines: Vec<_> = (0..count).map(line).collect();
    lines.join("\n") + "\n"
}

#[tokio::test]
async fn a_list_comes_once_and_is_then_known_to_be_the_same() {
    let server = Server::start().await;
    let source = Web::Url(server.url("/egress.txt"));
    server.set(
        "/egress.txt",
        Answer::ok("# egress\n203.0.113.0/29\n2001:db8:5::/48\n").tagged("\"v1\""),
    );
    let mut feed = Feed::default();
    let fetched = server
        .fetcher()
        .fetch(&source, feed.mark())
        .await
        .expect("a list");
    let Taken::InForce(text, difference) =
        feed.take(fetched, &Limits::default(), NOW).expect("good")
    else {
        panic!("the first is put in force");
    };
    assert_eq!(text, "203.0.113.0/29\n2001:db8:5::/48\n");
    assert_eq!(difference.added.len(), 2);
    assert_eq!(feed.mark(), Some("\"v1\""));

    let fetched = server
        .fetcher()
        .fetch(&source, feed.mark())
        .await
        .expect("an answer");
    assert_eq!(fetched, Fetched::Same);
    assert_eq!(
        feed.take(fetched, &Limits::default(), LATER),
        Ok(Taken::Same)
    );
    assert_eq!(feed.checked(), Some(LATER));
    // As it is read again at the next start.
    assert_eq!(Feed::open(Some(&text), Some(&feed.about())), feed);
    // A text that is not of this time is right, and is asked for anew.
    let other = Feed::open(Some("203.0.113.8/29\n"), Some(&feed.about()));
    assert_eq!(
        (other.mark(), other.in_force().map(<[_]>::len)),
        (None, Some(1))
    );
}

#[tokio::test]
async fn no_error_and_no_empty_answer_empties_a_list() {
    let server = Server::start().await;
    let source = Web::Url(server.url("/list"));
    let mut feed = Feed::default();
    server.set("/list", Answer::ok(&lines(50)));
    let first = server.fetcher().fetch(&source, None).await.expect("a list");
    feed.take(first, &Limits::default(), NOW).expect("good");
    for (answer, words) in [
        (Answer::status(500), "answers with status 500"),
        (Answer::status(404), "answers with status 404"),
        (Answer::status(302), "redirect (302), which is not followed"),
        (
            Answer::ok("<html><body>Sign in to the proxy"),
            "line 1 of the document",
        ),
        (
            Answer::ok("203.0.113.0/29\n203.0.113.300\n"),
            "line 2 of the document",
        ),
        (
            Answer::bytes(b"203.0.113.0/29\n\xff\n"),
            "not text in UTF-8",
        ),
        (Answer::ok(&lines(50)).cut_short(), "close_notify"),
        (
            Answer::ok(&"203.0.113.1\n".repeat(100_000)),
            "is longer than 1 MiB",
        ),
    ] {
        server.set("/list", answer);
        let why = server.fetcher().fetch(&source, feed.mark()).await;
        let why = why.expect_err(words);
        assert!(why.to_string().contains(words), "{why}");
        feed.failed(&why, LATER);
        assert_eq!(feed.in_force().map(<[_]>::len), Some(50));
    }
    for empty in ["", "# nothing\n\n"] {
        server.set("/list", Answer::ok(empty));
        let fetched = server
            .fetcher()
            .fetch(&source, feed.mark())
            .await
            .expect("text");
        let refused = feed
            .take(fetched, &Limits::default(), LATER)
            .expect_err("empty");
        assert_eq!(refused.to_string(), "it holds no prefix");
        assert_eq!(feed.in_force().map(<[_]>::len), Some(50));
    }
    let failing = feed.failing().expect("it fails");
    assert_eq!(
        (failing.since.as_str(), failing.why.as_str()),
        (LATER, "it holds no prefix")
    );
    assert_eq!(feed.checked(), Some(NOW));
    // Nobody but the server itself is asked.
    let stranger = Server::start().await;
    let why = stranger
        .fetcher()
        .fetch(&source, None)
        .await
        .expect_err("another authority");
    assert!(why.to_string().contains("cannot be reached"), "{why}");
}

#[tokio::test]
async fn much_that_goes_waits_until_a_person_approves_just_that() {
    let server = Server::start().await;
    let source = Web::Url(server.url("/list"));
    let (mut feed, limits) = (Feed::default(), Limits::default());
    for (count, held) in [
        (100, false),
        (10, true),
        (12, true),
        (95, false),
        (11, true),
    ] {
        server.set(
            "/list",
            Answer::ok(&lines(count)).tagged(&format!("\"{count}\"")),
        );
        let fetched = server
            .fetcher()
            .fetch(&source, feed.mark())
            .await
            .expect("a list");
        let taken = feed.take(fetched, &limits, NOW).expect("good");
        assert_eq!(taken == Taken::Held, held, "{count}");
        assert_eq!(feed.held().is_some(), held);
        // What is held is not fetched again and again.
        assert_eq!(feed.mark(), Some(format!("\"{count}\"").as_str()));
    }
    assert_eq!(feed.in_force().map(<[_]>::len), Some(95));
    let mut feed = Feed::open(Some(&lines(95)), Some(&feed.about()));
    let held = feed.held().expect("it is kept over a restart").clone();
    assert_eq!(
        (held.added, held.removed, held.some.removed.len()),
        (0, 84, 20)
    );
    assert_eq!(feed.approve("another"), Err(NotHeld::Other));
    let approved = feed.approve(&held.digest).expect("what was looked at");
    assert_eq!((approved.text, approved.prefixes), (lines(11), 11));
    assert_eq!(feed.held(), None);
    assert_eq!(feed.approve(&held.digest), Err(NotHeld::Nothing));
}

#[tokio::test]
async fn microsoft_365_is_asked_for_its_version_first() {
    let server = Server::start().await;
    let source = Web::Microsoft365 {
        base: server.url("/"),
        instance: Instance::Worldwide,
        areas: BTreeSet::from(["Exchange".to_owned()]),
    };
    let version = |latest: &str| {
        Answer::ok(&format!(
            r#"{{"instance":"Worldwide","latest":"{latest}"}}"#
        ))
    };
    server.set("/version/Worldwide", version("2026110100"));
    server.set("/endpoints/Worldwide", Answer::ok(
        r#"[{"id":1,"serviceArea":"Exchange","ips":["192.0.2.0/24","2001:db8:1::5/48"],"category":"Optimize"},
            {"id":9,"serviceArea":"Exchange","urls":["*.example"],"ips":["192.0.2.0/24"]},
            {"id":10,"serviceArea":"Exchange","urls":["autodiscover.*.example"]},
            {"id":56,"serviceArea":"Common","ips":["198.51.100.0/25"]}]"#,
    ));
    let (mut feed, limits) = (Feed::default(), Limits::default());
    let fetched = server.fetcher().fetch(&source, None).await.expect("a list");
    let Ok(Taken::InForce(text, _)) = feed.take(fetched, &limits, NOW) else {
        panic!("the first is put in force");
    };
    assert_eq!(text, "192.0.2.0/24\n2001:db8:1::/48\n");
    assert!(
        server
            .asked("/version/Worldwide")
            .contains("ClientRequestId=")
    );
    // The same version: the list is not asked for.
    server.set("/endpoints/Worldwide", Answer::status(500));
    let fetched = server.fetcher().fetch(&source, feed.mark()).await;
    assert_eq!(fetched, Ok(Fetched::Same));
    for (answer, words) in [
        (version("2026"), "not a number of ten digits"),
        (Answer::ok("[]"), "not what the service documents"),
        (Answer::status(429), "answers with status 429"),
        (
            version("2026120100"),
            "endpoints/Worldwide answers with status 500",
        ),
    ] {
        server.set("/version/Worldwide", answer);
        let why = server
            .fetcher()
            .fetch(&source, feed.mark())
            .await
            .expect_err(words);
        assert!(why.to_string().contains(words), "{why}");
    }
    // A list without what was asked for is empty, and so is refused.
    server.set(
        "/endpoints/Worldwide",
        Answer::ok(r#"[{"id":56,"serviceArea":"Common","ips":["198.51.100.0/25"]}]"#),
    );
    let fetched = server
        .fetcher()
        .fetch(&source, feed.mark())
        .await
        .expect("a list");
    assert!(feed.take(fetched, &limits, LATER).is_err());
    for broken in [
        r#"{"id":1}"#,
        r#"[{"serviceArea":"Exchange","ips":["192.0.2.0/240"]}]"#,
        "[{",
    ] {
        server.set("/endpoints/Worldwide", Answer::ok(broken));
        assert!(
            server.fetcher().fetch(&source, feed.mark()).await.is_err(),
            "{broken}"
        );
    }
    assert_eq!(feed.in_force().map(<[_]>::len), Some(2));
}

#[tokio::test]
async fn of_another_source_neither_mark_nor_what_is_held_is_known() {
    let server = Server::start().await;
    let url = |query: &str| Web::Url(server.url(&format!("/list{query}")));
    let mut feed = Feed::default();
    let strict = Limits::default();
    let loose = Limits {
        share: 100,
        ..strict
    };
    feed.comes_from(&url("?key=1").into(), &strict);
    for (count, tag) in [(100, "one"), (10, "two")] {
        server.set("/list", Answer::ok(&lines(count)).tagged(tag));
        let fetched = server.fetcher().fetch(&url(""), feed.mark()).await;
        let taken = feed.take(fetched.expect("a list"), &strict, NOW);
        taken.expect("good");
    }
    let about = feed.about();
    let opened = |source: &Web, limits: &Limits| {
        let mut feed = Feed::open(Some(&lines(100)), Some(&about));
        feed.comes_from(&source.clone().into(), limits);
        (
            feed.mark().map(str::to_owned),
            feed.held().is_some(),
            feed.text(),
        )
    };
    let text = || Some(lines(100));
    let same = opened(&url("?key=1"), &strict);
    assert_eq!(same, (Some("two".to_owned()), true, text()));
    assert_eq!(opened(&url("?key=2"), &strict), (None, false, text()));
    assert_eq!(opened(&url("?key=1"), &loose), (None, false, text()));
    let about = String::from_utf8(about).expect("text");
    assert!(!about.contains("key"), "a query may be a secret");
}
