//! The report of a replay as one page, for people who did not run it.
//!
//! In: the report's JSON, which is all that it knows. Out: one file of HTML with its style and plots in it: no
//! script, and nothing that is loaded from anywhere. Every word that comes from outside (names of files and lists)
//! is escaped. What the JSON does not have is left out, not made up.

mod html;
mod judged;
mod plot;
mod read;
mod speed;

use serde_json::Value;

use html::{Html, thousands};
use read::Replay;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Not the JSON of a replay.
    #[error(
        "this is no report of a replay ({0}); `cargo xtask bench replay --json FILE` writes one"
    )]
    NoReplay(#[from] serde_json::Error),
}

/// Draws the page.
pub fn render(report: &Value) -> Result<String, PageError> {
    let replay = Replay::read(report)?;
    let mut page = Html::default();
    page.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\" />\n");
    page.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\" />\n");
    page.raw("<meta name=\"color-scheme\" content=\"light dark\" />\n");
    page.element("title", &format!("Weir: {}", replay.traffic.name));
    page.raw("<style>\n");
    page.raw(include_str!("page.css"));
    page.raw("</style>\n</head>\n<body>\n<main>\n");
    judged::draw(&mut page, &replay);
    speed::draw(&mut page, &replay);
    notes(&mut page, &replay);
    page.raw("</main>\n");
    footer(&mut page, &replay);
    page.raw("</body>\n</html>\n");
    Ok(page.finish())
}

fn notes(page: &mut Html, replay: &Replay) {
    let all = || replay.traffic.notes.iter().chain(&replay.notes);
    if all().next().is_none() {
        return;
    }
    page.raw("<section>\n<h2>What to know about these numbers</h2>\n<ul class=\"notes\">\n");
    for note in all() {
        page.element("li", note);
    }
    page.raw("</ul>\n</section>\n");
}

fn footer(page: &mut Html, replay: &Replay) {
    let machine = &replay.machine;
    page.raw("<footer>\n");
    let date = machine.date.split('.').next().unwrap_or_default();
    page.element(
        "p",
        &format!(
            "{date} UTC. {} processors ({}), {} MB of memory, Linux {}. Load before: {}. Speeds are medians of {} \
             runs; lines show the least and the most.",
            machine.cpus,
            machine.cpu,
            thousands(machine.memory_mb),
            machine.kernel,
            machine.load_before,
            machine.runs,
        ),
    );
    let versions: Vec<String> = replay
        .versions
        .iter()
        .map(|(name, version)| format!("{name}: {version}"))
        .collect();
    page.element("p", &versions.join(" · "));
    page.raw("</footer>\n");
}
