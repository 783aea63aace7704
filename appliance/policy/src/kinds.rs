//! The words for what is asked, who asks, and what is decided.

use serde::{Deserialize, Serialize};

/// What a request is (DESIGN: "flow kind").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// A sign-in page: WS-Federation or SAML 2.0 by a browser, or by a web view in an application.
    Passive,
    /// WS-Trust: an application sends the user's credentials itself.
    Active,
    /// WS-MetadataExchange: an application looks for the active endpoint.
    Mex,
    /// OAuth authorization endpoint.
    OauthBrowser,
    /// OAuth token and device-code endpoints.
    OauthToken,
    /// The end of a sign-in session.
    SignOut,
    /// Public documents, and what the holder of a token may read about itself.
    Metadata,
    /// Style sheets, scripts and pictures of the sign-in page.
    Asset,
    /// Device registration.
    Device,
    /// For the sign-in server and its own proxies only; never forwarded.
    Internal,
    /// Nothing that the profile knows; never forwarded.
    Other,
}

impl Flow {
    /// Every flow kind.
    pub const ALL: [Self; 11] = [
        Self::Passive,
        Self::Active,
        Self::Mex,
        Self::OauthBrowser,
        Self::OauthToken,
        Self::SignOut,
        Self::Metadata,
        Self::Asset,
        Self::Device,
        Self::Internal,
        Self::Other,
    ];

    /// The word used in configuration, command line, log and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Passive => "passive",
            Self::Active => "active",
            Self::Mex => "mex",
            Self::OauthBrowser => "oauth-browser",
            Self::OauthToken => "oauth-token",
            Self::SignOut => "sign-out",
            Self::Metadata => "metadata",
            Self::Asset => "asset",
            Self::Device => "device",
            Self::Internal => "internal",
            Self::Other => "other",
        }
    }

    /// Whether somebody signs in by this flow, so that a user and a relying party stand behind it.
    pub const fn signs_in(self) -> bool {
        matches!(
            self,
            Self::Passive | Self::Active | Self::OauthBrowser | Self::OauthToken
        )
    }
}

/// Who asks (DESIGN: "client kind").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Client {
    /// A browser, or what claims to be none of the others on a browser's flow.
    Browser,
    /// Outlook, by the word of a trusted relay or by its User-Agent.
    Outlook,
    /// Any other application on a device.
    Native,
    /// The operating system at Windows logon.
    WindowsLogon,
    /// A confidential client's back-channel.
    Server,
}

impl Client {
    /// Every client kind.
    pub const ALL: [Self; 5] = [
        Self::Browser,
        Self::Outlook,
        Self::Native,
        Self::WindowsLogon,
        Self::Server,
    ];

    /// The word used in configuration, command line, log and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Outlook => "outlook",
            Self::Native => "native",
            Self::WindowsLogon => "windows-logon",
            Self::Server => "server",
        }
    }
}

/// What the proxy does with a request (DESIGN: "decision").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionKind {
    /// Forwarded to the service.
    Pass,
    /// Sent to the reverse proxy.
    Redirect,
    /// Answered by Weir.
    Block,
    /// The sign-in server is asked for multi-factor authentication; the token must prove it.
    StepUp,
}

impl DecisionKind {
    /// Every kind of decision.
    pub const ALL: [Self; 4] = [Self::Pass, Self::Redirect, Self::Block, Self::StepUp];

    /// The word used in configuration, command line, log and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Redirect => "redirect",
            Self::Block => "block",
            Self::StepUp => "step-up",
        }
    }

    /// Whether this decision takes something away, so that an unknown fact may lead to it.
    pub const fn restricts(self) -> bool {
        !matches!(self, Self::Pass)
    }
}
