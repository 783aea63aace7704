//! What the service publishes about itself: federation metadata (signed XML), OpenID configuration, keys.

use http::StatusCode;
use serde_json::json;

use crate::http::{Request, Response, answer, json as json_answer};
use crate::idp::Idp;
use crate::saml::sign::signature_template;

impl Idp {
    /// `FederationMetadata.xml`, signed with the token-signing key, as relying parties fetch it.
    pub(super) fn federation_metadata(&self) -> Response {
        let id = format!("_{}", uuid::Uuid::new_v4());
        let certificate = self.signer.certificate();
        let key = format!(
            "<KeyDescriptor use=\"signing\"><KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data>\
             <X509Certificate>{certificate}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>"
        );
        let passive = self.url("/adfs/ls/");
        let binding = "urn:oasis:names:tc:SAML:2.0:bindings:";
        let services = |element: &str| {
            ["HTTP-Redirect", "HTTP-POST"]
                .map(|kind| {
                    format!("<{element} Binding=\"{binding}{kind}\" Location=\"{passive}\"/>")
                })
                .concat()
        };
        let reference = |url: &str| {
            format!(
                "<EndpointReference xmlns=\"http://www.w3.org/2005/08/addressing\"><Address>{url}</Address>\
                 </EndpointReference>"
            )
        };
        let document = format!(
            "<EntityDescriptor ID=\"{id}\" entityID=\"{entity}\" xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\">\
             {signature}<RoleDescriptor xsi:type=\"fed:SecurityTokenServiceType\" \
             protocolSupportEnumeration=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512 \
             http://schemas.xmlsoap.org/ws/2005/02/trust http://docs.oasis-open.org/wsfed/federation/200706\" \
             ServiceDisplayName=\"Corp Example\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
             xmlns:fed=\"http://docs.oasis-open.org/wsfed/federation/200706\">{key}\
             <fed:SecurityTokenServiceEndpoint>{active}</fed:SecurityTokenServiceEndpoint>\
             <fed:PassiveRequestorEndpoint>{browser}</fed:PassiveRequestorEndpoint></RoleDescriptor>\
             <IDPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">{key}{logout}\
             <NameIDFormat>urn:oasis:names:tc:SAML:2.0:nameid-format:persistent</NameIDFormat>{sign_on}\
             </IDPSSODescriptor></EntityDescriptor>",
            entity = self.service.issuer(),
            signature = signature_template(&id),
            active = reference(&self.url("/adfs/services/trust/2005/certificatemixed")),
            browser = reference(&passive),
            logout = services("SingleLogoutService"),
            sign_on = services("SingleSignOnService"),
        );
        match self.signer.sign(&document) {
            Ok(signed) => answer(StatusCode::OK, "application/samlmetadata+xml", signed),
            Err(error) => self.error_page(&error.to_string()),
        }
    }

    /// `/adfs/.well-known/openid-configuration`.
    pub(super) fn discovery(&self) -> Response {
        json_answer(
            StatusCode::OK,
            &json!({
                "issuer": self.url("/adfs"),
                "authorization_endpoint": self.url("/adfs/oauth2/authorize/"),
                "token_endpoint": self.url("/adfs/oauth2/token/"),
                "jwks_uri": self.url("/adfs/discovery/keys"),
                "token_endpoint_auth_methods_supported":
                    ["client_secret_post", "client_secret_basic", "private_key_jwt", "windows_client_authentication"],
                "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
                "response_modes_supported": ["query", "fragment", "form_post"],
                "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", "password",
                    "urn:ietf:params:oauth:grant-type:device_code"],
                "subject_types_supported": ["pairwise"],
                "scopes_supported": ["allatclaims", "openid", "email", "user_impersonation", "profile"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "access_token_issuer": self.service.issuer(),
                "claims_supported": ["aud", "iss", "iat", "exp", "auth_time", "nonce", "at_hash", "c_hash", "sub",
                    "upn", "unique_name", "mfa_auth_time", "sid", "nbf"],
                "userinfo_endpoint": self.url("/adfs/userinfo"),
                "end_session_endpoint": self.url("/adfs/oauth2/logout"),
                "device_authorization_endpoint": self.url("/adfs/oauth2/devicecode"),
                "frontchannel_logout_supported": true,
                "frontchannel_logout_session_supported": true,
            }),
        )
    }

    /// `/adfs/discovery/keys`.
    pub(super) fn keys(&self) -> Response {
        json_answer(StatusCode::OK, &json!({ "keys": [self.jwt.key()] }))
    }

    /// `/.well-known/webfinger`: which issuer is responsible for a resource.
    pub(super) fn webfinger(&self, request: &Request) -> Response {
        let query = request.query();
        let Some(resource) = query.get("resource") else {
            return answer(StatusCode::BAD_REQUEST, "", "");
        };
        json_answer(
            StatusCode::OK,
            &json!({
                "subject": resource,
                "links": [{ "rel": "http://openid.net/specs/connect/1.0/issuer", "href": self.url("/adfs") }],
            }),
        )
    }
}
