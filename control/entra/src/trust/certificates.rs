//! By whose signatures the tenant believes, and whether these are the service's.

use time::{Duration, OffsetDateTime};
use weir_claims::{Certificate, Keys};

use super::{About, Found};
use crate::decode::domains::Federation;
use crate::health::State;

/// When a certificate's end is told of before it comes: longer than AD FS announces a new one.
const SOON: Duration = Duration::days(30);

/// Says what does not fit of the certificates of a domain.
pub(super) fn check(
    found: &mut Found,
    domain: &str,
    federation: &Federation,
    keys: &[&Keys],
    now: OffsetDateTime,
) {
    let mut read = |text: &Option<String>, which: &str| {
        let text = text.as_deref().filter(|text| !text.trim().is_empty());
        let certificate = text.map(Certificate::from_base64).transpose();
        if let Err(error) = &certificate {
            found.say(
                domain,
                (State::NeedsAttention, About::CertificateUnreadable),
                format!("{which} in its federation settings cannot be read: {error}"),
                "Update the federation settings with the sign-in server's certificate.",
            );
        }
        certificate.ok()
    };
    let signing = read(&federation.signing_certificate, "the certificate");
    let next = read(&federation.next_signing_certificate, "the next certificate");
    let (Some(signing), Some(next)) = (signing, next) else {
        // With one of them unread, who knows what the tenant trusts.
        return;
    };
    if let Some(signing) = &signing {
        ends(found, domain, signing, next.as_ref(), now);
    }
    let published: Vec<_> = keys.iter().flat_map(|keys| &keys.certificates).collect();
    if published.is_empty() {
        return;
    }
    let trusted: Vec<_> = signing.iter().chain(&next).collect();
    compare(found, domain, &trusted, &published);
}

fn ends(
    found: &mut Found,
    domain: &str,
    signing: &Certificate,
    next: Option<&Certificate>,
    now: OffsetDateTime,
) {
    let end = OffsetDateTime::from(signing.not_after());
    let is_followed = next.is_some_and(|next| OffsetDateTime::from(next.not_after()) > now + SOON);
    if end > now + SOON || is_followed {
        return;
    }
    let words = if end <= now {
        format!(
            "its certificate {} expired on {}",
            signing.fingerprint(),
            end.date()
        )
    } else {
        format!(
            "its certificate {} expires on {}, and none is announced that follows",
            signing.fingerprint(),
            end.date()
        )
    };
    found.say(
        domain,
        (State::NeedsAttention, About::CertificateEnds),
        words,
        "Have the sign-in server make a new token-signing certificate, and update the federation settings before it \
         is used.",
    );
}

/// Compares what the tenant trusts with what the services publish, key by key.
fn compare(found: &mut Found, domain: &str, trusted: &[&Certificate], published: &[&Certificate]) {
    let is_published = |one: &&&Certificate| published.iter().any(|other| other.has_key_of(one));
    let (ours, strange): (Vec<_>, Vec<_>) = trusted.iter().partition(is_published);
    if ours.is_empty() {
        found.say(
            domain,
            (State::NeedsAttention, About::CertificateUnknown),
            format!(
                "it believes what {} signs, and the service publishes {}: sign-ins fail, or others sign them",
                listed(trusted.iter().copied()),
                listed(published.iter().copied())
            ),
            "Compare both with the sign-in server's own (AD FS: `Get-AdfsCertificate -CertificateType \
             Token-Signing`). If the server has new ones, update the federation settings at once; if nobody knows \
             those in the settings, their owner can sign in as anybody: take them out.",
        );
        return;
    }
    if !strange.is_empty() {
        found.say(
            domain,
            (State::NeedsAttention, About::CertificateStrange),
            format!(
                "it also believes what {} signs, which the service does not publish",
                listed(strange.into_iter().copied())
            ),
            "Whoever has its key can sign in as anybody. If it is one that the sign-in server had, or will have, \
             nothing is wrong; else take it out of the federation settings, and look for who put it there.",
        );
    }
    let untold: Vec<_> = published
        .iter()
        .filter(|one| !trusted.iter().any(|other| other.has_key_of(one)))
        .copied()
        .collect();
    if !untold.is_empty() {
        found.say(
            domain,
            (State::NeedsAttention, About::CertificateUntold),
            format!(
                "the service announces {}, which the tenant does not know: once the server signs with it, sign-ins \
                 fail",
                listed(untold.into_iter())
            ),
            "The tenant reads it by itself within a day where the server's federation metadata can be read from the \
             Internet; else update the federation settings before the server goes over to it.",
        );
    }
}

fn listed<'c>(certificates: impl Iterator<Item = &'c Certificate>) -> String {
    let mut texts: Vec<_> = certificates
        .map(|one| one.fingerprint().to_string())
        .collect();
    texts.sort();
    texts.dedup();
    if texts.is_empty() {
        return "nothing".to_owned();
    }
    texts.join(" and ")
}
