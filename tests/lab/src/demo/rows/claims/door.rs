//! The ways to sign in that a product has.

use weir_lab_servers::idp::product::Endpoint;
use weir_lab_servers::plan::{Plan, Product, ServicePlan, User};

use super::PAGE;
use crate::demo::curl::Call;

/// A way to sign in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    WsFed,
    Saml,
    OAuth,
    Active,
    Ecp,
    Token,
}

impl Door {
    /// Where a browser stands in front of it.
    pub(super) const BROWSER: [Self; 3] = [Self::WsFed, Self::Saml, Self::OAuth];
    pub(super) const NATIVE: [Self; 3] = [Self::Active, Self::Ecp, Self::Token];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::WsFed => "ws-fed",
            Self::Saml => "saml",
            Self::OAuth => "oauth",
            Self::Active => "active",
            Self::Ecp => "ecp",
            Self::Token => "password",
        }
    }

    pub(super) const fn what(self) -> &'static str {
        match self {
            Self::WsFed => "WS-Federation",
            Self::Saml => "SAML",
            Self::OAuth => "OAuth",
            Self::Active => "WS-Trust",
            Self::Ecp => "ECP",
            Self::Token => "OAuth password",
        }
    }

    /// Whoever is let in has this in hand.
    pub(super) const fn passed(self) -> &'static str {
        match self {
            Self::WsFed | Self::Saml => "signed in",
            Self::OAuth => "id_token",
            Self::Active | Self::Ecp | Self::Token => "200 token",
        }
    }

    pub(super) const fn blocked(self) -> &'static str {
        match self {
            Self::WsFed | Self::Saml | Self::OAuth => PAGE,
            Self::Active | Self::Ecp => "403 SOAP fault, explained",
            Self::Token => "403 OAuth error, explained",
        }
    }

    /// Whether the sign-in server can be asked for a second factor there, when the token shows that one is needed.
    pub(super) const fn asks(self, product: Product) -> bool {
        matches!(
            (self, product),
            (Self::WsFed, Product::Adfs | Product::Okta)
                | (Self::OAuth, Product::Okta | Product::Shibboleth)
                | (Self::Saml, Product::Adfs | Product::Shibboleth)
        )
    }
}

pub(super) fn has(service: &ServicePlan, door: Door) -> bool {
    match door {
        Door::WsFed => service.ws_federation().is_some(),
        Door::Saml => service.saml(false).is_some(),
        Door::OAuth => service.endpoint(Endpoint::Authorize).is_some(),
        Door::Active => [Endpoint::Active, Endpoint::Active2005]
            .iter()
            .any(|at| service.endpoint(*at).is_some()),
        Door::Ecp => service.endpoint(Endpoint::Ecp).is_some(),
        Door::Token => service.endpoint(Endpoint::Token).is_some(),
    }
}

/// A password grant.
pub(super) fn password(plan: &Plan, service: &ServicePlan, user: &User) -> Call {
    let place = service.endpoint(Endpoint::Token);
    let place = place.expect("only where there is one");
    Call::form(
        place,
        &[
            ("grant_type", "password"),
            ("username", &user.upn),
            ("password", &user.password),
            ("client_id", &plan.oauth_clients[0].id),
        ],
    )
}

/// A SAML request of an application that brings a name and a password.
pub(super) fn ecp(service: &ServicePlan, user: &User) -> Call {
    let place = service.endpoint(Endpoint::Ecp);
    let place = place.expect("only where there is one");
    let credentials = format!("{}:{}", user.upn, user.password);
    Call::get(place).with(&[
        "--user",
        &credentials,
        "--header",
        "Content-Type: text/xml; charset=utf-8",
        "--data-binary",
        ECP,
    ])
}

const ECP: &str = r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><samlp:AuthnRequest xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_q" Version="2.0" IssueInstant="2026-01-01T00:00:00Z" AssertionConsumerServiceURL="https://app.cloud.example/saml/acs"><Issuer xmlns="urn:oasis:names:tc:SAML:2.0:assertion">https://app.cloud.example/saml</Issuer></samlp:AuthnRequest></s:Body></s:Envelope>"#;
