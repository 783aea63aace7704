//! What holds for every JWKS and every discovery document. The input is the document.

use weir_claims::{Keys, Trust, jwks};

/// What is read can be trusted, travels, and is the same at the other end; no more keys come out than went
/// in.
pub fn check(input: &[u8]) {
    if let Ok(found) = jwks::discovery(input) {
        assert!(found.jwks_uri.starts_with("https://"));
        assert!(
            found
                .issuers
                .iter()
                .all(|issuer| !issuer.is_empty() && !issuer.contains('{'))
        );
    }
    let Ok(set) = jwks::read(input) else {
        return;
    };
    assert!(!set.keys.is_empty() && set.keys.len() + set.left_out.len() <= 64);
    let keys = Keys {
        issuers: vec!["https://sts.corp.example/adfs".to_owned()],
        ..Keys::published(None, None, Some(&set))
    };
    assert!(Trust::new(&keys).is_ok(), "what is read can be trusted");
    let text = serde_json::to_string(&keys).expect("keys are JSON");
    for private in ["\"k\"", "\"d\"", "\"p\"", "\"q\""] {
        assert!(!text.contains(&format!("{private}:")), "a secret travels");
    }
    assert_eq!(
        serde_json::from_str::<Keys>(&text).expect("it was written"),
        keys
    );
}
