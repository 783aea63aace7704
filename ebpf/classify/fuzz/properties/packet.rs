//! What holds for every packet. The input is the side on which it arrives (`o` outside, `i` inside) and
//! the bytes of a frame, from its Ethernet header on.

use weir_abi::{Class, Reason, Verdict, mapped};
use weir_classify::{
    Family, Headers, NoSockets, Outcome, Side, Tables as _, classify, standing_v4, standing_v6,
};

use weir_fixtures::Memory;

/// Every packet gets an outcome or none. One that is forwarded is whole, belongs to a service that
/// forwards, comes from or goes to a managed client, and may be routed on; cut short it is not
/// forwarded any more, and what follows it in the frame changes nothing.
pub fn check(input: &[u8]) {
    let Some((side, frame)) = input.split_first() else {
        return;
    };
    let side = if *side == b'i' {
        Side::Inside
    } else {
        Side::Outside
    };
    let memory = Memory::default();
    let Some(outcome) = classify(frame, side, &memory, &NoSockets) else {
        return;
    };
    assert_eq!(classify(frame, side, &memory, &NoSockets), Some(outcome));
    match side {
        Side::Outside => {}
        // Nothing that comes from the servers is handed to the proxy.
        Side::Inside => assert_ne!(outcome.verdict, Verdict::Proxy),
    }
    if outcome.reason == Reason::Malformed {
        assert!(matches!(outcome.verdict, Verdict::Drop | Verdict::Pass));
    }
    if outcome.verdict == Verdict::Forward {
        forwarded(frame, side, &memory, outcome);
    }
}

fn forwarded(frame: &[u8], side: Side, memory: &Memory, outcome: Outcome) {
    let headers = outcome.headers;
    assert_eq!(
        outcome.service,
        weir_fixtures::STS,
        "no other service forwards"
    );
    assert_eq!(outcome.class, Class::Managed);
    assert!(headers.ttl > 1);
    assert!(matches!(headers.l3, 14), "a tagged packet is forwarded");
    let end = usize::try_from(headers.l3 + headers.length).expect("the length of a packet");
    assert!(
        end <= frame.len(),
        "a packet that is cut short is forwarded"
    );

    let (source, destination) = ends(frame, &headers);
    let (client, server) = match side {
        Side::Outside => (source, destination),
        Side::Inside => (destination, source),
    };
    let error = outcome.reason == Reason::IcmpInner;
    // An error about an answer comes from any router, and the client stands in what it quotes; an
    // error about a request comes from any router behind Weir.
    if side == Side::Inside || !error {
        assert_eq!(class(memory, headers.family, client), Class::Managed);
    }
    if side == Side::Outside || !error {
        assert!(
            memory.address(&server).is_some(),
            "no service has {server:?}"
        );
    }

    let mut longer = frame[..end].to_vec();
    longer.extend([0; 46]);
    // Zero stands for a coalesced packet, which has no padding.
    if frame[16..18] != [0, 0] || headers.family == Family::V6 {
        assert_eq!(
            classify(&longer[..], side, memory, &NoSockets),
            Some(outcome)
        );
    }
    // At every length near the headers, at some behind them.
    for cut in (0..end.min(200)).chain((200..end).step_by(101)) {
        let shorter = classify(&frame[..cut], side, memory, &NoSockets);
        assert!(
            shorter.is_none_or(|outcome| outcome.verdict != Verdict::Forward),
            "cut to {cut} bytes the packet is still forwarded"
        );
    }
}

/// Source and destination address, IPv4 as IPv4-mapped IPv6.
fn ends(frame: &[u8], headers: &Headers) -> ([u8; 16], [u8; 16]) {
    let at = |offset: u32| {
        let bytes = &frame[usize::try_from(offset).expect("an offset in the packet")..];
        match headers.family {
            Family::V4 => mapped(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])),
            Family::V6 => bytes[..16].try_into().expect("sixteen bytes"),
        }
    };
    (at(headers.source()), at(headers.destination()))
}

fn class(memory: &Memory, family: Family, address: [u8; 16]) -> Class {
    match family {
        Family::V4 => {
            let [.., a, b, c, d] = address;
            standing_v4(memory, u32::from_be_bytes([a, b, c, d])).class()
        }
        Family::V6 => standing_v6(memory, &address).class(),
    }
}
