//! The conditions of a rule.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};
use weir_abi::Class;

use super::super::asked::Parties;
use super::super::condition::{Application, Claim, Condition, Device, Role, When, Written};
use super::super::groups::Group;
use super::super::places::{Location, Networks};
use super::super::schedule::{self, DAYS, Schedule};
use super::{BUILT_IN_CLAIMS, Reading, host_name};
use crate::{Client, Country, Flow, Method, TimeSpec, UserAttribute, Values, WhenSpec};

impl Reading<'_> {
    pub(super) fn when(&mut self, spec: &WhenSpec, at: &str) -> When {
        let mut when = When::always();
        if let Some(classes) = self.words(&spec.class, at, "class", &Class::ALL, Class::name) {
            when = when.classes(&classes);
        }
        if let Some(flows) = self.words(&spec.flow, at, "flow", &Flow::ALL, Flow::name) {
            when = when.flows(&flows);
        }
        if let Some(clients) = self.words(&spec.client, at, "client", &Client::ALL, Client::name) {
            when = when.clients(&clients);
        }
        if let Some(lists) = self.values(&spec.list, at, "list") {
            when = when.and(Condition::List(lists.into_iter().collect()));
        }
        if let Some(hosts) = self.values(&spec.host, at, "host") {
            when = when.and(Condition::Host(
                hosts.iter().map(|host| host_name(host)).collect(),
            ));
        }
        if let Some(sources) = self.values(&spec.source, at, "source") {
            when = when.and(Condition::Source(self.prefixes(&sources, at)));
        }
        if let Some(parties) = self.values(&spec.relying_party, at, "relying_party") {
            when = when.and(Condition::RelyingParty(Parties::new(&parties)));
        }
        if let Some(names) = self.values(&spec.application, at, "application") {
            when = when.and(Condition::Application(self.named_applications(&names, at)));
        }
        if let Some(users) = self.values(&spec.user, at, "user") {
            when = when.and(self.users(&users, at));
        }
        if let Some(services) = self.values(&spec.service, at, "service") {
            when = when.and(Condition::Service(services.contains(&self.spec.service)));
        }
        let about = [
            self.member_conditions(spec, at),
            self.token_conditions(spec, at),
            self.place_conditions(spec, at),
        ];
        when = about.into_iter().flatten().fold(when, When::and);
        if let Some(inner) = &spec.not {
            let inner = self.when(inner, &format!("{at}.not"));
            when = when.and(Condition::Not(Box::new(inner)));
        }
        when
    }

    /// What a directory tells, and a token too, of some of it.
    fn member_conditions(&mut self, spec: &WhenSpec, at: &str) -> Vec<Condition> {
        let any_case = self.spec.claims_any_case;
        let (index, here) = (self.index, self.here);
        let place = |field: &str| here.then(|| (index, format!("{at}.{field}")));
        let mut found = Vec::new();
        if let Some(groups) = self.values(&spec.group, at, "group") {
            let groups = groups.iter().map(|group| {
                let number = self.wanted.group(group, place("group"));
                Group::new(group, any_case, number)
            });
            found.push(Condition::Group(groups.collect()));
        }
        if let Some(roles) = self.values(&spec.role, at, "role") {
            let roles = roles.into_iter().map(|written| Role {
                claim: Claim::new("roles", std::slice::from_ref(&written), any_case),
                number: self.wanted.role(&written, place("role")),
                written,
            });
            found.push(Condition::Role(roles.collect()));
        }
        for (name, values) in &spec.attribute {
            found.extend(self.attribute(name, values, at));
        }
        found
    }

    fn attribute(&mut self, name: &str, values: &Values, at: &str) -> Option<Condition> {
        let (index, field) = (Some(self.index), format!("{at}.attribute.{name}"));
        let known = UserAttribute::ALL
            .into_iter()
            .find(|known| known.name() == name);
        if known.is_none() {
            let all = UserAttribute::ALL.map(UserAttribute::name);
            self.report.unknown(index, &field, "attribute", name, &all);
        }
        let values = self.values(values, at, &format!("attribute.{name}"));
        if values.is_none() {
            let message = "name the values of which the attribute must have one";
            self.report.error(index, &field, message);
        }
        let (attribute, values) = (known?, values?);
        let values: Vec<String> = values.iter().map(|value| value.to_lowercase()).collect();
        if let Some(all) = attribute.values() {
            for value in values.iter().filter(|value| !all.contains(&value.as_str())) {
                let what = format!("value of {name}");
                self.report.unknown(index, &field, &what, value, all);
            }
        }
        let number = self.wanted.attribute(attribute);
        Some(Condition::Attribute(Written {
            attribute,
            values,
            number,
        }))
    }

    /// What only a token tells.
    fn token_conditions(&mut self, spec: &WhenSpec, at: &str) -> Vec<Condition> {
        let any_case = self.spec.claims_any_case;
        let mut found = Vec::new();
        for (name, values) in &spec.claim {
            let known = self.spec.claims.iter().map(String::as_str);
            let known: Vec<&str> = known.chain(BUILT_IN_CLAIMS).collect();
            let field = format!("{at}.claim.{name}");
            if !known.contains(&name.as_str()) {
                self.report
                    .unknown(Some(self.index), &field, "claim", name, &known);
            }
            if let Some(values) = self.values(values, at, &format!("claim.{name}")) {
                found.push(Condition::Claim(Claim::new(name, &values, any_case)));
            } else {
                let message = "name the values of which the claim must have one";
                self.report.error(Some(self.index), &field, message);
            }
        }
        if let Some(states) = self.words(&spec.device, at, "device", &Device::ALL, Device::name) {
            found.push(Condition::Device(states));
        }
        let methods: Vec<&'static Method> = Method::NAMED.iter().collect();
        if let Some(wanted) = self.words(&spec.method, at, "method", &methods, Method::name) {
            found.push(Condition::Method(wanted.into_iter().cloned().collect()));
        }
        if let Some(text) = &spec.authenticated_within {
            let within = self.duration(text, &format!("{at}.authenticated_within"));
            found.push(Condition::AuthenticatedWithin(within));
        }
        if let Some(inside) = spec.inside_network {
            found.push(Condition::InsideNetwork(inside));
        }
        found
    }

    /// Where the effective source is, and when.
    fn place_conditions(&mut self, spec: &WhenSpec, at: &str) -> Vec<Condition> {
        let mut found = Vec::new();
        if let Some(words) = self.values(&spec.country, at, "country") {
            let mut countries = Vec::new();
            for word in &words {
                match Country::from_str(word) {
                    Ok(country) => countries.push(country),
                    Err(error) => {
                        let field = format!("{at}.country");
                        self.report
                            .error(Some(self.index), &field, error.to_string());
                    }
                }
            }
            found.push(Condition::Country(countries));
        }
        if let Some(names) = self.values(&spec.location, at, "location") {
            found.push(Condition::Location(self.named_locations(&names, at)));
        }
        if let Some(time) = &spec.time {
            let schedule = self.schedule(time, &format!("{at}.time"));
            found.extend(schedule.map(Condition::Time));
        }
        found
    }

    fn schedule(&mut self, spec: &TimeSpec, at: &str) -> Option<Schedule> {
        let index = Some(self.index);
        let all: Vec<usize> = (0..DAYS.len()).collect();
        let days = self.words(&spec.days, at, "days", &all, |day| DAYS[day]);
        if days.is_none() && spec.from.is_none() && spec.to.is_none() {
            let message =
                "this names no time; write days = [\"mon\"] or from = \"08:00\", or leave it out";
            self.report.error(index, at, message);
        }
        let mut minute = |text: &Option<String>, field: &str, usual| match text {
            None => usual,
            Some(text) => schedule::minute_of_day(text).unwrap_or_else(|| {
                let message = format!("`{text}` is no time of day; write it as 08:00");
                self.report.error(index, &format!("{at}.{field}"), message);
                usual
            }),
        };
        let from = minute(&spec.from, "from", 0);
        let to = minute(&spec.to, "to", schedule::DAY);
        if from == to || from == schedule::DAY {
            let message =
                "this time is empty; write another, or leave both ends out for the whole day";
            self.report.error(index, &format!("{at}.from"), message);
        }
        let name = spec.zone.as_deref().unwrap_or("UTC");
        let zone = schedule::zone(name).map_err(|known| {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            let field = format!("{at}.zone");
            self.report
                .unknown(index, &field, "time zone", name, &known);
        });
        let days = days.unwrap_or(all);
        Some(Schedule {
            days: days.iter().fold(0, |bits, day| bits | 1 << day),
            from,
            to,
            zone: zone.ok()?,
        })
    }

    /// The values of a condition; `None` when it is absent. Empty ones would never match, and are
    /// errors.
    fn values(&mut self, values: &Values, at: &str, field: &str) -> Option<Vec<String>> {
        let values = match values {
            Values::Absent => return None,
            Values::One(value) => std::slice::from_ref(value),
            Values::Many(values) => values.as_slice(),
        };
        if values.is_empty() || values.iter().any(|value| value.trim().is_empty()) {
            let message =
                "an empty value never matches; name something, or leave the condition out";
            self.report
                .error(Some(self.index), &format!("{at}.{field}"), message);
        }
        Some(values.to_vec())
    }

    fn words<T: Copy>(
        &mut self,
        values: &Values,
        at: &str,
        field: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<Vec<T>> {
        let values = self.values(values, at, field)?;
        let mut found = Vec::new();
        for word in &values {
            if let Some(known) = all.iter().find(|known| name(**known) == word) {
                found.push(*known);
            } else {
                let names: Vec<&str> = all.iter().map(|known| name(*known)).collect();
                let at = format!("{at}.{field}");
                let what = if field == "days" { "day" } else { field };
                self.report
                    .unknown(Some(self.index), &at, what, word, &names);
            }
        }
        Some(found)
    }

    fn prefixes(&mut self, sources: &[String], at: &str) -> Networks {
        let mut prefixes = Vec::new();
        for text in sources {
            match prefix_of(text) {
                Some(prefix) => prefixes.push(prefix),
                None => {
                    self.report
                        .error(Some(self.index), &format!("{at}.source"), no_prefix(text));
                }
            }
        }
        prefixes.into_iter().collect()
    }

    fn named_applications(&mut self, names: &[String], at: &str) -> Vec<Application> {
        let mut found = Vec::new();
        for name in names {
            if let Some(known) = self.applications.iter().find(|known| known.name == *name) {
                found.push(known.clone());
            } else {
                let all: Vec<&str> = self
                    .applications
                    .iter()
                    .map(|it| it.name.as_str())
                    .collect();
                let at = format!("{at}.application");
                self.report
                    .unknown(Some(self.index), &at, "application", name, &all);
            }
        }
        found
    }

    fn named_locations(&mut self, names: &[String], at: &str) -> Vec<Arc<Location>> {
        let mut found = Vec::new();
        for name in names {
            if let Some(known) = self.locations.iter().find(|it| *it.name == **name) {
                found.push(Arc::clone(known));
            } else {
                let all: Vec<&str> = self.locations.iter().map(|it| &*it.name).collect();
                let at = format!("{at}.location");
                self.report
                    .unknown(Some(self.index), &at, "location", name, &all);
            }
        }
        found
    }

    fn users(&mut self, users: &[String], at: &str) -> Condition {
        let (mut names, mut domains) = (Vec::new(), Vec::new());
        for user in users {
            let user = user.trim().to_lowercase();
            match user.split_once('@') {
                Some(("", domain)) if is_domain(domain) => {
                    domains.push(domain.to_owned());
                }
                Some((_, domain)) if is_domain(domain) => {
                    names.push(user);
                }
                _ => self.report.error(
                    Some(self.index),
                    &format!("{at}.user"),
                    format!(
                        "`{user}` is no user; write name@domain, or @domain for all of a domain"
                    ),
                ),
            }
        }
        Condition::User { names, domains }
    }
}

fn is_domain(domain: &str) -> bool {
    !domain.is_empty() && !domain.contains(|c: char| c == '@' || c.is_whitespace())
}

/// An address or a prefix; host bits are cleared, IPv4-mapped IPv6 is folded.
pub(super) fn prefix_of(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let prefix = text.parse::<IpNet>().ok()?.trunc();
    match (prefix.addr().to_canonical(), prefix) {
        (IpAddr::V4(address), IpNet::V6(mapped)) if mapped.prefix_len() >= 96 => {
            Ipv4Net::new(address, mapped.prefix_len() - 96)
                .ok()
                .map(IpNet::V4)
        }
        _ => Some(prefix),
    }
}

pub(super) fn no_prefix(text: &str) -> String {
    format!("`{text}` is no address or prefix; write 203.0.113.7 or 203.0.113.0/24")
}
