//! Values that need more than their TOML type: names, host names, addresses, prefixes.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::inside;
use crate::reader::{At, Context, Table};

/// A name that is used in rules, logs, metrics and on the command line.
pub(crate) fn name(context: &Context<'_>, table: &Table<'_>, example: &str) -> Option<At<String>> {
    if !table.has("name") {
        table.missing("name", format!("write `name = \"{example}\"`"));
    }
    let name = table.string("name")?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let possible = (1..=63).contains(&name.value.len()) && name.value.chars().all(fits);
    if !possible {
        let plain: String = name
            .value
            .chars()
            .map(|c| if fits(c) { c } else { '-' })
            .take(63)
            .collect();
        let plain = plain.trim_matches('-').to_lowercase();
        let plain = if plain.is_empty() { example } else { &plain };
        context.error(
            &name.span,
            format!("`{}` cannot be a name", name.value),
            format!("names have 1 to 63 letters, digits, `-`, `_` or `.`: write `{plain}`"),
        );
    }
    possible.then_some(name)
}

/// Host names, in lower case.
pub(crate) fn hosts(context: &Context<'_>, table: &Table<'_>, key: &str) -> Vec<At<String>> {
    let items = table.strings(key).unwrap_or_default();
    items
        .into_iter()
        .filter_map(|item| host(context, item))
        .collect()
}

/// A host name as it stands in SNI and Host: no scheme, port, wildcard or final dot.
pub(crate) fn host(context: &Context<'_>, item: At<String>) -> Option<At<String>> {
    let written = item.value.as_str();
    let without_scheme = written.split_once("://").map_or(written, |(_, rest)| rest);
    let bare = without_scheme.split(['/', '?']).next().unwrap_or("");
    let bare = match bare.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.contains(':') => {
            host
        }
        _ => bare,
    };
    let bare = bare.trim().trim_end_matches('.').to_ascii_lowercase();
    if bare.parse::<IpAddr>().is_ok() {
        let help = "clients ask for a service by name: write the name, such as `sts.corp.example`";
        context.error(
            &item.span,
            format!("`{written}` is an address, not a host name"),
            help,
        );
        return None;
    }
    if bare.starts_with("*.") {
        let help = "name each host: a service answers for its own names only";
        context.error(&item.span, format!("`{written}` holds a wildcard"), help);
        return None;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let possible = bare.len() <= 253 && bare.split('.').all(label);
    if possible && bare == written.to_ascii_lowercase() {
        return Some(At {
            value: bare,
            span: item.span,
        });
    }
    let help = if possible {
        format!("write `{bare}`")
    } else {
        "write a host name, such as `sts.corp.example`; international names in their `xn--` form"
            .to_owned()
    };
    context.error(&item.span, format!("`{written}` is no host name"), help);
    None
}

/// An address of a service.
pub(crate) fn address(context: &Context<'_>, item: &At<String>) -> Option<At<IpAddr>> {
    let written = item.value.as_str();
    let Ok(address) = written.parse::<IpAddr>() else {
        let help = if let Ok(with_port) = written.parse::<SocketAddr>() {
            format!("write `{}`, and the port in `ports`", with_port.ip())
        } else if let Ok(net) = written.parse::<IpNet>() {
            format!(
                "write `{}`: a service has addresses, not prefixes",
                net.addr()
            )
        } else if let Ok(bare) = written.trim_matches(['[', ']', ' ']).parse::<IpAddr>() {
            format!("write `{bare}`")
        } else if written.contains(|c: char| c.is_ascii_alphabetic()) && !written.contains(':') {
            "names may resolve to something else tomorrow: write the address itself".to_owned()
        } else {
            "write an address, such as `192.0.2.10` or `2001:db8::10`".to_owned()
        };
        context.error(&item.span, format!("`{written}` is no address"), help);
        return None;
    };
    if address != address.to_canonical() {
        let help = format!("write `{}`", address.to_canonical());
        context.error(
            &item.span,
            format!("`{written}` is IPv4 written as IPv6"),
            help,
        );
        return None;
    }
    if address.is_unspecified() || address.is_multicast() {
        let help = "write the addresses that clients connect to, each of them";
        context.error(
            &item.span,
            format!("`{written}` cannot be the address of a service"),
            help,
        );
        return None;
    }
    if address.is_loopback() {
        let help = "nobody outside this machine reaches it";
        context.warning(
            &item.span,
            format!("`{written}` is a loopback address"),
            help,
        );
    }
    Some(At {
        value: address,
        span: item.span.clone(),
    })
}

/// Address and port of a server.
pub(crate) fn server(context: &Context<'_>, item: &At<String>) -> Option<SocketAddr> {
    let written = item.value.as_str();
    if let Ok(server) = written.parse::<SocketAddr>() {
        if server.port() == 0 || server.ip().is_unspecified() {
            let help = "write the server's address and port, such as `192.0.2.10:443`";
            context.error(
                &item.span,
                format!("`{written}` cannot be connected to"),
                help,
            );
            return None;
        }
        return Some(server);
    }
    let help = if let Ok(address) = written.trim_matches(['[', ']']).parse::<IpAddr>() {
        format!(
            "the port is missing: write `{}`",
            SocketAddr::new(address, 443)
        )
    } else if written.contains(|c: char| c.is_ascii_alphabetic()) && !written.contains("::") {
        "write the server's address and port, such as `192.0.2.10:443`; its name belongs in \
         `server_name`"
            .to_owned()
    } else {
        "write an address and a port, such as `192.0.2.10:443` or `[2001:db8::10]:443`".to_owned()
    };
    context.error(
        &item.span,
        format!("`{written}` is no address with a port"),
        help,
    );
    None
}

/// A prefix, or an address that is its own prefix.
pub(crate) fn prefix(context: &Context<'_>, item: &At<String>) -> Option<IpNet> {
    let text = item.value.trim();
    match weir_tables::parse_prefix(text) {
        Ok(entry) => {
            if entry.host_bits {
                context.warning(
                    &item.span,
                    format!("`{text}` has bits set after its length"),
                    format!(
                        "read as `{}`; write that, or `{}` for the one address",
                        entry.prefix,
                        text.split('/').next().unwrap_or(text)
                    ),
                );
            }
            if entry.prefix.prefix_len() == 0 {
                let family = if entry.prefix.addr().is_ipv4() {
                    "IPv4"
                } else {
                    "IPv6"
                };
                context.warning(
                    &item.span,
                    format!("this prefix holds every {family} source"),
                    "remove it, unless everyone on the Internet is meant",
                );
            }
            Some(entry.prefix)
        }
        Err(_) if text.is_empty() => {
            let help = "write an address (`203.0.113.5`) or a prefix (`203.0.113.0/24`)";
            context.error(&item.span, "this prefix is empty", help);
            None
        }
        Err(error) => {
            let skipped = item.value.len() - item.value.trim_start().len();
            let at = error.at.start + skipped..error.at.end + skipped;
            context.error(&inside(context, item, &at), error.message, error.help);
            None
        }
    }
}

/// A duration, as a number with its unit: `500ms`, `5s`, `2m`, `1h`, `30d`.
pub(crate) fn duration(
    context: &Context<'_>,
    item: &At<String>,
    range: RangeInclusive<Duration>,
) -> Option<Duration> {
    let written = item.value.as_str();
    let (shortest, longest) = (shown(*range.start()), shown(*range.end()));
    let unit = written.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = written[..written.len() - unit.len()].parse::<u64>().ok();
    let known = UNITS.iter().find(|(word, _)| *word == unit);
    let (Some(number), Some((_, milliseconds))) = (number, known) else {
        let help = match number {
            Some(number) if unit.is_empty() => format!("write its unit too, such as `{number}s`"),
            _ => format!("write a number with `ms`, `s`, `m`, `h` or `d`, such as `{shortest}`"),
        };
        context.error(&item.span, format!("`{written}` is no duration"), help);
        return None;
    };
    let duration = Duration::from_millis(number.saturating_mul(*milliseconds));
    if range.contains(&duration) {
        return Some(duration);
    }
    let side = if duration < *range.start() {
        "short"
    } else {
        "long"
    };
    let help = format!("write at least `{shortest}` and at most `{longest}`");
    context.error(&item.span, format!("`{written}` is too {side}"), help);
    None
}

/// As [`duration`] reads it.
pub(crate) fn shown(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let whole = |(_, milliseconds): &&(&str, u64)| {
        *milliseconds >= 1000 && seconds > 0 && seconds.is_multiple_of(milliseconds / 1000)
    };
    let unit = UNITS.iter().rev().find(whole);
    unit.map_or_else(
        || format!("{seconds}s"),
        |(word, milliseconds)| format!("{}{word}", seconds * 1000 / milliseconds),
    )
}

/// Units of a duration, in milliseconds; the shortest first.
const UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
