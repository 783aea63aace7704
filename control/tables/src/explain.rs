//! Why a text is no prefix, and what to write instead.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

use crate::prefix::{PrefixError, parse_length, read};

/// The most specific explanation that can name a fix.
pub(crate) fn explain(text: &str) -> PrefixError {
    let explanations = [
        too_long,
        stray_character,
        wrapped,
        comment_sign,
        trailing_separator,
        range,
        several,
        spaced_slash,
        other_slash,
        zone_or_port,
        mapped_length,
        mask,
        bad_length,
        bad_octets,
    ];
    explanations
        .iter()
        .find_map(|explanation| explanation(text))
        .unwrap_or_else(|| {
            let looks_like_a_name = text.contains('.')
                && text.bytes().any(|byte| byte.is_ascii_alphabetic())
                && !text.contains([':', ' ', '/']);
            if looks_like_a_name {
                return error(
                    0..text.len(),
                    format!("`{text}` is a host name, not an address"),
                    "lists hold addresses and prefixes: write the address itself, such as \
                 `203.0.113.5`",
                );
            }
            error(
                0..text.len(),
                format!("`{text}` is neither an address nor a prefix"),
                "write an address (`203.0.113.5`, `2001:db8::1`) or a prefix (`203.0.113.0/24`, \
             `2001:db8::/32`)",
            )
        })
}

fn error(at: Range<usize>, message: impl Into<String>, help: impl Into<String>) -> PrefixError {
    PrefixError {
        message: message.into(),
        help: help.into(),
        at,
    }
}

/// `write X`, where X really is a prefix.
fn write_instead(fixed: &str) -> Option<String> {
    read(fixed).map(|_| format!("write `{fixed}`"))
}

/// Far longer than any prefix with a comment behind it; also keeps messages short.
fn too_long(text: &str) -> Option<PrefixError> {
    const SENSIBLE: usize = 300;
    let end = text.char_indices().nth(SENSIBLE).map(|(at, _)| at)?;
    Some(error(
        0..end,
        format!("a line of {} characters is no prefix", text.chars().count()),
        "write one prefix on each line; a comment begins with `#`",
    ))
}

fn stray_character(text: &str) -> Option<PrefixError> {
    let (at, stray) = text
        .char_indices()
        .find(|(_, c)| !c.is_ascii_graphic() && *c != ' ')?;
    let cleaned: String = text
        .chars()
        .filter(|c| c.is_ascii_graphic() || *c == ' ')
        .collect();
    let help = write_instead(cleaned.trim())
        .unwrap_or_else(|| "retype the line; the character came from copying".into());
    Some(error(
        at..at + stray.len_utf8(),
        format!(
            "the character U+{:04X} does not belong in a prefix",
            u32::from(stray)
        ),
        help,
    ))
}

/// Quotes and brackets, as other tools write addresses.
fn wrapped(text: &str) -> Option<PrefixError> {
    const SIGNS: &str = "\"'`[](){}<>";
    let (at, sign) = text.char_indices().find(|(_, c)| SIGNS.contains(*c))?;
    let strip = |text: &str| -> String { text.chars().filter(|c| !SIGNS.contains(*c)).collect() };
    // `[2001:db8::1]:443` is an address and a port.
    let before_port = text.split_once("]:").map(|(address, _)| strip(address));
    let help = before_port
        .and_then(|address| write_instead(&address))
        .or_else(|| write_instead(strip(text).trim().trim_end_matches(',')))
        .unwrap_or_else(|| "write the bare prefix, such as `2001:db8::/32`".into());
    Some(error(
        at..at + 1,
        format!("`{sign}` does not belong in a prefix"),
        help,
    ))
}

fn comment_sign(text: &str) -> Option<PrefixError> {
    let (at, sign) = text
        .find(';')
        .map(|at| (at, ";"))
        .or_else(|| text.find("//").map(|at| (at, "//")))
        .or_else(|| text.find(" -- ").map(|at| (at + 1, "--")))?;
    let before = text[..at].trim();
    read(before)?;
    let comment = text[at + sign.len()..].trim();
    Some(error(
        at..at + sign.len(),
        format!("`{sign}` does not begin a comment"),
        if comment.is_empty() {
            format!("write `{before}`")
        } else {
            format!("comments begin with `#`: write `{before} # {comment}`")
        },
    ))
}

fn trailing_separator(text: &str) -> Option<PrefixError> {
    let bare = text.trim_end_matches([',', '.', '/', ':']).trim_end();
    if bare.len() == text.len() || read(bare).is_none() {
        return None;
    }
    let sign = &text[bare.len()..];
    let help = match sign.trim_start() {
        "/" => format!("write `{bare}` for the one address, or the length after the slash"),
        _ => format!("write `{bare}`: each prefix stands on a line of its own"),
    };
    Some(error(
        bare.len()..text.len(),
        format!("`{}` after the prefix", sign.trim_start()),
        help,
    ))
}

fn range(text: &str) -> Option<PrefixError> {
    let (from, to) = text.split_once('-')?;
    let from = from.trim().parse().ok()?;
    let to_text = to.trim();
    let to = match (from, to_text.parse::<u8>()) {
        // `203.0.113.0-127`, as nmap writes it.
        (IpAddr::V4(from), Ok(last)) => {
            let [a, b, c, _] = from.octets();
            IpAddr::V4(Ipv4Addr::new(a, b, c, last))
        }
        _ => to_text.parse().ok()?,
    };
    let everything = 0..text.len();
    let message = "a list holds prefixes, not ranges";
    let prefixes: Vec<String> = match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) if from <= to => Ipv4Subnets::new(from, to, 0)
            .take(9)
            .map(|net| net.to_string())
            .collect(),
        (IpAddr::V6(from), IpAddr::V6(to)) if from <= to => Ipv6Subnets::new(from, to, 0)
            .take(9)
            .map(|net| net.to_string())
            .collect(),
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
            let help = format!("the range ends before it begins: {to} is below {from}");
            return Some(error(everything, message, help));
        }
        _ => {
            let help = "both ends of the range must be of one family";
            return Some(error(everything, message, help));
        }
    };
    let help = match prefixes.as_slice() {
        [one] => format!("write `{one}`"),
        some if some.len() <= 8 => {
            format!("write these, each on its own line: `{}`", some.join("` `"))
        }
        some => format!(
            "this range takes more than {} prefixes, from `{}` on; is there a wider one that fits?",
            some.len() - 1,
            some[0]
        ),
    };
    Some(error(everything, message, help))
}

fn several(text: &str) -> Option<PrefixError> {
    let words: Vec<&str> = text
        .split([',', ' '])
        .map(str::trim)
        .filter(|word| !word.is_empty())
        .collect();
    let [first, .., last] = words.as_slice() else {
        return None;
    };
    let second = text.len() - text[first.len()..].trim_start_matches([',', ' ']).len();
    if words.iter().all(|word| read(word).is_some()) {
        // `10.0.0.0 255.0.0.0` is a netmask, not two addresses.
        if words.len() == 2 && netmask_length(last).is_some_and(|length| length > 0) {
            return None;
        }
        return Some(error(
            second..text.len(),
            format!("{} prefixes on one line", words.len()),
            format!("write each on its own line: `{}`", words.join("` `")),
        ));
    }
    // A prefix, and then words that are no part of it.
    if read(first).is_some()
        && !last.starts_with('/')
        && words[1] != "/"
        && netmask_length(words[1]).is_none()
    {
        let rest = text[second..].trim();
        return Some(error(
            second..text.len(),
            format!("`{rest}` after the prefix"),
            format!("if it is a comment, write `{first} # {rest}`"),
        ));
    }
    None
}

fn spaced_slash(text: &str) -> Option<PrefixError> {
    let slash = text.find('/')?;
    let start = text[..slash].trim_end().len();
    let end = text.len() - text[slash + 1..].trim_start().len();
    let joined = format!("{}/{}", &text[..start], &text[end..]);
    if joined.len() == text.len() {
        return None;
    }
    let help = write_instead(&joined).unwrap_or_else(|| explain(&joined).help);
    Some(error(start..end, "spaces round the slash", help))
}

fn other_slash(text: &str) -> Option<PrefixError> {
    let at = text.find('\\')?;
    let fixed = text.replace('\\', "/");
    let help = write_instead(&fixed).unwrap_or_else(|| explain(&fixed).help);
    Some(error(at..at + 1, "`\\` instead of `/`", help))
}

fn zone_or_port(text: &str) -> Option<PrefixError> {
    if let Some(at) = text.find('%') {
        let end = text[at..].find('/').map_or(text.len(), |slash| at + slash);
        let fixed = format!("{}{}", &text[..at], &text[end..]);
        return Some(error(
            at..end,
            "a source has no zone",
            write_instead(&fixed).unwrap_or_else(|| explain(&fixed).help),
        ));
    }
    let (address, port) = text.split_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if is_port && address.parse::<Ipv4Addr>().is_ok() {
        return Some(error(
            address.len()..text.len(),
            "a list holds sources, and their ports change",
            format!("write `{address}`"),
        ));
    }
    None
}

/// `::ffff:203.0.113.0/24`: the length was meant for the IPv4 part.
fn mapped_length(text: &str) -> Option<PrefixError> {
    let (address, digits) = text.split_once('/')?;
    let address = address.parse::<Ipv6Addr>().ok()?.to_ipv4_mapped()?;
    let length = parse_length(digits).filter(|length| *length < 96)?;
    let at = text.len() - digits.len()..text.len();
    let message = format!("/{length} is shorter than the 96 bits that make it IPv4-mapped");
    let help = if length <= 32 {
        let net = Ipv4Net::new_assert(address, length).trunc();
        format!(
            "write `{net}`, which in IPv6 is `::ffff:{}/{}`",
            net.addr(),
            length + 96
        )
    } else {
        format!("write the IPv4 prefix, such as `{address}/24`")
    };
    Some(error(at, message, help))
}

/// `10.0.0.0/255.0.0.0`, `10.0.0.0 255.0.0.0`, and Cisco's wildcard `10.0.0.0 0.255.255.255`.
fn mask(text: &str) -> Option<PrefixError> {
    let (address, mask) = text.split_once(['/', ' '])?;
    let (address_text, mask_text) = (address.trim(), mask.trim());
    let address: Ipv4Addr = address_text.parse().ok()?;
    let mask: Ipv4Addr = mask_text.parse().ok()?;
    let at = text.len() - mask_text.len()..text.len();
    let inverse = Ipv4Addr::from_bits(!mask.to_bits());
    let (kind, length) = match (netmask_length(mask_text), mask_length(inverse)) {
        (Some(length), _) => ("a netmask", length),
        (None, Some(length)) => ("a wildcard mask", length),
        (None, None) => {
            return Some(error(
                at,
                format!("`{mask}` is no prefix length, and no netmask either"),
                format!("its bits are not contiguous; write `{address}/LENGTH`"),
            ));
        }
    };
    let net = Ipv4Net::new_assert(address, length).trunc();
    Some(error(
        at,
        format!("`{mask}` is {kind}, not a prefix length"),
        format!("write `{net}`"),
    ))
}

fn netmask_length(text: &str) -> Option<u8> {
    mask_length(text.parse().ok()?)
}

fn mask_length(mask: Ipv4Addr) -> Option<u8> {
    ipnet::ip_mask_to_prefix(IpAddr::V4(mask)).ok()
}

fn bad_length(text: &str) -> Option<PrefixError> {
    let (address_text, digits) = text.split_once('/')?;
    let address: IpAddr = address_text.parse().ok()?;
    let (family, bits) = if address.is_ipv4() {
        ("IPv4", 32)
    } else {
        ("IPv6", 128)
    };
    let at = address_text.len() + 1..text.len().max(address_text.len() + 1);
    let value = digits.trim_start_matches('0');
    let value = if value.is_empty() { "0" } else { value };
    match parse_length(value) {
        Some(length) if length <= bits && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(error(
                at,
                "a prefix length has no leading zero",
                format!("write `{}`", trunc(address, length)),
            ))
        }
        _ if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => Some(error(
            at,
            format!("/{digits} is too long: an {family} prefix has at most {bits} bits"),
            format!("write `{address}/{bits}` for the one address, or a length below {bits}"),
        )),
        _ => Some(error(
            at,
            format!("`{digits}` is no prefix length"),
            format!("write a number from 0 to {bits} after the slash"),
        )),
    }
}

fn trunc(address: IpAddr, length: u8) -> IpNet {
    match address {
        IpAddr::V4(v4) => IpNet::V4(Ipv4Net::new_assert(v4, length).trunc()),
        IpAddr::V6(v6) => IpNet::V6(Ipv6Net::new_assert(v6, length).trunc()),
    }
}

/// What looks like IPv4, but has the wrong numbers.
fn bad_octets(text: &str) -> Option<PrefixError> {
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(parse_length(length)?)),
        None => (text, None),
    };
    let octets: Vec<&str> = address.trim_end_matches('.').split('.').collect();
    let numeric = |octet: &&str| {
        *octet == "*" || (!octet.is_empty() && octet.bytes().all(|byte| byte.is_ascii_digit()))
    };
    if octets.len() > 4 || !octets.iter().all(numeric) {
        return None;
    }
    let mut at = 0;
    for octet in &octets {
        let range = at..at + octet.len();
        at += octet.len() + 1;
        if octet.len() > 1 && octet.starts_with('0') {
            let decimal = octet.trim_start_matches('0');
            let decimal = if decimal.is_empty() { "0" } else { decimal };
            let message = format!("`{octet}` has a leading zero: some programs read it as octal");
            let help = match u8::from_str_radix(octet, 8) {
                Ok(octal) if octal.to_string() != decimal => {
                    format!("write `{decimal}`, or `{octal}` if octal was meant")
                }
                _ => format!("write `{decimal}`"),
            };
            return Some(error(range, message, help));
        }
        if *octet != "*" && octet.parse::<u8>().is_err() {
            let message = format!("`{octet}` is above 255");
            return Some(error(
                range,
                message,
                "an IPv4 address has four numbers from 0 to 255",
            ));
        }
    }
    let fixed = octets.iter().take_while(|octet| **octet != "*").count();
    if octets.iter().skip(fixed).any(|octet| *octet != "*") || fixed == 4 {
        return None;
    }
    let mut full: Vec<&str> = octets[..fixed].to_vec();
    full.resize(4, "0");
    let full = full.join(".");
    let length = length.unwrap_or(u8::try_from(8 * fixed).unwrap_or(32));
    if length > 32 || fixed == 0 {
        return None;
    }
    let help = format!("write `{}`", read(&format!("{full}/{length}"))?.prefix);
    let message = if octets.contains(&"*") {
        "a prefix has no `*`".to_owned()
    } else {
        format!("an IPv4 address has four numbers, this has {fixed}")
    };
    Some(error(0..address.len(), message, help))
}
