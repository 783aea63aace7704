//! The report as one page.

use std::path::Path;

use anyhow::Result;
use serde_json::{Map, Value, json};
use weir_abi::Verdict;
use weir_benches::page;
use weir_benches::replay::Told;

use crate::QUICK;
use crate::report::Report;

/// Steps of time in the page's plot.
const STEPS: u32 = 120;

/// Adds to the report when frames came, which the page draws.
pub fn add(report: &mut Report, told: &Told) {
    let course = told.course(STEPS);
    let frames: Map<String, Value> = course
        .frames
        .iter()
        .map(|(verdict, counts)| {
            let name = verdict.map_or("untouched", Verdict::name);
            (name.to_owned(), json!(counts))
        })
        .collect();
    report.row(json!({ "course": course.step.as_secs_f64(), "frames": frames }));
}

/// Writes the page.
pub fn write(file: &Path, report: &Report, quick: bool) -> Result<()> {
    let mut said = report.json();
    if quick && let Some(notes) = said["notes"].as_array_mut() {
        notes.insert(0, json!(QUICK));
    }
    std::fs::write(file, page::render(&said)?)?;
    Ok(())
}
