//! The head of a request, as it came.

/// The head of a request, as it came. Nothing in it is trusted.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// Method, such as `GET`.
    pub method: &'a str,
    /// Host of the request without its port.
    pub host: &'a str,
    /// Raw path: the bytes before the first `?`.
    pub path: &'a str,
    /// Raw query: the bytes after the first `?`, if there is one.
    pub query: Option<&'a str>,
    /// Header lines in the order in which they came; names in any case, a name may repeat.
    pub headers: &'a [(&'a str, &'a [u8])],
}

impl<'a> Head<'a> {
    /// All values of a header, in order.
    pub fn values(&self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.headers
            .iter()
            .filter(move |(given, _)| given.eq_ignore_ascii_case(name))
            .map(|(_, value)| *value)
    }

    /// The first value of a header, when it is text.
    pub fn text(&self, name: &'a str) -> Option<&'a str> {
        self.values(name)
            .next()
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Whether a body is announced.
    pub fn announces_body(&self) -> bool {
        self.values("transfer-encoding").next().is_some()
            || self
                .values("content-length")
                .any(|value| value.trim_ascii() != b"0")
    }
}
