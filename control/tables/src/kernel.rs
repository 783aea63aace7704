//! The compiled lists in the layout of the kernel's maps.
//!
//! IPv4 is DIR-24: one byte for each of the 2^24 networks of length 24. Where all 256 addresses of
//! such a network have one class, the byte is its number. Elsewhere it is [`EXT`] and the class that
//! most of them have, and the others stand in an exact table of addresses. IPv6 is a set of prefixes
//! for longest-prefix match, in which precedence is decided already: prefixes that an outer one
//! overrules, or that only repeat its class, are left out.

use weir_abi::Class;

use crate::compile::{Address as _, Lists, NOBODY, Ranges};

/// Flag in a byte of [`KernelTables::v4_blocks`]: the network holds several classes, look the address
/// up in [`KernelTables::v4_exact`] first; when it is not there, the class in the low bits holds.
pub const EXT: u8 = 0x80;

/// Largest number of entries in [`KernelTables::v4_exact`] that the kernel's map has room for.
pub const MAX_V4_EXACT: usize = 1 << 21;

/// Effective classes: precedence is decided, the kernel only looks up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelTables {
    /// 2^24 bytes, indexed by the upper 24 bits of an IPv4 address: a class, and perhaps [`EXT`].
    pub v4_blocks: Vec<u8>,
    /// IPv4 addresses (host byte order) whose class is not that of their block; ascending.
    pub v4_exact: Vec<(u32, u8)>,
    /// Prefix length, network in network byte order, class. Ascending by network, outer first. Zero as
    /// class ([`Class::Unmanaged`]) is a hole in an outer prefix.
    pub v6: Vec<(u8, [u8; 16], u8)>,
}

/// How many entries [`Lists::kernel_tables`] gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelSize {
    /// Length of [`KernelTables::v4_exact`].
    pub v4_exact: usize,
    /// Length of [`KernelTables::v6`].
    pub v6: usize,
}

impl Lists {
    /// The tables for the kernel: 16 MiB, and 8 bytes for each exact address, 18 for each IPv6 prefix.
    ///
    /// A caller that takes lists from outside asks [`Lists::kernel_size`] first: a prefix between /25
    /// and /31 can need up to 128 exact entries.
    pub fn kernel_tables(&self) -> KernelTables {
        let mut v4_blocks = vec![Class::Unmanaged as u8; 1 << 24];
        let mut v4_exact = Vec::new();
        self.each_block(|blocks| match blocks {
            Blocks::Uniform { first, last, class } => {
                v4_blocks[first as usize..=last as usize].fill(class);
            }
            Blocks::Mixed { block, classes } => {
                let most = most_common(classes);
                v4_blocks[block as usize] = EXT | most;
                let exact = (0u32..).zip(classes).filter(|(_, class)| **class != most);
                v4_exact.extend(exact.map(|(low, class)| (block << 8 | low, *class)));
            }
        });
        let mut v6 = Vec::new();
        self.each_v6(|entry| v6.push(entry));
        KernelTables {
            v4_blocks,
            v4_exact,
            v6,
        }
    }

    /// How many entries the tables for the kernel would have, without building them.
    pub fn kernel_size(&self) -> KernelSize {
        let mut size = KernelSize::default();
        self.each_block(|blocks| {
            if let Blocks::Mixed { classes, .. } = blocks {
                let most = most_common(classes);
                size.v4_exact += classes.iter().filter(|class| **class != most).count();
            }
        });
        self.each_v6(|_| size.v6 += 1);
        size
    }

    /// Walks the 2^24 blocks of IPv4 in order. Blocks that are wholly unmanaged may be left out.
    fn each_block(&self, mut visit: impl FnMut(Blocks<'_>)) {
        let mut pieces = Pieces {
            block: 0,
            classes: [Class::Unmanaged as u8; 256],
        };
        for (start, end, list) in self.v4.spans() {
            let class = list.map_or(Class::Unmanaged, |list| self.heads[list as usize].class) as u8;
            let (first, last) = (start >> 8, end >> 8);
            let begins_inside = start & 0xff != 0;
            let ends_inside = end & 0xff != 0xff;
            if begins_inside || (ends_inside && first == last) {
                let piece_end = if first == last { end } else { start | 0xff };
                pieces.add(start, piece_end, class, &mut visit);
            }
            let first_whole = first + u32::from(begins_inside);
            let after_whole = last + u32::from(!ends_inside);
            if first_whole < after_whole {
                visit(Blocks::Uniform {
                    first: first_whole,
                    last: after_whole - 1,
                    class,
                });
            }
            if ends_inside && first != last {
                pieces.add(last << 8, end, class, &mut visit);
            }
        }
        pieces.finish(&mut visit);
    }

    fn each_v6(&self, mut visit: impl FnMut((u8, [u8; 16], u8))) {
        // Classes that hold around the current prefix: last address, class.
        let mut open: Vec<(u128, Class)> = Vec::with_capacity(129);
        for decider in &self.v6.deciders {
            while open.pop_if(|(last, _)| *last < decider.first).is_some() {}
            let around = open.last().map_or(Class::Unmanaged, |(_, class)| *class);
            let class = self.heads[decider.list as usize].class;
            if class != around {
                open.push((decider.first.last(decider.length), class));
                visit((decider.length, decider.first.to_be_bytes(), class as u8));
            }
        }
    }
}

/// Blocks of 256 addresses, by number.
enum Blocks<'a> {
    /// All addresses of the blocks `first` to `last` have this class.
    Uniform { first: u32, last: u32, class: u8 },
    /// The classes of the addresses of one block.
    Mixed { block: u32, classes: &'a [u8; 256] },
}

/// A block that is put together from ranges shorter than itself.
struct Pieces {
    block: u32,
    classes: [u8; 256],
}

impl Pieces {
    fn add(&mut self, start: u32, end: u32, class: u8, visit: &mut impl FnMut(Blocks<'_>)) {
        if start >> 8 != self.block {
            self.finish(visit);
            self.block = start >> 8;
            self.classes.fill(Class::Unmanaged as u8);
        }
        self.classes[(start & 0xff) as usize..=(end & 0xff) as usize].fill(class);
    }

    fn finish(&self, visit: &mut impl FnMut(Blocks<'_>)) {
        let class = self.classes[0];
        if self.classes.iter().any(|other| *other != class) {
            visit(Blocks::Mixed {
                block: self.block,
                classes: &self.classes,
            });
        } else if class != Class::Unmanaged as u8 {
            visit(Blocks::Uniform {
                first: self.block,
                last: self.block,
                class,
            });
        }
    }
}

fn most_common(classes: &[u8; 256]) -> u8 {
    let mut counts = [0u16; Class::COUNT];
    for class in classes {
        counts[Class::from_u8(*class) as usize] += 1;
    }
    let (most, _) = counts
        .iter()
        .enumerate()
        .max_by_key(|(_, count)| **count)
        .unwrap_or((0, &0));
    Class::ALL[most] as u8
}

impl Ranges<u32> {
    /// Every range with its last address and its owner's list.
    fn spans(&self) -> impl Iterator<Item = (u32, u32, Option<u32>)> + '_ {
        let ends = self
            .starts
            .iter()
            .skip(1)
            .map(|next| next - 1)
            .chain([u32::MAX]);
        self.starts
            .iter()
            .zip(ends)
            .zip(&self.owners)
            .map(|((start, end), owner)| {
                let list = (*owner != NOBODY).then(|| self.deciders[*owner as usize].list);
                (*start, end, list)
            })
    }
}
