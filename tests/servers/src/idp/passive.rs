//! Sign-in by browser at `/adfs/ls`: WS-Federation passive, the form, sign-out. SAML requests arrive at the same place
//! and are read in [`crate::idp::samlp`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::{Duration, OffsetDateTime};

use crate::http::{Parameters, Request, Response, add, answer, noted};
use crate::idp::product::asks_second_factor;
use crate::idp::session::Session;
use crate::idp::users::Asker;
use crate::idp::{Idp, claims, pages, samlp};
use crate::plan::{Product, Protocol, RelyingParty, User};
use crate::saml::assertion::{Method, Statement};
use crate::saml::response::WsTrust;

/// A sign-in that a browser asks for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Identifier of the application.
    pub relying_party: String,
    /// Where the token is posted to.
    pub reply: String,
    /// What must be handed back with it (`wctx`, `RelayState`).
    pub context: Option<String>,
    /// How old the authentication may be; zero asks for a new one.
    pub max_age: Option<Duration>,
    /// User name to fill in.
    pub hint: String,
    /// How the token is given.
    pub protocol: Protocol,
    /// Id of the SAML request, if there was one.
    pub request: Option<String>,
    /// No page may be shown.
    pub silent: bool,
    /// A second factor is asked for.
    pub second: bool,
    /// The answer is to be a reference (SAML artifact).
    pub artifact: bool,
}

impl Idp {
    /// `/adfs/ls/`, and what other products have for it.
    pub(super) fn ls(&self, request: &Request, asker: &Asker) -> Response {
        let query = request.query();
        match query.get("wa") {
            Some("wsignout1.0" | "wsignoutcleanup1.0") => return self.sign_out(request),
            Some("wsignin1.0") => {
                return match self.ws_federation(&query) {
                    Ok(ask) => self.sign_in(&ask, request, asker),
                    Err(reason) => self.error_page(&reason),
                };
            }
            Some("wattr1.0" | "wpseudo1.0") => return answer(http::StatusCode::FORBIDDEN, "", ""),
            Some(other) => return self.error_page(&format!("MSIS7047: unknown wa {other}")),
            None => {}
        }
        match self.saml_request(request, &query) {
            Some(Ok(samlp::Message::SignIn(ask))) => self.sign_in(&ask, request, asker),
            Some(Ok(samlp::Message::SignOut)) => self.sign_out(request),
            Some(Err(reason)) => self.error_page(&reason),
            None => self.error_page("MSIS7065: There are no registered protocol handlers on path /adfs/ls/ to process the incoming request."),
        }
    }

    /// `/adfs/ls/idpinitiatedsignon.aspx`, and `PingFederate`'s `?PartnerSpId=`.
    pub(super) fn idp_initiated(&self, request: &Request, asker: &Asker) -> Response {
        let query = request.query();
        let Some(identifier) = query.get("loginToRp").or(query.get("PartnerSpId")) else {
            let names: Vec<(&str, &str)> = self
                .plan
                .relying_parties
                .iter()
                .map(|party| (party.identifier.as_str(), party.display_name.as_str()))
                .collect();
            return pages::applications(&self.organisation(), request.uri.path(), &names);
        };
        match self.relying_party(identifier) {
            Ok(party) => {
                let ask = Ask {
                    relying_party: party.identifier.clone(),
                    reply: party.reply[0].clone(),
                    context: None,
                    max_age: None,
                    hint: String::new(),
                    protocol: party.protocol,
                    request: None,
                    silent: false,
                    second: false,
                    artifact: false,
                };
                self.sign_in(&ask, request, asker)
            }
            Err(reason) => self.error_page(&reason),
        }
    }

    /// The relying party, or AD FS's words for not knowing it.
    pub(super) fn relying_party(&self, identifier: &str) -> Result<&RelyingParty, String> {
        self.plan.relying_parties.iter().find(|party| party.identifier == identifier).ok_or_else(|| {
            format!("MSIS7007: The requested relying party trust '{identifier}' is unspecified or unsupported.")
        })
    }

    /// An error page with the reason, which is logged too.
    pub(super) fn error_page(&self, reason: &str) -> Response {
        noted(
            pages::error(&self.organisation(), reason),
            format!("error: {reason}"),
        )
    }

    /// The name on the service's pages.
    pub(super) fn organisation(&self) -> String {
        format!("Corp Example ({})", self.service.host)
    }

    /// What a token says about a user to a relying party.
    pub(super) fn statement(
        &self,
        user: &User,
        session: &Session,
        audience: &str,
        asker: &Asker,
    ) -> Statement {
        Statement {
            issuer: self.service.issuer(),
            audience: audience.to_owned(),
            subject: user.immutable_id.clone(),
            method: match session.second {
                Some(_) => Method::Multiple(self.shape.second_factor),
                None => session.method,
            },
            authenticated: session.at,
            issued: OffsetDateTime::now_utc(),
            lifetime: Duration::hours(1),
            claims: claims::attributes(user, session, asker, &self.plan.cloud.tenant, audience),
        }
    }

    fn sign_in(&self, ask: &Ask, request: &Request, asker: &Asker) -> Response {
        if let Some((session, user)) = self.session_for(request, ask.max_age)
            && !self.form_posted(request)
        {
            if ask.second && session.second.is_none() {
                if ask.silent {
                    return self.saml_failure(ask, "NoPassive");
                }
                let retry = self.retry(request, ask);
                let mut page = self.ask_second_factor(request, &retry, &user, asker);
                self.keep_request(&retry, request, &mut page);
                return page;
            }
            return self.issue(ask, request, asker, &session, &user);
        }
        if ask.silent {
            return self.saml_failure(ask, "NoPassive");
        }
        if let Some(challenge) = self.windows_first(request, asker) {
            return challenge;
        }
        let retry = self.retry(request, ask);
        let mut response = self.ask_password(request, &retry, &ask.hint, asker);
        self.keep_request(&retry, request, &mut response);
        response
    }

    /// AD FS remembers a posted request by a cookie.
    fn keep_request(&self, retry: &str, request: &Request, response: &mut Response) {
        if self.shape.pages.is_empty() && request.form().has("SAMLRequest") {
            self.requests.remember(retry, request, response);
        }
    }

    /// Where the form of this request is posted to. A request whose message was in a body gets a new id to be
    /// remembered under; the page for applications spells the address out, with the port, as AD FS does.
    fn retry(&self, request: &Request, ask: &Ask) -> String {
        if request.form().has("SAMLRequest") {
            return format!("/adfs/ls/?client-request-id={}", uuid::Uuid::new_v4());
        }
        let target = request
            .uri
            .path_and_query()
            .map_or("/adfs/ls/", http::uri::PathAndQuery::as_str);
        if ask.request.is_none() && ask.context.is_none() {
            format!("https://{}:443{target}", self.service.host)
        } else {
            target.to_owned()
        }
    }

    pub(super) fn issue(
        &self,
        ask: &Ask,
        request: &Request,
        asker: &Asker,
        session: &Session,
        user: &User,
    ) -> Response {
        let ours = self.service.product == Product::Adfs;
        let Some(loops) = LoopDetection::next(request.cookie("MSISLoopDetectionCookie")) else {
            return self.error_page(
                "MSIS7042: The same client browser session has made '6' requests in the last '20' seconds.",
            );
        };
        let posted = match ask.protocol {
            Protocol::WsFederation => self.ws_federation_token(ask, session, user, asker),
            Protocol::Saml => self.saml_token(ask, session, user, asker),
        };
        let mut response = match posted {
            Ok(page) => page,
            Err(error) => return self.error_page(&error.to_string()),
        };
        self.sessions.use_freshness(request);
        let now = STANDARD.encode(crate::saml::moment(session.at));
        let parties = STANDARD.encode(signed_in_parties(request, &ask.relying_party).join("\n"));
        let attributes = self.sessions.attributes();
        for (name, value) in [
            ("MSISAuthenticated", now),
            ("MSISLoopDetectionCookie", loops),
            ("MSISSignOut", parties),
        ] {
            if ours {
                let cookie = format!("{name}={value}{attributes}");
                add(&mut response, "set-cookie", &cookie);
            }
        }
        noted(
            response,
            format!("token for {} to {}", user.upn, ask.relying_party),
        )
    }

    fn ws_federation_token(
        &self,
        ask: &Ask,
        session: &Session,
        user: &User,
        asker: &Asker,
    ) -> Result<Response, crate::server::Error> {
        let statement = self.statement(user, session, &ask.relying_party, asker);
        let (issued, expires) = (statement.issued, statement.issued + statement.lifetime);
        let token = self.saml11(statement, user, asker)?;
        let result =
            WsTrust::V2005.response(&token.xml, &token.id, &ask.relying_party, issued, expires);
        let mut fields = vec![("wa", "wsignin1.0"), ("wresult", result.as_str())];
        if let Some(context) = &ask.context {
            fields.push(("wctx", context));
        }
        Ok(pages::auto_post(self.shape, &ask.reply, &fields))
    }

    pub(super) fn ws_federation(&self, query: &Parameters) -> Result<Ask, String> {
        let party = self.relying_party(query.get("wtrealm").unwrap_or_default())?;
        let reply = match query.get("wreply") {
            None => &party.reply[0],
            Some(wanted) => party
                .reply
                .iter()
                .find(|known| *known == wanted)
                .ok_or_else(|| {
                    format!(
                        "MSIS7009: the reply address '{wanted}' is not registered for this party."
                    )
                })?,
        };
        match query.get("wauth") {
            None
            | Some(
                "urn:oasis:names:tc:SAML:1.0:am:password"
                | "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
                | "urn:federation:authentication:windows",
            ) => {}
            Some(method) if asks_second_factor(method) => {}
            Some(other) => return Err(unsupported_method(other)),
        }
        let fresh = query
            .get("wfresh")
            .and_then(|minutes| minutes.parse().ok())
            .map(Duration::minutes);
        let prompted = (query.get("prompt") == Some("login")).then_some(Duration::ZERO);
        Ok(Ask {
            relying_party: party.identifier.clone(),
            reply: reply.clone(),
            context: query.get("wctx").map(str::to_owned),
            max_age: prompted.or(fresh),
            hint: query
                .get("username")
                .or(query.get("login_hint"))
                .unwrap_or_default()
                .to_owned(),
            protocol: Protocol::WsFederation,
            request: None,
            silent: false,
            second: query.get("wauth").is_some_and(asks_second_factor),
            artifact: false,
        })
    }

    /// Ends the session, whoever asks, and fetches the sign-out pages of the applications signed in to.
    fn sign_out(&self, request: &Request) -> Response {
        let cleanups: Vec<String> = signed_in_parties(request, "")
            .iter()
            .filter_map(|identifier| self.relying_party(identifier).ok())
            .filter(|party| party.protocol == Protocol::WsFederation)
            .map(|party| format!("{}?wa=wsignoutcleanup1.0", party.reply[0]))
            .collect();
        let mut response = pages::signed_out(&self.organisation(), &cleanups);
        self.sessions.end(request, &mut response);
        noted(response, "signed out")
    }
}

/// AD FS's words for a method of authentication that is not set up.
pub(super) fn unsupported_method(method: &str) -> String {
    format!("MSIS7102: Requested Authentication Method is not supported on the STS: {method}")
}

/// The relying parties in the `MSISSignOut` cookie, and `new`.
fn signed_in_parties(request: &Request, new: &str) -> Vec<String> {
    let known = request
        .cookie("MSISSignOut")
        .and_then(|value| STANDARD.decode(value).ok())
        .unwrap_or_default();
    let known = String::from_utf8_lossy(&known).into_owned();
    let mut parties: Vec<String> = known.lines().map(str::to_owned).collect();
    if !new.is_empty() && !parties.iter().any(|party| party == new) {
        parties.push(new.to_owned());
    }
    parties
}

/// AD FS gives at most five tokens to a browser within twenty seconds.
struct LoopDetection;

impl LoopDetection {
    /// The cookie's next value; `None` when this is a loop.
    fn next(cookie: Option<&str>) -> Option<String> {
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let seen: Option<(i64, u32)> = cookie
            .and_then(|value| STANDARD.decode(value).ok())
            .and_then(|text| String::from_utf8(text).ok())
            .and_then(|text| {
                text.split_once('\\')
                    .and_then(|(at, n)| Some((at.parse().ok()?, n.parse().ok()?)))
            });
        let (since, count) = match seen {
            Some((since, count)) if now - since < 20 => (since, count + 1),
            _ => (now, 1),
        };
        (count <= 5).then(|| STANDARD.encode(format!("{since}\\{count}")))
    }
}

#[cfg(test)]
mod tests {
    use super::LoopDetection;

    #[test]
    fn the_sixth_token_in_a_row_is_a_loop() {
        let mut cookie = None;
        for _ in 0..5 {
            cookie = Some(LoopDetection::next(cookie.as_deref()).expect("five tokens are given"));
        }
        assert_eq!(LoopDetection::next(cookie.as_deref()), None);
    }
}
