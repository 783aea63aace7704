//! The built-in rule sets: DESIGN 3, cell by cell.
//!
//! `office365` is the table that commercial auth proxies document, `office365-strict` the same without
//! what anyone can forge. They share every row; the row "Outlook" differs in its default.

use std::sync::Arc;

use weir_abi::Class;

use super::asked::Parties;
use super::condition::{Condition, When};
use super::{Rule, Template};
use crate::{
    Client, DecisionKind, Flow, OutlookSetting, PolicySpec, RuleSetName, WindowsLogonSetting,
};

/// The rules of a set.
pub(crate) struct BuiltIn {
    /// In front of the administrator's rules: no rule opens what they close, and they cannot be
    /// switched off.
    pub(crate) guards: Vec<Rule>,
    /// Behind the administrator's rules.
    pub(crate) rows: Vec<Rule>,
    /// The row "tunnel": connections whose requests are not seen, by class alone.
    pub(crate) tunnels: Vec<(Class, Rule)>,
}

/// The word in front of the names of a set's rules.
pub(crate) const fn prefix(set: RuleSetName) -> &'static str {
    match set {
        RuleSetName::Office365 => "office365",
        RuleSetName::Office365Strict => "office365-strict",
    }
}

/// `logon_paths` are patterns of the paths where Windows logon is let through when it is: those at which
/// the user is certain.
pub(crate) fn builtin(
    spec: &PolicySpec,
    target: Option<&Arc<Template>>,
    logon_paths: &[String],
) -> BuiltIn {
    let set = prefix(spec.rule_set);
    let rule = |name: &str, kind, when, reason: &str| Rule {
        name: format!("{set}/{name}").into(),
        when,
        kind,
        reason: reason.into(),
        target: if kind == Redirect {
            target.cloned()
        } else {
            None
        },
        rate: None,
        within: None,
        grant: None,
        off: false,
    };
    BuiltIn {
        guards: guards(spec, &rule),
        rows: rows(spec, &rule, logon_paths),
        tunnels: tunnels(&rule),
    }
}

/// Makes a rule: name within the set, decision, conditions, reason.
type Make<'a> = &'a dyn Fn(&str, DecisionKind, When, &str) -> Rule;

use DecisionKind::{Block, Pass, Redirect};

fn guards(spec: &PolicySpec, rule: Make<'_>) -> Vec<Rule> {
    let always = When::always;
    let mut guards = vec![
        rule(
            "internal-path",
            Block,
            always().flows(&[Flow::Internal]),
            "There is nothing here for the outside.",
        ),
        rule(
            "unknown-path",
            Block,
            always().flows(&[Flow::Other]),
            "There is nothing here.",
        ),
        rule(
            "blocked-source",
            Block,
            always().classes(&[Class::Blocked]),
            "Sign-in from this network address is blocked.",
        ),
    ];
    if spec.profile.replies() {
        guards.push(rule(
            "unbelieved-token",
            Block,
            always().and(Condition::Unbelieved),
            "The token of this sign-in cannot be believed. Sign in again.",
        ));
    }
    guards
}

fn rows(spec: &PolicySpec, rule: Make<'_>, logon_paths: &[String]) -> Vec<Rule> {
    let from = |class, client| When::always().classes(&[class]).clients(&[client]);
    let mut rules = vec![
        rule(
            "metadata",
            Pass,
            When::always().flows(&[Flow::Metadata]),
            "Public documents.",
        ),
        rule(
            "asset",
            Pass,
            When::always().flows(&[Flow::Asset]),
            "Parts of the sign-in page.",
        ),
        rule(
            "sign-out",
            Pass,
            When::always().flows(&[Flow::SignOut]),
            "Everyone may sign out.",
        ),
        rule(
            "browser-relay",
            Block,
            from(Class::Relay, Client::Browser),
            "Relays do not browse: sign in directly.",
        ),
        rule(
            "windows-logon-relay",
            Block,
            from(Class::Relay, Client::WindowsLogon),
            "Windows does not sign in through a relay.",
        ),
        rule(
            "server-relay",
            Block,
            from(Class::Relay, Client::Server),
            "Servers do not ask for tokens through a relay.",
        ),
        rule(
            "relay-flow",
            Block,
            When::always().classes(&[Class::Relay]).flows(&[
                Flow::Passive,
                Flow::OauthBrowser,
                Flow::OauthToken,
                Flow::Device,
            ]),
            "Through a relay only WS-Trust sign-in is possible.",
        ),
    ];
    if outlook(spec) != OutlookSetting::Block {
        rules.push(rule(
            "outlook-relay",
            Pass,
            from(Class::Relay, Client::Outlook),
            "Outlook, by the word of a trusted relay.",
        ));
    }
    for (client, name) in [
        (Client::Browser, "browser"),
        (Client::Native, "native"),
        (Client::Outlook, "outlook"),
        (Client::WindowsLogon, "windows-logon"),
        (Client::Server, "server"),
    ] {
        let managed = format!("{name}-managed");
        rules.push(rule(
            &managed,
            Pass,
            from(Class::Managed, client),
            "A managed device.",
        ));
        let bypass = format!("{name}-bypass");
        let exempt = "Exempt by a bypass list.";
        rules.push(rule(&bypass, Pass, from(Class::Bypass, client), exempt));
    }
    rules.extend(unmanaged(spec, rule, logon_paths));
    rules
}

/// The column "unmanaged".
fn unmanaged(spec: &PolicySpec, rule: Make<'_>, logon_paths: &[String]) -> Vec<Rule> {
    let from = |client| {
        When::always()
            .classes(&[Class::Unmanaged])
            .clients(&[client])
    };
    let mut rules = vec![
        rule(
            "browser-unmanaged",
            Redirect,
            from(Client::Browser),
            "Browsers on other than managed devices sign in through the reverse proxy.",
        ),
        rule(
            "native-unmanaged",
            Block,
            from(Client::Native),
            "Applications may sign in from managed devices only. Use a managed device, or a web browser.",
        ),
    ];
    rules.push(if outlook(spec) == OutlookSetting::Pass {
        rule("outlook-unmanaged", Pass, from(Client::Outlook), "Outlook, by its User-Agent.")
    } else {
        rule(
            "outlook-unmanaged",
            Block,
            from(Client::Outlook),
            "Outlook may sign in from managed devices only. Use a managed device, or a web browser.",
        )
    });
    if spec.windows_logon == WindowsLogonSetting::Pass {
        let logon = from(Client::WindowsLogon);
        let party =
            Condition::RelyingParty(Parties::new(&["urn:federation:MicrosoftOnline".to_owned()]));
        let within = |rule| Rule {
            rate: Some(spec.windows_logon_rate),
            ..rule
        };
        // No user stands behind this document, which tells nothing that is secret; but who has no
        // directory lets nobody in, and then needs it not.
        rules.push(within(rule(
            "windows-logon-mex",
            Pass,
            logon.clone().flows(&[Flow::Mex]).and(Condition::Directory),
            "Windows logon, by its User-Agent.",
        )));
        rules.push(within(rule(
            "windows-logon-exempt",
            Pass,
            logon
                .flows(&[Flow::Active])
                .and(Condition::Path(logon_paths.to_vec()))
                .and(party)
                .and(Condition::KnownUser),
            "Windows logon of a known user, by its User-Agent.",
        )));
    }
    rules.push(rule(
        "windows-logon-unmanaged",
        Block,
        from(Client::WindowsLogon),
        "Windows may sign in to the organisation from managed devices only.",
    ));
    rules.push(rule(
        "server-unmanaged",
        Pass,
        from(Client::Server),
        "A server's own call, by the credential that it shows. The sign-in server is who checks it.",
    ));
    rules
}

fn tunnels(rule: Make<'_>) -> Vec<(Class, Rule)> {
    [
        (Class::Managed, "tunnel-managed", Pass, "A managed device."),
        (
            Class::Bypass,
            "tunnel-bypass",
            Pass,
            "Exempt by a bypass list.",
        ),
        (
            Class::Relay,
            "tunnel-relay",
            Block,
            "Relays do not sign in with a certificate.",
        ),
        (
            Class::Unmanaged,
            "tunnel-unmanaged",
            Block,
            "Sign-in by certificate is possible from managed devices only.",
        ),
        (
            Class::Blocked,
            "blocked-source",
            Block,
            "Sign-in from this network address is blocked.",
        ),
    ]
    .into_iter()
    .map(|(class, name, kind, reason)| {
        (
            class,
            rule(name, kind, When::always().classes(&[class]), reason),
        )
    })
    .collect()
}

fn outlook(spec: &PolicySpec) -> OutlookSetting {
    spec.outlook.unwrap_or(match spec.rule_set {
        RuleSetName::Office365 => OutlookSetting::Pass,
        RuleSetName::Office365Strict => OutlookSetting::RelayOnly,
    })
}
