//! What the login host tells anybody: its endpoints, its keys, and where a domain signs in.

use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use weir_lab_servers::http::{Request, Response, json as json_answer};

use super::credentials::tenant_id;
use super::errors::Aadsts;
use crate::lab::Shared;
use crate::world::documents::Section;

/// `/{tenant}[/v2.0]/.well-known/openid-configuration`
pub fn configuration(shared: &Shared, tenant: &str, v2: bool) -> Result<Response, Aadsts> {
    let world = shared.world();
    let (id, region) = match tenant {
        "common" | "organizations" => ("{tenantid}".to_owned(), Value::Null),
        named => {
            let id = tenant_id(&world, named)?;
            let tenant = world.tenant(id).expect("it was found by its name");
            (id.to_string(), json!(tenant.region))
        }
    };
    let (login, graph) = (&shared.places.login, &shared.places.graph);
    let host = |origin: &str| {
        origin
            .split_once("://")
            .map_or("", |(_, host)| host)
            .to_owned()
    };
    let base = if tenant == "common" || tenant == "organizations" {
        format!("{login}/{tenant}")
    } else {
        format!("{login}/{id}")
    };
    let part = if v2 { "/v2.0" } else { "" };
    let issuer = if v2 {
        format!("{login}/{id}/v2.0")
    } else {
        format!("https://sts.windows.net/{id}/")
    };
    Ok(json_answer(
        StatusCode::OK,
        &json!({
            "token_endpoint": format!("{base}/oauth2{part}/token"),
            "authorization_endpoint": format!("{base}/oauth2{part}/authorize"),
            "device_authorization_endpoint": format!("{base}/oauth2{part}/devicecode"),
            "end_session_endpoint": format!("{base}/oauth2{part}/logout"),
            "jwks_uri": format!("{base}/discovery{part}/keys"), "issuer": issuer,
            "kerberos_endpoint": format!("{base}/kerberos"), "userinfo_endpoint": format!("{graph}/oidc/userinfo"),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "private_key_jwt", "client_secret_basic", "self_signed_tls_client_auth"],
            "response_modes_supported": ["query", "fragment", "form_post"], "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"], "request_uri_parameter_supported": false,
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"], "http_logout_supported": true,
            "frontchannel_logout_supported": true, "tenant_region_scope": region,
            "claims_supported": ["sub", "iss", "cloud_instance_name", "aud", "exp", "iat", "auth_time", "acr", "nonce",
                "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"],
            "cloud_instance_name": "microsoftonline.com", "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": host(graph), "rbac_url": "https://pas.windows.net",
        }),
    ))
}

/// `/{tenant}/discovery/v2.0/keys`
pub fn keys(shared: &Shared, tenant: &str) -> Result<Response, Aadsts> {
    if tenant != "common" && tenant != "organizations" {
        tenant_id(&shared.world(), tenant)?;
    }
    let mut key = shared.jwt.key().clone();
    key["cloud_instance_name"] = json!("microsoftonline.com");
    key["issuer"] = json!(format!("{}/{{tenantid}}/v2.0", shared.places.login));
    Ok(json_answer(StatusCode::OK, &json!({ "keys": [key] })))
}

/// `/common/discovery/instance`
pub fn instance(shared: &Shared) -> Response {
    let login = &shared.places.login;
    let host = login.trim_start_matches("https://");
    json_answer(
        StatusCode::OK,
        &json!({ "api-version": "1.1",
            "tenant_discovery_endpoint": format!("{login}/common/v2.0/.well-known/openid-configuration"),
            "metadata": [{ "preferred_network": host, "preferred_cache": host, "aliases": [host] }] }),
    )
}

/// `/common/userrealm/{user}`
pub fn realm(shared: &Shared, user: &str) -> Response {
    let user = percent_decode_str(user).decode_utf8_lossy();
    let (name, kind, federation) = find(shared, &user);
    let mut body = json!({ "ver": "1.0", "account_type": kind, "domain_name": name,
        "cloud_instance_name": "microsoftonline.com", "cloud_audience_urn": "urn:federation:MicrosoftOnline" });
    if let Some(federation) = federation {
        body["federation_protocol"] = json!("WSTrust");
        body["federation_active_auth_url"] = federation["activeSignInUri"].clone();
        body["federation_metadata_url"] = federation["metadataExchangeUri"].clone();
    }
    json_answer(StatusCode::OK, &body)
}

/// `/GetUserRealm.srf`
pub fn browser_realm(shared: &Shared, request: &Request) -> Response {
    let query = request.query();
    let user = query.get("login").unwrap_or_default();
    let (name, kind, federation) = find(shared, user);
    let [state, user_state] = match kind {
        "Federated" => [3, 2],
        "Managed" => [4, 1],
        _ => [4, 2],
    };
    let mut body = json!({ "State": state, "UserState": user_state, "Login": user, "NameSpaceType": kind,
        "DomainName": name, "CloudInstanceName": "microsoftonline.com" });
    if let Some(federation) = federation {
        let passive = federation["passiveSignInUri"].as_str().unwrap_or_default();
        body["AuthURL"] = json!(format!(
            "{passive}?wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline"
        ));
        body["FederationBrandName"] = federation["displayName"].clone();
    }
    json_answer(StatusCode::OK, &body)
}

/// The domain of a user, whether it is federated, and then where to.
fn find(shared: &Shared, user: &str) -> (String, &'static str, Option<Value>) {
    let name = user
        .rsplit_once('@')
        .map_or("", |(_, domain)| domain)
        .to_ascii_lowercase();
    let world = shared.world();
    for tenant in &world.tenants {
        let domains = tenant.documents.of(Section::Domains);
        if let Some(domain) = domains.iter().find(|domain| domain["id"] == name.as_str()) {
            if domain["authenticationType"] != "Federated" {
                return (name, "Managed", None);
            }
            let federation = tenant.documents.federation.get(&name).cloned();
            return (name, "Federated", federation);
        }
    }
    (name, "Unknown", None)
}
