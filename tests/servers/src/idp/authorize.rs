//! OAuth's authorization endpoint: what is asked for, and how a code or tokens go back through the browser.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::StatusCode;
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use url::Url;

use crate::control::Twist;
use crate::http::{Parameters, Request, Response, answer, noted, redirect};
use crate::idp::conversation::target;
use crate::idp::oauth::{Grant, LIFETIME, lock};
use crate::idp::passive::unsupported_method;
use crate::idp::product::asks_second_factor;
use crate::idp::session::{Session, opaque};
use crate::idp::users::Asker;
use crate::idp::{Idp, pages};
use crate::plan::{OAuthClient, User};

impl Idp {
    /// The authorization endpoint: the form, then a code.
    pub(super) fn authorize(&self, request: &Request, asker: &Asker) -> Response {
        let query = request.query();
        let client = query.get("client_id").and_then(|id| self.client(id));
        let Some(client) = client else {
            return self.error_page("MSIS9223: Received invalid OAuth authorization request. The received 'client_id' is invalid as no registered client was found with this client identifier.");
        };
        let place = query.get("redirect_uri").unwrap_or_default();
        if !client.redirects.iter().any(|known| known == place) {
            return self.error_page("MSIS9224: Received invalid OAuth authorization request. The received 'redirect_uri' parameter is not a valid registered redirect URI for the client identifier.");
        }
        let kind = query.get("response_type").unwrap_or_default();
        let Some(wanted) = Wanted::read(kind) else {
            let text = "MSIS9602: The received 'response_type' parameter is not valid.";
            return self.deliver(
                &query,
                None,
                place,
                &[
                    ("error", "unsupported_response_type"),
                    ("error_description", text),
                ],
            );
        };
        let second = match asked_methods(&query) {
            Ok(second) => second,
            Err(method) => return self.error_page(&unsupported_method(&method)),
        };
        let age = match (
            query.get("prompt"),
            query.get("max_age").and_then(|age| age.parse().ok()),
        ) {
            (Some("login"), _) => Some(Duration::ZERO),
            (_, Some(seconds)) => Some(Duration::seconds(seconds)),
            _ => None,
        };
        let retry = target(request);
        if let Some((session, user)) = self.session_for(request, age)
            && !self.form_posted(request)
        {
            if second && session.second.is_none() && query.get("prompt") != Some("none") {
                return self.ask_second_factor(request, retry, &user, asker);
            }
            if !second || session.second.is_some() {
                self.sessions.use_freshness(request);
                return self.give(&query, wanted, client, place, session, &user, asker);
            }
        }
        if query.get("prompt") == Some("none") {
            return self.deliver(
                &query,
                None,
                place,
                &[
                    ("error", "login_required"),
                    ("error_description", "MSIS9462: Interaction is required."),
                ],
            );
        }
        if let Some(challenge) = self.windows_first(request, asker) {
            return challenge;
        }
        let hint = query.get("login_hint").or(query.get("username"));
        self.ask_password(request, retry, hint.unwrap_or_default(), asker)
    }

    /// What was asked for, given through the browser: a code, tokens, or both.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the request, read, and nothing else"
    )]
    fn give(
        &self,
        query: &Parameters,
        wanted: Wanted,
        client: &OAuthClient,
        target: &str,
        session: Session,
        user: &User,
        asker: &Asker,
    ) -> Response {
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
        let now = OffsetDateTime::now_utc();
        let mut fields = Vec::new();
        let mut hashes = Vec::new();
        if wanted.code {
            let code = URL_SAFE_NO_PAD.encode(opaque(200));
            lock(&self.oauth.codes).insert(code.clone(), grant.clone());
            hashes.push(("c_hash", half_hash(&code)));
            fields.push(("code", code));
        }
        if wanted.token {
            let token = self.access_token(user, &grant, asker, now);
            hashes.push(("at_hash", half_hash(&token)));
            fields.push(("access_token", token));
            fields.push(("token_type", "bearer".to_owned()));
            fields.push(("expires_in", LIFETIME.whole_seconds().to_string()));
        }
        if wanted.id_token {
            let token = self.id_token(user, &grant, asker, now, Some(&hashes));
            fields.push(("id_token", token));
        }
        let fields: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let mode = [
            (Twist::Query, "query"),
            (Twist::Fragment, "fragment"),
            (Twist::FormPost, "form_post"),
        ]
        .into_iter()
        .find_map(|(twist, mode)| asker.has(twist, user).then_some(mode))
        .or_else(|| (wanted.front() && !query.has("response_mode")).then_some("fragment"));
        noted(
            self.deliver(query, mode, target, &fields),
            format!("{} for {} to {}", wanted.describe(), user.upn, client.id),
        )
    }

    /// Sends the browser back to the client with `fields`, in the response mode that it asked for, or in `mode`.
    fn deliver(
        &self,
        query: &Parameters,
        mode: Option<&str>,
        target: &str,
        fields: &[(&str, &str)],
    ) -> Response {
        let mut all = fields.to_vec();
        if let Some(state) = query.get("state") {
            all.push(("state", state));
        }
        let mode = mode.or(query.get("response_mode"));
        if mode == Some("form_post") {
            return pages::auto_post(self.shape, target, &all);
        }
        let Ok(mut url) = Url::parse(target) else {
            return answer(StatusCode::BAD_REQUEST, "", "");
        };
        if mode == Some("fragment") {
            let text = url::form_urlencoded::Serializer::new(String::new())
                .extend_pairs(&all)
                .finish();
            url.set_fragment(Some(&text));
        } else {
            url.query_pairs_mut().extend_pairs(&all);
        }
        redirect(StatusCode::FOUND, url.as_str())
    }
}

/// What an authorization request wants through the browser.
#[derive(Debug, Clone, Copy, Default)]
struct Wanted {
    code: bool,
    id_token: bool,
    token: bool,
}

impl Wanted {
    /// Reads `response_type`; `None` when it is none that is offered.
    fn read(kind: &str) -> Option<Self> {
        let mut wanted = Self::default();
        for word in kind.split(' ') {
            match word {
                "code" => wanted.code = true,
                "id_token" => wanted.id_token = true,
                "token" => wanted.token = true,
                _ => return None,
            }
        }
        (wanted.code || wanted.id_token).then_some(wanted)
    }

    /// Whether tokens go through the browser: never in a query.
    fn front(self) -> bool {
        self.id_token || self.token
    }

    fn describe(self) -> &'static str {
        if self.front() { "tokens" } else { "code" }
    }
}

/// Whether `acr_values` or `claims` ask for a second factor; the method that is not supported, if none is.
fn asked_methods(query: &Parameters) -> Result<bool, String> {
    let classes = query.get("acr_values").unwrap_or_default();
    let first = classes.split_whitespace().next();
    let second = classes.split_whitespace().any(asks_second_factor);
    if let Some(first) = first.filter(|class| !second && !class.contains(":Password")) {
        return Err(first.to_owned());
    }
    let claims: Value = query
        .get("claims")
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let asked = ["amr", "acr"].iter().any(|name| {
        let claim = &claims["id_token"][name];
        let several = claim["values"].as_array().map_or(&[][..], Vec::as_slice);
        std::iter::once(&claim["value"])
            .chain(several)
            .filter_map(Value::as_str)
            .any(asks_second_factor)
    });
    Ok(second || asked)
}

/// The left half of a token's hash, as id tokens carry it (OpenID Connect Core, 3.3.2.11).
fn half_hash(text: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    URL_SAFE_NO_PAD.encode(&digest.as_ref()[..16])
}
