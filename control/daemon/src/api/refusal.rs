//! Why a request on the control socket is refused before the brain hears of it.

use http::StatusCode;
use weir_config::closest;

/// Why a request is refused, in words for whoever sent it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No operation has this path.
    #[error("there is nothing at {}", shown(path))]
    NoPath {
        /// The path.
        path: String,
        /// The paths that there are.
        known: Vec<&'static str>,
    },
    /// The path does not answer this method.
    #[error("{} does not answer {}", shown(path), shown(method))]
    Method {
        /// The method.
        method: String,
        /// The path.
        path: String,
        /// The methods that it answers, as `Allow` says them.
        allow: String,
    },
    /// A key that the query cannot have. A filter that is misspelt must not show everything.
    #[error("`{}` is no key of this query; known: {}", shown(key), quoted(known))]
    Key {
        /// The key.
        key: String,
        /// The keys that it can have.
        known: &'static [&'static str],
    },
    /// A key that stands twice in the query.
    #[error("`{0}` stands twice in the query")]
    Twice(String),
    /// A value that cannot be one of this key.
    #[error("`{}` cannot be the value of `{key}`", shown(value))]
    Value {
        /// The key.
        key: &'static str,
        /// The value.
        value: String,
        /// What to write instead.
        expected: String,
    },
    /// Two keys that say different things.
    #[error("`{0}` and `{1}` cannot be used together")]
    Together(&'static str, &'static str),
    /// A key that the query must have.
    #[error("`{0}` is missing from the query")]
    Missing(&'static str),
    /// A per cent sign that begins no escape, or escapes that are no UTF-8.
    #[error("`{}` {why}", shown(text))]
    Encoding {
        /// The text.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A value that should be a prefix.
    #[error(transparent)]
    Prefix(#[from] weir_tables::PrefixError),
    /// The body is not the object that is expected.
    #[error("the body is not what is expected here: {why}")]
    Body {
        /// What is wrong, and where.
        why: String,
        /// The key that was probably meant, or the keys that there are.
        help: String,
    },
    /// The body is too long.
    #[error("the body is longer than {0} bytes")]
    BodyTooLong(usize),
    /// The body did not come in time.
    #[error("the body did not come within {0} seconds")]
    BodyTooSlow(u64),
    /// The connection broke off in the body.
    #[error("the body cannot be read: {0}")]
    BodyBroken(String),
    /// A change, asked for on the socket that only reads.
    #[error("this socket answers questions and changes nothing")]
    Denied {
        /// The socket that changes, and who may use it.
        instead: String,
    },
}

impl Refusal {
    /// The status of the answer.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::NoPath { .. } => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Prefix(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Denied { .. } => StatusCode::FORBIDDEN,
            Self::Key { .. }
            | Self::Twice(_)
            | Self::Value { .. }
            | Self::Together(..)
            | Self::Missing(_)
            | Self::Encoding { .. }
            | Self::Body { .. }
            | Self::BodyBroken(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::NoPath { path, known } => meant(path, known).unwrap_or_else(|| {
                format!(
                    "known: {}; /v1/openapi.json describes them",
                    known.join(", ")
                )
            }),
            Self::Method { allow, .. } => format!("it answers {allow}"),
            Self::Key { key, known } => {
                meant(key, known).unwrap_or_else(|| "leave it out".to_owned())
            }
            Self::Twice(_) => "write it once".to_owned(),
            Self::Value { expected, .. } => expected.clone(),
            Self::Together(one, _) => format!("leave out `{one}`"),
            Self::Missing(key) => format!("add `?{key}=...` to the path"),
            Self::Encoding { .. } => {
                "write every byte that is no letter, digit, `-`, `.`, `_` or `~` as `%` and two \
                 hexadecimal digits of UTF-8"
                    .to_owned()
            }
            Self::Prefix(error) => error.help.clone(),
            Self::Body { help, .. } => help.clone(),
            Self::BodyTooLong(_) => {
                "send less; a list file may be edited directly instead".to_owned()
            }
            Self::BodyTooSlow(_) => "send all of it at once".to_owned(),
            Self::BodyBroken(_) => "send as many bytes as `Content-Length` says".to_owned(),
            Self::Denied { instead } => instead.clone(),
        }
    }
}

/// `did you mean ...`, when a known word is near.
pub(super) fn meant(word: &str, known: &[&str]) -> Option<String> {
    closest(&shown(word), known).map(|near| format!("did you mean `{near}`?"))
}

/// Words in back-ticks.
pub(super) fn quoted(words: &[&str]) -> String {
    match words {
        [] => "none".to_owned(),
        words => format!("`{}`", words.join("`, `")),
    }
}

/// What came from outside, cut short.
fn shown(text: &str) -> String {
    const LONGEST: usize = 120;
    let mut short: String = text.chars().take(LONGEST).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    short
}
