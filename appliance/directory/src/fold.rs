//! Names as they are compared, and numbers by which they are found.

use uuid::Uuid;

/// What is found by a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Index {
    /// Users by user principal name.
    Upn,
    /// Users by immutable id.
    ImmutableId,
    /// Users by security identifier.
    Sid,
    /// Groups by the name that is shown.
    GroupName,
}

impl Index {
    pub(crate) const ALL: [Self; 4] = [Self::Upn, Self::ImmutableId, Self::Sid, Self::GroupName];

    /// The number of a name: the same for names that are the same.
    pub(crate) fn number(self, name: &str) -> u64 {
        if self == Self::ImmutableId {
            number(name.chars().map(u32::from))
        } else if name.is_ascii() {
            // The same as below, without asking a table for each character.
            number(name.bytes().map(|byte| byte.to_ascii_lowercase().into()))
        } else {
            number(folded(name).map(u32::from))
        }
    }

    /// Whether two names are the same. An immutable id is base64, where the case counts.
    pub(crate) fn same(self, a: &str, b: &str) -> bool {
        if self == Self::ImmutableId {
            a == b
        } else {
            same(a, b)
        }
    }
}

/// Whether two names are the same whatever their case.
pub(crate) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || folded(a).eq(folded(b))
}

/// An id as Microsoft writes it; no other form, so that a name is not taken for one.
pub(crate) fn id(text: &str) -> Option<Uuid> {
    (text.len() == 36)
        .then(|| Uuid::try_parse(text).ok())
        .flatten()
}

/// In lower case; a sigma is the same at the end of a word.
fn folded(name: &str) -> impl Iterator<Item = char> {
    let lower = name.chars().flat_map(char::to_lowercase);
    lower.map(|character| if character == 'ς' { 'σ' } else { character })
}

/// The last step of SplitMix64, which spreads a number over all bits.
pub(crate) fn spread(mut number: u64) -> u64 {
    number = (number ^ number >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ number >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ number >> 31
}

/// FNV-1a over characters, spread over all bits.
fn number(name: impl Iterator<Item = u32>) -> u64 {
    spread(name.fold(0xcbf2_9ce4_8422_2325_u64, |number, character| {
        (number ^ u64::from(character)).wrapping_mul(0x0100_0000_01b3)
    }))
}
