//! Who is signed in at a federation service: the `MSISAuth` cookies, in chunks as AD FS makes them.

use std::collections::HashMap;
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::RngCore;
use time::{Duration, OffsetDateTime};

use crate::http::{Request, Response, add};
use crate::saml::assertion::Method;

/// A sign-in that the service remembers.
#[derive(Debug, Clone)]
pub struct Session {
    /// The user's principal name.
    pub upn: String,
    /// How they proved who they are.
    pub method: Method,
    /// When.
    pub at: OffsetDateTime,
    /// The request (its raw query) whose demand for a fresh sign-in this session satisfies, until it is used.
    pub fresh_for: Option<String>,
}

/// All sessions of a service.
#[derive(Debug, Default)]
pub struct Sessions(Mutex<HashMap<String, Session>>);

impl Sessions {
    /// Remembers `session` and sets its cookies. Kept over a browser's restart if the user asked for it.
    pub fn start(&self, session: Session, keep: bool, response: &mut Response) {
        let value = opaque(COOKIE_BYTES);
        for (index, chunk) in value.as_bytes().chunks(CHUNK).enumerate() {
            let chunk = std::str::from_utf8(chunk).expect("base64 is ASCII");
            let name = chunk_name(index);
            let expires = if keep { "; max-age=86400" } else { "" };
            add(
                response,
                "set-cookie",
                &format!("{name}={chunk}{expires}{ATTRIBUTES}"),
            );
        }
        self.lock().insert(value, session);
    }

    /// The session whose cookies came with the request, in all their chunks, if it has not ended.
    pub fn find(&self, request: &Request) -> Option<Session> {
        let session = self.lock().get(&cookie(request)?).cloned()?;
        (OffsetDateTime::now_utc() - session.at < LIFETIME).then_some(session)
    }

    /// Takes the request's demand for freshness out of the session, so that it is satisfied once.
    pub fn use_freshness(&self, request: &Request) {
        let Some(value) = cookie(request) else { return };
        if let Some(session) = self.lock().get_mut(&value) {
            session.fresh_for = None;
        }
    }

    /// Ends the request's session and removes the cookies of the service.
    pub fn end(&self, request: &Request, response: &mut Response) {
        if let Some(value) = cookie(request) {
            self.lock().remove(&value);
        }
        let chunks = (0..=COOKIE_BYTES * 4 / 3 / CHUNK).map(chunk_name);
        for name in
            chunks.chain(["MSISAuthenticated", "MSISSignOut", "SamlSession"].map(str::to_owned))
        {
            add(
                response,
                "set-cookie",
                &format!("{name}=; expires=Thu, 01 Jan 1970 00:00:00 GMT{ATTRIBUTES}"),
            );
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.0
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

/// How the service's cookies are set.
pub const ATTRIBUTES: &str = "; path=/adfs; secure; HttpOnly; SameSite=None";

const LIFETIME: Duration = Duration::hours(8);
const COOKIE_BYTES: usize = 2400;
const CHUNK: usize = 2000;

fn chunk_name(index: usize) -> String {
    if index == 0 {
        "MSISAuth".to_owned()
    } else {
        format!("MSISAuth{index}")
    }
}

fn cookie(request: &Request) -> Option<String> {
    let chunks: String = (0..)
        .map_while(|index| request.cookie(&chunk_name(index)))
        .collect();
    (!chunks.is_empty()).then_some(chunks)
}
