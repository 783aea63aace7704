//! A request as it was captured: the text of HTTP/1.1 (RFC 9112).

/// A captured request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    pub method: String,
    /// Path and query, or a whole URL.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Raw {
    /// Reads a request line, header fields, an empty line, and a body.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
        let text = text.trim_start_matches(['\r', '\n']);
        let (head, body) = match (text.find("\r\n\r\n"), text.find("\n\n")) {
            (Some(at), other) if other.is_none_or(|other| at < other) => {
                (&text[..at], &text[at + 4..])
            }
            (_, Some(at)) => (&text[..at], &text[at + 2..]),
            _ => (text.trim_end(), ""),
        };
        let mut lines = head.lines();
        let first = lines.next().unwrap_or_default();
        let mut words = first.split(' ');
        let (Some(method), Some(target), Some(version), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!(
                "its first line is no request line: `{}`",
                first.chars().take(60).collect::<String>()
            ));
        };
        if method.is_empty() || target.is_empty() || !version.starts_with("HTTP/") {
            return Err("its first line is not METHOD, target and HTTP/1.1".to_owned());
        }
        let headers = (2..)
            .zip(lines)
            .map(|(number, line)| match line.split_once(':') {
                Some((name, value)) if !name.is_empty() && !name.contains([' ', '\t']) => {
                    Ok((name.to_owned(), value.trim().to_owned()))
                }
                _ => Err(format!(
                    "line {number} is no header field: write `Name: value`"
                )),
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            body: whole(&headers, body)?.to_owned(),
            headers,
        })
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }
}

fn value<'h>(headers: &'h [(String, String)], name: &str) -> Option<&'h str> {
    let mut all = headers.iter();
    let found = all.find(|(known, _)| known.eq_ignore_ascii_case(name));
    found.map(|(_, value)| value.as_str())
}

/// The body: as long as the head says, because editors end a file with a line end.
fn whole<'b>(headers: &[(String, String)], body: &'b str) -> Result<&'b str, String> {
    if value(headers, "transfer-encoding").is_some() {
        return Err(
            "its body is sent in chunks: write the body alone, and leave Transfer-Encoding out"
                .to_owned(),
        );
    }
    let Some(said) = value(headers, "content-length") else {
        return Ok(body);
    };
    let length: usize = said
        .parse()
        .map_err(|_| format!("Content-Length is `{said}`, which is no number"))?;
    body.get(..length).ok_or_else(|| {
        format!(
            "Content-Length is {length}, and the body has {} bytes; was it cut?",
            body.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_sent() {
        let text = "POST /adfs/ls/?wa=wsignin1.0 HTTP/1.1\r\nHost: sts.corp.example\r\n\
                    Content-Length: 7\r\n\r\na=b\r\n&c\n";
        let raw = Raw::parse(text.as_bytes()).expect("a request");
        assert_eq!(
            (raw.method.as_str(), raw.body.as_str()),
            ("POST", "a=b\r\n&c")
        );
        assert_eq!(raw.target, "/adfs/ls/?wa=wsignin1.0");
        assert_eq!(raw.header("host"), Some("sts.corp.example"));
        let plain = Raw::parse(b"GET / HTTP/1.1\nHost: a\n\n\r\n\r\nbody").expect("a request");
        assert_eq!(plain.body, "\r\n\r\nbody");
        assert!(
            Raw::parse(b"GET / HTTP/1.1")
                .expect("one line")
                .headers
                .is_empty()
        );
    }

    #[test]
    fn what_is_no_request_says_why() {
        for (text, why) in [
            (&b""[..], "no request line"),
            (b"GET / HTTQ/1.1\n", "not METHOD"),
            (b"GET  / HTTP/1.1\n", "no request line"),
            (b"GET / HTTP/1.1\nHost\n\n", "line 2"),
            (b"GET / HTTP/1.1\nA: b\n folded: c\n\n", "line 3"),
            (b"POST / HTTP/1.1\nContent-Length: 9\n\nabc", "was it cut"),
            (b"POST / HTTP/1.1\nContent-Length: -1\n\nabc", "no number"),
            (
                b"POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n0\n\n",
                "chunks",
            ),
            (b"GET /\xff HTTP/1.1\n\n", "UTF-8"),
        ] {
            let error = Raw::parse(text).expect_err("no request");
            assert!(error.contains(why), "{error}");
        }
    }
}
