//! The identity of a machine: `http://169.254.169.254/metadata/identity/oauth2/token`.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;
use weir_lab_servers::http::{Handler, Request, Response, answer, json as json_answer, noted};

use super::credentials::issue;
use crate::faults::{self, Service};
use crate::lab::{Met, Shared};
use crate::world::World;
use crate::world::apps::GRAPH;

/// The metadata service of a virtual machine, in clear text.
#[derive(Debug)]
pub struct Machine(pub(crate) Arc<Shared>);

impl Handler for Machine {
    async fn handle(&self, request: Request) -> Response {
        let Met { acts, now, .. } = self.0.meet(Service::Machine, &request).await;
        if let Some(response) = acts.iter().find_map(faults::foreign) {
            return response;
        }
        faults::spoil(&acts, self.answer(&request), "", now)
    }
}

impl Machine {
    fn answer(&self, request: &Request) -> Response {
        let path = request.uri.path();
        if request.method != Method::GET || path != "/metadata/identity/oauth2/token" {
            return answer(StatusCode::NOT_FOUND, "", "");
        }
        if request.header("metadata") != Some("true") {
            return refuse("invalid_request", "Required metadata header not specified");
        }
        let query = request.query();
        if query.get("api-version").is_none() {
            return refuse(
                "invalid_request",
                "Required query variable 'api-version' is missing",
            );
        }
        let resource = query.get("resource").unwrap_or_default();
        let known = [
            self.0.places.graph.as_str(),
            "https://graph.microsoft.com",
            GRAPH,
        ];
        if !known.contains(&resource.trim_end_matches('/')) {
            let text = "AADSTS500011: The resource principal was not found in the tenant.";
            return refuse("invalid_resource", text);
        }
        let mut world = self.0.world();
        let found = find(&world, |name| query.get(name));
        let Some((tenant, app_id)) = found else {
            return refuse("invalid_request", "Identity not found");
        };
        let token = issue(&self.0, &mut world, tenant, tenant, app_id, "2");
        let now = world.clock.now().unix_timestamp();
        let life = token["expires_in"].as_i64().unwrap_or_default();
        let body = json!({ "access_token": token["access_token"], "client_id": app_id,
            "expires_in": life.to_string(), "expires_on": (now + life).to_string(),
            "ext_expires_in": life.to_string(), "not_before": now.to_string(), "resource": resource,
            "token_type": "Bearer" });
        noted(
            json_answer(StatusCode::OK, &body),
            format!("token for machine {app_id}"),
        )
    }
}

/// The one identity that the machine has, or the one that is asked for.
fn find<'a>(world: &World, parameter: impl Fn(&str) -> Option<&'a str>) -> Option<(Uuid, Uuid)> {
    let id = |name| parameter(name).map(|id| Uuid::try_parse(id).ok());
    let (client, object) = (id("client_id"), id("object_id"));
    let resource = parameter("msi_res_id").or_else(|| parameter("mi_res_id"));
    let accounts = world.tenants.iter().flat_map(|tenant| {
        let accounts = tenant.accounts.iter();
        accounts.map(|account| (tenant.id, account))
    });
    accounts
        .filter(|(_, account)| account.machine.is_some() && account.enabled)
        .find(|(_, account)| {
            client.is_none_or(|client| client == Some(account.app_id))
                && object.is_none_or(|object| object == Some(account.object_id))
                && resource.is_none_or(|resource| account.machine.as_deref() == Some(resource))
        })
        .map(|(tenant, account)| (tenant, account.app_id))
}

fn refuse(error: &str, text: &str) -> Response {
    let body: Value = json!({ "error": error, "error_description": text });
    json_answer(StatusCode::BAD_REQUEST, &body)
}
