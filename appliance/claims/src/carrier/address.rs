//! Tokens and codes in addresses, and in forms that are posted.

use url::{Url, form_urlencoded};

use super::fields::{Named, carried, named};
use super::{By, Carried, MAX_BODY, Posted, media_type, unreadable};

/// Most fields that are read.
const MAX_FIELDS: usize = 512;

type Fields = Vec<(String, String)>;

/// What a redirect carries, and where it leads.
pub(super) fn redirected(base: &Url, location: &str) -> Carried {
    let Ok(to) = base.join(location) else {
        return unreadable("the redirect leads to no address");
    };
    match addressed(&to) {
        Carried::Nothing => Carried::Redirect { to: origin(&to) },
        carried => carried,
    }
}

/// What an address carries in its query or its fragment.
fn addressed(to: &Url) -> Carried {
    let Some(query) = loose(to.query().unwrap_or_default()) else {
        return unreadable("the address has too many parameters");
    };
    // Some applications keep a path, a query and a fragment of their own in the fragment; others have
    // these characters in a value.
    let fragment = to.fragment().unwrap_or_default().replace(['?', '#'], "&");
    let Some(fragment) = loose(fragment.trim_start_matches(['/', '!'])) else {
        return unreadable("the address has too many parameters");
    };
    match (of_query(&query), carried(&fragment, By::Fragment)) {
        (Carried::Nothing, found) | (found, Carried::Nothing) => found,
        _ => Carried::Several,
    }
}

/// Scheme, host and port of an address; for schemes without hosts, the scheme.
pub(super) fn origin(url: &Url) -> String {
    let origin = url.origin();
    if origin.is_tuple() {
        origin.ascii_serialization()
    } else {
        format!("{}://{}", url.scheme(), url.host_str().unwrap_or_default())
    }
}

pub(super) fn posted(posted: &Posted<'_>) -> Carried {
    if posted.body.len() > MAX_BODY {
        return unreadable("the form is larger than 2 MB");
    }
    let Some(query) = loose(posted.query.unwrap_or_default()) else {
        return unreadable("the query has too many parameters");
    };
    match (of_query(&query), body(posted)) {
        (Carried::Nothing, body) => body,
        (asked, Carried::Nothing) => asked,
        _ => Carried::Several,
    }
}

/// Names of fields that hold the token of a sign-in, in lower case.
const SIGN_IN: [&str; 3] = ["wresult", "samlresponse", "id_token"];

pub(super) fn strays(posted: &Posted<'_>, signs_out: bool) -> bool {
    let holds = |text: &str| {
        let mut fields = form_urlencoded::parse(text.as_bytes());
        fields.any(|(name, _)| match named(&name) {
            Named::No => false,
            Named::Perhaps => true,
            Named::Is("samlresponse") => !signs_out,
            Named::Is(name) => SIGN_IN.contains(&name),
        })
    };
    if posted.query.is_some_and(holds) {
        return true;
    }
    let (kind, _) = posted.content_type.map_or(("", None), media_type);
    let kind = kind.to_ascii_lowercase();
    if kind == "application/x-www-form-urlencoded" {
        return holds(&String::from_utf8_lossy(posted.body));
    }
    // Nobody takes JSON for a form. What else it may be is not taken apart: a form in parts, in any charset.
    let is_json = kind.ends_with("/json") || kind.ends_with("+json");
    let text = posted.body.iter().filter(|byte| **byte != 0);
    let text: Vec<u8> = text.map(u8::to_ascii_lowercase).collect();
    let stands_there = |name: &&&str| {
        let mut places = text.windows(name.len());
        places.any(|place| place == name.as_bytes())
    };
    let mut found = SIGN_IN.iter().filter(stands_there);
    !is_json && found.any(|name| !signs_out || *name != "samlresponse")
}

fn body(posted: &Posted<'_>) -> Carried {
    if posted.body.is_empty() {
        return Carried::Nothing;
    }
    let (kind, charset) = posted.content_type.map_or(("", None), media_type);
    if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
        || charset.is_some_and(|charset| !charset.eq_ignore_ascii_case("utf-8"))
    {
        return unreadable("what is posted is not a form that is encoded as an address in UTF-8");
    }
    let Ok(text) = str::from_utf8(posted.body) else {
        return unreadable("the form is not UTF-8");
    };
    if !has_good_escapes(text) {
        return unreadable("the form has broken escapes");
    }
    match loose(text) {
        Some(fields) if fields.iter().any(|(_, value)| value.contains('\u{fffd}')) => {
            unreadable("the form is not UTF-8")
        }
        Some(fields) => carried(&fields, By::Post),
        None => unreadable("the form has too many fields"),
    }
}

fn loose(text: &str) -> Option<Fields> {
    let fields: Fields = form_urlencoded::parse(text.as_bytes())
        .take(MAX_FIELDS + 1)
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    (fields.len() <= MAX_FIELDS).then_some(fields)
}

/// A query may hand on a code. XML in a query is packed, and signed apart: nothing that is read here.
fn of_query(query: &[(String, String)]) -> Carried {
    let in_xml = |name: &str| matches!(named(name), Named::Is("wresult" | "samlresponse"));
    if query.iter().any(|(name, _)| in_xml(name)) {
        return unreadable("a SAML response in an address (Redirect binding) is not accepted");
    }
    carried(query, By::Query)
}

/// Whether every `%` has its two digits.
fn has_good_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|part| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}
