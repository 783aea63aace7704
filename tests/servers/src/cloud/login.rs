//! `login.microsoftonline.com`: realm discovery, OpenID metadata, and a token endpoint that takes a federation
//! service's assertion.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::cloud::trusted;
use crate::control::service_now;
use crate::http::{
    Handler, Parameters, Request, Response, add, answer, json as json_answer, noted,
};
use crate::idp::claims::UPN;
use crate::idp::product::Endpoint;
use crate::jwt::Jwt;
use crate::plan::{MICROSOFT_ONLINE, Plan, User};
use crate::saml::sign::Signer;
use crate::saml::verify::{Refusal, Verifier};
use crate::server::Error;

/// The token endpoint of the lab's tenant.
pub struct Login {
    plan: Plan,
    verifier: Verifier,
    jwt: Jwt,
}

impl Login {
    /// With the cloud's own signing key.
    pub fn new(plan: &Plan) -> Result<Self, Error> {
        let files = plan.files();
        let signer = Signer::load(
            &files.signing_key("cloud"),
            &files.signing_certificate("cloud"),
        )?;
        Ok(Self {
            plan: plan.clone(),
            verifier: trusted(plan),
            jwt: Jwt::new(&signer)?,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("https://{}{path}", self.plan.cloud.login.host)
    }

    /// `/common/userrealm/{user}`: managed here or federated, and then where to.
    fn realm(&self, user: &str) -> Response {
        let user = percent_encoding::percent_decode_str(user).decode_utf8_lossy();
        let domain = user
            .rsplit_once('@')
            .map_or_else(String::new, |(_, domain)| domain.to_ascii_lowercase());
        let Some(federated) = self.plan.domains.iter().find(|known| known.name == domain) else {
            return json_answer(
                StatusCode::OK,
                &json!({ "ver": "1.0", "account_type": "Unknown", "cloud_instance_name": "microsoftonline.com",
                    "cloud_audience_urn": MICROSOFT_ONLINE }),
            );
        };
        let Some(service) = service_now(&self.plan, &federated.service) else {
            return answer(StatusCode::INTERNAL_SERVER_ERROR, "", "");
        };
        let mut body = json!({
            "ver": "1.0", "account_type": "Federated", "domain_name": domain, "federation_protocol": "WSTrust",
            "cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": MICROSOFT_ONLINE,
        });
        let active = [Endpoint::Active2005, Endpoint::Active, Endpoint::Ecp]
            .into_iter()
            .find_map(|endpoint| service.endpoint(endpoint));
        body["federation_active_auth_url"] = Value::from(active);
        let mex = [Endpoint::Mex, Endpoint::ProxyMex]
            .into_iter()
            .find_map(|endpoint| service.endpoint(endpoint));
        if federated.mex && mex.is_some() {
            body["federation_metadata_url"] = Value::from(mex);
        }
        noted(
            json_answer(StatusCode::OK, &body),
            format!("realm {domain} at {}", service.name),
        )
    }

    /// `/GetUserRealm.srf`: the same for browsers.
    fn browser_realm(&self, query: &Parameters) -> Response {
        let user = query.get("login").unwrap_or_default();
        let domain = user
            .rsplit_once('@')
            .map_or_else(String::new, |(_, domain)| domain.to_ascii_lowercase());
        let service = self
            .plan
            .domains
            .iter()
            .find(|known| known.name == domain)
            .and_then(|known| service_now(&self.plan, &known.service));
        let Some(service) = service else {
            return json_answer(
                StatusCode::OK,
                &json!({ "State": 4, "UserState": 1, "Login": user, "NameSpaceType": "Unknown" }),
            );
        };
        let passive = service.ws_federation().or_else(|| service.saml(true));
        let passive = passive.unwrap_or_default();
        let parameters = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([
                ("username", user),
                ("wa", "wsignin1.0"),
                ("wtrealm", MICROSOFT_ONLINE),
                ("wctx", ""),
            ])
            .finish();
        json_answer(
            StatusCode::OK,
            &json!({ "State": 3, "UserState": 2, "Login": user, "NameSpaceType": "Federated", "DomainName": domain,
                "FederationGlobalVersion": -1, "AuthURL": format!("{passive}?{parameters}"),
                "FederationBrandName": "Corp Example", "CloudInstanceName": "microsoftonline.com" }),
        )
    }

    fn configuration(&self, tenant: &str) -> Response {
        let issuer = if tenant == "organizations" || tenant == "common" {
            self.url("/{tenantid}/v2.0")
        } else {
            self.url(&format!("/{}/v2.0", self.plan.cloud.tenant))
        };
        json_answer(
            StatusCode::OK,
            &json!({
                "token_endpoint": self.url(&format!("/{tenant}/oauth2/v2.0/token")),
                "authorization_endpoint": self.url(&format!("/{tenant}/oauth2/v2.0/authorize")),
                "device_authorization_endpoint": self.url(&format!("/{tenant}/oauth2/v2.0/devicecode")),
                "jwks_uri": self.url(&format!("/{tenant}/discovery/v2.0/keys")),
                "issuer": issuer, "tenant_region_scope": Value::Null, "cloud_instance_name": "microsoftonline.com",
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"], "id_token_signing_alg_values_supported": ["RS256"],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "scopes_supported": ["openid", "profile", "email", "offline_access"],
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            }),
        )
    }

    /// `/common/discovery/instance`: which hosts are this cloud.
    fn instance(&self) -> Response {
        let host = &self.plan.cloud.login.host;
        json_answer(
            StatusCode::OK,
            &json!({
                "tenant_discovery_endpoint": self.url("/common/v2.0/.well-known/openid-configuration"),
                "api-version": "1.1",
                "metadata": [{ "preferred_network": host, "preferred_cache": "login.windows.net",
                    "aliases": [host, "login.windows.net", "login.microsoft.com", "sts.windows.net"] }],
            }),
        )
    }

    async fn token(&self, request: &Request) -> Response {
        if request.method != Method::POST {
            return refuse(
                "invalid_request",
                900_561,
                "The endpoint only accepts POST requests.",
            );
        }
        let fields = request.form();
        let grant = fields.get("grant_type").unwrap_or_default();
        let Some(client) = fields.get("client_id") else {
            return refuse(
                "invalid_request",
                900_144,
                "The request body must contain the following parameter: 'client_id'.",
            );
        };
        match grant {
            "urn:ietf:params:oauth:grant-type:saml1_1-bearer"
            | "urn:ietf:params:oauth:grant-type:saml2-bearer" => {}
            "" => {
                return refuse(
                    "invalid_request",
                    900_144,
                    "The request body must contain the following parameter: 'grant_type'.",
                );
            }
            "password" => {
                return refuse(
                    "invalid_grant",
                    50126,
                    "Error validating credentials due to invalid username or password.",
                );
            }
            other => {
                let text = format!("The app requested an unsupported grant type '{other}'.");
                return refuse("unsupported_grant_type", 70003, &text);
            }
        }
        let assertion = fields.get("assertion").and_then(decode);
        let Some(assertion) = assertion else {
            return refuse(
                "invalid_grant",
                50008,
                "SAML token is invalid. The assertion cannot be decoded.",
            );
        };
        let saml2 = grant.ends_with("saml2-bearer");
        if saml2 != assertion.contains("urn:oasis:names:tc:SAML:2.0:assertion") {
            return refuse(
                "invalid_grant",
                50008,
                "SAML token is invalid. Its version is not that of the grant type.",
            );
        }
        match self
            .verifier
            .verify(&assertion, MICROSOFT_ONLINE, OffsetDateTime::now_utc())
            .await
        {
            Ok(accepted) => {
                let user = accepted.claim(UPN).and_then(|upn| self.plan.user(upn));
                match user.filter(|user| user.immutable_id == accepted.subject) {
                    Some(user) => self.grant(user, client, fields.get("scope").unwrap_or("openid")),
                    None => refuse(
                        "invalid_grant",
                        51004,
                        "The user account does not exist in the directory.",
                    ),
                }
            }
            Err(refusal) => {
                let (code, text) = entra_words(&refusal);
                noted(
                    refuse("invalid_grant", code, &text),
                    format!("refused: {refusal}"),
                )
            }
        }
    }

    fn grant(&self, user: &User, client: &str, scope: &str) -> Response {
        let now = OffsetDateTime::now_utc();
        let tenant = &self.plan.cloud.tenant;
        let object = &user.object_id;
        let claims = |audience: &str| {
            json!({
                "aud": audience, "iss": self.url(&format!("/{tenant}/v2.0")), "iat": now.unix_timestamp(),
                "nbf": now.unix_timestamp(), "exp": (now + LIFETIME).unix_timestamp(), "oid": object,
                "preferred_username": user.upn, "name": user.display_name, "sub": user.immutable_id, "tid": tenant,
                "upn": user.upn, "scp": scope, "ver": "2.0",
            })
        };
        let client_info = json!({ "uid": object, "utid": tenant }).to_string();
        let body = json!({
            "token_type": "Bearer", "scope": scope, "expires_in": LIFETIME.whole_seconds(),
            "ext_expires_in": LIFETIME.whole_seconds(),
            "access_token": self.jwt.sign(&claims("00000003-0000-0000-c000-000000000000")),
            "id_token": self.jwt.sign(&claims(client)),
            "refresh_token": crate::idp::session::opaque(600),
            "client_info": URL_SAFE_NO_PAD.encode(client_info),
        });
        noted(
            json_answer(StatusCode::OK, &body),
            format!("token for {}", user.upn),
        )
    }
}

impl Handler for Login {
    async fn handle(&self, request: Request) -> Response {
        let path = request.uri.path().to_owned();
        let query = request.query();
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let mut response = match segments.as_slice() {
            ["common", "userrealm", user] => self.realm(user),
            ["GetUserRealm.srf"] => self.browser_realm(&query),
            ["common", "discovery", "instance"] => self.instance(),
            [tenant, "v2.0", ".well-known", "openid-configuration"]
            | [tenant, ".well-known", "openid-configuration"] => self.configuration(tenant),
            [_, "discovery", "v2.0", "keys"] => {
                json_answer(StatusCode::OK, &json!({ "keys": [self.jwt.key()] }))
            }
            [_, "oauth2", "v2.0", "token"] | [_, "oauth2", "token"] => self.token(&request).await,
            _ => answer(
                StatusCode::NOT_FOUND,
                "text/plain; charset=utf-8",
                "AADSTS90019: there is nothing here.\n",
            ),
        };
        add(&mut response, "cache-control", "no-store, no-cache");
        add(
            &mut response,
            "x-ms-request-id",
            &uuid::Uuid::new_v4().to_string(),
        );
        response
    }
}

/// Base64 in either alphabet, with or without padding.
fn decode(text: &str) -> Option<String> {
    let text: String = text
        .trim()
        .trim_end_matches('=')
        .chars()
        .map(|c| {
            if c == '-' {
                '+'
            } else if c == '_' {
                '/'
            } else {
                c
            }
        })
        .collect();
    let bytes = STANDARD
        .decode(format!("{text}{}", "=".repeat((4 - text.len() % 4) % 4)))
        .ok()?;
    String::from_utf8(bytes).ok()
}

fn entra_words(refusal: &Refusal) -> (u32, String) {
    match refusal {
        Refusal::Issuer(issuer) => {
            (50107, format!("The requested federation realm object '{issuer}' does not exist."))
        }
        Refusal::Signature(_) => (
            5_000_811,
            "Unable to verify token signature. The signing key identifier does not match any valid registered keys."
                .to_owned(),
        ),
        other => (50008, format!("SAML token is invalid. {other}.")),
    }
}

fn refuse(error: &str, code: u32, text: &str) -> Response {
    let (trace, correlation) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    let timestamp = crate::saml::moment(OffsetDateTime::now_utc());
    let body = json!({
        "error": error,
        "error_description": format!(
            "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}"
        ),
        "error_codes": [code], "timestamp": timestamp, "trace_id": trace.to_string(),
        "correlation_id": correlation.to_string(),
    });
    noted(
        json_answer(StatusCode::BAD_REQUEST, &body),
        format!("AADSTS{code}"),
    )
}

const LIFETIME: Duration = Duration::hours(1);

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn assertions_come_in_both_alphabets() {
        for text in ["PGE+Pz8/PC9hPg==", "PGE-Pz8_PC9hPg", "PGE-Pz8_PC9hPg=="] {
            assert_eq!(decode(text).as_deref(), Some("<a>???</a>"));
        }
        assert_eq!(decode("!"), None);
    }
}
