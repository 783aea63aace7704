//! What holds for all federation metadata. The input is the document.

use weir_claims::{Keys, Trust, metadata};

/// What is read stands in the document, can be trusted, travels, and is the same at the other end.
pub fn check(input: &[u8]) {
    let Ok(found) = metadata::read(input) else {
        return;
    };
    let text = std::str::from_utf8(input).expect("it was read");
    assert!(!found.entity_id.trim().is_empty());
    let certificates = text.matches("X509Certificate").count();
    assert!(!found.certificates.is_empty());
    assert!(found.certificates.len() + found.left_out.len() <= certificates);
    let keys = Keys::published(Some(&found), None, None);
    assert!(Trust::new(&keys).is_ok(), "what is read can be trusted");
    let text = serde_json::to_string(&keys).expect("keys are JSON");
    assert_eq!(
        serde_json::from_str::<Keys>(&text).expect("it was written"),
        keys
    );
}
