//! Which server a packet of a service with several goes to, and how it gets there.

use core::hint::black_box;

use aya_ebpf::programs::TcContext;
use weir_abi::{
    Config, Flow, MAX_SERVERS, NO_SERVER, Reason, Server, WHEEL_MASK, Wheel, server_index,
    wheel_index,
};
use weir_classify::{Family, Outcome, Packet};

use crate::act;
use crate::maps::{self, Generation};
use crate::outcome;
use crate::packet::Skb;
use crate::route::{self, NoWay};

/// The flags of TCP that tell a first segment (RFC 9293 §3.1).
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// Sends a packet from outside to its server, or says why it cannot be.
#[inline(always)]
pub fn deliver(ctx: &TcContext, config: &Config, outcome: &Outcome) -> Result<i32, Reason> {
    let packet = Skb::new(ctx);
    let server = of(&packet, outcome, !act::is_probe(ctx, config)).ok_or(Reason::NoServer)?;
    let headers = &outcome.headers;
    match act::route(ctx, headers, Some(server)) {
        Ok(mut lookup) if route::is_neighbour(&lookup, headers, server) => {
            Ok(act::forward(ctx, headers, &mut lookup))
        }
        Err(NoWay::TooBig(_)) => Err(Reason::TooBig),
        _ => Err(Reason::NoRoute),
    }
}

/// The server of the flow that the packet belongs to; one that begins gets one, which is remembered.
/// Nothing when the service has no server that works, or the packet does not tell its flow.
#[inline(always)]
pub fn of<P: Packet>(packet: &P, outcome: &Outcome, remember: bool) -> Option<&'static Server> {
    let flow = outcome.flow(packet)?;
    let generation = outcome::in_hand()?.generation;
    let begins = outcome.headers.flags & (SYN | ACK) == SYN;
    if let Some(place) = maps::flow(&flow)
        && is_of(outcome.service, *place)
    {
        let server = generation.server(*place)?;
        let keeps = if begins {
            server.state == Server::UP
        } else {
            server.state != Server::NONE
        };
        if keeps {
            return Some(server);
        }
    }
    let place = assigned(generation, outcome, &flow)?;
    let server = generation.server(place)?;
    if server.state == Server::NONE {
        return None;
    }
    if begins && remember {
        maps::remember(&flow, place);
    }
    Some(server)
}

/// The place, among all servers, of the one that the wheel has for the flow.
#[inline(always)]
pub fn assigned(generation: Generation, outcome: &Outcome, flow: &Flow) -> Option<u32> {
    let six = matches!(outcome.headers.family, Family::V6);
    let wheel: &Wheel = generation.wheel(wheel_index(outcome.service, six))?;
    // The compiler knows that the mask takes nothing away, the verifier does not.
    match wheel[(black_box(flow.place()) & WHEEL_MASK) as usize] {
        NO_SERVER => None,
        slot => Some(server_index(outcome.service, slot)),
    }
}

/// Whether a place is one of this service: what is remembered may be of a service that had its number.
#[inline(always)]
fn is_of(service: u16, place: u32) -> bool {
    place / MAX_SERVERS as u32 == u32::from(service)
}
