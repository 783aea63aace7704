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
//! 3. [`Policy::decide`] (or [`Policy::explain`], the same evaluation, with every rule it tried).
//! 4. [`answer::block`] or [`answer::redirect`] when Weir itself answers, [`answer::unavailable`] when
//!    nobody else does.
//!
//! It must never let through what it does not understand: a path that can be read in two ways is
//! refused, a fact that cannot be read is *unknown*, unknown never satisfies a rule that passes, and
//! where no rule matches the request is blocked.

pub mod answer;
mod body;
mod client;
mod directory;
mod facts;
mod head;
pub mod headers;
mod kinds;
mod path;
mod policy;
mod profile;
mod rules;
mod source;
mod spec;

pub use directory::{Directory, MAX_USERS, SignIn, Uncounted, UserError, Users};
pub use facts::{Facts, Said, Soap, TrustVersion};
pub use head::Head;
pub use kinds::{Client, DecisionKind, Flow};
pub use path::{NormalPath, PathError};
pub use policy::Policy;
pub use profile::{BodyNeed, Recognised, Refusal, upstream_path};
pub use rules::{Decision, RuleError, Template, TemplateError, Tried};
pub use source::{Classified, Classify, Source};
pub use spec::*;
