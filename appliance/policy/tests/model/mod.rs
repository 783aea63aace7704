//! A slow evaluator of rules as they are written: three truths as `Option<bool>`.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod people;

use std::net::IpAddr;

pub use people::People;
use weir_policy::{
    Client, DecisionKind, Facts, Flow, PolicySpec, RuleSpec, Said, TokenFacts, Told, Values,
    WhenSpec,
};

type Truth = Option<bool>;

/// The first of the administrator's rules that takes the request, and what it comes to.
pub fn first(spec: &PolicySpec, facts: &Facts, people: &People) -> Option<(usize, DecisionKind)> {
    if matches!(facts.flow, Flow::Internal | Flow::Other) {
        return None;
    }
    spec.rules.iter().enumerate().find_map(|(index, rule)| {
        let kind = kind(rule, facts);
        let truth = when(&rule.when, spec, facts, people);
        let granted = rule.then.grant.is_none() || matches!(facts.token, Told::Verified(_));
        let takes = match kind {
            DecisionKind::Pass => truth == Some(true) && granted,
            _ => truth != Some(false),
        };
        takes.then_some((index, kind))
    })
}

/// Whether the rule at a place gives its grant: not, where one in front may hold that passes with less.
pub fn grants(spec: &PolicySpec, index: usize, facts: &Facts, people: &People) -> bool {
    let Some(grant) = &spec.rules[index].then.grant else {
        return false;
    };
    let minutes = |lasts: &str| -> u32 {
        let minutes = lasts.strip_suffix('m').expect("minutes");
        minutes.parse().expect("a number")
    };
    spec.rules[..index].iter().all(|front| {
        let as_much = front.then.grant.as_ref().is_some_and(|it| {
            (it.class == "managed" || grant.class == "bypass")
                && minutes(&it.lasts) >= minutes(&grant.lasts)
                && it.kernel >= grant.kernel
        });
        as_much
            || kind(front, facts) != DecisionKind::Pass
            || when(&front.when, spec, facts, people).is_some()
    })
}

fn kind(rule: &RuleSpec, facts: &Facts) -> DecisionKind {
    let is_page = matches!(facts.flow, Flow::Passive | Flow::OauthBrowser);
    let is_browser = facts.client == Client::Browser && is_page;
    match rule.then.decision.as_str() {
        "pass" => DecisionKind::Pass,
        "redirect" if is_browser => DecisionKind::Redirect,
        "step-up" => match &facts.token {
            Told::Verified(told) if is_browser => {
                let old = rule.then.within.is_some() && within(told, facts, 3600) != Some(true);
                if has_mfa(told) && !old {
                    DecisionKind::Pass
                } else {
                    DecisionKind::StepUp
                }
            }
            _ => DecisionKind::Block,
        },
        _ => DecisionKind::Block,
    }
}

fn has_mfa(told: &TokenFacts) -> bool {
    told.methods.iter().any(|method| method.name() == "mfa")
}

fn within(told: &TokenFacts, facts: &Facts, seconds: i64) -> Truth {
    let age = (facts.moment? - told.authenticated?).whole_seconds();
    (age >= -300).then_some(age <= seconds)
}

fn all(truths: &[Truth]) -> Truth {
    if truths.contains(&Some(false)) {
        Some(false)
    } else if truths.contains(&None) {
        None
    } else {
        Some(true)
    }
}

fn any(truths: Vec<Truth>) -> Truth {
    all(&truths.into_iter().map(not).collect::<Vec<_>>()).map(|truth| !truth)
}

fn not(truth: Truth) -> Truth {
    truth.map(|truth| !truth)
}

fn when(when_: &WhenSpec, spec: &PolicySpec, facts: &Facts, people: &People) -> Truth {
    let mut truths = Vec::new();
    let mut each = |values: &Values, test: &dyn Fn(&str) -> Truth| {
        let words = list(values);
        if !words.is_empty() {
            truths.push(any(words.iter().map(|word| test(word)).collect()));
        }
    };
    each(&when_.class, &|word| Some(facts.class.name() == word));
    each(&when_.flow, &|word| Some(facts.flow.name() == word));
    each(&when_.client, &|word| Some(facts.client.name() == word));
    each(&when_.service, &|word| Some(spec.service == word));
    each(&when_.source, &|word| {
        let net: ipnet::IpNet = word.parse().expect("a prefix");
        facts
            .source
            .effective
            .map(|source: IpAddr| net.contains(&source))
    });
    each(&when_.relying_party, &|word| match &facts.relying_party {
        Said::None => Some(false),
        Said::Bound(party) => Some(party == word),
        _ => None,
    });
    each(&when_.user, &|word| user(facts, word));
    each(&when_.group, &|word| {
        let by_token = |told: &TokenFacts| group(told, word);
        people.say(facts, &by_token, &|one| people.is_in(one, word))
    });
    each(&when_.role, &|word| {
        let by_token = |told: &TokenFacts| claim(told, "roles", word);
        people.say(facts, &by_token, &|one| people.holds(one, word))
    });
    for (name, values) in &when_.attribute {
        each(values, &|word| {
            people.say(facts, &|_| None, &|one| one.is_written(name, word))
        });
    }
    each(&when_.device, &|word| {
        told(facts, &|told| match word {
            "joined" => match single(told, "device_trust")?.as_str() {
                "azuread" | "serverad" => Some(true),
                "workplace" => Some(false),
                _ => None,
            },
            state => flag(told, &format!("device_{state}")),
        })
    });
    each(&when_.method, &|word| {
        told(facts, &|told| {
            let known = ["password", "mfa", "windows"];
            let names: Vec<&str> = told.methods.iter().map(weir_policy::Method::name).collect();
            let foreign = names.is_empty() || names.iter().any(|name| !known.contains(name));
            if names.contains(&word) {
                Some(true)
            } else {
                (!foreign).then_some(false)
            }
        })
    });
    each(&when_.country, &|word| {
        Some(facts.country?.letters() == word)
    });
    each(&when_.location, &|word| {
        let place = &spec.locations[word];
        let net = place.prefixes.iter().map(|prefix| {
            let net: ipnet::IpNet = prefix.parse().expect("a prefix");
            facts.source.effective.map(|source| net.contains(&source))
        });
        let country = place.countries.iter();
        let country = country.map(|letters| Some(facts.country?.letters() == letters));
        any(net.chain(country).collect())
    });
    for (name, values) in &when_.claim {
        each(values, &|word| told(facts, &|told| claim(told, name, word)));
    }
    if when_.authenticated_within.is_some() {
        truths.push(told(facts, &|told| within(told, facts, 3600)));
    }
    if let Some(inside) = when_.inside_network {
        truths.push(told(facts, &|told| {
            flag(told, "inside_network").map(|is_inside| is_inside == inside)
        }));
    }
    if let Some(time) = &when_.time {
        truths.push(facts.moment.map(|moment| {
            let hour = moment.hour();
            if time.from.as_deref() == Some("08:00") {
                moment.weekday() == time::Weekday::Friday && (8..18).contains(&hour)
            } else {
                !(6..22).contains(&hour)
            }
        }));
    }
    if let Some(inner) = &when_.not {
        truths.push(not(when(inner, spec, facts, people)));
    }
    all(&truths)
}

fn list(values: &Values) -> Vec<String> {
    match values {
        Values::Absent => Vec::new(),
        Values::One(one) => vec![one.clone()],
        Values::Many(many) => many.clone(),
    }
}

fn told(facts: &Facts, test: &dyn Fn(&TokenFacts) -> Truth) -> Truth {
    match &facts.token {
        _ if facts.user == Said::None => Some(false),
        Told::Verified(told) => test(told),
        _ => None,
    }
}

fn user(facts: &Facts, word: &str) -> Truth {
    let is = |name: &str| {
        let name = name.to_lowercase();
        let (_, domain) = name.split_once('@')?;
        Some(match word.strip_prefix('@') {
            Some(wanted) => wanted == domain,
            None => name == word,
        })
    };
    let by_request = match &facts.user {
        Said::None => return Some(false),
        Said::Bound(name) if name.contains('@') => is(name),
        _ => None,
    };
    let by_token = match &facts.token {
        Told::Nothing(_) => return by_request,
        Told::Verified(told) => single(told, "upn").and_then(|upn| is(&upn)),
        Told::Ahead | Told::Unbelieved(_) => return None,
    };
    // The token says who it is. Whoever says to be somebody else is that one too, for a rule that restricts.
    match (by_token, by_request) {
        (Some(false), Some(true)) => None,
        (by_token, _) => by_token,
    }
}

fn group(told: &TokenFacts, word: &str) -> Truth {
    let groups = told.values.get("groups")?;
    let is_id = |group: &str| group.len() == 36;
    let same = |group: &String| {
        group == word || is_id(word) && group.to_lowercase() == word.to_lowercase()
    };
    let says = groups.is_empty() || groups.iter().any(|group| is_id(group) == is_id(word));
    if groups.iter().any(same) {
        Some(true)
    } else {
        (says && !told.missing.contains("groups")).then_some(false)
    }
}

fn claim(told: &TokenFacts, name: &str, word: &str) -> Truth {
    let values = told.values.get(name)?;
    if values.iter().any(|value| value == word) {
        Some(true)
    } else {
        (!told.missing.contains(name)).then_some(false)
    }
}

fn flag(told: &TokenFacts, name: &str) -> Truth {
    match single(told, name)?.as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

fn single(told: &TokenFacts, name: &str) -> Option<String> {
    match told.values.get(name)?.as_slice() {
        [value] if !told.missing.contains(name) => Some(value.to_lowercase()),
        _ => None,
    }
}
