//! Lists over the control socket.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use weir_abi::Class;

/// A list in a few words: `GET /v1/lists` answers an array of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListSummary {
    /// Name from the configuration.
    pub name: String,
    /// Class that it gives.
    pub class: Class,
    /// `all`, or `web`: exempts browsers only.
    pub scope: String,
    /// Number of prefixes after duplicates were merged.
    pub entries: usize,
    /// Where its entries stand: the path of its file, `configuration`, or where they are fetched.
    pub source: String,
    /// Whether `weir lists add` can change it.
    pub editable: bool,
    /// When the entries that are in force were read.
    pub loaded: String,
    /// Seconds since then.
    pub age_seconds: u64,
    /// Why a newer state of the file is not in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// How it is fetched, where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote: Option<RemoteList>,
}

/// How a list is fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteList {
    /// When it was asked for successfully the last time; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked: Option<String>,
    /// Seconds since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checked_seconds: Option<u64>,
    /// Since when that fails; RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_since: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// A state that waits for an approval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<HeldList>,
}

/// A state of a list that waits for an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldList {
    /// What is approved: SHA-256 of its text.
    pub digest: String,
    /// Since when it waits; RFC 3339, UTC.
    pub since: String,
    /// Why, one sentence each.
    pub whys: Vec<String>,
    /// How many prefixes would come.
    pub added: usize,
    /// How many would go.
    pub removed: usize,
    /// The first of those that would come.
    pub some_added: Vec<IpNet>,
    /// The first of those that would go.
    pub some_removed: Vec<IpNet>,
}

/// Body of `POST /v1/lists/{name}/approve`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApproveList {
    /// The digest of what is held; its first eight characters will do.
    pub digest: String,
}

/// A list with its entries: `GET /v1/lists/{name}`. It is streamed, one entry a line, so `prefixes`
/// stays the last field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDetail {
    /// The list.
    #[serde(flatten)]
    pub summary: ListSummary,
    /// Entries that the query asks for; `prefixes` has fewer when there is a `limit`.
    pub matching: usize,
    /// The prefixes in force.
    pub prefixes: Vec<IpNet>,
}

/// Body of `POST /v1/lists/{name}/entries`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddEntry {
    /// A prefix or an address.
    pub prefix: String,
    /// Written behind the entry; one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

/// What the lists in force say of an address: `GET /v1/lists/test?source=IP`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListTest {
    /// The address; IPv4-mapped IPv6 is folded to IPv4.
    pub source: IpAddr,
    /// Class that is in force for it.
    pub class: Class,
    /// `all` or `web`.
    pub scope: String,
    /// List that gave the class; absent for `unmanaged`.
    pub list: Option<String>,
    /// The entry that matched.
    pub prefix: Option<IpNet>,
    /// Generation that was asked.
    pub generation: u64,
}
