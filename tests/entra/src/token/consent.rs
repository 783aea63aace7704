//! The page on which an administrator allows an application what it asks for.

use http::{Method, StatusCode};
use uuid::Uuid;
use weir_lab_servers::http::{Request, Response, escape, html, noted, redirect};

use super::credentials::tenant_id;
use super::errors::Aadsts;
use crate::lab::Shared;
use crate::world::{Consent, World};

/// `/{tenant|organizations}[/v2.0]/adminconsent`: the page, or what its buttons do.
pub fn page(shared: &Shared, tenant: &str, request: &Request) -> Result<Response, Aadsts> {
    let mut world = shared.world();
    let query = request.query();
    let ask = Ask::read(&world, tenant, |name| query.get(name))?;
    let form = request.form();
    let decision = match (request.method == Method::POST, world.consent) {
        (true, _) if form.get("decision") == Some("accept") => Consent::Approve,
        (true, _) => Consent::Deny,
        (false, usual) => usual,
    };
    match decision {
        Consent::Ask => Ok(ask.page(&world, request.uri.path(), request.uri.query())),
        Consent::Approve => {
            ask.grant(&mut world);
            let mut pairs = vec![
                ("admin_consent", "True"),
                ("tenant", ask.tenant_text.as_str()),
            ];
            pairs.extend(ask.state.as_deref().map(|state| ("state", state)));
            pairs.push(("scope", &ask.scope));
            Ok(noted(
                ask.back(&pairs),
                format!("consent of {}", ask.tenant),
            ))
        }
        Consent::Deny => {
            let text = "AADSTS65004: User declined to consent to access the app.";
            let mut pairs = vec![("error", "access_denied"), ("error_description", text)];
            pairs.extend(ask.state.as_deref().map(|state| ("state", state)));
            Ok(noted(ask.back(&pairs), "consent declined"))
        }
    }
}

struct Ask {
    app: Uuid,
    tenant: Uuid,
    tenant_text: String,
    redirect: String,
    scope: String,
    state: Option<String>,
}

impl Ask {
    fn read<'a>(
        world: &World,
        tenant: &str,
        parameter: impl Fn(&str) -> Option<&'a str>,
    ) -> Result<Self, Aadsts> {
        let client = parameter("client_id").unwrap_or_default();
        let app = Uuid::try_parse(client)
            .ok()
            .and_then(|id| world.app(id))
            .ok_or_else(|| Aadsts::usual(700_016))?;
        let tenant = match tenant {
            // Whoever is signed in; of the lab's administrators there is one.
            "organizations" => world.tenants.first().map(|tenant| tenant.id),
            "common" | "consumers" => return Err(Aadsts::usual(9_001_023)),
            named => Some(tenant_id(world, named)?),
        };
        let tenant = tenant.ok_or_else(|| Aadsts::usual(90002))?;
        if app.home != tenant && !app.multi_tenant {
            return Err(Aadsts::usual(700_016));
        }
        let redirect = parameter("redirect_uri").unwrap_or_default();
        if !app.redirects.iter().any(|known| known == redirect) {
            return Err(Aadsts::usual(50011));
        }
        Ok(Self {
            app: app.app_id,
            tenant,
            tenant_text: tenant.to_string(),
            redirect: redirect.to_owned(),
            scope: parameter("scope")
                .unwrap_or("https://graph.microsoft.com/.default")
                .to_owned(),
            state: parameter("state").map(str::to_owned),
        })
    }

    fn page(&self, world: &World, path: &str, query: Option<&str>) -> Response {
        let app = world.app(self.app).expect("it was found before");
        let asked: Vec<String> = app
            .requires
            .iter()
            .map(|role| format!("<li>{}</li>", escape(role)))
            .collect();
        let asked = asked.concat();
        let target = escape(&format!("{path}?{}", query.unwrap_or_default()));
        html(
            StatusCode::OK,
            format!(
                "<!DOCTYPE html><html lang=\"en\"><head><title>Permissions requested</title></head><body>\
                 <h1>Permissions requested</h1><p>{}</p><ul>{asked}</ul><form method=\"post\" action=\"{target}\">\
                 <button name=\"decision\" value=\"accept\">Accept</button>\
                 <button name=\"decision\" value=\"cancel\">Cancel</button></form></body></html>",
                escape(&app.name)
            ),
        )
    }

    fn grant(&self, world: &mut World) {
        let from = world.clock.now() + world.consent_delay;
        let app = world.app(self.app).expect("it was found before");
        let (name, requires) = (app.name.clone(), app.requires.clone());
        let mut edit = world.edit(self.tenant).expect("it was found before");
        let account = edit.account(self.app, &name);
        for role in requires {
            if !account.grants.iter().any(|(known, _)| *known == role) {
                account.grants.push((role, from));
            }
        }
    }

    fn back(&self, pairs: &[(&str, &str)]) -> Response {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(pairs)
            .finish();
        redirect(StatusCode::FOUND, &format!("{}?{query}", self.redirect))
    }
}
