//! What is asked, who asks, and what is done about it: pure, without I/O, clock or globals.
//!
//! In flow the bytes of a request ([`Head`], body), the address it came from, and ways to look an
//! address up in the lists ([`Classify`]) and a user in the directory ([`Directory`]). Out come [`Facts`], a [`Decision`] with the rule that
//! made it, the words of the answer ([`answer`]) and what headers may travel on ([`headers`]).
//!
//! One request takes these steps, and nothing else:
//!
//! 1. [`Policy::recognise`]: what kind of request is it, and how much of its body must be read?
//! 2. [`Policy::facts`]: everything that rules may ask about, from head, body and source.
//! 3. [`Policy::judge`] (or [`Policy::explain`], the same evaluation, with every rule it tried), which also
//!    writes down what the directory said; [`Policy::decide`] judges again what was recorded. Where the token
//!    has the last word ([`Ruling::AtToken`]), it is asked again with what the token told.
//! 4. [`answer::block`] or [`answer::redirect`] when Weir itself answers, [`answer::unavailable`] when
//!    nobody else does.
//!
//! It must never let through what it does not understand: a path that can be read in two ways is
//! refused, a fact that cannot be read is *unknown*, unknown never satisfies a rule that passes, and
//! where no rule matches the request is blocked.

pub mod answer;
mod basic;
mod body;
mod client;
mod countries;
mod country;
mod directory;
mod facts;
mod head;
pub mod headers;
mod kinds;
mod origins;
mod path;
mod policy;
mod profile;
mod resident;
mod rules;
mod soap;
mod source;
mod spec;
mod suppose;
mod token;
mod words;

pub use body::context::{Context, NotAsked, ask_for_context};
pub use body::saml::Binding;
pub use countries::{Countries, CountryError, MAX_NETWORKS};
pub use country::Country;
pub use directory::{Directory, MAX_USERS, SignIn, Uncounted, UserError, Users};
pub use facts::{Facts, Said};
pub use head::Head;
pub use kinds::{Client, DecisionKind, Flow};
pub use origins::{ClaimTypes, Origin};
pub use path::{NormalPath, PathError};
pub use policy::Policy;
pub use profile::{
    BodyNeed, MfaSpec, PRESETS, Places, Profile, ProfileChoice, ProfileError, ProfileSpec, Reads,
    Recognised, Refusal, RowSpec,
};
pub use resident::{
    Answered, Answers, Heard, NameDoubts, Named, Resident, Resolved, Sought, Unclear,
    UserAttribute, Wanted, Word,
};
pub use rules::{
    BUILT_IN_CLAIMS, Decision, Grant, Lean, RuleError, Ruling, Template, TemplateError, Tried,
};
pub use soap::{Envelope, Soap, TrustVersion};
pub use source::{Classified, Classify, Source};
pub use spec::*;
pub use suppose::{Described, Target};
pub use token::{Method, TokenFacts, Told};
pub use weir_directory::Who;
