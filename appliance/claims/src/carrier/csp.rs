//! Content Security Policy: where a page's forms may be sent (CSP 3, 6.4.1).

use url::Url;

use super::address::origin;

/// The values of `Content-Security-Policy` headers that let a form go to `new` wherever `old` was among the
/// places that they name. A policy without `form-action` limits no forms (`default-src` does not cover
/// them) and stays as it is; so does everything else in each value. Both are origins, such as
/// `https://login.microsoftonline.com`.
pub fn csp(values: &[&str], old: &str, new: &str) -> Vec<String> {
    let (Ok(old), Ok(new)) = (Url::parse(old), Url::parse(new)) else {
        return values.iter().map(|value| (*value).to_owned()).collect();
    };
    let mended = values.iter().map(|value| {
        let policies = value.split(',').map(|policy| put_right(policy, &old, &new));
        policies.collect::<Vec<_>>().join(",")
    });
    mended.collect()
}

/// One policy: the first directive of a name counts, others of it are passed over.
fn put_right(policy: &str, old: &Url, new: &Url) -> String {
    let mut done = false;
    let directives = policy.split(';').map(|directive| {
        let mut words = directive.split_ascii_whitespace();
        let is_first = !done
            && words
                .next()
                .is_some_and(|name| name.eq_ignore_ascii_case("form-action"));
        if !is_first {
            return directive.to_owned();
        }
        done = true;
        let mut sources: Vec<&str> = words
            .filter(|word| !word.eq_ignore_ascii_case("'none'"))
            .collect();
        let new = origin(new);
        let lets = |sources: &[&str], url: &Url| sources.iter().any(|source| covers(source, url));
        if sources.iter().any(|source| *source == new) || !lets(&sources, old) {
            return directive.to_owned();
        }
        sources.push(&new);
        let lead = &directive[..directive.len() - directive.trim_ascii_start().len()];
        format!("{lead}form-action {}", sources.join(" "))
    });
    directives.collect::<Vec<_>>().join(";")
}

/// Whether a source lets a form go to an address, as far as scheme, host and port say. `'self'` is the
/// service's own origin, where no application is.
fn covers(source: &str, url: &Url) -> bool {
    let source = source.to_ascii_lowercase();
    if source == "*" {
        return true;
    }
    if let Some(scheme) = source.strip_suffix(':') {
        return scheme == url.scheme() || (scheme == "http" && url.scheme() == "https");
    }
    let (scheme, rest) = source.split_once("://").unwrap_or((url.scheme(), &source));
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let given = url.host_str().unwrap_or_default();
    let is_host = match host.strip_prefix("*.") {
        Some(parent) => given
            .strip_suffix(parent)
            .is_some_and(|label| label.len() > 1 && label.ends_with('.')),
        None => host == given,
    };
    let default = url.port_or_known_default().map(|port| port.to_string());
    let is_port = port.is_none_or(|port| port == "*" || Some(port) == default.as_deref())
        && (port.is_some() || url.port().is_none());
    (scheme == url.scheme() || scheme == "http") && is_host && is_port
}
