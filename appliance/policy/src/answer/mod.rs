//! Weir's own answers, each fit for the asker (DESIGN 3): a SOAP fault for WS-Trust, plain text for
//! MEX, a JSON error for token calls, an accessible page for people.
//!
//! An answer never repeats a parameter or a body of the request, except `wsa:MessageID`, escaped. It is
//! never empty, never cached, and never a 307 or 308, which would carry a password along.

mod page;
mod soap;
mod text;

use crate::facts::REDIRECTS_COOKIE;
use crate::rules::MAX_REDIRECTS;
use crate::{Decision, DecisionKind, Facts, Flow, Refusal, Soap};

/// An answer that Weir gives itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, names in lower case; no `content-length`.
    pub headers: Vec<(&'static str, String)>,
    /// Body; never empty.
    pub body: String,
}

/// The answer to a blocked request: a SOAP fault, an OAuth error, a page or text, by flow.
/// `reference` is the reference id (16 hexadecimal digits), also found in the audit log.
pub fn block(facts: &Facts, decision: &Decision, reference: &str) -> Answer {
    let status = decision.status.unwrap_or(403);
    let reason = &*decision.reason;
    match facts.flow {
        Flow::Active => soap::blocked(status, facts.soap.as_ref(), reason, reference),
        Flow::OauthToken => text::oauth_error(status, "access_denied", reason, reference),
        Flow::Mex | Flow::Device | Flow::Internal | Flow::Other | Flow::Metadata => {
            text::plain(status, reason, reference)
        }
        Flow::Passive | Flow::OauthBrowser | Flow::SignOut | Flow::Asset => {
            let mut page = page::blocked(status, reason, reference);
            // A person reads this page: whatever went round is at its end.
            if facts.redirects >= MAX_REDIRECTS {
                page.headers.push(("set-cookie", redirects_cookie(0)));
            }
            page
        }
    }
}

/// The answer to a request that is allowed, as far as is known, but gets no answer from the sign-in
/// server: a SOAP fault, an OAuth error, a page or text, by flow, and never in the words of a block.
/// `soap` is that of the facts, when they are known; `status` is 502, 503 or 504.
pub fn unavailable(flow: Flow, soap: Option<&Soap>, status: u16, reference: &str) -> Answer {
    const REASON: &str = "The sign-in service does not answer at the moment. Please try again.";
    let mut answer = match flow {
        Flow::Active => soap::unavailable(status, soap, REASON, reference),
        // RFC 6749, 4.1.2.1: the token endpoint has no word of its own for this.
        Flow::OauthToken => text::oauth_error(status, "temporarily_unavailable", REASON, reference),
        Flow::Mex | Flow::Device | Flow::Internal | Flow::Other | Flow::Metadata => {
            text::plain(status, REASON, reference)
        }
        Flow::Passive | Flow::OauthBrowser | Flow::SignOut | Flow::Asset => {
            page::unavailable(status, REASON, reference)
        }
    };
    // Too much to do passes; nobody knows how long the others last (RFC 9110, 10.2.3).
    if status == 503 {
        answer.headers.push(("retry-after", "5".to_owned()));
    }
    answer
}

/// The answer to a redirected request. `query` is the raw query of the request. `None` when the
/// decision is no redirect.
pub fn redirect(facts: &Facts, decision: &Decision, query: Option<&str>) -> Option<Answer> {
    let (DecisionKind::Redirect, Some(target)) = (decision.kind, &decision.target) else {
        return None;
    };
    let status = if decision.status == Some(302) {
        302
    } else {
        303
    };
    let mut answer = text::plain_body(status, "Go on at the reverse proxy.\n".to_owned());
    answer
        .headers
        .push(("location", target.fill(&facts.path, query)));
    // Else another site's page could use up a browser's redirects with frames and pictures.
    if facts.navigates {
        let count = facts.redirects.saturating_add(1);
        answer.headers.push(("set-cookie", redirects_cookie(count)));
    }
    answer
        .headers
        .push(("referrer-policy", "no-referrer".to_owned()));
    Some(answer)
}

/// The answer that makes a browser ask again, at this path with its query, on the same host: with more than it
/// asked for the first time.
pub fn again(path_and_query: &str) -> Answer {
    let mut answer = text::plain_body(303, "Go on with the sign-in.\n".to_owned());
    // Never the beginning of another authority (RFC 3986, section 4.2).
    let path_and_query = path_and_query.trim_start_matches('/');
    answer
        .headers
        .push(("location", format!("/{path_and_query}")));
    answer
}

/// The answer to a request that was refused before any rule was asked (also for the proxy's own
/// refusals: 413, 421, 502 ...).
pub fn refuse(refusal: &Refusal, reference: &str) -> Answer {
    let mut why = refusal.why.to_string();
    if let Some(first) = why.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text::plain(
        refusal.status,
        &format!("{}.", why.trim_end_matches('.')),
        reference,
    )
}

/// The count of redirects, for a minute; 0 forgets it. `None`: the browser may come back from the
/// reverse proxy's site by a form. Secure and `__Host-` keep other hosts from setting it.
fn redirects_cookie(count: u8) -> String {
    let seconds = if count == 0 { 0 } else { 60 };
    format!(
        "{REDIRECTS_COOKIE}={count}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=None"
    )
}

/// Headers of every answer.
fn common(content_type: &str) -> Vec<(&'static str, String)> {
    vec![
        ("content-type", content_type.to_owned()),
        ("cache-control", "no-store".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
    ]
}

/// Text for HTML and XML, in elements and in quoted attributes; characters that XML 1.0 forbids become
/// spaces.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push(' '),
            control if control.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
