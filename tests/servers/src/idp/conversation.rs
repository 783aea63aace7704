//! Sign-ins that have begun elsewhere than where their page stands: products other than AD FS give each a number, and
//! go on with what was asked when the page's form comes back.

use std::collections::HashMap;
use std::sync::Mutex;

use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use percent_encoding::percent_decode_str;

use crate::control;
use crate::http::{Request, Response, redirect};
use crate::idp::Idp;
use crate::idp::oauth::lock;
use crate::idp::users::Asker;

/// The requests that began sign-ins, by number.
#[derive(Debug, Default)]
pub(super) struct Conversations(Mutex<HashMap<String, Request>>);

/// Stands among an answer's extensions: this step is done, and the browser is to ask again.
#[derive(Debug, Clone, Copy)]
pub(super) struct StepDone;

impl Conversations {
    /// The sign-in that `request` goes on with: one of its path's segments or its parameters is the number.
    pub(super) fn find(&self, request: &Request) -> Option<(String, Request)> {
        let known = lock(&self.0);
        let segments = request.uri.path().split('/');
        let parameters = request
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(_, value)| value);
        segments.chain(parameters).find_map(|word| {
            let word = percent_decode_str(word).decode_utf8().ok()?;
            known
                .get(word.as_ref())
                .map(|begun| (word.clone().into_owned(), begun.clone()))
        })
    }

    fn begin(&self, request: &Request) -> String {
        let id = uuid::Uuid::new_v4().simple().to_string();
        lock(&self.0).insert(id.clone(), request.clone());
        id
    }
}

impl Idp {
    /// Where the sign-in page for `request` stands; or the answer that leads the browser there.
    pub(super) fn page_address(
        &self,
        request: &Request,
        asker: &Asker,
    ) -> Result<String, Box<Response>> {
        let path = request.uri.path();
        let page = self
            .shape
            .pages
            .iter()
            .find_map(|(begin, page)| path.starts_with(begin).then_some(*page))
            .expect("the last row of a product's pages fits every path");
        let begun = asker.conversation();
        let id = begun.map_or_else(|| self.conversations.begin(request), str::to_owned);
        let from = target(request);
        let from: String = url::form_urlencoded::byte_serialize(from.as_bytes()).collect();
        let page = page.replace("{id}", &id).replace("{from}", &from);
        if begun.is_none() && self.shape.leads_to_page {
            return Err(Box::new(redirect(StatusCode::FOUND, &self.url(&page))));
        }
        Ok(page)
    }

    /// Goes on with the sign-in that `begun` began, with what `request` brings. What the former asked to be done otherwise
    /// was understood then, and holds.
    pub(super) fn converse(
        &self,
        id: &str,
        begun: &Request,
        request: &Request,
        asker: &Asker,
    ) -> Response {
        let twists = control::asked(begun).unwrap_or_default();
        let asker = asker.conversing(id, &twists);
        let mut turn = begun.clone();
        turn.headers.clone_from(&request.headers);
        if request.method == Method::POST {
            turn.method = Method::POST;
            turn.body = [&begun.body[..], b"&", &request.body[..]].concat().into();
        } else {
            keep_type(begun, &mut turn);
        }
        let answer = self.dispatch(&turn, &asker);
        let at_once = self.shape.answers_at_once || !begun.body.is_empty();
        if answer.extensions().get::<StepDone>().is_none() || !at_once {
            return answer;
        }
        // What the browser would send if it was led back to where it began.
        let mut turn = begun.clone();
        turn.headers.clone_from(&request.headers);
        keep_type(begun, &mut turn);
        let given: Vec<HeaderValue> = answer
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .cloned()
            .collect();
        let cookies: Vec<&str> = given
            .iter()
            .chain(request.headers.get_all(COOKIE))
            .filter_map(|value| value.to_str().ok())
            .map(|value| value.split("; path=").next().unwrap_or(value))
            .collect();
        if let Ok(value) = HeaderValue::from_str(&cookies.join("; ")) {
            turn.headers.insert(COOKIE, value);
        }
        let mut answer = self.dispatch(&turn, &asker);
        for cookie in given {
            answer.headers_mut().append(SET_COOKIE, cookie);
        }
        answer
    }
}

/// Path and query, as sent.
pub(super) fn target(request: &Request) -> &str {
    request
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str)
}

fn keep_type(begun: &Request, turn: &mut Request) {
    if let Some(kind) = begun.headers.get(CONTENT_TYPE) {
        turn.headers.insert(CONTENT_TYPE, kind.clone());
    }
}
