//! Classes that sign-ins earn for a while.

use std::time::Duration;

use serde::Serialize;
use weir_abi::Class;

/// A class that the source address gets for a while, because a rule passed a sign-in with a verified
/// token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// `managed` or `bypass`.
    pub class: Class,
    /// How long: an hour at most.
    #[serde(rename = "for", serialize_with = "seconds")]
    pub lasts: Duration,
    /// Whether the kernel acts on it too.
    pub kernel: bool,
}

impl Grant {
    /// Whether who has this has all that the other one gives.
    pub(super) fn covers(&self, other: &Self) -> bool {
        (self.class == other.class || self.class == Class::Managed)
            && self.lasts >= other.lasts
            && (self.kernel || !other.kernel)
    }
}

/// No grant lasts longer.
pub(crate) const LONGEST: Duration = Duration::from_hours(1);

/// Longest time that a rule can name.
const LONGEST_NAMED: u64 = 3660 * 86_400;

/// `90s`, `30m`, `8h` or `7d`, which is more than nothing.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    let digits = &text[..text.len() - 1];
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let count: u64 = plain.then(|| digits.parse().ok())??;
    let all = count.checked_mul(seconds)?;
    (1..=LONGEST_NAMED)
        .contains(&all)
        .then(|| Duration::from_secs(all))
}

fn seconds<S: serde::Serializer>(lasts: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(lasts.as_secs())
}
