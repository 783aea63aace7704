//! Errors as Graph words them.

use std::borrow::Cow;

use http::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Status.
    pub status: StatusCode,
    /// `code`
    pub code: Cow<'static, str>,
    /// `message`
    pub message: String,
    /// Header fields.
    pub headers: Vec<(String, String)>,
}

impl Refusal {
    /// With that status, code and message.
    pub fn new(
        status: StatusCode,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code: code.into(),
            message: message.into(),
            headers: Vec::new(),
        }
    }

    /// 400 `Request_BadRequest`
    pub fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Request_BadRequest", message)
    }

    /// 400 `Request_UnsupportedQuery`
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Request_UnsupportedQuery", message)
    }

    /// 401 `InvalidAuthenticationToken`
    pub fn token(message: impl Into<String>) -> Self {
        let mut refusal = Self::new(
            StatusCode::UNAUTHORIZED,
            "InvalidAuthenticationToken",
            message,
        );
        refusal.headers.push((
            "WWW-Authenticate".to_owned(),
            "Bearer realm=\"\", authorization_uri=\"https://login.microsoftonline.com/common/oauth2/authorize\", client_id=\"00000003-0000-0000-c000-000000000000\"".to_owned(),
        ));
        refusal
    }

    /// 400: a query that needs the header, and does not have it.
    pub fn advanced() -> Self {
        Self::unsupported(
            "Unsupported Query. It needs the header ConsistencyLevel: eventual and $count=true.",
        )
    }

    /// 403 `Authorization_RequestDenied`
    pub fn denied() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Authorization_RequestDenied",
            "Insufficient privileges to complete the operation.",
        )
    }

    /// 403: what the tenant does not pay for.
    pub fn not_premium() -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "Authentication_RequestFromNonPremiumTenantOrB2CTenant",
            "Neither tenant is B2C or tenant doesn't have premium license",
        )
    }

    /// 404 `Request_ResourceNotFound`
    pub fn missing(id: &str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "Request_ResourceNotFound",
            format!(
                "Resource '{id}' does not exist or one of its queried reference-property objects are not present."
            ),
        )
    }

    /// The body.
    pub fn body(&self, now: OffsetDateTime, request: Uuid, client: &str) -> Value {
        let date = crate::world::clock::written(now);
        json!({ "error": { "code": self.code, "message": self.message, "innerError": {
            "date": date.trim_end_matches('Z'), "request-id": request, "client-request-id": client } } })
    }
}
