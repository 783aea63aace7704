//! However a signed document is changed: it says what it said when it was signed, or it is not believed.

mod support;

use std::ops::Range;
use std::sync::LazyLock;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use quick_xml::Reader;
use quick_xml::events::Event;
use support::{
    EXCLUSIVE, FORMS, ID, RESPONSE, SERVICE, SUBJECT, believed, judge_with, outer, response,
    signed, template, unsigned, with,
};
use weir_claims::{Claims, Form, Token, Trust};

static TRUST: LazyLock<Trust> = LazyLock::new(|| SERVICE.trust());

/// Signed documents, each with what it says.
static ORIGINALS: LazyLock<Vec<(String, Claims)>> = LazyLock::new(|| {
    let bare = with(&unsigned(Form::Saml20), "");
    let mut documents = FORMS.map(|form| outer(form, &signed(form))).to_vec();
    documents.push(SERVICE.sign(&response(&bare, &template(RESPONSE))));
    documents.push(SERVICE.sign(&response(&signed(Form::Saml20), &template(RESPONSE))));
    let told = |document: String| {
        let claims = believed(&document);
        (document, claims)
    };
    documents.into_iter().map(told).collect()
});

/// A change to a document, which leaves it well-formed more often than not.
#[derive(Clone, Debug)]
enum Change {
    /// An element once more, in front of another or as the first inside it.
    Copy(Index, Index, bool),
    /// An element goes in front of another.
    Move(Index, Index),
    Swap(Index, Index),
    Delete(Index),
    /// An element is put into a new one of that name.
    Wrap(Index, &'static str),
    /// One text everywhere becomes another, or only the first time.
    Replace(&'static str, &'static str, bool),
    /// Text goes to some place inside an element, or into its tag.
    Insert(Index, Index, &'static str),
}

fn change() -> impl Strategy<Value = Change> {
    let element = any::<Index>;
    let text = || select(TEXTS);
    prop_oneof![
        (element(), element(), any::<bool>()).prop_map(|(a, b, c)| Change::Copy(a, b, c)),
        (element(), element()).prop_map(|(a, b)| Change::Move(a, b)),
        (element(), element()).prop_map(|(a, b)| Change::Swap(a, b)),
        element().prop_map(Change::Delete),
        (element(), select(NAMES)).prop_map(|(a, b)| Change::Wrap(a, b)),
        (text(), text(), any::<bool>()).prop_map(|(a, b, c)| Change::Replace(a, b, c)),
        (element(), any::<Index>(), text()).prop_map(|(a, b, c)| Change::Insert(a, b, c)),
    ]
}

impl Change {
    fn apply(&self, document: &str) -> String {
        let elements = elements(document);
        if elements.is_empty() {
            return document.to_owned();
        }
        let at = |index: &Index| index.get(&elements).clone();
        match self {
            Self::Copy(what, to, inside) => {
                let to = at(to);
                let place = if *inside {
                    document[to.clone()]
                        .find('>')
                        .map_or(to.start, |end| to.start + end + 1)
                } else {
                    to.start
                };
                [&document[..place], &document[at(what)], &document[place..]].concat()
            }
            Self::Move(what, to) => {
                let (what, to) = (at(what), at(to).start);
                let moved = &document[what.clone()];
                if to <= what.start {
                    let between = &document[to..what.start];
                    [&document[..to], moved, between, &document[what.end..]].concat()
                } else if to >= what.end {
                    let between = &document[what.end..to];
                    [&document[..what.start], between, moved, &document[to..]].concat()
                } else {
                    document.to_owned()
                }
            }
            Self::Swap(one, other) => {
                let (one, other) = (at(one), at(other));
                let (one, other) = if one.start < other.start {
                    (one, other)
                } else {
                    (other, one)
                };
                if one.end > other.start {
                    return document.to_owned();
                }
                let parts = [
                    &document[..one.start],
                    &document[other.clone()],
                    &document[one.end..other.start],
                    &document[one.clone()],
                    &document[other.end..],
                ];
                parts.concat()
            }
            Self::Delete(what) => {
                let what = at(what);
                [&document[..what.start], &document[what.end..]].concat()
            }
            Self::Wrap(what, name) => {
                let what = at(what);
                let end = name.split(' ').next().unwrap_or(name);
                let inner = &document[what.clone()];
                let wrapped = format!("<{name}>{inner}</{end}>");
                [&document[..what.start], &wrapped, &document[what.end..]].concat()
            }
            Self::Replace(before, after, once) => {
                let most = if *once { 1 } else { usize::MAX };
                document.replacen(before, after, most)
            }
            Self::Insert(what, place, text) => {
                let what = at(what);
                let mut place = what.start + place.index(what.len());
                while !document.is_char_boundary(place) {
                    place -= 1;
                }
                [&document[..place], text, &document[place..]].concat()
            }
        }
    }
}

/// Where the elements of a document are, as far as it can be read.
fn elements(document: &str) -> Vec<Range<usize>> {
    let mut reader = Reader::from_str(document);
    let (mut found, mut open) = (Vec::new(), Vec::new());
    let position = |reader: &Reader<&[u8]>| usize::try_from(reader.buffer_position());
    loop {
        let before = position(&reader).expect("a short document");
        let event = reader.read_event();
        let after = position(&reader).expect("a short document");
        match event {
            Ok(Event::Start(_)) => open.push(before),
            Ok(Event::Empty(_)) => found.push(before..after),
            Ok(Event::End(_)) => found.extend(open.pop().map(|start| start..after)),
            Ok(Event::Eof) | Err(_) => return found,
            Ok(_) => {}
        }
    }
}

const NAMES: &[&str] = &[
    "Object",
    "ds:Object",
    "Extensions",
    "Assertion",
    "Advice",
    "x xmlns='urn:oasis:names:tc:SAML:2.0:assertion'",
    "Assertion ID='_e' Version='2.0' xmlns='urn:oasis:names:tc:SAML:2.0:assertion'",
    "a:Response ID='_e' Version='2.0' xmlns:a='urn:oasis:names:tc:SAML:2.0:protocol'",
];

const TEXTS: &[&str] = &[
    "",
    " ",
    "x",
    "<!-- x -->",
    "<![CDATA[x]]>",
    "&#120;",
    "&amp;",
    ID,
    RESPONSE,
    SUBJECT,
    EXCLUSIVE,
    "anna@corp.example",
    "boss@corp.example",
    "Finance",
    "Staff",
    "AttributeValue",
    "Attribute",
    "Assertion",
    "Signature",
    "SignedInfo",
    "Reference",
    "ds:",
    "saml:",
    "ID=",
    "AssertionID=",
    "Id='_e' ",
    "xmlns:ds='urn:x' ",
    "xmlns='urn:x' ",
    "2026-03-02T09:14:58.123Z",
    "2026-03-02T09:15:00.000Z",
    "2026-03-02T10:15:00.000Z",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn a_changed_document_says_the_same_or_is_not_believed(
        original in any::<Index>(),
        changes in prop::collection::vec(change(), 1..4),
    ) {
        let (document, claims) = original.get(&ORIGINALS);
        let mut changed = document.clone();
        for change in &changes {
            changed = change.apply(&changed);
        }
        if let Token::Verified(said) = judge_with(&TRUST, &changed) {
            prop_assert_eq!(&said, claims, "{}", changed);
        }
    }
}
