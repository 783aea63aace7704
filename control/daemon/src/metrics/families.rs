//! Families of samples, and their text.

use std::collections::BTreeMap;

use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// Families by name.
#[derive(Default)]
pub(super) struct Families(BTreeMap<&'static str, MetricFamily>);

/// One family, to which samples are added.
pub(super) struct Family<'f>(&'f mut MetricFamily);

/// A number that a sample can have.
pub(super) trait Number {
    fn number(self) -> f64;
}

impl Families {
    /// A number that only grows, until a process starts anew.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::COUNTER)
    }

    /// A number that comes and goes.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::GAUGE)
    }

    /// How often something was within bounds.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, help, MetricType::HISTOGRAM)
    }

    fn family(&mut self, name: &'static str, help: &str, kind: MetricType) -> Family<'_> {
        Family(self.0.entry(name).or_insert_with(|| {
            let mut family = MetricFamily::default();
            family.set_name(name.to_owned());
            family.set_help(help.to_owned());
            family.set_field_type(kind);
            family
        }))
    }

    /// All that have samples.
    pub(super) fn text(self) -> String {
        let all = self.0.into_values();
        let told: Vec<_> = all.filter(|one| !one.get_metric().is_empty()).collect();
        let mut text = String::new();
        TextEncoder::new()
            .encode_utf8(&told, &mut text)
            .expect("each family has a name and samples");
        text
    }
}

impl Family<'_> {
    /// A sample of a counter.
    pub(super) fn add(&mut self, labels: &[(&str, &str)], value: impl Number) {
        let mut counter = Counter::default();
        counter.set_value(value.number());
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_counter(counter);
        self.0.mut_metric().push(metric);
    }

    /// A sample of a gauge.
    pub(super) fn set(&mut self, labels: &[(&str, &str)], value: impl Number) {
        let mut gauge = Gauge::default();
        gauge.set_value(value.number());
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_gauge(gauge);
        self.0.mut_metric().push(metric);
    }

    /// A sample of a gauge that is one of several words: 1 for the one that holds, 0 for the others.
    pub(super) fn one_of(&mut self, labels: &[(&str, &str)], label: &str, all: &[&str], is: &str) {
        for word in all {
            let labels = [labels, &[(label, *word)]].concat();
            self.set(&labels, *word == is);
        }
    }

    /// A histogram: each bound with what is within it and not within the one before, what is beyond all
    /// bounds, and the sum of all.
    pub(super) fn spread(
        &mut self,
        labels: &[(&str, &str)],
        within: &[(f64, u64)],
        beyond: u64,
        sum: f64,
    ) {
        let mut count = 0;
        let mut histogram = Histogram::default();
        let buckets = within.iter().map(|(bound, more)| {
            count += more;
            let mut bucket = Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(count);
            bucket
        });
        histogram.set_bucket(buckets.collect());
        histogram.set_sample_count(count + beyond);
        histogram.set_sample_sum(sum);
        let mut metric = Metric::from_label(pairs(labels));
        metric.set_histogram(histogram);
        self.0.mut_metric().push(metric);
    }
}

fn pairs(labels: &[(&str, &str)]) -> Vec<LabelPair> {
    let pairs = labels.iter().map(|(name, value)| {
        let mut pair = LabelPair::default();
        pair.set_name((*name).to_owned());
        pair.set_value((*value).to_owned());
        pair
    });
    pairs.collect()
}

impl Number for f64 {
    fn number(self) -> f64 {
        self
    }
}

impl Number for bool {
    fn number(self) -> f64 {
        f64::from(u8::from(self))
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "Prometheus knows no other numbers; whole ones are whole up to 2^53"
)]
impl Number for u64 {
    fn number(self) -> f64 {
        self as f64
    }
}

#[expect(clippy::cast_precision_loss, reason = "as above")]
impl Number for i64 {
    fn number(self) -> f64 {
        self as f64
    }
}

impl Number for u32 {
    fn number(self) -> f64 {
        f64::from(self)
    }
}

impl Number for usize {
    fn number(self) -> f64 {
        (self as u64).number()
    }
}
