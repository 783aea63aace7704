//! What holds for every path. The input is the raw path.

use weir_policy::NormalPath;

use crate::careless;

/// A path is read or refused; what is read for certain means the same to the most careless server.
pub fn check(input: &[u8]) {
    let raw = String::from_utf8_lossy(input);
    let Ok(path) = NormalPath::parse(&raw) else {
        return;
    };
    let text = path.as_str();
    assert!(text.starts_with('/'), "{raw:?} is read as {text:?}");
    assert!(!text.contains("//") && !text.contains('\\'), "{text:?}");
    assert!(
        !text
            .split('/')
            .any(|segment| segment == "." || segment == ".."),
        "a dot segment is left in {text:?}"
    );
    assert!(!text.contains(|c: char| c.is_ascii_uppercase() || c.is_ascii_control()));
    assert_eq!(path.trimmed(), text.strip_suffix('/').unwrap_or(text));
    if path.is_odd() {
        return;
    }
    assert_eq!(
        NormalPath::parse(text).as_ref(),
        Ok(&path),
        "normalising twice changes something"
    );
    let careless = careless::read(&raw);
    assert_eq!(
        careless.trim_end_matches('/'),
        path.trimmed(),
        "{raw:?} can be read in two ways"
    );
    let passes_as = careless::is_internal(&raw);
    assert_eq!(passes_as, careless::is_internal(text), "{raw:?}");
}
