//! What policy may ask about users: whether the organisation has them, what its directory says of them, and
//! whether one more sign-in is within the rate that a rule allows.
//!
//! In flow the names of the users, one a line; what Entra knows comes by [`crate::Resident`]. The counting is not done here: whoever serves keeps the
//! rates, behind [`Directory`].

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use weir_directory::Who;

use crate::{Answers, Rate, Wanted};

/// Knows the organisation's users, and counts sign-ins where a rule allows only so many.
pub trait Directory {
    /// Whether there is a user of that name; `None` when nobody can say. `user` is trimmed and in lower
    /// case.
    fn knows(&self, user: &str) -> Option<bool>;

    /// Whether there is a directory at all.
    fn is_there(&self) -> bool {
        self.knows("").is_some()
    }

    /// Whether one more sign-in is within the rate, and counts it when it is.
    fn admit(&self, sign_in: &SignIn<'_>) -> bool;

    /// Whether [`Directory::admit`] would admit it now. Counts nothing.
    fn would_admit(&self, sign_in: &SignIn<'_>) -> bool;

    /// Everything that it says of somebody to a policy whose rules name what is `wanted`, by every name that is
    /// certain of them.
    fn look_up(&self, _who: &Who<'_>, _wanted: &Arc<Wanted>) -> Answers {
        Answers::default()
    }
}

/// A sign-in that a rule lets through within a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignIn<'a> {
    /// Name of the service.
    pub service: &'a str,
    /// The user, in lower case; `None` for a document that no user is named to get (MEX).
    pub user: Option<&'a str>,
    /// The address that policy judges, when it is known.
    pub source: Option<IpAddr>,
    /// How many are allowed.
    pub rate: Rate,
}

/// The names of the organisation's users: about as many bytes as the names have, and four for each.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Users {
    /// In lower case, one after the other, in order.
    names: String,
    /// Where each name begins.
    starts: Vec<u32>,
}

/// A line that is no user principal name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct UserError {
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub why: &'static str,
}

/// Most users that are held.
pub const MAX_USERS: usize = 1 << 20;
/// Longest user principal name, in bytes (Entra: 64 characters, `@`, 48 characters of domain).
const MAX_USER: usize = 320;
/// Most lines that are named when they cannot be read.
const MAX_ERRORS: usize = 20;

impl Users {
    /// Reads user principal names, one a line; what follows a `#` is a comment. A name may stand twice.
    /// Lines that cannot be read are all told, up to twenty.
    pub fn parse(text: &str) -> Result<Self, Vec<UserError>> {
        let mut names = Vec::new();
        let mut errors = Vec::new();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (line, written) in (1..).zip(text.lines()) {
            let name = written
                .split_once('#')
                .map_or(written, |(name, _)| name)
                .trim();
            if name.is_empty() {
                continue;
            }
            let why = if names.len() == MAX_USERS {
                "at most 1,048,576 users are possible"
            } else if name.len() > MAX_USER {
                "the name is too long; write one user principal name a line"
            } else if !is_principal_name(name) {
                "this is no user principal name; write name@domain, one a line"
            } else {
                names.push(name.to_lowercase());
                continue;
            };
            errors.push(UserError { line, why });
            if errors.len() == MAX_ERRORS {
                break;
            }
        }
        if errors.is_empty() {
            Ok(Self::of(names))
        } else {
            Err(errors)
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Whether there is a user of that name, which is in lower case.
    pub fn contains(&self, user: &str) -> bool {
        self.starts
            .binary_search_by(|start| self.name_at(*start).cmp(user))
            .is_ok()
    }

    /// The names, one a line, as [`Users::parse`] reads them.
    pub fn as_text(&self) -> &str {
        &self.names
    }

    fn of(mut names: Vec<String>) -> Self {
        names.sort_unstable();
        names.dedup();
        let mut users = Self {
            names: String::with_capacity(names.iter().map(|name| name.len() + 1).sum()),
            starts: Vec::with_capacity(names.len()),
        };
        for name in names {
            let start = u32::try_from(users.names.len());
            users
                .starts
                .push(start.expect("a million names of 320 bytes each are below 4 GB"));
            users.names.push_str(&name);
            users.names.push('\n');
        }
        users
    }

    fn name_at(&self, start: u32) -> &str {
        let rest = &self.names[start as usize..];
        &rest[..rest.find('\n').unwrap_or(rest.len())]
    }
}

/// Names are personal data: they do not belong in a log.
impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Users({})", self.len())
    }
}

/// Users without any counting: for those who ask what would be decided, and serve nobody. Every
/// sign-in seems to be within its rate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uncounted<'a>(pub Option<&'a Users>);

impl Directory for Uncounted<'_> {
    fn knows(&self, user: &str) -> Option<bool> {
        self.0.map(|users| users.contains(user))
    }

    fn admit(&self, sign_in: &SignIn<'_>) -> bool {
        self.would_admit(sign_in)
    }

    fn would_admit(&self, _: &SignIn<'_>) -> bool {
        true
    }
}

fn is_principal_name(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && !part.contains(|c: char| c.is_whitespace());
    name.split_once('@').is_some_and(|(user, domain)| {
        plain(user) && plain(domain) && !domain.contains('@') && !name.contains(char::is_control)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_whatever_their_case_order_and_comments() {
        let text = "\u{feff}# staff\nzoe@corp.example\r\n\n  Alice@Corp.Example # head office\n\
                    BJÖRN@corp.example\nalice@corp.example\n";
        let users = Users::parse(text).expect("a good file");
        assert_eq!(users.len(), 3);
        for known in [
            "alice@corp.example",
            "björn@corp.example",
            "zoe@corp.example",
        ] {
            assert!(users.contains(known), "{known}");
        }
        for unknown in [
            "",
            "alice",
            "alice@corp.exampl",
            "alice@corp.example\n",
            "a",
        ] {
            assert!(!users.contains(unknown), "{unknown}");
        }
        assert_eq!(Users::parse(users.as_text()), Ok(users));
        assert_eq!(Users::parse("").map(|users| users.len()), Ok(0));
    }

    #[test]
    fn lines_that_are_no_name_are_told_by_number_and_not_without_end() {
        let lines = |text: &str| -> Vec<usize> {
            let errors = Users::parse(text).expect_err("no names");
            errors.iter().map(|error| error.line).collect()
        };
        assert_eq!(
            lines("a@b\nalice\n@corp\nalice@\na@b@c\nCORP\\alice\na b@c"),
            [2, 3, 4, 5, 6, 7]
        );
        assert_eq!(lines(&"x\n".repeat(1000)).len(), MAX_ERRORS);
        assert_eq!(lines(&format!("{}@corp.example", "a".repeat(400))), [1]);
    }

    #[test]
    fn three_hundred_thousand_users_take_few_bytes_more_than_their_names() {
        let names = (0..300_000).map(|n| format!("user{n}@corp.example"));
        let text = names.collect::<Vec<_>>().join("\n") + "\n";
        let users = Users::parse(&text).expect("good names");
        assert_eq!(users.len(), 300_000);
        assert!(users.contains("user299999@corp.example") && !users.contains("user300000@corp"));
        assert_eq!(users.names.capacity(), text.len());
        assert_eq!(format!("{users:?}"), "Users(300000)");
    }
}
