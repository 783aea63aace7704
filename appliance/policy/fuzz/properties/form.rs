//! What holds for every form and every query.

use weir_policy::{Client, Flow, Said};

use crate::one::judge;

/// Only a form that names one grant of a server, and a credential, is a server's; only one `wa` signs
/// out; a client that is certain is named once.
pub fn check(form: &[u8]) {
    const TYPE: &str = "application/x-www-form-urlencoded";
    let pairs = read(form);
    let values = |wanted: &str| -> Vec<&str> {
        pairs
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.as_str())
            .collect()
    };
    let (facts, _) = judge("/adfs/oauth2/token", TYPE, form);
    if facts.client == Client::Server {
        let grants = values("grant_type");
        assert!(
            matches!(
                grants.as_slice(),
                ["authorization_code" | "refresh_token" | "client_credentials"]
            ),
            "{grants:?}"
        );
        let shown = values("client_secret").len() + values("client_assertion").len();
        assert!(shown > 0, "a server without a credential");
    }
    if let Said::Bound(client) = &facts.relying_party {
        assert_eq!(values("client_id"), [client.as_str()]);
    }
    // What stands in a request line has no other bytes.
    let Ok(query) = std::str::from_utf8(form) else {
        return;
    };
    if query.bytes().all(|byte| byte.is_ascii_graphic()) {
        let (facts, _) = judge(&format!("/adfs/ls/?{query}"), "", b"");
        if facts.flow == Flow::SignOut && values("samlrequest").is_empty() {
            let out = values("wa").concat() + &values("samlresponse").concat();
            assert!(!out.is_empty() && values("wa").len() <= 1, "{out}");
            assert!(values("wa").iter().all(|wa| wa.starts_with("wsignout")));
        }
        if let Said::Bound(party) = &facts.relying_party
            && values("samlrequest").is_empty()
        {
            let named = [values("wtrealm"), values("logintorp")].concat();
            assert_eq!(named, [party.as_str()]);
        }
    }
}

/// Names and values, each escape read once, whatever cannot be read replaced.
fn read(form: &[u8]) -> Vec<(String, String)> {
    let text = |part: &[u8]| {
        let mut bytes = Vec::new();
        let mut rest = part;
        while let [byte, after @ ..] = rest {
            let pair = after
                .get(..2)
                .and_then(|pair| std::str::from_utf8(pair).ok());
            let escaped = pair
                .filter(|pair| *byte == b'%' && !pair.starts_with('+'))
                .and_then(|pair| u8::from_str_radix(pair, 16).ok());
            rest = if escaped.is_some() {
                &after[2..]
            } else {
                after
            };
            bytes.push(escaped.unwrap_or(if *byte == b'+' { b' ' } else { *byte }));
        }
        String::from_utf8_lossy(&bytes).into_owned()
    };
    form.split(|byte| *byte == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default();
            (text(name), text(halves.next().unwrap_or_default()))
        })
        .collect()
}
