//! Queries and forms: `application/x-www-form-urlencoded`.

use std::borrow::Cow;

/// Most parameters that are looked at; a longer list is unreadable.
const MAX_PARAMETERS: usize = 512;

/// The parameters of a query or a form. Names are compared without case, as ASP.NET does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Parameters<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    unreadable: bool,
    exact: bool,
}

/// What a parameter says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parameter<'a> {
    /// It is not there.
    Absent,
    /// It is there once.
    One(&'a str),
    /// It is there more than once, or nobody can say.
    Unclear,
}

impl<'a> Parameters<'a> {
    pub(crate) fn parse(encoded: &'a [u8]) -> Self {
        let mut parameters = Self {
            // As many as most queries have.
            pairs: Vec::with_capacity(if encoded.is_empty() { 0 } else { 8 }),
            ..Self::default()
        };
        for pair in encoded
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
        {
            if parameters.pairs.len() == MAX_PARAMETERS {
                parameters.unreadable = true;
                break;
            }
            let equals = pair
                .iter()
                .position(|byte| *byte == b'=')
                .unwrap_or(pair.len());
            let name = decode(&pair[..equals]);
            let value = decode(pair.get(equals + 1..).unwrap_or_default());
            match (name, value) {
                (Some(name), Some(value)) if is_plain(&name) => {
                    parameters.pairs.push((name, value));
                }
                _ => parameters.unreadable = true,
            }
        }
        parameters
    }

    /// Parameters that nobody can read: every one of them is unclear.
    pub(crate) fn unreadable() -> Self {
        Self {
            unreadable: true,
            ..Self::default()
        }
    }

    /// For servers that tell names apart by case: a parameter in another case than asked for is unclear.
    pub(crate) fn exact(mut self, exact: bool) -> Self {
        self.exact = exact;
        self
    }

    pub(crate) fn get(&self, name: &str) -> Parameter<'_> {
        let mut pairs = self.pairs_of(name);
        match (pairs.next(), pairs.next()) {
            _ if self.unreadable => Parameter::Unclear,
            (None, _) => Parameter::Absent,
            (Some((given, value)), None) if self.is(given, name) => Parameter::One(value),
            (Some(_), _) => Parameter::Unclear,
        }
    }

    /// Every value that can be read, also of a parameter that is unclear.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs_of(name).map(|(_, value)| &**value)
    }

    fn is(&self, given: &str, name: &str) -> bool {
        given == name || !self.exact && given.eq_ignore_ascii_case(name)
    }

    /// PHP passes over blanks in front of a name.
    fn pairs_of(&self, name: &str) -> impl Iterator<Item = &(Cow<'a, str>, Cow<'a, str>)> {
        let pairs = self.pairs.iter();
        pairs.filter(move |(given, _)| {
            given.eq_ignore_ascii_case(name)
                || given.starts_with(' ')
                    && given.trim_start_matches(' ').eq_ignore_ascii_case(name)
        })
    }

    /// Whether the parameter is there with text in it, once or more often; also when it may be there.
    pub(crate) fn may_have(&self, name: &str) -> bool {
        match self.get(name) {
            Parameter::Absent => false,
            Parameter::One(value) => !value.is_empty(),
            Parameter::Unclear => true,
        }
    }
}

/// Whether every server reads the name alike. .NET compares the names of a query by culture, where soft
/// hyphens, zero-width and control characters do not count: `w%C2%ADa` is its `wa`.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// `None` when the escapes are broken or the text is not UTF-8.
fn decode(encoded: &[u8]) -> Option<Cow<'_, str>> {
    if memchr::memchr2(b'+', b'%', encoded).is_none() {
        return Some(Cow::Borrowed(std::str::from_utf8(encoded).ok()?));
    }
    let mut out = Vec::with_capacity(encoded.len());
    let mut bytes = encoded.iter();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || bytes.next().and_then(|byte| char::from(*byte).to_digit(16));
                let (high, low) = (digit()?, digit()?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => *other,
        });
    }
    Some(Cow::Owned(String::from_utf8(out).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_and_compared_without_case() {
        let query =
            Parameters::parse(b"wa=wsignin1.0&%57TREALM=urn%3afederation%3AMicrosoftOnline&x");
        assert_eq!(
            query.get("wtrealm"),
            Parameter::One("urn:federation:MicrosoftOnline")
        );
        assert_eq!(query.get("x"), Parameter::One(""));
        assert_eq!(query.get("y"), Parameter::Absent);
        assert_eq!(
            Parameters::parse(b"a=b+c%20d").get("a"),
            Parameter::One("b c d")
        );
    }

    #[test]
    fn a_parameter_that_stands_twice_is_unclear() {
        let query = Parameters::parse(b"wa=wsignout1.0&WA=wsignin1.0");
        assert_eq!(query.get("wa"), Parameter::Unclear);
        assert_eq!(query.all("wa").count(), 2);
    }

    #[test]
    fn broken_escapes_and_endless_lists_make_everything_unclear() {
        assert_eq!(Parameters::parse(b"a=1&b=%zz").get("a"), Parameter::Unclear);
        assert_eq!(Parameters::parse(b"a=%c0%ae").get("c"), Parameter::Unclear);
        let endless = "a=1&".repeat(100_000);
        let parsed = Parameters::parse(endless.as_bytes());
        assert_eq!(parsed.get("z"), Parameter::Unclear);
        assert_eq!(parsed.all("a").count(), MAX_PARAMETERS);
    }
}
