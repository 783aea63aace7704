//! Replays what fuzzing begins with and what it has found.

#[path = "../fuzz/properties/audit.rs"]
mod audit;
#[path = "../fuzz/properties/control.rs"]
mod control;
#[path = "../../../tests/replay.rs"]
mod replay;

#[test]
fn requests_of_the_corpus() {
    replay::replay("control", control::check);
}

#[test]
fn audit_logs_of_the_corpus() {
    replay::replay("audit", audit::check);
}
