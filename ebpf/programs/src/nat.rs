//! The connections of topology `nat`: which are remembered, and which server and port a new one gets.
//!
//! What a packet needs on its way through the functions lies in memory of this CPU: its connection as the
//! client and as the server sends it, and where it goes on to.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{__sk_buff, BPF_NOEXIST};
use aya_ebpf::btf_maps::{LruHashMap, PerCpuArray};
use aya_ebpf::helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_boot_ns};
use aya_ebpf::macros::btf_map;
use aya_ebpf::programs::TcContext;
use weir_abi::{
    Config, Flow, IDLE, IDLE_BEGUN, IDLE_WANTED, MAX_BEGUN, MAX_TRANSLATIONS, Reason, Server,
    Translation, UNIT, Verdict, server_index,
};
use weir_classify::{Answer, Outcome, Packet as _, Side, Tables as _, Translations};

use crate::act;
use crate::maps::{self, Generation};
use crate::outcome;
use crate::packet::{self, Skb};
use crate::servers;
use crate::sockets;

#[btf_map(name = "TRANSLATIONS")]
static TRANSLATIONS: LruHashMap<Flow, Translation, { MAX_TRANSLATIONS as usize }> =
    LruHashMap::new();

#[btf_map(name = "ANSWERS")]
static ANSWERS: LruHashMap<Flow, Flow, { MAX_TRANSLATIONS as usize }> = LruHashMap::new();

#[btf_map(name = "BEGUN")]
static BEGUN: LruHashMap<Flow, Translation, { MAX_BEGUN as usize }> = LruHashMap::new();

#[btf_map(name = "BEGUN_ANSWERS")]
static BEGUN_ANSWERS: LruHashMap<Flow, Flow, { MAX_BEGUN as usize }> = LruHashMap::new();

/// Not pinned: nothing in it outlives a packet.
#[btf_map(name = "WORK")]
static WORK: PerCpuArray<Work, 1> = PerCpuArray::new();

/// Ports that are tried for a new connection; of a range as small as this all are.
const TRIES: u32 = 32;

/// Flags of TCP (RFC 9293 §3.1).
const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// What a packet needs on its way.
#[repr(C)]
pub struct Work {
    /// Its connection as the client sends it.
    pub flow: Flow,
    /// And as the server sends it.
    pub answer: Flow,
    /// Source, destination and ports with which it goes on.
    pub next: Flow,
    /// The connection, while its entry is written.
    copy: Translation,
    /// What was found out of an answer, before it is known whose it is.
    found: MaybeUninit<Answer>,
    /// The generations by which it is judged.
    generation: Generation,
    /// What fits through, for a packet that does not.
    pub mtu: u32,
}

/// Memory of this CPU for the packet at hand.
#[inline(always)]
pub fn work() -> Option<&'static mut Work> {
    // SAFETY: the kernel gave a pointer to this CPU's own slot, and a program is not moved to another
    // CPU while it runs. Integers of any value are valid.
    WORK.get_ptr_mut(0).map(|work| unsafe { &mut *work })
}

/// Whether servers answer to this machine at all, from this side.
#[inline(always)]
pub fn is_used(side: Side) -> bool {
    let Some(config) = maps::config() else {
        return false;
    };
    if matches!(side, Side::Outside) && config.one_arm == 0 {
        return false;
    }
    // SAFETY: the word is valid for the life of the program; user space may store to it at any moment.
    let active = unsafe { core::ptr::read_volatile(&raw const config.active) };
    active & Config::NAT != 0
}

/// Keeps what may be the answer of a server of `nat`; false when it is none.
#[inline(always)]
pub fn find(skb: *mut __sk_buff) -> bool {
    let ctx = TcContext::new(skb);
    let (Some(config), Some(work)) = (maps::config(), work()) else {
        return false;
    };
    if !packet::is_for_this_host(&ctx) && !act::is_probe(&ctx, config) {
        return false;
    }
    let packet = Skb::new(&ctx);
    let generation = Generation::new(config);
    match weir_classify::find_answer(&packet, &generation, &mut work.answer) {
        Some(found) => {
            work.found.write(found);
            work.generation = generation;
            true
        }
        None => false,
    }
}

/// Keeps what is to become of an answer that was found; false when it is none.
#[inline(always)]
pub fn judge() -> bool {
    let Some(work) = work() else {
        return false;
    };
    let Some(flow) = Remembered.client(&work.answer) else {
        return false;
    };
    work.flow = flow;
    work.next = returned(&flow);
    // SAFETY: it was written for this very packet, by the function before.
    let found = unsafe { work.found.assume_init_ref() };
    weir_classify::judge_answer(found, &work.flow, &work.generation)
        .is_some_and(outcome::keep_outcome)
}

/// Whether this machine has a connection of its own that is answered as the one at hand would be.
#[inline(always)]
pub fn is_own(skb: *mut __sk_buff) -> bool {
    work().is_some_and(|work| sockets::is_own(skb.cast(), &work.answer))
}

/// What there is for a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Assigned {
    /// It is not to go on; the outcome says why.
    Nothing = 0,
    /// A connection.
    Connection = 1,
    /// It begins one.
    Begins = 2,
}

/// Finds the connection of the packet, and notes what the packet makes of it.
#[inline(always)]
pub fn assign(skb: *mut __sk_buff) -> Assigned {
    let ctx = TcContext::new(skb);
    let (Some(config), Some(outcome), Some(work)) =
        (maps::config(), outcome::outcome_mut(), work())
    else {
        return Assigned::Nothing;
    };
    let probe = act::is_probe(&ctx, config);
    let packet = Skb::new(&ctx);
    if !outcome.answers {
        let Some(flow) = outcome.flow(&packet) else {
            return refuse(outcome, Verdict::Drop, Reason::NoFlow);
        };
        work.flow = flow;
    }
    let mut established = true;
    let mut entry = TRANSLATIONS.get_ptr_mut(&work.flow);
    if entry.is_none() {
        established = false;
        entry = BEGUN.get_ptr_mut(&work.flow);
    }
    let segment = !matches!(outcome.reason, Reason::IcmpInner);
    let flags = if segment { outcome.headers.flags } else { 0 };
    let Some(entry) = entry else {
        return if flags & (SYN | ACK) == SYN && !outcome.answers {
            Assigned::Begins
        } else if segment && !outcome.answers && flags & RST == 0 {
            refuse(outcome, Verdict::Reject, Reason::NoFlow)
        } else {
            refuse(outcome, Verdict::Drop, Reason::NoFlow)
        };
    };
    // SAFETY: the map is preallocated: an entry that is replaced stays readable and writable, and at worst
    // tells of another connection for this one packet.
    let entry = unsafe { &mut *entry };
    if outcome.answers {
        if !entry.answer.is(&work.answer) {
            return refuse(outcome, Verdict::Drop, Reason::NoFlow);
        }
        if segment && !probe {
            note_answer(
                entry,
                flags,
                number(&packet, outcome, 4),
                number(&packet, outcome, 8),
                established,
            );
        }
        return Assigned::Connection;
    }
    let sequence = number(&packet, outcome, 4);
    if flags & (SYN | ACK) == SYN {
        // Of one whose answers nobody finds any more nothing is left.
        if !is_answered(&work.flow, &entry.answer, established) {
            if established && !probe {
                let _ = TRANSLATIONS.remove(&work.flow);
            }
            return Assigned::Begins;
        }
        let over = entry.is_over();
        // A connection goes on where it is, whatever becomes of its server. One that begins, or begins
        // anew, needs a server that works.
        if (over || !established) && !is_up(entry) {
            if established && !probe {
                let _ = TRANSLATIONS.remove(&work.flow);
            }
            return Assigned::Begins;
        }
        if !probe && (over || !established || entry.from_server == 0) {
            entry.begin(sequence);
        }
        if over && !probe {
            entry.ended = 0;
        }
    }
    work.answer = entry.answer;
    work.next = returned(&entry.answer);
    if segment && !probe {
        // The server judges it; who guesses ends nothing here.
        if flags & RST == 0 || entry.client_may_reset(sequence) {
            note(entry, flags, Translation::CLIENT_CLOSED);
        }
        if flags & (SYN | RST | ACK) == ACK && entry.from_server != 0 {
            let acknowledged = number(&packet, outcome, 8);
            if established {
                set(&mut entry.from_server, acknowledged);
            } else if acknowledged == entry.from_server {
                establish(work, entry, sequence);
            }
        }
    }
    Assigned::Connection
}

/// Gives the connection that the packet begins a server and a port; false when it gets none.
#[inline(always)]
pub fn begin(skb: *mut __sk_buff) -> bool {
    let ctx = TcContext::new(skb);
    let (Some(config), Some(outcome), Some(work)) =
        (maps::config(), outcome::outcome_mut(), work())
    else {
        return false;
    };
    let Some(generation) = outcome::generation() else {
        return false;
    };
    let server = servers::assigned(generation, outcome, &work.flow)
        .and_then(|place| Some((place, generation.server(place)?)));
    let Some((place, server)) = server else {
        refuse(outcome, Verdict::Drop, Reason::NoServer);
        return false;
    };
    if server.state == Server::NONE {
        refuse(outcome, Verdict::Drop, Reason::NoServer);
        return false;
    }
    let Some(nat) = generation
        .address(&work.flow.service)
        .map(|address| &address.nat)
    else {
        return false;
    };
    let (first, count) = (nat.first, u32::from(nat.count));
    work.answer.client = server.address;
    work.answer.service = nat.source;
    work.answer.ports = [work.flow.ports[1], first];
    if act::is_probe(&ctx, config) {
        // It is not sent, and takes nothing.
        work.next = returned(&work.answer);
        return true;
    }
    let sequence = number(&Skb::new(&ctx), outcome, 4);
    // SAFETY: takes nothing.
    let start = unsafe { bpf_get_prandom_u32() };
    let now = now();
    for i in 0..TRIES {
        if count == 0 {
            break;
        }
        let at = if count <= TRIES {
            start.wrapping_add(i)
        } else {
            mix(start.wrapping_add(i.wrapping_mul(0x9e37_79b9)))
        } % count;
        work.answer.ports[1] = first.wrapping_add(at as u16);
        // Who only begins connections does not keep all ports from the others.
        let idle = if i < TRIES / 2 {
            IDLE_BEGUN
        } else {
            IDLE_WANTED
        };
        if is_free(&work.answer, now, idle)
            && crate::nat_own(skb) == 0
            && take(work, outcome.service, place, now, sequence)
        {
            work.next = returned(&work.answer);
            return true;
        }
    }
    refuse(outcome, Verdict::Drop, Reason::NoPort);
    false
}

/// What is remembered, as answers are looked up in it.
struct Remembered;

impl Translations for Remembered {
    #[inline(always)]
    fn client(&self, answer: &Flow) -> Option<Flow> {
        if let Some(flow) = ANSWERS.get_ptr(answer) {
            // SAFETY: the map is preallocated, see `assign`.
            let flow = unsafe { &*flow };
            if let Some(entry) = TRANSLATIONS.get_ptr(flow)
                // SAFETY: as above.
                && unsafe { &(*entry).answer }.is(answer)
            {
                return Some(*flow);
            }
        }
        // SAFETY: as above.
        let flow = unsafe { &*BEGUN_ANSWERS.get_ptr(answer)? };
        // SAFETY: as above.
        let entry = unsafe { &*BEGUN.get_ptr(flow)? };
        if entry.answer.is(answer) {
            Some(*flow)
        } else {
            None
        }
    }
}

/// The packet is not to go on.
#[inline(always)]
fn refuse(outcome: &mut Outcome, verdict: Verdict, reason: Reason) -> Assigned {
    outcome.verdict = verdict;
    outcome.reason = reason;
    Assigned::Nothing
}

/// A number of the segment, at this offset of its header.
#[inline(always)]
fn number(packet: &Skb, outcome: &Outcome, at: u32) -> u32 {
    let bytes = packet.read(outcome.headers.l4 + at);
    bytes.map_or(0, u32::from_be_bytes)
}

/// Writes only what changes: other CPUs read it.
#[inline(always)]
fn set(word: &mut u32, value: u32) {
    if *word != value {
        *word = value;
    }
}

/// Whether the answers of this connection are found to be its own.
#[inline(always)]
fn is_answered(flow: &Flow, answer: &Flow, established: bool) -> bool {
    let found = if established {
        ANSWERS.get_ptr(answer)
    } else {
        BEGUN_ANSWERS.get_ptr(answer)
    };
    match found {
        // SAFETY: the map is preallocated, see `assign`.
        Some(owner) => unsafe { &*owner }.is(flow),
        None => false,
    }
}

/// Notes a segment of a server, with its numbers. What the client would not take ends nothing here.
#[inline(always)]
fn note_answer(
    entry: &mut Translation,
    flags: u8,
    sequence: u32,
    acknowledged: u32,
    established: bool,
) {
    let acknowledges = if flags & ACK != 0 {
        Some(acknowledged)
    } else {
        None
    };
    if flags & RST != 0 {
        if !entry.server_may_reset(sequence, acknowledges) {
            return;
        }
    } else if flags & (SYN | ACK) == SYN | ACK && (entry.from_server == 0 || !established) {
        if !entry.is_answer(acknowledged) {
            return;
        }
        entry.from_server = sequence.wrapping_add(1);
    } else if flags & ACK != 0 && established && entry.from_server != 0 {
        set(&mut entry.from_client, acknowledged);
    }
    note(entry, flags, Translation::SERVER_CLOSED);
}

/// Notes a segment of one end, which closes its half with this bit.
#[inline(always)]
fn note(entry: &mut Translation, flags: u8, closes: u32) {
    let mut ended = entry.ended;
    if flags & RST != 0 {
        ended |= Translation::RESET;
    } else {
        // Who goes on has not taken the reset, or was not sent one.
        ended &= !Translation::RESET;
        if flags & FIN != 0 {
            ended |= closes;
        }
    }
    set(&mut entry.ended, ended);
    set(&mut entry.last, now());
}

/// Moves a connection, whose client goes on with this number, to those that no flood makes forgotten. Where
/// that fails it stays where it is.
#[inline(always)]
fn establish(work: &mut Work, entry: &Translation, sequence: u32) {
    // Two connections may have taken one port at the same moment: the server answers only one.
    if !is_answered(&work.flow, &work.answer, false) {
        return;
    }
    work.copy = *entry;
    work.copy.from_client = sequence;
    if ANSWERS.insert(&work.answer, &work.flow, 0).is_err() {
        return;
    }
    if TRANSLATIONS.insert(&work.flow, &work.copy, 0).is_err() {
        let _ = ANSWERS.remove(&work.answer);
        return;
    }
    let _ = BEGUN.remove(&work.flow);
    let _ = BEGUN_ANSWERS.remove(&work.answer);
}

/// Whether the server of a connection gets new ones.
#[inline(always)]
fn is_up(entry: &Translation) -> bool {
    let place = server_index(entry.service, entry.slot as u8);
    let Some(generation) = outcome::generation() else {
        return false;
    };
    match generation.server(place) {
        Some(server) => {
            server.state == Server::UP
                && Flow {
                    client: server.address,
                    ..entry.answer
                }
                .is(&entry.answer)
        }
        None => false,
    }
}

/// Whether no connection has this port towards the server any more; one that only begins has it for so long
/// after its last packet.
#[inline(always)]
fn is_free(answer: &Flow, now: u32, idle: u32) -> bool {
    if let Some(flow) = ANSWERS.get_ptr(answer) {
        // SAFETY: the map is preallocated, see `assign`.
        let flow = unsafe { &*flow };
        if let Some(entry) = TRANSLATIONS.get_ptr(flow) {
            // SAFETY: as above.
            let entry = unsafe { &*entry };
            if entry.answer.is(answer) {
                if !entry.is_free(now, IDLE) {
                    return false;
                }
                let _ = TRANSLATIONS.remove(flow);
            }
        }
        let _ = ANSWERS.remove(answer);
    }
    if let Some(flow) = BEGUN_ANSWERS.get_ptr(answer) {
        // SAFETY: as above.
        let flow = unsafe { &*flow };
        if let Some(entry) = BEGUN.get_ptr(flow) {
            // SAFETY: as above.
            let entry = unsafe { &*entry };
            if entry.answer.is(answer) {
                if !entry.is_free(now, idle) {
                    return false;
                }
                let _ = BEGUN.remove(flow);
            }
        }
        let _ = BEGUN_ANSWERS.remove(answer);
    }
    true
}

/// Remembers the connection at this port, if it is still free.
#[inline(always)]
fn take(work: &mut Work, service: u16, place: u32, now: u32, sequence: u32) -> bool {
    if BEGUN_ANSWERS
        .insert(&work.answer, &work.flow, u64::from(BPF_NOEXIST))
        .is_err()
    {
        return false;
    }
    work.copy.answer = work.answer;
    work.copy.service = service;
    work.copy.slot = (place % weir_abi::MAX_SERVERS as u32) as u16;
    work.copy.last = now;
    work.copy.ended = 0;
    work.copy.from_client = 0;
    work.copy.from_server = 0;
    work.copy.begin(sequence);
    // Another CPU may have moved a connection with this port there meanwhile.
    if ANSWERS.get_ptr(&work.answer).is_some() || BEGUN.insert(&work.flow, &work.copy, 0).is_err() {
        let _ = BEGUN_ANSWERS.remove(&work.answer);
        return false;
    }
    true
}

/// The same connection, in the other direction.
#[inline(always)]
fn returned(flow: &Flow) -> Flow {
    Flow {
        client: flow.service,
        service: flow.client,
        ports: [flow.ports[1], flow.ports[0]],
    }
}

/// This moment, as [`Translation::last`] has it.
#[inline(always)]
fn now() -> u32 {
    // SAFETY: takes nothing.
    (unsafe { bpf_ktime_get_boot_ns() } >> UNIT) as u32
}

/// Spreads every bit of a word over all of them (the last steps of MurmurHash3).
#[inline(always)]
const fn mix(word: u32) -> u32 {
    let word = (word ^ word >> 16).wrapping_mul(0x85eb_ca6b);
    let word = (word ^ word >> 13).wrapping_mul(0xc2b2_ae35);
    word ^ word >> 16
}
