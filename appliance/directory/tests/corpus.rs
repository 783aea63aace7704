//! Replays what fuzzing begins with and what it has found.

#[path = "../fuzz/properties/directory.rs"]
mod directory;
#[path = "../../../tests/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn directories_of_the_corpus() {
    replay("directory", directory::check);
}
