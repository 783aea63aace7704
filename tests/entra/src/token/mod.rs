//! `login.microsoftonline.com`: tokens for applications, discovery, consent.
//!
//! In: requests to the lab's login host. Out: tokens that the lab's Graph takes, and errors with the numbers and words
//! of Entra. It never writes a secret, an assertion or a token to its log.

pub mod assertion;
pub mod consent;
pub mod credentials;
pub mod discovery;
pub mod errors;
pub mod machine;

use std::sync::Arc;

use http::{Method, StatusCode};
use weir_lab_servers::http::{Handler, Request, Response, answer, noted};

use crate::faults::{self, Act, Service};
use crate::lab::{Met, Shared};
use errors::Aadsts;

/// The login host.
#[derive(Debug)]
pub struct Login(pub(crate) Arc<Shared>);

impl Handler for Login {
    async fn handle(&self, request: Request) -> Response {
        let Met { acts, now, chance } = self.0.meet(Service::Login, &request).await;
        let login = self.0.places.login.as_str();
        for act in &acts {
            if let Act::Aadsts { code } = act {
                return Aadsts::usual(*code).answer(chance, now, login);
            }
            if let Some(response) = faults::foreign(act) {
                return noted(response, "as the script says");
            }
        }
        let response = match self.answer(&request, &acts) {
            Ok(response) => response,
            Err(error) => error.answer(chance, now, login),
        };
        faults::spoil(&acts, response, login, now)
    }
}

impl Login {
    fn answer(&self, request: &Request, acts: &[Act]) -> Result<Response, Aadsts> {
        let path = request.uri.path();
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match segments[..] {
            ["GetUserRealm.srf"] => Ok(discovery::browser_realm(&self.0, request)),
            [_, "userrealm", user] => Ok(discovery::realm(&self.0, user)),
            [_, "discovery", "instance"] => Ok(discovery::instance(&self.0)),
            [tenant, "v2.0", ".well-known", "openid-configuration"] => {
                discovery::configuration(&self.0, tenant, true)
            }
            [tenant, ".well-known", "openid-configuration"] => {
                discovery::configuration(&self.0, tenant, false)
            }
            [tenant, "discovery", "v2.0" | "v1.0", "keys"] | [tenant, "discovery", "keys"] => {
                discovery::keys(&self.0, tenant)
            }
            [tenant, "oauth2", "v2.0", "token"] => {
                if request.method != Method::POST {
                    return Err(Aadsts::usual(900_561));
                }
                credentials::token(&self.0, tenant, request, acts)
            }
            [tenant, "v2.0", "adminconsent"] | [tenant, "adminconsent"] => {
                consent::page(&self.0, tenant, request)
            }
            _ => Ok(answer(StatusCode::NOT_FOUND, "text/plain", "")),
        }
    }
}
