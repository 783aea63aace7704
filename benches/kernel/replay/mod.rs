//! Traffic of an edge, replayed: what the loaded programs make of each frame, and at what speed.
//!
//! In: captures or a seed, lists, services. Out: a report. First each frame is judged, by the loaded programs and
//! by the host's code, which have to agree ([`judge`]); then the frames go through real interfaces at full
//! speed, beside others who do the same job ([`live`]); then it is all said, on the terminal ([`report`]), as JSON,
//! and as a page ([`page`]).

mod arguments;
mod judge;
mod live;
mod page;
mod report;

use anyhow::{Context as _, Result};
use weir_benches::replay::{Lists, Services, Told, Traffic, capture, generate};

use crate::Size;
use crate::lists::{Mix, mixed};
use crate::plane::Files;
use crate::report::Report;
pub use arguments::Arguments;
use report::Decided;

/// What is replayed, and by what it is judged.
pub struct Setting {
    /// The frames. Those from outside are what is sent.
    pub traffic: Traffic,
    /// Whom it comes from.
    pub lists: Lists,
    /// Whom it is for.
    pub services: Services,
    /// Whether the lists were made here, because none were given.
    pub made: bool,
}

/// Everything that came out.
pub struct Outcome {
    /// What was replayed.
    pub setting: Setting,
    /// What became of it, as the loaded programs say.
    pub told: Told,
    /// What the proxy decides about its requests.
    pub decided: Decided,
}

/// Prefixes of each family in the lists that are used where none are given.
const PREFIXES: usize = 2000;

/// Runs the bench.
pub fn run(files: &Files, size: &Size, arguments: &Arguments) -> Result<Report> {
    let mut report = Report::new("replay", size.runs);
    println!("{}", report.headline());
    let setting = setting(arguments, size)?;
    if let Some(file) = &arguments.write {
        capture::write(file, &setting.traffic.frames)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    let (told, differences) = judge::run(files, &setting)?;
    let outcome = Outcome {
        told,
        decided: Decided::of(&setting),
        setting,
    };
    report::print(&outcome, &differences);
    if !arguments.judge_only {
        live::run(files, size, &outcome.setting, &mut report)?;
    }
    report::write(&mut report, &outcome, &differences);
    page::add(&mut report, &outcome.told);
    if let Some(page) = arguments.page() {
        page::write(&page, &report, size.quick)
            .with_context(|| format!("cannot write {}", page.display()))?;
    }
    if differences.wrong > 0 {
        report.fail(format!(
            "{} frames are judged otherwise by the loaded programs than by the host's code",
            differences.wrong
        ));
    }
    Ok(report)
}

/// Reads or makes what is replayed.
fn setting(arguments: &Arguments, size: &Size) -> Result<Setting> {
    let (configured, mut named) = match &arguments.config {
        Some(file) => {
            let (services, lists) = Services::configured(file)?;
            (Some(services), lists)
        }
        None => (None, Vec::new()),
    };
    named.extend(Lists::read(&arguments.list)?);
    let made = named.is_empty();
    if made {
        named = mixed(&Mix::Routes.prefixes(PREFIXES));
        named.extend(mixed(&Mix::Six.prefixes(PREFIXES)));
    }
    let lists = Lists::compile(named);
    let said = arguments.services();
    if arguments.pcap.is_empty() {
        let services = configured.or(said).unwrap_or_else(Services::usual);
        let options = arguments.options(size.quick);
        let traffic = generate::generate(&options, &lists, &services)?;
        return Ok(Setting {
            traffic,
            lists,
            services,
            made,
        });
    }
    let mut traffic = capture::read(&arguments.pcap, arguments.limit)?;
    let services = match (configured.or(said), arguments.map) {
        (Some(services), _) => services,
        (None, Some(_)) => Services::usual(),
        (None, None) => Services::spoken_to(&traffic),
    };
    if let Some(seed) = arguments.map {
        traffic.map(seed, &arguments.classes, &lists, &services)?;
    }
    traffic.settle(&services);
    Ok(Setting {
        traffic,
        lists,
        services,
        made,
    })
}
