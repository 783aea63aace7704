//! Who is signed in at a federation service: the `MSISAuth` cookies, in chunks as AD FS makes them.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;
use time::{Duration, OffsetDateTime};

use crate::http::{Request, Response, add};
use crate::idp::product::Shape;
use crate::people::User;
use crate::saml::assertion::Method;

/// A sign-in that the service remembers.
#[derive(Debug, Clone)]
pub struct Session {
    /// The user's principal name.
    pub upn: String,
    /// How they proved who they are.
    pub method: Method,
    /// When they gave a second factor too, if they did.
    pub second: Option<OffsetDateTime>,
    /// When.
    pub at: OffsetDateTime,
    /// The request (its raw query) whose demand for a fresh sign-in this session satisfies, until it is used.
    pub fresh_for: Option<String>,
}

impl Session {
    /// A sign-in of this moment.
    pub fn now(user: &User, method: Method) -> Self {
        Self {
            upn: user.upn.clone(),
            method,
            second: None,
            at: OffsetDateTime::now_utc(),
            fresh_for: None,
        }
    }
}

/// All sessions of a service.
#[derive(Debug)]
pub struct Sessions {
    shape: &'static Shape,
    known: Mutex<HashMap<String, Session>>,
}

impl Sessions {
    /// None yet, with the cookies of a product.
    pub fn new(shape: &'static Shape) -> Self {
        Self {
            shape,
            known: Mutex::default(),
        }
    }

    /// Remembers `session` and sets its cookies. Kept over a browser's restart if the user asked for it.
    pub fn start(&self, session: Session, keep: bool, response: &mut Response) {
        let value = opaque(self.shape.cookie_bytes);
        for (index, chunk) in value.as_bytes().chunks(CHUNK).enumerate() {
            let chunk = std::str::from_utf8(chunk).expect("base64 is ASCII");
            let name = self.chunk_name(index);
            let expires = if keep { "; max-age=86400" } else { "" };
            let attributes = self.attributes();
            add(
                response,
                "set-cookie",
                &format!("{name}={chunk}{attributes}{expires}"),
            );
        }
        self.lock().insert(value, session);
    }

    /// The session whose cookies came with the request, in all their chunks, if it has not ended.
    pub fn find(&self, request: &Request) -> Option<Session> {
        let session = self.lock().get(&self.cookie(request)?).cloned()?;
        (OffsetDateTime::now_utc() - session.at < LIFETIME).then_some(session)
    }

    /// Takes the request's demand for freshness out of the session, so that it is satisfied once.
    pub fn use_freshness(&self, request: &Request) {
        self.change(request, |session| session.fresh_for = None);
    }

    /// The request's session has a second factor from now on.
    pub fn add_second_factor(&self, request: &Request) {
        self.change(request, |session| {
            session.second = Some(OffsetDateTime::now_utc());
        });
    }

    fn change(&self, request: &Request, how: impl FnOnce(&mut Session)) {
        let Some(value) = self.cookie(request) else {
            return;
        };
        if let Some(session) = self.lock().get_mut(&value) {
            how(session);
        }
    }

    /// Ends the request's session and removes the cookies of the service.
    pub fn end(&self, request: &Request, response: &mut Response) {
        if let Some(value) = self.cookie(request) {
            self.lock().remove(&value);
        }
        let last = self.shape.cookie_bytes * 4 / 3 / CHUNK;
        let chunks = (0..=last).map(|index| self.chunk_name(index));
        for name in
            chunks.chain(["MSISAuthenticated", "MSISSignOut", "SamlSession"].map(str::to_owned))
        {
            add(
                response,
                "set-cookie",
                &format!(
                    "{name}=; expires=Thu, 01 Jan 1970 00:00:00 GMT{}",
                    self.attributes()
                ),
            );
        }
    }

    /// How the service's cookies are set.
    pub fn attributes(&self) -> String {
        let path = self.shape.cookie_path;
        format!("; path={path}; secure; HttpOnly; SameSite=None")
    }

    fn chunk_name(&self, index: usize) -> String {
        let name = self.shape.cookie;
        if index == 0 {
            name.to_owned()
        } else {
            format!("{name}{index}")
        }
    }

    fn cookie(&self, request: &Request) -> Option<String> {
        let chunks: String = (0..)
            .map_while(|index| request.cookie(&self.chunk_name(index)))
            .collect();
        (!chunks.is_empty()).then_some(chunks)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.known
            .lock()
            .expect("no holder of the sessions' lock panics")
    }
}

/// Random bytes as base64 text.
pub fn opaque(bytes: usize) -> String {
    let mut random = vec![0; bytes];
    rand::rng().fill_bytes(&mut random);
    STANDARD.encode(random)
}

const LIFETIME: Duration = Duration::hours(8);
const CHUNK: usize = 2000;
