//! The audit store across restarts, rotation and crashes.

use weir_api::record::ChangeKind;
use weir_api::{Actor, Change, Record, RecordBody};
use weir_control::audit::{Audit, Filter, Limits};

#[test]
fn numbers_go_on_after_a_restart_and_a_cut_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("audit.jsonl");
    let audit = Audit::open(&path, Limits::default()).expect("opened");
    assert_eq!(audit.append(change("first")), 1);
    assert_eq!(audit.append(change("second")), 2);
    drop(audit);
    let mut text = std::fs::read_to_string(&path).expect("read");
    text.push_str("{\"seq\":3,\"time\":\"20");
    std::fs::write(&path, &text).expect("written");

    let audit = Audit::open(&path, Limits::default()).expect("opened");

    let (lines, newest) = audit.last(10, &Filter::default());
    assert_eq!(newest, 2);
    assert_eq!(lines.len(), 2, "what a crash has cut is no record");
    assert_eq!(audit.append(change("third")), 3);
    let text = std::fs::read_to_string(&path).expect("read");
    let last: Record = serde_json::from_str(text.lines().last().expect("a line")).expect("whole");
    assert_eq!(last.seq, 3);
}

#[test]
fn files_are_rotated_by_size_and_bounded_in_number() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("audit.jsonl");
    let limits = Limits {
        file_bytes: 400,
        files: 2,
        lines: 4,
        ..Limits::default()
    };
    let audit = Audit::open(&path, limits).expect("opened");
    for number in 0..20 {
        audit.append(change(&format!("number {number}")));
    }

    let mut names: Vec<_> = std::fs::read_dir(directory.path())
        .expect("read")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("text")
        })
        .collect();
    names.sort();
    assert_eq!(names, ["audit.jsonl", "audit.jsonl.1", "audit.jsonl.2"]);
    for name in names {
        let data = std::fs::metadata(directory.path().join(name)).expect("there");
        assert!(data.len() <= 400, "{} bytes", data.len());
        assert_eq!(
            std::os::unix::fs::PermissionsExt::mode(&data.permissions()) & 0o777,
            0o640
        );
    }
    let (lines, newest) = audit.last(100, &Filter::default());
    assert_eq!(newest, 20);
    assert_eq!(
        lines.iter().map(|line| line.record.seq).collect::<Vec<_>>(),
        [17, 18, 19, 20]
    );
    assert!(audit.trouble().is_none());
}

#[test]
fn a_file_that_somebody_moved_away_costs_no_line_and_no_older_file() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("audit.jsonl");
    let limits = Limits {
        file_bytes: 400,
        files: 2,
        ..Limits::default()
    };
    std::fs::write(directory.path().join("audit.jsonl.1"), "older\n").expect("written");
    let audit = Audit::open(&path, limits).expect("opened");
    audit.append(change("first"));
    std::fs::rename(&path, directory.path().join("moved")).expect("moved");

    for number in 0..3 {
        audit.append(change(&format!("number {number}")));
    }

    assert!(audit.trouble().is_none(), "{:?}", audit.trouble());
    let older = std::fs::read_to_string(directory.path().join("audit.jsonl.1"));
    assert_eq!(older.expect("still there"), "older\n");
    let lines = |name| std::fs::read_to_string(directory.path().join(name)).expect("there");
    let all = lines("moved") + &lines("audit.jsonl");
    assert_eq!(all.lines().count(), 4, "{all}");
}

#[test]
fn lines_in_memory_are_bounded_in_bytes() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("audit.jsonl");
    let limits = Limits {
        line_bytes: 10_000,
        ..Limits::default()
    };
    let audit = Audit::open(&path, limits).expect("opened");
    for _ in 0..10 {
        audit.append(change(&"x".repeat(4_000)));
    }
    assert_eq!(audit.last(100, &Filter::default()).0.len(), 2);
    audit.append(change(&"x".repeat(20_000)));
    assert_eq!(audit.last(100, &Filter::default()).0.len(), 1);
    drop(audit);

    let audit = Audit::open(&path, limits).expect("opened");
    assert_eq!(audit.last(100, &Filter::default()).0.len(), 1);
    assert_eq!(audit.append(change("next")), 12);
}

#[test]
fn a_line_that_cannot_be_written_is_counted_and_still_shown() {
    let audit = Audit::open("/dev/full".as_ref(), Limits::default()).expect("opened");
    audit.append(change("lost on the disk"));
    let (count, why) = audit.trouble().expect("trouble");
    assert_eq!(count, 1);
    assert!(why.contains("No space left"), "{why}");
    assert_eq!(audit.last(1, &Filter::default()).0.len(), 1);
}

fn change(detail: &str) -> RecordBody {
    RecordBody::Change(Change {
        time: "2026-01-01T00:00:00.000Z".to_owned(),
        kind: ChangeKind::Change,
        generation: 1,
        who: Actor::Weir,
        action: "reload".to_owned(),
        done: true,
        detail: detail.to_owned(),
    })
}
