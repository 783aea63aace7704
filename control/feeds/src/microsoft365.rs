//! Microsoft 365's endpoint service: which addresses its parts answer from, and send from.
//!
//! `GET /version/INSTANCE` says which list is the newest, `GET /endpoints/INSTANCE` is the list (Microsoft 365 IP
//! address and URL web service). Both need a `ClientRequestId`: a GUID of this machine's own.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde::Deserialize;
use url::Url;
use uuid::Uuid;

use crate::read::Unreadable;

/// Where the service is.
pub const ADDRESS: &str = "https://endpoints.office.com";

/// One of its lists.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instance {
    /// Everywhere but the clouds below.
    #[default]
    Worldwide,
    /// Operated by 21Vianet.
    China,
    /// US Government, DoD.
    USGovDoD,
    /// US Government, GCC High.
    USGovGCCHigh,
}

impl Instance {
    /// All, by the names that the service and the configuration know them by.
    pub const ALL: [(&str, Self); 4] = [
        ("Worldwide", Self::Worldwide),
        ("China", Self::China),
        ("USGovDoD", Self::USGovDoD),
        ("USGovGCCHigh", Self::USGovGCCHigh),
    ];

    /// See [`Instance::ALL`].
    pub fn name(self) -> &'static str {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|(_, instance)| *instance == self);
        found.expect("all are there").0
    }
}

/// The parts of Microsoft 365 that have addresses of their own.
pub const AREAS: [&str; 4] = ["Exchange", "SharePoint", "Skype", "Common"];

/// Where the newest version's number is.
pub fn version_at(base: &Url, instance: Instance, client: Uuid) -> Url {
    at(base, "version", instance, client)
}

/// Where its endpoints are.
pub fn endpoints_at(base: &Url, instance: Instance, client: Uuid) -> Url {
    at(base, "endpoints", instance, client)
}

/// The number of the newest version: ten digits.
pub fn version(bytes: &[u8]) -> Result<String, Unreadable> {
    #[derive(Deserialize)]
    struct Version {
        latest: String,
    }
    // With one instance asked for: an object; some answers have a list of one.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Answer {
        One(Version),
        Several(Vec<Version>),
    }
    let latest = match serde_json::from_slice(bytes) {
        Ok(Answer::One(version)) => version.latest,
        Ok(Answer::Several(versions)) if versions.len() == 1 => versions[0].latest.clone(),
        _ => {
            return Err(Unreadable::new(
                "the version is not what the service documents",
            ));
        }
    };
    if latest.len() != 10 || !latest.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Unreadable::new("the version is not a number of ten digits"));
    }
    Ok(latest)
}

/// The prefixes of some parts; the same one may be in several sets.
pub fn prefixes(bytes: &[u8], areas: &BTreeSet<String>) -> Result<Vec<IpNet>, Unreadable> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Set {
        service_area: String,
        #[serde(default)]
        ips: Vec<String>,
    }
    let sets: Vec<Set> = serde_json::from_slice(bytes)
        .map_err(|error| Unreadable::new(format!("this is no list of endpoints: {error}")))?;
    let mut prefixes = BTreeSet::new();
    for set in sets.iter().filter(|set| areas.contains(&set.service_area)) {
        for written in &set.ips {
            let prefix = weir_tables::parse_prefix(written)
                .map_err(|error| Unreadable::new(format!("a prefix cannot be read: {error}")))?;
            prefixes.insert(prefix.prefix.trunc());
        }
    }
    Ok(prefixes.into_iter().collect())
}

fn at(base: &Url, what: &str, instance: Instance, client: Uuid) -> Url {
    let mut url = base.clone();
    let root = base.path().trim_end_matches('/');
    url.set_path(&format!("{root}/{what}/{}", instance.name()));
    let mut query = url.query_pairs_mut();
    query
        .clear()
        .append_pair("ClientRequestId", &client.to_string());
    drop(query);
    url
}
