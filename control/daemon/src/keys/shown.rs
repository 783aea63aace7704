//! Keys as people read them: `GET /v1/keys`, and what status says of them.

use time::{Duration, OffsetDateTime, UtcDateTime};
use weir_api::keys::{Key, KeyKind, KeyState, ServiceKeys};
use weir_claims::{Keys, Warning};

use super::{Book, Published};
use crate::clock;

/// Keys that all end within so many days are told of.
const SOON: i64 = 14;

impl Book {
    /// What is known of the keys of `service`.
    pub(crate) fn shown(&self, service: &str, now: UtcDateTime) -> ServiceKeys {
        let change = self.saved.change();
        let mut keys = Vec::new();
        shown(&self.saved.in_force, now, &mut keys);
        if let Some((_, change)) = &change {
            keys.extend(change.new.iter().map(|key| Key {
                state: KeyState::Held,
                ..one(key, now)
            }));
        }
        let warnings = self.left_out.iter().cloned();
        let of_keys = self.saved.in_force.warnings(now).into_iter();
        ServiceKeys {
            service: service.to_owned(),
            issuers: self.saved.in_force.issuers.clone(),
            keys,
            sources: self.asked.sources(),
            fetched: self.saved.fetched.clone(),
            failing_since: self.failing.as_ref().map(|failing| failing.since.clone()),
            error: (self.broken.clone()).or_else(|| Some(self.failing.as_ref()?.why.clone())),
            held_since: change.as_ref().map(|(held, _)| held.since.clone()),
            to_approve: change.map_or_else(Vec::new, |(_, change)| {
                let named = change.to_name().into_iter();
                named.map(|one| one.to_string()).collect()
            }),
            warnings: warnings
                .chain(of_keys.map(|warning| warning.to_string()))
                .collect(),
        }
    }

    /// What a person should look at, for status.
    pub(crate) fn warnings(&self, service: &str, now: UtcDateTime) -> Vec<String> {
        let mut warnings = Vec::new();
        let in_force = self.in_force();
        if let Err(error) = self.saved() {
            let help = error.help();
            warnings.push(format!(
                "NO TOKEN OF `{service}` IS BELIEVED: {error}; {help}"
            ));
        } else if in_force.is_empty() {
            warnings.push(format!(
                "NO TOKEN OF `{service}` IS BELIEVED: there are no keys of it yet; `weir keys` says more"
            ));
        }
        if let Some(failing) = &self.failing {
            let since = &failing.since;
            warnings.push(format!(
                "the keys of `{service}` cannot be read since {since}: {}; those that are known stay in \
                 force, and `weir keys refresh` tries again",
                failing.why
            ));
        }
        if let Some((held, change)) = self.saved.change() {
            let named: Vec<_> = change.to_name().iter().map(ToString::to_string).collect();
            warnings.push(format!(
                "ALL KEYS OF `{service}` WERE REPLACED, at {}, and the new ones are held: tokens that they \
                 sign are not believed; compare {} with the sign-in server's own, then `weir keys approve \
                 {service} --fingerprint {}`",
                held.since,
                named.join(" and "),
                named.join(" --fingerprint ")
            ));
        }
        let last = in_force
            .certificates
            .iter()
            .map(weir_claims::Certificate::not_after)
            .max();
        if let Some(last) = last
            && last < now + Duration::days(SOON)
        {
            let ends = if last < now { "ended" } else { "end" };
            warnings.push(format!(
                "all certificates that sign tokens of `{service}` {ends} by {}: renew them at the sign-in \
                 server",
                last.date()
            ));
        }
        let apart = in_force.warnings(now).into_iter();
        let apart = apart.filter(|warning| matches!(warning, Warning::Apart));
        warnings.extend(apart.map(|warning| format!("keys of `{service}`: {warning}")));
        warnings
    }
}

fn shown(keys: &Keys, now: UtcDateTime, into: &mut Vec<Key>) {
    let certificates = keys.certificates.iter().cloned();
    let all = certificates.map(Published::Certificate);
    let all = all.chain(keys.jwks.iter().cloned().map(Published::Jwk));
    into.extend(all.map(|key| one(&key, now)));
}

fn one(key: &Published, now: UtcDateTime) -> Key {
    let fingerprint = key.fingerprint().to_string();
    match key {
        Published::Certificate(certificate) => {
            let until = certificate.not_after();
            Key {
                kind: KeyKind::Certificate,
                fingerprint,
                name: certificate.subject().to_owned(),
                not_after: Some(clock::text(OffsetDateTime::from(until))),
                state: if until < now {
                    KeyState::Expired
                } else {
                    KeyState::InForce
                },
            }
        }
        Published::Jwk(jwk) => Key {
            kind: KeyKind::Jwk,
            fingerprint,
            name: jwk.kid().unwrap_or_default().to_owned(),
            not_after: None,
            state: KeyState::InForce,
        },
    }
}
