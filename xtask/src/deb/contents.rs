//! What the package holds, and where.

use std::fmt::Write as _;

/// The user-space programs, each with its place.
pub const PROGRAMS: [(&str, &str); 3] = [
    ("weir", "usr/bin/weir"),
    ("weir-control", "usr/sbin/weir-control"),
    ("weir-proxy", "usr/libexec/weir/weir-proxy"),
];

/// Files of the repository as they are, each with its place and mode. The unit files are named one by one, so that a
/// new one is not shipped by accident.
pub const FILES: [(&str, &str, u32); 23] = [
    ("images/console", "usr/libexec/weir/console", 0o755),
    ("images/nftables.conf", "usr/lib/weir/nftables.conf", 0o644),
    (
        "images/forwarding.conf",
        "usr/lib/weir/forwarding.conf",
        0o644,
    ),
    ("images/management.nft", "etc/weir/management.nft", 0o640),
    (
        "images/systemd/weir-control.service",
        "usr/lib/systemd/system/weir-control.service",
        0o644,
    ),
    (
        "images/systemd/weir-proxy.service",
        "usr/lib/systemd/system/weir-proxy.service",
        0o644,
    ),
    (
        "images/systemd/weir-firewall.service",
        "usr/lib/systemd/system/weir-firewall.service",
        0o644,
    ),
    (
        "images/systemd/weir-management.service",
        "usr/lib/systemd/system/weir-management.service",
        0o644,
    ),
    (
        "images/systemd/weir-console.service",
        "usr/lib/systemd/system/weir-console.service",
        0o644,
    ),
    (
        "images/systemd/weir-console.timer",
        "usr/lib/systemd/system/weir-console.timer",
        0o644,
    ),
    (
        "images/systemd/80-weir.preset",
        "usr/lib/systemd/system-preset/80-weir.preset",
        0o644,
    ),
    (
        "images/sysusers.d/weir.conf",
        "usr/lib/sysusers.d/weir.conf",
        0o644,
    ),
    (
        "images/tmpfiles.d/weir.conf",
        "usr/lib/tmpfiles.d/weir.conf",
        0o644,
    ),
    (
        "images/modules-load.d/weir.conf",
        "usr/lib/modules-load.d/weir.conf",
        0o644,
    ),
    (
        "images/sysctl.d/60-weir.conf",
        "usr/lib/sysctl.d/60-weir.conf",
        0o644,
    ),
    ("images/README.md", "usr/share/doc/weir/README.md", 0o644),
    (
        "images/cloud/user-data",
        "usr/share/doc/weir/examples/user-data",
        0o644,
    ),
    (
        "images/cloud/meta-data",
        "usr/share/doc/weir/examples/meta-data",
        0o644,
    ),
    (
        "images/cloud/network-config",
        "usr/share/doc/weir/examples/network-config",
        0o644,
    ),
    (
        "images/monitoring/alerts.yml",
        "usr/share/doc/weir/monitoring/alerts.yml",
        0o644,
    ),
    (
        "images/monitoring/alerts_test.yml",
        "usr/share/doc/weir/monitoring/alerts_test.yml",
        0o644,
    ),
    (
        "images/monitoring/grafana-dashboard.json",
        "usr/share/doc/weir/monitoring/grafana-dashboard.json",
        0o644,
    ),
    (
        "images/debian/lintian-overrides",
        "usr/share/lintian/overrides/weir",
        0o644,
    ),
];

/// The files that the administrator may change, as dpkg wants them named.
pub fn conffiles() -> String {
    let mut text = String::new();
    for (_, place, _) in FILES {
        if place.starts_with("etc/") {
            writeln!(text, "/{place}").expect("a String takes everything");
        }
    }
    text
}

/// A text as the body of a field: indented, with dots for empty lines.
pub fn paragraphs(text: &str) -> String {
    let mut field = String::new();
    for line in text.trim().lines() {
        let line = if line.is_empty() { "." } else { line };
        writeln!(field, " {line}").expect("a String takes everything");
    }
    field
}

/// The package's changelog: what changed stands in the repository's history.
pub fn changelog(version: &str, when: &str) -> String {
    format!(
        "weir ({version}) trixie; urgency=medium\n\n  * Version {version}.\n\n -- The Weir authors \
         <maintainers@weir.example>  {when}\n"
    )
}

/// The crates of others that the programs hold, with their licences, of what `cargo tree` tells
/// (`NAME VERSION ...|LICENCE`).
pub fn third_party(tree: &str) -> String {
    let mut crates: Vec<_> = tree
        .lines()
        .filter_map(|line| {
            let (package, licence) = line.trim_end_matches(" (*)").split_once('|')?;
            // Those of the repository stand there with their folder.
            if package.contains(" (/") {
                return None;
            }
            Some(format!(
                "{}: {licence}",
                package.replace(" (proc-macro)", "")
            ))
        })
        .collect();
    crates.sort();
    crates.dedup();
    crates.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paths;

    #[test]
    fn every_unit_and_drop_in_of_the_repository_is_shipped() {
        for folder in [
            "systemd",
            "sysusers.d",
            "tmpfiles.d",
            "modules-load.d",
            "sysctl.d",
            "cloud",
        ] {
            let files = std::fs::read_dir(paths::root().join("images").join(folder));
            for file in files.expect("the folder is there") {
                let name = file.expect("it can be read").file_name();
                let from = format!("images/{folder}/{}", name.to_string_lossy());
                assert!(
                    FILES.iter().any(|(shipped, _, _)| *shipped == from),
                    "{from}"
                );
            }
        }
    }

    #[test]
    fn crates_of_others_are_named_once_each() {
        let tree = "weir v0.1.0 (/src/control/cli)|MIT\nserde v1.0.1|MIT OR Apache-2.0\n\
                    serde_derive v1.0.1 (proc-macro)|MIT\nserde v1.0.1|MIT OR Apache-2.0 (*)\n";
        assert_eq!(
            third_party(tree),
            "serde v1.0.1: MIT OR Apache-2.0\nserde_derive v1.0.1: MIT\n"
        );
    }

    #[test]
    fn an_empty_line_does_not_end_a_field() {
        assert_eq!(paragraphs("one\n\ntwo\n"), " one\n .\n two\n");
    }
}
