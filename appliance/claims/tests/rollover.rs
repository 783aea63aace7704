//! What is done when a service publishes other keys, held against a naive model.

mod signing;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use jsonwebtoken::Algorithm;
use proptest::collection::btree_set;
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use serde_json::json;
use signing::{Signer, published, with};
use weir_claims::rollover::{Change, NotNamed, Rollover, decide};
use weir_claims::{Certificate, Fingerprint, Keys};

const KEYS: usize = 4;

/// Each key with two certificates of it, and two JWKs of it.
struct Made {
    certificates: [Certificate; 2],
    jwks: Keys,
}

static MADE: LazyLock<Vec<Made>> = LazyLock::new(|| {
    let names = [["a0", "a1"], ["b0", "b1"], ["c0", "c1"], ["d0", "d1"]];
    let made = names.map(|names| {
        let signer = Signer::new("", Algorithm::ES256);
        let jwks = names.map(|kid| with(signer.jwk(), &json!({ "kid": kid })));
        Made {
            certificates: [
                signer.certificate(2020, 2025),
                signer.certificate(2024, 2030),
            ],
            jwks: published(&jwks),
        }
    });
    made.into()
});

/// A certificate or a JWK: which key, and which of two.
type Id = (usize, usize);

fn keys(certificates: &BTreeSet<Id>, jwks: &BTreeSet<Id>, issuers: &BTreeSet<u8>) -> Keys {
    Keys {
        issuers: issuers
            .iter()
            .map(|number| format!("issuer {number}"))
            .collect(),
        certificates: certificates
            .iter()
            .map(|(key, which)| MADE[*key].certificates[*which].clone())
            .collect(),
        jwks: jwks
            .iter()
            .map(|(key, which)| MADE[*key].jwks.jwks[*which].clone())
            .collect(),
    }
}

fn ids() -> impl proptest::strategy::Strategy<Value = BTreeSet<Id>> {
    btree_set((0..KEYS, 0..2_usize), 0..4)
}

#[derive(Debug, PartialEq)]
enum Model {
    Same,
    First,
    Rolled,
    Held,
}

proptest! {
    #[test]
    fn what_is_decided_is_what_the_model_says(
        certificates in ids(), jwks in ids(), issuers in btree_set(0..3_u8, 0..3),
        new_certificates in ids(), new_jwks in ids(), new_issuers in btree_set(0..3_u8, 0..3),
        vouched in btree_set(0..KEYS, 0..KEYS), same in 0..8_u8,
    ) {
        let (new_certificates, new_jwks, new_issuers) = if same == 0 {
            (certificates.clone(), jwks.clone(), issuers.clone())
        } else {
            (new_certificates, new_jwks, new_issuers)
        };
        let known_keys: Vec<usize> = certificates.iter().chain(&jwks).map(|id| id.0).collect();
        let lost = |known: &BTreeSet<Id>, new: &BTreeSet<Id>| {
            let stays = new.iter().any(|id| known_keys.contains(&id.0));
            let all_vouched = !new.is_empty() && new.iter().all(|id| vouched.contains(&id.0));
            !(known.is_empty() || stays || all_vouched)
        };
        let model = if (&certificates, &jwks, &issuers) == (&new_certificates, &new_jwks, &new_issuers) {
            Model::Same
        } else if known_keys.is_empty() {
            Model::First
        } else if lost(&certificates, &new_certificates)
            || lost(&jwks, &new_jwks)
            || (!issuers.is_empty() && issuers.is_disjoint(&new_issuers))
        {
            Model::Held
        } else {
            Model::Rolled
        };
        let vouched: Vec<Certificate> = vouched.iter().map(|key| MADE[*key].certificates[0].clone()).collect();
        let known = keys(&certificates, &jwks, &issuers);
        let new = keys(&new_certificates, &new_jwks, &new_issuers);
        let decided = decide(&known, &new, &vouched);
        let (kind, change) = match &decided {
            Rollover::Same => (Model::Same, None),
            Rollover::First(change) => (Model::First, Some(change)),
            Rollover::Rolled(change) => (Model::Rolled, Some(change)),
            Rollover::Held(change) => (Model::Held, Some(change)),
        };
        prop_assert_eq!(kind, model);
        // The order in which things are published means nothing.
        let mut turned = new.clone();
        turned.certificates.reverse();
        turned.jwks.reverse();
        turned.issuers.reverse();
        prop_assert_eq!(&decide(&known, &turned, &vouched), &decided);
        if let Some(change) = change {
            approved_by_its_own_names_alone(change)?;
            let words = decided.to_string();
            for one in change.new.iter().chain(&change.gone) {
                prop_assert!(words.contains(&one.fingerprint().to_string()), "{}", words);
            }
        }
    }
}

fn approved_by_its_own_names_alone(
    change: &Change,
) -> Result<(), proptest::test_runner::TestCaseError> {
    let all: BTreeSet<Fingerprint> = change.to_name().into_iter().collect();
    prop_assert_eq!(change.approve(&all), Ok(()));
    for one in &all {
        let mut most = all.clone();
        most.remove(one);
        prop_assert_eq!(change.approve(&most), Err(NotNamed(vec![*one])));
    }
    Ok(())
}

fn ad_fs(key: usize) -> (BTreeSet<Id>, BTreeSet<Id>) {
    ([(key, 0)].into(), [(key, 0)].into())
}

#[test]
fn the_next_certificate_beside_the_present_one_rolls_over() {
    let issuer = BTreeSet::from([0]);
    let (certificates, jwks) = ad_fs(0);
    let known = keys(&certificates, &jwks, &issuer);
    let both = keys(&[(0, 0), (1, 0)].into(), &[(0, 0), (1, 0)].into(), &issuer);
    let Rollover::Rolled(change) = decide(&known, &both, &[]) else {
        panic!("it rolls over")
    };
    assert_eq!(
        (change.new.len(), change.gone.len(), change.stays.len()),
        (2, 0, 2)
    );
    let (certificates, jwks) = ad_fs(1);
    let last = keys(&certificates, &jwks, &issuer);
    assert!(matches!(decide(&both, &last, &[]), Rollover::Rolled(_)));
}

#[test]
fn a_total_replacement_waits_and_says_what_to_do() {
    let issuer = BTreeSet::from([0]);
    let [old, new] =
        [ad_fs(0), ad_fs(1)].map(|(certificates, jwks)| keys(&certificates, &jwks, &issuer));
    let held = decide(&old, &new, &[]);
    let Rollover::Held(change) = &held else {
        panic!("it is held")
    };
    let fingerprint = MADE[1].certificates[0].fingerprint();
    // One key, published as a certificate and as a JWK, is named once.
    assert_eq!(change.to_name(), [fingerprint]);
    let words = held.to_string();
    for part in [
        format!("new: certificate {fingerprint}"),
        format!(
            "gone: certificate {}",
            MADE[0].certificates[0].fingerprint()
        ),
        "CN=ADFS Signing - sts.corp.example, 2020-01-01 to 2025-01-01".to_owned(),
        format!("gone: JWK {}", old.jwks[0].fingerprint()),
        "Get-AdfsCertificate".to_owned(),
        format!("approve {fingerprint}."),
    ] {
        assert!(words.contains(&part), "{part} is not in: {words}");
    }
    assert_eq!(
        change
            .approve(&BTreeSet::new())
            .map_err(|error| error.to_string().contains(&fingerprint.to_string())),
        Err(true)
    );
    // What the tenant's settings hold is known to be the service's own.
    let vouched = [MADE[1].certificates[1].clone()];
    assert!(matches!(decide(&old, &new, &vouched), Rollover::Rolled(_)));
}
