//! What people write on a command line, and what is said when it cannot be understood.

use std::net::IpAddr;

use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime};

/// One address.
pub fn address(text: &str) -> Result<IpAddr, String> {
    let entry = weir_tables::parse_prefix(text)
        .map_err(|error| format!("{}; {}", error.message, error.help))?;
    let net = entry.prefix;
    if net.prefix_len() == net.max_prefix_len() {
        return Ok(net.addr());
    }
    Err(format!(
        "that is a prefix; ask for one address of it, such as {}",
        net.addr()
    ))
}

/// A claim that is supposed: `NAME=VALUE`.
pub fn claim(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err("write it as NAME=VALUE, such as department=Finance".to_owned()),
    }
}

/// A time: how long ago (`90s`, `15m`, `2h`, `3d`), or RFC 3339; gives RFC 3339.
pub fn time(text: &str) -> Result<String, String> {
    moment(text, OffsetDateTime::now_utc()).ok_or_else(|| {
        "write how long ago (90s, 15m, 2h, 3d) or a time such as 2026-01-01T08:00:00Z".to_owned()
    })
}

fn moment(text: &str, now: OffsetDateTime) -> Option<String> {
    if OffsetDateTime::parse(text, &Rfc3339).is_ok() {
        return Some(text.to_owned());
    }
    let then = now.checked_sub(duration(text)?)?;
    then.format(&Rfc3339).ok()
}

/// A length of time: `60s`, `5m`, `1h`; gives seconds.
pub fn seconds(text: &str) -> Result<u64, String> {
    let seconds = duration(text).and_then(|time| u64::try_from(time.whole_seconds()).ok());
    seconds.ok_or_else(|| "write a number with its unit, such as 60s, 5m or 1h".to_owned())
}

fn duration(text: &str) -> Option<Duration> {
    let unit = match text.chars().last()? {
        's' => Duration::SECOND,
        'm' => Duration::MINUTE,
        'h' => Duration::HOUR,
        'd' => Duration::DAY,
        _ => return None,
    };
    let count: u32 = text[..text.len() - 1].parse().ok()?;
    unit.checked_mul(i32::try_from(count).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_ages_or_dates() {
        let now = OffsetDateTime::parse("2026-01-02T08:00:00Z", &Rfc3339).expect("a date");
        let said = |text| moment(text, now);
        assert_eq!(said("15m").as_deref(), Some("2026-01-02T07:45:00Z"));
        assert_eq!(said("1d").as_deref(), Some("2026-01-01T08:00:00Z"));
        assert_eq!(
            said("2026-01-01T08:00:00+01:00").as_deref(),
            Some("2026-01-01T08:00:00+01:00")
        );
        for wrong in ["", "m", "5", "-5m", "5 m", "yesterday", "5\u{b5}"] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
        assert_eq!(said("99999999999d"), None);
        assert_eq!(said("4000000000d"), None);
    }

    #[test]
    fn lengths_of_time_have_a_unit() {
        assert_eq!(seconds("60s"), Ok(60));
        assert_eq!(seconds("5m"), Ok(300));
        for wrong in ["60", "", "s", "-1s", "1.5m"] {
            let error = seconds(wrong).expect_err(wrong);
            assert!(error.contains("60s"), "{error}");
        }
    }

    #[test]
    fn what_is_no_address_says_what_to_write() {
        assert_eq!(
            address("203.0.113.9/32"),
            Ok("203.0.113.9".parse().expect("one"))
        );
        let error = address("203.0.113.0/24").expect_err("a prefix");
        assert!(error.contains("such as 203.0.113.0"), "{error}");
        let error = address("203.0.113.9:443").expect_err("with a port");
        assert!(error.contains(';'), "{error}");
    }
}
