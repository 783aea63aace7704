//! Where tokens travel: in the answers of a sign-in server, and in what a browser posts to a relying party.
//!
//! In: an answer and the flow that it answers ([`answer`]), or a post ([`posted`]). Out: what it carries
//! ([`Carried`]), as the browser or the application that gets it would read it. [`rewrite`] sends a token's
//! form elsewhere and leaves every other byte of the page; [`csp`] lets the browser go there.
//!
//! It must never say [`Carried::Nothing`] of what may hold a token: whatever two readers could take
//! differently is [`Carried::Unreadable`]. What a script puts together out of pieces, or fetches, nobody can
//! tell from the page. Nothing here is inflated: a `SAMLResponse` that travels in an address (Redirect
//! binding) is not accepted. Nothing is verified either: that is for the readers of tokens.

mod address;
mod csp;
mod fields;
mod json;
mod marks;
mod page;
mod references;
mod rewriting;
mod soap;
mod watch;

use std::fmt;

use url::Url;

pub use csp::csp;
pub use rewriting::{NotRewritten, rewrite};
pub use watch::Watch;

/// Largest body that is read, in bytes.
pub const MAX_BODY: usize = 2 << 20;

/// An answer of a sign-in server.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Absolute address of the request that it answers.
    pub url: &'a str,
    /// Its status.
    pub status: u16,
    /// Its headers, names in lower case.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Its body: whole, and not packed.
    pub body: &'a [u8],
}

/// Which flow an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// WS-Federation or SAML in a browser.
    Passive,
    /// OAuth or OpenID Connect in a browser.
    OauthBrowser,
    /// A call of the OAuth token endpoint.
    OauthToken,
    /// WS-Trust.
    Active,
}

/// What arrives at a relying party's reply URL.
#[derive(Clone, Copy, Debug)]
pub struct Posted<'a> {
    /// Query of the request, raw.
    pub query: Option<&'a str>,
    /// Its `Content-Type`; nothing when it has none, or no body.
    pub content_type: Option<&'a str>,
    /// Its body, whole; empty for a GET.
    pub body: &'a [u8],
}

/// What an answer or a post carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Carried {
    /// No token, no code: a page to sign in, an error, a fault.
    Nothing,
    /// A redirect that carries nothing.
    Redirect {
        /// Where it leads: scheme, host and port, as in `https://login.example`.
        to: String,
    },
    /// One token, in the open.
    Token(Found),
    /// An authorization code, or a SAML artifact: the token itself goes another way.
    Code(By),
    /// A token that only whom it is for can read.
    Opaque(By),
    /// More than one that could be meant.
    Several,
    /// Something that may hold a token, and that not everybody reads alike.
    Unreadable(Unreadable),
}

/// Why nobody can say what is carried. The words hold nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unreadable(pub &'static str);

/// A token that was found. `Debug` shows nothing of its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Its text: XML, or the compact form of a JWT.
    pub text: String,
    /// How it travels.
    pub by: By,
    /// Names of what travels with it, such as `wctx`, `RelayState` or `code`.
    pub others: Vec<String>,
}

/// Kinds of tokens, by where they stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// XML of the WS-Federation parameter `wresult`.
    Wresult,
    /// XML of the SAML parameter `SAMLResponse`, out of base64.
    SamlResponse,
    /// OpenID Connect `id_token`.
    IdToken,
    /// OAuth `access_token` that looks like a signed JWT.
    AccessToken,
    /// SOAP envelope with an answer of WS-Trust.
    WsTrust,
}

/// How something travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A page's form, which the browser sends by itself.
    Form {
        /// Where it is sent, absolute.
        action: String,
    },
    /// The query of an address.
    Query,
    /// The fragment of an address, which no server gets to see.
    Fragment,
    /// JSON of a token endpoint.
    Json,
    /// A SOAP message.
    Soap,
    /// A form that was posted.
    Post,
}

impl fmt::Debug for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Found")
            .field("kind", &self.kind)
            .field("by", &self.by)
            .field("others", &self.others)
            .finish_non_exhaustive()
    }
}

/// What an answer carries to whoever asked.
pub fn answer(answering: Answering, answer: &Answer<'_>) -> Carried {
    if answer.body.len() > MAX_BODY {
        return unreadable("the answer is larger than 2 MB");
    }
    if !answer.is_plain() {
        return unreadable("the answer is packed (Content-Encoding)");
    }
    match answering {
        Answering::Passive | Answering::OauthBrowser => browsed(answer),
        Answering::OauthToken => json::read(answer.status, answer.body),
        Answering::Active => soap::read(answer.status, answer.body),
    }
}

/// What a browser hands to a relying party.
pub fn posted(posted: &Posted<'_>) -> Carried {
    address::posted(posted)
}

/// Whether what is sent to another path than a reply URL could hold the token of a sign-in all the same:
/// some applications take one at whatever path it comes. At a path where people are only signed out, a
/// `SAMLResponse` is the answer to that.
pub fn strays(posted: &Posted<'_>, signs_out: bool) -> bool {
    address::strays(posted, signs_out)
}

impl<'a> Answer<'a> {
    /// Values of a header.
    fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |(given, _)| *given == name)
            .map(|(_, value)| *value)
    }

    /// The one value of a header; an error when there are several, or it is not text.
    fn one(&self, name: &str) -> Result<Option<&'a str>, ()> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => str::from_utf8(value).map(Some).map_err(|_| ()),
            (Some(_), Some(_)) => Err(()),
        }
    }

    fn is_plain(&self) -> bool {
        self.all("content-encoding").all(|value| {
            value.trim_ascii().is_empty() || value.trim_ascii().eq_ignore_ascii_case(b"identity")
        })
    }
}

/// What a browser makes of an answer.
fn browsed(answer: &Answer<'_>) -> Carried {
    let Ok(url) = Url::parse(answer.url) else {
        return unreadable("the address of the request is not absolute");
    };
    let follows = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
    if answer.all("location").next().is_some() {
        match answer.one("location").map(Option::unwrap_or_default) {
            Ok(location) => match address::redirected(&url, location) {
                carried if follows => return carried,
                // Most browsers pass it over, but it has been handed out.
                Carried::Nothing | Carried::Redirect { .. } => {}
                _ => {
                    return unreadable(
                        "an answer that is no redirect leads on with what is secret",
                    );
                }
            },
            Err(()) => {
                return unreadable("the redirect has several addresses, or none that is text");
            }
        }
    }
    if answer.all("refresh").next().is_some() {
        return unreadable("the answer leads elsewhere by a Refresh header");
    }
    let Ok(content_type) = answer.one("content-type") else {
        return unreadable("the answer has several content types");
    };
    let (kind, charset) = content_type.map_or(("", None), media_type);
    if kind.eq_ignore_ascii_case("text/html") {
        return page::read(answer.body, charset, &url).map_or_else(Carried::Unreadable, |page| {
            page.map_or(Carried::Nothing, |form| form.carried())
        });
    }
    let kind = kind.to_ascii_lowercase();
    // What browsers may read as markup all the same.
    let perhaps = !kind.contains('/') || kind.ends_with("/xml") || kind.ends_with("+xml");
    let is_page = perhaps && !matches!(page::read(answer.body, charset, &url), Ok(None));
    let text = String::from_utf8_lossy(answer.body);
    let is_json = kind.ends_with("/json") || kind.ends_with("+json");
    if is_page || marks::in_code(&text) || is_json && marks::in_json(&text) {
        return unreadable("what looks like a token is in something that is not an HTML page");
    }
    Carried::Nothing
}

/// A media type and its charset.
fn media_type(value: &str) -> (&str, Option<&str>) {
    let mut parts = value.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let charset = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
        .map(|(_, charset)| charset.trim().trim_matches('"'));
    (kind, charset)
}

fn unreadable(why: &'static str) -> Carried {
    Carried::Unreadable(Unreadable(why))
}
