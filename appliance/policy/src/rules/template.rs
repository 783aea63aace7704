//! Redirect targets.

use std::fmt::{self, Write};

/// A redirect target. Scheme, authority and the beginning of the path come from the configuration
/// alone. The slot `{query}` at its end takes the path of the endpoint (as the profile spells it) and
/// the raw query; after a `?` the raw query alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    before: String,
    slot: Slot,
    after: String,
}

/// Why a template is refused, and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Another scheme, or none.
    #[error("the target must be an absolute URL that begins with https://")]
    NotHttps,
    /// No host, a user name, a bad port.
    #[error(
        "the target must name a host, such as https://sts-corp-example.proxy.example{{query}}; user \
         names are not allowed in it"
    )]
    Host,
    /// Something stands after the slot.
    #[error("{{query}} must be the last thing in the target, unless it stands after a `?`")]
    SlotNotLast,
    /// A second slot, or one of another name.
    #[error("the only slot is {{query}}, and it may stand once")]
    OtherSlot,
    /// A blank, a fragment, or something beyond ASCII.
    #[error("the target holds a blank, a fragment or a character that must be percent-encoded")]
    Character,
}

impl From<TemplateError> for String {
    fn from(error: TemplateError) -> Self {
        error.to_string()
    }
}

/// As it was written.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.before)?;
        if self.slot != Slot::None {
            f.write_str(SLOT)?;
        }
        f.write_str(&self.after)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    None,
    PathAndQuery,
    Query,
}

const SLOT: &str = "{query}";

impl Template {
    /// Reads a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(TemplateError::Character);
        }
        let rest = text
            .strip_prefix("https://")
            .ok_or(TemplateError::NotHttps)?;
        let authority = &rest[..rest.find(['/', '?', '#', '{', '\\']).unwrap_or(rest.len())];
        if !is_authority(authority) {
            return Err(TemplateError::Host);
        }
        let (before, slot, after) = match text.split_once(SLOT) {
            None => (text, Slot::None, ""),
            Some((before, after)) if before.contains('?') => (before, Slot::Query, after),
            Some((before, "")) => (before.trim_end_matches('/'), Slot::PathAndQuery, ""),
            Some(_) => return Err(TemplateError::SlotNotLast),
        };
        for part in [before, after] {
            if part.contains(['{', '}']) {
                return Err(TemplateError::OtherSlot);
            }
            if part.contains(['#', '\\', '"', '<', '>', '^', '`', '|']) {
                return Err(TemplateError::Character);
            }
        }
        Ok(Self {
            before: before.to_owned(),
            slot,
            after: after.to_owned(),
        })
    }

    /// Scheme and authority.
    pub fn origin(&self) -> &str {
        let rest = &self.before["https://".len()..];
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        &self.before[.."https://".len() + end]
    }

    /// The URL of a redirect. Nothing of the request can reach scheme or authority, and no byte that
    /// is not plain ASCII can reach the header.
    pub fn fill(&self, path: &str, query: Option<&str>) -> String {
        let query = query.filter(|query| !query.is_empty());
        let mut url = self.before.clone();
        match (self.slot, query) {
            (Slot::PathAndQuery, query) => {
                url.push('/');
                push_encoded(&mut url, path.trim_start_matches('/'));
                if let Some(query) = query {
                    url.push('?');
                    push_encoded(&mut url, query);
                }
            }
            (Slot::Query, Some(query)) => push_encoded(&mut url, query),
            (Slot::Query, None) if self.after.is_empty() => {
                url.truncate(url.trim_end_matches(['?', '&']).len());
            }
            (Slot::None, _) | (Slot::Query, None) => {}
        }
        url + &self.after
    }
}

fn is_authority(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let name = host
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte));
    let literal = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .is_some_and(|host| host.parse::<std::net::Ipv6Addr>().is_ok());
    let named = !host.is_empty() && name && !host.starts_with(['.', '-']);
    (named || literal) && port.is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Bytes that a query may hold travel as they are (`%` too: what is encoded stays encoded).
fn push_encoded(url: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !b"\"<>\\^`{|}#".contains(&byte) {
            url.push(char::from(byte));
        } else {
            write!(url, "%{byte:02X}").expect("a string takes every write");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(template: &str, path: &str, query: Option<&str>) -> String {
        Template::parse(template)
            .expect("a good template")
            .fill(path, query)
    }

    #[test]
    fn the_query_rides_only_in_its_slot() {
        let query = Some("wa=wsignin1.0&wctx=estsredirect%3d2");
        for (template, with, without) in [
            (
                "https://sts.proxy.example{query}",
                "https://sts.proxy.example/adfs/ls/?wa=wsignin1.0&wctx=estsredirect%3d2",
                "https://sts.proxy.example/adfs/ls/",
            ),
            (
                "https://sts.proxy.example:8443/t/1/{query}",
                "https://sts.proxy.example:8443/t/1/adfs/ls/?wa=wsignin1.0&wctx=estsredirect%3d2",
                "https://sts.proxy.example:8443/t/1/adfs/ls/",
            ),
            (
                "https://sts.proxy.example/adfs/ls/?{query}",
                "https://sts.proxy.example/adfs/ls/?wa=wsignin1.0&wctx=estsredirect%3d2",
                "https://sts.proxy.example/adfs/ls/",
            ),
            (
                "https://p.example/go?t=1&{query}&end=1",
                "https://p.example/go?t=1&wa=wsignin1.0&wctx=estsredirect%3d2&end=1",
                "https://p.example/go?t=1&&end=1",
            ),
            (
                "https://[2001:db8::1]/x",
                "https://[2001:db8::1]/x",
                "https://[2001:db8::1]/x",
            ),
        ] {
            assert_eq!(fill(template, "/adfs/ls/", query), with);
            assert_eq!(fill(template, "/adfs/ls/", None), without);
            assert_eq!(fill(template, "/adfs/ls/", Some("")), without);
        }
    }

    #[test]
    fn templates_that_let_a_request_choose_the_authority_are_refused() {
        for template in [
            "http://proxy.example{query}",
            "//proxy.example{query}",
            "https://{query}",
            "https://",
            "https:///x",
            "https://user@proxy.example/",
            "https://a b/",
            "https://proxy.example\\@evil/",
            "https://proxy.example:99999/",
            "https://proxy.example{query}.evil",
            "https://proxy.example/{host}",
            "https://proxy.example{query...}",
            "https://proxy.example/?{query}{query}",
            "https://proxy.example/#{query}",
            "https://proxy.example/\r\nx",
        ] {
            assert!(Template::parse(template).is_err(), "{template}");
        }
    }

    proptest! {
        #[test]
        fn no_request_reaches_the_authority_or_a_second_line(path in "\\PC{0,40}", query in any::<String>()) {
            for template in ["https://p.example{query}", "https://p.example/a?{query}"] {
                let url = fill(template, &path, Some(&query));
                let rest = url.strip_prefix("https://p.example");
                prop_assert!(rest.is_some_and(|rest| rest.starts_with('/')), "{}", url);
                prop_assert!(url.bytes().all(|byte| byte.is_ascii_graphic()));
            }
        }
    }
}
