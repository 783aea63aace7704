//! Services that stand in front of a relying party: its reply URLs are among the rows of their profile.

use weir_link::UpstreamKind;

use crate::config::Managed;
use crate::read::{Draft, DraftService};
use crate::reader::Context;
use crate::schema;

/// What cannot work, and what would not do what is meant.
pub(crate) fn check(context: &Context<'_>, draft: &Draft, service: &DraftService) {
    whose(context, draft, service);
    let profile = service.profile.as_ref();
    let Some(profile) = profile.filter(|_| draft.replies(service)) else {
        return;
    };
    match &service.tokens {
        None => context.error(
            &profile.span,
            format!(
                "`{}` has reply URLs, and nothing says whose tokens are posted there",
                profile.value
            ),
            "without that no token is believed; write, for the service whose users sign in here:\n\
             [service.tokens]\ntokens_of = \"sts\"\naudiences = [\"https://app.example/saml\"]",
        ),
        Some(tokens) if tokens.tokens.audiences.is_empty() => context.error(
            &tokens.span,
            "nothing says for whom the tokens must be that are posted here",
            "a token for any other application would do; name this one, as the sign-in server knows it: \
             `audiences = [\"https://app.example/saml\"]`",
        ),
        Some(_) => {}
    }
    let upstream = service.upstream.as_ref();
    if let Some(kind) = upstream.and_then(|upstream| upstream.kind.as_ref())
        && kind.value != UpstreamKind::Plain
    {
        context.error(
            &kind.span,
            "behind reply URLs stands an application, and no sign-in server",
            "write `kind = \"plain\"`",
        );
    }
    if let Some(managed) = &service.managed
        && managed.value == Managed::Forward
    {
        context.warning(
            &managed.span,
            "nobody looks at the tokens that managed devices post: they are forwarded in the kernel",
            "write `managed = \"proxy\"` to have them verified, too",
        );
    }
}

/// `tokens_of`
fn whose(context: &Context<'_>, draft: &Draft, service: &DraftService) {
    let tokens = service.tokens.as_ref();
    let Some(of) = tokens.and_then(|tokens| tokens.of.as_ref()) else {
        return;
    };
    let is_named = |other: &DraftService| {
        let name = other.name.as_ref();
        name.is_some_and(|name| name.value == of.value)
    };
    let Some(other) = draft.services.iter().find(|other| is_named(other)) else {
        let names = draft.services.iter().filter_map(|it| it.name.as_ref());
        let names: Vec<&str> = names.map(|name| name.value.as_str()).collect();
        let help = schema::unknown_word(&of.value, &names);
        context.error(
            &of.span,
            format!("there is no service `{}`", of.value),
            help,
        );
        return;
    };
    let (message, help) = match &other.tokens {
        _ if is_named(service) => (
            format!("service `{}` is this one", of.value),
            "name the service whose users sign in here",
        ),
        None => (
            format!(
                "tokens of service `{}` are not looked at, so nobody fetches its keys",
                of.value
            ),
            "write `[service.tokens]` below that service",
        ),
        Some(tokens) if tokens.of.is_some() => (
            format!(
                "service `{}` has no keys of its own, but names another service",
                of.value
            ),
            "name that one",
        ),
        Some(_) => return,
    };
    context.error(&of.span, message, help);
}
