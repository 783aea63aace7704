//! What holds for every configuration file. The input is the file, as bytes.

use std::sync::LazyLock;

use weir_config::{Report, Severity, load_at, load_lists};
use weir_policy::Policy;

#[path = "../../tests/common/mod.rs"]
#[allow(dead_code, reason = "the other tests use the rest")]
mod common;

use common::{Site, day};

/// Every file is refused with at least one error, or loads; each word about it points into the file
/// and can be shown; what loads can be used.
pub fn check(input: &[u8]) {
    let file = SITE.path("weir.toml");
    std::fs::write(&file, input).expect("the site can be written");
    let loaded = match load_at(&file, day(2026, 6, 1)) {
        Ok(loaded) => loaded,
        Err(report) => {
            assert!(report.has_errors(), "refused without an error");
            readable(input, &report);
            return;
        }
    };
    assert!(!loaded.warnings.has_errors());
    readable(input, &loaded.warnings);
    assert_eq!(loaded.digest.len(), 64);
    for service in &loaded.config.services {
        if let Err(errors) = Policy::compile(&loaded.config.policy(service)) {
            panic!("a policy was accepted that does not compile: {errors:?}");
        }
    }
    let services = loaded.config.link_services();
    assert!(
        services.is_ok_and(|services| services.len() == loaded.config.services.len()),
        "a configuration was accepted whose certificates cannot be read"
    );
    match load_lists(&loaded.config) {
        Ok((lists, report)) => {
            assert_eq!(lists.len(), loaded.config.lists.len());
            assert!(!report.has_errors());
        }
        Err(report) => assert!(report.has_errors()),
    }
}

fn readable(input: &[u8], report: &Report) {
    let name = SITE.path("weir.toml").display().to_string();
    let lines = input.split(|byte| *byte == b'\n').count();
    for diagnostic in &report.diagnostics {
        assert!(!diagnostic.message.is_empty(), "{diagnostic:?}");
        assert!(
            diagnostic.file != name || diagnostic.line <= lines,
            "{diagnostic:?} in a file of {lines} lines"
        );
    }
    let shown = report.to_string();
    assert_eq!(shown.is_empty(), report.is_empty());
    assert_eq!(report.count(Severity::Error) > 0, report.has_errors());
}

/// The certificates and lists of the full example, in a directory that this process keeps.
static SITE: LazyLock<Site> = LazyLock::new(Site::new);
