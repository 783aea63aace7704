//! Rates from two looks at numbers that grow.

use std::collections::BTreeMap;
use std::hash::Hash;

/// How much more each of these numbers is in a second. One that has fallen began anew, and all of it is more; one that
/// is new in a look was nothing before. Without time between the looks there is no rate.
pub fn rates<K: Ord + Hash + Clone>(
    before: &BTreeMap<K, u64>,
    now: &BTreeMap<K, u64>,
    seconds: f64,
) -> BTreeMap<K, f64> {
    if seconds <= 0.0 {
        return BTreeMap::new();
    }
    let of = |(key, count): (&K, &u64)| {
        let before = before.get(key).copied().unwrap_or(0);
        let more = count.checked_sub(before).unwrap_or(*count);
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let rate = more as f64 / seconds;
        (key.clone(), rate)
    };
    now.iter().map(of).collect()
}

/// A rate in at most six characters.
pub fn shown(rate: f64) -> String {
    const UNITS: [(&str, f64); 4] = [("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9)];
    if rate < 0.05 {
        return "0".to_owned();
    }
    if rate < 10.0 {
        return format!("{rate:.1}");
    }
    // What is rounded to a thousand has the next unit.
    let place = UNITS
        .iter()
        .rposition(|(_, unit)| rate >= unit * 0.9995)
        .unwrap_or(0);
    let (name, unit) = UNITS[place];
    let digits = usize::from(place > 0 && rate / unit < 99.95);
    format!("{:.digits$}{name}", rate / unit)
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these divide without a rest")]
mod tests {
    use super::*;

    fn counts(all: &[(&'static str, u64)]) -> BTreeMap<&'static str, u64> {
        all.iter().copied().collect()
    }

    #[test]
    fn a_rate_is_what_is_more_by_the_time_between() {
        let before = counts(&[("a", 10), ("b", 100), ("gone", 5)]);
        let now = counts(&[("a", 30), ("b", 40), ("new", 8)]);
        let rates = rates(&before, &now, 2.0);
        assert_eq!(rates["a"], 10.0);
        assert_eq!(rates["b"], 20.0, "it began anew: all of it is more");
        assert_eq!(rates["new"], 4.0);
        assert!(!rates.contains_key("gone"));
    }

    #[test]
    fn without_time_there_is_no_rate() {
        let now = counts(&[("a", 30)]);
        assert!(rates(&counts(&[]), &now, 0.0).is_empty());
    }

    #[test]
    fn rates_are_short() {
        let shown_as = [
            (0.0, "0"),
            (0.5, "0.5"),
            (9.96, "10.0"),
            (42.4, "42"),
            (999.4, "999"),
            (999.6, "1.0k"),
            (12_345.0, "12.3k"),
            (123_456.0, "123k"),
            (14_880_000.0, "14.9M"),
            (2e9, "2.0G"),
        ];
        for (rate, text) in shown_as {
            assert_eq!(shown(rate), text);
            assert!(text.len() <= 6);
        }
    }
}
