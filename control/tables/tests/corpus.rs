//! Replays what fuzzing begins with and what it has found.

#[path = "../fuzz/properties/list.rs"]
mod list;
#[path = "../fuzz/properties/lists_bytes.rs"]
mod lists_bytes;
#[path = "../../../tests/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn list_files_of_the_corpus() {
    replay("list", list::check);
}

#[test]
fn compiled_lists_of_the_corpus() {
    replay("lists_bytes", lists_bytes::check);
}
