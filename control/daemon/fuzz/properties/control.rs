//! What holds for every request on the control sockets. The input is a line with a method and a target,
//! and then the body.

use http::Method;
use weir_control::api::request::{Command, parse};

/// Every request is understood, the same each time, or refused with a status of its own and words of a
/// bounded length; and what is understood names only what was asked for.
pub fn check(input: &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n');
    let (line, body) = match end {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, &[][..]),
    };
    let line = String::from_utf8_lossy(line);
    let (method, target) = line.split_once(' ').unwrap_or(("GET", &line));
    let Ok(method) = method.parse::<Method>() else {
        return;
    };
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let read = parse(&method, path, query, body);
    assert_eq!(read, parse(&method, path, query, body));
    match read {
        Ok(command) => {
            assert!(path.starts_with("/v1/"));
            if let Command::List { name, .. }
            | Command::AddEntry { name, .. }
            | Command::RemoveEntry { name, .. } = command
            {
                assert!(!name.is_empty());
                assert!(!name.chars().any(char::is_control));
            }
        }
        Err(refusal) => {
            assert!(refusal.status().is_client_error());
            for words in [refusal.to_string(), refusal.help()] {
                assert!(!words.is_empty());
                assert!(words.len() < 4_000, "{} bytes of words", words.len());
            }
        }
    }
}
