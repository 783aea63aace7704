//! Replays what fuzzing begins with and what it has found.

#[path = "../fuzz/properties/answer.rs"]
mod answer;
#[path = "../fuzz/properties/assertion.rs"]
mod assertion;
#[path = "../fuzz/properties/jwks.rs"]
mod jwks;
#[path = "../fuzz/properties/jwt.rs"]
mod jwt;
#[path = "../fuzz/properties/metadata.rs"]
mod metadata;
#[path = "../../../tests/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn assertions_of_the_corpus() {
    replay("assertion", assertion::check);
}

#[test]
fn answers_of_the_corpus() {
    replay("answer", answer::check);
}

#[test]
fn jwts_of_the_corpus() {
    replay("jwt", jwt::check);
}

#[test]
fn key_sets_of_the_corpus() {
    replay("jwks", jwks::check);
}

#[test]
fn metadata_of_the_corpus() {
    replay("metadata", metadata::check);
}
