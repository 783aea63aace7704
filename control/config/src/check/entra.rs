//! The tenant: its credentials, its groups, and who needs which part of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::SystemTime;

use time::OffsetDateTime;
use weir_entra::credential::{Credential, CredentialError};
use weir_entra::model::{Id, Part};

use super::advice;
use crate::certificate::{self, Named, SOON};
use crate::entra::CredentialSource;
use crate::read::{Draft, DraftCredential, DraftEntra};
use crate::reader::{Context, Span};
use crate::schema;

/// Whom an assertion is for that nobody gets: it shows that the key signs now.
const NOBODY: &str = "https://login.invalid/";

/// Checks what `[entra]` says against the files that it names and the rest of the configuration.
pub(super) fn check(context: &Context<'_>, draft: &Draft, now: SystemTime) {
    let Some(entra) = &draft.entra else { return };
    let now = OffsetDateTime::from(now);
    credentials(context, entra, now);
    ages(context, entra);
    groups(context, draft, entra);
    asked_by_rules(context, draft, entra);
    if let (Some(tenant), Some(application)) = (&entra.tenant, &entra.application)
        && tenant.value == application.value
    {
        context.error(
            &application.span,
            "the application has the id of the tenant",
            "the portal shows both on the application's page: write its \"Application (client) ID\"",
        );
    }
    if let Some(ca) = &entra.ca {
        let place = context.place(&ca.span);
        let named = Named {
            path: &ca.value,
            place: &place,
        };
        let mut found = Vec::new();
        certificate::read_authorities(named, &mut found);
        for wrong in found {
            context.push(wrong);
        }
    }
}

fn credentials(context: &Context<'_>, entra: &DraftEntra, now: OffsetDateTime) {
    let client = entra.application.as_ref().map_or(Id::nil(), |id| id.value);
    let mut loaded = Vec::new();
    for (draft, is_next) in [(&entra.credential, false), (&entra.next_credential, true)] {
        let Some(draft) = draft else { continue };
        exposed(context, draft);
        match draft.source.load() {
            Err(error) => unusable(context, draft, &error),
            Ok(credential) => {
                dates(context, draft, &credential, client, now, is_next);
                loaded.push(credential);
            }
        }
    }
    if let (Some(present), Some(next)) = (&entra.credential, &entra.next_credential) {
        let same = match loaded.as_slice() {
            [present, next] => present.is_same(next),
            _ => present.source == next.source,
        };
        if same {
            context.error(
                &next.span,
                "the next credential is the present one",
                "name the files of a new one, which is registered with the application beside the present; \
                 when it has proved itself, it takes the place of `[entra.credential]`",
            );
        }
    }
}

/// Says of the files that others may read, that they may.
fn exposed(context: &Context<'_>, draft: &DraftCredential) {
    let (path, span, what) = match &draft.source {
        CredentialSource::Certificate { key, .. } => (key, &draft.key_span, "key"),
        CredentialSource::Secret { file, .. } => (file, &draft.span, "secret"),
        CredentialSource::ManagedIdentity(_) => return,
    };
    let place = context.place(span);
    let named = Named {
        path,
        place: &place,
    };
    if let Some(warning) = certificate::exposed(named, what) {
        context.push(warning);
    }
}

/// Says why a credential cannot be used, at the file that is to blame.
fn unusable(context: &Context<'_>, draft: &DraftCredential, error: &CredentialError) {
    let is_of_key = |path: &str| match &draft.source {
        CredentialSource::Certificate { key, certificate } => {
            key != certificate && key == Path::new(path)
        }
        _ => false,
    };
    if let CredentialError::File { path, why } = error {
        let (span, what) = match &draft.source {
            _ if is_of_key(path) => (&draft.key_span, "key"),
            CredentialSource::Secret { .. } => (&draft.span, "secret"),
            _ => (&draft.span, "certificate"),
        };
        let message = format!("cannot read the {what} `{path}`: {why}");
        if std::fs::symlink_metadata(path).is_ok() {
            let help = "weir-control runs as root; run `weir check` so too";
            return context.error(span, message, help);
        }
        // `weir entra disconnect` destroys it, and all else goes on without.
        let help = "nothing is collected until it is there; relative paths start at the configuration file";
        return context.warning(span, message, help);
    }
    let span = match error {
        CredentialError::NoKey
        | CredentialError::Encrypted
        | CredentialError::NotRsa(_)
        | CredentialError::Mismatch => &draft.key_span,
        _ => &draft.span,
    };
    let (message, help) = advice(&error.to_string(), None);
    context.error(span, message, help);
}

/// Says until when a credential can be used. One that is over keeps nothing else from being put in force; one that is
/// to come and is over already is a mistake.
fn dates(
    context: &Context<'_>,
    draft: &DraftCredential,
    credential: &Credential,
    client: Id,
    now: OffsetDateTime,
    is_next: bool,
) {
    let span = &draft.span;
    let say = |message: String, help: &str| {
        if is_next {
            context.error(span, message, help);
        } else {
            context.warning(span, message, help);
        }
    };
    if let Credential::Secret(secret) = credential {
        if secret.looks_like_an_id() {
            context.warning(
                span,
                "this looks like the id of a secret, not like the secret",
                "the portal shows the value beside the id, once, when the secret is made: write that into the file",
            );
        }
        context.note(
            span,
            "the tenant is signed in to with a secret",
            "a certificate never leaves this machine: register one with the application, and name it as \
             `[entra.next_credential]`",
        );
    }
    let kind = credential.kind();
    if let Credential::Certificate(certificate) = credential
        && let Err(CredentialError::NotYet(from)) = certificate.assertion(client, NOBODY, now)
    {
        let help = "check this machine's clock, or wait with it";
        return say(
            format!("this {kind} is valid from {} on, not yet", from.date()),
            help,
        );
    }
    let Some(end) = credential.expires() else {
        return;
    };
    let help = "register a new one with the application, and name it as `[entra.next_credential]`";
    if end <= now {
        say(
            format!("this {kind} expired on {}: Entra refuses it", end.date()),
            help,
        );
    } else if end < now + SOON {
        context.warning(span, format!("this {kind} expires on {}", end.date()), help);
    }
}

/// Parts that are read so seldom that what they tell is too old most of the time.
fn ages(context: &Context<'_>, entra: &DraftEntra) {
    for (part, every) in &entra.every {
        let name = part.name();
        if !entra.parts.contains(part) {
            context.warning(
                &every.span,
                format!("`{name}` is not read at all"),
                format!("add `\"{name}\"` to `parts`, or remove this line"),
            );
        } else if every.value >= entra.max_age {
            context.warning(
                &every.span,
                format!(
                    "what `{name}` tells is too old before it is read again: nobody goes by it after `max_age`"
                ),
                "read it more often, or make `max_age` a few times as long",
            );
        }
    }
}

fn groups(context: &Context<'_>, draft: &Draft, entra: &DraftEntra) {
    let Some(first) = entra.groups.first() else {
        return;
    };
    let mut seen = BTreeMap::new();
    for bound in &entra.groups {
        let group = &bound.group;
        let line = context.place(&group.span).line;
        if let Some(before) = seen.insert(group.value.to_lowercase(), line) {
            context.error(
                &group.span,
                format!(
                    "group `{}` is bound already, on line {before}",
                    group.value
                ),
                "each group is bound once; of several groups of a person the one counts that takes most",
            );
        }
    }
    let grants = draft.rules.iter().filter_map(|rule| rule.spec.as_ref());
    let any = grants.into_iter().any(|rule| rule.then.grant.is_some());
    // A rule that could not be read may be the one.
    if !any && draft.rules.iter().all(|rule| rule.spec.is_some()) {
        context.warning(
            &first.group.span,
            "no rule grants anything, so this binding changes nothing",
            "a group bounds what rules grant, such as `then = { decision = \"pass\", grant = { class = \
             \"managed\", for = \"30m\" } }`; to keep its members out, write a rule that blocks: `when = { group = \
             \"...\" }`",
        );
    }
    let missing = missing(entra, &[Part::Users, Part::Groups]);
    if !missing.is_empty() {
        context.error(
            &first.group.span,
            "nobody would know who is in this group",
            format!(
                "add {} to `parts`: what a group takes away cannot be left to chance",
                schema::quoted(&missing)
            ),
        );
    }
}

/// What rules and lists ask of the tenant, and nobody reads.
fn asked_by_rules(context: &Context<'_>, draft: &Draft, entra: &DraftEntra) {
    let kinds: [(&str, &[Part]); 2] = [
        ("group", &[Part::Users, Part::Groups]),
        ("role", &[Part::Users, Part::Groups, Part::Roles]),
    ];
    for (key, needs) in kinds {
        let missing = missing(entra, needs);
        let mut asked = draft
            .rules
            .iter()
            .flat_map(|rule| rule.fields.values_of(key));
        if let (Some(asked), false) = (asked.next(), missing.is_empty()) {
            let parts: Span = entra.parts_span.clone();
            let line = context.place(&asked.span).line;
            context.warning(
                &parts,
                format!("the rule on line {line} asks for a {key}, and the tenant's are not all read"),
                format!(
                    "only what tokens say of it counts then, and what they leave out is unknown: add {}",
                    schema::quoted(&missing)
                ),
            );
        }
    }
}

fn missing(entra: &DraftEntra, needs: &[Part]) -> Vec<&'static str> {
    let missing = needs.iter().filter(|part| !entra.parts.contains(part));
    missing.map(|part| part.name()).collect()
}
