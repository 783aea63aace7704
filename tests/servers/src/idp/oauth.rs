//! OAuth 2 and OpenID Connect, but for the browser's part: the token endpoint and what it redeems.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use http::{Method as Verb, StatusCode};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::http::{
    Parameters, Request, Response, add, answer, json as json_answer, noted, redirect,
};
use crate::idp::device::Device;
use crate::idp::session::{Session, opaque};
use crate::idp::users::{Asker, check, credentials};
use crate::idp::{Idp, claims, pages};
use crate::plan::{OAuthClient, Product, User};
use crate::saml::assertion::Method;

/// What was given out and may be redeemed: codes (once), refresh tokens, device codes.
#[derive(Debug, Default)]
pub(super) struct Issued {
    pub(super) codes: Mutex<HashMap<String, Grant>>,
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
        if let Some(claims) = token.and_then(|token| self.ring.check(token)) {
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
        let id_token = self.id_token(user, &grant, asker, now, None);
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
                    session: Session::now(user, Method::Password),
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
                Ok(self.client_token(client, fields, asker))
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
        let (id, secret) = match credentials(request, "Basic") {
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

    fn client_token(&self, client: &OAuthClient, fields: &Parameters, asker: &Asker) -> Response {
        let now = OffsetDateTime::now_utc();
        let resource = fields.get("resource").unwrap_or("urn:microsoft:userinfo");
        let [key, _] = self.ring.published(asker.keys());
        let access = key.json.sign(&json!({
            "aud": resource, "iss": self.access_issuer(), "iat": now.unix_timestamp(), "nbf": now.unix_timestamp(),
            "exp": (now + LIFETIME).unix_timestamp(), "apptype": "Confidential", "appid": client.id,
            "sub": client.id, "ver": "1.0",
        }));
        let body = json!({ "access_token": access, "token_type": "bearer", "expires_in": LIFETIME.whole_seconds() });
        noted(
            json_answer(StatusCode::OK, &body),
            format!("token for the client {}", client.id),
        )
    }

    pub(super) fn access_token(
        &self,
        user: &User,
        grant: &Grant,
        asker: &Asker,
        now: OffsetDateTime,
    ) -> String {
        let mut token =
            claims::members(user, &grant.session, asker, &self.plan.cloud.tenant, false);
        let more = json!({
            "aud": grant.resource, "iss": self.access_issuer(), "iat": now.unix_timestamp(),
            "nbf": now.unix_timestamp(), "exp": (now + LIFETIME).unix_timestamp(), "apptype": "Public",
            "appid": grant.client, "authmethod": token["acr"], "ver": "1.0", "scp": "openid",
            "auth_time": grant.session.at.unix_timestamp(), "jti": uuid::Uuid::new_v4().to_string(),
            "insidecorporatenetwork": asker.inside(),
        });
        if let Value::Object(more) = more {
            token.extend(more);
        }
        self.json(token.into(), user, asker)
    }

    /// `front` says that the token goes through the browser, with the hashes of what goes with it.
    pub(super) fn id_token(
        &self,
        user: &User,
        grant: &Grant,
        asker: &Asker,
        now: OffsetDateTime,
        front: Option<&[(&str, String)]>,
    ) -> String {
        let tenant = &self.plan.cloud.tenant;
        let mut token = claims::members(user, &grant.session, asker, tenant, front.is_some());
        let more = json!({
            "aud": grant.client, "iss": self.service.connect_issuer(), "iat": now.unix_timestamp(),
            "nbf": now.unix_timestamp(), "exp": (now + LIFETIME).unix_timestamp(),
            "auth_time": grant.session.at.unix_timestamp(), "jti": uuid::Uuid::new_v4().to_string(),
        });
        if let Value::Object(more) = more {
            token.extend(more);
        }
        if let Some(nonce) = &grant.nonce {
            token.insert("nonce".to_owned(), nonce.as_str().into());
        }
        for (name, hash) in front.unwrap_or_default() {
            token.insert((*name).to_owned(), hash.as_str().into());
        }
        self.json(token.into(), user, asker)
    }

    /// The issuer of access tokens: at AD FS another one than that of id tokens.
    fn access_issuer(&self) -> String {
        match self.service.product {
            Product::Adfs => self.service.issuer(),
            _ => self.service.connect_issuer(),
        }
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

fn proves(challenge: Option<&str>, verifier: Option<&str>) -> bool {
    match (challenge, verifier) {
        (None, _) => true,
        (Some(challenge), Some(verifier)) => {
            challenge == verifier || challenge == crate::jwt::s256(verifier)
        }
        (Some(_), None) => false,
    }
}

/// How long tokens are valid.
pub(super) const LIFETIME: Duration = Duration::hours(1);
