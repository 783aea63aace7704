//! A whole sign-in by curl, as in a browser: redirections are followed, forms are filled in and sent, whatever product
//! they are of, until a page is there that leads no further.

use std::net::IpAddr;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use url::Url;
use weir_lab_servers::log::digest;
use weir_lab_servers::plan::{Product, User};

use super::Stage;
use super::curl::{Answer as Page, Call};
use super::form::{Form, plain};
use super::row::{Evidence, Row};
use super::rows::BROWSER;
use super::witness::Seen;

/// Where an application on the device takes what OAuth gives it: nobody answers there.
pub const NATIVE: &str = "https://app.cloud.example/oauth/native";
/// More steps than any sign-in has.
const STEPS: usize = 16;

/// A sign-in.
#[derive(Clone, Debug)]
pub struct Walk {
    /// Where it begins.
    pub start: String,
    /// Who signs in.
    pub user: User,
    /// The token is posted again when it was posted; what comes of that counts.
    pub twice: bool,
}

/// Where it ended.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Address of the last page.
    asked: String,
    /// The last page.
    page: Page,
    /// What OAuth gave.
    given: Option<&'static str>,
    /// A second factor was asked for, and given.
    second: bool,
    /// What the page that carried the token is known by.
    carrier: Option<String>,
    /// Its form was sent to the reverse proxy.
    moved: bool,
}

impl Walk {
    /// Does it.
    pub async fn run(&self, stage: &Stage<'_>, row: &Row) -> Result<Answer> {
        let jar = stage.empty_jar(row, "walk.cookies")?;
        let browser = [
            "--cookie",
            &jar,
            "--cookie-jar",
            &jar,
            "--user-agent",
            BROWSER,
        ];
        let mut answer = Answer::default();
        let mut call = Call::get(&self.start);
        let mut typed = false;
        let mut back = None;
        let mut posted = None;
        for _ in 0..STEPS {
            answer.asked.clone_from(&call.url);
            let asked = call.with(&browser);
            answer.page = asked.send(stage, Some(row.class), row.family).await?;
            let here = Url::parse(&answer.asked).context("curl asked for an address")?;
            let (next, form) = if let Some(location) = &answer.page.location {
                let next = here.join(location).context("a redirection leads nowhere")?;
                (next, None)
            } else if let Some(session) = session(&here, &answer.page, back.take()) {
                (session, None)
            } else {
                let Some(mut form) = Form::first(&answer.page.body) else {
                    break;
                };
                let next = here.join(&form.action).context("a form leads nowhere")?;
                match self.fill(&mut form) {
                    Filled::Password if !typed => {
                        typed = true;
                        back = begun(&here);
                        if back.is_some() {
                            call = self.by_script(&here)?;
                            continue;
                        }
                    }
                    Filled::Code => answer.second = true,
                    Filled::Token => {
                        answer.carrier = Some(digest(answer.page.body.as_bytes()));
                        let host = next.host_str().unwrap_or_default();
                        answer.moved = host.ends_with(".proxy.example");
                    }
                    Filled::Request => {}
                    Filled::Password | Filled::No => break,
                }
                (next, Some(form))
            };
            if next.path() == "/oauth/native" {
                answer.given = Some(given(&next, form.as_ref()));
                break;
            }
            call = form.map_or_else(
                || Call::get(next.clone()),
                |form| {
                    let fields = form.fields.iter();
                    let fields: Vec<_> = fields.map(|(name, value)| (&**name, &**value)).collect();
                    Call::form(next.clone(), &fields)
                },
            );
            if self.twice && answer.carrier.is_some() && posted.is_none() {
                posted = Some(call.clone());
            }
        }
        if let Some(again) = posted {
            answer.asked.clone_from(&again.url);
            let asked = again.with(&browser);
            answer.page = asked.send(stage, Some(row.class), row.family).await?;
        }
        Ok(answer)
    }

    /// What the script of Okta's page sends when a name and a password were typed.
    fn by_script(&self, page: &Url) -> Result<Call> {
        let place = page.join("/api/v1/authn")?;
        let typed = json!({ "username": self.user.upn, "password": self.user.password });
        let typed = typed.to_string();
        let kind = "Content-Type: application/json";
        Ok(Call::get(place).with(&["--header", kind, "--data-binary", &typed]))
    }

    fn fill(&self, form: &mut Form) -> Filled {
        if form.field("SAMLRequest").is_some() {
            return Filled::Request;
        }
        let mut tokens = ["wresult", "SAMLResponse"].iter().chain(&GIVEN);
        if tokens.any(|name| form.field(name).is_some()) {
            return Filled::Token;
        }
        for shape in Product::ALL.map(Product::shape) {
            if form.fill(shape.user, &self.user.upn)
                && form.fill(shape.password, &self.user.password)
            {
                return Filled::Password;
            }
            if let Some(code) = &self.user.second_factor
                && form.fill(shape.code, code)
            {
                return Filled::Code;
            }
        }
        Filled::No
    }
}

/// Where a sign-in began that stands at Okta's page.
fn begun(page: &Url) -> Option<Url> {
    let mut query = page.query_pairs();
    let (_, from) = query.find(|(name, _)| name == "fromURI")?;
    let begun = page.join(&from).ok()?;
    (page.path() == "/login/login.htm").then_some(begun)
}

/// Where the page's script goes on, with the token that it was given.
fn session(here: &Url, answer: &Page, back: Option<Url>) -> Option<Url> {
    let given: Value = serde_json::from_str(&answer.body).ok()?;
    let mut next = here.join("/login/sessionCookieRedirect").ok()?;
    next.query_pairs_mut()
        .append_pair("checkAccountSetupComplete", "true")
        .append_pair("token", given["sessionToken"].as_str()?)
        .append_pair("redirectUrl", back?.as_str());
    Some(next)
}

/// What a form was filled in with.
enum Filled {
    Password,
    Code,
    /// It carries a token, ready-made.
    Token,
    /// It carries the request for one.
    Request,
    No,
}

/// What OAuth gives through the browser.
const GIVEN: [&str; 3] = ["id_token", "access_token", "code"];

/// Which of it the application would find.
fn given(next: &Url, form: Option<&Form>) -> &'static str {
    let fragment = next.fragment().unwrap_or_default();
    let fragment: Vec<_> = url::form_urlencoded::parse(fragment.as_bytes()).collect();
    let carries = |name: &&str| {
        let mut address = next.query_pairs().chain(fragment.iter().cloned());
        address.any(|(found, _)| found == **name)
            || form.is_some_and(|form| form.field(name).is_some())
    };
    GIVEN.into_iter().find(carries).unwrap_or("nothing")
}

impl Answer {
    /// What it is, in words: the same words whatever was expected.
    pub fn describe(&self, walk: &Walk, evidence: &Evidence, egress: &[IpAddr]) -> String {
        let mut words = match (self.given, self.shown("upn"), self.shown("reason")) {
            (Some(given), ..) => given.to_owned(),
            (None, Some(who), _) if who == walk.user.upn => "signed in".to_owned(),
            (None, Some(who), _) => format!("signed in as somebody else: {who}"),
            (None, None, Some(_)) => "refused by the application".to_owned(),
            _ if self.page.body.contains("MSIS7102") => "has no second factor".to_owned(),
            _ => self.page.describe(&self.asked, evidence),
        };
        if self.second {
            words += ", second factor";
        }
        if self.moved {
            words += ", reverse proxy";
        }
        let from = self.shown("address").and_then(|from| from.parse().ok());
        if from.is_some_and(|from| egress.contains(&from) != self.moved) {
            words += ", but the token came from elsewhere";
        }
        words
    }

    /// What is doubtful about a token that went its way: the page must be the service's own, to the byte.
    pub fn doubt(&self, seen: &Seen) -> Option<String> {
        let page = self.carrier.as_ref().filter(|_| !self.moved)?;
        (!seen.answers.contains(page))
            .then(|| "the page with the token is not as the service sent it".to_owned())
    }

    /// What the application's page says there.
    fn shown(&self, id: &str) -> Option<String> {
        let (_, rest) = self.page.body.split_once(&format!("id=\"{id}\">"))?;
        Some(plain(rest.split('<').next()?))
    }
}
