//! Asks the sign-in server for multi-factor authentication. Whether it happened, the token tells.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use weir_policy::{Flow, MfaSpec};

/// The query that asks for it: `wauth` of WS-Federation (passive requestor profile, section 13.2.2 of
/// WS-Federation 1.2), or `acr_values` of OpenID Connect (Core 1.0, section 3.1.2.1), in the place of whatever
/// the client asks for. Nothing where there is no such way: a SAML request may be signed, and is left as it
/// is.
pub fn asked(query: Option<&str>, flow: Flow, mfa: &MfaSpec) -> Option<String> {
    let query = query?;
    let (name, value) = match flow {
        Flow::Passive if names(query).any(|name| name == "wa") => ("wauth", mfa.wauth.as_ref()?),
        Flow::OauthBrowser => ("acr_values", mfa.acr_values.as_ref()?),
        _ => return None,
    };
    let mut asked: String = query
        .split('&')
        .filter(|pair| name_of(pair) != name)
        .fold(String::new(), |all, pair| all + pair + "&");
    asked.push_str(name);
    asked.push('=');
    asked.extend(utf8_percent_encode(value, NON_ALPHANUMERIC));
    Some(asked)
}

/// Whether a query asks for it already.
pub fn is_asked(query: Option<&str>, flow: Flow, mfa: &MfaSpec) -> bool {
    let Some(asked) = asked(query, flow, mfa) else {
        return false;
    };
    let last = asked.rsplit('&').next().and_then(value_of);
    let given = query.unwrap_or_default().split('&');
    let mut given =
        given.filter(|pair| asked.rsplit('&').next().map(name_of) == Some(name_of(pair)));
    last.is_some() && given.next().and_then(value_of) == last && given.next().is_none()
}

fn value_of(pair: &str) -> Option<String> {
    let (_, value) = pair.split_once('=')?;
    let value = percent_decode_str(value).decode_utf8().ok()?;
    Some(value.into_owned())
}

fn names(query: &str) -> impl Iterator<Item = String> {
    query.split('&').map(name_of)
}

/// Name of a parameter, as a server may read it: decoded, whatever its case, without blanks around it.
fn name_of(pair: &str) -> String {
    let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
    let name = percent_decode_str(&name).decode_utf8_lossy();
    name.trim().to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mfa() -> MfaSpec {
        MfaSpec {
            wauth: Some("http://schemas.microsoft.com/claims/multipleauthn".into()),
            authn_context: None,
            acr_values: Some("mfa".into()),
        }
    }

    #[test]
    fn the_servers_own_parameter_asks_and_nothing_else_does() {
        let wauth = "wauth=http%3A%2F%2Fschemas%2Emicrosoft%2Ecom%2Fclaims%2Fmultipleauthn";
        let cases = [
            (
                "wa=wsignin1.0&wctx=%3D",
                Flow::Passive,
                Some(format!("wa=wsignin1.0&wctx=%3D&{wauth}")),
            ),
            (
                "wauth=a&wa=wsignin1.0&WAuth=b&%77auth=c&+wauth=d",
                Flow::Passive,
                Some(format!("wa=wsignin1.0&{wauth}")),
            ),
            (
                "client_id=a&acr_values=pwd",
                Flow::OauthBrowser,
                Some("client_id=a&acr_values=mfa".into()),
            ),
            ("SAMLRequest=a", Flow::Passive, None),
            ("grant_type=password", Flow::OauthToken, None),
        ];
        for (query, flow, expected) in cases {
            assert_eq!(asked(Some(query), flow, &mfa()), expected, "{query}");
        }
        for (query, asks) in [
            (
                "wa=wsignin1.0&wauth=http://schemas.microsoft.com/claims/multipleauthn",
                true,
            ),
            (
                "WAUTH=http%3A%2F%2Fschemas.microsoft.com%2Fclaims%2Fmultipleauthn&wa=wsignin1.0",
                true,
            ),
            ("wa=wsignin1.0&wauth=urn:weaker", false),
            ("wa=wsignin1.0", false),
            (
                "wa=wsignin1.0&wauth=http://schemas.microsoft.com/claims/multipleauthn&wauth=a",
                false,
            ),
        ] {
            assert_eq!(
                is_asked(Some(query), Flow::Passive, &mfa()),
                asks,
                "{query}"
            );
            let asked = asked(Some(query), Flow::Passive, &mfa()).expect("there is a way");
            assert!(is_asked(Some(&asked), Flow::Passive, &mfa()), "{asked}");
        }
        assert_eq!(asked(None, Flow::Passive, &mfa()), None);
        assert_eq!(
            asked(Some("wa=wsignin1.0"), Flow::Passive, &MfaSpec::default()),
            None
        );
    }
}
