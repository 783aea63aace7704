//! The audit store across restarts, rotation and crashes.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigHandler, Signal, signal};
use weir_api::record::ChangeKind;
use weir_api::{Actor, Change, Record, RecordBody};
use weir_control::audit::{Audit, Filter, History, Last, Limits, Part};

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

    assert_eq!(audit.newest(), 2);
    assert_eq!(in_memory(&audit), 2, "what a crash has cut is no record");
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
    let all = Filter::default();
    assert_eq!(audit.newest(), 20);
    assert_eq!(audit.oldest().expect("some").0, 17);
    let part = audit.after(16, 100, &all).expect("in memory");
    assert_eq!((seqs(&part.text), part.seen), (vec![17, 18, 19, 20], 20));
    assert_eq!(audit.after(15, 100, &all), None, "not in memory");
    assert_eq!(audit.last(2, &all), Last::After(18));
    let further = Last::Further {
        missing: 1,
        before: 17,
    };
    assert_eq!(audit.last(5, &all), further);
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
    assert_eq!(in_memory(&audit), 2);
    audit.append(change(&"x".repeat(20_000)));
    assert_eq!(in_memory(&audit), 1);
    drop(audit);

    let audit = Audit::open(&path, limits).expect("opened");
    assert_eq!(in_memory(&audit), 1);
    assert_eq!(audit.append(change("next")), 12);
}

#[test]
fn a_line_that_cannot_be_written_is_counted_and_still_shown() {
    let audit = Audit::open("/dev/full".as_ref(), Limits::default()).expect("opened");
    audit.append(change("lost on the disk"));
    let (count, why) = audit.trouble().expect("trouble");
    assert_eq!(count, 1);
    assert!(why.contains("No space left"), "{why}");
    assert_eq!(in_memory(&audit), 1);
}

#[test]
fn what_memory_holds_no_more_is_read_from_the_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let audit = many(directory.path());
    let all = Filter::default();
    let oldest = seqs(&read(&mut audit.history(), 0, &all))[0];
    assert!((2..900).contains(&oldest), "older files are gone: {oldest}");

    for after in [0, oldest, 1_000, 1_500, 1_999, 2_000] {
        let found = seqs(&read(&mut audit.history(), after, &all));
        let wanted: Vec<u64> = (oldest.max(after + 1)..=2_000).collect();
        assert_eq!(found, wanted, "after {after}");
    }
    let mut history = audit.history();
    let part = history.after(1_000, 3, &all).expect("read").expect("some");
    assert_eq!(seqs(&part.text), [1_001, 1_002, 1_003]);
}

#[test]
fn the_newest_lines_are_found_backwards_over_several_files() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let audit = many(directory.path());
    let all = Filter::default();
    let oldest = seqs(&read(&mut audit.history(), 0, &all))[0];
    let begins = |mut missing: usize, before| {
        let mut history = audit.history();
        loop {
            let found = history.last(&mut missing, before, &all).expect("read");
            if let Some(after) = found {
                return after;
            }
        }
    };
    assert_eq!(begins(1, 2_001), 1_999);
    assert_eq!(begins(700, 1_901), 1_200);
    assert_eq!(begins(usize::MAX, 2_001), oldest - 1);
    assert_eq!(begins(0, 1_001), 1_000);
}

#[test]
fn a_file_that_is_rotated_while_it_is_read_loses_no_line() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("audit.jsonl");
    let limits = Limits {
        file_bytes: 20_000,
        files: 8,
        lines: 1,
        ..Limits::default()
    };
    let audit = Audit::open(&path, limits).expect("opened");
    let all = Filter::default();
    let mut history = audit.history();
    let mut found = Vec::new();
    for number in 1..=600_u64 {
        audit.append(change(&format!("number {number}")));
        let after = found.last().copied().unwrap_or(0);
        if number % 7 == 0
            && let Some(part) = history.after(after, 5, &all).expect("read")
        {
            found.extend(seqs(&part.text));
        }
    }
    let after = found.last().copied().unwrap_or(0);
    found.extend(seqs(&read(&mut history, after, &all)));
    assert_eq!(found, (1..=600).collect::<Vec<_>>());
}

#[test]
fn since_begins_at_the_first_file_that_was_written_later() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let audit = many(directory.path());
    let since = |time: &str| Filter {
        since: Some(time.to_owned()),
        ..Filter::default()
    };
    let begins = |filter: &Filter| audit.history().since(filter).expect("read");
    let long_ago = begins(&since("2001-01-01T00:00:00.000Z"));
    assert_eq!(
        long_ago + 1,
        seqs(&read(&mut audit.history(), 0, &Filter::default()))[0]
    );
    assert_eq!(
        begins(&since("2999-01-01T00:00:00.000Z")),
        0,
        "no file is so new"
    );

    let hour_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(1);
    for number in 1..=8 {
        let path = directory.path().join(format!("audit.jsonl.{number}"));
        let file = std::fs::File::open(path).expect("opened");
        file.set_modified(hour_ago).expect("its time can be set");
    }
    let later = time::OffsetDateTime::from(hour_ago) + time::Duration::minutes(10);
    let later = later
        .format(&time::format_description::well_known::Rfc3339)
        .expect("a time");
    assert!(begins(&since(&later)) > long_ago);
}

#[test]
fn files_that_hold_no_records_are_passed_over() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("audit.jsonl");
    std::fs::write(directory.path().join("audit.jsonl.1"), b"no record\n\xff\n").expect("written");
    let mut text = b"{\"seq\":x}\n\n\xff\xfe\n".to_vec();
    text.extend(std::iter::repeat_n(b'x', 300_000));
    text.push(b'\n');
    std::fs::write(&path, text).expect("written");
    let audit = Audit::open(&path, Limits::default()).expect("opened");
    assert_eq!(audit.append(change("first")), 1);
    let found = read(&mut audit.history(), 0, &Filter::default());
    assert_eq!(seqs(&found), [1]);
    let mut missing = 5;
    let mut history = audit.history();
    let after = history.last(&mut missing, 2, &Filter::default());
    assert_eq!((after.expect("read"), missing), (Some(0), 4));
}

#[test]
fn long_lines_come_in_parts_of_a_bounded_size() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let limits = Limits {
        file_bytes: 20 << 20,
        ..Limits::default()
    };
    let audit = Audit::open(&directory.path().join("audit.jsonl"), limits).expect("opened");
    let long = "x".repeat(60_000);
    for _ in 0..200 {
        audit.append(change(&long));
    }
    let (mut history, filter) = (audit.history(), Filter::default());
    let mut from_files = |after| history.after(after, 256, &filter).expect("read");
    let mut from_memory = |after| audit.after(after, 256, &Filter::default());
    let readers: [&mut dyn FnMut(u64) -> Option<Part>; 2] = [&mut from_memory, &mut from_files];
    for reader in readers {
        let (mut seen, mut lines) = (0, 0);
        while seen < 200 {
            let part = reader(seen).expect("there is more");
            assert!(part.text.len() < 2 << 20, "{} bytes", part.text.len());
            (seen, lines) = (part.seen, lines + part.lines);
        }
        assert_eq!(lines, 200, "all of them come");
    }
}

#[test]
fn what_a_full_disk_has_cut_does_not_hide_the_line_behind_it() {
    const CHILD: &str = "WEIR_TEST_FULL_DISK";
    if std::env::var_os(CHILD).is_none() {
        // What a process may write is bounded for all of it, so that this takes one of its own.
        let program = std::env::current_exe().expect("a running program has a path");
        let output = std::process::Command::new(program)
            .args([
                "--exact",
                "what_a_full_disk_has_cut_does_not_hide_the_line_behind_it",
            ])
            .env(CHILD, "1")
            .output()
            .expect("it can be started again");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}"
        );
        return;
    }
    // SAFETY: nothing is called by the signal, which is ignored; the write fails instead.
    unsafe { signal(Signal::SIGXFSZ, SigHandler::SigIgn) }.expect("it can be ignored");
    let (_, hard) = getrlimit(Resource::RLIMIT_FSIZE).expect("a limit");
    let directory = tempfile::tempdir().expect("a temporary directory");
    let path = directory.path().join("audit.jsonl");
    let audit = Audit::open(&path, Limits::default()).expect("opened");
    audit.append(change("first"));
    let full = std::fs::metadata(&path).expect("there").len() + 20;
    setrlimit(Resource::RLIMIT_FSIZE, full, hard).expect("lowered");
    audit.append(change("cut"));
    audit.append(change("not written at all"));
    setrlimit(Resource::RLIMIT_FSIZE, hard, hard).expect("raised");
    assert_eq!(audit.trouble().expect("it is told").0, 2);

    audit.append(change("written"));

    let lines = read(&mut audit.history(), 0, &Filter::default());
    assert_eq!(seqs(&lines), [1, 4]);
    let audit = Audit::open(&path, Limits::default()).expect("opened");
    assert_eq!(audit.newest(), 4);
}

/// Two thousand lines in nine files, of which memory holds ten.
fn many(directory: &std::path::Path) -> Audit {
    let limits = Limits {
        file_bytes: 30_000,
        files: 8,
        lines: 10,
        ..Limits::default()
    };
    let audit = Audit::open(&directory.join("audit.jsonl"), limits).expect("opened");
    for number in 1..=2_000 {
        audit.append(change(&format!("number {number}")));
    }
    audit
}

/// All lines behind a number.
fn read(history: &mut History, mut after: u64, filter: &Filter) -> String {
    let mut text = String::new();
    while let Some(part) = history.after(after, usize::MAX, filter).expect("read") {
        text.push_str(&part.text);
        after = part.seen;
    }
    text
}

fn seqs(text: &str) -> Vec<u64> {
    text.lines()
        .map(|line| serde_json::from_str::<Record>(line).expect("a record").seq)
        .collect()
}

fn in_memory(audit: &Audit) -> u64 {
    audit
        .oldest()
        .map_or(0, |(oldest, _)| audit.newest() + 1 - oldest)
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
