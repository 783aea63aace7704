//! What is asked inside the connections, which captures of TLS do not show.

use std::net::IpAddr;

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use time::UtcDateTime;
use weir_abi::Class;
use weir_policy::{Client, DecisionKind, Described, Flow, Head, Ruling, Uncounted};

use crate::replay::{Lists, Service};

/// A request of a connection that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked.
    pub kind: Kind,
    /// Where the connection comes from.
    pub source: IpAddr,
    /// Number of the service.
    pub service: u16,
    /// Who stands behind a relay, as it says.
    pub forwarded: Option<IpAddr>,
}

/// What policy says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What it is.
    pub flow: Flow,
    /// Who asks.
    pub client: Client,
    /// What is done; nothing where it depends on the token that the server answers with.
    pub decision: Option<DecisionKind>,
}

/// What clients of an AD FS ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A browser comes to sign in (WS-Federation).
    SignIn,
    /// It sends the form.
    Form,
    /// It wants style sheets, scripts and pictures.
    Asset,
    /// It comes to sign in (OAuth).
    Authorize,
    /// It signs out.
    SignOut,
    /// An application looks for the endpoint to sign in at.
    Mex,
    /// An application sends name and password (WS-Trust).
    Active,
    /// Outlook does.
    Outlook,
    /// Windows does, when somebody logs on.
    WindowsLogon,
    /// An application asks for a token with a password (OAuth).
    Password,
    /// A server redeems a code (OAuth).
    Code,
    /// Somebody reads the metadata.
    Metadata,
}

const BROWSER: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) \
                       Chrome/131.0.0.0 Safari/537.36";
const FORM: &str = "application/x-www-form-urlencoded";
const SOAP: &str = "application/soap+xml; charset=utf-8";
const TRUST: &str = "/adfs/services/trust/2005/usernamemixed";

/// How a kind is asked.
struct Asked {
    method: &'static str,
    path: &'static str,
    query: Option<&'static str>,
    agent: &'static str,
    content: Option<&'static str>,
    body: &'static str,
}

impl Kind {
    /// Bytes that it takes to ask, and to answer.
    pub(super) fn sizes(self, random: &mut StdRng) -> [usize; 2] {
        let (asks, answers) = match self {
            Self::SignIn | Self::Authorize => (900..1900, 14_000..24_000),
            Self::Form => (1200..2600, 5_000..9_000),
            Self::Asset => (600..900, 3_000..60_000),
            Self::SignOut => (700..1500, 2_000..5_000),
            Self::Mex => (200..500, 28_000..42_000),
            Self::Active | Self::Outlook | Self::WindowsLogon => (2_000..3_600, 6_000..11_000),
            Self::Password | Self::Code => (600..2_400, 1_800..5_200),
            Self::Metadata => (180..500, 24_000..70_000),
        };
        [random.random_range(asks), random.random_range(answers)]
    }

    fn asked(self) -> Asked {
        let get = |path, agent| Asked {
            method: "GET",
            path,
            query: None,
            agent,
            content: None,
            body: "",
        };
        let post = |path, agent, content, body| Asked {
            method: "POST",
            path,
            query: None,
            agent,
            content: Some(content),
            body,
        };
        match self {
            Self::SignIn => Asked {
                query: Some(
                    "wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline&wctx=estsredirect%3d2",
                ),
                ..get("/adfs/ls/", BROWSER)
            },
            Self::Form => Asked {
                query: Some("wa=wsignin1.0&wtrealm=urn%3afederation%3aMicrosoftOnline"),
                ..post(
                    "/adfs/ls/",
                    BROWSER,
                    FORM,
                    "UserName=user%40corp.example&Kmsi=true&AuthMethod=FormsAuthentication",
                )
            },
            Self::Asset => get("/adfs/portal/css/style.css", BROWSER),
            Self::Authorize => Asked {
                query: Some(
                    "response_type=code&client_id=app&redirect_uri=https%3a%2f%2fapp.example%2f",
                ),
                ..get("/adfs/oauth2/authorize", BROWSER)
            },
            Self::SignOut => Asked {
                query: Some("wa=wsignout1.0"),
                ..get("/adfs/ls/", BROWSER)
            },
            Self::Mex => get("/adfs/services/trust/mex", "MS-Office/16.0"),
            Self::Active => post(TRUST, "MS-Office/16.0", SOAP, ""),
            Self::Outlook => post(TRUST, "Microsoft Outlook 16.0", SOAP, ""),
            Self::WindowsLogon => post(
                TRUST,
                "Windows-AzureAD-Authentication-Provider/1.0",
                SOAP,
                "",
            ),
            Self::Password => post(
                "/adfs/oauth2/token",
                "MS-Office/16.0",
                FORM,
                "grant_type=password&client_id=app&username=user%40corp.example",
            ),
            Self::Code => post(
                "/adfs/oauth2/token",
                "app/1.0",
                FORM,
                "grant_type=authorization_code&client_id=app&client_secret=made-up&code=made-up",
            ),
            Self::Metadata => get(
                "/FederationMetadata/2007-06/FederationMetadata.xml",
                "metadata/1.0",
            ),
        }
    }
}

impl Request {
    /// What policy says of it, at a service and at a moment; nothing for what no service takes at all.
    pub fn judge(
        &self,
        service: &Service,
        lists: &Lists,
        moment: UtcDateTime,
    ) -> Option<Judgement> {
        let asked = self.kind.asked();
        let forwarded = self.forwarded.map(|address| address.to_string());
        let mut headers: Vec<(&str, &[u8])> = vec![
            ("host", service.host.as_bytes()),
            ("user-agent", asked.agent.as_bytes()),
        ];
        if let Some(content) = asked.content {
            headers.push(("content-type", content.as_bytes()));
        }
        if let Some(forwarded) = &forwarded {
            headers.push(("x-ms-forwarded-client-ip", forwarded.as_bytes()));
            if self.kind == Kind::Outlook {
                headers.push(("x-ms-client-application", b"Microsoft.Exchange.ActiveSync"));
            }
        }
        let described = Described {
            head: Head {
                method: asked.method,
                host: &service.host,
                path: asked.path,
                query: asked.query,
                headers: &headers,
            },
            body: asked.body.as_bytes(),
            source: self.source,
            moment,
            token: None,
        };
        let policy = &service.policy;
        let mut facts = policy.suppose(&described, &lists.ask()).ok()?;
        let (flow, client) = (facts.flow, facts.client);
        let decision = match policy.judge(&mut facts, &Uncounted(None)) {
            Ruling::Now(decision) => Some(decision.kind),
            Ruling::AtToken { .. } => None,
        };
        Some(Judgement {
            flow,
            client,
            decision,
        })
    }
}

/// What somebody of a class asks in one connection.
pub(super) fn session(class: Class, random: &mut StdRng) -> Vec<Kind> {
    let browser: &[Kind] = &[Kind::SignIn, Kind::Asset, Kind::Asset, Kind::Form];
    let choices: &[(&[Kind], u32)] = match class {
        Class::Relay => &[(&[Kind::Outlook], 8), (&[Kind::Mex, Kind::Outlook], 2)],
        _ => &[
            (browser, 40),
            (&[Kind::SignIn], 12),
            (&[Kind::Authorize, Kind::Asset, Kind::Form], 10),
            (&[Kind::SignOut], 5),
            (&[Kind::Mex, Kind::Active], 10),
            (&[Kind::Outlook], 8),
            (&[Kind::WindowsLogon], 5),
            (&[Kind::Password], 4),
            (&[Kind::Code, Kind::Code], 4),
            (&[Kind::Metadata], 2),
        ],
    };
    let chosen = choices.choose_weighted(random, |(_, weight)| *weight);
    chosen.expect("there are weights").0.to_vec()
}
