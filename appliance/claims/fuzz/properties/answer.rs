//! What holds for every answer of a sign-in server, and for what is posted to a relying party.
//!
//! The input is a line, `page`, `script`, `token`, `soap`, `redirect` or `post`, and then the body, or the address of
//! the redirect.

use weir_claims::carrier::{
    Answer, Answering, By, Carried, Found, Kind, NotRewritten, Posted, Watch, answer, posted,
    rewrite, strays,
};

const NEW: &str = "https://proxy.example/sso?a='1'&b=2";
const FORM: &str = "application/x-www-form-urlencoded";

/// A token that is found has text; a page whose form goes elsewhere carries the same token, and differs
/// in one place only.
pub fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (kind, body) = input.split_at(end.unwrap_or(0));
    let body = body.strip_prefix(b"\n").unwrap_or(body);
    let carried = match kind {
        b"token" => answer(Answering::OauthToken, &given(200, &[], body)),
        b"soap" => answer(Answering::Active, &given(200, &[], body)),
        b"redirect" => answer(
            Answering::OauthBrowser,
            &given(302, &[("location", body)], b""),
        ),
        b"post" => post(body),
        b"script" => script(body),
        _ => page(body),
    };
    if let Carried::Token(found) = carried {
        assert!(!found.text.is_empty());
    }
}

/// The token of a sign-in is seen at whatever path it comes.
fn post(body: &[u8]) -> Carried {
    let post = Posted {
        query: None,
        content_type: Some(FORM),
        body,
    };
    let carried = posted(&post);
    let [anywhere, signing_out] = [false, true].map(|signs_out| strays(&post, signs_out));
    match &carried {
        Carried::Token(found) if found.kind != Kind::AccessToken => assert!(anywhere),
        _ => {}
    }
    assert!(anywhere || !signing_out);
    carried
}

fn given<'a>(status: u16, headers: &'a [(&'a str, &'a [u8])], body: &'a [u8]) -> Answer<'a> {
    Answer {
        url: "https://sts.corp.example/adfs/ls/",
        status,
        headers,
        body,
    }
}

/// What is passed part by part is passed whole, too.
fn script(body: &[u8]) -> Carried {
    let script = given(200, &[("content-type", b"text/javascript")], body);
    let carried = answer(Answering::Passive, &script);
    if Watch::new(Answering::Passive, &script).is_some() {
        assert_eq!(carried, Carried::Nothing);
    }
    carried
}

fn page(body: &[u8]) -> Carried {
    const HEADERS: [(&str, &[u8]); 1] = [("content-type", b"text/html")];
    let page = given(200, &HEADERS, body);
    let carried = answer(Answering::Passive, &page);
    if let Carried::Token(Found {
        by: By::Form { action },
        text,
        ..
    }) = &carried
    {
        let sent = match rewrite(&page, std::slice::from_ref(action), NEW) {
            Ok(sent) => sent,
            Err(NotRewritten::Limited | NotRewritten::Unexpected(_)) => return carried,
            Err(other) => panic!("{other}"),
        };
        let again = answer(Answering::Passive, &given(200, &HEADERS, &sent));
        let Carried::Token(again) = again else {
            panic!("the token is gone");
        };
        assert_eq!(&again.text, text);
        let Some(at) = body.iter().zip(&sent).position(|(old, new)| old != new) else {
            return carried;
        };
        let mut ends = body[at..].iter().rev().zip(sent[at..].iter().rev());
        let same = ends.position(|(old, new)| old != new).unwrap_or(0);
        let place = &sent[at..sent.len() - same];
        assert!(
            place.len() <= NEW.len() + 32,
            "more than the action changed"
        );
    }
    carried
}
