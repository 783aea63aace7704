//! Named locations.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::fields::or_default;
use super::{Malformed, envelope};
use crate::model::Page;

/// A named location.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// Its id.
    pub id: String,
    /// Its name.
    pub display_name: String,
    /// When it was last changed.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub modified: Option<OffsetDateTime>,
    /// What it is.
    pub place: Place,
}

/// What a named location is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// Addresses, as Entra sees them.
    Addresses {
        /// Whether the tenant trusts them.
        is_trusted: bool,
        /// The prefixes, without host bits.
        prefixes: Vec<IpNet>,
        /// Entries that are no prefix: how many.
        unreadable: usize,
    },
    /// Countries.
    Countries {
        /// ISO 3166-2 codes.
        countries: Vec<String>,
        /// Whether addresses of no known country are among them.
        includes_unknown: bool,
        /// `clientIpAddress` or `authenticatorAppGps`.
        lookup: Option<String>,
    },
    /// What this version does not know, by its type.
    Other(String),
}

/// A page of named locations.
pub fn decode(body: &[u8]) -> Result<Page<Location>, Malformed> {
    Ok(envelope::list::<Read>(body)?.map(Location::from))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    #[serde(rename = "@odata.type", default, deserialize_with = "or_default")]
    kind: String,
    id: String,
    display_name: String,
    #[serde(default, with = "time::serde::rfc3339::option")]
    modified_date_time: Option<OffsetDateTime>,
    #[serde(default, deserialize_with = "or_default")]
    is_trusted: bool,
    #[serde(default, deserialize_with = "or_default")]
    ip_ranges: Vec<Range>,
    #[serde(default, deserialize_with = "or_default")]
    countries_and_regions: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    include_unknown_countries_and_regions: bool,
    #[serde(default)]
    country_lookup_method: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Range {
    #[serde(default, deserialize_with = "or_default")]
    cidr_address: String,
}

impl From<Read> for Location {
    fn from(read: Read) -> Self {
        let place = match &*read.kind {
            "#microsoft.graph.ipNamedLocation" => {
                let ranges = read.ip_ranges.iter();
                let prefixes: Vec<_> = ranges
                    .filter_map(|range| prefix(&range.cidr_address))
                    .collect();
                Place::Addresses {
                    is_trusted: read.is_trusted,
                    unreadable: read.ip_ranges.len() - prefixes.len(),
                    prefixes,
                }
            }
            "#microsoft.graph.countryNamedLocation" => Place::Countries {
                countries: read.countries_and_regions,
                includes_unknown: read.include_unknown_countries_and_regions,
                lookup: read.country_lookup_method,
            },
            _ => Place::Other(read.kind),
        };
        Self {
            id: read.id,
            display_name: read.display_name,
            modified: read.modified_date_time,
            place,
        }
    }
}

/// Host bits may be set, as in Microsoft's own examples.
fn prefix(text: &str) -> Option<IpNet> {
    text.parse::<IpNet>().ok().map(|prefix| prefix.trunc())
}
