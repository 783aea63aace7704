//! What the service publishes about itself: federation metadata (signed XML), OpenID configuration, keys.

use http::StatusCode;
use serde_json::json;

use crate::http::{Request, Response, answer, json as json_answer};
use crate::idp::Idp;
use crate::idp::product::Endpoint;
use crate::idp::users::Asker;
use crate::plan::Product;
use crate::saml::sign::signature_template;

impl Idp {
    /// Metadata with the current key and the next, signed with the current one, as relying parties fetch it.
    pub(super) fn federation_metadata(&self, asker: &Asker) -> Response {
        let id = format!("_{}", uuid::Uuid::new_v4());
        let published = self.ring.published(asker.keys());
        let key = published
            .map(|key| {
                format!(
                    "<KeyDescriptor use=\"signing\"><KeyInfo xmlns=\"http://www.w3.org/2000/09/xmldsig#\"><X509Data>\
                     <X509Certificate>{}</X509Certificate></X509Data></KeyInfo></KeyDescriptor>",
                    key.xml.certificate()
                )
            })
            .concat();
        let passive = self.service.ws_federation();
        let binding = "urn:oasis:names:tc:SAML:2.0:bindings:";
        let services = |element: &str| {
            [("HTTP-Redirect", false), ("HTTP-POST", true)]
                .map(|(kind, post)| match self.service.saml(post) {
                    Some(place) => {
                        format!("<{element} Binding=\"{binding}{kind}\" Location=\"{place}\"/>")
                    }
                    None => String::new(),
                })
                .concat()
        };
        let reference = |url: &str| {
            format!(
                "<EndpointReference xmlns=\"http://www.w3.org/2005/08/addressing\"><Address>{url}</Address>\
                 </EndpointReference>"
            )
        };
        let token_service = passive.map_or_else(String::new, |passive| {
            let active = match self.service.product {
                Product::Adfs => Some(self.url("/adfs/services/trust/2005/certificatemixed")),
                _ => self.service.endpoint(Endpoint::Active),
            };
            let active = active.map_or_else(String::new, |active| {
                format!(
                    "<fed:SecurityTokenServiceEndpoint>{}</fed:SecurityTokenServiceEndpoint>",
                    reference(&active)
                )
            });
            format!(
                "<RoleDescriptor xsi:type=\"fed:SecurityTokenServiceType\" \
                 protocolSupportEnumeration=\"http://docs.oasis-open.org/ws-sx/ws-trust/200512 \
                 http://schemas.xmlsoap.org/ws/2005/02/trust http://docs.oasis-open.org/wsfed/federation/200706\" \
                 ServiceDisplayName=\"Corp Example\" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" \
                 xmlns:fed=\"http://docs.oasis-open.org/wsfed/federation/200706\">{key}{active}\
                 <fed:PassiveRequestorEndpoint>{}</fed:PassiveRequestorEndpoint></RoleDescriptor>",
                reference(&passive)
            )
        });
        let document = format!(
            "<EntityDescriptor ID=\"{id}\" entityID=\"{entity}\" xmlns=\"urn:oasis:names:tc:SAML:2.0:metadata\">\
             {signature}{token_service}\
             <IDPSSODescriptor protocolSupportEnumeration=\"urn:oasis:names:tc:SAML:2.0:protocol\">{key}{logout}\
             <NameIDFormat>urn:oasis:names:tc:SAML:2.0:nameid-format:persistent</NameIDFormat>{sign_on}\
             </IDPSSODescriptor></EntityDescriptor>",
            entity = self.service.issuer(),
            signature = signature_template(&id),
            logout = services("SingleLogoutService"),
            sign_on = services("SingleSignOnService"),
        );
        match published[0].xml.sign(&document) {
            Ok(signed) => answer(StatusCode::OK, "application/samlmetadata+xml", signed),
            Err(error) => self.error_page(&error.to_string()),
        }
    }

    /// `OpenID` configuration.
    pub(super) fn discovery(&self) -> Response {
        let slash = match self.service.product {
            Product::Adfs => "/",
            _ => "",
        };
        let place = |endpoint| self.service.endpoint(endpoint).unwrap_or_default();
        let mut configuration = json!({
            "issuer": self.service.connect_issuer(),
            "authorization_endpoint": place(Endpoint::Authorize) + slash,
            "token_endpoint": place(Endpoint::Token) + slash,
            "jwks_uri": place(Endpoint::Keys),
            "token_endpoint_auth_methods_supported":
                ["client_secret_post", "client_secret_basic", "private_key_jwt", "windows_client_authentication"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "response_modes_supported": ["query", "fragment", "form_post"],
            "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials", "password",
                "urn:ietf:params:oauth:grant-type:device_code"],
            "subject_types_supported": ["pairwise"],
            "scopes_supported": ["allatclaims", "openid", "email", "user_impersonation", "profile"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "claims_supported": ["aud", "iss", "iat", "exp", "auth_time", "nonce", "at_hash", "c_hash", "sub",
                "upn", "unique_name", "mfa_auth_time", "sid", "nbf"],
            "userinfo_endpoint": place(Endpoint::UserInfo),
            "end_session_endpoint": place(Endpoint::SignOut),
            "frontchannel_logout_supported": true,
            "frontchannel_logout_session_supported": true,
        });
        if self.service.product == Product::Adfs {
            configuration["access_token_issuer"] = self.service.issuer().into();
            configuration["device_authorization_endpoint"] = place(Endpoint::DeviceCode).into();
        }
        json_answer(StatusCode::OK, &configuration)
    }

    /// The keys of JSON tokens: the one that signs, and the next.
    pub(super) fn keys(&self, asker: &Asker) -> Response {
        let keys = self
            .ring
            .published(asker.keys())
            .map(|key| key.json.key().clone());
        json_answer(StatusCode::OK, &json!({ "keys": keys }))
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
