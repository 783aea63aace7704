//! What holds for every answer of Microsoft Graph. The first byte says which question was asked, by a letter from `a`
//! on, and the rest is the answer.

use std::collections::BTreeSet;
use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_entra::decode::{
    Malformed, audits, conditional_access, credentials, defaults, deleted, domains, groups,
    locations, methods, organisation, registrations, roles, sign_ins, users,
};
use weir_entra::model::{Item, Next, Page};

/// An answer is taken whole, the same each time, or refused in few words; a page has one way to go on; and a document
/// that is kept is the same when it is read again.
pub fn check(input: &[u8]) {
    let Some((which, body)) = input.split_first() else {
        return;
    };
    match which {
        b'a' => items(body, users::changes, true),
        b'b' => items(body, users::list, false),
        b'c' => items(body, groups::changes, true),
        b'd' => items(body, groups::list, false),
        b'e' => drop(list(body, groups::members)),
        b'f' => drop(same(body, groups::checked)),
        b'g' => drop(list(body, deleted)),
        b'h' => drop(list(body, roles::assignments)),
        b'i' => drop(list(body, roles::eligibilities)),
        b'j' => kept(list(body, roles::definitions)),
        b'k' => kept(list(body, conditional_access::decode)),
        b'l' => kept(list(body, locations::decode)),
        b'm' => kept(same(body, methods::decode)),
        b'n' => kept(same(body, defaults::decode)),
        b'o' => kept(same(body, organisation::decode)),
        b'p' => kept(list(body, domains::decode)),
        b'q' => kept(same(body, domains::federation).flatten()),
        b'r' => kept(list(body, credentials::decode)),
        b's' => kept(list(body, registrations::decode)),
        b't' => kept(list(body, sign_ins::decode)),
        _ => kept(list(body, audits::decode)),
    }
}

type Decode<T> = fn(&[u8]) -> Result<T, Malformed>;

fn same<T: PartialEq + Debug>(body: &[u8], decode: Decode<T>) -> Option<T> {
    let read = decode(body);
    assert_eq!(read, decode(body));
    match read {
        Ok(read) => Some(read),
        Err(error) => {
            let words = error.to_string();
            assert!(!words.is_empty() && words.chars().count() <= 200, "{words}");
            None
        }
    }
}

fn list<T: PartialEq + Debug>(body: &[u8], decode: Decode<Page<T>>) -> Option<Vec<T>> {
    let page = same(body, decode)?;
    assert!(
        !matches!(page.next, Next::Done(Some(_))),
        "a list has no changes"
    );
    Some(page.items)
}

fn items<P: PartialEq + Debug>(body: &[u8], decode: Decode<Page<Item<P>>>, is_delta: bool) {
    let Some(page) = same(body, decode) else {
        return;
    };
    let goes_on = matches!(page.next, Next::More(_) | Next::Done(Some(_)));
    assert!(
        goes_on || !is_delta,
        "a page of changes says how it goes on"
    );
    // Nobody is made up.
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    let ids = page.items.iter().map(|item| match item {
        Item::Live(id, _) | Item::Gone(id) | Item::Purged(id) => *id,
    });
    let ids = ids.collect::<BTreeSet<_>>();
    // An id may be written with escapes.
    assert!(text.contains('\\') || ids.iter().all(|id| text.contains(&id.to_string())));
}

fn kept<T>(read: Option<T>)
where
    T: Serialize + DeserializeOwned + PartialEq + Debug,
{
    if let Some(read) = read {
        let written = serde_json::to_vec(&read).expect("it is plain data");
        let again: T = serde_json::from_slice(&written).expect("it was just written");
        assert_eq!(read, again);
    }
}
