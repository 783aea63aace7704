//! What holds for every body of a WS-Trust request.

use weir_policy::Said;

use crate::one::{judge, tags};

/// A user or a relying party that is certain stands once in the message, which has no DTD; blanks in
/// front change nothing.
pub fn check(body: &[u8]) {
    const TARGET: &str = "/adfs/services/trust/13/usernamemixed";
    const TYPE: &str = "application/soap+xml; charset=utf-8";
    let (facts, _) = judge(TARGET, TYPE, body);
    let (shifted, _) = judge(TARGET, TYPE, &[b"\n ", body].concat());
    if body.len() < 1000 && !body.starts_with(b"\xef\xbb\xbf") {
        assert_eq!(facts, shifted, "blanks in front change what is read");
    }
    let text = std::str::from_utf8(body).unwrap_or_default();
    let names = tags(text);
    let count = |wanted: &str| names.iter().filter(|name| **name == wanted).count();
    if let Said::Bound(user) = &facts.user {
        assert!(!user.is_empty() && user.trim() == user);
        for name in ["Username", "UsernameToken", "Security", "Header", "!"] {
            let expected = usize::from(name != "!");
            assert_eq!(count(name), expected, "{name} in a message of {user}");
        }
        assert_eq!(count("Assertion") + count("OnBehalfOf") + count("ActAs"), 0);
    }
    if let Said::Bound(party) = &facts.relying_party {
        assert!(!party.is_empty());
        for name in ["AppliesTo", "RequestSecurityToken", "Body", "Envelope"] {
            assert_eq!(count(name), 1, "{name} in a message to {party}");
        }
        assert_eq!(count("!"), 0);
    }
    let id = facts.soap.and_then(|soap| soap.message_id);
    assert!(id.is_none_or(|id| id.len() <= 256 && !id.contains(char::is_control)));
}
