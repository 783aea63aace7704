//! Sign-in by browser at `/adfs/ls`: WS-Federation passive, the form, sign-out. SAML requests arrive at the same place
//! and are read in [`crate::idp::samlp`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{Method as Verb, StatusCode};
use time::{Duration, OffsetDateTime};

use crate::http::{Parameters, Request, Response, add, answer, noted, redirect};
use crate::idp::session::{ATTRIBUTES, Session};
use crate::idp::users::{Asker, check};
use crate::idp::{Idp, pages, samlp};
use crate::plan::{Protocol, RelyingParty, User};
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
}

impl Idp {
    /// `/adfs/ls/`.
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
            Some("wattr1.0" | "wpseudo1.0") => return answer(StatusCode::FORBIDDEN, "", ""),
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

    /// `/adfs/ls/idpinitiatedsignon.aspx`.
    pub(super) fn idp_initiated(&self, request: &Request, asker: &Asker) -> Response {
        let query = request.query();
        let Some(identifier) = query.get("loginToRp") else {
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

    /// Shows the form, or takes what was typed into it. `retry` is what the form posts to.
    pub(super) fn form(&self, request: &Request, retry: &str, hint: &str) -> FormStep {
        let fields = request.form();
        if request.method != Verb::POST || !fields.has("UserName") {
            return FormStep::Answer(pages::sign_in(&self.organisation(), retry, hint, None));
        }
        let name = fields.get("UserName").unwrap_or_default();
        if !name.contains(['@', '\\']) {
            let text = "Enter your user ID in the format \"domain\\user\" or \"user@domain\".";
            return FormStep::Answer(pages::sign_in(
                &self.organisation(),
                retry,
                name,
                Some(text),
            ));
        }
        if let Some(user) = check(&self.plan, name, fields.get("Password").unwrap_or_default()) {
            return FormStep::SignedIn {
                user: user.clone(),
                keep: fields.get("Kmsi") == Some("true"),
            };
        }
        let text =
            "Incorrect user ID or password. Type the correct user ID and password, and try again.";
        FormStep::Answer(noted(
            pages::sign_in(&self.organisation(), retry, name, Some(text)),
            "wrong user name or password",
        ))
    }

    /// Starts a session and sends the browser to the same request again, as AD FS does after the form.
    pub(super) fn start_session(&self, request: &Request, user: &User, keep: bool) -> Response {
        let target = request
            .uri
            .path_and_query()
            .map_or("/", http::uri::PathAndQuery::as_str);
        let mut response = redirect(
            StatusCode::FOUND,
            &format!("https://{}:443{target}", self.service.host),
        );
        let session = Session {
            upn: user.upn.clone(),
            method: Method::Password,
            at: OffsetDateTime::now_utc(),
            fresh_for: Some(target.to_owned()),
        };
        self.sessions.start(session, keep, &mut response);
        noted(response, format!("signed in {}", user.upn))
    }

    /// The request's session, if it is as young as asked.
    pub(super) fn session_for(
        &self,
        request: &Request,
        max_age: Option<Duration>,
    ) -> Option<(Session, User)> {
        let session = self.sessions.find(request)?;
        let user = self.plan.user(&session.upn)?.clone();
        let Some(max_age) = max_age else {
            return Some((session, user));
        };
        let target = request
            .uri
            .path_and_query()
            .map(http::uri::PathAndQuery::as_str);
        let just_now = session.fresh_for.as_deref() == target;
        let young = !max_age.is_zero() && OffsetDateTime::now_utc() - session.at <= max_age;
        (just_now || young).then_some((session, user))
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
            method: session.method,
            authenticated: session.at,
            issued: OffsetDateTime::now_utc(),
            lifetime: Duration::hours(1),
            claims: asker.claims(user, session.method),
        }
    }

    fn sign_in(&self, ask: &Ask, request: &Request, asker: &Asker) -> Response {
        if let Some((session, user)) = self.session_for(request, ask.max_age)
            && !(request.method == Verb::POST && request.form().has("UserName"))
        {
            return self.issue(ask, request, asker, &session, &user);
        }
        if ask.silent {
            return self.saml_failure(ask, "NoPassive");
        }
        let form_post = request.method == Verb::POST && request.form().has("UserName");
        if asker.gets_windows_challenge() && !form_post {
            return super::windows();
        }
        let retry = self.retry(request, ask);
        let mut response = match self.form(request, &retry, &ask.hint) {
            FormStep::SignedIn { user, keep } => self.start_session(request, &user, keep),
            FormStep::Answer(page) => page,
        };
        if request.form().has("SAMLRequest") {
            self.requests.remember(&retry, request, &mut response);
        }
        response
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

    fn issue(
        &self,
        ask: &Ask,
        request: &Request,
        asker: &Asker,
        session: &Session,
        user: &User,
    ) -> Response {
        let Some(loops) = LoopDetection::next(request.cookie("MSISLoopDetectionCookie")) else {
            return self.error_page(
                "MSIS7042: The same client browser session has made '6' requests in the last '20' seconds.",
            );
        };
        let statement = self.statement(user, session, &ask.relying_party, asker);
        let posted = match ask.protocol {
            Protocol::WsFederation => self.ws_federation_token(ask, &statement),
            Protocol::Saml => self.saml_token(ask, &statement),
        };
        let mut response = match posted {
            Ok(page) => page,
            Err(error) => return self.error_page(&error.to_string()),
        };
        self.sessions.use_freshness(request);
        let now = STANDARD.encode(crate::saml::moment(session.at));
        let parties = STANDARD.encode(signed_in_parties(request, &ask.relying_party).join("\n"));
        add(
            &mut response,
            "set-cookie",
            &format!("MSISAuthenticated={now}{ATTRIBUTES}"),
        );
        add(
            &mut response,
            "set-cookie",
            &format!("MSISLoopDetectionCookie={loops}{ATTRIBUTES}"),
        );
        add(
            &mut response,
            "set-cookie",
            &format!("MSISSignOut={parties}{ATTRIBUTES}"),
        );
        noted(
            response,
            format!("token for {} to {}", user.upn, ask.relying_party),
        )
    }

    fn ws_federation_token(
        &self,
        ask: &Ask,
        statement: &Statement,
    ) -> Result<Response, crate::server::Error> {
        let id = format!("_{}", uuid::Uuid::new_v4());
        let assertion = self.signer.sign(&statement.saml11(&id))?;
        let expires = statement.issued + statement.lifetime;
        let result = WsTrust::V2005.response(
            &assertion,
            &id,
            &ask.relying_party,
            statement.issued,
            expires,
        );
        let mut fields = vec![("wa", "wsignin1.0"), ("wresult", result.as_str())];
        if let Some(context) = &ask.context {
            fields.push(("wctx", context));
        }
        Ok(pages::auto_post(&ask.reply, &fields))
    }

    fn ws_federation(&self, query: &Parameters) -> Result<Ask, String> {
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

/// What the form led to.
pub(super) enum FormStep {
    /// A page to show.
    Answer(Response),
    /// The right name and password.
    SignedIn {
        /// Who.
        user: User,
        /// Whether to stay signed in.
        keep: bool,
    },
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
