//! Replays what fuzzing begins with and what it has found.

#[path = "../fuzz/properties/careless.rs"]
mod careless;
#[path = "../fuzz/properties/path.rs"]
mod path;
#[path = "../../../tests/replay.rs"]
mod replay;
#[path = "../fuzz/properties/request.rs"]
mod request;

use replay::replay;

#[test]
fn paths_of_the_corpus() {
    replay("path", path::check);
}

#[test]
fn requests_of_the_corpus() {
    replay("request", request::check);
}
