//! Paths, normalised for matching. What is forwarded is always the raw path.
//!
//! Servers differ in how they read a path: how often they decode it, whether `\` or an encoded slash
//! separates segments, what `;x` or a trailing dot means. A normalised path is what the *most lenient*
//! of them would read, and it remembers whether any leniency was needed ([`NormalPath::is_odd`]).
//! An odd path may be recognised as internal, but it never passes.

use serde::Serialize;

/// A path, normalised for matching: decoded, lower case, no dot segments, no empty segments; a slash
/// at its end is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NormalPath {
    text: String,
    odd: bool,
}

/// Why a path is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// `OPTIONS *`, or an absolute form that was not taken apart.
    #[error("the path does not begin with a slash")]
    NotAbsolute,
    /// Longer than 4096 bytes.
    #[error("the path is too long")]
    TooLong,
    /// A byte that RFC 3986 3.3 does not allow unencoded.
    #[error("the path holds a character that must be percent-encoded")]
    RawCharacter,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a broken percent-encoding")]
    BadEscape,
    /// NUL or another control character, encoded.
    #[error("the path holds an encoded control character")]
    Control,
    /// Overlong, surrogate or cut-off UTF-8.
    #[error("the path is not UTF-8 once decoded")]
    NotUtf8,
    /// Encoded over and over.
    #[error("the path is percent-encoded too many times")]
    TooManyEncodings,
}

/// Longest raw path that is looked at, in bytes.
pub const MAX_PATH: usize = 4096;

impl NormalPath {
    /// Normalises a raw path (the bytes before the first `?`).
    pub fn parse(raw: &str) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if raw.len() > MAX_PATH {
            return Err(PathError::TooLong);
        }
        if raw
            .bytes()
            .any(|byte| !byte.is_ascii_graphic() || matches!(byte, b'#' | b'?'))
        {
            return Err(PathError::RawCharacter);
        }
        let mut decoded = decode(raw, true)?;
        let mut odd = slashes(&decoded) != slashes(raw);
        let mut rounds = 0;
        while decoded.contains('%') {
            odd = true;
            rounds += 1;
            if rounds > 4 {
                return Err(PathError::TooManyEncodings);
            }
            let again = decode(&decoded, false)?;
            if again == decoded {
                break;
            }
            decoded = again;
        }
        odd |= decoded.bytes().any(|byte| !is_plain(byte));
        decoded.make_ascii_lowercase();

        let mut segments: Vec<&str> = Vec::new();
        let mut ends_in_slash = false;
        for segment in decoded.split(['/', '\\']) {
            let name = segment
                .split(';')
                .next()
                .unwrap_or_default()
                .trim_matches(' ');
            let shown = name.trim_end_matches(['.', ' ']);
            odd |= shown.len() != segment.len();
            if name == ".." {
                segments.pop();
            }
            ends_in_slash = shown.is_empty();
            if !shown.is_empty() {
                segments.push(shown);
            }
        }
        let mut text = String::with_capacity(decoded.len());
        for segment in &segments {
            text.push('/');
            text.push_str(segment);
        }
        if ends_in_slash || text.is_empty() {
            text.push('/');
        }
        Ok(Self { text, odd })
    }

    /// The normalised path.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The normalised path without a slash at its end.
    pub fn trimmed(&self) -> &str {
        self.text.strip_suffix('/').unwrap_or(&self.text)
    }

    /// Whether servers may read the raw path in more than one way; such a path never passes.
    pub fn is_odd(&self) -> bool {
        self.odd
    }
}

/// Decodes once. The first time (`strict`) a broken escape is an error; in what was decoded already,
/// a `%` may stand for itself.
fn decode(text: &str, strict: bool) -> Result<String, PathError> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%').then(|| bytes.get(at + 1..at + 3).and_then(hex_pair));
        match escape {
            Some(Some(byte)) if byte < 0x20 || byte == 0x7f => return Err(PathError::Control),
            Some(Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            Some(None) if strict => return Err(PathError::BadEscape),
            Some(None) | None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(out).map_err(|_| PathError::NotUtf8)
}

fn hex_pair(pair: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(pair[0])? * 16 + digit(pair[1])?;
    u8::try_from(value).ok()
}

fn slashes(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'/').count()
}

/// Characters that every server reads as themselves. Backslash, `;`, `:`, `%`, `?`, `#`, spaces, what
/// Windows refuses in a name, and everything beyond ASCII are not among them.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~/!$'()+,=@".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain(raw: &str) -> String {
        let path = NormalPath::parse(raw).expect("a readable path");
        assert!(!path.is_odd(), "{raw} is odd");
        path.as_str().to_owned()
    }

    fn odd(raw: &str) -> String {
        let path = NormalPath::parse(raw).expect("a readable path");
        assert!(path.is_odd(), "{raw} is not odd");
        path.as_str().to_owned()
    }

    #[test]
    fn case_needless_escapes_and_doubled_slashes_are_the_same_path() {
        assert_eq!(plain("/adfs/ls/"), "/adfs/ls/");
        assert_eq!(plain("/ADFS/Ls"), "/adfs/ls");
        assert_eq!(plain("/%61dfs/l%73/"), "/adfs/ls/");
        assert_eq!(plain("//adfs//ls"), "/adfs/ls");
        assert_eq!(plain("/"), "/");
    }

    #[test]
    fn what_only_a_lenient_server_reads_is_resolved_and_odd() {
        for raw in [
            "/adfs/ls/../proxy/establishtrust",
            "/adfs/ls/%2e%2e/proxy/establishtrust",
            "/adfs/ls/%252e%252e/proxy/establishtrust",
            "/adfs/ls/.%2e/proxy/establishtrust",
            "/adfs/./proxy/establishtrust",
            "/adfs%2fproxy/establishtrust",
            "/adfs%252fproxy/establishtrust",
            "/adfs\\proxy\\establishtrust",
            "/adfs%5cproxy/establishtrust",
            "/adfs/proxy;x=1/establishtrust",
            "/adfs/portal/..;/proxy/establishtrust",
            "/adfs/proxy./establishtrust",
            "/adfs/proxy%20/establishtrust",
            "/adfs/ls/..%20/proxy/establishtrust",
            "/adfs/proxy/establishtrust;jsessionid=%20",
        ] {
            assert_eq!(odd(raw), "/adfs/proxy/establishtrust", "{raw}");
        }
        assert_eq!(odd("/../../adfs/ls"), "/adfs/ls");
        assert_eq!(odd("/adfs/ls::$data"), "/adfs/ls::$data");
        assert_eq!(odd("/adfs/l%C3%9F"), "/adfs/lß");
    }

    #[test]
    fn what_nobody_can_read_for_certain_is_refused() {
        for (raw, error) in [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("\\adfs\\ls", PathError::NotAbsolute),
            ("https://sts/adfs/ls", PathError::NotAbsolute),
            ("/adfs/ls#x", PathError::RawCharacter),
            ("/adfs/l s", PathError::RawCharacter),
            ("/adfs/ls\u{e9}", PathError::RawCharacter),
            ("/adfs/%zz", PathError::BadEscape),
            ("/adfs/%u002e", PathError::BadEscape),
            ("/adfs/ls%", PathError::BadEscape),
            ("/adfs/ls%2", PathError::BadEscape),
            ("/adfs/ls%00", PathError::Control),
            ("/adfs/ls%2500", PathError::Control),
            ("/adfs/ls%0d%0a", PathError::Control),
            ("/adfs/%c0%ae%c0%ae/proxy", PathError::NotUtf8),
            ("/adfs/%e0%80%af", PathError::NotUtf8),
            ("/adfs/%25252525252561", PathError::TooManyEncodings),
        ] {
            assert_eq!(NormalPath::parse(raw), Err(error), "{raw}");
        }
        assert_eq!(
            NormalPath::parse(&format!("/{}", "a".repeat(MAX_PATH))),
            Err(PathError::TooLong)
        );
    }

    fn nasty_path() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "/",
            "//",
            "adfs",
            "ADFS",
            "ls",
            "proxy",
            ".",
            "..",
            "%2e",
            "%252e",
            "%2f",
            "%5c",
            "\\",
            ";",
            ";a=b",
            "%3b",
            "%20",
            "%",
            "%25",
            "a",
            "%41",
            "...",
            "~",
            ":",
            "%c3%9f",
            "%ef%bc%8e",
        ]);
        prop::collection::vec(piece, 0..14).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn no_dot_segment_survives(raw in nasty_path()) {
            if let Ok(path) = NormalPath::parse(&raw) {
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(!path.as_str().contains("//"));
                prop_assert!(!path.as_str().contains('\\'));
                prop_assert!(!path.as_str().split('/').any(|segment| segment == "." || segment == ".."));
                prop_assert!(!path.as_str().contains(|c: char| c.is_ascii_uppercase()));
            }
        }

        #[test]
        fn normalising_twice_changes_nothing(raw in nasty_path()) {
            if let Ok(path) = NormalPath::parse(&raw) && !path.is_odd() {
                prop_assert_eq!(NormalPath::parse(path.as_str()), Ok(path));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(raw in ".{0,200}") {
            let _ = NormalPath::parse(&raw);
        }
    }
}
