//! A path as the most careless of all servers would read it. Shares no code with the crate.

/// Paths that are for the sign-in server's own proxies.
pub const INTERNAL: [&str; 6] = [
    "/adfs/proxy/establishtrust",
    "/adfs/backendproxytls",
    "/adfs/services/trust/proxymex",
    "/adfs/services/trust/2005/windowstransport",
    "/adfs/services/trust/13/kerberosmixed",
    "/adfs/ls/federationserverservice.asmx",
];

/// Whether a careless server would take a raw path for an internal one.
pub fn is_internal(raw: &str) -> bool {
    let read = read(raw);
    INTERNAL.iter().any(|path| {
        read.strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }) || read.starts_with("/adfs/proxy/")
}

/// Decodes until nothing changes, takes backslashes for slashes, drops parameters, trailing dots and
/// blanks, resolves dot segments, folds case and the full-width forms of Unicode.
pub fn read(raw: &str) -> String {
    let mut text = raw.to_owned();
    for _ in 0..8 {
        text = decode(&text);
    }
    let folded: String = text
        .chars()
        .map(|character| match u32::from(character) {
            code @ 0xff01..=0xff5e => char::from_u32(code - 0xfee0).unwrap_or(character),
            _ => character,
        })
        .collect();
    let mut segments: Vec<String> = Vec::new();
    for segment in folded.to_lowercase().split(['/', '\\']) {
        let name = segment
            .split([';', '?', '#', '\0', ':'])
            .next()
            .unwrap_or_default();
        match name.trim() {
            ".." => {
                segments.pop();
            }
            name if name.trim_end_matches(['.', ' ']).is_empty() => {}
            name => segments.push(name.trim_end_matches(['.', ' ']).to_owned()),
        }
    }
    format!("/{}", segments.join("/"))
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let pair = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if bytes[at] == b'%' => {
                out.push(byte);
                at += 3;
            }
            _ => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
