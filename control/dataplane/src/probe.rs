//! Asks the loaded program for its verdict on a packet (`BPF_PROG_TEST_RUN`), without counting it.

use std::net::IpAddr;

use aya::programs::tc::SchedClassifier;
use aya::programs::{TestRun, TestRunOptions, TestRunResult, Xdp};
use weir_abi::{Class, Hook, Left, Reason, Verdict};

use crate::error::Error;
use crate::types::{InterfaceStatus, Probe, ProbeOutcome};

/// Size of `struct __sk_buff`, and where its members are.
const SKB: usize = 192;
const MARK: usize = 8;
const IFINDEX: usize = 40;
const CB: usize = 48;
/// Size of `struct xdp_md`, and where its members are.
const MD: usize = 24;
const DATA: usize = 0;
const DATA_END: usize = 4;
const INGRESS: usize = 12;
/// Size of [`weir_abi::Reply`], and of the random words that it begins with.
const REPLY: usize = size_of::<weir_abi::Reply>();
const MAGIC: usize = 8;
/// No program writes this as a service.
const UNANSWERED: u32 = u32::MAX;

/// Runs the program at tcx of an interface on a packet; without the random words of a probe, as if it came
/// from the wire.
pub(crate) fn run(
    program: &SchedClassifier,
    interface: &InterfaceStatus,
    magic: Option<[u32; 2]>,
    packet: &[u8],
) -> Result<Answer, Error> {
    let mut context = [0_u8; SKB];
    put(&mut context, IFINDEX, interface.index);
    if let Some(magic) = magic {
        context[CB..CB + REPLY].copy_from_slice(&question(magic));
    }
    let mut context_out = [0_u8; SKB];
    let (action, packet) = test_run(program, packet, &context, &mut context_out)?;
    Ok(Answer {
        action,
        mark: get(&context_out, MARK),
        judged: magic.and_then(|_| judged(&context_out[CB + MAGIC..])),
        left: None,
        packet,
    })
}

/// See [`run`], at XDP.
pub(crate) fn run_xdp(
    program: &Xdp,
    interface: &InterfaceStatus,
    magic: Option<[u32; 2]>,
    packet: &[u8],
) -> Result<Answer, Error> {
    // Metadata is the part of the data that lies before the packet.
    let mut data = magic.map(question).map_or_else(Vec::new, Vec::from);
    let metadata = data.len();
    data.extend(packet);
    let number = |n: usize| u32::try_from(n).expect("packets are small");
    let mut context = [0_u8; MD];
    put(&mut context, DATA, number(metadata));
    put(&mut context, DATA_END, number(data.len()));
    put(&mut context, INGRESS, interface.index);
    let (action, mut data) = test_run(program, &data, &context, &mut [0_u8; MD])?;
    let packet = data.split_off(metadata.min(data.len()));
    let words = data.get(MAGIC..).unwrap_or_default();
    Ok(Answer {
        action,
        mark: 0,
        judged: judged(words),
        left: left(words),
        packet,
    })
}

/// A [`weir_abi::Reply`] that no program has written to.
fn question(magic: [u32; 2]) -> [u8; REPLY] {
    let mut bytes = [0; REPLY];
    put(&mut bytes, 0, magic[0]);
    put(&mut bytes, 4, magic[1]);
    put(&mut bytes, MAGIC, UNANSWERED);
    bytes
}

/// What a program wrote into the words behind the random ones of a [`weir_abi::Reply`].
fn judged(words: &[u8]) -> Option<Judged> {
    if words.len() < REPLY - MAGIC {
        return None;
    }
    let (service, class, judgement) = (get(words, 0), get(words, 4), get(words, 8));
    let byte = |value: u32| u8::try_from(value & 0xff).expect("masked");
    (service != UNANSWERED).then(|| Judged {
        service: u16::try_from(service & 0xffff).expect("masked"),
        class: Class::from_u8(byte(class)),
        verdict: Verdict::from_u8(byte(judgement >> 8)),
        reason: Reason::from_u8(byte(judgement)),
        observed: judgement & weir_abi::Reply::OBSERVED != 0,
    })
}

/// Why the program at XDP left a packet that is to be forwarded, if it did.
fn left(words: &[u8]) -> Option<Left> {
    if words.len() < REPLY - MAGIC || get(words, 0) != UNANSWERED {
        return None;
    }
    let known = [Left::Neighbour, Left::Egress, Left::Other];
    known.into_iter().find(|left| *left as u32 == get(words, 4))
}

/// What the program told the kernel, and the data afterwards.
fn test_run<P>(
    program: &P,
    data: &[u8],
    context: &[u8],
    context_out: &mut [u8],
) -> Result<(u32, Vec<u8>), Error>
where
    P: for<'a> TestRun<Opts<'a> = TestRunOptions<'a>, Result = TestRunResult>,
{
    let mut out = vec![0_u8; data.len() + 256];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(data),
            data_out: Some(&mut out),
            ctx_in: Some(context),
            ctx_out: Some(context_out),
            ..TestRunOptions::default()
        })
        .map_err(|error| Error::kernel("cannot run the program", std::io::Error::other(error)))?;
    out.truncate(result.data_size_out as usize);
    Ok((result.return_value, out))
}

/// What a program did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it told the kernel: at tcx `TC_ACT_*`, -1 for "not mine"; at XDP `XDP_*`.
    pub action: u32,
    /// Mark of the packet afterwards.
    pub mark: u32,
    /// Its judgement; absent when the packet was none of its business, or at XDP left to tcx.
    pub judged: Option<Judged>,
    /// Why XDP left it to tcx, where it would have forwarded it.
    pub left: Option<Left>,
    /// The packet afterwards.
    pub packet: Vec<u8>,
}

/// A judgement as it would have been counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Service, or [`weir_abi::NO_SERVICE`].
    pub service: u16,
    /// Class of the client.
    pub class: Class,
    /// What would have been done.
    pub verdict: Verdict,
    /// And why.
    pub reason: Reason,
    /// Whether it would not have been done, because the service is only observed.
    pub observed: bool,
}

/// The outcome for a probe; `left` is what the hook before this one said.
pub(crate) fn outcome(
    answer: &Answer,
    hook: Hook,
    left: Option<Left>,
    interface: &InterfaceStatus,
) -> ProbeOutcome {
    let judged = answer.judged.unwrap_or(Judged {
        service: weir_abi::NO_SERVICE,
        class: Class::Unmanaged,
        verdict: Verdict::Pass,
        reason: Reason::Other,
        observed: false,
    });
    ProbeOutcome {
        service: (judged.service != weir_abi::NO_SERVICE).then_some(judged.service),
        class: judged.class,
        verdict: judged.verdict,
        reason: judged.reason,
        hook,
        observed: judged.observed,
        hook_why: match left {
            Some(Left::Neighbour) => Some(
                "XDP leaves it, because the next hop's hardware address is not known yet; tcx asks for it",
            ),
            Some(Left::Egress) => Some(
                "XDP leaves it, because the interface on the way takes no redirected frames; see \
                 `weir status`",
            ),
            Some(Left::Other) | None => None,
        },
        interface: interface.name.clone(),
    }
}

/// A TCP SYN in an Ethernet frame. Checksums are left zero: no program looks at them.
pub(crate) fn syn(probe: &Probe) -> Result<Vec<u8>, Error> {
    let mut frame = vec![0_u8; 12];
    match (
        probe.source.to_canonical(),
        probe.destination.to_canonical(),
    ) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.extend([0x08, 0x00, 0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, 6, 64]);
            frame.extend(source.octets());
            frame.extend(destination.octets());
        }
        _ => {
            return Err(Error::Probe(
                "source and destination are of different families",
            ));
        }
    }
    frame.extend(49_152_u16.to_be_bytes());
    frame.extend(probe.port.to_be_bytes());
    frame.extend([0; 8]);
    frame.extend([0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    Ok(frame)
}

fn put(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn get(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}
