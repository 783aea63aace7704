//! The page with a token, its form sent to the reverse proxy.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_SECURITY_POLICY, HeaderValue};
use http::response::Parts;
use url::Url;
use weir_claims::carrier::{self, By, Carried, Found, NotRewritten};
use weir_policy::Template;

use super::{Seen, Tokens, Unfit};
use crate::request::lines;

/// Why a form is not sent to the reverse proxy.
#[derive(Debug, thiserror::Error)]
pub enum NotMoved {
    /// Nothing that the browser would send.
    #[error("there is no form that sends the token on")]
    NoForm,
    /// Nobody said where it goes at the reverse proxy.
    #[error(
        "the form is sent to {0}, and nothing says where that is at the reverse proxy; add it to \
         [service.tokens]: forms = {{ \"{0}\" = \"https://...\" }}"
    )]
    Unexpected(String),
    /// The page cannot be changed.
    #[error(transparent)]
    Page(#[from] NotRewritten),
    /// The head of the answer cannot be.
    #[error("the content security policy of the page cannot be put right")]
    Policy,
}

/// The table, with its addresses read.
pub(super) fn forms(table: &BTreeMap<String, String>) -> Result<BTreeMap<String, Url>, Unfit> {
    let read = |(from, to): (&String, &String)| {
        let from = origin(from).ok_or_else(|| Unfit::Form(from.clone()))?;
        let to = origin(to).ok_or_else(|| Unfit::Form(to.clone()))?;
        Ok((from.origin().ascii_serialization(), to))
    };
    table.iter().map(read).collect()
}

fn origin(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    (url.scheme() == "https" && url.has_host()).then_some(url)
}

impl Seen {
    /// The page with its form sent to the reverse proxy, and a head that lets the browser go there: to the origin
    /// of `own`, a rule's own target, else to that of the table. A form that the table does not name goes
    /// nowhere.
    pub fn moved(
        &self,
        tokens: &Tokens,
        own: Option<&Template>,
        url: &str,
        mut parts: Parts,
        body: &[u8],
    ) -> Result<(Parts, Bytes), NotMoved> {
        let Carried::Token(Found {
            by: By::Form { action },
            ..
        }) = &self.carried
        else {
            return Err(NotMoved::NoForm);
        };
        let from = Url::parse(action).map_err(|_| NotMoved::NoForm)?;
        let expected = from.origin().ascii_serialization();
        let Some(usual) = tokens.forms.get(&expected) else {
            return Err(NotMoved::Unexpected(expected));
        };
        let to = own.and_then(|own| origin(own.origin()));
        let to = at(&from, to.as_ref().unwrap_or(usual)).ok_or(NotMoved::NoForm)?;
        let answer = carrier::Answer {
            url,
            status: parts.status.as_u16(),
            headers: &lines(&parts.headers),
            body,
        };
        let page = carrier::rewrite(&answer, std::slice::from_ref(&expected), to.as_str())?;
        put_right(&mut parts, &expected, &to.origin().ascii_serialization())
            .ok_or(NotMoved::Policy)?;
        // What was said of the page before is not true of this one.
        for name in [
            "etag",
            "content-md5",
            "digest",
            "content-digest",
            "repr-digest",
        ] {
            parts.headers.remove(name);
        }
        parts.headers.insert(CONTENT_LENGTH, page.len().into());
        Ok((parts, page.into()))
    }
}

/// The same path at another origin.
fn at(from: &Url, origin: &Url) -> Option<Url> {
    let mut to = from.clone();
    to.set_scheme(origin.scheme()).ok()?;
    to.set_host(origin.host_str()).ok()?;
    to.set_port(origin.port()).ok()?;
    Some(to)
}

/// Lets forms go to another origin, too, where policies limit them.
fn put_right(parts: &mut Parts, from: &str, to: &str) -> Option<()> {
    let before: Vec<&str> = parts
        .headers
        .get_all(CONTENT_SECURITY_POLICY)
        .iter()
        .map(|value| value.to_str())
        .collect::<Result<_, _>>()
        .ok()?;
    let after = carrier::csp(&before, from, to);
    parts.headers.remove(CONTENT_SECURITY_POLICY);
    for value in after {
        let value = HeaderValue::try_from(value).ok()?;
        parts.headers.append(CONTENT_SECURITY_POLICY, value);
    }
    Some(())
}
