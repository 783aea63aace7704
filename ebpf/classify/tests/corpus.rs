//! Replays what fuzzing begins with and what it has found.

#[path = "../fuzz/properties/packet.rs"]
mod packet;
#[path = "../../../tests/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn packets_of_the_corpus() {
    replay("packet", packet::check);
}
