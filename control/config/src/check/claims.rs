//! Rules that ask for more than the service's sign-ins tell.

use weir_policy::{Flow, Profile, ProfileChoice, RuleSpec, Values, WhenSpec};

use crate::read::{Draft, DraftRule, DraftService};
use crate::reader::Context;

/// Warns of rules on tokens that act where no token passes by, and of relying parties that no request names.
pub(super) fn check(context: &Context<'_>, draft: &Draft) {
    for rule in &draft.rules {
        let Some(spec) = &rule.spec else { continue };
        let services: Vec<Judged<'_>> = draft
            .services
            .iter()
            .filter(|service| is_for(&spec.when, service))
            .filter_map(|service| Judged::of(draft, service))
            .collect();
        untold(context, rule, spec, &services);
        named_by_path(context, draft, rule, &services);
    }
}

/// A service that a rule is for, as far as it could be read.
struct Judged<'a> {
    service: &'a DraftService,
    choice: ProfileChoice,
    profile: Profile,
}

impl<'a> Judged<'a> {
    fn of(draft: &Draft, service: &'a DraftService) -> Option<Self> {
        let choice = draft.profile(&service.profile.as_ref()?.value)?;
        let profile = Profile::compile(&choice).ok()?;
        Some(Self {
            service,
            choice,
            profile,
        })
    }

    fn decides(&self) -> bool {
        let tokens = self.service.tokens.as_ref();
        tokens.is_some_and(|draft| draft.tokens.decide)
    }

    /// Whether applications get tokens there by OAuth. At a relying party's reply URLs nobody does.
    fn knows_oauth(&self) -> bool {
        let flows = [Flow::OauthBrowser, Flow::OauthToken];
        !self.profile.replies() && flows.into_iter().any(|flow| self.profile.knows(flow))
    }

    /// Whether the path of a request names its relying party, and nothing else does.
    fn names_parties_by_path(&self) -> bool {
        match &self.choice {
            ProfileChoice::Preset(name) => name == OKTA,
            ProfileChoice::Own(own) => own.like.as_deref() == Some(OKTA) && own.rows.is_empty(),
        }
    }
}

const OKTA: &str = "okta";
const MICROSOFT_365: &str = "urn:federation:MicrosoftOnline";
const BY_PATH: &str = "there the path names the application: write `/app/`, its name and its key, in lower case, \
                       such as `/app/office365/0oa1b2c3`, as the address in Okta's sign-on settings has it";

fn is_for(when: &WhenSpec, service: &DraftService) -> bool {
    let name = service.name.as_ref().map(|name| name.value.as_str());
    match &when.service {
        Values::Absent => true,
        Values::One(one) => Some(one.as_str()) == name,
        Values::Many(many) => many.iter().any(|one| Some(one.as_str()) == name),
    }
}

/// Tokens of code flows, and of applications that sign in by themselves, tell nothing here: so a rule that
/// restricts matches there.
fn untold(context: &Context<'_>, rule: &DraftRule, spec: &RuleSpec, services: &[Judged<'_>]) {
    let narrow = [
        &spec.when.flow,
        &spec.when.relying_party,
        &spec.when.application,
    ];
    let restricts = ["block", "redirect", "step-up"].contains(&&*spec.then.decision);
    let reaches = |judged: &Judged<'_>| judged.decides() && judged.knows_oauth();
    if !restricts
        || narrow.into_iter().any(|values| *values != Values::Absent)
        || !services.iter().any(reaches)
    {
        return;
    }
    let asked = asked_of_tokens(&spec.when, "when");
    let field = match asked {
        Some(field) => field,
        None if spec.then.decision == "step-up" => "then.decision".to_owned(),
        None => return,
    };
    let span = rule.fields.span(&field, "");
    context.warning(
        &span.unwrap_or_else(|| rule.span.clone()),
        "this also blocks sign-ins whose token does not pass by here: code flows of OpenID Connect, and \
         applications that sign in by themselves (`client_credentials`)",
        "what only a token tells is unknown there, and unknown is enough for a rule that restricts; add \
         `flow = [\"passive\", \"active\"]` to `when`, or name a relying party, unless that is meant",
    );
}

/// The first field that only a token answers.
fn asked_of_tokens(when: &WhenSpec, at: &str) -> Option<String> {
    let here = [
        ("user", when.user != Values::Absent),
        ("group", when.group != Values::Absent),
        ("role", when.role != Values::Absent),
        ("claim", !when.claim.is_empty()),
        ("device", when.device != Values::Absent),
        ("method", when.method != Values::Absent),
        ("authenticated_within", when.authenticated_within.is_some()),
        ("inside_network", when.inside_network.is_some()),
    ];
    let found = here.into_iter().find(|(_, is_asked)| *is_asked);
    let inner = || asked_of_tokens(when.not.as_deref()?, &format!("{at}.not"));
    found.map(|(key, _)| format!("{at}.{key}")).or_else(inner)
}

/// Under Okta no request names the realm of Microsoft 365: its path names the application.
fn named_by_path(context: &Context<'_>, draft: &Draft, rule: &DraftRule, services: &[Judged<'_>]) {
    if services.is_empty() || !services.iter().all(Judged::names_parties_by_path) {
        return;
    }
    let parties = rule.fields.values_of("relying_party");
    for party in parties.filter(|party| party.value == MICROSOFT_365) {
        let message = format!("no sign-in at Okta names `{MICROSOFT_365}`, so this never matches");
        context.warning(&party.span, message, BY_PATH);
    }
    for application in rule.fields.values_of("application") {
        let Some(known) = draft.applications.get(&application.value) else {
            continue;
        };
        if known.hosts.is_empty() && *known.relying_parties == [MICROSOFT_365] {
            let message = format!(
                "no sign-in at Okta names `{MICROSOFT_365}`, so application `{}` never matches",
                application.value
            );
            context.warning(&application.span, message, BY_PATH);
        }
    }
}
