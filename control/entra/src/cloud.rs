//! Which of Microsoft's clouds a tenant lives in: where it signs in, and where its Graph is.
//!
//! A token or a credential goes to these two hosts and to no other. Registrations and tokens do not cross clouds.

use std::fmt;

use url::Url;

use crate::model::{Id, Part};

/// A cloud.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cloud {
    name: Name,
    login: Url,
    graph: Url,
}

/// What clouds there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Name {
    /// The worldwide one, also US GCC.
    Global,
    /// US Government L4 (GCC High).
    UsGov,
    /// US Government L5 (DoD).
    UsGovDod,
    /// China, run by 21Vianet.
    China,
    /// Hosts of one's own choice.
    Custom,
}

/// Why an address of a cloud cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloudError {
    /// No address.
    #[error("`{0}` is not an address; write https://HOST or https://HOST:PORT")]
    Address(String),
    /// Something besides scheme, host and port.
    #[error("`{0}` must be https://HOST or https://HOST:PORT, and nothing behind it")]
    Origin(String),
    /// No such cloud.
    #[error("there is no cloud `{0}`; choose from global, usgov, usgov-dod, china, custom")]
    Name(String),
}

/// The clouds whose hosts are known: name, in the configuration, login host, Graph host.
const KNOWN: [(Name, &str, &str, &str); 4] = [
    (
        Name::Global,
        "global",
        "https://login.microsoftonline.com",
        "https://graph.microsoft.com",
    ),
    (
        Name::UsGov,
        "usgov",
        "https://login.microsoftonline.us",
        "https://graph.microsoft.us",
    ),
    (
        Name::UsGovDod,
        "usgov-dod",
        "https://login.microsoftonline.us",
        "https://dod-graph.microsoft.us",
    ),
    (
        Name::China,
        "china",
        "https://login.chinacloudapi.cn",
        "https://microsoftgraph.chinacloudapi.cn",
    ),
];

impl Cloud {
    /// One of those that are known by name.
    pub fn named(name: &str) -> Result<Self, CloudError> {
        let known = KNOWN.iter().find(|known| known.1 == name);
        let (name, _, login, graph) =
            known.ok_or_else(|| CloudError::Name(name.chars().take(40).collect()))?;
        Ok(Self {
            name: *name,
            login: origin(login)?,
            graph: origin(graph)?,
        })
    }

    /// The worldwide one.
    pub fn global() -> Self {
        Self::named("global").expect("it stands in the table")
    }

    /// One with hosts of its own.
    pub fn custom(login: &str, graph: &str) -> Result<Self, CloudError> {
        Ok(Self {
            name: Name::Custom,
            login: origin(login)?,
            graph: origin(graph)?,
        })
    }

    /// Which.
    pub fn name(&self) -> Name {
        self.name
    }

    /// Where a tenant signs in, without a slash at the end.
    pub fn login(&self) -> String {
        self.login.origin().ascii_serialization()
    }

    /// Where Graph is, without a slash at the end. It is also the resource that tokens are for.
    pub fn graph(&self) -> String {
        self.graph.origin().ascii_serialization()
    }

    /// The host of Graph alone, as errors name it.
    pub fn graph_host(&self) -> &str {
        self.graph.host_str().expect("an origin has a host")
    }

    /// The host of the sign-in alone.
    pub fn login_host(&self) -> &str {
        self.login.host_str().expect("an origin has a host")
    }

    /// The token endpoint of a tenant; assertions are for this very text.
    pub fn token_url(&self, tenant: Id) -> String {
        format!("{}/{tenant}/oauth2/v2.0/token", self.login())
    }

    /// What to ask a token for: all that was consented to for Graph.
    pub fn scope(&self) -> String {
        format!("{}/.default", self.graph())
    }

    /// Whether the cloud has a part at all.
    pub fn offers(&self, part: Part) -> bool {
        // The schema of China's Graph has no authenticationMethodsPolicy.
        !(self.name == Name::China && part == Part::Methods)
    }

    /// Whether an address is of this cloud's Graph: same scheme, host and port.
    pub(crate) fn is_graph(&self, url: &Url) -> bool {
        url.origin() == self.graph.origin()
    }

    pub(crate) fn graph_url(&self) -> &Url {
        &self.graph
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = KNOWN.iter().find(|known| known.0 == *self);
        f.write_str(known.map_or("custom", |known| known.1))
    }
}

fn origin(text: &str) -> Result<Url, CloudError> {
    let shown = || text.chars().take(200).collect::<String>();
    let url = Url::parse(text).map_err(|_| CloudError::Address(shown()))?;
    let is_bare = url.scheme() == "https"
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none();
    // What was written may hold a password.
    is_bare.then_some(url).ok_or_else(|| {
        let at = text.rfind('@').map_or(0, |at| at + 1);
        CloudError::Origin(text[at..].chars().take(200).collect())
    })
}
