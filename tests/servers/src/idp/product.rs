//! The products that a federation service can be: each a table of paths and a few strings, no code of its own.
//!
//! In: a path. Out: the [`Endpoint`] that answers there. The ids of applications in Okta's paths are the lab's own.

use crate::http::escape;
use crate::plan::{Product, ServicePlan};

/// What answers at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// Sign-in and sign-out by browser, WS-Federation and SAML alike.
    Passive,
    /// A name and a password as JSON.
    Authn,
    /// Where what JSON gave becomes a session.
    SessionCookie,
    /// A list of applications, or the sign-in to one.
    IdpInitiated,
    /// WS-Trust with a user name and a password, February 2005.
    Active2005,
    /// The same, 1.3.
    Active13,
    /// The same, in the version of the request.
    Active,
    /// SAML for rich clients, with HTTP Basic.
    Ecp,
    /// Metadata exchange with the intranet's endpoints.
    Mex,
    /// Metadata exchange for outside.
    ProxyMex,
    /// WS-Trust with Windows authentication.
    Windows,
    /// OAuth's authorization endpoint.
    Authorize,
    /// OAuth's token endpoint.
    Token,
    /// OAuth's device endpoint.
    DeviceCode,
    /// Where a device's code is typed.
    DeviceAuth,
    /// The end of the session.
    SignOut,
    /// Who a token is about.
    UserInfo,
    /// `OpenID` configuration.
    Discovery,
    /// The keys of JSON tokens.
    Keys,
    /// Which issuer is responsible.
    WebFinger,
    /// Signed metadata.
    Metadata,
    /// An identifier that is no endpoint.
    Identifier,
}

/// What sets a product apart on the wire.
#[derive(Debug)]
pub struct Shape {
    /// What is where. The first row of an endpoint is the one that is published.
    pub paths: &'static [(&'static str, Endpoint)],
    /// The address of the sign-in page, by the beginning of the path that asked for it; `{id}` is the sign-in's
    /// number, `{from}` where it began. Empty: the page stands where it was asked for.
    pub pages: &'static [(&'static str, &'static str)],
    /// Whether the browser is sent to the sign-in page, instead of being shown it at once.
    pub leads_to_page: bool,
    /// Whether the page's answer is the token, without leading back to where the sign-in began.
    pub answers_at_once: bool,
    /// Field of the user name.
    pub user: &'static str,
    /// Field of the password.
    pub password: &'static str,
    /// Field of the second factor's code.
    pub code: &'static str,
    /// What else the form holds, ready-made.
    pub more: &'static str,
    /// The page that posts a token: before the form's address, after it, and the end.
    pub post: [&'static str; 3],
    /// One field of that page, with `{name}` and `{value}`.
    pub field: &'static str,
    /// How values are written into it.
    pub escape: fn(&str) -> String,
    /// Name of the session's cookie.
    pub cookie: &'static str,
    /// Path of the cookies.
    pub cookie_path: &'static str,
    /// How many random bytes make the cookie.
    pub cookie_bytes: usize,
    /// Whether a SAML response is signed, besides its assertion.
    pub signs_response: bool,
    /// What an assertion of SAML 2.0 says when a second factor was given.
    pub second_factor: &'static str,
    /// The `server` field.
    pub server: &'static str,
    /// Names of claims in SAML 2.0 that are not as AD FS calls them.
    pub names: &'static [(&'static str, &'static str)],
}

impl Shape {
    /// What answers at `path`, as normalised by [`super::normalise`] (AD FS) or as sent (others).
    pub fn endpoint(&self, path: &str) -> Option<Endpoint> {
        let path = if path.len() > 1 {
            path.trim_end_matches('/')
        } else {
            path
        };
        self.paths
            .iter()
            .find_map(|(known, endpoint)| (*known == path).then_some(*endpoint))
    }

    /// Where an endpoint is; `None` if the product has none of the kind.
    pub fn path(&self, endpoint: Endpoint) -> Option<&'static str> {
        self.paths
            .iter()
            .find_map(|(path, known)| (*known == endpoint).then_some(*path))
    }

    /// Where browsers sign in by WS-Federation.
    pub fn ws_federation(&self) -> Option<&'static str> {
        self.passive(&["/adfs", "wsfed", "prp"])
    }

    /// Where browsers sign in by SAML: by redirect, or by POST.
    pub fn saml(&self, post: bool) -> Option<&'static str> {
        let first = if post { "/POST/" } else { "/Redirect/" };
        self.passive(&[first, "/adfs/ls", "saml", "SAML", "SSOService"])
    }

    fn passive(&self, words: &[&str]) -> Option<&'static str> {
        words.iter().find_map(|word| {
            self.paths.iter().find_map(|(path, endpoint)| {
                (*endpoint == Endpoint::Passive && path.contains(word)).then_some(*path)
            })
        })
    }
}

impl Product {
    /// What sets it apart.
    pub fn shape(self) -> &'static Shape {
        match self {
            Self::Adfs => &ADFS,
            Self::Okta => &OKTA,
            Self::PingFederate => &PING,
            Self::Shibboleth => &SHIBBOLETH,
            Self::SimpleSamlPhp => &SIMPLE,
        }
    }
}

impl ServicePlan {
    /// The address of an endpoint; `None` if the service has none of the kind.
    pub fn endpoint(&self, endpoint: Endpoint) -> Option<String> {
        let path = self.product.shape().path(endpoint)?;
        Some(self.at(path))
    }

    /// Where browsers are sent with a WS-Federation request.
    pub fn ws_federation(&self) -> Option<String> {
        Some(self.at(self.product.shape().ws_federation()?))
    }

    /// Where browsers are sent with a SAML request, by redirect or by POST.
    pub fn saml(&self, post: bool) -> Option<String> {
        Some(self.at(self.product.shape().saml(post)?))
    }

    fn at(&self, path: &str) -> String {
        let slash = if path == "/adfs/ls" { "/" } else { "" };
        format!("https://{}{path}{slash}", self.host)
    }
}

/// Whether a method of authentication that was asked for means a second factor, in any product's words.
pub fn asks_second_factor(method: &str) -> bool {
    [
        MULTIPLE,
        "https://refeds.org/profile/mfa",
        "urn:okta:loa:2fa:any",
        "mfa",
    ]
    .contains(&method)
}

/// Every character but letters, digits and a few marks as a numeric reference, as encoders for HTML attributes do.
fn escape_all(text: &str) -> String {
    use std::fmt::Write;
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_ascii_alphanumeric() || ",.-_".contains(character) {
            safe.push(character);
        } else {
            write!(safe, "&#x{:x};", u32::from(character))
                .expect("writing to a string does not fail");
        }
    }
    safe
}

const ADFS: Shape = Shape {
    paths: &[
        ("/adfs/ls", Endpoint::Passive),
        ("/adfs/ls/idpinitiatedsignon", Endpoint::IdpInitiated),
        ("/adfs/ls/idpinitiatedsignon.aspx", Endpoint::IdpInitiated),
        (
            "/adfs/services/trust/2005/usernamemixed",
            Endpoint::Active2005,
        ),
        ("/adfs/services/trust/13/usernamemixed", Endpoint::Active13),
        ("/adfs/services/trust/mex", Endpoint::Mex),
        ("/adfs/services/trust/proxymex", Endpoint::ProxyMex),
        (
            "/adfs/services/trust/2005/windowstransport",
            Endpoint::Windows,
        ),
        (
            "/adfs/services/trust/13/windowstransport",
            Endpoint::Windows,
        ),
        ("/adfs/services/trust", Endpoint::Identifier),
        ("/adfs/oauth2/authorize", Endpoint::Authorize),
        ("/adfs/oauth2/token", Endpoint::Token),
        ("/adfs/oauth2/devicecode", Endpoint::DeviceCode),
        ("/adfs/oauth2/deviceauth", Endpoint::DeviceAuth),
        ("/adfs/oauth2/logout", Endpoint::SignOut),
        ("/adfs/userinfo", Endpoint::UserInfo),
        (
            "/adfs/.well-known/openid-configuration",
            Endpoint::Discovery,
        ),
        ("/adfs/discovery/keys", Endpoint::Keys),
        ("/.well-known/webfinger", Endpoint::WebFinger),
        (
            "/federationmetadata/2007-06/federationmetadata.xml",
            Endpoint::Metadata,
        ),
    ],
    pages: &[],
    leads_to_page: false,
    answers_at_once: false,
    user: "UserName",
    password: "Password",
    code: "VerificationCode",
    more: "<input id=\"authMethod\" type=\"hidden\" name=\"AuthMethod\" value=\"AzureMfaAuthentication\"/>",
    post: [
        "<html><head><title>Working...</title></head><body><form method=\"POST\" name=\"hiddenform\" action=\"",
        "\">",
        "<noscript><p>Script is disabled. Click Submit to continue.</p><input type=\"submit\" value=\"Submit\" />\
         </noscript></form><script language=\"javascript\">window.setTimeout('document.forms[0].submit()', 0);\
         </script></body></html>",
    ],
    field: "<input type=\"hidden\" name=\"{name}\" value=\"{value}\" />",
    escape,
    cookie: "MSISAuth",
    cookie_path: "/adfs",
    cookie_bytes: 2400,
    signs_response: false,
    second_factor: MULTIPLE,
    server: "Microsoft-HTTPAPI/2.0",
    names: &[],
};

const OKTA: Shape = Shape {
    paths: &[
        (
            "/app/office365/exkweirlab1/sso/wsfed/passive",
            Endpoint::Passive,
        ),
        ("/app/cloudapp/exkweirlab2/sso/saml", Endpoint::Passive),
        ("/api/v1/authn", Endpoint::Authn),
        ("/login/sessionCookieRedirect", Endpoint::SessionCookie),
        (
            "/app/office365/exkweirlab1/sso/wsfed/active",
            Endpoint::Active,
        ),
        (
            "/app/office365/exkweirlab1/sso/wsfed/mex",
            Endpoint::ProxyMex,
        ),
        ("/app/exkweirlab2/sso/saml/metadata", Endpoint::Metadata),
        ("/app/exkweirlab1/sso/saml/metadata", Endpoint::Metadata),
        ("/oauth2/v1/authorize", Endpoint::Authorize),
        ("/oauth2/v1/token", Endpoint::Token),
        ("/oauth2/v1/keys", Endpoint::Keys),
        ("/oauth2/v1/userinfo", Endpoint::UserInfo),
        ("/oauth2/v1/logout", Endpoint::SignOut),
        ("/login/signout", Endpoint::SignOut),
        ("/.well-known/openid-configuration", Endpoint::Discovery),
    ],
    pages: &[("", "/login/login.htm?fromURI={from}&stateToken={id}")],
    leads_to_page: true,
    answers_at_once: false,
    user: "username",
    password: "password",
    code: "passCode",
    more: "",
    post: [
        "<!DOCTYPE html><html lang=\"en\"><head><title>Signing in...</title></head><body><noscript>JavaScript is \
         required</noscript><div id=\"okta-auth-heading\">Signing in...</div><form id=\"appForm\" action=\"",
        "\" method=\"POST\">",
        "</form><script type=\"text/javascript\">document.getElementById('appForm').submit();</script></body></html>",
    ],
    field: "<input name=\"{name}\" type=\"hidden\" value=\"{value}\"/>",
    escape: escape_all,
    cookie: "sid",
    cookie_path: "/",
    cookie_bytes: 18,
    signs_response: true,
    second_factor: MULTIPLE,
    server: "nginx",
    names: CHOSEN,
};

const PING: Shape = Shape {
    paths: &[
        ("/idp/SSO.saml2", Endpoint::Passive),
        ("/idp/prp.wsf", Endpoint::Passive),
        ("/idp/sts.wst", Endpoint::Active),
        ("/pf/sts.wst", Endpoint::Active),
        ("/pf/sts_mex.ping", Endpoint::ProxyMex),
        ("/idp/startSSO.ping", Endpoint::IdpInitiated),
        ("/idp/startSLO.ping", Endpoint::SignOut),
        ("/idp/SLO.saml2", Endpoint::SignOut),
        ("/as/authorization.oauth2", Endpoint::Authorize),
        ("/as/token.oauth2", Endpoint::Token),
        ("/pf/JWKS", Endpoint::Keys),
        ("/idp/userinfo.openid", Endpoint::UserInfo),
        ("/pf/federation_metadata.ping", Endpoint::Metadata),
        ("/.well-known/openid-configuration", Endpoint::Discovery),
    ],
    pages: &[
        ("/as/", "/as/{id}/resume/as/authorization.ping"),
        ("/idp/prp", "/idp/{id}/resumeSAML20/idp/prp.ping"),
        ("", "/idp/{id}/resumeSAML20/idp/SSO.ping"),
    ],
    leads_to_page: false,
    answers_at_once: true,
    user: "pf.username",
    password: "pf.pass",
    code: "otp",
    more: "<input type=\"hidden\" name=\"pf.ok\" value=\"clicked\"/><input type=\"hidden\" name=\"pf.cancel\" \
           value=\"\"/><input type=\"hidden\" name=\"pf.adapterId\" value=\"HTMLFormAdapter\"/>",
    post: [
        "<html><head><title>Submit Form</title></head><body onload=\"javascript:document.forms[0].submit()\">\
         <noscript><p><strong>Note:</strong> Your browser does not support JavaScript.</p></noscript>\
         <form method=\"post\" action=\"",
        "\">",
        "<noscript><input type=\"submit\" value=\"Resume\"/></noscript></form></body></html>",
    ],
    field: "<input type=\"hidden\" name=\"{name}\" value=\"{value}\"/>",
    escape,
    cookie: "PF",
    cookie_path: "/",
    cookie_bytes: 21,
    signs_response: false,
    second_factor: MULTIPLE,
    server: "PingFederate",
    names: CHOSEN,
};

const SHIBBOLETH: Shape = Shape {
    paths: &[
        ("/idp/profile/SAML2/Redirect/SSO", Endpoint::Passive),
        ("/idp/profile/SAML2/POST/SSO", Endpoint::Passive),
        ("/idp/profile/SAML2/SOAP/ECP", Endpoint::Ecp),
        ("/idp/profile/Logout", Endpoint::SignOut),
        ("/idp/profile/SAML2/Redirect/SLO", Endpoint::SignOut),
        ("/idp/shibboleth", Endpoint::Metadata),
        ("/idp/profile/oidc/authorize", Endpoint::Authorize),
        ("/idp/profile/oidc/token", Endpoint::Token),
        ("/idp/profile/oidc/userinfo", Endpoint::UserInfo),
        ("/idp/profile/oidc/keyset", Endpoint::Keys),
        ("/.well-known/openid-configuration", Endpoint::Discovery),
    ],
    pages: &[
        (
            "/idp/profile/oidc",
            "/idp/profile/oidc/authorize?execution={id}",
        ),
        (
            "/idp/profile/SAML2/POST",
            "/idp/profile/SAML2/POST/SSO?execution={id}",
        ),
        ("", "/idp/profile/SAML2/Redirect/SSO?execution={id}"),
    ],
    leads_to_page: true,
    answers_at_once: true,
    user: "j_username",
    password: "j_password",
    code: "j_tokenNumber",
    more: "<button type=\"submit\" name=\"_eventId_proceed\">Login</button>",
    post: [
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\" /></head><body onload=\"document.forms[0].submit()\">\
         <noscript><p><strong>Note:</strong> Since your browser does not support JavaScript, you must press the \
         Continue button once to proceed.</p></noscript><form action=\"",
        "\" method=\"post\"><div>",
        "</div><noscript><div><input type=\"submit\" value=\"Continue\"/></div></noscript></form></body></html>",
    ],
    field: "<input type=\"hidden\" name=\"{name}\" value=\"{value}\"/>",
    escape: escape_all,
    cookie: "shib_idp_session",
    cookie_path: "/idp",
    cookie_bytes: 48,
    signs_response: true,
    second_factor: "https://refeds.org/profile/mfa",
    server: "Apache",
    names: EDUCATION,
};

const SIMPLE: Shape = Shape {
    paths: &[
        ("/simplesaml/saml2/idp/SSOService.php", Endpoint::Passive),
        (
            "/simplesaml/module.php/saml/idp/singleSignOnService",
            Endpoint::Passive,
        ),
        ("/simplesaml/module.php/adfs/prp", Endpoint::Passive),
        ("/simplesaml/module.php/adfs/idp/prp.php", Endpoint::Passive),
        (
            "/simplesaml/module.php/adfs/ws-trust/2005/services/usernamemixed",
            Endpoint::Active2005,
        ),
        (
            "/simplesaml/module.php/adfs/ws-trust/mex",
            Endpoint::ProxyMex,
        ),
        (
            "/simplesaml/saml2/idp/SingleLogoutService.php",
            Endpoint::SignOut,
        ),
        ("/simplesaml/saml2/idp/metadata.php", Endpoint::Metadata),
        (
            "/simplesaml/module.php/saml/idp/metadata",
            Endpoint::Metadata,
        ),
    ],
    pages: &[(
        "",
        "/simplesaml/module.php/core/loginuserpass?AuthState={id}",
    )],
    leads_to_page: true,
    answers_at_once: true,
    user: "username",
    password: "password",
    code: "otp",
    more: "",
    post: [
        "<!DOCTYPE html><html lang=\"en\"><head><title>POST data</title></head><body \
         onload=\"document.getElementById('postLoginSubmitButton').click()\"><form method=\"post\" action=\"",
        "\"><!-- calling submit() fails where the form has a field of that name --><input type=\"submit\" \
         id=\"postLoginSubmitButton\"/>",
        "</form></body></html>",
    ],
    field: "<input type=\"hidden\" name=\"{name}\" value=\"{value}\" />",
    escape,
    cookie: "SimpleSAMLAuthToken",
    cookie_path: "/",
    cookie_bytes: 33,
    signs_response: true,
    second_factor: "https://refeds.org/profile/mfa",
    server: "Apache",
    names: EDUCATION,
};

/// Says that more than one factor was given, in AD FS's words.
pub const MULTIPLE: &str = "http://schemas.microsoft.com/claims/multipleauthn";

/// Names as administrators of Okta and `PingFederate` choose them.
const CHOSEN: &[(&str, &str)] = &[
    (super::claims::UPN, "upn"),
    (super::claims::MAIL, "email"),
    (super::claims::DEPARTMENT, "department"),
    (super::claims::ACCESS_LEVEL, "access_level"),
    (super::claims::GROUP, "groups"),
    (super::claims::ROLE, "roles"),
];

/// eduPerson and inetOrgPerson, by the names that SAML 2.0 has for them.
const EDUCATION: &[(&str, &str)] = &[
    (super::claims::UPN, "urn:oid:1.3.6.1.4.1.5923.1.1.1.6"),
    (super::claims::MAIL, "urn:oid:0.9.2342.19200300.100.1.3"),
    (super::claims::GROUP, "urn:oid:1.3.6.1.4.1.5923.1.5.1.1"),
    (super::claims::ROLE, "urn:oid:1.3.6.1.4.1.5923.1.1.1.7"),
    (super::claims::DEPARTMENT, "urn:oid:2.16.840.1.113730.3.1.2"),
];
