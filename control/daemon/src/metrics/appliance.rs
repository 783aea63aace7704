//! What is in force, and how it came to be; lists and certificates.

use weir_api::Status;

use super::families::Families;
use super::seconds;
use crate::generation::Generation;

pub(super) fn tell(families: &mut Families, status: &Status, running: &Generation) {
    build(families, status);
    config(families, status);
    reloads(families, status);
    lists(families, status);
    certificates(families, running);
}

fn build(families: &mut Families, status: &Status) {
    let mut build = families.gauge("weir_build_info", "Version of weir-control.");
    build.set(&[("version", &status.version)], true);
    let mut generation = families.gauge(
        "weir_generation",
        "Number of the generation in force in the kernel plane.",
    );
    generation.set(&[], status.generation);
    let mut listeners = families.gauge(
        "weir_listeners",
        "Listening sockets of services that are held.",
    );
    listeners.set(&[], status.listeners.held);
}

fn config(families: &mut Families, status: &Status) {
    let config = &status.config;
    let mut hash = families.gauge(
        "weir_config_info",
        "SHA-256 of the configuration file in force.",
    );
    hash.set(&[("sha256", &config.digest)], true);
    let mut changed = families.gauge(
        "weir_config_changed_on_disk",
        "The configuration file on disk is not the one in force (1).",
    );
    changed.set(&[], config.changed_on_disk);
    let mut fallback = families.gauge(
        "weir_config_fallback",
        "weir-control started with the copy of the last good configuration, because the file is broken (1).",
    );
    fallback.set(&[], config.fallback.is_some());
    if let Some(copied) = config.copied {
        let mut copy = families.gauge(
            "weir_last_good_generation",
            "The generation of which there is a copy to start with when the files are broken.",
        );
        copy.set(&[], copied);
    }
}

fn reloads(families: &mut Families, status: &Status) {
    let reloads = &status.reloads;
    let mut successful = families.gauge(
        "weir_config_last_reload_successful",
        "The last attempt to put the configuration file in force succeeded, and was not taken back (1).",
    );
    successful.set(&[], reloads.last_successful);
    if let Some(time) = reloads.last_success.as_deref().and_then(seconds) {
        let mut last = families.gauge(
            "weir_config_last_reload_success_timestamp_seconds",
            "When the configuration file was put in force the last time.",
        );
        last.set(&[], time);
    }
    let mut attempts = families.counter(
        "weir_config_reloads_total",
        "Reloads since weir-control started, by how they went.",
    );
    attempts.add(&[("result", "done")], reloads.successes);
    attempts.add(&[("result", "refused")], reloads.failures);
    attempts.add(&[("result", "rolled-back")], reloads.rollbacks);
    let mut pending = families.gauge(
        "weir_config_unconfirmed",
        "A reload is in force that rolls itself back unless it is confirmed (1).",
    );
    pending.set(&[], reloads.pending.is_some());
}

fn lists(families: &mut Families, status: &Status) {
    for list in &status.lists {
        let name = ("list", list.name.as_str());
        let mut entries = families.gauge("weir_list_entries", "Prefixes of a list in force.");
        entries.set(&[name, ("class", list.class.name())], list.entries);
        if let Some(time) = seconds(&list.loaded) {
            let mut loaded = families.gauge(
                "weir_list_loaded_timestamp_seconds",
                "When the entries in force of a list were read.",
            );
            loaded.set(&[name], time);
        }
        let mut refused = families.gauge(
            "weir_list_refused",
            "A newer state of a list's file is not in force, because something is wrong with it (1).",
        );
        refused.set(&[name], list.refused.is_some());
        let Some(remote) = &list.remote else { continue };
        if let Some(time) = remote.checked.as_deref().and_then(seconds) {
            let mut fetched = families.gauge(
                "weir_list_last_success_timestamp_seconds",
                "When a list was fetched successfully the last time.",
            );
            fetched.set(&[name], time);
        }
        let mut failing = families.gauge(
            "weir_list_failing",
            "A list could not be fetched the last time (1).",
        );
        failing.set(&[name], remote.error.is_some());
        let mut held = families.gauge(
            "weir_list_held",
            "A new state of a list waits for an approval (1).",
        );
        held.set(&[name], remote.held.is_some());
    }
}

fn certificates(families: &mut Families, running: &Generation) {
    let candidate = &running.candidate;
    let mut ends = families.gauge(
        "weir_tls_certificate_not_after_timestamp_seconds",
        "When a certificate that is shown to clients ends; `certificate` is its place in the service.",
    );
    for service in &candidate.config().services {
        let chains = candidate.chains(&service.name).enumerate();
        for (place, chain) in chains {
            if let Some((name, end)) = weir_config::end_of(chain) {
                let place = (place + 1).to_string();
                let labels = [
                    ("service", service.name.as_str()),
                    ("certificate", &place),
                    ("name", &name),
                ];
                ends.set(&labels, end);
            }
        }
    }
}
