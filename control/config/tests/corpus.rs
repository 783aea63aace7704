//! Replays what fuzzing begins with and what it has found.

#[path = "../../../tests/replay.rs"]
mod replay;
#[path = "../fuzz/properties/toml.rs"]
mod toml;

use replay::replay;

#[test]
fn configurations_of_the_corpus() {
    replay("toml", toml::check);
}
