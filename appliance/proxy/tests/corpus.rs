//! Replays what fuzzing begins with and what it has found.

#[path = "../fuzz/properties/hello.rs"]
mod hello;
#[path = "../../../tests/replay.rs"]
mod replay;

use replay::replay;
use weir_proxy::hello as reader;

#[test]
fn first_bytes_of_the_corpus() {
    replay("hello", hello::check);
}
