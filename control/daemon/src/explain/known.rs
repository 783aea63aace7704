//! The directory as one policy asks it: the users of the file and the tenant in force, by the same code as in the
//! proxy. Names in the rules that the tenant takes for several, or does not know, are told here, too.

use std::sync::Arc;

use weir_policy::{Policy, Resident, Resolved, RuleError, Users};

use crate::Error;
use crate::generation::Candidate;
use crate::tenant::InForce;

/// See the module. Whoever judges many times makes it once.
#[derive(Clone)]
pub(crate) struct Known {
    users: Option<Arc<Users>>,
    tenant: Option<(Arc<InForce>, Resolved)>,
}

impl Known {
    /// What a candidate's users and the tenant in force are to a policy.
    pub(crate) fn new(
        candidate: &Candidate,
        in_force: Option<&Arc<InForce>>,
        policy: &Policy,
    ) -> Self {
        Self {
            users: candidate.users.clone(),
            tenant: in_force.map(|it| (Arc::clone(it), policy.resolve(&it.snapshot))),
        }
    }

    /// What may be said now. It counts nothing.
    pub(crate) fn now(&self) -> Resident<'_> {
        let tenant = self.tenant.as_ref();
        let tenant = tenant.map(|(in_force, resolved)| (in_force.view(), resolved));
        Resident::new(self.users.as_deref(), tenant)
    }
}

/// Holds the groups and roles that a candidate's rules name against the tenant in force; gives what is probably not
/// meant. Nothing is said of another tenant than the candidate's. May block for a moment.
pub(crate) fn names(
    candidate: &Candidate,
    in_force: Option<&Arc<InForce>>,
) -> Result<Vec<String>, Error> {
    let config = candidate.config();
    let tenant = config.entra.as_ref().map(|entra| entra.tenant);
    let Some(in_force) = in_force.filter(|it| Some(it.snapshot.head().tenant) == tenant) else {
        return Ok(Vec::new());
    };
    let mut warnings: Vec<String> = Vec::new();
    for (service, policy) in config.services.iter().zip(&*candidate.policies) {
        let say = |error: &RuleError| {
            let rule = error.rule.and_then(|rule| config.rules.get(rule));
            let rule = rule.map(|rule| rule.name.as_str()).unwrap_or_default();
            format!("rule `{rule}`, {error}")
        };
        let doubts = policy.check_names(&in_force.snapshot);
        if !doubts.errors.is_empty() {
            let errors: Vec<String> = doubts.errors.iter().map(say).collect();
            return Err(Error::Names {
                service: service.name.clone(),
                why: errors.join("; "),
            });
        }
        for warning in doubts.warnings.iter().map(say) {
            // A rule may be for several services.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
        }
    }
    Ok(warnings)
}
