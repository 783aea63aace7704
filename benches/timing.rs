//! How long the cores are measured: seconds for each, because what is looked for is a factor, not a per cent.

use std::time::Duration;

use criterion::Criterion;

pub fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(30)
}
