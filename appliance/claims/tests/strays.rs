//! Tokens that are sent to another path than a reply URL.

use weir_claims::carrier::{Posted, strays};

const FORM: &str = "application/x-www-form-urlencoded; charset=utf-8";
const PARTS: &str = "multipart/form-data; boundary=b";

fn stray(query: Option<&str>, content_type: Option<&str>, body: &[u8]) -> [bool; 2] {
    let posted = Posted {
        query,
        content_type,
        body,
    };
    [false, true].map(|signs_out| strays(&posted, signs_out))
}

#[test]
fn what_names_a_token_is_one_whoever_reads_it() {
    let wide: Vec<u8> = "name=\"wresult\""
        .bytes()
        .flat_map(|byte| [0, byte])
        .collect();
    for (query, kind, body) in [
        (None, Some(FORM), &b"a=1&wresult=x"[..]),
        (None, Some(FORM), b"%77RESULT=x"),
        (None, Some(FORM), b"id.token=x"),
        (None, Some(FORM), b"id_token"),
        (Some("wresult=x"), None, b""),
        (Some("a=1&id_token=x"), Some("application/json"), b"{}"),
        (None, Some(PARTS), b"--b\r\nname=\"WResult\"\r\n\r\nx"),
        (None, Some(PARTS), &wide),
        (None, None, b"wresult=x"),
        (None, Some("text/plain"), b"wresult=x"),
    ] {
        let shown = String::from_utf8_lossy(body);
        assert_eq!(
            stray(query, kind, body),
            [true; 2],
            "{query:?} {kind:?} {shown}"
        );
    }
}

#[test]
fn where_people_are_signed_out_a_saml_response_is_the_answer_to_that() {
    for (query, kind, body) in [
        (None, Some(FORM), &b"SAMLResponse=x&RelayState=y"[..]),
        (Some("SAMLResponse=x"), None, b""),
        (None, Some(PARTS), b"name=\"SAMLResponse\""),
    ] {
        assert_eq!(
            stray(query, kind, body),
            [true, false],
            "{query:?} {kind:?}"
        );
    }
}

#[test]
fn what_an_application_is_asked_otherwise_is_none() {
    for (query, kind, body) in [
        (None, None, &b""[..]),
        (Some("code=x&state=y"), None, b""),
        (None, Some(FORM), b"code=x&access_token=y&comment=wresult"),
        (None, Some("application/json"), b"{\"id_token\":\"x\"}"),
        (None, Some("application/scim+json; a=b"), b"{\"wresult\":1}"),
        (None, Some(PARTS), b"--b\r\nname=\"file\"\r\n\r\nx"),
    ] {
        let shown = String::from_utf8_lossy(body);
        assert_eq!(
            stray(query, kind, body),
            [false; 2],
            "{query:?} {kind:?} {shown}"
        );
    }
}
