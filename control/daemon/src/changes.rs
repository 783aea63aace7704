//! What a configuration would change: the one in force and another one, side by side. Pure.
//!
//! In: two candidates. Out: what a person wants to know before a reload, by the words of the configuration
//! file. It tells of certificates by their names, ends and fingerprints, and of nothing else that is secret.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use weir_api::{Altered, ConfigChanges, ListChange, ServiceChange};
use weir_config::{Config, Contents, ListSource, Service, words_of};
use weir_policy::RuleSpec;

use crate::generation::{Candidate, Generation, USERS};

/// What `new` changes in what is in force.
pub fn between(running: &Generation, new: &Candidate) -> ConfigChanges {
    let old = &running.candidate;
    let addresses = |of: &Candidate| BTreeSet::from_iter(of.addresses());
    let (before, after) = (addresses(old), addresses(new));
    let mut changes = ConfigChanges {
        file: old.loaded.digest != new.loaded.digest,
        services: services(old, new),
        listeners_added: after.difference(&before).copied().collect(),
        listeners_removed: before.difference(&after).copied().collect(),
        lists: lists(old, new),
        sections: sections(old.config(), new.config()),
        ..ConfigChanges::default()
    };
    rules(&old.config().rules, &new.config().rules, &mut changes);
    changes
}

/// What becomes of each name that is in one of two or differs: its place in the old one and in the new one.
fn paired<'a, T>(
    old: &'a [T],
    new: &'a [T],
    name: impl Fn(&'a T) -> &'a str,
) -> Vec<(&'a str, Option<&'a T>, Option<&'a T>)> {
    let old: BTreeMap<_, _> = old.iter().map(|one| (name(one), one)).collect();
    let by_name: BTreeMap<_, _> = new.iter().map(|one| (name(one), one)).collect();
    let names = new.iter().map(&name);
    let gone = old.keys().copied().filter(|one| !by_name.contains_key(one));
    names
        .chain(gone)
        .map(|one| (one, old.get(one).copied(), by_name.get(one).copied()))
        .collect()
}

fn services(old: &Candidate, new: &Candidate) -> Vec<ServiceChange> {
    let pairs = paired(&old.config().services, &new.config().services, |one| {
        one.name.as_str()
    });
    let changes = pairs.into_iter().filter_map(|(name, before, after)| {
        let (before_shown, after_shown) = (certificates(old, name), certificates(new, name));
        let only_in = |here: &[String], there: &[String]| -> Vec<String> {
            let missing = here.iter().filter(|one| !there.contains(one));
            missing.cloned().collect()
        };
        let change = ServiceChange {
            name: name.to_owned(),
            what: altered(before.is_some(), after.is_some()),
            keys: match (before, after) {
                (Some(before), Some(after)) => service_keys(before, after),
                _ => Vec::new(),
            },
            certificates_removed: only_in(&before_shown, &after_shown),
            certificates_added: only_in(&after_shown, &before_shown),
        };
        let differs = change.what != Altered::Changed
            || !change.keys.is_empty()
            || !change.certificates_removed.is_empty()
            || !change.certificates_added.is_empty();
        differs.then_some(change)
    });
    changes.collect()
}

fn altered(before: bool, after: bool) -> Altered {
    match (before, after) {
        (false, _) => Altered::Added,
        (true, false) => Altered::Removed,
        (true, true) => Altered::Changed,
    }
}

/// The certificates that a service shows, in words.
fn certificates(of: &Candidate, service: &str) -> Vec<String> {
    of.chains(service).map(words_of).collect()
}

/// The keys by which two services of one name differ.
fn service_keys(old: &Service, new: &Service) -> Vec<String> {
    // So that a key that comes to be is not forgotten here.
    let Service {
        name: _,
        hosts,
        addresses,
        ports,
        topology,
        servers,
        profile,
        rules,
        managed,
        proxy_down,
        observe,
        accept_intranet,
        certificates,
        reverse_proxy,
        tunnel,
        outlook,
        windows_logon,
        windows_logon_rate,
        http1_only,
        switched_off,
        upstream,
        tokens,
    } = old;
    different([
        ("hosts", *hosts != new.hosts),
        ("addresses", *addresses != new.addresses),
        ("ports", *ports != new.ports),
        ("topology", *topology != new.topology),
        ("servers", *servers != new.servers),
        ("profile", *profile != new.profile),
        ("rules", *rules != new.rules),
        ("managed", *managed != new.managed),
        ("proxy_down", *proxy_down != new.proxy_down),
        ("observe", *observe != new.observe),
        ("accept_intranet", *accept_intranet != new.accept_intranet),
        ("certificate", *certificates != new.certificates),
        ("reverse_proxy", *reverse_proxy != new.reverse_proxy),
        ("tunnel", *tunnel != new.tunnel),
        ("outlook", *outlook != new.outlook),
        ("windows_logon", *windows_logon != new.windows_logon),
        (
            "windows_logon_rate",
            *windows_logon_rate != new.windows_logon_rate,
        ),
        ("http1_only", *http1_only != new.http1_only),
        ("switched_off", *switched_off != new.switched_off),
        ("upstream", *upstream != new.upstream),
        ("tokens", *tokens != new.tokens),
    ])
}

fn different<const N: usize>(keys: [(&str, bool); N]) -> Vec<String> {
    let differ = keys.into_iter().filter(|(_, differs)| *differs);
    differ.map(|(key, _)| key.to_owned()).collect()
}

/// The sections of which nothing else is told.
fn sections(old: &Config, new: &Config) -> Vec<String> {
    let Config {
        file: _,
        appliance,
        kernel,
        services: _,
        lists: _,
        rules: _,
        applications,
        locations,
        directory,
        grants,
        outbound,
        entra,
        metrics,
        ..
    } = old;
    different([
        ("[appliance]", *appliance != new.appliance),
        ("[kernel]", *kernel != new.kernel),
        ("[application]", *applications != new.applications),
        ("[location]", *locations != new.locations),
        ("[directory]", *directory != new.directory),
        ("[grants]", *grants != new.grants),
        ("[outbound]", *outbound != new.outbound),
        ("[entra]", *entra != new.entra),
        ("[metrics]", *metrics != new.metrics),
    ])
}

fn lists(old: &Candidate, new: &Candidate) -> Vec<ListChange> {
    let sources = paired(&old.config().lists, &new.config().lists, |one| {
        one.name.as_str()
    });
    let lists = sources.into_iter().map(|(name, before, after)| {
        let (added, removed) = counted(old.prefixes(name), new.prefixes(name));
        ListChange {
            name: name.to_owned(),
            what: altered(before.is_some(), after.is_some()),
            added,
            removed,
            keys: match (before, after) {
                (Some(before), Some(after)) => list_keys(before, after),
                _ => Vec::new(),
            },
        }
    });
    let of = |candidate: &Candidate| candidate.users.clone();
    let users = match (of(old), of(new)) {
        (None, None) => None,
        (before, after) => {
            let lines = |users: &Option<std::sync::Arc<weir_policy::Users>>| {
                let text = users.as_ref().map_or("", |users| users.as_text());
                text.lines().map(str::to_owned).collect::<BTreeSet<_>>()
            };
            let (old, new) = (lines(&before), lines(&after));
            Some(ListChange {
                name: USERS.to_owned(),
                what: altered(before.is_some(), after.is_some()),
                added: new.difference(&old).count(),
                removed: old.difference(&new).count(),
                keys: Vec::new(),
            })
        }
    };
    let differs = |one: &ListChange| {
        one.what != Altered::Changed || one.added + one.removed > 0 || !one.keys.is_empty()
    };
    lists.chain(users).filter(differs).collect()
}

/// How many prefixes are only in the second, and only in the first.
fn counted(old: &[IpNet], new: &[IpNet]) -> (usize, usize) {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (old.iter().collect(), new.iter().collect());
    (new.difference(&old).count(), old.difference(&new).count())
}

fn list_keys(old: &ListSource, new: &ListSource) -> Vec<String> {
    let ListSource {
        name: _,
        class,
        scope,
        cut,
        contents,
    } = old;
    let elsewhere = match (contents, &new.contents) {
        // Its entries are told of, and its line does not matter.
        (Contents::Inline { .. }, Contents::Inline { .. }) => false,
        (old, new) => old != new,
    };
    different([
        ("class", *class != new.class),
        ("scope", *scope != new.scope),
        ("cut", *cut != new.cut),
        ("where its entries come from", elsewhere),
    ])
}

fn rules(old: &[RuleSpec], new: &[RuleSpec], changes: &mut ConfigChanges) {
    for (name, before, after) in paired(old, new, |one| one.name.as_str()) {
        let of_these = match (before, after) {
            (None, _) => &mut changes.rules_added,
            (Some(_), None) => &mut changes.rules_removed,
            (Some(before), Some(after)) if before != after => &mut changes.rules_changed,
            _ => continue,
        };
        of_these.push(name.to_owned());
    }
    let order = |rules: &[RuleSpec], others: &[RuleSpec]| -> Vec<String> {
        let stays = |one: &&RuleSpec| others.iter().any(|other| other.name == one.name);
        let rules = rules.iter().filter(stays);
        rules.map(|one| one.name.clone()).collect()
    };
    changes.rules_reordered = order(old, new) != order(new, old);
}
