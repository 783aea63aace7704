//! Whatever the tenant wrote into a name, it comes back out of a file as it was, and is no formula.

use proptest::prelude::*;
use serde_json::Value;
use weir_entra::review::export::Format;
use weir_entra::review::{Cell, Head, Row, What};

use crate::stores::Scene;
use crate::tenant::{head_of, now, written};

/// A row of anything.
#[derive(Clone, Debug)]
struct Any {
    text: String,
    list: Vec<String>,
    flag: Option<bool>,
}

impl Row for Any {
    const COLUMNS: &'static [&'static str] = &["text", "list", "flag"];

    fn cells(&self) -> Vec<Cell<'_>> {
        let list = Cell::list(Some(&self.list));
        vec![Cell::text(&self.text), list, Cell::flag(self.flag)]
    }
}

fn export(head: &Head, format: Format, rows: &[Any]) -> String {
    let (text, content) = written(head, format, |take| rows.iter().try_for_each(take));
    assert_eq!(content.bytes, text.len() as u64);
    text
}

/// Lines and fields of RFC 4180, read letter by letter.
fn read(text: &str) -> Vec<Vec<String>> {
    let (mut lines, mut line, mut field) = (Vec::new(), Vec::new(), String::new());
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.next_if_eq(&'"').is_some() => field.push('"'),
            '"' => quoted = !quoted,
            ',' if !quoted => line.push(std::mem::take(&mut field)),
            '\r' if !quoted => {
                assert_eq!(letters.next(), Some('\n'));
                line.push(std::mem::take(&mut field));
                lines.push(std::mem::take(&mut line));
            }
            letter => field.push(letter),
        }
    }
    assert!(!quoted && field.is_empty() && line.is_empty());
    lines
}

fn texts() -> impl Strategy<Value = String> {
    let awkward = prop::collection::vec(
        prop::sample::select(vec![
            "=", "+", "-", "@", "\t", "\r", "\n", " ", ",", ";", "\"", "\\", "'", "a", "ü", "＝",
        ]),
        0..6,
    );
    prop_oneof![awkward.prop_map(|pieces| pieces.concat()), any::<String>()]
}

fn rows() -> impl Strategy<Value = Vec<Any>> {
    let row = (
        texts(),
        prop::collection::vec(texts(), 0..3),
        any::<Option<bool>>(),
    );
    prop::collection::vec(
        row.prop_map(|(text, list, flag)| Any { text, list, flag }),
        0..4,
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn a_csv_reads_as_it_was_written_and_has_no_formula(rows in rows()) {
        let head = head();
        let lines = read(&export(&head, Format::Csv, &rows));
        prop_assert_eq!(&lines[0], &["tenant", "as_of", "text", "list", "flag"]);
        prop_assert_eq!(lines.len(), rows.len() + 1);
        for (line, row) in lines[1..].iter().zip(&rows) {
            prop_assert_eq!(&line[0], &head.tenant.to_string());
            prop_assert_eq!(&line[1], &head.as_of);
            let bare = line[2].strip_prefix('\'').filter(|bare| *bare == row.text);
            prop_assert!(line[2] == row.text || bare.is_some(), "{:?} is {:?}", row.text, line[2]);
            for field in line {
                let begins = field.trim_start().chars().next();
                prop_assert!(!begins.is_some_and(|begins| "=+-@＝＋－＠".contains(begins)), "{field:?}");
                prop_assert!(!field.starts_with(['\t', '\r', '\n']), "{field:?}");
            }
            prop_assert_eq!(&line[4], match row.flag { None => "unknown", Some(true) => "true", Some(false) => "false" });
        }
    }

    #[test]
    fn json_reads_as_it_was_written(rows in rows()) {
        let whole: Value = serde_json::from_str(&export(&head(), Format::Json, &rows)).expect("it is JSON");
        let read = whole["rows"].as_array().expect("a list");
        prop_assert_eq!(read.len(), rows.len());
        for (read, row) in read.iter().zip(&rows) {
            prop_assert_eq!(read["text"].as_str(), Some(row.text.as_str()));
            prop_assert_eq!(&read["list"], &Value::from(row.list.clone()));
            prop_assert_eq!(read["flag"].as_bool(), row.flag);
        }
    }
}

fn head() -> Head {
    use std::sync::OnceLock;
    static HEAD: OnceLock<Head> = OnceLock::new();
    let make = || {
        let scene = Scene::new();
        head_of(&scene, &now(&scene, 10), What::Access)
    };
    HEAD.get_or_init(make).clone()
}
