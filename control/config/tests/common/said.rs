//! What operators read after a mistake, word for word.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::common::Site;

/// What is said of each of these files must stand in `tests/files/said/NAME.txt`; with `UPDATE=1` it is written there.
#[track_caller]
#[allow(dead_code, reason = "some have a site of their own")]
pub fn check(cases: &[(&str, String)]) {
    check_at(&Site::new(), cases);
}

/// [`check`], in a directory that has more.
#[track_caller]
pub fn check_at(site: &Site, cases: &[(&str, String)]) {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/files/said");
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = String::new();
    for (name, text) in cases {
        let file = directory.join(format!("{name}.txt"));
        let said = site.said(text);
        if update {
            std::fs::write(&file, &said).expect("a file");
        }
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if said != expected || said.is_empty() {
            writeln!(wrong, "==== {name}: expected\n{expected}==== said\n{said}")
                .expect("a string takes every write");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
