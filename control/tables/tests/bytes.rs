//! Compiled lists as bytes: damaged ones are refused with the reason, and never panic.

use proptest::prelude::*;
use weir_abi::Class;
use weir_tables::{FromBytesError, List, Lists, Origin, Scope};

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Lists::from_bytes(&bytes);
        let with_header = [b"weirlist\x01\0\0\0".as_slice(), &bytes].concat();
        use_if_accepted(&with_header);
    }

    #[test]
    fn no_damage_panics(at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = sample().to_bytes();
        let at = at.index(bytes.len());
        bytes[at] = value;
        use_if_accepted(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        use_if_accepted(&bytes);
    }
}

#[test]
fn every_truncation_is_refused() {
    let bytes = sample().to_bytes();
    for length in 0..bytes.len() {
        let error = Lists::from_bytes(&bytes[..length]).expect_err("bytes are missing");
        if length >= 12 {
            assert_eq!(error, FromBytesError::Truncated { length });
        }
    }
}

#[test]
fn each_kind_of_damage_has_its_error() {
    let good = sample().to_bytes();
    assert!(Lists::from_bytes(&good).is_ok());

    assert_eq!(
        Lists::from_bytes(b"not lists at all"),
        Err(FromBytesError::Magic)
    );

    let mut version = good.clone();
    version[8] = 9;
    assert_eq!(
        Lists::from_bytes(&version),
        Err(FromBytesError::Version { found: 9 })
    );

    let mut longer = good.clone();
    longer.extend_from_slice(b"abc");
    assert_eq!(
        Lists::from_bytes(&longer),
        Err(FromBytesError::Excess { excess: 3 })
    );

    // Header 12, counts 20, then the first list: length 4, "hq", class, scope.
    let mut class = good.clone();
    class[12 + 20 + 4 + 2] = 77;
    assert_eq!(
        Lists::from_bytes(&class),
        Err(FromBytesError::Damaged {
            what: "a list has an unknown class"
        })
    );

    let mut huge = good;
    huge[12..16].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(
        Lists::from_bytes(&huge),
        Err(FromBytesError::Truncated { .. })
    ));
}

fn use_if_accepted(bytes: &[u8]) {
    if let Ok(lists) = Lists::from_bytes(bytes) {
        for source in [
            "0.0.0.0",
            "10.1.2.3",
            "255.255.255.255",
            "::",
            "2001:db8::1",
        ] {
            let source = source.parse().expect("an address");
            let found = lists.find(source);
            assert!(found.prefix.is_none_or(|prefix| prefix.contains(&source)));
        }
        assert_eq!(Lists::from_bytes(&lists.to_bytes()), Ok(lists));
    }
}

fn sample() -> Lists {
    let list = |name: &str, class, prefixes: &[&str]| List {
        name: name.to_owned(),
        class,
        scope: Scope::Web,
        origin: Origin::Local,
        prefixes: prefixes
            .iter()
            .map(|text| text.parse().expect("a prefix"))
            .collect(),
    };
    Lists::compile(&[
        list("hq", Class::Managed, &["10.0.0.0/8", "2001:db8::/32"]),
        list(
            "no",
            Class::Blocked,
            &["10.1.0.0/16", "2001:db8:1::/48", "255.0.0.0/8"],
        ),
    ])
}
