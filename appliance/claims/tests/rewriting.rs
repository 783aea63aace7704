//! Sending the form with the token elsewhere.

use proptest::prelude::*;
use weir_claims::carrier::{Answer, Answering, By, Carried, NotRewritten, answer, csp, rewrite};

const OLD: &str = "https://login.microsoftonline.com";
const NEW: &str = "https://proxy.example/sso?a=1&b='\"<x>";

fn with<T>(body: &[u8], run: impl FnOnce(&Answer<'_>) -> T) -> T {
    let headers = [("content-type", b"text/html; charset=utf-8".as_slice())];
    run(&Answer {
        url: "https://sts.corp.example/adfs/ls/",
        status: 200,
        headers: &headers,
        body,
    })
}

fn rewritten(body: &str, new: &str) -> Result<String, NotRewritten> {
    let body = with(body.as_bytes(), |page| {
        rewrite(page, &[OLD.to_owned()], new)
    })?;
    Ok(String::from_utf8(body).expect("what was UTF-8 stays so"))
}

fn page(action: &str) -> String {
    format!(
        "\u{feff}<!DOCTYPE html>\r\n<TITLE>W\u{e4}rking</title><FORM  Method=POST action={action} Name='a' >\n\
         <input type=hidden name=wresult value=\"&lt;a>\u{e4}&lt;/a>\"/><input name=x value=1></form\t><b>\r\n"
    )
}

#[test]
fn only_the_action_changes_however_it_is_quoted() {
    let escaped = "\"https://proxy.example/sso?a=1&#38;b=%27%22%3Cx%3E\"";
    for action in [
        "\"https://login.microsoftonline.com:443/login.srf\"",
        "https://login.microsoftonline.com/login.srf",
    ] {
        assert_eq!(rewritten(&page(action), NEW), Ok(page(escaped)));
    }
    let single = rewritten(&page("'https://login.microsoftonline.com'"), NEW);
    assert_eq!(single, Ok(page(&escaped.replace('"', "'"))));
}

#[test]
fn a_form_that_goes_elsewhere_stays() {
    for (action, origin) in [
        ("https://evil.example/login.srf", "https://evil.example"),
        (
            "http://login.microsoftonline.com/",
            "http://login.microsoftonline.com",
        ),
        (
            "https://login.microsoftonline.com:8443/",
            "https://login.microsoftonline.com:8443",
        ),
        (
            "https://login.microsoftonline.com.evil.example/",
            "https://login.microsoftonline.com.evil.example",
        ),
        (
            "https://login.microsoftonline.com@evil.example/",
            "https://evil.example",
        ),
        ("https://user@login.microsoftonline.com/", OLD),
        ("/login.srf", "https://sts.corp.example"),
    ] {
        let found = rewritten(&page(action), NEW);
        assert_eq!(found, Err(NotRewritten::Unexpected(origin.to_owned())));
    }
}

#[test]
fn what_cannot_be_sent_elsewhere_says_why() {
    let good = page(OLD);
    for new in [
        "",
        "/sso",
        "http://proxy.example/",
        "javascript:alert(1)",
        "https://a@proxy.example/",
        "https://proxy.example/#a",
    ] {
        assert_eq!(rewritten(&good, new), Err(NotRewritten::Action), "{new}");
    }
    assert_eq!(rewritten("<p>", NEW), Err(NotRewritten::NoForm));
    let nested = format!("<form>{}", &good[3..]);
    assert!(matches!(
        rewritten(&nested, NEW),
        Err(NotRewritten::Unreadable(_))
    ));
    let policy = "<meta http-equiv='Content-Security-Policy' content=\"form-action 'self'\">";
    assert_eq!(rewritten(&(good + policy), NEW), Err(NotRewritten::Limited));
}

#[test]
fn a_policy_lets_the_form_go_where_it_now_goes() {
    let new = "https://proxy.example";
    let put_right = |value: &str| csp(&[value], OLD, new).concat();
    for (from, to) in [
        (
            "default-src 'self'; form-action 'self' https://login.microsoftonline.com; base-uri 'none'",
            "default-src 'self'; form-action 'self' https://login.microsoftonline.com https://proxy.example; base-uri 'none'",
        ),
        (
            "form-action *.microsoftonline.com:443",
            "form-action *.microsoftonline.com:443 https://proxy.example",
        ),
        (
            "FORM-ACTION https:",
            "form-action https: https://proxy.example",
        ),
        (
            "form-action https://login.microsoftonline.com/login.srf, form-action *",
            "form-action https://login.microsoftonline.com/login.srf https://proxy.example, form-action * https://proxy.example",
        ),
    ] {
        assert_eq!(put_right(from), to);
    }
    for same in [
        "",
        "default-src 'none'; frame-ancestors 'none'",
        "form-action 'none'",
        "form-action 'self' https://other.example",
        "form-action *.login.microsoftonline.com",
        "form-action https://login.microsoftonline.com:8443",
        "form-action https://login.microsoftonline.com https://proxy.example",
        "form-action 'none'; form-action https://login.microsoftonline.com",
    ] {
        assert_eq!(put_right(same), same);
    }
    assert_eq!(
        csp(&["a", "form-action *"], OLD, new),
        ["a", "form-action * https://proxy.example"]
    );
}

proptest! {
    #[test]
    fn the_token_stays_and_the_action_is_the_new_one(
        token in "[ -~\u{e0}-\u{ff}]{1,60}",
        path in "[ -~]{0,30}",
        query in "[ -~]{0,30}",
        lead in "[a-z \\r\\n]{0,20}",
    ) {
        let token = format!("<a>{token}</a>");
        let escaped = token.replace('&', "&amp;").replace('"', "&#34;").replace('<', "&lt;");
        let page = format!("{lead}<form method=post action='{OLD}/x'><input type=hidden name=wresult value=\"{escaped}\"></form>");
        let new = format!("https://proxy.example/{}?{}", path.replace('#', ""), query.replace('#', ""));
        let body = rewritten(&page, &new).expect("a plain page and a plain address");
        let found = with(body.as_bytes(), |page| answer(Answering::Passive, page));
        let Carried::Token(found) = found else { panic!("no token in {body}") };
        prop_assert_eq!(found.text, token);
        let action = url::Url::parse(&new).expect("it was taken").to_string();
        prop_assert_eq!(found.by, By::Form { action });
        let start = page.find(OLD).expect("it is there");
        prop_assert_eq!(&body[..start], &page[..start]);
        prop_assert!(body.ends_with(&page[start + OLD.len() + 2..]));
    }
}
