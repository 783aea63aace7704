//! Sends the form with the token elsewhere: one attribute changes, and nothing else.

use url::Url;

use super::page::{self, TokenForm};
use super::references::escaped;
use super::{Answer, MAX_BODY, Unreadable, address, media_type};

/// Why a page's form was not sent elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRewritten {
    /// The page has no form with a token.
    #[error("the answer is not a page with a form that sends a token")]
    NoForm,
    /// Nobody can say what the page sends.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The form goes somewhere that is not expected.
    #[error(
        "the form is sent to {0}, which is not an expected origin; add it if it is the application's"
    )]
    Unexpected(String),
    /// The page itself forbids it, by a policy in a `meta` element.
    #[error(
        "the page has a content security policy in its markup, which limits where forms are sent"
    )]
    Limited,
    /// The new address is none that a form can be sent to.
    #[error(
        "the reverse proxy's address is not an absolute https address without user and fragment"
    )]
    Action,
}

/// The body of a page whose form goes to `new_action` in place of an expected origin, such as
/// `https://login.microsoftonline.com`. Every byte but those of that address stays; the length changes.
pub fn rewrite(
    answer: &Answer<'_>,
    expected_origins: &[String],
    new_action: &str,
) -> Result<Vec<u8>, NotRewritten> {
    let new = Url::parse(new_action).map_err(|_| NotRewritten::Action)?;
    let bare = new.username().is_empty() && new.password().is_none() && new.fragment().is_none();
    if new.scheme() != "https" || !bare {
        return Err(NotRewritten::Action);
    }
    let form = token_form(answer)?;
    let origin = address::origin(&form.action);
    let expected = expected_origins
        .iter()
        .filter_map(|origin| Url::parse(origin).ok());
    let is_expected = expected
        .map(|url| address::origin(&url))
        .any(|url| url == origin);
    let user = !form.action.username().is_empty() || form.action.password().is_some();
    if !is_expected || user {
        return Err(NotRewritten::Unexpected(origin));
    }
    if form.limited {
        return Err(NotRewritten::Limited);
    }
    let (before, after) = (
        &answer.body[..form.place.start],
        &answer.body[form.place.end..],
    );
    let quote: &[u8] = match before.last() {
        Some(b'"' | b'\'') => b"",
        _ => b"\"",
    };
    let value = escaped(new.as_str());
    let body = [before, quote, value.as_bytes(), quote, after].concat();
    // What is sent out must read as it was meant to, whatever was overlooked above.
    let again = token_form(&Answer {
        body: &body,
        ..*answer
    })?;
    if again.action != new || again.fields != form.fields {
        return Err(Unreadable("the page does not read the same after the change").into());
    }
    Ok(body)
}

fn token_form(answer: &Answer<'_>) -> Result<TokenForm, NotRewritten> {
    let url = Url::parse(answer.url).map_err(|_| NotRewritten::NoForm)?;
    let Ok(Some(content_type)) = answer.one("content-type") else {
        return Err(NotRewritten::NoForm);
    };
    let (kind, charset) = media_type(content_type);
    let follows = matches!(answer.status, 301 | 302 | 303 | 307 | 308);
    let leads = follows || answer.all("refresh").next().is_some();
    let is_page = kind.eq_ignore_ascii_case("text/html") && answer.is_plain() && !leads;
    if !is_page || answer.body.len() > MAX_BODY {
        return Err(NotRewritten::NoForm);
    }
    page::read(answer.body, charset, &url)?.ok_or(NotRewritten::NoForm)
}
