//! The user of HTTP Basic (RFC 7617), where a server authenticates whom it names.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::body::ecp;
use crate::facts::MAX_NAME;
use crate::{Head, Said};

/// The user of the one `Authorization` header. Certain when nobody else can be meant: no session of an
/// earlier sign-in (a cookie), no parameters in the query, nobody named in the message, and a name that
/// every server decodes alike.
pub(crate) fn user(head: &Head<'_>, request: Option<&ecp::Request>) -> Said {
    let mut headers = head.values("authorization");
    let (Some(header), None) = (headers.next(), headers.next()) else {
        return Said::unknown("the request has no credential, or more than one");
    };
    let Some(user) = decode(header) else {
        return Said::unknown("the request names no user by HTTP Basic");
    };
    let alone = head.values("cookie").next().is_none()
        && head.query.unwrap_or_default().is_empty()
        && request.is_some_and(|request| !request.names_somebody);
    let plain = user.bytes().all(|byte| (b'!'..=b'~').contains(&byte));
    if alone && plain {
        Said::Bound(user)
    } else {
        Said::Stated(vec![user])
    }
}

fn decode(header: &[u8]) -> Option<String> {
    let header = std::str::from_utf8(header).ok()?.trim_matches(' ');
    let (scheme, credential) = header.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || credential.len() > MAX_NAME * 4 {
        return None;
    }
    let decoded = BASE64_STANDARD
        .decode(credential.trim_start_matches(' '))
        .ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let user = std::str::from_utf8(&decoded[..colon]).ok()?.trim();
    let fits = !user.is_empty() && user.len() <= MAX_NAME && !user.contains(char::is_control);
    fits.then(|| user.to_owned())
}
