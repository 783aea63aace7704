//! The keys that a configuration may have, and which known word an unknown one was meant to be.

use weir_entra::model::Part;

/// A kind of table.
pub(crate) struct Section {
    /// How messages name it.
    pub(crate) title: &'static str,
    pub(crate) keys: &'static [&'static str],
}

pub(crate) static ROOT: Section = Section {
    title: "this file",
    keys: &[
        "appliance",
        "kernel",
        "service",
        "list",
        "rule",
        "application",
        "location",
        "profile",
        "directory",
        "grants",
        "outbound",
        "entra",
        "metrics",
    ],
};

pub(crate) static METRICS: Section = Section {
    title: "`[metrics]`",
    keys: &["listen"],
};

pub(crate) static ENTRA: Section = Section {
    title: "`[entra]`",
    keys: &[
        "tenant",
        "application",
        "cloud",
        "login",
        "graph",
        "parts",
        "max_age",
        "callback",
        "ca",
        "elsewhere",
        "credential",
        "next_credential",
        "every",
        "limits",
        "keep",
        "group",
    ],
};

/// Keys of a credential, whichever of the two it is.
const CREDENTIAL_KEYS: &[&str] = &[
    "certificate",
    "key",
    "secret",
    "expires",
    "managed_identity",
];

pub(crate) static ENTRA_CREDENTIAL: Section = Section {
    title: "`[entra.credential]`",
    keys: CREDENTIAL_KEYS,
};

pub(crate) static ENTRA_NEXT_CREDENTIAL: Section = Section {
    title: "`[entra.next_credential]`",
    keys: CREDENTIAL_KEYS,
};

/// The words for the parts of a tenant.
pub(crate) static PARTS: [&str; Part::ALL.len()] = {
    let mut names = [""; Part::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Part::ALL[index].name();
        index += 1;
    }
    names
};

pub(crate) static ENTRA_EVERY: Section = Section {
    title: "`[entra.every]`",
    keys: &PARTS,
};

pub(crate) static ENTRA_LIMITS: Section = Section {
    title: "`[entra.limits]`",
    keys: &[
        "users",
        "disabled",
        "groups",
        "edges",
        "watched_percent",
        "watched_people",
    ],
};

pub(crate) static ENTRA_SHARE: Section = Section {
    title: "a share in `[entra.limits]`",
    keys: &["floor", "percent"],
};

pub(crate) static ENTRA_KEEP: Section = Section {
    title: "`[entra.keep]`",
    keys: &["logs", "entries", "journal"],
};

pub(crate) static ENTRA_GROUP: Section = Section {
    title: "`[[entra.group]]`",
    keys: &["group", "class"],
};

pub(crate) static OUTBOUND: Section = Section {
    title: "`[outbound]`",
    keys: &["proxy", "ca"],
};

pub(crate) static GRANTS: Section = Section {
    title: "`[grants]`",
    keys: &["single_user", "look_back"],
};

pub(crate) static APPLIANCE: Section = Section {
    title: "`[appliance]`",
    keys: &[
        "name",
        "run",
        "state",
        "control_group",
        "read_group",
        "proxy_user",
        "proxy_protocol_from",
        "restart_grace",
    ],
};

pub(crate) static KERNEL: Section = Section {
    title: "`[kernel]`",
    keys: &[
        "object",
        "pin",
        "outside",
        "inside",
        "mark",
        "table",
        "hook",
        "new_connections",
        "new_connections_forwarded",
        "drain_window",
        "flow_sample",
        "nat_address",
        "nat_ports",
        "observe",
    ],
};

pub(crate) static SERVICE: Section = Section {
    title: "`[[service]]`",
    keys: &[
        "name",
        "hosts",
        "addresses",
        "ports",
        "topology",
        "servers",
        "profile",
        "rules",
        "managed",
        "proxy_down",
        "observe",
        "accept_intranet",
        "certificate",
        "key",
        "reverse_proxy",
        "tunnel",
        "outlook",
        "windows_logon",
        "windows_logon_rate",
        "http1_only",
        "switched_off",
        "upstream",
        "tokens",
    ],
};

pub(crate) static UPSTREAM: Section = Section {
    title: "`[service.upstream]`",
    keys: &["kind", "servers", "server_name", "ca"],
};

pub(crate) static TOKENS: Section = Section {
    title: "`[service.tokens]`",
    keys: &[
        "decide",
        "tokens_of",
        "metadata",
        "discovery",
        "jwks",
        "file",
        "audiences",
        "forms",
        "ignore_case",
        "complete",
        "claims",
    ],
};

pub(crate) static LIST: Section = Section {
    title: "`[[list]]`",
    keys: &[
        "name",
        "class",
        "scope",
        "cut",
        "prefixes",
        "file",
        "url",
        "microsoft365",
        "named_location",
        "instance",
        "every",
        "most",
        "widest_v4",
        "widest_v6",
        "share",
        "ca",
    ],
};

pub(crate) static RULE: Section = Section {
    title: "`[[rule]]`",
    keys: &["name", "when", "then"],
};

pub(crate) static WHEN: Section = Section {
    title: "`when`",
    keys: &[
        "class",
        "list",
        "source",
        "flow",
        "client",
        "host",
        "relying_party",
        "application",
        "user",
        "service",
        "group",
        "role",
        "claim",
        "attribute",
        "device",
        "method",
        "authenticated_within",
        "country",
        "location",
        "time",
        "inside_network",
        "not",
    ],
};

pub(crate) static THEN: Section = Section {
    title: "`then`",
    keys: &["decision", "reason", "target", "within", "grant"],
};

pub(crate) static TIME: Section = Section {
    title: "`time`",
    keys: &["days", "from", "to", "zone"],
};

pub(crate) static GRANT: Section = Section {
    title: "`grant`",
    keys: &["class", "for", "kernel"],
};

pub(crate) static LOCATION: Section = Section {
    title: "`[location.NAME]`",
    keys: &["prefixes", "countries"],
};

pub(crate) static APPLICATION: Section = Section {
    title: "`[application.NAME]`",
    keys: &["relying_parties", "hosts"],
};

pub(crate) static PROFILE: Section = Section {
    title: "`[profile.NAME]`",
    keys: &[
        "like",
        "rows",
        "users",
        "passwords",
        "relying_parties",
        "steps",
        "sign_out",
        "metadata",
        "jwks",
        "discovery",
        "health",
        "mfa",
    ],
};

pub(crate) static PROFILE_ROW: Section = Section {
    title: "`rows` of a profile",
    keys: &["methods", "path", "flow", "reads"],
};

pub(crate) static PROFILE_MFA: Section = Section {
    title: "`mfa` of a profile",
    keys: &["wauth", "authn_context", "acr_values"],
};

pub(crate) static DIRECTORY: Section = Section {
    title: "`[directory]`",
    keys: &["users", "countries"],
};

pub(crate) static RATE: Section = Section {
    title: "`windows_logon_rate`",
    keys: &["user_per_hour", "service_per_minute"],
};

/// Words of other products, and what they are called here.
const SYNONYMS: &[(&str, &str)] = &[
    ("address", "addresses"),
    ("backend", "upstream"),
    ("cert", "certificate"),
    ("certs", "certificate"),
    ("cidrs", "prefixes"),
    ("client_id", "relying_party"),
    ("client_id", "application"),
    ("hostname", "hosts"),
    ("hostnames", "hosts"),
    ("groups", "group"),
    ("interface", "outside"),
    ("ip", "addresses"),
    ("ips", "addresses"),
    ("networks", "prefixes"),
    ("port", "ports"),
    ("private_key", "key"),
    ("ranges", "prefixes"),
    ("redirect", "reverse_proxy"),
    ("ruleset", "rules"),
    ("server", "servers"),
    ("sni", "server_name"),
    ("subnets", "prefixes"),
    ("tenant_id", "tenant"),
];

/// The key of this section that an unknown one was probably meant to be.
pub(crate) fn meant_key(section: &Section, key: &str) -> Option<&'static str> {
    let plain = key.to_ascii_lowercase().replace('-', "_");
    let mut synonyms = SYNONYMS
        .iter()
        .filter(|(other, word)| *other == plain && section.keys.contains(word));
    let synonym = synonyms.next().map(|(_, word)| *word);
    synonym.or_else(|| closest(&plain, section.keys))
}

/// What to write in place of a key that this section does not have.
pub(crate) fn unknown_key(section: &Section, key: &str) -> String {
    if let Some(word) = meant_key(section, key) {
        return format!("did you mean `{word}`?");
    }
    let plain = key.to_ascii_lowercase().replace('-', "_");
    let elsewhere: Vec<&str> = [
        &APPLIANCE,
        &KERNEL,
        &SERVICE,
        &UPSTREAM,
        &TOKENS,
        &LIST,
        &RULE,
        &WHEN,
        &THEN,
        &DIRECTORY,
        &GRANTS,
        &RATE,
        &OUTBOUND,
        &METRICS,
        &ENTRA,
        &ENTRA_CREDENTIAL,
        &ENTRA_LIMITS,
        &ENTRA_KEEP,
    ]
    .into_iter()
    .filter(|other| other.keys.contains(&plain.as_str()))
    .map(|other| other.title)
    .collect();
    if elsewhere.is_empty() {
        format!("known keys are {}", quoted(section.keys))
    } else {
        format!("`{plain}` belongs in {}", elsewhere.join(" or "))
    }
}

/// What to write in place of a word that is not known.
pub(crate) fn unknown_word(word: &str, known: &[&str]) -> String {
    let all = quoted(known);
    match closest(&word.to_ascii_lowercase().replace('_', "-"), known)
        .or_else(|| closest(word, known))
    {
        Some(meant) if known.len() > 1 => format!("did you mean `{meant}`? Known are {all}"),
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known are {all}"),
    }
}

/// The known word that this one was probably meant to be.
pub fn closest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), *candidate))
        .filter(|(distance, candidate)| {
            let length = word.chars().count().max(candidate.chars().count());
            *distance <= (length / 3).max(1)
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
        .or_else(|| {
            // A word that was cut short.
            let mut longer = known
                .iter()
                .filter(|k| word.len() >= 4 && k.starts_with(word));
            longer.next().filter(|_| longer.next().is_none()).copied()
        })
}

/// `a`, `b` and `c`.
pub(crate) fn quoted(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [one] => format!("`{one}`"),
        [some @ .., last] => {
            let some: Vec<String> = some.iter().map(|word| format!("`{word}`")).collect();
            format!("{} and `{last}`", some.join(", "))
        }
    }
}
