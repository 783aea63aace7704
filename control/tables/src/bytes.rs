//! The compiled lists as bytes, for the process that looks sources up without reading lists itself.
//!
//! Layout, all numbers little-endian: the eight bytes `weirlist`, [`VERSION`], five counts (lists,
//! IPv4 ranges, IPv4 deciders, IPv6 ranges, IPv6 deciders), the lists (length of the name, name,
//! class, scope), then for each family the starts and owners of its ranges, and its deciders (first
//! address, length, list). Nothing follows.

use thiserror::Error;
use weir_abi::Class;

use crate::compile::{Address, Decider, Head, Lists, NOBODY, Ranges};
use crate::list::Scope;

/// Version of the layout; bytes of another version are refused.
pub const VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"weirlist";

/// Why bytes are not compiled lists. The sender and the receiver are of one build, so each of these
/// means that the bytes were damaged or come from another version.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FromBytesError {
    /// They are something else.
    #[error("these bytes are no compiled lists (they do not begin with `weirlist`)")]
    Magic,
    /// They were written by another version.
    #[error(
        "these lists have layout version {found}, this program reads {VERSION}: run the same \
         version of weir-control and weir-proxy"
    )]
    Version {
        /// The version they name.
        found: u32,
    },
    /// They end too early.
    #[error("the compiled lists end after {length} bytes, before they are complete")]
    Truncated {
        /// How many bytes there are.
        length: usize,
    },
    /// They go on after their end.
    #[error("{excess} bytes follow the compiled lists")]
    Excess {
        /// How many.
        excess: usize,
    },
    /// They contradict themselves.
    #[error("the compiled lists are damaged: {what}")]
    Damaged {
        /// In which way.
        what: &'static str,
    },
}

impl Lists {
    /// The tables as bytes, for [`Lists::from_bytes`].
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(64 + self.memory());
        bytes.extend_from_slice(MAGIC);
        put_count(&mut bytes, VERSION as usize);
        put_count(&mut bytes, self.heads.len());
        put_count(&mut bytes, self.v4.starts.len());
        put_count(&mut bytes, self.v4.deciders.len());
        put_count(&mut bytes, self.v6.starts.len());
        put_count(&mut bytes, self.v6.deciders.len());
        for head in &self.heads {
            put_count(&mut bytes, head.name.len());
            bytes.extend_from_slice(head.name.as_bytes());
            bytes.extend_from_slice(&[head.class as u8, head.scope as u8]);
        }
        put_ranges(&mut bytes, &self.v4, u32::to_le_bytes);
        put_ranges(&mut bytes, &self.v6, u128::to_le_bytes);
        bytes
    }

    /// Reads what [`Lists::to_bytes`] wrote.
    ///
    /// Accepts nothing in which [`Lists::find`] could go wrong, whatever the bytes are, and allocates
    /// no more than a small multiple of their length.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FromBytesError> {
        let mut reader = Reader {
            rest: bytes,
            length: bytes.len(),
        };
        if reader.take::<8>().ok().as_ref() != Some(MAGIC) {
            return Err(FromBytesError::Magic);
        }
        let found = reader.number()?;
        if found != VERSION {
            return Err(FromBytesError::Version { found });
        }
        let mut counts = [0usize; 5];
        for count in &mut counts {
            *count = reader.number()? as usize;
        }
        let [lists, v4_ranges, v4_deciders, v6_ranges, v6_deciders] = counts;
        // A head takes at least six bytes, so this allocates in proportion to what is there.
        let mut heads = Vec::with_capacity(reader.at_most(lists, 6)?);
        for _ in 0..lists {
            heads.push(reader.head()?);
        }
        let v4 = reader.ranges(v4_ranges, v4_deciders, lists, u32::from_le_bytes)?;
        let v6 = reader.ranges(v6_ranges, v6_deciders, lists, u128::from_le_bytes)?;
        if !reader.rest.is_empty() {
            return Err(FromBytesError::Excess {
                excess: reader.rest.len(),
            });
        }
        Ok(Self { heads, v4, v6 })
    }
}

fn put_count(bytes: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("lists and prefixes are numbered with 32 bits");
    bytes.extend_from_slice(&count.to_le_bytes());
}

fn put_ranges<A: Address, const N: usize>(
    bytes: &mut Vec<u8>,
    ranges: &Ranges<A>,
    encode: impl Fn(A) -> [u8; N],
) {
    for start in &ranges.starts {
        bytes.extend_from_slice(&encode(*start));
    }
    for owner in &ranges.owners {
        bytes.extend_from_slice(&owner.to_le_bytes());
    }
    for decider in &ranges.deciders {
        bytes.extend_from_slice(&encode(decider.first));
        bytes.push(decider.length);
        bytes.extend_from_slice(&decider.list.to_le_bytes());
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
}

impl<'a> Reader<'a> {
    fn truncated(&self) -> FromBytesError {
        FromBytesError::Truncated {
            length: self.length,
        }
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], FromBytesError> {
        let (head, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or_else(|| self.truncated())?;
        self.rest = rest;
        Ok(*head)
    }

    fn slice(&mut self, length: usize) -> Result<&'a [u8], FromBytesError> {
        let (head, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.truncated())?;
        self.rest = rest;
        Ok(head)
    }

    fn number(&mut self) -> Result<u32, FromBytesError> {
        self.take().map(u32::from_le_bytes)
    }

    /// `count`, if that many items of at least `size` bytes can still follow.
    fn at_most(&self, count: usize, size: usize) -> Result<usize, FromBytesError> {
        let needed = count.checked_mul(size).ok_or_else(|| self.truncated())?;
        if needed > self.rest.len() {
            Err(self.truncated())
        } else {
            Ok(count)
        }
    }

    fn head(&mut self) -> Result<Head, FromBytesError> {
        let length = self.number()? as usize;
        let name = str::from_utf8(self.slice(length)?).map_err(|_| FromBytesError::Damaged {
            what: "the name of a list is not UTF-8",
        })?;
        let [class, scope] = self.take()?;
        let class = Class::ALL
            .into_iter()
            .find(|known| *known as u8 == class)
            .ok_or(FromBytesError::Damaged {
                what: "a list has an unknown class",
            })?;
        let scope = Scope::ALL
            .into_iter()
            .find(|known| *known as u8 == scope)
            .ok_or(FromBytesError::Damaged {
                what: "a list has an unknown scope",
            })?;
        Ok(Head {
            name: name.to_owned(),
            class,
            scope,
        })
    }

    fn ranges<A: Address, const N: usize>(
        &mut self,
        ranges: usize,
        deciders: usize,
        lists: usize,
        decode: impl Fn([u8; N]) -> A,
    ) -> Result<Ranges<A>, FromBytesError> {
        let damaged = |what| Err(FromBytesError::Damaged { what });
        let mut starts = Vec::with_capacity(self.at_most(ranges, N)?);
        for _ in 0..ranges {
            starts.push(decode(self.take()?));
        }
        if !starts.is_sorted_by(|before, after| before < after) {
            return damaged("ranges are out of order");
        }
        let mut owners = Vec::with_capacity(self.at_most(ranges, size_of::<u32>())?);
        for _ in 0..ranges {
            owners.push(self.number()?);
        }
        let mut prefixes = Vec::with_capacity(self.at_most(deciders, N + 5)?);
        for _ in 0..deciders {
            let first = decode(self.take()?);
            let [length] = self.take()?;
            prefixes.push(Decider {
                first,
                length,
                list: self.number()?,
            });
        }
        if prefixes.iter().any(|decider| {
            decider.length > A::BITS
                || decider.first != decider.first.first(decider.length)
                || decider.list as usize >= lists
        }) {
            return damaged("a prefix is impossible, or of no list");
        }
        if !prefixes.is_sorted_by(|a, b| (a.first, a.length) < (b.first, b.length)) {
            return damaged("prefixes are out of order");
        }
        for (index, owner) in owners
            .iter()
            .enumerate()
            .filter(|(_, owner)| **owner != NOBODY)
        {
            let Some(decider) = prefixes.get(*owner as usize) else {
                return damaged("a range has an unknown owner");
            };
            let last = decider.first.last(decider.length);
            // A range ends before the next one begins, and the last range at the end of the space.
            let inside = match starts.get(index + 1) {
                Some(next) => last.next().is_none_or(|after| *next <= after),
                None => last.next().is_none(),
            };
            if starts[index] < decider.first || !inside {
                return damaged("a range reaches beyond the prefix that decides it");
            }
        }
        Ok(Ranges {
            starts,
            owners,
            deciders: prefixes,
        })
    }
}
