//! Asks for a list, and reads what came.

use std::collections::BTreeSet;
use std::fmt;

use ipnet::IpNet;
use url::Url;
use uuid::Uuid;
use weir_https::{Answer, Client, Why};
use weir_tables::Severity;

use crate::microsoft365::{self, Instance};

/// Where a list comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// From elsewhere: a [`Fetcher`] asks for it.
    Web(Web),
    /// From a named location of the tenant, which whoever keeps the directory looks up.
    NamedLocation {
        /// Its id, or its name.
        location: String,
        /// Whether the tenant must trust it: the list opens something.
        must_be_trusted: bool,
    },
}

/// An address that a list comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Web {
    /// One prefix a line, as in a list file.
    Url(Url),
    /// Microsoft 365's endpoint service.
    Microsoft365 {
        /// Where it is: [`microsoft365::ADDRESS`], but for laboratories.
        base: Url,
        /// Which of its lists.
        instance: Instance,
        /// Which parts: some of [`microsoft365::AREAS`].
        areas: BTreeSet<String>,
    },
}

impl Source {
    /// All of it, to tell one from another: with the query of an address, which may be a secret.
    pub(crate) fn whole(&self) -> String {
        match self {
            Self::Web(Web::Url(url)) => url.to_string(),
            Self::Web(Web::Microsoft365 { base, .. }) => format!("{base} {self}"),
            Self::NamedLocation { .. } => self.to_string(),
        }
    }
}

impl From<Web> for Source {
    fn from(web: Web) -> Self {
        Self::Web(web)
    }
}

impl fmt::Display for Source {
    /// In words, without the query of an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Web(web) => web.fmt(f),
            Self::NamedLocation { location, .. } => write!(f, "named location {location:?}"),
        }
    }
}

impl fmt::Display for Web {
    /// In words, without the query of an address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&shown(url)),
            Self::Microsoft365 {
                instance, areas, ..
            } => {
                let areas: Vec<_> = areas.iter().map(String::as_str).collect();
                write!(
                    f,
                    "Microsoft 365, {}: {}",
                    instance.name(),
                    areas.join(", ")
                )
            }
        }
    }
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// It is what it was.
    Same,
    /// A state of the list.
    List {
        /// In the order of the document.
        prefixes: Vec<IpNet>,
        /// What to ask with the next time: an entity tag, or a version.
        mark: Option<String>,
    },
}

/// Why a document is no list. Its words are for an operator, and hold nothing of the document but what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It did not come.
    #[error("{0} {1}")]
    Away(String, Why),
    /// It came, and makes no sense.
    #[error("{0}")]
    Wrong(String),
}

impl Unreadable {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self::Wrong(why.into())
    }
}

/// Asks for lists.
#[derive(Clone, Debug)]
pub struct Fetcher {
    /// Over HTTPS.
    pub client: Client,
    /// The GUID of this machine, which Microsoft's service wants to know.
    pub machine: Uuid,
}

impl Fetcher {
    /// The list, unless it is still the one with this mark.
    pub async fn fetch(&self, from: &Web, mark: Option<&str>) -> Result<Fetched, Unreadable> {
        match from {
            Web::Url(url) => self.text(url, mark).await,
            Web::Microsoft365 {
                base,
                instance,
                areas,
            } => self.microsoft365(base, *instance, areas, mark).await,
        }
    }

    async fn text(&self, url: &Url, mark: Option<&str>) -> Result<Fetched, Unreadable> {
        let answer = self.client.get_unless(url.as_str(), mark).await;
        let (bytes, tag) = match answer.map_err(|why| away(url, why))? {
            Answer::Same => return Ok(Fetched::Same),
            Answer::Document { bytes, tag } => (bytes, tag),
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| Unreadable::new("the document is not text in UTF-8"))?;
        let parsed = weir_tables::parse(&text, place(url));
        let mut problems = parsed.problems.into_iter();
        if let Some(problem) = problems.find(|problem| problem.severity == Severity::Error) {
            return Err(Unreadable::new(format!(
                "line {} of the document: {}",
                problem.line, problem.message
            )));
        }
        Ok(Fetched::List {
            prefixes: parsed.prefixes,
            mark: tag,
        })
    }

    async fn microsoft365(
        &self,
        base: &Url,
        instance: Instance,
        areas: &BTreeSet<String>,
        mark: Option<&str>,
    ) -> Result<Fetched, Unreadable> {
        let url = microsoft365::version_at(base, instance, self.machine);
        let version = self.client.get(url.as_str(), None).await;
        let version = microsoft365::version(&version.map_err(|why| away(&url, why))?)?;
        if mark == Some(&version) {
            return Ok(Fetched::Same);
        }
        let url = microsoft365::endpoints_at(base, instance, self.machine);
        let list = self.client.get(url.as_str(), None).await;
        let prefixes = microsoft365::prefixes(&list.map_err(|why| away(&url, why))?, areas)?;
        Ok(Fetched::List {
            prefixes,
            mark: Some(version),
        })
    }
}

/// The host and the path: a query may hold a key.
fn away(url: &Url, why: Why) -> Unreadable {
    Unreadable::Away(shown(url), why)
}

fn shown(url: &Url) -> String {
    let mut plain = url.clone();
    plain.set_query(None);
    plain.to_string()
}

fn place(url: &Url) -> &str {
    url.path()
}
