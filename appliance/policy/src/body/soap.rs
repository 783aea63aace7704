//! WS-Trust requests (WS-Trust 2005/02 and 1.3 over SOAP 1.2): who signs in, to what, in which message.

use super::xml::{Element, Space, is_at, walk};
use crate::TrustVersion;

/// What a WS-Trust request says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// Every `wsse:Username`, in order.
    pub(crate) users: Vec<String>,
    /// Whether the one user is, beyond doubt, whom the server will authenticate: one UsernameToken where
    /// the specification wants it, no other token, nobody acted for.
    pub(crate) user_is_certain: bool,
    /// Address of the one `wsp:AppliesTo`, when there is exactly one where it belongs.
    pub(crate) applies_to: Option<String>,
    /// `wsa:MessageID`; some clients write `messageID`.
    pub(crate) message_id: Option<String>,
    /// Version of the first `RequestSecurityToken`.
    pub(crate) version: Option<TrustVersion>,
}

/// Longest `wsa:MessageID` that is repeated in an answer.
const MAX_MESSAGE_ID: usize = 256;

/// Reads a request; `None` when it is not readable as a whole.
pub(crate) fn read(body: &[u8]) -> Option<Request> {
    let mut request = Request::default();
    let mut counts = Counts::default();
    let mut addresses = Vec::new();
    walk(
        body,
        &["Username", "Address", "MessageID", "messageID"],
        |path| {
            let Some(element) = path.last() else { return };
            match element.name.as_str() {
                "Username" => {
                    counts.usernames += 1;
                    counts.usernames_in_place +=
                        usize::from(is_at(path, USERNAME) && !element.has_children);
                    request.users.push(element.text.trim().to_owned());
                }
                "UsernameToken" => counts.tokens += 1,
                "Security" => counts.securities += 1,
                "AppliesTo" => counts.applies_to += 1,
                "RequestSecurityToken" => {
                    counts.requests += 1;
                    request.version = request.version.or(match element.namespace {
                        Space::Trust => Some(TrustVersion::V2005),
                        Space::Trust13 => Some(TrustVersion::V13),
                        _ => None,
                    });
                }
                "Body" | "Envelope" => counts.frames += 1,
                name if OTHER_IDENTITIES.contains(&name) => counts.others += 1,
                "Address" if path.iter().any(|step| step.name == "AppliesTo") => {
                    let in_place = (is_at(path, APPLIES_TO) || is_at(path, APPLIES_TO_13))
                        && !element.has_children;
                    addresses.push(in_place.then(|| element.text.trim().to_owned()));
                }
                "MessageID" | "messageID" if is_in_header(path) && request.message_id.is_none() => {
                    let id = element.text.trim();
                    let fits = !id.is_empty() && id.len() <= MAX_MESSAGE_ID;
                    if fits && !id.contains(char::is_control) {
                        request.message_id = Some(id.to_owned());
                    }
                }
                _ => {}
            }
        },
    )
    .ok()?;
    request.user_is_certain = counts.frames == 2
        && counts.securities == 1
        && counts.tokens == 1
        && counts.usernames == 1
        && counts.usernames_in_place == 1
        && counts.others == 0;
    if let [Some(address)] = addresses.as_slice()
        && counts.frames == 2
        && counts.applies_to == 1
        && counts.requests == 1
    {
        request.applies_to = Some(address.clone());
    }
    Some(request)
}

#[derive(Default)]
struct Counts {
    frames: usize,
    securities: usize,
    tokens: usize,
    usernames: usize,
    usernames_in_place: usize,
    others: usize,
    applies_to: usize,
    requests: usize,
}

/// Elements by which somebody else than the UsernameToken's user may be meant.
const OTHER_IDENTITIES: &[&str] = &[
    "BinarySecurityToken",
    "Assertion",
    "EncryptedAssertion",
    "EncryptedData",
    "OnBehalfOf",
    "ActAs",
    "DelegateTo",
    "SecurityContextToken",
];

const USERNAME: &[(Space, &str)] = &[
    (Space::Soap, "Envelope"),
    (Space::Soap, "Header"),
    (Space::Security, "Security"),
    (Space::Security, "UsernameToken"),
    (Space::Security, "Username"),
];

const APPLIES_TO: &[(Space, &str)] = &[
    (Space::Soap, "Envelope"),
    (Space::Soap, "Body"),
    (Space::Trust, "RequestSecurityToken"),
    (Space::Policy, "AppliesTo"),
    (Space::Addressing, "EndpointReference"),
    (Space::Addressing, "Address"),
];

const APPLIES_TO_13: &[(Space, &str)] = &[
    APPLIES_TO[0],
    APPLIES_TO[1],
    (Space::Trust13, "RequestSecurityToken"),
    APPLIES_TO[3],
    APPLIES_TO[4],
    APPLIES_TO[5],
];

fn is_in_header(path: &[Element]) -> bool {
    matches!(path, [envelope, header, _] if envelope.name == "Envelope" && header.name == "Header")
}
