//! The steps of a sign-in by browser: the page for a name and a password, the page for a second factor, the session.
//!
//! A step that is done sends the browser to the same request again, as AD FS does; whether another one is needed is
//! decided there. Other products' pages stand elsewhere: [`crate::idp::conversation`].

use http::{Method as Verb, StatusCode};
use time::{Duration, OffsetDateTime};

use crate::http::{Request, Response, noted, redirect};
use crate::idp::conversation::{StepDone, target};
use crate::idp::session::Session;
use crate::idp::users::{Asker, check, credentials};
use crate::idp::{Idp, pages, windows};
use crate::plan::{Product, User};
use crate::saml::assertion::Method;

impl Idp {
    /// Shows the form, or takes what was typed into it. `retry` is what the form posts to.
    fn form(&self, request: &Request, retry: &str, hint: &str) -> FormStep {
        let fields = request.form();
        if !self.form_posted(request) {
            return FormStep::Answer(self.password_page(retry, hint, None));
        }
        let name = fields.get(self.shape.user).unwrap_or_default();
        if self.service.product == Product::Adfs && !name.contains(['@', '\\']) {
            let text = "Enter your user ID in the format \"domain\\user\" or \"user@domain\".";
            return FormStep::Answer(self.password_page(retry, name, Some(text)));
        }
        let password = fields.get(self.shape.password).unwrap_or_default();
        if let Some(user) = check(&self.plan, name, password) {
            return FormStep::SignedIn {
                user: Box::new(user.clone()),
                keep: fields.get("Kmsi") == Some("true"),
            };
        }
        let text =
            "Incorrect user ID or password. Type the correct user ID and password, and try again.";
        FormStep::Answer(noted(
            self.password_page(retry, name, Some(text)),
            "wrong user name or password",
        ))
    }

    /// Starts a session and sends the browser to the same request again, as AD FS does after the form.
    fn start_session(
        &self,
        request: &Request,
        user: &User,
        method: Method,
        keep: bool,
    ) -> Response {
        let session = Session {
            fresh_for: Some(target(request).to_owned()),
            ..Session::now(user, method)
        };
        let mut response = self.again(request);
        self.sessions.start(session, keep, &mut response);
        noted(response, format!("signed in {}", user.upn))
    }

    /// Sends the browser to the same request again.
    fn again(&self, request: &Request) -> Response {
        let port = match self.service.product {
            Product::Adfs => ":443",
            _ => "",
        };
        let place = format!("https://{}{port}{}", self.service.host, target(request));
        let mut response = redirect(StatusCode::FOUND, &place);
        response.extensions_mut().insert(StepDone);
        response
    }

    /// Whether the sign-in form was posted, filled in.
    pub(super) fn form_posted(&self, request: &Request) -> bool {
        request.method == Verb::POST && request.form().has(self.shape.user)
    }

    /// Asks for a name and a password, or takes them. `retry` is what AD FS's form posts to.
    pub(super) fn ask_password(
        &self,
        request: &Request,
        retry: &str,
        hint: &str,
        asker: &Asker,
    ) -> Response {
        let page = match self.page(request, retry, asker) {
            Ok(page) => page,
            Err(leads_there) => return *leads_there,
        };
        match self.form(request, &page, hint) {
            FormStep::SignedIn { user, keep } => {
                self.start_session(request, &user, Method::Password, keep)
            }
            FormStep::Answer(page) => page,
        }
    }

    /// Asks for the second factor of whom `session` is about, or takes it.
    pub(super) fn ask_second_factor(
        &self,
        request: &Request,
        retry: &str,
        user: &User,
        asker: &Asker,
    ) -> Response {
        let page = match self.page(request, retry, asker) {
            Ok(page) => page,
            Err(leads_there) => return *leads_there,
        };
        let Some(code) = &user.second_factor else {
            return self
                .error_page("MSIS7102: the user has no additional authentication method set up");
        };
        let fields = request.form();
        let typed = fields
            .get(self.shape.code)
            .filter(|_| request.method == Verb::POST);
        match typed {
            Some(typed) if typed.trim() == code => {
                self.sessions.add_second_factor(request);
                noted(
                    self.again(request),
                    format!("second factor of {}", user.upn),
                )
            }
            Some(_) => noted(
                pages::second_factor(
                    self.shape,
                    &self.organisation(),
                    &page,
                    Some("This code is not right. Try again."),
                ),
                "wrong second factor",
            ),
            None => noted(
                pages::second_factor(self.shape, &self.organisation(), &page, None),
                "second factor asked for",
            ),
        }
    }

    /// Where the sign-in page's form posts to; or the answer that leads the browser to the page.
    fn page(&self, request: &Request, retry: &str, asker: &Asker) -> Result<String, Box<Response>> {
        if self.shape.pages.is_empty() {
            Ok(retry.to_owned())
        } else {
            self.page_address(request, asker)
        }
    }

    fn password_page(&self, action: &str, user: &str, error: Option<&str>) -> Response {
        let organisation = self.organisation();
        match self.service.product {
            Product::Adfs => pages::sign_in(&organisation, action, user, error),
            _ => pages::plain_sign_in(self.shape, &organisation, action, user, error),
        }
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
        let just_now = session.fresh_for.as_deref() == Some(target(request));
        let young = !max_age.is_zero() && OffsetDateTime::now_utc() - session.at <= max_age;
        (just_now || young).then_some((session, user))
    }

    /// The challenge for browsers that sign in with Windows, or the session of one that answered it.
    pub(super) fn windows_first(&self, request: &Request, asker: &Asker) -> Option<Response> {
        let offered = self.service.product == Product::Adfs && asker.gets_windows_challenge();
        if !offered || self.form_posted(request) {
            return None;
        }
        let ticket = credentials(request, "Negotiate");
        let user = ticket.and_then(|(name, password)| check(&self.plan, &name, &password));
        Some(match user {
            Some(user) => self.start_session(request, user, Method::Windows, false),
            None => windows(),
        })
    }
}

/// What the form led to.
enum FormStep {
    /// A page to show.
    Answer(Response),
    /// The right name and password.
    SignedIn {
        /// Who.
        user: Box<User>,
        /// Whether to stay signed in.
        keep: bool,
    },
}
