//! Who asks: from the flow, what a trusted relay says, the User-Agent and the grant of a token call.
//!
//! A User-Agent can be forged. The order of the tests follows from that: what restricts is looked for
//! before what a rule set may let through.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use crate::body::form::{Parameter, Parameters};
use crate::profile::Readings;
use crate::{Client, Flow, Head, Reads};

/// Who asks. `reads` is what the profile says of the path, `form` the body of a token call.
pub(crate) fn recognise(
    head: &Head<'_>,
    reads: Readings,
    flow: Flow,
    relayed: bool,
    form: &Parameters,
) -> Client {
    let agent = agent(head);
    if flow == Flow::Device || (flow == Flow::OauthToken && is_for_natives(head, reads, form)) {
        return Client::Native;
    }
    if relayed {
        if says_exchange(head) {
            return Client::Outlook;
        }
    } else if names_any(&agent, &OUTLOOK) {
        return Client::Outlook;
    }
    match flow {
        Flow::Active | Flow::Mex if names_any(&agent, &WINDOWS_LOGON) => Client::WindowsLogon,
        Flow::OauthToken if has_credential(head, form) => Client::Server,
        Flow::Active | Flow::Mex | Flow::OauthToken => Client::Native,
        _ if names_any(&agent, &WINDOWS_LOGON)
            || names_any(&agent, &NATIVE)
            || head.values("x-ms-pkeyauth").next().is_some() =>
        {
            Client::Native
        }
        Flow::Passive | Flow::OauthBrowser => Client::Browser,
        _ if agent.starts_with("mozilla/") => Client::Browser,
        _ => Client::Server,
    }
}

/// What is looked for in every User-Agent, prepared once.
type Names = LazyLock<Vec<Finder<'static>>>;

/// Outlook on Windows, macOS, iOS and Android.
static OUTLOOK: Names = LazyLock::new(|| {
    prepare(&[
        "microsoft outlook",
        "macoutlook",
        "outlook-ios",
        "outlook-android",
    ])
});
/// The Windows account broker.
static WINDOWS_LOGON: Names =
    LazyLock::new(|| prepare(&["windows-azuread-authentication-provider"]));
/// Web views in applications, and applications that are no browser.
static NATIVE: Names = LazyLock::new(|| {
    prepare(&[
        "ms-office",
        "msoffice",
        "microsoft office/",
        "pkeyauth",
        "msauthhost",
        "idcrl",
        "msipc",
        "windows rights management client",
        "ms_workfoldersclient",
        "calendaragent",
        "cfnetwork",
        "thunderbird",
        "; wv)",
    ])
});

/// All User-Agent lines, lower case: a server may read any of them.
fn agent(head: &Head<'_>) -> String {
    let mut all = String::new();
    for line in head.values("user-agent") {
        all.push_str(&String::from_utf8_lossy(line));
        all.push(' ');
    }
    all.make_ascii_lowercase();
    all
}

fn prepare(names: &[&'static str]) -> Vec<Finder<'static>> {
    names.iter().map(|name| Finder::new(*name)).collect()
}

fn names_any(agent: &str, names: &[Finder<'_>]) -> bool {
    names
        .iter()
        .any(|name| name.find(agent.as_bytes()).is_some())
}

/// Exchange Online names the protocol it relays (`Microsoft.Exchange.ActiveSync` ...).
fn says_exchange(head: &Head<'_>) -> bool {
    let mut values = head.values("x-ms-client-application");
    let prefix = b"microsoft.exchange.";
    let first = values.next().map(<[u8]>::trim_ascii);
    values.next().is_none()
        && first.is_some_and(|value| {
            value.len() > prefix.len() && value[..prefix.len()].eq_ignore_ascii_case(prefix)
        })
}

/// Grants that carry a user's password or a device's code; the endpoint for device codes itself, which has
/// no grant, whatever the form says; and calls whose query names a grant too, which belongs in the body
/// alone (RFC 6749 4.3.2).
fn is_for_natives(head: &Head<'_>, reads: Readings, form: &Parameters) -> bool {
    let query = Parameters::parse(head.query.unwrap_or_default().as_bytes());
    reads.has(Reads::Native)
        || query.may_have("grant_type")
        || !matches!(
            form.get("grant_type"),
            Parameter::One("authorization_code" | "refresh_token" | "client_credentials")
        )
}

/// A confidential client shows a secret, an assertion, or both its name and secret by Basic
/// (RFC 6749 2.3, RFC 7521).
fn has_credential(head: &Head<'_>, form: &Parameters) -> bool {
    let shown = |name| matches!(form.get(name), Parameter::One(value) if !value.trim().is_empty());
    let basic = head.text("authorization").is_some_and(|value| {
        value.split_once(' ').is_some_and(|(scheme, rest)| {
            scheme.eq_ignore_ascii_case("basic") && !rest.trim().is_empty()
        })
    });
    shown("client_secret") || shown("client_assertion") || basic
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(flow: Flow, headers: &[(&str, &str)], relayed: bool, form: &str) -> Client {
        let headers: Vec<(&str, &[u8])> = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()))
            .collect();
        let head = Head {
            method: "POST",
            host: "sts",
            path: "/",
            query: None,
            headers: &headers,
        };
        let form = Parameters::parse(form.as_bytes());
        recognise(&head, Readings::default(), flow, relayed, &form)
    }

    fn agent(flow: Flow, agent: &str) -> Client {
        client(flow, &[("User-Agent", agent)], false, "")
    }

    #[test]
    fn user_agents_that_real_clients_send() {
        const FIREFOX: &str =
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
        const OUTLOOK: &str =
            "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.12026; Pro)";
        const OUTLOOK_VIEW: &str = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 6.1; Trident/7.0; Microsoft Outlook 16.0.9029; ms-office; MSOffice 16)";
        const OFFICE_VIEW: &str = "Mozilla/4.0 (compatible; MSIE 7.0; Windows NT 10.0; Trident/7.0; ms-office; MSOffice 16)";
        const LOGON: &str = "Windows-AzureAD-Authentication-Provider/1.0";
        for (flow, text, expected) in [
            (Flow::Passive, FIREFOX, Client::Browser),
            (Flow::OauthBrowser, FIREFOX, Client::Browser),
            (Flow::Passive, "curl/8.5.0", Client::Browser),
            (Flow::Passive, "", Client::Browser),
            (Flow::Passive, OUTLOOK_VIEW, Client::Outlook),
            (Flow::Passive, OFFICE_VIEW, Client::Native),
            (
                Flow::OauthBrowser,
                "Mozilla/5.0 (iPhone) PKeyAuth/1.0",
                Client::Native,
            ),
            (Flow::Passive, "MSAuthHost/1.0/In-Domain", Client::Native),
            (
                Flow::Passive,
                "Mozilla/4.0 (compatible; MSIE 6.0; MSOIDCRL 7.0)",
                Client::Native,
            ),
            (
                Flow::Passive,
                "Mozilla/5.0 (Linux; Android 14; Pixel; wv) Chrome/120",
                Client::Native,
            ),
            (Flow::Passive, LOGON, Client::Native),
            (Flow::Active, LOGON, Client::WindowsLogon),
            (Flow::Mex, LOGON, Client::WindowsLogon),
            (Flow::Active, OUTLOOK, Client::Outlook),
            (Flow::Active, "python-requests/2.32.3", Client::Native),
            (Flow::Active, FIREFOX, Client::Native),
            (Flow::Mex, "", Client::Native),
            (Flow::Device, OUTLOOK, Client::Native),
            (Flow::Metadata, "", Client::Server),
            (Flow::Asset, FIREFOX, Client::Browser),
        ] {
            assert_eq!(agent(flow, text), expected, "{} {text}", flow.name());
        }
    }

    #[test]
    fn a_workplace_joined_device_says_so_in_a_header() {
        assert_eq!(
            client(Flow::Passive, &[("x-ms-PKeyAuth", "1.0")], false, ""),
            Client::Native
        );
    }

    #[test]
    fn outlook_behind_a_relay_is_known_by_the_relays_word_and_nothing_else() {
        let says = |value| {
            [
                ("X-MS-Client-Application", value),
                ("User-Agent", "Microsoft Outlook 16"),
            ]
        };
        for (relayed, value, expected) in [
            (true, "Microsoft.Exchange.ActiveSync", Client::Outlook),
            (true, "microsoft.exchange.rpc", Client::Outlook),
            (true, "Microsoft.Exchange.", Client::Native),
            (true, "Something", Client::Native),
        ] {
            assert_eq!(
                client(Flow::Active, &says(value), relayed, ""),
                expected,
                "{value}"
            );
        }
        let forged = [("X-MS-Client-Application", "Microsoft.Exchange.RPC")];
        assert_eq!(client(Flow::Active, &forged, false, ""), Client::Native);
        let twice = [forged[0], forged[0]];
        assert_eq!(client(Flow::Active, &twice, true, ""), Client::Native);
    }

    #[test]
    fn token_calls_are_a_servers_only_with_a_credential_and_a_servers_grant() {
        let basic = [("Authorization", "Basic Y2xpZW50OnNlY3JldA==")];
        let negotiate = [("Authorization", "Negotiate YII=")];
        for (headers, form, expected) in [
            (
                &[][..],
                "grant_type=authorization_code&code=c&client_id=a&client_secret=s",
                Client::Server,
            ),
            (
                &[],
                "grant_type=refresh_token&client_id=a&client_assertion=e.y.J",
                Client::Server,
            ),
            (
                &[],
                "grant_type=client_credentials&client_id=a&client_secret=s",
                Client::Server,
            ),
            (&basic, "grant_type=client_credentials", Client::Server),
            (&negotiate, "grant_type=client_credentials", Client::Native),
            (
                &[],
                "grant_type=authorization_code&code=c&client_id=a&code_verifier=v",
                Client::Native,
            ),
            (
                &[],
                "grant_type=authorization_code&client_secret=",
                Client::Native,
            ),
            (
                &[],
                "grant_type=password&username=u&password=p&client_secret=s",
                Client::Native,
            ),
            (
                &basic,
                "grant_type=password&username=u&password=p",
                Client::Native,
            ),
            (
                &[],
                "grant_type=urn:ietf:params:oauth:grant-type:device_code&client_secret=s",
                Client::Native,
            ),
            (
                &[],
                "grant_type=password&grant_type=refresh_token&client_secret=s",
                Client::Native,
            ),
            (
                &[],
                "client_id=a&resource=r&client_secret=s",
                Client::Native,
            ),
            (&[], "", Client::Native),
        ] {
            assert_eq!(
                client(Flow::OauthToken, headers, false, form),
                expected,
                "{form}"
            );
        }
        let outlook = [("User-Agent", "Microsoft Outlook 16.0")];
        assert_eq!(
            client(Flow::OauthToken, &outlook, false, "grant_type=password"),
            Client::Native
        );
    }
}
