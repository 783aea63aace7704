//! The links by which Graph says how an answer goes on.
//!
//! A token is sent along with them. So one must lead to the Graph of the configuration, to the very resource that was
//! asked, or it is followed by nothing: a file that was tampered with, or a box on the way, could name any host.

use url::Url;

use super::Ask;
use crate::cloud::Cloud;

/// Longest link, in bytes.
const LONGEST: usize = 16 << 10;

/// Why a link is not followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForeignLink {
    /// No address.
    #[error("the link to the next page is not an address")]
    Address,
    /// Not to this Graph. The host alone is named.
    #[error(
        "the link to the next page leads to `{0}`, which is not the Graph of the configuration"
    )]
    Elsewhere(String),
    /// To something else.
    #[error("the link to the next page leads to another resource than the one that was asked")]
    Resource,
}

/// Parses a link that came in the answer to a question.
pub(super) fn check(cloud: &Cloud, ask: &Ask, link: &str) -> Result<Url, ForeignLink> {
    if link.len() > LONGEST {
        return Err(ForeignLink::Address);
    }
    let url = Url::parse(link).map_err(|_| ForeignLink::Address)?;
    let has_user = !url.username().is_empty() || url.password().is_some();
    if !cloud.is_graph(&url) || has_user {
        let origin = url.origin().ascii_serialization();
        return Err(ForeignLink::Elsewhere(origin.chars().take(100).collect()));
    }
    let expected = ask.url(cloud.graph_url());
    if resource(url.path()) != resource(expected.path()) || url.fragment().is_some() {
        return Err(ForeignLink::Resource);
    }
    Ok(url)
}

/// A path in one of the ways in which OData writes it: functions may bear their namespace and parentheses, and the
/// key of an object may stand in parentheses.
fn resource(path: &str) -> Option<String> {
    let path = path.strip_prefix("/v1.0/")?;
    let mut plain = path.to_ascii_lowercase();
    if let Some(call) = plain.strip_suffix("()") {
        plain.truncate(call.len());
    }
    if let Some(at) = plain.find("('").filter(|_| plain.contains("')")) {
        let end = plain.find("')").expect("it was just found");
        if at < end {
            plain.replace_range(end..end + 2, "");
            plain.replace_range(at..at + 2, "/");
        }
    }
    Some(plain.replace("/microsoft.graph.delta", "/delta"))
}
