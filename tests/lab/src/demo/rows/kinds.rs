//! What clients of each kind send, and what a service or Weir answers to it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use url::Url;
use weir_lab_servers::plan::{MICROSOFT_ONLINE, User};

use super::{Rows, passive, url};
use crate::demo::curl::Call;

/// A request that a row of the table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A browser's WS-Federation sign-in.
    WsFed,
    /// A browser's OAuth sign-in.
    Authorize,
    /// A web view in an Office application.
    WebView,
    /// WS-Trust 2005.
    Active2005,
    /// WS-Trust 1.3.
    Active13,
    /// The metadata exchange.
    Mex,
    /// A public client redeems a code.
    PublicClient,
    /// A password grant.
    Password,
    /// A device asks for a code.
    DeviceCode,
    /// A web view in Outlook.
    OutlookView,
    /// Outlook's own sign-in.
    Outlook,
    /// Windows' own sign-in.
    Logon,
    /// The metadata exchange before it.
    LogonMex,
    /// A confidential client redeems a code.
    ServerCode,
    /// A confidential client refreshes a token.
    ServerRefresh,
    /// A confidential client asks for itself.
    ServerOwn,
    /// Federation metadata.
    Metadata,
    /// A part of the sign-in page.
    Asset,
    /// Sign-out.
    SignOut,
    /// A path for proxies.
    Internal,
    /// A path that exists nowhere.
    Unknown,
}

/// As Office's web view says it (Windows 10, Office 16).
const OFFICE_VIEW: &str = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; WOW64; Trident/7.0; .NET4.0C; .NET4.0E; ms-office; MSOffice 16)";
const OUTLOOK_VIEW: &str = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/7.0; Microsoft Outlook 16.0.9029; ms-office; MSOffice 16)";
const OUTLOOK: &str = "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.12026; Pro)";
const WINDOWS: &str = "Windows-AzureAD-Authentication-Provider/1.0";
/// As Firefox says it.
pub const BROWSER: &str =
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0";

impl Kind {
    /// The word for it in names of rows.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WsFed => "ws-fed",
            Self::Authorize => "authorize",
            Self::WebView => "web-view",
            Self::Active2005 => "active-2005",
            Self::Active13 => "active-13",
            Self::Mex => "mex",
            Self::PublicClient => "public-client",
            Self::Password => "password",
            Self::DeviceCode => "device-code",
            Self::OutlookView => "outlook-view",
            Self::Outlook => "outlook",
            Self::Logon => "windows-logon",
            Self::LogonMex => "windows-logon-mex",
            Self::ServerCode => "server-code",
            Self::ServerRefresh => "server-refresh",
            Self::ServerOwn => "server",
            Self::Metadata => "metadata",
            Self::Asset => "asset",
            Self::SignOut => "sign-out",
            Self::Internal => "internal",
            Self::Unknown => "unknown",
        }
    }

    /// What it is, for a person.
    pub const fn what(self) -> &'static str {
        match self {
            Self::WsFed => "WS-Federation sign-in",
            Self::Authorize => "OAuth authorize",
            Self::WebView => "Office's web view",
            Self::Active2005 => "WS-Trust 2005",
            Self::Active13 => "WS-Trust 1.3",
            Self::Mex => "MEX",
            Self::PublicClient => "public client's code",
            Self::Password => "OAuth password grant",
            Self::DeviceCode => "OAuth device code",
            Self::OutlookView => "Outlook's web view",
            Self::Outlook => "Outlook",
            Self::Logon => "Windows logon",
            Self::LogonMex => "Windows logon, MEX",
            Self::ServerCode => "server's code",
            Self::ServerRefresh => "server's refresh",
            Self::ServerOwn => "server's own token",
            Self::Metadata => "metadata",
            Self::Asset => "part of the page",
            Self::SignOut => "sign-out",
            Self::Internal => "internal path",
            Self::Unknown => "unknown path",
        }
    }

    /// What a service answers. Codes and refresh tokens of these rows were never given out.
    pub const fn passed(self) -> &'static str {
        match self {
            Self::WsFed | Self::Authorize | Self::WebView | Self::OutlookView => "200 sign-in form",
            Self::Active2005
            | Self::Active13
            | Self::Password
            | Self::Outlook
            | Self::Logon
            | Self::ServerOwn => "200 token",
            Self::Mex | Self::LogonMex => "200 endpoints",
            Self::PublicClient | Self::ServerCode | Self::ServerRefresh => "400 invalid_grant",
            Self::DeviceCode => "200 device code",
            Self::Metadata => "200 federation metadata",
            Self::Asset => "200 style sheet",
            Self::SignOut => "200 signed out",
            Self::Internal | Self::Unknown => "404",
        }
    }

    /// What Weir answers in its place.
    pub const fn blocked(self) -> &'static str {
        match self {
            Self::WsFed
            | Self::Authorize
            | Self::WebView
            | Self::OutlookView
            | Self::Asset
            | Self::SignOut => "403 page, explained",
            Self::Active2005 | Self::Active13 | Self::Outlook | Self::Logon => {
                "403 SOAP fault, explained"
            }
            Self::Mex | Self::LogonMex | Self::Metadata => "403 explained",
            Self::PublicClient
            | Self::Password
            | Self::DeviceCode
            | Self::ServerCode
            | Self::ServerRefresh
            | Self::ServerOwn => "403 OAuth error, explained",
            Self::Internal | Self::Unknown => "404 explained",
        }
    }
}

impl Rows<'_> {
    /// The request, as such a client sends it directly. Through a relay it says the same, and the relay adds to it.
    pub(super) fn request(&self, kind: Kind, service: &'static str) -> Call {
        let get = |path: &str| Call::get(url(service, path));
        let user = self.user(service);
        let agent = |call: Call, agent: &str| call.with(&["--user-agent", agent]);
        match kind {
            Kind::WsFed => agent(Call::get(passive(service)), BROWSER),
            Kind::Authorize => agent(self.authorize(service), BROWSER),
            Kind::WebView => agent(Call::get(passive(service)), OFFICE_VIEW),
            Kind::Active2005 => active("2005", service, &user, MICROSOFT_ONLINE),
            Kind::Active13 => active("13", service, &user, MICROSOFT_ONLINE),
            Kind::Mex => get("/adfs/services/trust/mex"),
            Kind::PublicClient => self.token_call(
                service,
                0,
                &[
                    ("grant_type", "authorization_code"),
                    ("code", "never-given-out"),
                    ("code_verifier", "v"),
                ],
            ),
            Kind::Password => self.token_call(
                service,
                0,
                &[
                    ("grant_type", "password"),
                    ("username", &user.upn),
                    ("password", &user.password),
                ],
            ),
            Kind::DeviceCode => Call::form(
                url(service, "/adfs/oauth2/devicecode"),
                &[("client_id", &self.plan.oauth_clients[0].id)],
            ),
            Kind::OutlookView => agent(Call::get(passive(service)), OUTLOOK_VIEW),
            Kind::Outlook => agent(active("13", service, &user, MICROSOFT_ONLINE), OUTLOOK),
            Kind::Logon => agent(active("13", service, &user, MICROSOFT_ONLINE), WINDOWS),
            Kind::LogonMex => agent(get("/adfs/services/trust/mex"), WINDOWS),
            Kind::ServerCode => self.token_call(
                service,
                1,
                &[
                    ("grant_type", "authorization_code"),
                    ("code", "never-given-out"),
                ],
            ),
            // This one shows its credential in the head (RFC 6749 2.3.1).
            Kind::ServerRefresh => {
                let server = &self.plan.oauth_clients[1];
                let secret = server.secret.as_deref().unwrap_or_default();
                let basic = STANDARD.encode(format!("{}:{secret}", server.id));
                Call::form(
                    url(service, "/adfs/oauth2/token"),
                    &[
                        ("grant_type", "refresh_token"),
                        ("refresh_token", "never-given-out"),
                    ],
                )
                .with(&["--header", &format!("Authorization: Basic {basic}")])
            }
            Kind::ServerOwn => self.token_call(service, 1, &[("grant_type", "client_credentials")]),
            Kind::Metadata => get("/FederationMetadata/2007-06/FederationMetadata.xml"),
            Kind::Asset => agent(get("/adfs/portal/css/style.css?id=D74D4D69"), BROWSER),
            Kind::SignOut => agent(get("/adfs/ls/?wa=wsignout1.0"), BROWSER),
            Kind::Internal => get("/adfs/Proxy/EstablishTrust"),
            Kind::Unknown => agent(get("/adfs/nothing/of/this/name"), BROWSER),
        }
    }

    /// Windows' sign-in of that user for that relying party.
    pub(super) fn logon_of(service: &str, user: &User, party: &str) -> Call {
        active("13", service, user, party).with(&["--user-agent", WINDOWS])
    }

    fn authorize(&self, service: &str) -> Call {
        let client = &self.plan.oauth_clients[0];
        let mut authorize = Url::parse(&url(service, "/adfs/oauth2/authorize")).expect("a literal");
        authorize
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &client.id)
            .append_pair("redirect_uri", &client.redirects[0])
            .append_pair("resource", MICROSOFT_ONLINE)
            .append_pair("state", "a=b&c");
        Call::get(authorize)
    }

    /// A call of the plan's client of that number, with its secret when it has one.
    fn token_call(&self, service: &str, client: usize, fields: &[(&str, &str)]) -> Call {
        let client = &self.plan.oauth_clients[client];
        let mut all = fields.to_vec();
        all.push(("client_id", &client.id));
        if let Some(secret) = &client.secret {
            all.push(("client_secret", secret));
        }
        Call::form(url(service, "/adfs/oauth2/token"), &all)
    }
}

/// A WS-Trust request with the right password.
fn active(version: &str, service: &str, user: &User, party: &str) -> Call {
    let path = format!("/adfs/services/trust/{version}/usernamemixed");
    active_at(url(service, &path), version, user, party)
}

/// The same, somewhere else.
pub(super) fn active_at(to: String, version: &str, user: &User, party: &str) -> Call {
    let (trust, bearer) = match version {
        "13" => (
            "http://docs.oasis-open.org/ws-sx/ws-trust/200512",
            "http://docs.oasis-open.org/ws-sx/ws-trust/200512/Bearer",
        ),
        _ => (
            "http://schemas.xmlsoap.org/ws/2005/02/trust",
            "http://schemas.xmlsoap.org/ws/2005/05/identity/NoProofKey",
        ),
    };
    let action = format!("{trust}/RST/Issue");
    let envelope = ENVELOPE
        .replace("{trust}", trust)
        .replace("{bearer}", bearer)
        .replace("{action}", &action)
        .replace("{to}", &to)
        .replace("{user}", &escape(&user.upn))
        .replace("{password}", &escape(&user.password))
        .replace("{party}", party);
    Call::get(to).with(&[
        "--header",
        "Content-Type: application/soap+xml; charset=utf-8",
        "--data-binary",
        &envelope,
    ])
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// As msal sends it, with the parts that a service needs (WS-Trust 1.3, section 4.1).
const ENVELOPE: &str = r#"<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://www.w3.org/2005/08/addressing"><s:Header><a:Action s:mustUnderstand="1">{action}</a:Action><a:MessageID>urn:uuid:6f1b2f5e-0000-4000-8000-000000000001</a:MessageID><a:To s:mustUnderstand="1">{to}</a:To><o:Security s:mustUnderstand="1" xmlns:o="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"><o:UsernameToken><o:Username>{user}</o:Username><o:Password>{password}</o:Password></o:UsernameToken></o:Security></s:Header><s:Body><t:RequestSecurityToken xmlns:t="{trust}"><wsp:AppliesTo xmlns:wsp="http://schemas.xmlsoap.org/ws/2004/09/policy"><a:EndpointReference><a:Address>{party}</a:Address></a:EndpointReference></wsp:AppliesTo><t:KeyType>{bearer}</t:KeyType><t:RequestType>{trust}/Issue</t:RequestType></t:RequestSecurityToken></s:Body></s:Envelope>"#;
