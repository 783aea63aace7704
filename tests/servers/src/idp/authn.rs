//! Okta's sign-in by JSON: a script on the sign-in page sends a name and a password, and gets a token that the browser
//! changes into a session, once, on its way back to where the sign-in began.

use std::collections::HashMap;
use std::sync::Mutex;

use http::{Method as Verb, StatusCode};
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

use crate::http::{Request, Response, answer, json as json_answer, noted, redirect};
use crate::idp::Idp;
use crate::idp::oauth::lock;
use crate::idp::session::{Session, opaque};
use crate::idp::users::check;
use crate::saml::assertion::Method;

/// Sign-ins that no browser has come for, by session token.
#[derive(Debug, Default)]
pub(super) struct SessionTokens(Mutex<HashMap<String, Session>>);

impl Idp {
    /// `/api/v1/authn`: a session token for the right name and password.
    pub(super) fn authn(&self, request: &Request) -> Response {
        if request.method != Verb::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "", "");
        }
        let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |name: &str| asked[name].as_str().unwrap_or_default();
        let Some(user) = check(&self.plan, text("username"), text("password")) else {
            let body = json!({
                "errorCode": "E0000004",
                "errorSummary": "Authentication failed",
                "errorLink": "E0000004",
                "errorId": opaque(15),
                "errorCauses": [],
            });
            let refused = json_answer(StatusCode::UNAUTHORIZED, &body);
            return noted(refused, "wrong user name or password");
        };
        let session = Session::now(user, Method::Password);
        let token = opaque(30).replace(['+', '/'], "-");
        let expires = (session.at + LIFETIME).format(&Rfc3339);
        let body = json!({
            "expiresAt": expires.expect("a moment of this age"),
            "status": "SUCCESS",
            "sessionToken": token,
            "_embedded": { "user": { "id": user.immutable_id, "profile": { "login": user.upn } } },
        });
        lock(&self.session_tokens.0).insert(token, session);
        let note = format!("session token for {}", user.upn);
        noted(json_answer(StatusCode::OK, &body), note)
    }

    /// `/login/sessionCookieRedirect`: the session that a token stands for, on the way to where the browser wants to go.
    pub(super) fn session_cookie(&self, request: &Request) -> Response {
        let query = request.query();
        let home = self.url("");
        let place = query.get("redirectUrl").unwrap_or_default();
        let Some(target) = place.strip_prefix(&home).filter(|it| it.starts_with('/')) else {
            return self.error_page("the address to go to is not one of this organisation");
        };
        let token = query.get("token").unwrap_or_default();
        let session = lock(&self.session_tokens.0).remove(token);
        let session = session.filter(|it| OffsetDateTime::now_utc() - it.at < LIFETIME);
        let Some(session) = session else {
            return self.error_page("the session token is not known, or was used");
        };
        let note = format!("signed in {}", session.upn);
        let mut response = redirect(StatusCode::FOUND, place);
        let session = Session {
            fresh_for: Some(target.to_owned()),
            ..session
        };
        self.sessions.start(session, false, &mut response);
        noted(response, note)
    }
}

const LIFETIME: Duration = Duration::minutes(5);
