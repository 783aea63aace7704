//! In which country an address is: the table of whoever knows such things.
//!
//! In: text with a network and a country a line, as the sellers of such tables write it. Out: for an address its
//! country, by bisection. It tells where an address is registered or used, not where a person is.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::Country;

/// Networks and their countries: about 6 bytes for each IPv4 one, 34 for each IPv6 one, and as much again while
/// they are read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Countries {
    /// First and last address, and country; in order, without overlap.
    v4: Vec<(u32, u32, Country)>,
    v6: Vec<(u128, u128, Country)>,
}

/// A line that tells no country.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct CountryError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub why: &'static str,
}

/// Most networks that are held.
pub const MAX_NETWORKS: usize = 1 << 21;
/// Most lines that are named when they cannot be read.
const MAX_ERRORS: usize = 20;

impl Countries {
    /// Reads lines such as `203.0.113.0/24,DE` and `203.0.113.0,203.0.113.255,DE`, with blanks or commas between,
    /// in quotation marks or not; what follows a `#` is a comment. Two letters that are no country (`ZZ`, `-`) say
    /// that nobody knows. Lines that cannot be read are told, up to twenty.
    pub fn parse(text: &str) -> Result<Self, Vec<CountryError>> {
        let mut ranges: Vec<(u128, u128, bool, Country, usize)> = Vec::new();
        let mut errors = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, written) in (1..).zip(text.lines()) {
            let written = written.split('#').next().unwrap_or_default();
            match read(written) {
                Ok(None) => {}
                Ok(Some(_)) if ranges.len() == MAX_NETWORKS => {
                    let why = "at most 2,097,152 networks are possible";
                    errors.push(CountryError { line, why });
                }
                Ok(Some((first, last, country))) => {
                    let six = first.is_ipv6();
                    ranges.push((number(first), number(last), six, country, line));
                }
                Err(why) => errors.push(CountryError { line, why }),
            }
            if errors.len() == MAX_ERRORS {
                break;
            }
        }
        ranges.sort_unstable_by_key(|(first, last, six, ..)| (*six, *first, *last));
        let overlaps = ranges.windows(2).filter_map(|pair| {
            let [(_, last, six, ..), (first, _, next, _, line)] = pair else {
                return None;
            };
            (six == next && first <= last).then_some(*line)
        });
        for line in overlaps.take(MAX_ERRORS - errors.len()) {
            let why = "another line names some of these addresses; each may stand once";
            errors.push(CountryError { line, why });
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let (v6, v4): (Vec<_>, Vec<_>) = ranges.into_iter().partition(|(_, _, six, ..)| *six);
        let low = |address: u128| u32::try_from(address).expect("an IPv4 address");
        Ok(Self {
            v4: v4
                .into_iter()
                .map(|(first, last, _, country, _)| (low(first), low(last), country))
                .collect(),
            v6: v6
                .into_iter()
                .map(|(first, last, _, country, _)| (first, last, country))
                .collect(),
        })
    }

    /// The country of an address.
    pub fn find(&self, address: IpAddr) -> Option<Country> {
        match address.to_canonical() {
            IpAddr::V4(address) => found(&self.v4, address.to_bits()),
            IpAddr::V6(address) => found(&self.v6, address.to_bits()),
        }
    }

    /// How many networks there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Countries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Countries({})", self.len())
    }
}

/// First and last address of a line, and their country; nothing where it tells none.
fn read(line: &str) -> Result<Option<(IpAddr, IpAddr, Country)>, &'static str> {
    const FORM: &str = "this tells no country; write a network or two addresses, and two letters: 203.0.113.0/24,DE";
    let mut words = line
        .split(|c: char| c == ',' || c == ';' || c.is_whitespace())
        .map(|word| word.trim_matches('"'))
        .filter(|word| !word.is_empty());
    let (Some(first), Some(second)) = (words.next(), words.next()) else {
        return if line.trim().is_empty() {
            Ok(None)
        } else {
            Err(FORM)
        };
    };
    let (first, last, country) = match (first.parse::<IpNet>(), first.parse::<IpAddr>()) {
        (Ok(network), _) => (network.network(), network.broadcast(), second),
        (_, Ok(first)) => {
            let last: IpAddr = second.parse().map_err(|_| FORM)?;
            (first, last, words.next().ok_or(FORM)?)
        }
        _ => return Err(FORM),
    };
    if first.is_ipv4() != last.is_ipv4() || first > last {
        return Err("the first address must be the lower one, of the same family as the last");
    }
    let letters = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_alphabetic());
    match country.parse() {
        Ok(country) => Ok(Some((first, last, country))),
        Err(_) if letters || country == "-" => Ok(None),
        Err(_) => Err(FORM),
    }
}

fn found<T: Copy + Ord>(all: &[(T, T, Country)], address: T) -> Option<Country> {
    let behind = all.partition_point(|(first, ..)| *first <= address);
    let (_, last, country) = all[..behind].last()?;
    (*last >= address).then_some(*country)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    fn country(countries: &Countries, address: &str) -> Option<String> {
        let found = countries.find(address.parse().expect("an address"));
        found.map(|country| country.to_string())
    }

    #[test]
    fn the_usual_tables_are_read() {
        let text = "\u{feff}# of somebody\n203.0.113.0/24,DE\r\n\"198.51.100.0\",\"198.51.100.127\",\"FR\"\n\
                    2001:db8::/32 us # with a comment\n192.0.2.0/24,ZZ\n198.51.100.128;198.51.100.255;-\n\n";
        let countries = Countries::parse(text).expect("a good table");
        assert_eq!(countries.len(), 3);
        for (address, expected) in [
            ("203.0.113.0", Some("DE")),
            ("203.0.113.255", Some("DE")),
            ("::ffff:203.0.113.7", Some("DE")),
            ("203.0.114.0", None),
            ("203.0.112.255", None),
            ("198.51.100.127", Some("FR")),
            ("198.51.100.128", None),
            ("192.0.2.1", None),
            ("2001:db8:ffff::1", Some("US")),
            ("2001:db9::", None),
            ("0.0.0.0", None),
        ] {
            assert_eq!(
                country(&countries, address).as_deref(),
                expected,
                "{address}"
            );
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_with_its_line() {
        let text = "203.0.113.0/24,DE\n203.0.113.9,DE\nnetwork,country\n192.0.2.9,192.0.2.1,DE\n\
                    192.0.2.1,2001:db8::1,DE\n203.0.113.128/25,AT\n10.0.0.0/8,Germany\n";
        let errors = Countries::parse(text).expect_err("some lines are bad");
        let lines: Vec<usize> = errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, [2, 3, 4, 5, 7, 6]);
        assert!(
            errors[5].why.contains("each may stand once"),
            "{:?}",
            errors[5]
        );
        let many = "x\n".repeat(50);
        let errors = Countries::parse(&many).expect_err("none is good");
        assert_eq!(errors.len(), MAX_ERRORS);
    }

    proptest! {
        #[test]
        fn an_address_is_found_where_a_naive_reader_finds_it(
            starts in proptest::collection::btree_set(0_u32..1000, 0..40),
            asked in proptest::collection::vec(0_u32..1100, 20),
        ) {
            let starts: Vec<u32> = starts.into_iter().collect();
            let letters = ["DE", "FR", "ZZ"];
            let lines: Vec<(u32, u32, &str)> = starts
                .iter()
                .enumerate()
                .map(|(at, first)| {
                    let next = starts.get(at + 1).copied().unwrap_or(1050);
                    (*first, first + (next - first - 1) / 2, letters[at % 3])
                })
                .collect();
            let address = |number: u32| IpAddr::from(number.to_be_bytes());
            let mut text = String::new();
            for (first, last, letters) in lines.iter().rev() {
                let _ = writeln!(text, "{},{},{letters}", address(*first), address(*last));
            }
            let countries = Countries::parse(&text).expect("no overlap");
            for asked in asked {
                let naive = lines.iter().find(|(first, last, _)| (first..=last).contains(&&asked));
                let naive = naive.map(|(.., letters)| *letters).filter(|letters| *letters != "ZZ");
                let found = countries.find(address(asked)).map(|country| country.to_string());
                prop_assert_eq!(found.as_deref(), naive);
            }
        }
    }
}
