//! Wall time, always an argument: nothing here asks a clock. [HS-30]

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use der::DateTime;
use minicbor::{Decode, Encode};

/// Seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Decode, Default, Encode, Eq, Ord, PartialEq, PartialOrd)]
#[cbor(transparent)]
pub struct UnixTime(#[n(0)] u64);

/// Text that is no time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a time as in `2024-06-01T00:00:00Z` (RFC 3339)")]
pub struct NotATime;

impl UnixTime {
    pub const fn new(seconds: u64) -> Self {
        Self(seconds)
    }

    pub const fn seconds(self) -> u64 {
        self.0
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::from_unix_duration(Duration::from_secs(self.0)) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{} s", self.0),
        }
    }
}

/// RFC 3339: a date and a time, fractions of seconds dropped, `Z` or an offset. A date alone is its
/// first second in UTC.
impl FromStr for UnixTime {
    type Err = NotATime;

    fn from_str(text: &str) -> Result<Self, NotATime> {
        let Some((date, time)) = text.split_once(['T', 't', ' ']) else {
            return at(text, "00:00:00", 0);
        };
        if let Some(time) = time.strip_suffix(['Z', 'z']) {
            return at(date, time, 0);
        }
        let sign = time.rfind(['+', '-']).ok_or(NotATime)?;
        let (time, offset) = time.split_at_checked(sign).ok_or(NotATime)?;
        let [hours, minutes] = numbers(offset.get(1..).ok_or(NotATime)?, ':')?;
        let east = i64::from(hours) * 3600 + i64::from(minutes) * 60;
        if hours > 23 || minutes > 59 {
            return Err(NotATime);
        }
        at(date, time, if offset.starts_with('-') { -east } else { east })
    }
}

fn at(date: &str, time: &str, east: i64) -> Result<UnixTime, NotATime> {
    let [year, month, day] = numbers(date, '-')?;
    let (whole, fraction) = time.split_once('.').map_or((time, "0"), |(a, b)| (a, b));
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(NotATime);
    }
    let [hour, minute, second] = numbers(whole, ':')?;
    let small = |number: u16| u8::try_from(number).map_err(|_| NotATime);
    let time = DateTime::new(
        year,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
    )
    .map_err(|_| NotATime)?;
    let seconds = i64::try_from(time.unix_duration().as_secs()).map_err(|_| NotATime)? - east;
    u64::try_from(seconds).map(UnixTime).map_err(|_| NotATime)
}

/// `N` numbers of two or four digits.
fn numbers<const N: usize>(text: &str, between: char) -> Result<[u16; N], NotATime> {
    let mut found = [0; N];
    let mut parts = text.split(between);
    for (number, first) in found.iter_mut().zip([true].into_iter().chain(std::iter::repeat(false)))
    {
        let part = parts.next().ok_or(NotATime)?;
        let digits = if first && between == '-' { 4 } else { 2 };
        if part.len() != digits || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotATime);
        }
        *number = part.parse().map_err(|_| NotATime)?;
    }
    parts.next().is_none().then_some(found).ok_or(NotATime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hs_30_time_is_read_as_it_is_written() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2024-06-01T00:00:00Z", 1_717_200_000),
            ("2024-06-01", 1_717_200_000),
            ("2024-06-01T02:30:00+02:30", 1_717_200_000),
            ("2024-05-31T23:00:00-01:00", 1_717_200_000),
            ("2024-06-01t00:00:00.999z", 1_717_200_000),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(text.parse(), Ok(UnixTime::new(seconds)), "{text}");
        }
        assert_eq!(UnixTime::new(1_717_200_000).to_string(), "2024-06-01T00:00:00Z");
    }

    #[test]
    fn hs_30_what_is_no_time_is_refused() {
        for text in [
            "",
            "now",
            "2024",
            "2024-13-01",
            "2024-02-30T00:00:00Z",
            "2024-06-01T24:00:00Z",
            "2024-06-01T00:00:00",
            "2024-06-01T00:00Z",
            "2024-6-1",
            "2024-06-01T00:00:00.Z",
            "2024-06-01T00:00:00+2",
            "2024-06-01T00:00:00+25:00",
            "1969-12-31T00:00:00Z",
            "+024-06-01",
            "2024-06-01T00:00:00ZZ",
        ] {
            assert_eq!(text.parse::<UnixTime>(), Err(NotATime), "{text}");
        }
    }
}
