//! Errors of the token endpoint, by the number behind `AADSTS`.

use http::StatusCode;
use serde_json::json;
use time::OffsetDateTime;
use time::macros::format_description;
use weir_lab_servers::http::{Response, add, json as json_answer, noted};

use crate::chance::Chance;

/// An error as the token endpoint words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aadsts {
    /// The number.
    pub code: u32,
    /// What is said of it.
    pub text: String,
}

impl Aadsts {
    /// With the usual words.
    pub fn usual(code: u32) -> Self {
        Self::new(code, known(code).1)
    }

    /// With these words.
    pub fn new(code: u32, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }

    /// `error`
    pub fn error(&self) -> &'static str {
        known(self.code).0
    }

    /// As an answer.
    pub fn answer(&self, chance: Chance, now: OffsetDateTime, login: &str) -> Response {
        let error = self.error();
        let status = match error {
            "invalid_client" => StatusCode::UNAUTHORIZED,
            "temporarily_unavailable" => StatusCode::SERVICE_UNAVAILABLE,
            "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        let [trace, correlation] = [1, 2].map(|id| chance.of(id).id());
        let at = now
            .format(format_description!(
                "[year]-[month]-[day] [hour]:[minute]:[second]Z"
            ))
            .expect("the year has four digits");
        let body = json!({ "error": error, "error_codes": [self.code], "timestamp": at, "trace_id": trace,
            "error_description": format!("AADSTS{}: {} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {at}",
                self.code, self.text),
            "correlation_id": correlation, "error_uri": format!("{login}/error?code={}", self.code) });
        let mut response = json_answer(status, &body);
        add(&mut response, "cache-control", "no-store, no-cache");
        noted(response, format!("AADSTS{}", self.code))
    }
}

/// `error` and usual words of a number.
fn known(code: u32) -> (&'static str, &'static str) {
    let found = KNOWN.iter().find(|(known, ..)| *known == code);
    found.map_or(
        ("invalid_request", "The request failed."),
        |(_, error, text)| (error, text),
    )
}

const KNOWN: &[(u32, &str, &str)] = &[
    (
        50011,
        "invalid_request",
        "The redirect URI specified in the request does not match the redirect URIs configured for the application.",
    ),
    (
        50013,
        "invalid_grant",
        "Assertion is not within its valid time range.",
    ),
    (50057, "invalid_grant", "The user account is disabled."),
    (
        50076,
        "interaction_required",
        "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication.",
    ),
    (
        50105,
        "invalid_grant",
        "Your administrator has configured the application to block users unless they are specifically granted access.",
    ),
    (
        50173,
        "invalid_grant",
        "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
    ),
    (
        50196,
        "invalid_grant",
        "The server terminated an operation because it encountered a client request loop.",
    ),
    (
        53003,
        "access_denied",
        "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
    ),
    (
        65001,
        "invalid_grant",
        "The user or administrator has not consented to use the application.",
    ),
    (
        65004,
        "consent_required",
        "The resource owner or authorization server denied the request.",
    ),
    (65005, "invalid_client", "Misconfigured application."),
    (650_056, "invalid_client", "Misconfigured application."),
    (
        70003,
        "unsupported_grant_type",
        "The app requested an unsupported grant type.",
    ),
    (
        70008,
        "invalid_grant",
        "The provided authorization code or refresh token has expired due to inactivity.",
    ),
    (
        70011,
        "invalid_scope",
        "The provided request must include a 'scope' input parameter. The provided value for the input parameter 'scope' is not valid.",
    ),
    (
        90002,
        "invalid_request",
        "Tenant not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud.",
    ),
    (
        90014,
        "invalid_request",
        "The required field 'scope' is missing from the credential.",
    ),
    (
        90024,
        "temporarily_unavailable",
        "A transient error has occurred. Please try again.",
    ),
    (
        90033,
        "temporarily_unavailable",
        "A transient error has occurred. Please try again.",
    ),
    (
        90038,
        "invalid_request",
        "The tenant is in another national cloud.",
    ),
    (
        90055,
        "temporarily_unavailable",
        "Tenant is throttled. Please try again later.",
    ),
    (
        90094,
        "access_denied",
        "Admin consent is required for the permissions requested by the application.",
    ),
    (
        500_011,
        "invalid_resource",
        "The resource principal was not found in the tenant.",
    ),
    (
        700_016,
        "unauthorized_client",
        "Application was not found in the directory. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant.",
    ),
    (
        700_021,
        "invalid_client",
        "Client assertion application identifier doesn't match 'client_id' parameter.",
    ),
    (
        700_023,
        "invalid_client",
        "Client assertion audience claim does not match Realm issuer.",
    ),
    (
        700_024,
        "invalid_client",
        "Client assertion is not within its valid time range.",
    ),
    (
        700_025,
        "invalid_client",
        "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.",
    ),
    (
        700_027,
        "invalid_client",
        "The certificate with identifier used to sign the client assertion is not registered on application.",
    ),
    (
        900_023,
        "invalid_request",
        "Specified tenant identifier is neither a valid DNS name, nor a valid external domain.",
    ),
    (
        900_144,
        "invalid_request",
        "The request body must contain a required parameter.",
    ),
    (
        900_561,
        "invalid_request",
        "The endpoint only accepts POST requests.",
    ),
    (7_000_112, "unauthorized_client", "Application is disabled."),
    (
        7_000_215,
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to the app.",
    ),
    (
        7_000_216,
        "invalid_client",
        "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.",
    ),
    (
        7_000_222,
        "invalid_client",
        "The provided client secret keys are expired. Visit the Azure portal to create new keys for your app.",
    ),
    (
        9_001_023,
        "invalid_request",
        "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.",
    ),
];
