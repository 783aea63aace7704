//! What is done when a service publishes other keys than those that are known: a pure decision.
//!
//! A sign-in server announces the next key beside the present one before it signs with it, so there is always a
//! known key among those that are published. Where there is none, somebody else may be answering in its place:
//! the known keys stay in force until somebody who can look at the server approves the new ones.

use std::collections::BTreeSet;
use std::fmt;

use crate::jwks::Jwk;
use crate::keys::{Certificate, Fingerprint, Keys};
use crate::public_key::PublicKey;

/// What is to be done with what is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rollover {
    /// It is what is known already, in whatever order.
    Same,
    /// Nothing was known. It is put in force: it came over TLS from the service itself.
    First(Change),
    /// Of each kind something is known, or the tenant's own settings vouch for all that is new. It is put in
    /// force.
    Rolled(Change),
    /// It replaces all that is known of a kind, or every name of the issuer. The known keys stay in force.
    Held(Change),
}

/// How what is published differs from what is known. Its words are for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Published, and not known.
    pub new: Vec<Published>,
    /// Known, and not published any more.
    pub gone: Vec<Published>,
    /// Known and published.
    pub stays: Vec<Published>,
    /// Names of the issuer that are new.
    pub new_issuers: Vec<String>,
    /// Names of the issuer that are gone.
    pub gone_issuers: Vec<String>,
}

/// One thing that is published.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Published {
    /// In the federation metadata.
    Certificate(Certificate),
    /// In the JWKS.
    Jwk(Jwk),
}

/// An approval that does not name all that it would put in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the approval does not name {}; look at what is held once more, compare it with the sign-in server, and name every fingerprint",
    listed(.0)
)]
pub struct NotNamed(pub Vec<Fingerprint>);

/// Decides. `vouched` are the certificates that the tenant's federation settings hold for this service.
pub fn decide(known: &Keys, published: &Keys, vouched: &[Certificate]) -> Rollover {
    let change = Change::between(known, published);
    if change.is_none() {
        return Rollover::Same;
    }
    if known.certificates.is_empty() && known.jwks.is_empty() {
        return Rollover::First(change);
    }
    let known_keys: BTreeSet<_> = [certificates(known), jwks(known)]
        .into_iter()
        .flatten()
        .collect();
    let vouched: BTreeSet<&PublicKey> = vouched.iter().map(Certificate::key).collect();
    let replaced = |known: &[&PublicKey], published: &[&PublicKey]| {
        let stays = published.iter().any(|key| known_keys.contains(key));
        let all_vouched =
            !published.is_empty() && published.iter().all(|key| vouched.contains(key));
        !known.is_empty() && !stays && !all_vouched
    };
    let issuers_replaced = !known.issuers.is_empty()
        && !known
            .issuers
            .iter()
            .any(|name| published.issuers.contains(name));
    if issuers_replaced
        || replaced(&certificates(known), &certificates(published))
        || replaced(&jwks(known), &jwks(published))
    {
        Rollover::Held(change)
    } else {
        Rollover::Rolled(change)
    }
}

impl Change {
    fn between(known: &Keys, published: &Keys) -> Self {
        let all = |keys: &Keys| -> BTreeSet<Published> {
            let certificates = keys
                .certificates
                .iter()
                .cloned()
                .map(Published::Certificate);
            certificates
                .chain(keys.jwks.iter().cloned().map(Published::Jwk))
                .collect()
        };
        let names = |keys: &Keys| keys.issuers.iter().cloned().collect::<BTreeSet<_>>();
        let (before, after) = (all(known), all(published));
        let (names_before, names_after) = (names(known), names(published));
        Self {
            new: after.difference(&before).cloned().collect(),
            gone: before.difference(&after).cloned().collect(),
            stays: before.intersection(&after).cloned().collect(),
            new_issuers: names_after.difference(&names_before).cloned().collect(),
            gone_issuers: names_before.difference(&names_after).cloned().collect(),
        }
    }

    fn is_none(&self) -> bool {
        self.new.is_empty()
            && self.gone.is_empty()
            && self.new_issuers.is_empty()
            && self.gone_issuers.is_empty()
    }

    /// What an approval must name: every new key once (AD FS publishes one as a certificate and as a JWK: the
    /// certificate's fingerprint is enough); where no key is new, those that are gone; else those that stay.
    pub fn to_name(&self) -> Vec<Fingerprint> {
        let shown = [&self.new, &self.gone, &self.stays];
        let shown = shown.into_iter().find(|some| !some.is_empty());
        let mut keys = BTreeSet::new();
        let once = shown
            .into_iter()
            .flatten()
            .filter(|one| keys.insert(one.key()));
        once.map(Published::fingerprint).collect()
    }

    /// Whether an approval that names these fingerprints is one of this change.
    pub fn approve(&self, named: &BTreeSet<Fingerprint>) -> Result<(), NotNamed> {
        let left: Vec<_> = self
            .to_name()
            .into_iter()
            .filter(|one| !named.contains(one))
            .collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(NotNamed(left))
        }
    }
}

impl Published {
    /// By what an operator knows it again.
    pub fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Certificate(certificate) => certificate.fingerprint(),
            Self::Jwk(jwk) => jwk.fingerprint(),
        }
    }

    fn key(&self) -> &PublicKey {
        match self {
            Self::Certificate(certificate) => certificate.key(),
            Self::Jwk(jwk) => jwk.key(),
        }
    }
}

/// What changed, and what to do.
impl fmt::Display for Rollover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same => f.write_str("The keys are those that are known."),
            Self::First(change) => write!(
                f,
                "{change}These are the first keys of this service, and they are in force. Compare their \
                 fingerprints with those at the sign-in server itself."
            ),
            Self::Rolled(change) => write!(
                f,
                "{change}The new keys are in force; there is nothing to do."
            ),
            Self::Held(change) => write!(
                f,
                "{change}Nothing known is left of what is replaced, so the known keys stay in force, and tokens \
                 signed with the new ones are refused. Compare the fingerprints with those at the sign-in server \
                 itself (AD FS: `Get-AdfsCertificate -CertificateType Token-Signing`), not with what its address \
                 answers. If they are its own, approve {}. If they are not, somebody else answers in its place: \
                 approve nothing, and find out who.",
                listed(&change.to_name())
            ),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = [
            ("new", &self.new),
            ("gone", &self.gone),
            ("stays", &self.stays),
        ];
        for (word, keys) in keys {
            keys.iter()
                .try_for_each(|key| writeln!(f, "{word}: {key}"))?;
        }
        let names = [("new", &self.new_issuers), ("gone", &self.gone_issuers)];
        for (word, names) in names {
            names
                .iter()
                .try_for_each(|name| writeln!(f, "{word}: issuer {name:?}"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(certificate) => write!(f, "{certificate}"),
            Self::Jwk(jwk) => write!(f, "{jwk}"),
        }
    }
}

impl fmt::Debug for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

fn certificates(keys: &Keys) -> Vec<&PublicKey> {
    keys.certificates.iter().map(Certificate::key).collect()
}

fn jwks(keys: &Keys) -> Vec<&PublicKey> {
    keys.jwks.iter().map(Jwk::key).collect()
}

fn listed(fingerprints: &[Fingerprint]) -> String {
    let texts: Vec<String> = fingerprints.iter().map(Fingerprint::to_string).collect();
    texts.join(", ")
}
