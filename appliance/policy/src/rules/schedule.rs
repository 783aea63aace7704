//! Days and hours of a time zone.

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use time::UtcDateTime;

/// The words for days, from Monday.
pub(crate) const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Minutes of a day.
pub(crate) const DAY: u16 = 24 * 60;

/// Days and hours of a time zone, by its clocks on the wall.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Bits of the days, from Monday.
    pub(crate) days: u8,
    /// Minute of the day.
    pub(crate) from: u16,
    /// The first minute that is not part of it; before `from` when it is of the next day.
    pub(crate) to: u16,
    pub(crate) zone: TimeZone,
}

impl Schedule {
    /// Whether a moment is part of it; nothing when it cannot be a date.
    pub(crate) fn holds(&self, moment: UtcDateTime) -> Option<bool> {
        let (day, minute) = self.local(moment)?;
        let on = |day: u8| self.days & 1 << (day % 7) != 0;
        Some(if self.from < self.to {
            on(day) && (self.from..self.to).contains(&minute)
        } else {
            on(day) && minute >= self.from || on(day + 6) && minute < self.to
        })
    }

    /// In words.
    pub(crate) fn local_words(&self, moment: UtcDateTime) -> String {
        let zone = self.zone.iana_name().unwrap_or("UTC");
        match self.local(moment) {
            Some((day, minute)) => format!(
                "it is {} {:02}:{:02} in {zone}",
                DAYS[usize::from(day)],
                minute / 60,
                minute % 60
            ),
            None => format!("it is no time that {zone} has"),
        }
    }

    /// Day from Monday, and minute of the day.
    fn local(&self, moment: UtcDateTime) -> Option<(u8, u16)> {
        let instant = Timestamp::from_second(moment.unix_timestamp()).ok()?;
        let local = self.zone.to_datetime(instant);
        let day = match local.weekday() {
            Weekday::Monday => 0,
            Weekday::Tuesday => 1,
            Weekday::Wednesday => 2,
            Weekday::Thursday => 3,
            Weekday::Friday => 4,
            Weekday::Saturday => 5,
            Weekday::Sunday => 6,
        };
        let minute = i16::from(local.hour()) * 60 + i16::from(local.minute());
        Some((day, u16::try_from(minute).ok()?))
    }
}

/// The time zone of that name.
pub(crate) fn zone(name: &str) -> Result<TimeZone, Vec<String>> {
    let known = TimeZoneDatabase::bundled();
    known
        .get(name)
        .map_err(|_| known.available().map(|name| name.to_string()).collect())
}

/// `HH:MM`, up to `24:00`.
pub(crate) fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| -> Option<u16> {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok())?
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let all = hours * 60 + minutes;
    (minutes < 60 && all <= DAY).then_some(all)
}
