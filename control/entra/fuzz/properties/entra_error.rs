//! What holds for every error of Entra and Graph, and for every token's own words.

use weir_entra::graph::Said as Error;
use weir_entra::token::{By, Refusal, Said};

/// What is said is bounded, one line, without what must not be said; and it is the same each time.
pub fn check(input: &[u8]) {
    let error = Error::read(input);
    assert_eq!(error, Error::read(input));
    if let Some(error) = error {
        assert!(error.codes.len() <= 8);
        assert!(error.codes.iter().all(|code| code.chars().count() <= 100));
        assert!(error.message.chars().count() <= 2000);
    }
    let refusal = Refusal::read(By::Entra, 401, input, &["hunter2"]);
    if let Some(refusal) = refusal {
        let shown = format!("{} {} {:?}", refusal.words, refusal.error, refusal.codes);
        assert!(!refusal.words.contains("hunter2"), "{shown}");
        assert!(!refusal.words.chars().any(char::is_control), "{shown}");
        assert!(shown.len() < 4000, "{} bytes", shown.len());
    }
    if let Ok(token) = std::str::from_utf8(input) {
        assert_eq!(Said::of(token), Said::of(token));
    }
}
