//! A strict reader of Prometheus's text format, which shares nothing with its writer.

use std::collections::{BTreeMap, BTreeSet};

type Labels = BTreeMap<String, String>;

/// What a text tells.
#[derive(Debug, Default)]
pub struct Exposition {
    samples: BTreeMap<String, Vec<(Labels, f64)>>,
}

impl Exposition {
    /// Reads a text; panics where it breaks a rule of the format or of Prometheus's names.
    pub fn parse(text: &str) -> Self {
        let mut told = Self::default();
        let mut families: BTreeMap<String, (bool, Option<String>)> = BTreeMap::new();
        let mut current = String::new();
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect(line);
                assert!(
                    help.len() > 10 && help.ends_with('.')
                        || help.contains(';')
                        || help.ends_with("(1)"),
                    "{line}"
                );
                let new = families.insert(name.to_owned(), (true, None)).is_none();
                assert!(new, "{line}: twice");
                name.clone_into(&mut current);
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').expect(line);
                assert_eq!(name, current, "{line}");
                check_name(name, kind);
                families.get_mut(name).expect(line).1 = Some(kind.to_owned());
            } else {
                told.sample(line, &current, &families);
            }
        }
        for (name, (_, kind)) in &families {
            if kind.as_deref() == Some("histogram") {
                told.check_histogram(name);
            }
        }
        told
    }

    /// The names of all samples.
    pub fn names(&self) -> BTreeSet<&str> {
        self.samples.keys().map(String::as_str).collect()
    }

    /// The samples of a name.
    pub fn samples(&self, name: &str) -> &[(Labels, f64)] {
        self.samples.get(name).map_or(&[], Vec::as_slice)
    }

    /// The value of a sample with exactly these labels.
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Labels = labels
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut samples = self.samples(name).iter();
        samples
            .find(|(found, _)| *found == labels)
            .map(|(_, value)| *value)
    }

    fn sample(
        &mut self,
        line: &str,
        current: &str,
        families: &BTreeMap<String, (bool, Option<String>)>,
    ) {
        let end = line.find(['{', ' ']).expect(line);
        let (name, rest) = line.split_at(end);
        let kind = families[current]
            .1
            .as_deref()
            .expect("a type before samples");
        let stem = match kind {
            "histogram" => ["_bucket", "_sum", "_count"]
                .into_iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .expect(line),
            _ => name,
        };
        assert_eq!(stem, current, "{line}: stands in another family");
        let (labels, rest) = labels(rest, line);
        let value = rest.strip_prefix(' ').expect(line);
        let value: f64 = value.parse().expect(line);
        assert!(!value.is_nan(), "{line}");
        assert!(kind == "gauge" || value >= 0.0, "{line}");
        let samples = self.samples.entry(name.to_owned()).or_default();
        assert!(
            samples.iter().all(|(other, _)| *other != labels),
            "{line}: twice"
        );
        samples.push((labels, value));
    }

    fn check_histogram(&self, name: &str) {
        let mut last: BTreeMap<Labels, f64> = BTreeMap::new();
        for (labels, count) in self.samples(&format!("{name}_bucket")) {
            let mut without = labels.clone();
            let bound = without.remove("le").expect("each bucket has a bound");
            let before = last.insert(without.clone(), *count).unwrap_or(0.0);
            assert!(*count >= before, "{name} {labels:?}");
            if bound == "+Inf" {
                let all = self.samples(&format!("{name}_count"));
                assert!(all.contains(&(without, *count)), "{name} {labels:?}");
            }
        }
    }
}

/// <https://prometheus.io/docs/practices/naming/>
fn check_name(name: &str, kind: &str) {
    assert!(name.starts_with("weir_"), "{name}");
    assert!(
        name.bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
        "{name}"
    );
    assert_eq!(
        kind == "counter",
        name.ends_with("_total"),
        "{name} is a {kind}"
    );
    for unit in ["_ms", "_milliseconds", "_minutes", "_kb", "_percent"] {
        assert!(!name.contains(unit), "{name}: base units only");
    }
}

/// What stands in braces, and what follows.
fn labels<'t>(text: &'t str, line: &str) -> (Labels, &'t str) {
    let mut labels = Labels::new();
    let Some(mut rest) = text.strip_prefix('{') else {
        return (labels, text);
    };
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return (labels, rest);
        }
        let (name, value) = rest.split_once("=\"").expect(line);
        // Nobody's name and no client's address belongs in a label.
        let known = [
            "certificate",
            "class",
            "client",
            "decision",
            "flow",
            "hook",
            "interface",
            "kernel",
            "kind",
            "le",
            "list",
            "map",
            "name",
            "observed",
            "outcome",
            "part",
            "plane",
            "process",
            "reason",
            "result",
            "resumed",
            "ring",
            "rule",
            "server",
            "service",
            "sha256",
            "side",
            "slot",
            "state",
            "table",
            "verdict",
            "version",
        ];
        assert!(known.contains(&name), "{line}: label {name}");
        let mut unescaped = String::new();
        let mut characters = value.char_indices();
        let end = loop {
            match characters.next().expect(line) {
                (at, '"') => break at,
                (_, '\\') => match characters.next().expect(line).1 {
                    'n' => unescaped.push('\n'),
                    c @ ('\\' | '"') => unescaped.push(c),
                    c => panic!("{line}: \\{c}"),
                },
                (_, c) => unescaped.push(c),
            }
        };
        assert!(
            labels.insert(name.to_owned(), unescaped).is_none(),
            "{line}"
        );
        rest = &value[end + 1..];
        rest = rest.strip_prefix(',').unwrap_or(rest);
    }
}
