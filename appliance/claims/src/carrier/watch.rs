//! Answers that are too large to be read whole: pictures, fonts, downloads, scripts.

use super::{Answer, Answering, Carried, browsed, marks, media_type};

/// So much of what came before is looked at again, in bytes: what tells of a token stands close together.
const AGAIN: usize = 512;

/// What types of content nobody takes for a page, for the answer of a token endpoint or for SOAP.
const TYPES: [&str; 12] = [
    "application/ecmascript",
    "application/gzip",
    "application/javascript",
    "application/octet-stream",
    "application/pdf",
    "application/wasm",
    "application/x-gzip",
    "application/x-javascript",
    "application/zip",
    "text/css",
    "text/ecmascript",
    "text/javascript",
];

/// Families of such types.
const FAMILIES: [&str; 4] = ["audio/", "font/", "image/", "video/"];

/// Looks at an answer part by part.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    before: Vec<u8>,
    posts: bool,
    code: bool,
}

impl Watch {
    /// For an answer whose head shows that it is no page and leads nowhere; nothing for one that may carry a
    /// token. The body of `answer` is what is known of it so far.
    pub fn new(answering: Answering, answer: &Answer<'_>) -> Option<Self> {
        let in_browser = matches!(answering, Answering::Passive | Answering::OauthBrowser);
        let head = Answer {
            body: b"",
            ..*answer
        };
        let leads_nowhere = || browsed(&head) == Carried::Nothing;
        let known = answer.one("content-type").ok()??;
        if !in_browser || answer.status != 200 || !answer.is_plain() || !leads_nowhere() {
            return None;
        }
        let (kind, charset) = media_type(known);
        let kind = kind.to_ascii_lowercase();
        // A picture of this type has scripts.
        let is_markup = kind.ends_with("xml");
        let is_family = FAMILIES.iter().any(|family| kind.starts_with(family));
        let is_bare = is_family && !is_markup || TYPES.contains(&&*kind);
        // In others, words look otherwise.
        let is_readable = charset.is_none_or(|charset| {
            let charset = charset.to_ascii_lowercase();
            ["utf-8", "us-ascii", "iso-8859-1", "windows-1252"].contains(&&*charset)
        });
        let mut watch = Self::default();
        (is_bare && is_readable && watch.goes_on(answer.body)).then_some(watch)
    }

    /// Whether the answer may go on with this: nothing up to its end looks like a token.
    pub fn goes_on(&mut self, part: &[u8]) -> bool {
        let mut seen = std::mem::take(&mut self.before);
        seen.extend_from_slice(part);
        let text = String::from_utf8_lossy(&seen);
        let lower = text.to_ascii_lowercase();
        self.posts |= marks::posts(&lower);
        self.code |= marks::has_code(&text);
        let is_token = marks::is_telling(&lower) || self.posts && self.code;
        drop(text);
        seen.drain(..seen.len().saturating_sub(AGAIN));
        self.before = seen;
        !is_token
    }
}
