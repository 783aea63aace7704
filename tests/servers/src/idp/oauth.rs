//! OAuth 2 and OpenID Connect at `/adfs/oauth2`.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method as Verb, StatusCode};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::http::{
    Parameters, Request, Response, add, answer, json as json_answer, noted, redirect,
};
use crate::idp::device::Device;
use crate::idp::passive::{FormStep, unsupported_method};
use crate::idp::session::{Session, opaque};
use crate::idp::users::{Asker, check};
use crate::idp::{Idp, pages};
use crate::plan::{OAuthClient, User};
use crate::saml::assertion::Method;

/// What was given out and may be redeemed: codes (once), refresh tokens, device codes.
#[derive(Debug, Default)]
pub(super) struct Issued {
    codes: Mutex<HashMap<String, Grant>>,
    refresh: Mutex<HashMap<String, Grant>>,
    pub(super) devices: Mutex<HashMap<String, Device>>,
}

/// A user's sign-in, given to a client.
#[derive(Debug, Clone)]
pub(super) struct Grant {
    pub(super) client: String,
    pub(super) session: Session,
    pub(super) resource: String,
    pub(super) redirect: String,
    pub(super) nonce: Option<String>,
    pub(super) challenge: Option<String>,
    pub(super) expires: OffsetDateTime,
}

impl Idp {
    /// The authorization endpoint: the form, then a code.
    pub(super) fn authorize(&self, request: &Request, asker: &Asker) -> Response {
        let query = request.query();
        let client = query.get("client_id").and_then(|id| self.client(id));
        let Some(client) = client else {
            return self.error_page("MSIS9223: Received invalid OAuth authorization request. The received 'client_id' is invalid as no registered client was found with this client identifier.");
        };
        let target = query.get("redirect_uri").unwrap_or_default();
        if !client.redirects.iter().any(|known| known == target) {
            return self.error_page("MSIS9224: Received invalid OAuth authorization request. The received 'redirect_uri' parameter is not a valid registered redirect URI for the client identifier.");
        }
        let kind = query.get("response_type").unwrap_or_default();
        if kind != "code" {
            let text = "MSIS9602: The received 'response_type' parameter is not valid.";
            return deliver(
                &query,
                target,
                &[
                    ("error", "unsupported_response_type"),
                    ("error_description", text),
                ],
            );
        }
        if let Some(method) = query.get("acr_values") {
            return self.error_page(&unsupported_method(method));
        }
        let age = match (
            query.get("prompt"),
            query.get("max_age").and_then(|age| age.parse().ok()),
        ) {
            (Some("login"), _) => Some(Duration::ZERO),
            (_, Some(seconds)) => Some(Duration::seconds(seconds)),
            _ => None,
        };
        let form_posted = request.method == Verb::POST && request.form().has("UserName");
        if let Some((session, user)) = self.session_for(request, age)
            && !form_posted
        {
            self.sessions.use_freshness(request);
            return self.give_code(&query, client, target, session, &user);
        }
        if query.get("prompt") == Some("none") {
            return deliver(
                &query,
                target,
                &[
                    ("error", "login_required"),
                    ("error_description", "MSIS9462: Interaction is required."),
                ],
            );
        }
        if asker.gets_windows_challenge() && !form_posted {
            return super::windows();
        }
        let retry = request
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        match self.form(
            request,
            retry,
            query
                .get("login_hint")
                .or(query.get("username"))
                .unwrap_or_default(),
        ) {
            FormStep::SignedIn { user, keep } => self.start_session(request, &user, keep),
            FormStep::Answer(page) => page,
        }
    }

    /// The token endpoint.
    pub(super) fn token(&self, request: &Request, asker: &Asker) -> Response {
        if request.method != Verb::POST {
            return answer(StatusCode::METHOD_NOT_ALLOWED, "", "");
        }
        let fields = request.form();
        let mut response = match self.redeem(request, &fields, asker) {
            Ok(response) => response,
            Err((code, text)) => noted(oauth_error(code, &text), format!("{code}: {text}")),
        };
        add(&mut response, "cache-control", "no-store");
        response
    }

    /// `/adfs/userinfo`: who the token is about, and no more than that.
    pub(super) fn userinfo(&self, request: &Request) -> Response {
        let token = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Bearer "));
        if let Some(claims) = token.and_then(|token| self.jwt.check(token)) {
            return json_answer(StatusCode::OK, &json!({ "sub": claims["sub"] }));
        }
        let mut response = answer(StatusCode::UNAUTHORIZED, "", "");
        add(&mut response, "www-authenticate", "Bearer");
        response
    }

    /// The end of the session; leads on to where the client asked, if that is one of its addresses.
    pub(super) fn oauth_logout(&self, request: &Request) -> Response {
        let query = request.query();
        let known = |url: &str| {
            self.plan
                .oauth_clients
                .iter()
                .any(|client| client.redirects.iter().any(|r| r == url))
        };
        let mut response = match query
            .get("post_logout_redirect_uri")
            .filter(|url| known(url))
        {
            Some(url) => redirect(StatusCode::FOUND, url),
            None => pages::signed_out(&self.organisation(), &[]),
        };
        self.sessions.end(request, &mut response);
        noted(response, "signed out")
    }

    /// The client of that id.
    pub(super) fn client(&self, id: &str) -> Option<&OAuthClient> {
        self.plan
            .oauth_clients
            .iter()
            .find(|client| client.id == id)
    }

    /// The tokens for a grant, as the token endpoint answers.
    pub(super) fn tokens(&self, grant: Grant, user: &User, asker: &Asker) -> Response {
        let now = OffsetDateTime::now_utc();
        let access = self.access_token(user, &grant, asker, now);
        let id_token = self.id_token(user, &grant, now);
        let refresh = opaque(900);
        let note = format!("tokens for {} to {}", user.upn, grant.client);
        let body = json!({
            "access_token": access, "token_type": "bearer", "expires_in": LIFETIME.whole_seconds(),
            "resource": grant.resource, "refresh_token": refresh, "refresh_token_expires_in": 28799,
            "scope": "openid", "id_token": id_token,
        });
        lock(&self.oauth.refresh).insert(
            refresh,
            Grant {
                expires: now + Duration::hours(8),
                ..grant
            },
        );
        noted(json_answer(StatusCode::OK, &body), note)
    }

    fn give_code(
        &self,
        query: &Parameters,
        client: &OAuthClient,
        target: &str,
        session: Session,
        user: &User,
    ) -> Response {
        let code = URL_SAFE_NO_PAD.encode(opaque(200));
        let grant = Grant {
            client: client.id.clone(),
            session,
            resource: query
                .get("resource")
                .unwrap_or("urn:microsoft:userinfo")
                .to_owned(),
            redirect: target.to_owned(),
            nonce: query.get("nonce").map(str::to_owned),
            challenge: query.get("code_challenge").map(str::to_owned),
            expires: OffsetDateTime::now_utc() + Duration::minutes(10),
        };
        lock(&self.oauth.codes).insert(code.clone(), grant);
        noted(
            deliver(query, target, &[("code", &code)]),
            format!("code for {} to {}", user.upn, client.id),
        )
    }

    fn redeem(
        &self,
        request: &Request,
        fields: &Parameters,
        asker: &Asker,
    ) -> Result<Response, Refused> {
        let grant_type = fields.get("grant_type").unwrap_or_default();
        let client = self.authenticate(request, fields)?;
        match grant_type {
            "authorization_code" => {
                let grant = lock(&self.oauth.codes).remove(fields.get("code").unwrap_or_default());
                let grant = Self::valid(grant, client)?;
                if fields
                    .get("redirect_uri")
                    .is_some_and(|uri| uri != grant.redirect)
                {
                    return Err(invalid(
                        "MSIS9609: The 'redirect_uri' parameter is invalid.",
                    ));
                }
                if !proves(grant.challenge.as_deref(), fields.get("code_verifier")) {
                    return Err(invalid(
                        "MSIS9683: The 'code_verifier' parameter is invalid.",
                    ));
                }
                self.answer_grant(grant, asker)
            }
            "refresh_token" => {
                let grant = lock(&self.oauth.refresh)
                    .get(fields.get("refresh_token").unwrap_or_default())
                    .cloned();
                let grant = Self::valid(grant, client)?;
                self.answer_grant(grant, asker)
            }
            "password" => {
                let (name, password) = (fields.get("username"), fields.get("password"));
                let user = check(
                    &self.plan,
                    name.unwrap_or_default(),
                    password.unwrap_or_default(),
                )
                .ok_or_else(|| invalid("MSIS9659: Invalid 'username' or 'password'."))?;
                let at = OffsetDateTime::now_utc();
                let grant = Grant {
                    client: client.id.clone(),
                    session: Session {
                        upn: user.upn.clone(),
                        method: Method::Password,
                        at,
                        fresh_for: None,
                    },
                    resource: fields
                        .get("resource")
                        .unwrap_or("urn:microsoft:userinfo")
                        .to_owned(),
                    redirect: String::new(),
                    nonce: None,
                    challenge: None,
                    expires: at,
                };
                Ok(self.tokens(grant, user, asker))
            }
            "client_credentials" if client.secret.is_some() => {
                Ok(self.client_token(client, fields))
            }
            "urn:ietf:params:oauth:grant-type:device_code" => {
                self.redeem_device(fields, client, asker)
            }
            "client_credentials" => Err((
                "unauthorized_client",
                "MSIS9267: The client is not allowed to use this grant.".to_owned(),
            )),
            other => Err((
                "unsupported_grant_type",
                format!(
                    "MSIS9611: The authorization server does not support the requested 'grant_type' '{other}'."
                ),
            )),
        }
    }

    fn authenticate(
        &self,
        request: &Request,
        fields: &Parameters,
    ) -> Result<&OAuthClient, Refused> {
        let basic = request
            .header("authorization")
            .and_then(|value| value.strip_prefix("Basic "))
            .and_then(|value| STANDARD.decode(value).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|pair| {
                pair.split_once(':')
                    .map(|(id, secret)| (id.to_owned(), secret.to_owned()))
            });
        let (id, secret) = match basic {
            Some((id, secret)) => (id, Some(secret)),
            None => (
                fields.get("client_id").unwrap_or_default().to_owned(),
                fields.get("client_secret").map(str::to_owned),
            ),
        };
        let client = self.client(&id).ok_or_else(|| {
            ("invalid_client", "MSIS9607: The 'client_id' parameter in the request is invalid. No registered client is found with this identifier.".to_owned())
        })?;
        if client.secret == secret || client.secret.is_none() {
            Ok(client)
        } else {
            Err(("invalid_client", "MSIS9622: Client authentication failed. Please verify the credential provided for client authentication is valid.".to_owned()))
        }
    }

    fn valid(grant: Option<Grant>, client: &OAuthClient) -> Result<Grant, Refused> {
        grant
            .filter(|grant| grant.client == client.id && grant.expires > OffsetDateTime::now_utc())
            .ok_or_else(|| invalid("MSIS9612: The authorization code or refresh token is invalid, expired or was used."))
    }

    fn answer_grant(&self, grant: Grant, asker: &Asker) -> Result<Response, Refused> {
        let user = self
            .plan
            .user(&grant.session.upn)
            .ok_or_else(|| invalid("MSIS9612: The user is gone."))?;
        Ok(self.tokens(grant, user, asker))
    }

    fn client_token(&self, client: &OAuthClient, fields: &Parameters) -> Response {
        let now = OffsetDateTime::now_utc();
        let resource = fields.get("resource").unwrap_or("urn:microsoft:userinfo");
        let access = self.jwt.sign(&json!({
            "aud": resource, "iss": self.service.issuer(), "iat": now.unix_timestamp(), "nbf": now.unix_timestamp(),
            "exp": (now + LIFETIME).unix_timestamp(), "apptype": "Confidential", "appid": client.id,
            "sub": client.id, "ver": "1.0",
        }));
        let body = json!({ "access_token": access, "token_type": "bearer", "expires_in": LIFETIME.whole_seconds() });
        noted(
            json_answer(StatusCode::OK, &body),
            format!("token for the client {}", client.id),
        )
    }

    fn access_token(
        &self,
        user: &User,
        grant: &Grant,
        asker: &Asker,
        now: OffsetDateTime,
    ) -> String {
        self.jwt.sign(&json!({
            "aud": grant.resource, "iss": self.service.issuer(), "iat": now.unix_timestamp(),
            "nbf": now.unix_timestamp(), "exp": (now + LIFETIME).unix_timestamp(), "apptype": "Public",
            "appid": grant.client, "authmethod": grant.session.method.saml2(),
            "auth_time": crate::saml::moment(grant.session.at), "ver": "1.0", "scp": "openid", "sub": user.immutable_id,
            "upn": user.upn, "department": user.department, "groups": user.groups,
            "insidecorporatenetwork": asker.inside(),
        }))
    }

    fn id_token(&self, user: &User, grant: &Grant, now: OffsetDateTime) -> String {
        let mut claims = json!({
            "aud": grant.client, "iss": self.url("/adfs"), "iat": now.unix_timestamp(), "nbf": now.unix_timestamp(),
            "exp": (now + LIFETIME).unix_timestamp(), "auth_time": grant.session.at.unix_timestamp(),
            "sub": user.immutable_id, "upn": user.upn, "unique_name": user.account, "groups": user.groups,
            "department": user.department,
        });
        if let Some(nonce) = &grant.nonce {
            claims["nonce"] = Value::from(nonce.as_str());
        }
        self.jwt.sign(&claims)
    }
}

/// Error code and description.
pub(super) type Refused = (&'static str, String);

/// `invalid_grant` with that description.
pub(super) fn invalid(text: &str) -> Refused {
    ("invalid_grant", text.to_owned())
}

/// The token endpoint's form of an error.
pub(super) fn oauth_error(code: &str, text: &str) -> Response {
    let status = if code == "invalid_client" {
        StatusCode::UNAUTHORIZED
    } else {
        StatusCode::BAD_REQUEST
    };
    json_answer(status, &json!({ "error": code, "error_description": text }))
}

/// Locks a table whose holders never panic.
pub(super) fn lock<T>(table: &Mutex<T>) -> MutexGuard<'_, T> {
    table.lock().expect("no holder of the lock panics")
}

/// Sends the browser back to the client with `fields`, in the response mode that it asked for.
fn deliver(query: &Parameters, target: &str, fields: &[(&str, &str)]) -> Response {
    let mut all = fields.to_vec();
    if let Some(state) = query.get("state") {
        all.push(("state", state));
    }
    if query.get("response_mode") == Some("form_post") {
        return pages::auto_post(target, &all);
    }
    let Ok(mut url) = Url::parse(target) else {
        return answer(StatusCode::BAD_REQUEST, "", "");
    };
    if query.get("response_mode") == Some("fragment") {
        let text = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&all)
            .finish();
        url.set_fragment(Some(&text));
    } else {
        url.query_pairs_mut().extend_pairs(&all);
    }
    redirect(StatusCode::FOUND, url.as_str())
}

fn proves(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, _) => true,
        (Some(challenge), Some(verifier)) => {
            challenge == verifier || challenge == crate::jwt::s256(verifier)
        }
        (Some(_), None) => false,
    }
}

const LIFETIME: Duration = Duration::hours(1);
