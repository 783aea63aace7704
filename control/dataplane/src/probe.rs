//! Asks the loaded program for its verdict on a packet (`BPF_PROG_TEST_RUN`), without counting it.

use std::net::IpAddr;

use aya::programs::tc::SchedClassifier;
use aya::programs::{TestRun as _, TestRunOptions};
use weir_abi::{Class, Reason, Verdict};

use crate::error::Error;
use crate::types::{InterfaceStatus, Probe, ProbeOutcome};

/// Size of `struct __sk_buff`, and where its members are.
const SKB: usize = 192;
const MARK: usize = 8;
const IFINDEX: usize = 40;
const CB: usize = 48;
/// No program writes this as a service.
const UNANSWERED: u32 = u32::MAX;

/// Runs the program of an interface on a packet.
pub(crate) fn run(
    program: &SchedClassifier,
    interface: &InterfaceStatus,
    magic: [u32; 2],
    packet: &[u8],
) -> Result<Answer, Error> {
    let mut context = [0_u8; SKB];
    put(&mut context, IFINDEX, interface.index);
    put(&mut context, CB, magic[0]);
    put(&mut context, CB + 4, magic[1]);
    put(&mut context, CB + 8, UNANSWERED);
    let mut context_out = [0_u8; SKB];
    let mut packet_out = vec![0_u8; packet.len() + 256];
    let result = program
        .test_run(TestRunOptions {
            data_in: Some(packet),
            data_out: Some(&mut packet_out),
            ctx_in: Some(&context),
            ctx_out: Some(&mut context_out),
            ..TestRunOptions::default()
        })
        .map_err(|error| Error::kernel("cannot run the program", std::io::Error::other(error)))?;
    packet_out.truncate(result.data_size_out as usize);
    let service = get(&context_out, CB + 8);
    let word = get(&context_out, CB + 16);
    let byte = |value: u32| u8::try_from(value & 0xff).expect("masked");
    let judged = (service != UNANSWERED).then(|| Judged {
        service: u16::try_from(service & 0xffff).expect("masked"),
        class: Class::from_u8(byte(get(&context_out, CB + 12))),
        verdict: Verdict::from_u8(byte(word >> 8)),
        reason: Reason::from_u8(byte(word)),
    });
    Ok(Answer {
        action: result.return_value,
        mark: get(&context_out, MARK),
        judged,
        packet: packet_out,
    })
}

/// What a program did with a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it told the kernel: `TC_ACT_*`, -1 for "not mine".
    pub action: u32,
    /// Mark of the packet afterwards.
    pub mark: u32,
    /// Its judgement; absent when the packet was none of its business.
    pub judged: Option<Judged>,
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
}

/// The outcome for a probe.
pub(crate) fn outcome(answer: &Answer, interface: &InterfaceStatus) -> ProbeOutcome {
    let judged = answer.judged.unwrap_or(Judged {
        service: weir_abi::NO_SERVICE,
        class: Class::Unmanaged,
        verdict: Verdict::Pass,
        reason: Reason::Other,
    });
    ProbeOutcome {
        service: (judged.service != weir_abi::NO_SERVICE).then_some(judged.service),
        class: judged.class,
        verdict: judged.verdict,
        reason: judged.reason,
        hook: interface.hook,
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

fn put(context: &mut [u8; SKB], at: usize, value: u32) {
    context[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

fn get(context: &[u8; SKB], at: usize) -> u32 {
    u32::from_ne_bytes(context[at..at + 4].try_into().expect("four bytes"))
}
