//! The whole address space of a family as ranges that follow each other, each with a byte.
//!
//! A stream of spans gives where each begins, ascending, the first one at the first address; a span
//! ends where the next begins, the last one with the address space.

use weir_abi::Class;

use crate::compile::{Address, Head, NOBODY, Ranges};

impl<A: Address> Ranges<A> {
    /// The numbers of the classes, as spans.
    pub(crate) fn classes<'a>(&'a self, heads: &'a [Head]) -> impl Iterator<Item = (A, u8)> + 'a {
        let listed = self.starts.iter().zip(&self.owners).map(|(start, owner)| {
            let class = match *owner {
                NOBODY => Class::Unmanaged,
                owner => heads[self.deciders[owner as usize].list as usize].class,
            };
            (*start, class as u8)
        });
        let before =
            (self.starts.first() != Some(&A::FIRST)).then_some((A::FIRST, Class::Unmanaged as u8));
        before.into_iter().chain(listed)
    }
}

impl<A: Address> Ranges<A> {
    /// Whether the list that decides is one of these, as spans of 0 and 1; `marks` is in the order of the
    /// lists.
    pub(crate) fn marked<'a>(&'a self, marks: &'a [bool]) -> impl Iterator<Item = (A, u8)> + 'a {
        self.starts.iter().zip(&self.owners).map(|(start, owner)| {
            let marked = *owner != NOBODY && marks[self.deciders[*owner as usize].list as usize];
            (*start, u8::from(marked))
        })
    }
}

/// Two streams of spans laid over each other. Neighbours that came out equal are one span.
pub(crate) fn overlay<A: Address>(
    one: impl Iterator<Item = (A, u8)>,
    other: impl Iterator<Item = (A, u8)>,
    join: impl Fn(u8, u8) -> u8,
) -> impl Iterator<Item = (A, u8)> {
    let (mut one, mut other) = (one.peekable(), other.peekable());
    let mut now = (0, 0);
    let mut joined = None;
    std::iter::from_fn(move || {
        loop {
            let start = match (one.peek(), other.peek()) {
                (Some((one, _)), Some((other, _))) => *one.min(other),
                (Some((start, _)), None) | (None, Some((start, _))) => *start,
                (None, None) => return None,
            };
            if let Some((_, value)) = one.next_if(|(next, _)| *next == start) {
                now.0 = value;
            }
            if let Some((_, value)) = other.next_if(|(next, _)| *next == start) {
                now.1 = value;
            }
            let value = join(now.0, now.1);
            if joined != Some(value) {
                joined = Some(value);
                return Some((start, value));
            }
        }
    })
}

/// Spans with their last addresses.
pub(crate) fn ranges<A: Address>(
    spans: impl Iterator<Item = (A, u8)>,
) -> impl Iterator<Item = (A, A, u8)> {
    let mut spans = spans.peekable();
    std::iter::from_fn(move || {
        let (first, value) = spans.next()?;
        let last = spans.peek().map_or(A::LAST, |(next, _)| next.before());
        Some((first, last, value))
    })
}
