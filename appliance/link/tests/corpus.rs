//! Replays what fuzzing begins with and what it has found.

#[path = "../fuzz/properties/frame.rs"]
mod frame;
#[path = "../../../tests/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn streams_of_the_corpus() {
    replay("frame", frame::check);
}
