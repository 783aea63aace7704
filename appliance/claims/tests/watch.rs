//! Answers that are too large to be read whole are looked at part by part: nothing is passed that would not be
//! passed whole.

use proptest::prelude::*;
use weir_claims::carrier::{Answer, Answering, Carried, Watch, answer};

/// What tells of a token wherever it stands.
const TELLING: [&str; 7] = [
    "x.wresult=1",
    "SAMLResponse",
    "SAMLart",
    "id_token:'eyJhbGciOi",
    "name=\\\"id_token\\\"",
    "'https://app.example/?code='",
    "postMessage({code:'abcdefghijklmnopqrst'})",
];

fn given<'a>(headers: &'a [(&'a str, &'a [u8])], body: &'a [u8]) -> Answer<'a> {
    Answer {
        url: "https://sts.corp.example/adfs/ls/",
        status: 200,
        headers,
        body,
    }
}

#[test]
fn what_a_head_says_decides() {
    let watched = |answering, headers: &[(&str, &[u8])]| {
        Watch::new(answering, &given(headers, b"")).is_some()
    };
    let passive = |headers: &[(&str, &[u8])]| watched(Answering::Passive, headers);
    let script: (&str, &[u8]) = ("content-type", b"text/javascript");
    assert!(passive(&[("content-type", b"IMAGE/PNG")]));
    assert!(passive(&[("content-type", b"text/css; charset=\"UTF-8\"")]));
    assert!(passive(&[script]) && watched(Answering::OauthBrowser, &[script]));
    for answering in [Answering::Active, Answering::OauthToken] {
        assert!(!watched(answering, &[script]));
    }
    for kind in [
        "",
        "image",
        "image/svg+xml",
        "application/xml",
        "text/html",
        "text/plain",
        "application/json",
        "application/ld+json",
        "multipart/x-mixed-replace",
        "text/javascript; charset=utf-16",
    ] {
        assert!(!passive(&[("content-type", kind.as_bytes())]), "{kind}");
    }
    assert!(!passive(&[]) && !passive(&[script, script]));
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("location", "https://app.example/?code=a"),
        ("location", "/"),
        ("refresh", "0"),
    ] {
        let more = (name, value.as_bytes());
        let leads_on = name != "location" || value.contains("code");
        assert_eq!(passive(&[script, more]), !leads_on, "{name}: {value}");
    }
}

proptest! {
    #[test]
    fn what_tells_of_a_token_is_seen_however_it_is_cut(
        what in prop::sample::select(&TELLING[..]),
        before in 0..3000_usize,
        after in 0..3000_usize,
        parts in prop::collection::vec(1..600_usize, 1..12),
    ) {
        let script = [&"/".repeat(before), what, &"/".repeat(after)].concat();
        let kind: [(&str, &[u8]); 1] = [("content-type", b"text/javascript")];
        prop_assert!(matches!(
            answer(Answering::Passive, &given(&kind, script.as_bytes())),
            Carried::Unreadable(_)
        ));
        let mut watch = Watch::new(Answering::Passive, &given(&kind, b"")).expect("a script");
        let mut rest = script.as_bytes();
        let mut goes_on = true;
        for length in parts.iter().cycle() {
            let (part, more) = rest.split_at((*length).min(rest.len()));
            goes_on &= watch.goes_on(part);
            rest = more;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert!(!goes_on);
    }

    #[test]
    fn pictures_go_on(bytes in prop::collection::vec(any::<u8>(), 0..5000), part in 1..700_usize) {
        let kind: [(&str, &[u8]); 1] = [("content-type", b"image/png")];
        let watch = Watch::new(Answering::Passive, &given(&kind, b""));
        let mut watch = watch.expect("a picture");
        prop_assert!(bytes.chunks(part).all(|part| watch.goes_on(part)));
    }
}
