//! The rows of a profile: what they match, and what is read of a request besides its flow kind.

use crate::Flow;

/// What a row says of its requests besides the flow kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// On a sign-in page: messages about signing out arrive here too, and are told apart.
    SignOut,
    /// On an active flow: WS-Trust by name and password. The user stands in the very message that the
    /// server authenticates, and is certain.
    Password,
    /// On an active flow: a SAML request in SOAP (ECP) with HTTP Basic.
    Basic,
    /// On active flows and MEX: WS-Trust 1.3. Without it, the message tells its version.
    WsTrust13,
    /// On a token call: for applications on a device alone, such as device codes.
    Native,
    /// The relying party is the path itself, up to the pattern's last `*`.
    Application,
    /// A later step of a sign-in: the relying party stood in an earlier one, and is unknown.
    Step,
    /// A relying party's reply URL: what is posted there is the token that a sign-in has ended with.
    Reply,
}

impl Reads {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::SignOut,
        Self::Password,
        Self::Basic,
        Self::WsTrust13,
        Self::Native,
        Self::Application,
        Self::Step,
        Self::Reply,
    ];

    /// The word used in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SignOut => "sign-out",
            Self::Password => "password",
            Self::Basic => "basic",
            Self::WsTrust13 => "ws-trust-1.3",
            Self::Native => "native",
            Self::Application => "application",
            Self::Step => "step",
            Self::Reply => "reply",
        }
    }

    /// The flow kinds at which it says something.
    pub(super) const fn flows(self) -> &'static [Flow] {
        match self {
            Self::SignOut => &[Flow::Passive],
            Self::Password | Self::Basic => &[Flow::Active],
            Self::WsTrust13 => &[Flow::Active, Flow::Mex],
            Self::Native => &[Flow::OauthToken],
            Self::Application => &[Flow::Passive, Flow::Active, Flow::OauthBrowser],
            Self::Step | Self::Reply => &[Flow::Passive, Flow::OauthBrowser],
        }
    }
}

/// What a row was found to say of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Readings(u8);

impl Readings {
    pub(super) fn of(all: &[Reads]) -> Self {
        Self(all.iter().fold(0, |set, one| set | 1 << *one as u8))
    }

    pub(crate) fn has(self, one: Reads) -> bool {
        self.0 & 1 << one as u8 != 0
    }
}

/// Methods (none: all), a pattern for a normalised path, and what its requests are. In a pattern `*` stands
/// for one segment, `**` at the end for one or more; in presets `**` at the start stands for any number,
/// and `*` at the end of a segment for the rest of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) methods: Vec<String>,
    pub(super) pattern: String,
    pub(super) flow: Flow,
    pub(super) reads: Readings,
}

impl Row {
    pub(super) fn matches(&self, method: &str, path: &str) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|known| known == method))
            && matches(&self.pattern, path)
    }

    /// The path up to the pattern's last `*`.
    pub(super) fn application<'p>(&self, path: &'p str) -> Option<&'p str> {
        if !self.reads.has(Reads::Application) {
            return None;
        }
        let parts = self.pattern.split('/').enumerate();
        let (last, _) = parts.filter(|(_, part)| *part == "*").last()?;
        let end = path.match_indices('/').nth(last);
        Some(end.map_or(path, |(at, _)| &path[..at]))
    }
}

/// Whether a normalised path, without a slash at its end, is one of those that the pattern stands for.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    if let Some(tail) = pattern.strip_prefix("**") {
        return path.ends_with(tail);
    }
    let Some(star) = memchr::memchr(b'*', pattern.as_bytes()) else {
        return pattern == path;
    };
    // Most paths differ before it, and every request is compared with many patterns.
    if !path.starts_with(&pattern[..star]) {
        return false;
    }
    // What is the same in both need not be taken apart.
    let same = pattern[..star].rfind('/').unwrap_or_default();
    let (pattern, path) = (&pattern.as_bytes()[same..], &path.as_bytes()[same..]);
    let open = pattern.strip_suffix(b"/**");
    let is_slash = |byte: &u8| *byte == b'/';
    let mut wanted = open.unwrap_or(pattern).split(is_slash);
    let mut given = path.split(is_slash);
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return open.is_none(),
            (None, Some(_)) => return open.is_some(),
            (Some(want), Some(have)) if segment_matches(want, have) => {}
            _ => return false,
        }
    }
}

fn segment_matches(want: &[u8], have: &[u8]) -> bool {
    want.strip_suffix(b"*")
        .map_or(want == have, |start| have.starts_with(start))
}
