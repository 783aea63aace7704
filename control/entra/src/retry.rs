//! When to ask again.

use std::time::Duration;

use reqwest::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// What `Retry-After` may ask for; more or less than that is taken for these.
const SHORTEST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_mins(5);
/// Longest wait that nobody asked for.
const LONGEST_BACK_OFF: f64 = 60.0;

/// The wait that `Retry-After` asks for: seconds, with decimals, or a date (RFC 9110, 10.2.3). A date is held against
/// that of the answer, since the clock here may be wrong.
pub(crate) fn retry_after(headers: &HeaderMap, now: OffsetDateTime) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match value.parse::<f64>() {
        Ok(seconds) if seconds.is_nan() => return None,
        Ok(seconds) => Duration::from_secs_f64(seconds.clamp(0.0, LONGEST.as_secs_f64())),
        Err(_) => {
            let until = read_date(value)?;
            let from = date(headers).unwrap_or(now);
            Duration::try_from(until - from).unwrap_or(Duration::ZERO)
        }
    };
    Some(wait.clamp(SHORTEST, LONGEST))
}

/// Exponential, with full jitter: the `tries`th failure waits anything up to 1, 2, 4 … 60 seconds.
pub(crate) fn back_off(tries: u32, chance: f64) -> Duration {
    let doubled = 2_f64.powi(i32::try_from(tries.saturating_sub(1)).unwrap_or(i32::MAX));
    Duration::from_secs_f64(doubled.min(LONGEST_BACK_OFF) * chance.clamp(0.0, 1.0))
}

/// The `Date` of an answer.
pub(crate) fn date(headers: &HeaderMap) -> Option<OffsetDateTime> {
    read_date(text(headers, &DATE)?)
}

/// A header that is text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn read_date(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc2822).ok()
}
