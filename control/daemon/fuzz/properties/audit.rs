//! What holds for every audit log that is found on the disk. The input is the file.

use std::sync::LazyLock;

use tempfile::TempDir;
use weir_api::record::ChangeKind;
use weir_api::{Actor, Change, Record, RecordBody};
use weir_control::audit::{Audit, Filter, Limits};

static DIRECTORY: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir().expect("a temporary directory"));

/// Every file can be gone on with: a line that is added has the highest number, and is found forwards
/// and backwards; lines are answered in the order of their numbers, each once.
pub fn check(input: &[u8]) {
    let path = DIRECTORY.path().join("audit.jsonl");
    std::fs::write(&path, input).expect("the directory can be written");
    let audit = Audit::open(&path, Limits::default()).expect("it can be read");
    let seq = audit.append(RecordBody::Change(Change {
        time: "2026-01-01T00:00:00.000Z".to_owned(),
        kind: ChangeKind::Change,
        generation: 1,
        who: Actor::Weir,
        action: "reload".to_owned(),
        done: true,
        detail: "one more".to_owned(),
    }));
    if seq >= 1 << 53 {
        // Readers of JSON know no higher numbers.
        return;
    }
    let all = Filter::default();
    let mut history = audit.history();
    let mut found = Vec::new();
    let mut after = 0;
    while let Some(part) = history.after(after, 7, &all).expect("it can be read") {
        for line in part.text.lines() {
            found.push(serde_json::from_str::<Record>(line).expect("a record").seq);
        }
        assert!(part.seen > after || part.lines == 0);
        after = part.seen;
    }
    assert!(found.is_sorted_by(|one, next| one < next), "{found:?}");
    assert_eq!(found.last(), Some(&seq), "the newest");
    let mut missing = 1;
    let mut history = audit.history();
    let begins = loop {
        let begins = history.last(&mut missing, seq.saturating_add(1), &all);
        if let Some(begins) = begins.expect("it can be read") {
            break begins;
        }
    };
    assert!(begins < seq);
    assert_eq!(missing, 0, "the newest is found backwards");
}
