//! How a sign-in began, for as long as it lasts: the browser keeps it, in a cookie of Weir's own.
//!
//! Later requests of a sign-in do not say what was asked for when it began, and where multi-factor
//! authentication turns out to be missing, it has to begin again. What is kept is what the browser asked for
//! itself, and it is believed no more than any other request of this browser.

use http::header::{COOKIE, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// Name of the cookie.
const NAME: &str = "__Host-weir-begun";
/// Longest value: browsers keep 4096 bytes of a cookie, with its name and its attributes (RFC 6265, 6.1).
const LONGEST: usize = 3800;
/// What cannot stand in the value of a cookie, and what marks it.
const MARKED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b',')
    .add(b';')
    .add(b'\\')
    .add(b'%');

/// Makes the browser keep where a sign-in began; nothing when that is too long.
pub fn keep(target: &str) -> Option<HeaderValue> {
    let value = utf8_percent_encode(target, MARKED).to_string();
    (value.len() <= LONGEST).then(|| cookie(&value, 600))?
}

/// Makes the browser forget it.
pub fn forget() -> Option<HeaderValue> {
    cookie("", 0)
}

/// Whether the browser keeps one.
pub fn is_kept(headers: &HeaderMap) -> bool {
    values(headers).next().is_some()
}

/// Where the sign-in began: path and query. Nothing when the browser does not say so in one way.
pub fn kept(headers: &HeaderMap) -> Option<PathAndQuery> {
    let mut values = values(headers);
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let target = percent_decode_str(value).decode_utf8().ok()?;
    let target: PathAndQuery = target.parse().ok()?;
    let path = target.path();
    (path.starts_with('/') && !path.starts_with("//")).then_some(target)
}

/// Cookies without it, for the sign-in server; nothing when there are no others.
pub fn without(cookies: &HeaderValue) -> Option<HeaderValue> {
    let pairs = cookies.as_bytes().split(|byte| *byte == b';');
    let mine = |pair: &&[u8]| name_of(pair) == NAME.as_bytes();
    if !pairs.clone().any(|pair| mine(&pair)) {
        return Some(cookies.clone());
    }
    let others: Vec<&[u8]> = pairs.filter(|pair| !mine(pair)).collect();
    let others = others.join(&b';');
    let others = others.trim_ascii();
    (!others.is_empty()).then(|| HeaderValue::from_bytes(others).ok())?
}

fn cookie(value: &str, seconds: u16) -> Option<HeaderValue> {
    let cookie =
        format!("{NAME}={value}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax");
    HeaderValue::try_from(cookie).ok()
}

fn values(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(COOKIE).iter();
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.filter_map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?.trim();
        pair.strip_prefix(NAME)?.strip_prefix('=')
    })
}

fn name_of(pair: &[u8]) -> &[u8] {
    let end = pair.iter().position(|byte| *byte == b'=');
    pair[..end.unwrap_or(pair.len())].trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        let lines = lines.iter().map(|line| {
            let value = HeaderValue::try_from(*line).expect("plain text");
            (COOKIE, value)
        });
        lines.collect()
    }

    #[test]
    fn what_is_kept_comes_back() {
        for target in [
            "/idp/profile/SAML2/Redirect/SSO?SAMLRequest=a%2Bb%3D&RelayState=x,y;z",
            "/a?b=%25",
            "/",
        ] {
            let set = keep(target).expect("it is short");
            let set = set.to_str().expect("plain text");
            let (pair, attributes) = set.split_once("; ").expect("it has attributes");
            assert!(!pair.contains([',', ' ', '"']), "{pair}");
            assert_eq!(
                attributes,
                "Path=/; Max-Age=600; Secure; HttpOnly; SameSite=Lax"
            );
            let given = headers(&["a=b", &format!("c=d; {pair}")]);
            assert_eq!(kept(&given).expect("it came back"), target);
            let [plain, mine] = [0, 1].map(|line| {
                let mut lines = given.get_all(COOKIE).iter();
                lines.nth(line).and_then(without)
            });
            assert_eq!((plain, mine), ("a=b".parse().ok(), "c=d".parse().ok()));
            let alone = headers(&[pair]);
            assert_eq!(without(&alone[COOKIE]), None);
        }
        assert_eq!(keep(&format!("/?{}", "a".repeat(LONGEST))), None);
    }

    #[test]
    fn what_is_unclear_is_not_taken() {
        for cookies in [
            "",
            "a=b",
            "__Host-weir-begun=",
            "__Host-weir-begun=//evil.example/a",
            "__Host-weir-begun=https://evil.example/a",
            "__Host-weir-begun=/a%0d%0aX: y",
            "__Host-weir-begun=/a; __Host-weir-begun=/b",
            "x__Host-weir-begun=/a",
        ] {
            assert_eq!(kept(&headers(&[cookies])), None, "{cookies}");
        }
    }
}
