//! Why a rule does what it does, in words.

use std::fmt::Write;

use weir_abi::Class;

use super::asked::{Asked, Known};
use super::condition::{Condition, Role, When, Written};
use super::groups;
use super::truth::Truth;
use crate::resident::{By, Several, Value};
use crate::{Answers, Client, Flow, Method, Said, Sought, Told, Unclear, Word};

impl When {
    /// The first condition that does not hold, else those that are unknown and `effect`, what that means
    /// for the rule; else all.
    pub(crate) fn why(&self, asked: &Asked<'_>, effect: &str) -> String {
        let facts = asked.facts;
        let mut held = Vec::new();
        let relayed = if facts.source.relayed {
            " behind a relay"
        } else {
            ""
        };
        let wide = |bits| match bits {
            u8::MAX => u16::MAX,
            bits => u16::from(bits),
        };
        for (wanted, bits, words, all) in [
            (
                wide(self.bits.classes),
                u16::from(asked.classes),
                format!("class is {}{relayed}", facts.class.name()),
                &Class::ALL.map(Class::name)[..],
            ),
            (
                self.bits.flows,
                asked.flow,
                format!("flow is {}", facts.flow.name()),
                &Flow::ALL.map(Flow::name)[..],
            ),
            (
                wide(self.bits.clients),
                u16::from(asked.client),
                format!("client is {}", facts.client.name()),
                &Client::ALL.map(Client::name)[..],
            ),
        ] {
            if wanted == u16::MAX {
                continue;
            }
            if wanted & bits == 0 {
                return format!("{words}, not {}", names(wanted, all));
            }
            held.push(words);
        }
        let mut unknown = Vec::new();
        for condition in &self.rest {
            let words = condition.words(asked);
            match condition.truth(asked) {
                Truth::TRUE => held.push(words),
                Truth::FALSE => return words,
                _ => unknown.push(words),
            }
        }
        if !unknown.is_empty() {
            let mut text = unknown.join("; ");
            let _ = write!(text, "{effect}");
            return text;
        }
        if held.is_empty() {
            "no conditions".to_owned()
        } else {
            held.join(", ")
        }
    }
}

impl Condition {
    fn words(&self, asked: &Asked<'_>) -> String {
        let facts = asked.facts;
        match self {
            Self::Service(true) => "the rule is for this service".to_owned(),
            Self::Service(false) => "the rule is for another service".to_owned(),
            Self::List(_) => match &facts.source.list {
                Some(list) => format!("list is {list}"),
                None => "the source is on no list".to_owned(),
            },
            Self::Source(_) => source(asked),
            Self::Host(_) => format!("host is {}", facts.host),
            Self::Application(_) if !facts.applications.is_empty() => {
                format!("application is {}", facts.applications.join(", "))
            }
            Self::Application(_) | Self::RelyingParty(_) => {
                said("relying party", &facts.relying_party)
            }
            Self::User { .. } => user(asked),
            Self::Group(wanted) => {
                let names: Vec<&str> = wanted.iter().map(|group| &*group.written).collect();
                let names = names.join(" or ");
                match self.truth(asked) {
                    Truth::TRUE => format!("the user is in group {names}"),
                    Truth::FALSE if asked.told().err() != Some(Truth::FALSE) => {
                        format!("the user is not in group {names}")
                    }
                    _ => {
                        let wanted = wanted.iter().map(|group| (&*group.written, group.number));
                        let doubt = doubt(asked, |answers| answers.groups.as_ref(), wanted);
                        claim(asked, groups::CLAIM) + &doubt
                    }
                }
            }
            Self::Role(wanted) => self.role(wanted, asked),
            Self::Attribute(wanted) => attribute(wanted, asked),
            Self::Claim(wanted) => claim(asked, &wanted.name),
            Self::Device(states) => {
                let words = states.iter().map(|state| claim(asked, state.claim()));
                words.collect::<Vec<_>>().join(", ")
            }
            Self::Method(_) => match asked.told() {
                Ok(told) if !told.methods.is_empty() => {
                    let names: Vec<&str> = told.methods.iter().map(Method::name).collect();
                    format!("method is {}", names.join(", "))
                }
                _ => claim(asked, "method"),
            },
            Self::AuthenticatedWithin(_) => match asked.told().map(|told| told.authenticated) {
                Ok(Some(at)) => format!("the user authenticated at {at}"),
                _ => claim(asked, "authenticated"),
            },
            Self::InsideNetwork(_) => claim(asked, "inside_network"),
            Self::Country(_) => match &facts.country {
                Some(country) => format!("country is {country}"),
                None => "nobody knows the country of the source".to_owned(),
            },
            Self::Location(all) => {
                let names: Vec<&str> = all.iter().map(|location| &*location.name).collect();
                let names = names.join(" or ");
                match self.truth(asked) {
                    Truth::TRUE => format!("{} in {names}", source(asked)),
                    Truth::FALSE => format!("{} not in {names}", source(asked)),
                    _ => format!("nobody knows whether the {} in {names}", source(asked)),
                }
            }
            Self::Time(schedule) => match facts.moment {
                Some(moment) => schedule.local_words(moment),
                None => "nobody says what time it is".to_owned(),
            },
            Self::Directory => if asked.has_directory() {
                "there is a directory of users"
            } else {
                "there is no directory of users"
            }
            .to_owned(),
            Self::KnownUser => {
                let words = said("user", &facts.user);
                match asked.is_known() {
                    Some(Word::Yes) => format!("{words}, whom the directory knows"),
                    Some(Word::No) => format!("{words}, whom the directory does not know"),
                    Some(Word::Unknown) => format!("{words}, and there is no directory of users"),
                    None => words,
                }
            }
            Self::Path(_) => format!("path is {}", facts.path),
            Self::Verified => match &facts.token {
                Told::Verified(_) => "the token was verified".to_owned(),
                _ => no_token(asked),
            },
            Self::Unbelieved => match &facts.token {
                Told::Unbelieved(why) => format!("the token is not believed: {why}"),
                _ => "no token is there that cannot be believed".to_owned(),
            },
            Self::Not(inner) => {
                let effect = ": unknown is enough for a rule that restricts";
                format!("not ({})", inner.why(asked, effect))
            }
        }
    }

    /// As the token says, unless the directory settles it.
    fn role(&self, wanted: &[Role], asked: &Asked<'_>) -> String {
        let by_token = asked.told().ok().map(|told| {
            let truths = wanted.iter().map(|role| role.claim.truth(told));
            Truth::any(truths)
        });
        let truth = self.truth(asked);
        let names: Vec<&str> = wanted.iter().map(|role| &*role.written).collect();
        let names = names.join(" or ");
        match truth {
            _ if by_token == Some(truth) && truth != Truth::UNKNOWN => claim(asked, "roles"),
            Truth::TRUE => format!("the user holds role {names}"),
            Truth::FALSE if asked.told().err() != Some(Truth::FALSE) => {
                format!("the user does not hold role {names}")
            }
            _ => {
                let wanted = wanted.iter().map(|role| (&*role.written, role.number));
                let doubt = doubt(asked, |answers| answers.roles.as_ref(), wanted);
                claim(asked, "roles") + &doubt
            }
        }
    }
}

/// What is written of a user.
fn attribute(wanted: &Written, asked: &Asked<'_>) -> String {
    let name = wanted.attribute.name();
    let Some(answers) = asked_directory(asked) else {
        return match asked.told() {
            Err(Truth::FALSE) => format!("nobody signs in by this flow: no {name}"),
            Err(_) => format!("nobody is named for certain, {}", no_token(asked)),
            Ok(_) => "the token names nobody for certain".to_owned(),
        };
    };
    match answers.attribute(wanted.number) {
        Value::Is(value) => format!("{name} is {value} in the directory"),
        Value::Nothing => format!("{name} is not written in the directory"),
        Value::Unknown if answers.id.is_none() => answers.user.words().to_owned(),
        Value::Unknown => format!("the directory does not say {name}"),
    }
}

/// What the directory says of the one who counts in the end.
fn asked_directory<'a>(asked: &Asked<'a>) -> Option<&'a Answers> {
    let by = match asked.token {
        Known::Verified(_) => By::Token,
        Known::Nothing | Known::Ahead => By::Request,
        Known::Unbelieved => return None,
    };
    asked.answers(by)
}

/// Why the directory does not say whether somebody is in a group, or holds a role; nothing where there is none.
fn doubt<'w>(
    asked: &Asked<'_>,
    of: impl Fn(&Answers) -> Option<&Several>,
    wanted: impl Iterator<Item = (&'w str, u32)>,
) -> String {
    let Some(answers) = asked_directory(asked) else {
        return String::new();
    };
    if answers.user == Sought::NoDirectory {
        return String::new();
    }
    if answers.id.is_none() {
        return format!("; {}", answers.user.words());
    }
    let all = of(answers);
    let unclear = wanted.filter_map(|(name, number)| match all {
        Some(all) if all.get(number).is_some() => None,
        all => {
            let why = all.and_then(|all| all.why(number));
            Some(format!(
                "; {name} {}",
                why.unwrap_or(Unclear::Unsynced).words()
            ))
        }
    });
    unclear.collect()
}

/// Who signs in, by whoever says so.
fn user(asked: &Asked<'_>) -> String {
    let said = said("user", &asked.facts.user);
    match (&asked.facts.user, asked.token) {
        (Said::Bound(user), Known::Verified(_)) => {
            format!("{}, and the request names {user}", claim(asked, "upn"))
        }
        (Said::Unknown(_) | Said::Stated(_), Known::Verified(_)) => claim(asked, "upn"),
        (Said::Bound(_), Known::Unbelieved) => format!("{said}, but {}", no_token(asked)),
        _ => said,
    }
}

fn source(asked: &Asked<'_>) -> String {
    match asked.facts.source.effective {
        Some(source) => format!("source is {source}"),
        None => "the relay does not say who stands behind it".to_owned(),
    }
}

/// What the token says of a claim.
fn claim(asked: &Asked<'_>, name: &str) -> String {
    let told = match asked.told() {
        Ok(told) => told,
        Err(Truth::FALSE) => return format!("nobody signs in by this flow: no {name}"),
        Err(_) => return no_token(asked),
    };
    match told.values.get(name) {
        _ if told.missing.contains(name) => format!("the token leaves out {name}"),
        Some(values) => format!("{name} is {}", values.join(", ")),
        None => format!("the token does not say {name}"),
    }
}

fn no_token(asked: &Asked<'_>) -> String {
    match &asked.facts.token {
        Told::Nothing(why) => why.to_string(),
        Told::Unbelieved(why) => format!("the token is not believed, {why}"),
        Told::Ahead | Told::Verified(_) => "the token is on its way".to_owned(),
    }
}

fn said(what: &str, said: &Said) -> String {
    match said {
        Said::None => format!("nobody signs in by this flow: no {what}"),
        Said::Unknown(why) => format!("{what} is unknown, {why}"),
        Said::Stated(values) => {
            format!(
                "{what} is said to be {}, which proves nothing",
                values.join(", ")
            )
        }
        Said::Bound(value) => format!("{what} is {value}"),
    }
}

fn names(bits: u16, all: &[&str]) -> String {
    let set: Vec<&str> = (0..)
        .zip(all)
        .filter(|(bit, _)| bits & 1 << bit != 0)
        .map(|(_, name)| *name)
        .collect();
    set.join(" or ")
}
