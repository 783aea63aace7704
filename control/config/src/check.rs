//! What must hold between the parts of a configuration.

mod claims;
mod entra;
mod metrics;
mod remote;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::SystemTime;

use weir_abi::{Class, MAX_ADDRESSES, MAX_PORTS, MAX_SERVICES};
use weir_link::UpstreamKind;
use weir_policy::{
    DecisionKind, OutlookSetting, Policy, PolicySpec, RuleError, RuleSetName, Template,
    WindowsLogonSetting,
};

use crate::certificate::{self, Named};
use crate::config::{Managed, ProxyDown};
use crate::diagnostic::Diagnostic;
use crate::read::{Draft, DraftService, DraftUpstream, tokens};
use crate::reader::{At, Context, Span};
use crate::tokens::Tokens;
use crate::{replies, schema, servers};

/// Checks everything that the reading of single values could not.
pub(crate) fn check(context: &Context<'_>, draft: &Draft, now: SystemTime) {
    unique_names(context, draft);
    shared_between_services(context, draft);
    room_in_the_kernel(context, draft);
    for service in &draft.services {
        managed_flows(context, service);
        forgeable(context, draft, service);
        reverse_proxy(context, draft, service);
        profile(context, draft, service);
        tokens(context, draft, service);
        files(context, service, now);
    }
    servers::check(context, draft.kernel.as_ref(), &draft.services);
    list_names(context, draft);
    service_names(context, draft);
    countries(context, draft);
    list_files(context, draft);
    remote::check(context, draft);
    claims::check(context, draft);
    entra::check(context, draft, now);
    metrics::check(context, draft);
    policies(context, draft);
}

fn unique_names(context: &Context<'_>, draft: &Draft) {
    let each_once = |what: &str, names: Vec<Option<&At<String>>>| {
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        for name in names.into_iter().flatten() {
            let line = context.place(&name.span).line;
            if let Some(first) = seen.get(name.value.as_str()) {
                context.error(
                    &name.span,
                    format!(
                        "there is a {what} `{}` already, on line {first}",
                        name.value
                    ),
                    format!("each {what} has a name of its own"),
                );
            } else {
                seen.insert(&name.value, line);
            }
        }
    };
    each_once(
        "service",
        draft
            .services
            .iter()
            .map(|service| service.name.as_ref())
            .collect(),
    );
    each_once(
        "list",
        draft.lists.iter().map(|list| list.name.as_ref()).collect(),
    );
    each_once(
        "rule",
        draft.rules.iter().map(|rule| rule.name.as_ref()).collect(),
    );
}

/// Packets are told apart by address and port, connections by host name.
fn shared_between_services(context: &Context<'_>, draft: &Draft) {
    let mut hosts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut addresses = BTreeMap::new();
    for service in &draft.services {
        for host in service.hosts.iter().chain(&service.tunnel) {
            let line = context.place(&host.span).line;
            if let Some(first) = hosts.insert(&host.value, line) {
                context.error(
                    &host.span,
                    format!("host `{}` is named already, on line {first}", host.value),
                    "a host belongs to one service, either in `hosts` or in `tunnel`",
                );
            }
        }
        for address in &service.addresses {
            let line = context.place(&address.span).line;
            for port in &service.ports {
                if let Some(first) = addresses.insert((address.value, port.value), line) {
                    context.error(
                        &address.span,
                        format!(
                            "address {} with port {} is taken already, on line {first}",
                            address.value, port.value
                        ),
                        "packets are told apart by address and port: give each service its own, or \
                         put the hosts of both into one service",
                    );
                    break;
                }
            }
        }
    }
}

/// What the maps of the kernel programs have room for: each first thing too many is named.
fn room_in_the_kernel(context: &Context<'_>, draft: &Draft) {
    if let Some(service) = draft.services.get(MAX_SERVICES) {
        context.error(
            &service.span,
            format!(
                "{} services are too many: the kernel programs have room for {MAX_SERVICES}",
                draft.services.len()
            ),
            "put hosts with the same upstream and rules into one service, or divide the services \
             between two appliances",
        );
    }
    let mut ports: BTreeMap<IpAddr, BTreeSet<u16>> = BTreeMap::new();
    let mut said = false;
    for service in &draft.services {
        for address in &service.addresses {
            let open = ports.entry(address.value).or_default();
            let had_room = open.len() <= MAX_PORTS;
            open.extend(service.ports.iter().map(|port| port.value));
            if had_room && open.len() > MAX_PORTS {
                context.error(
                    &address.span,
                    format!(
                        "address {} has {} ports: the kernel programs have room for {MAX_PORTS} on \
                         one address",
                        address.value,
                        open.len()
                    ),
                    "keep the ports that clients use (AD FS: 443 and 49443), or spread them over \
                     several addresses",
                );
            }
            if !said && ports.len() > MAX_ADDRESSES as usize {
                said = true;
                context.error(
                    &address.span,
                    format!(
                        "this is service address {}: the kernel programs have room for \
                         {MAX_ADDRESSES}",
                        ports.len()
                    ),
                    "let services share an address, each on a port of its own, or divide the services \
                     between two appliances",
                );
            }
        }
    }
}

fn managed_flows(context: &Context<'_>, service: &DraftService) {
    let Some(managed) = &service.managed else {
        return;
    };
    let without_proxy = service
        .proxy_down
        .as_ref()
        .filter(|proxy_down| proxy_down.value == ProxyDown::ForwardManaged);
    let kind = service
        .upstream
        .as_ref()
        .and_then(|upstream| upstream.kind.as_ref());
    let accepted = service
        .accept_intranet
        .as_ref()
        .is_some_and(|accept| accept.value);
    let to_adfs = kind.is_some_and(|kind| kind.value == UpstreamKind::Adfs);
    let forward_to_adfs = to_adfs && managed.value == Managed::Forward;
    let forward_to_adfs_alone = to_adfs && without_proxy.is_some() && !forward_to_adfs;
    if let Some(proxy_down) = without_proxy
        && forward_to_adfs_alone
        && !accepted
    {
        context.error(
            &proxy_down.span,
            "`proxy_down = \"forward-managed\"` leads to AD FS itself while no proxy works",
            "AD FS takes a request without `X-MS-Proxy` for intranet traffic: no extranet lockout, \
             Windows authentication offered. Write `proxy_down = \"reject\"`, put a Web Application \
             Proxy behind Weir (`kind = \"wap\"`), or accept it with `accept_intranet = true`",
        );
    }
    if let Some(proxy_down) = without_proxy
        && managed.value == Managed::Forward
    {
        context.warning(
            &proxy_down.span,
            "`proxy_down = \"forward-managed\"` changes nothing here",
            "`managed = \"forward\"` does not need the proxy; write `\"reject\"` or `\"drop\"` for the others",
        );
    }
    if forward_to_adfs && !accepted {
        context.error(
            &managed.span,
            "`managed = \"forward\"` leads to AD FS itself, without a proxy between",
            "AD FS takes a request without `X-MS-Proxy` for intranet traffic: no extranet lockout, \
             Windows authentication offered. Write `managed = \"proxy\"`, put a Web Application Proxy \
             behind Weir (`kind = \"wap\"`), or accept it with `accept_intranet = true`",
        );
    }
    if let Some(accept) = &service.accept_intranet
        && accept.value
        && !forward_to_adfs
        && !forward_to_adfs_alone
        && kind.is_some()
    {
        context.warning(
            &accept.span,
            "`accept_intranet` changes nothing here",
            "it is for `managed = \"forward\"` (or `proxy_down = \"forward-managed\"`) with an upstream \
             of kind `adfs`; remove it",
        );
    }
}

/// What anyone can claim to be.
fn forgeable(context: &Context<'_>, draft: &Draft, service: &DraftService) {
    const HELP: &str = "anyone who knows a password can send that User-Agent from any program; \
                        `\"relay-only\"` believes Outlook only when Exchange Online relays it";
    match &service.outlook {
        Some(outlook) if outlook.value == OutlookSetting::Pass => {
            context.warning(
                &outlook.span,
                "Outlook is let through by its User-Agent alone",
                HELP,
            );
        }
        None if service.rules.value == RuleSetName::Office365 => context.warning(
            &service.rules.span,
            "`office365` lets Outlook through by its User-Agent alone",
            format!("{HELP}; `rules = \"office365-strict\"` has that already"),
        ),
        _ => {}
    }
    if let Some(logon) = &service.windows_logon
        && logon.value == WindowsLogonSetting::Pass
    {
        context.warning(
            &logon.span,
            "requests that look like Windows logon are let through",
            "any program can send the same request; the rate keeps guessing of passwords slow, and \
             can itself be used up by others. Keep it only while devices must sign in before their \
             tunnel is up",
        );
        if draft.users.is_none() {
            context.warning(
                &logon.span,
                "without a directory Windows logon is blocked all the same",
                "it is let through for known users only; name them:\n[directory]\nusers = \
                 \"users.list\"",
            );
        }
    }
}

fn reverse_proxy(context: &Context<'_>, draft: &Draft, service: &DraftService) {
    let Some(target) = &service.reverse_proxy else {
        context.note(
            &service.span,
            "this service has no `reverse_proxy`: browsers on unmanaged sources are blocked",
            "name it to send them there instead: `reverse_proxy = \"https://proxy.example{query}\"`",
        );
        return;
    };
    if let Err(message) = Template::parse(&target.value) {
        context.error(&target.span, message, target_fix(&target.value));
        return;
    }
    // What is posted to a reply URL cannot go on elsewhere: the sign-in begins again there.
    if !target.value.contains('{') && !draft.replies(service) {
        context.warning(
            &target.span,
            "the sign-in cannot go on behind the reverse proxy: the target has no `{query}`",
            format!("write `{}{{query}}`", target.value.trim_end_matches('/')),
        );
    }
    let exempt = draft.lists.iter().any(|list| {
        let class = list.class.as_ref().map(|class| class.value);
        class.is_none_or(|class| matches!(class, Class::Managed | Class::Bypass))
    });
    if !exempt {
        context.warning(
            &target.span,
            "the reverse proxy's own sign-ins would be sent back to it",
            "they come from its egress addresses: put these on a list of class `bypass` (or `managed`)",
        );
    }
}

/// What to write in place of a redirect target that cannot be used.
fn target_fix(target: &str) -> String {
    let fixed = match target.split_once("://") {
        Some(("https", rest)) => {
            format!("https://{}", rest.split_once('@').map_or(rest, |(_, r)| r))
        }
        Some((_, rest)) => format!("https://{rest}"),
        None => format!("https://{}", target.trim_start_matches('/')),
    };
    // Nothing stands behind the slot for path and query.
    let end = fixed
        .find("{query}")
        .map_or(fixed.len(), |at| at + "{query}".len());
    for fixed in [fixed.as_str(), &fixed[..end]] {
        if fixed != target && Template::parse(fixed).is_ok() {
            return format!("write `{fixed}`");
        }
    }
    "write a target such as `https://sts-corp-example.proxy.example{query}`".to_owned()
}

fn profile(context: &Context<'_>, draft: &Draft, service: &DraftService) {
    let known = draft.profile_names();
    if let Some(profile) = &service.profile
        && !known.contains(&profile.value.as_str())
    {
        let message = format!("unknown value `{}` for `profile`", profile.value);
        context.error(
            &profile.span,
            message,
            schema::unknown_word(&profile.value, &known),
        );
    }
}

fn files(context: &Context<'_>, service: &DraftService, now: SystemTime) {
    let mut found: Vec<Diagnostic> = Vec::new();
    let mut pairs = Vec::new();
    for (certificate, key) in &service.certificates {
        let places = (context.place(&certificate.span), context.place(&key.span));
        let certificate = Named {
            path: &certificate.value,
            place: &places.0,
        };
        let key = Named {
            path: &key.value,
            place: &places.1,
        };
        if let Some(pair) = certificate::read_pair(certificate, key, &mut found) {
            found.extend(pair.dates(certificate, now));
            pairs.push(pair);
        }
    }
    if let Some(ca) = service
        .upstream
        .as_ref()
        .and_then(|upstream| upstream.ca.as_ref())
    {
        let place = context.place(&ca.span);
        certificate::read_authorities(
            Named {
                path: &ca.value,
                place: &place,
            },
            &mut found,
        );
    }
    for diagnostic in found {
        context.push(diagnostic);
    }
    // With a pair missing, who knows what it would have covered.
    if pairs.len() < service.certificates.len() || pairs.is_empty() {
        return;
    }
    for host in &service.hosts {
        if !pairs.iter().any(|pair| pair.covers(&host.value)) {
            let names: Vec<&str> = pairs
                .iter()
                .flat_map(|pair| &pair.names)
                .map(String::as_str)
                .collect();
            let help = match names.as_slice() {
                [] => "it names no host at all (clients ignore the common name)".to_owned(),
                names => format!("it is for {}", schema::quoted(names)),
            };
            let message = format!(
                "the certificate is not for `{}`: clients refuse it",
                host.value
            );
            context.error(&host.span, message, help);
        }
    }
}

fn tokens(context: &Context<'_>, draft: &Draft, service: &DraftService) {
    if let (Some(written), Some(tokens)) = (&service.tokens, draft.tokens(service)) {
        let mut rules = draft.rules.iter().filter_map(|rule| rule.spec.as_ref());
        let redirects = service.reverse_proxy.is_some()
            || rules.any(|rule| rule.then.decision == DecisionKind::Redirect.name());
        tokens::check(context, written, &tokens, redirects);
    }
    replies::check(context, draft, service);
}

fn list_names(context: &Context<'_>, draft: &Draft) {
    let known: Vec<&str> = draft
        .lists
        .iter()
        .filter_map(|list| list.name.as_ref())
        .map(|name| name.value.as_str())
        .collect();
    for name in draft
        .rules
        .iter()
        .flat_map(|rule| rule.fields.values_of("list"))
    {
        if !known.contains(&name.value.as_str()) {
            let help = if known.is_empty() {
                "this file has no `[[list]]`".to_owned()
            } else {
                schema::unknown_word(&name.value, &known)
            };
            context.error(
                &name.span,
                format!("there is no list `{}`", name.value),
                help,
            );
        }
    }
}

fn countries(context: &Context<'_>, draft: &Draft) {
    if draft.countries.is_some() {
        return;
    }
    let rules = draft.rules.iter();
    let asked = rules.flat_map(|rule| rule.fields.values_of("country"));
    for country in asked.take(1) {
        context.warning(
            &country.span,
            "nobody knows in which country an address is, so this restricts everyone and passes nobody",
            "name a table of networks and their countries:\n[directory]\ncountries = \"countries.csv\"",
        );
    }
}

fn service_names(context: &Context<'_>, draft: &Draft) {
    let names = draft.services.iter().filter_map(|it| it.name.as_ref());
    let known: Vec<&str> = names.map(|name| name.value.as_str()).collect();
    let rules = draft.rules.iter();
    for name in rules.flat_map(|rule| rule.fields.values_of("service")) {
        if !known.contains(&name.value.as_str()) {
            let message = format!("there is no service `{}`", name.value);
            let help = schema::unknown_word(&name.value, &known);
            context.error(&name.span, message, help);
        }
    }
}

fn list_files(context: &Context<'_>, draft: &Draft) {
    let mut seen = BTreeMap::new();
    for file in draft.lists.iter().filter_map(|list| list.file()) {
        let line = context.place(&file.span).line;
        if let Some(first) = seen.insert(&file.value, line) {
            context.warning(
                &file.span,
                format!("line {first} reads the same file"),
                "its prefixes would be on both lists; give each list a file of its own",
            );
        }
    }
}

/// The rules, as the proxy will compile them; once for each service, since services differ.
fn policies(context: &Context<'_>, draft: &Draft) {
    let specs: Vec<_> = draft.rules.iter().map(|rule| rule.spec.clone()).collect();
    // Errors name rules by their index, so with a rule left out they would name another.
    let rules: Vec<_> = specs.iter().flatten().cloned().collect();
    let complete: Vec<usize> = (0..specs.len())
        .filter(|index| specs[*index].is_some())
        .collect();
    for service in &draft.services {
        let (Some(name), Some(profile)) = (&service.name, &service.profile) else {
            continue;
        };
        let Some(profile) = draft.profile(&profile.value) else {
            continue;
        };
        let reverse_proxy = service
            .reverse_proxy
            .as_ref()
            .map(|target| target.value.clone());
        let tokens = draft.tokens(service);
        let tokens = tokens.as_ref();
        let spec = PolicySpec {
            service: name.value.clone(),
            profile,
            rule_set: service.rules.value,
            outlook: service.outlook.as_ref().map(|outlook| outlook.value),
            windows_logon: service
                .windows_logon
                .as_ref()
                .map_or_else(Default::default, |l| l.value),
            windows_logon_rate: service.windows_logon_rate,
            reverse_proxy: reverse_proxy.filter(|target| Template::parse(target).is_ok()),
            rules: rules.clone(),
            switched_off: service
                .switched_off
                .iter()
                .map(|name| name.value.clone())
                .collect(),
            applications: draft.applications.clone(),
            locations: draft.locations.clone(),
            claims: tokens.map_or_else(Vec::new, Tokens::claim_names),
            claims_any_case: tokens.is_some_and(|tokens| tokens.ignore_case),
            decide_at_token: tokens.is_some_and(|tokens| tokens.decide),
        };
        let place = |error: &RuleError| match error.rule.and_then(|index| complete.get(index)) {
            Some(index) => {
                let rule = &draft.rules[*index];
                rule.fields
                    .span(&error.field, &error.message)
                    .unwrap_or_else(|| rule.span.clone())
            }
            None => draft
                .places
                .span(&error.field, &error.message)
                .unwrap_or_else(|| service.field_span(&error.field, &error.message)),
        };
        match Policy::compile(&spec) {
            // Until the errors are gone, warnings may come from them.
            Ok(_) if context.has_errors() => {}
            Ok(policy) => {
                for warning in policy.warnings() {
                    let span: Span = place(warning);
                    if warning.rule.is_some() || !context.has_said_at(&span) {
                        let (message, help) = words(warning);
                        context.warning(&span, message, help);
                    }
                }
            }
            Err(errors) => {
                for error in &errors {
                    let span: Span = place(error);
                    if !context.has_error_at(&span) {
                        let (message, help) = words(error);
                        context.error(&span, message, help);
                    }
                }
            }
        }
    }
}

/// What is wrong, and what to do about it.
fn words(error: &RuleError) -> (String, String) {
    advice(&error.message, error.suggestion.as_deref())
}

/// A message that says what is wrong and, behind a semicolon, what to do about it; with the word that was
/// probably meant.
pub(crate) fn advice(message: &str, suggestion: Option<&str>) -> (String, String) {
    // A semicolon between parentheses does not end the sentence.
    let end = message.match_indices("; ").map(|(at, _)| at).find(|at| {
        let before = &message[..*at];
        before.matches('(').count() == before.matches(')').count()
    });
    let (wrong, help) = end.map_or((message, ""), |at| (&message[..at], &message[at + 2..]));
    let help = match suggestion {
        Some(word) if !message.contains(&format!("`{word}`")) => {
            format!("did you mean `{word}`? {help}")
                .trim_end()
                .to_owned()
        }
        _ => help.to_owned(),
    };
    (wrong.to_owned(), help)
}

fn span_of<T>(setting: Option<&At<T>>) -> Option<Span> {
    setting.map(|setting| setting.span.clone())
}

impl DraftService {
    /// Where a field of the policy stands.
    fn field_span(&self, field: &str, message: &str) -> Span {
        let span = match field.split('.').next().unwrap_or(field) {
            "profile" => span_of(self.profile.as_ref()),
            "reverse_proxy" => span_of(self.reverse_proxy.as_ref()),
            "switched_off" => {
                let named = |item: &&At<String>| message.contains(&format!("`{}`", item.value));
                let item = self
                    .switched_off
                    .iter()
                    .find(named)
                    .or(self.switched_off.first());
                item.map(|item| item.span.clone())
            }
            // Without a setting of its own, the rule set's default holds.
            "outlook" => span_of(self.outlook.as_ref()).or(Some(self.rules.span.clone())),
            "windows_logon" => span_of(self.windows_logon.as_ref()),
            "claims" => (self.tokens.as_ref()).and_then(|tokens| tokens.claim_span(message)),
            "rule_set" | "rules" => Some(self.rules.span.clone()),
            _ => None,
        };
        span.unwrap_or_else(|| self.span.clone())
    }
}

impl DraftUpstream {
    /// Whether everything that it needs could be read.
    pub(crate) fn is_complete(&self) -> bool {
        self.kind.is_some() && !self.servers.is_empty()
    }
}
